//! The records of a recording: what the kernel reported, and what perf added in the kernel's layout.
//!
//! Source: the comments on `enum perf_event_type` in `include/uapi/linux/perf_event.h`; the types from 64 on are
//! perf's own, of `tools/lib/perf/include/perf/event.h`.

use bstr::BStr;

use super::attr::Attr;
use super::bytes::{Cursor, Endian, Words};
use super::head::{CpuMode, Head, kind, misc};
use super::id::SampleId;
use super::sample::{RawSample, Read};

/// One record.
#[expect(
    clippy::large_enum_variant,
    reason = "most records are samples, and each lives for one call"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// An event hit.
    Sample(RawSample<'a>),
    /// A file was mapped. MMAP and MMAP2.
    Mmap(Mmap<'a>),
    /// A thread has a new name.
    Comm {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// The name.
        comm: &'a BStr,
        /// Whether the name is new because of an `execve`: all earlier maps of the process are gone.
        exec: bool,
    },
    /// A thread or a process was started.
    Fork(Task),
    /// A thread ended.
    Exit(Task),
    /// Records that did not fit into the ring buffer. [`Record::LostSamples`] counts the same loss once more.
    Lost {
        /// The id of the event whose buffer it was.
        id: u64,
        /// How many records.
        count: u64,
    },
    /// Samples that were lost, as the kernel counted them for one event.
    LostSamples {
        /// How many samples.
        count: u64,
        /// They were dropped by a BPF filter, because the user wanted it.
        filtered: bool,
    },
    /// The kernel stops sampling for a while, as it took too much time; or starts again.
    Throttle {
        /// Whether it starts again.
        over: bool,
    },
    /// The thread was switched out, or in.
    Switch {
        /// Out, not in.
        out: bool,
        /// It would have liked to run on.
        preempted: bool,
        /// The process and thread that ran before or runs next, of a record for a whole CPU.
        other: Option<(u32, u32)>,
    },
    /// Code of the kernel appeared or went.
    Ksymbol(Ksymbol<'a>),
    /// The path of a control group.
    Cgroup {
        /// Its id, which samples carry.
        id: u64,
        /// Its path.
        path: &'a BStr,
    },
    /// The user part of a call chain that an earlier sample of the thread announced.
    Callchain {
        /// What the sample's chain has after [`CONTEXT_USER_DEFERRED`](super::sample::CONTEXT_USER_DEFERRED).
        cookie: u64,
        /// The addresses, leaf first.
        chain: Words<'a>,
    },
    /// What an event counted in a thread that ended, or, as fg-record writes it, in all threads.
    Read(Read<'a>),
    /// Any other record of the kernel, such as NAMESPACES, BPF_EVENT, TEXT_POKE, AUX: its body without the identity.
    Other {
        /// A constant of [`kind`].
        kind: u32,
        /// The body.
        body: &'a [u8],
    },
}

/// Pages of a file in a process, or those of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmap<'a> {
    /// The process; `u32::MAX` for the kernel.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub len: u64,
    /// Where in the file the pages start, in bytes.
    pub offset: u64,
    /// Which file it is, more surely than by its path.
    pub file: FileId<'a>,
    /// `PROT_*` of mmap(2), where told.
    pub prot: Option<u32>,
    /// `MAP_*` of mmap(2), where told.
    pub flags: Option<u32>,
    /// Whether code can be run from it.
    pub executable: bool,
    /// Whose address space it is.
    pub mode: CpuMode,
    /// The path, or a name such as `[vdso]`, `//anon`, `[kernel.kallsyms]_text`.
    pub path: &'a BStr,
}

/// What identifies a mapped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileId<'a> {
    /// Nothing but the path.
    Path,
    /// The inode.
    Inode {
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
        /// The inode's number.
        inode: u64,
        /// Its generation.
        generation: u64,
    },
    /// The build id, of recordings with `--buildid-mmap`.
    BuildId(&'a [u8]),
}

/// The start or end of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The process.
    pub pid: u32,
    /// The parent process.
    pub ppid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread that started it.
    pub ptid: u32,
    /// When, in nanoseconds; perf's synthetic records have 0.
    pub time: u64,
}

/// Code that the kernel loaded, such as a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ksymbol<'a> {
    /// Its address.
    pub start: u64,
    /// Its length in bytes.
    pub len: u32,
    /// 1 for BPF, 2 for out-of-line code.
    pub kind: u16,
    /// Whether it went away.
    pub gone: bool,
    /// Its name.
    pub name: &'a BStr,
}

const PROT_EXEC: u32 = 4;

