//! Reads the records of the kernel, and those that perf adds in the kernel's layout.
//!
//! Source: the comments on `enum perf_event_type` in `include/uapi/linux/perf_event.h`. The types
//! from 64 on are perf's own, from `tools/lib/perf/include/perf/event.h`.

use bstr::BStr;

use super::attr::Attr;
use super::bytes::{Cursor, Endian, Words};
use super::head::{CpuMode, Head, kind, misc};
use super::id::SampleId;
use super::sample::{RawSample, Read};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// A sample of an event.
    Sample(RawSample<'a>),
    /// A file was mapped: MMAP and MMAP2.
    Mmap(Mmap<'a>),
    /// A thread has a new name.
    Comm {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// The name.
        comm: &'a BStr,
        /// Whether an `execve` changed the name, so that all earlier maps of the process are gone.
        exec: bool,
    },
    /// A thread or a process started.
    Fork(Task),
    /// A thread ended.
    Exit(Task),
    /// Records did not fit into the ring buffer. [`Record::LostSamples`] counts the same loss
    /// again.
    Lost {
        /// The id of the buffer's event.
        id: u64,
        /// How many records.
        count: u64,
    },
    /// Samples of one event were lost.
    LostSamples {
        /// How many samples.
        count: u64,
        /// A BPF filter dropped them, as the user wanted.
        filtered: bool,
    },
    /// The thread was switched out, or in.
    Switch {
        /// Out, not in.
        out: bool,
        /// It was still runnable.
        preempted: bool,
    },
    /// Code of the kernel appeared or went.
    Ksymbol(Ksymbol<'a>),
    /// The user part of a call chain that an earlier sample of the thread announced.
    Callchain {
        /// The value after [`CONTEXT_USER_DEFERRED`](super::sample::CONTEXT_USER_DEFERRED) in the
        /// sample's chain.
        cookie: u64,
        /// The addresses, leaf first.
        chain: Words<'a>,
    },
    /// The count of an event in a thread that ended. fg-record writes one for all threads.
    Read(Read<'a>),
    /// Any other record of the kernel, such as NAMESPACES, BPF_EVENT or AUX.
    Other,
}

/// A map of a file in a process, or in the kernel.
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
    /// The first byte of the file that is mapped.
    pub offset: u64,
    /// The file's identity, which is more certain than its path.
    pub file: FileId<'a>,
    /// `PROT_*` of mmap(2), which MMAP2 has.
    pub prot: Option<u32>,
    /// `MAP_*` of mmap(2), which MMAP2 has.
    pub flags: Option<u32>,
    /// Whether its code can run.
    pub executable: bool,
    /// Whose address space it is in.
    pub mode: CpuMode,
    /// The path, or a name such as `[vdso]`, `//anon`, `[kernel.kallsyms]_text`.
    pub path: &'a BStr,
}

#[cfg(test)]
impl<'a> Mmap<'a> {
    /// The program at `path`, which process `pid` has mapped at address 0x1000.
    pub(crate) fn of_program(pid: u32, path: &'a BStr) -> Mmap<'a> {
        Mmap {
            pid,
            tid: pid,
            start: 0x1000,
            len: 0x1000,
            offset: 0,
            file: FileId::Path,
            prot: None,
            flags: None,
            executable: true,
            mode: CpuMode::User,
            path,
        }
    }
}

/// The identity of a mapped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileId<'a> {
    /// Only the path is known.
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
    /// The build id, in recordings with `--buildid-mmap`.
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
    /// Reads a kernel record of an event with this `attr`, and its identity. `None` if it is
    /// shorter than its type requires.
    pub(crate) fn parse(
        bytes: &'a [u8],
        endian: Endian,
        attr: &Attr,
    ) -> Option<(Record<'a>, SampleId)> {
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
        let bit_13 = head.misc & misc::BIT_13 != 0;
        let bit_14 = head.misc & misc::BIT_14 != 0;
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
            kind::SWITCH | kind::SWITCH_CPU_WIDE => {
                Record::Switch { out: bit_13, preempted: bit_14 }
            }
            kind::KSYMBOL => Record::Ksymbol(Ksymbol {
                start: c.u64()?,
                len: c.u32()?,
                kind: c.u16()?,
                gone: c.u16()? & 1 == 1,
                name: c.text(),
            }),
            kind::CALLCHAIN_DEFERRED => {
                let cookie = c.u64()?;
                let count = c.u64()?;
                Record::Callchain { cookie, chain: c.words(count)? }
            }
            kind::READ => {
                let _pid_and_tid = c.u64()?;
                Record::Read(Read::parse(&mut c, attr.read_format)?)
            }
            _ => Record::Other,
        })
    }
}

impl<'a> Mmap<'a> {
    fn parse(head: Head, mut c: Cursor<'a>) -> Option<Mmap<'a>> {
        let mut mmap = Mmap {
            pid: c.u32()?,
            tid: c.u32()?,
            start: c.u64()?,
            len: c.u64()?,
            offset: c.u64()?,
            file: FileId::Path,
            prot: None,
            flags: None,
            executable: head.misc & misc::BIT_13 == 0,
            mode: head.mode(),
            path: b"".into(),
        };
        if head.kind == kind::MMAP2 {
            // If one event asks for build ids, Linux also sets the bit in the records of the
            // others. Those have a device's number here.
            if head.misc & misc::BIT_14 != 0 && c.rest().first().is_some_and(|&size| size <= 20) {
                let size = c.u8()?;
                c.skip(3)?;
                let id = c.take(20)?;
                mmap.file = FileId::BuildId(id.get(..usize::from(size)).unwrap_or(id));
            } else {
                mmap.file = FileId::Inode {
                    major: c.u32()?,
                    minor: c.u32()?,
                    inode: c.u64()?,
                    generation: c.u64()?,
                };
            }
            let prot = c.u32()?;
            mmap.prot = Some(prot);
            mmap.flags = Some(c.u32()?);
            mmap.executable = prot & PROT_EXEC != 0;
        }
        mmap.path = c.text();
        Some(mmap)
    }
}

impl Task {
    fn parse(mut c: Cursor<'_>) -> Option<Task> {
        Some(Task { pid: c.u32()?, ppid: c.u32()?, tid: c.u32()?, ptid: c.u32()?, time: c.u64()? })
    }
}
