//! The words of a profile: [`Sample`], [`Frame`], and the [`FrameTable`] that holds each distinct
//! frame once.
//!
//! A source (perf-script text, perf.data, a live recording) pushes samples into a [`SampleSink`]. A
//! stage is a sink that owns the next sink. One `FrameTable` travels through all of them with the
//! samples. A stage that renames a frame interns the new one and pushes its id.

mod frame_table;
mod thread_start;

use std::borrow::Cow;
use std::num::NonZeroU32;

use bstr::{BStr, ByteSlice};
pub use frame_table::FrameTable;
pub(crate) use thread_start::{is_called_by_start, is_start};

use crate::error::Result;
use crate::tally::Tally;

/// The kind of a frame, which decides how it is annotated and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A function of the program or its libraries.
    #[default]
    User,
    /// A function of the kernel or one of its modules.
    Kernel,
    /// A function that was inlined into the next frame towards the root.
    Inlined,
    /// A generated function, named by a `perf-PID.map` or a jitdump.
    Jit,
    /// Not a function, but the mark that the rest of the stack was not captured.
    Truncated,
}

impl Kind {
    /// The symbol that says that the rest of a stack was not captured.
    pub const TRUNCATED: &'static str = "[truncated]";

    /// The kind of a frame of text, which has only names.
    pub fn of(symbol: &[u8], module: &[u8]) -> Kind {
        if symbol == Kind::TRUNCATED.as_bytes() { Kind::Truncated } else { Kind::of_module(module) }
    }

    /// The kind of a frame in `module`, by the module's name.
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
    /// aarch64 and others, but not so close to the end that it is a small negative number.
    pub(crate) fn is_kernel_address(address: u64) -> bool {
        (0xffff_0000_0000_0000..0xffff_ffff_ffff_f000).contains(&address)
    }
}

/// Whether perf calls code so that the kernel made while it ran.
fn is_made_by_kernel(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"bpf_prog_",
        b"bpf_trampoline_",
        b"bpf_dispatcher_",
        b"ftrace_trampoline",
        b"kprobe_insn_page",
        b"kprobe_optinsn_page",
    ];
    matches!(name.first(), Some(b'b' | b'f' | b'k')) && NAMES.iter().any(|it| name.starts_with(it))
}

fn is_kernel(module: &[u8]) -> bool {
    const MODULES: [&[u8]; 5] = [b".ko", b".ko.xz", b".ko.gz", b".ko.zst", b".ko.debug"];
    if let Some(name) = module.strip_prefix(b"[") {
        return name.starts_with(b"kernel.") || !is_user_memory(name);
    }
    let file = module.rfind_byte(b'/').map_or(module, |slash| &module[slash + 1..]);
    let vmlinux =
        |tail: &[u8]| tail.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    // This runs for every frame line. The last byte rules out nearly all.
    let is_module = matches!(file.last(), Some(b'o' | b'z' | b't' | b'g'))
        && MODULES.iter().any(|end| file.ends_with(end));
    is_module
        || module == b"/proc/kcore"
        || is_made_by_kernel(file)
        || memchr::memrchr_iter(b'v', file)
            .find(|&at| file[at..].starts_with(b"vmlinux"))
            .is_some_and(|at| vmlinux(&file[at..]))
}

/// Whether a name in brackets, without the first one, is memory of a program and not a module of
/// the kernel.
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

/// One function on a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The symbol without offset: `main`, `core::fmt::write`, `[unknown]`. Bytes, not UTF-8.
    pub symbol: &'a BStr,
    /// The mapped file: `/usr/bin/rg`, `[kernel.kallsyms]`; empty if it is not known.
    pub module: &'a BStr,
    /// The kind of frame.
    pub kind: Kind,
    /// The address, if it is part of the frame's identity: for an unknown symbol, if the source
    /// distinguishes these by address.
    pub address: Option<u64>,
    /// The line that ran or called, if the source was asked for lines. It is part of the frame's
    /// identity then.
    pub line: Option<SourceLine<'a>>,
}

