//! The words of a profile: [`Sample`], [`Frame`], and the [`FrameTable`] that holds each distinct frame once.
//!
//! A source (perf-script text, perf.data, a live recording) pushes samples into a [`SampleSink`]; a stage is a sink
//! that owns the next sink. One `FrameTable` travels with the samples through all of them: a stage that renames
//! a frame interns the new one and pushes its id.

mod frame_table;
mod printable;
mod start;

use std::num::NonZeroU32;

use bstr::{BStr, ByteSlice};
pub use frame_table::FrameTable;
pub(crate) use printable::printable;
pub(crate) use start::{is_called_by_start, is_start};

use crate::error::Result;
use crate::tally::Tally;

/// What a frame is, which decides how it is annotated and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A function of the program or its libraries.
    #[default]
    User,
    /// A function of the kernel or one of its modules.
    Kernel,
    /// A function that was inlined into the next frame towards the root.
    Inlined,
    /// A function made at run time, named by a `perf-PID.map` or a jitdump.
    Jit,
    /// Not a function: the mark that the stack goes on towards the root but was not captured.
    Truncated,
}

impl Kind {
    /// The symbol that says that a stack goes on but was not captured.
    pub const TRUNCATED: &'static str = "[truncated]";

    /// The kind of a frame of text, which tells nothing but names.
    pub fn of(symbol: &[u8], module: &[u8]) -> Kind {
        if symbol == Kind::TRUNCATED.as_bytes() { Kind::Truncated } else { Kind::of_module(module) }
    }

    /// The kind of a frame that lies in `module`, by the module's name.
    ///
    /// Kernel: `[kernel.kallsyms]`, `[guest.kernel.kallsyms.12]`, `[nf_conntrack]`,
    /// `/lib/modules/…/x.ko.xz`, `vmlinux-6.1`, `/proc/kcore`, `bpf_prog_6deef7357e7b4530_f`.
    /// Memory that the kernel shows to programs is theirs: `[vdso]`, `[vsyscall]`, `[heap]`. Jit:
    /// `/tmp/perf-19982.map`, `/x/jitted-12-3.so`.
    pub fn of_module(module: &[u8]) -> Kind {
        if module == b"inlined" {
            Kind::Inlined
        } else if is_kernel(module) {
            Kind::Kernel
        } else if (module.starts_with(b"/tmp/perf-") && module.ends_with(b".map"))
            || (module.ends_with(b".so") && module.contains_str("/jitted-"))
        {
            Kind::Jit
        } else {
            Kind::User
        }
    }

    /// Whether `address` belongs to the kernel: at the end of the 64-bit address space of x86-64,
    /// aarch64 and others, but not so close to the end that it is a negative number.
    pub(crate) fn is_kernel_address(address: u64) -> bool {
        (0xffff_0000_0000_0000..0xffff_ffff_ffff_f000).contains(&address)
    }
}

fn is_kernel(module: &[u8]) -> bool {
    const MODULES: [&[u8]; 5] = [b".ko", b".ko.xz", b".ko.gz", b".ko.zst", b".ko.debug"];
    if let Some(name) = module.strip_prefix(b"[") {
        return name.starts_with(b"kernel.") || !is_user_memory(name);
    }
    let file = module.rfind_byte(b'/').map_or(module, |slash| &module[slash + 1..]);
    let vmlinux =
        |tail: &[u8]| tail.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    // Asked of every frame line: the last byte rules out nearly all.
    let is_module = matches!(file.last(), Some(b'o' | b'z' | b't' | b'g'))
        && MODULES.iter().any(|end| file.ends_with(end));
    is_module
        || module == b"/proc/kcore"
        || file.starts_with(b"bpf_prog_")
        || memchr::memrchr_iter(b'v', file)
            .find(|&at| file[at..].starts_with(b"vmlinux"))
            .is_some_and(|at| vmlinux(&file[at..]))
}

/// Whether the name in brackets, from behind the first on, is of memory of a program and not of a
/// module of the kernel.
fn is_user_memory(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"unknown]",
        b"vdso",
        b"vvar",
        b"vsyscall]",
        b"vectors]",
        b"sigpage]",
        b"uprobes]",
        b"heap]",
        b"JIT]",
    ];
    const STARTS: [&[u8]; 2] = [b"stack", b"anon"];
    // `[vdso]` and `[vdso32]`; `[stack:123]` and `[anon:libc_malloc]`; `[JIT] tid 24851`.
    NAMES.iter().chain(&STARTS).any(|known| name.starts_with(known))
}

/// One function on a stack, as the user knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The symbol without offset: `main`, `core::fmt::write`, `[unknown]`. Bytes, not UTF-8.
    pub symbol: &'a BStr,
    /// The mapped file: `/usr/bin/rg`, `[kernel.kallsyms]`; empty where it is not known.
    pub module: &'a BStr,
    /// What the frame is.
    pub kind: Kind,
    /// The address, only where it is part of the frame's identity: an unknown symbol of which the
    /// source was asked to keep the addresses apart.
    pub address: Option<u64>,
}