impl<'a> Record<'a> {
    /// Reads a whole record of the kernel's, head included, of an event with this `attr`; and whose it is.
    ///
    /// `None` if it is shorter than its type says.
    pub fn parse(bytes: &'a [u8], endian: Endian, attr: &Attr) -> Option<(Record<'a>, SampleId)> {
        let head = Head::parse(bytes, endian)?;
        let body = bytes.get(Head::SIZE..usize::from(head.size))?;
        if head.kind == kind::SAMPLE {
            let sample = RawSample::parse(Cursor::new(body, endian), attr)?;
            return Some((Record::Sample(sample), SampleId::of_sample(&sample)));
        }
        let (body, id) = SampleId::split(body, endian, attr)?;
        Some((Record::body(head, Cursor::new(body, endian), attr)?, id))
    }

    fn body(head: Head, mut c: Cursor<'a>, attr: &Attr) -> Option<Record<'a>> {
        let (bit_13, bit_14) = (head.misc & misc::BIT_13 != 0, head.misc & misc::BIT_14 != 0);
        Some(match head.kind {
            kind::MMAP | kind::MMAP2 => Record::Mmap(Mmap::parse(head, c)?),
            kind::COMM => {
                Record::Comm { pid: c.u32()?, tid: c.u32()?, comm: c.text(), exec: bit_13 }
            }
            kind::FORK => Record::Fork(Task::parse(c)?),
            kind::EXIT => Record::Exit(Task::parse(c)?),
            kind::LOST => Record::Lost { id: c.u64()?, count: c.u64()? },
            kind::LOST_SAMPLES => {
                Record::LostSamples { count: c.u64()?, filtered: head.misc & misc::BIT_15 != 0 }
            }
            kind::THROTTLE | kind::UNTHROTTLE => {
                Record::Throttle { over: head.kind == kind::UNTHROTTLE }
            }
            kind::SWITCH => Record::Switch { out: bit_13, preempted: bit_14, other: None },
            kind::SWITCH_CPU_WIDE => {
                let other = Some((c.u32()?, c.u32()?));
                Record::Switch { out: bit_13, preempted: bit_14, other }
            }
            kind::KSYMBOL => {
                let (start, len, kind, flags) = (c.u64()?, c.u32()?, c.u16()?, c.u16()?);
                Record::Ksymbol(Ksymbol { start, len, kind, gone: flags & 1 == 1, name: c.text() })
            }
            kind::CGROUP => Record::Cgroup { id: c.u64()?, path: c.text() },
            kind::CALLCHAIN_DEFERRED => {
                let (cookie, count) = (c.u64()?, c.u64()?);
                Record::Callchain { cookie, chain: c.words(count)? }
            }
            kind::READ => {
                let _pid_and_tid = c.u64()?;
                Record::Read(Read::parse(&mut c, attr.read_format)?)
            }
            kind => Record::Other { kind, body: c.rest() },
        })
    }
}

impl<'a> Mmap<'a> {
    fn parse(head: Head, mut c: Cursor<'a>) -> Option<Mmap<'a>> {
        let (pid, tid) = (c.u32()?, c.u32()?);
        let (start, len, offset) = (c.u64()?, c.u64()?, c.u64()?);
        let mut mmap = Mmap {
            pid,
            tid,
            start,
            len,
            offset,
            file: FileId::Path,
            prot: None,
            flags: None,
            executable: head.misc & misc::BIT_13 == 0,
            mode: head.mode(),
            path: b"".into(),
        };
        if head.kind == kind::MMAP2 {
            // Linux sets the bit of an event that did not ask for ids if another one did: then a device's number is here.
            if head.misc & misc::BIT_14 != 0 && c.rest().first().is_some_and(|&size| size <= 20) {
                let size = c.u8()?;
                c.skip(3)?;
                let id = c.take(20)?;
                mmap.file = FileId::BuildId(id.get(..usize::from(size)).unwrap_or(id));
            } else {
                let (major, minor) = (c.u32()?, c.u32()?);
                mmap.file = FileId::Inode { major, minor, inode: c.u64()?, generation: c.u64()? };
            }
            let prot = c.u32()?;
            (mmap.prot, mmap.flags) = (Some(prot), Some(c.u32()?));
            mmap.executable = prot & PROT_EXEC != 0;
        }
        mmap.path = c.text();
        Some(mmap)
    }
}

impl Task {
    fn parse(mut c: Cursor<'_>) -> Option<Task> {
        let (pid, ppid) = (c.u32()?, c.u32()?);
        let (tid, ptid) = (c.u32()?, c.u32()?);
        Some(Task { pid, ppid, tid, ptid, time: c.u64()? })
    }
}
