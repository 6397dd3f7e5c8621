//! Writes a recording as a stream in the machine's byte order, for `perf script -i -` and our own
//! reader.
//!
//! Records of the kernel pass through as they came out of the ring buffer. Its samples, which carry
//! a copy of the stack, are replaced by samples with the call chain found on that stack. Their
//! fields are [`SAMPLE_TYPE`], and their attr says so.

use std::io::{self, Write};

use super::attr::sample_type as has;
use super::feature::Clock;
use super::head::{CpuMode, Head, kind, misc};
use super::header::number;
use super::record::{FileId, Ksymbol, Mmap};

/// The fields of the samples that are written.
///
/// The event itself must also be opened with IDENTIFIER, TID, TIME and CPU, and without ID and
/// STREAM_ID, because the kernel's other records end in these fields.
pub(crate) const SAMPLE_TYPE: u64 =
    has::IDENTIFIER | has::IP | has::TID | has::TIME | has::CPU | has::PERIOD | has::CALLCHAIN;

/// The last entry of a user call chain that was not followed to its root. No program has code at
/// this address, so other readers show an unknown function.
pub(crate) const TRUNCATED: u64 = u64::from_be_bytes(*b"truncate");

/// `PERFILE2`, as a number in the machine's byte order.
pub(super) const MAGIC: u64 = 0x3245_4c49_4652_4550;
/// Where `sample_type` is in a `perf_event_attr`, and `sample_max_stack`.
const ATTR_SAMPLE_TYPE: usize = 24;
const ATTR_MAX_STACK: usize = 108;
/// The most bytes of a record. Its size is a `u16` and a multiple of 8.
const MOST: usize = 65528;
/// The most bytes of a path or a name.
const MOST_TEXT: usize = 4096;

/// A stream that is being written.
pub struct Writer<W> {
    out: W,
    record: Vec<u8>,
}

/// A sample to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewSample<'a> {
    /// `PERF_RECORD_MISC_*`: the mode of the CPU.
    pub misc: u16,
    /// The event's id.
    pub id: u64,
    /// Where the event hit.
    pub ip: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// When, in nanoseconds of the recording's clock.
    pub time: u64,
    /// The CPU.
    pub cpu: u32,
    /// How many units of the event the sample stands for.
    pub period: u64,
    /// Leaf first, with the `PERF_CONTEXT_*` markers. A record has room for about 8,180 entries; a
    /// longer chain loses its root and ends in [`TRUNCATED`].
    pub chain: &'a [u64],
}

/// The count of an event in all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// In units of the event: nanoseconds for clocks.
    pub value: u64,
    /// How many records did not fit into the rings, if the event's `read_format` asks for that.
    pub lost: Option<u64>,
}

/// The attr of an event whose samples [`Writer::sample`] writes. The kernel's limit of call chains
/// does not apply to them.
pub fn chains_only(attr: &[u8]) -> Vec<u8> {
    let mut attr = attr.to_vec();
    if let Some(fields) = attr.get_mut(ATTR_SAMPLE_TYPE..ATTR_SAMPLE_TYPE + 8) {
        fields.copy_from_slice(&SAMPLE_TYPE.to_ne_bytes());
    }
    with_limit(attr, u16::MAX)
}

/// The attr of an event whose call chains have at most `limit` addresses. Readers treat a chain of
/// that length as cut.
pub fn with_limit(mut attr: Vec<u8>, limit: u16) -> Vec<u8> {
    if let Some(most) = attr.get_mut(ATTR_MAX_STACK..ATTR_MAX_STACK + 2) {
        most.copy_from_slice(&limit.to_ne_bytes());
    }
    attr
}