impl<'a> Frame<'a> {
    /// A frame that is nothing but its name, as those of folded text are.
    pub fn named(name: &'a [u8]) -> Self {
        Frame { symbol: name.as_bstr(), ..Frame::default() }
    }
}

/// A distinct frame of a [`FrameTable`]. Ids are dense, so a `Vec` indexed by them is the natural cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(NonZeroU32);

impl FrameId {
    /// The id as an index: the first frame of a table is 0, the next 1.
    #[inline]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The id of an index that [`index`](FrameId::index) gave.
    #[inline]
    pub(crate) fn at(index: usize) -> FrameId {
        FrameId(NonZeroU32::MIN.saturating_add(index as u32))
    }
}

impl From<FrameId> for u32 {
    #[inline]
    fn from(id: FrameId) -> u32 {
        id.0.get()
    }
}

/// One observation of a running program. It borrows everything: a sample lives for one push.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample<'a> {
    /// The thread's name.
    pub comm: &'a BStr,
    /// The process, where the source tells it.
    pub pid: Option<u32>,
    /// The thread, where the source tells it.
    pub tid: Option<u32>,
    /// The CPU, where the source tells it.
    pub cpu: Option<u32>,
    /// When it was taken, in nanoseconds of the recording's clock.
    pub time: Option<u64>,
    /// What was counted, with its modifiers: `cycles:u`, `sched:sched_switch`; empty where not told.
    pub event: &'a BStr,
    /// What this one sample stands for, in units of the event; `None` where the source does not tell, which weighs 1.
    pub period: Option<u64>,
    /// The stack, leaf first, inlined frames before the frame they were inlined into. Empty without a call chain.
    pub stack: &'a [FrameId],
    /// Where each frame of `stack` lies; empty unless the source was asked for places.
    pub places: &'a [Place],
    /// The text this sample was read from, its blank line included; empty for other sources. A writer of text
    /// writes it unchanged if nothing was changed.
    pub text: &'a [u8],
}

impl Sample<'_> {
    /// What folding sums: the period, or 1 where there is none.
    pub fn weight(&self) -> u64 {
        self.period.unwrap_or(1)
    }
}

/// Where one frame of one sample lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The address, as it was sampled.
    pub address: u64,
    /// The distance from the start of the symbol, where the symbol is known.
    pub offset: Option<u64>,
}

/// Takes samples: a stage, a folder, a writer of text.
pub trait SampleSink {
    /// Whether `sample`, which has no stack yet, is wanted at all: asked by sources to whom its stack is work. What is
    /// not wanted is not pushed, and was counted; what is wanted may still be left out later.
    fn wants(&mut self, _frames: &FrameTable, _sample: &Sample<'_>) -> bool {
        true
    }

    /// Takes one sample.
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()>;

    /// Takes text that is no sample: comment lines, odd lines, blank lines beyond one. Only writers of text care.
    fn text(&mut self, _text: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Ends the stream: pushes what was held back, ends the next sink, adds this stage's counts to `tally`.
    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()>;
}

impl<S: SampleSink + ?Sized> SampleSink for Box<S> {
    fn wants(&mut self, frames: &FrameTable, sample: &Sample<'_>) -> bool {
        (**self).wants(frames, sample)
    }

    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        (**self).sample(frames, sample)
    }
    fn text(&mut self, text: &[u8]) -> Result<()> {
        (**self).text(text)
    }
    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        (**self).finish(frames, tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_tell_kinds() {
        for (module, kind) in [
            ("[kernel.kallsyms]", Kind::Kernel),
            ("[kernel.kallsyms].init.text", Kind::Kernel),
            ("/lib/modules/6.1/kernel/net/x.ko", Kind::Kernel),
            ("/usr/lib/debug/boot/vmlinux-5.4.14", Kind::Kernel),
            ("/lib/modules/6.1/kernel/fs/ext4/ext4.ko.xz", Kind::Kernel),
            ("[ext4]", Kind::Kernel),
            ("[kernel.kallsyms]_text", Kind::Kernel),
            ("[guest.kernel.kallsyms.1234]", Kind::Kernel),
            ("/proc/kcore", Kind::Kernel),
            ("bpf_prog_6deef7357e7b4530_f", Kind::Kernel),
            ("[vdso]", Kind::User),
            ("[vdso32]", Kind::User),
            ("[vsyscall]", Kind::User),
            ("[heap]", Kind::User),
            ("[stack]", Kind::User),
            ("[anon]", Kind::User),
            ("[JIT] tid 24851", Kind::User),
            ("[unknown]", Kind::User),
            ("/tmp/vmlinux+5", Kind::User),
            ("/tmp/perf-19982.map", Kind::Jit),
            ("/home/u/.debug/jit/jitted-12-3.so", Kind::Jit),
            ("inlined", Kind::Inlined),
            ("/usr/bin/rg", Kind::User),
        ] {
            assert_eq!(Kind::of_module(module.as_bytes()), kind, "{module}");
        }
    }
}