/// A line of source code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine<'a> {
    /// The path of the file.
    pub file: &'a BStr,
    /// The line, from 1; 0 if only the file is known.
    pub line: u32,
}

impl<'a> Frame<'a> {
    /// A frame with only a name, as in folded text.
    pub fn named(name: &'a [u8]) -> Self {
        Frame { symbol: name.as_bstr(), ..Frame::default() }
    }
}

/// A distinct frame of a [`FrameTable`]. Ids are dense, so a `Vec` indexed by them is the natural
/// cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(NonZeroU32);

impl FrameId {
    /// The id as an index. The first frame of a table is 0.
    #[inline]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The id with this [`index`](FrameId::index).
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

/// One observation of a running program. It borrows everything, because it lives for one push.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample<'a> {
    /// The thread's name.
    pub comm: &'a BStr,
    /// The process, if the source has it.
    pub pid: Option<u32>,
    /// The thread, if the source has it.
    pub tid: Option<u32>,
    /// The CPU, if the source has it.
    pub cpu: Option<u32>,
    /// When it was taken, in nanoseconds of the recording's clock.
    pub time: Option<u64>,
    /// The event with its modifiers: `cycles:u`, `sched:sched_switch`; empty if it is unknown.
    pub event: &'a BStr,
    /// How many units of the event the sample stands for. `None`, if the source does not have it,
    /// weighs 1.
    pub period: Option<u64>,
    /// The stack, leaf first, with inlined frames before the frame they were inlined into. Empty
    /// without a call chain.
    pub stack: &'a [FrameId],
    /// The place of each frame of `stack`; empty unless the source was asked for places.
    pub places: &'a [Place],
    /// The text of this sample, including its blank line; empty for other sources. A writer of text
    /// writes it unchanged if the sample did not change.
    pub text: &'a [u8],
}

impl Sample<'_> {
    /// The weight in a folded stack: the period, or 1 without one.
    pub fn weight(&self) -> u64 {
        self.period.unwrap_or(1)
    }
}

/// The place of one frame of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The sampled address.
    pub address: u64,
    /// The distance from the start of the symbol, if the symbol is known.
    pub offset: Option<u64>,
}

/// `name` with a `?` for each control character. A newline in a name would forge a line of text.
pub(crate) fn printable(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().all(|byte| !byte.is_ascii_control()) {
        return name.into();
    }
    let print = |&byte: &u8| if byte.is_ascii_control() { b'?' } else { byte };
    name.iter().map(print).collect::<Vec<_>>().into()
}

/// Takes samples: a stage, a folder, a writer of text.
///
/// Sources push into a `dyn SampleSink`. That costs a call for each sample, where a copy of each
/// source for each kind of pipeline would make a fifth of the library's code.
pub trait SampleSink {
    /// Whether `sample`, which has no stack yet, is wanted. Sources ask this if the stack is work.
    /// A sample that is not wanted is not pushed, but the sink counts it. A wanted one may still be
    /// dropped later.
    fn wants(&mut self, _frames: &FrameTable, _sample: &Sample<'_>) -> bool {
        true
    }

    /// Takes one sample.
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()>;

    /// Whether the sink wants all samples that the source holds back, because someone watches. Then
    /// the source pushes them and calls [`pause`](SampleSink::pause).
    fn is_watched(&mut self) -> bool {
        false
    }

    /// Says that the source has pushed all samples that it has so far.
    fn pause(&mut self, _frames: &mut FrameTable) -> Result<()> {
        Ok(())
    }

    /// Takes text that is not a sample: comments, odd lines, more than one blank line. Only writers
    /// of text need it.
    fn text(&mut self, _text: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Ends the stream: pushes held items, ends the next sink, and adds this stage's counts to
    /// `tally`.
    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go() {
        assert_eq!(*printable(b"my\nworker\x1b[31m\x7f"), *b"my?worker?[31m?");
        assert!(matches!(printable("é b".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn modules_decide_kinds() {
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
            ("bpf_trampoline_6442485856", Kind::Kernel),
            ("ftrace_trampoline", Kind::Kernel),
            ("/usr/bin/bpftool", Kind::User),
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