impl<W: Write> Writer<W> {
    /// Starts the stream.
    ///
    /// # Errors
    /// A write fails, here and in all methods below.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.write_all(&MAGIC.to_ne_bytes())?;
        out.write_all(&16u64.to_ne_bytes())?;
        Ok(Writer { out, record: Vec::new() })
    }

    /// Announces an event: its name, the `perf_event_attr` of its records, and the ids they carry
    /// as IDENTIFIER. All events come before all records. If its samples are replaced, `attr` must
    /// come from [`chains_only`].
    pub fn event(&mut self, name: &[u8], attr: &[u8], ids: &[u64]) -> io::Result<()> {
        // One record holds about 8,000 ids. The rest is dropped: nobody has that many CPUs.
        let room = (MOST - 8).saturating_sub(attr.len()) / 8;
        self.begin(kind::HEADER_ATTR, 0);
        self.record.extend_from_slice(attr);
        ids.iter().take(room).for_each(|&id| self.u64(id));
        self.end()?;
        const NAME: u64 = 2;
        self.begin(kind::EVENT_UPDATE, 0);
        self.u64(NAME);
        self.u64(ids.first().copied().unwrap_or(0));
        self.text(name);
        self.end()
    }

    /// Describes the machine. The number of the feature is 3 for its name, 4 for the kernel's
    /// release, 6 for the architecture.
    pub fn feature(&mut self, number: u64, text: &[u8]) -> io::Result<()> {
        let text = text.get(..MOST_TEXT).unwrap_or(text);
        let length = (text.len() + 1).next_multiple_of(8);
        self.begin(kind::HEADER_FEATURE, 0);
        self.u64(number);
        self.u32(length as u32);
        self.record.extend_from_slice(text);
        self.record.resize(8 + 8 + 4 + length, 0);
        self.end()
    }

    /// Says what the recording's clock showed at one moment: `HEADER_CLOCK_DATA`. `id` is a number
    /// of clock_gettime(2).
    pub(crate) fn clock(&mut self, id: u32, clock: Clock) -> io::Result<()> {
        const VERSION: u32 = 1;
        self.begin(kind::HEADER_FEATURE, 0);
        self.u64(number::CLOCK_DATA);
        self.u32(VERSION);
        self.u32(id);
        self.u64(clock.wall);
        self.u64(clock.time);
        self.end()
    }

    /// Passes on a whole record of the kernel, but sets the id of its event to `id`. The id is the
    /// first word of a sample and the last word of other records.
    pub fn record(&mut self, bytes: &[u8], id: u64) -> io::Result<()> {
        self.record.clear();
        self.record.extend_from_slice(bytes);
        let is_sample = bytes.starts_with(&kind::SAMPLE.to_ne_bytes());
        let word = if is_sample {
            self.record.get_mut(8..16)
        } else {
            self.record.last_chunk_mut::<8>().map(|word| &mut word[..])
        };
        if let Some(word) = word {
            word.copy_from_slice(&id.to_ne_bytes());
        }
        self.out.write_all(&self.record)
    }

    /// Passes on an MMAP2 record of the kernel. The build id of its file, if there is one, replaces
    /// the inode.
    pub(crate) fn mapped(
        &mut self,
        bytes: &[u8],
        id: u64,
        build_id: Option<&[u8]>,
    ) -> io::Result<()> {
        // pid, tid, start, length and offset come before it.
        const FILE: usize = Head::SIZE + 8 + 3 * 8;
        let mut record = bytes.to_vec();
        let field = record.get_mut(FILE..FILE + 24);
        if let Some(field) = field
            && let Some(build_id) = build_id
        {
            field.copy_from_slice(&build_id_field(build_id));
        }
        if let Some(high) = record.get_mut(4..6) {
            // Linux also sets the bit in our records if somebody else asked for build ids.
            let others = u16::from_ne_bytes([high[0], high[1]]) & !misc::BIT_14;
            let ours = if build_id.is_some() { misc::BIT_14 } else { 0 };
            high.copy_from_slice(&(others | ours).to_ne_bytes());
        }
        self.record(&record, id)
    }

    /// Says which build of a file its path means. For the kernel, `pid` is `u32::MAX` and `misc` is
    /// 1.
    pub fn build_id(&mut self, misc: u16, pid: u32, id: &[u8], path: &[u8]) -> io::Result<()> {
        const LENGTH_IS_TOLD: u16 = 1 << 15;
        let id = id.get(..20).unwrap_or(id);
        self.begin(kind::HEADER_BUILD_ID, misc | LENGTH_IS_TOLD);
        self.u32(pid);
        let start = self.record.len();
        self.record.extend_from_slice(id);
        self.record.resize(start + 20, 0);
        self.record.extend_from_slice(&[id.len() as u8, 0, 0, 0]);
        self.text(path);
        self.end()
    }

    /// Names a thread that started before the recording. `id` is that of any event.
    pub fn comm(&mut self, pid: u32, tid: u32, comm: &[u8], id: u64) -> io::Result<()> {
        self.comm_at(0, pid, tid, comm, id)
    }

    /// Names a thread that started at `time`, in nanoseconds, and has a FORK record too.
    pub fn comm_at(
        &mut self,
        time: u64,
        pid: u32,
        tid: u32,
        comm: &[u8],
        id: u64,
    ) -> io::Result<()> {
        self.begin(kind::COMM, 0);
        self.u32(pid);
        self.u32(tid);
        self.text(comm);
        self.synthetic(pid, tid, time, id);
        self.end()
    }

    /// Maps a file that was mapped before the recording. `id` is that of any event.
    pub fn mmap2(&mut self, mmap: &Mmap<'_>, id: u64) -> io::Result<()> {
        self.mmap2_at(0, mmap, id)
    }

    /// Maps a file that was mapped at `time`, in nanoseconds.
    pub fn mmap2_at(&mut self, time: u64, mmap: &Mmap<'_>, id: u64) -> io::Result<()> {
        let mode = match mmap.mode {
            CpuMode::Unknown => 0,
            CpuMode::Kernel => 1,
            CpuMode::User => 2,
            CpuMode::Hypervisor => 3,
            CpuMode::GuestKernel => 4,
            CpuMode::GuestUser => 5,
        };
        let is_build_id = matches!(mmap.file, FileId::BuildId(_));
        self.begin(kind::MMAP2, if is_build_id { mode | misc::BIT_14 } else { mode });
        self.u32(mmap.pid);
        self.u32(mmap.tid);
        [mmap.start, mmap.len, mmap.offset].into_iter().for_each(|word| self.u64(word));
        match mmap.file {
            FileId::Path => self.record.extend_from_slice(&[0; 24]),
            FileId::Inode { major, minor, inode, generation } => {
                self.u32(major);
                self.u32(minor);
                self.u64(inode);
                self.u64(generation);
            }
            FileId::BuildId(id) => self.record.extend_from_slice(&build_id_field(id)),
        }
        self.u32(mmap.prot.unwrap_or(0));
        self.u32(mmap.flags.unwrap_or(0));
        self.text(mmap.path);
        self.synthetic(mmap.pid, mmap.tid, time, id);
        self.end()
    }

    /// Names code of the kernel. `id` is that of any event.
    pub fn ksymbol(&mut self, symbol: &Ksymbol<'_>, id: u64) -> io::Result<()> {
        const KERNEL: u16 = 1;
        self.begin(kind::KSYMBOL, KERNEL);
        self.u64(symbol.start);
        self.u32(symbol.len);
        self.record.extend_from_slice(&symbol.kind.to_ne_bytes());
        self.record.extend_from_slice(&u16::from(symbol.gone).to_ne_bytes());
        self.text(symbol.name);
        self.synthetic(u32::MAX, 0, 0, id);
        self.end()
    }

    /// Writes a sample.
    pub fn sample(&mut self, sample: &NewSample<'_>) -> io::Result<()> {
        self.begin(kind::SAMPLE, sample.misc);
        self.u64(sample.id);
        self.u64(sample.ip);
        self.u32(sample.pid);
        self.u32(sample.tid);
        self.u64(sample.time);
        self.u32(sample.cpu);
        self.u32(0);
        self.u64(sample.period);
        let room = (MOST - self.record.len()) / 8 - 1;
        let cut = if sample.chain.len() > room { sample.chain.get(..room - 1) } else { None };
        let chain = cut.unwrap_or(sample.chain);
        let mark = cut.map(|_| TRUNCATED);
        self.u64((chain.len() + usize::from(mark.is_some())) as u64);
        chain.iter().copied().chain(mark).for_each(|address| self.u64(address));
        self.end()
    }

    /// Says that `count` records of the event with this `id` were lost by `time`, in nanoseconds.
    pub(crate) fn lost(&mut self, count: u64, time: u64, id: u64) -> io::Result<()> {
        self.begin(kind::LOST, 0);
        self.u64(id);
        self.u64(count);
        self.synthetic(u32::MAX, u32::MAX, time, id);
        self.end()
    }

    /// Writes a READ record: what the event with this `id` counted by `time`, in nanoseconds. Its
    /// attr has no `read_format`, or only `PERF_FORMAT_LOST`.
    pub(crate) fn count(&mut self, count: &Counted, time: u64, id: u64) -> io::Result<()> {
        self.begin(kind::READ, 0);
        self.u32(u32::MAX);
        self.u32(u32::MAX);
        self.u64(count.value);
        if let Some(lost) = count.lost {
            self.u64(lost);
        }
        self.synthetic(u32::MAX, u32::MAX, time, id);
        self.end()
    }

    /// Says that every ring buffer was emptied since the last such record.
    pub fn finished_round(&mut self) -> io::Result<()> {
        self.round(0)
    }

    /// The same, but another one will follow. If nothing follows, the recorder did not finish. perf
    /// ignores this bit.
    pub fn finished_round_of_more(&mut self) -> io::Result<()> {
        self.round(misc::BIT_13)
    }

    fn round(&mut self, misc: u16) -> io::Result<()> {
        self.begin(kind::FINISHED_ROUND, misc);
        self.end()
    }

    /// The inner writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    fn begin(&mut self, kind: u32, misc: u16) {
        self.record.clear();
        self.u32(kind);
        self.record.extend_from_slice(&misc.to_ne_bytes());
        self.record.extend_from_slice(&[0; 2]);
    }

    fn end(&mut self) -> io::Result<()> {
        let padded = self.record.len().next_multiple_of(8).min(MOST);
        self.record.resize(padded, 0);
        if let Some(size) = self.record.get_mut(6..8) {
            size.copy_from_slice(&(padded as u16).to_ne_bytes());
        }
        self.out.write_all(&self.record)
    }

    fn u32(&mut self, value: u32) {
        self.record.extend_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.record.extend_from_slice(&value.to_ne_bytes());
    }

    /// Appends text and a NUL, padded to a whole word.
    fn text(&mut self, text: &[u8]) {
        self.record.extend_from_slice(text.get(..MOST_TEXT).unwrap_or(text));
        let padded = (self.record.len() + 1).next_multiple_of(8);
        self.record.resize(padded, 0);
    }

    /// Appends the identity of a record that we make. With time 0 a record does not wait for its
    /// turn.
    fn synthetic(&mut self, pid: u32, tid: u32, time: u64, id: u64) {
        self.u32(pid);
        self.u32(tid);
        self.u64(time);
        self.u64(0);
        self.u64(id);
    }
}

/// The identity of the file in an MMAP2 record whose `misc` has bit 14: the length of the build id,
/// and 20 bytes for it.
fn build_id_field(id: &[u8]) -> [u8; 24] {
    let id = id.get(..20).unwrap_or(id);
    let mut field = [0; 24];
    field[0] = id.len() as u8;
    field[4..4 + id.len()].copy_from_slice(id);
    field
}
