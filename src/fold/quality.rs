//! How good a stack is: does it reach the start of a thread, was it cut, has its leaf a name.

use bstr::BStr;

use crate::sample::{Frame, FrameId, FrameTable, Kind};
use crate::tally::Stacks;

/// Functions that start a thread or the kernel's side of one; whoever called them, nobody did.
const THREAD_ROOTS: [&str; 25] = [
    "_start",
    "main",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__GI___clone",
    "__GI___clone3",
    "_dl_start_user",
    "__libc_start_main",
    "__libc_start_call_main",
    "__libc_start_main@@GLIBC_2.34",
    "__libc_start_main_impl",
    "thread_start",
    "_pthread_start",
    "RtlUserThreadStart",
    "ret_from_fork",
    "ret_from_fork_asm",
    "secondary_startup_64",
    "secondary_startup_64_no_verify",
    "common_startup_64",
    "__primary_switched",
    "__secondary_switched",
    "x86_64_start_kernel",
];

/// Looks at each distinct stack once.
pub(super) struct Quality {
    /// By frame id: what was seen of it.
    seen: Vec<u8>,
}

/// Bits of what a frame is: the root of a thread, nameless, the mark of a cut stack, and what a nameless `_start` calls.
const ROOT: u8 = 1;
const NAMELESS: u8 = 2;
const CUT: u8 = 4;
const CALLED_BY_START: u8 = 8;

impl Quality {
    /// Looks at all `frames` that may be sampled.
    pub(super) fn of(frames: &FrameTable) -> Quality {
        Quality { seen: frames.ids().map(|id| look_at(frames, id)).collect() }
    }

    /// Counts `stack`, leaf first, in `into`.
    pub(super) fn look(
        &self,
        frames: &FrameTable,
        stack: &[FrameId],
        weight: u64,
        into: &mut Stacks,
    ) {
        add(&mut into.weight, weight);
        let see = |frame: &FrameId| self.seen.get(frame.index()).copied().unwrap_or(0);
        let (mut all, mut called, mut root) = (0, 0, 0);
        for frame in stack {
            (called, root) = (root, see(frame));
            all |= root;
        }
        // The `_start` of a program without symbols.
        let is_start = root & NAMELESS != 0 && called & CALLED_BY_START != 0;
        if is_start || root & ROOT != 0 {
            add(&mut into.rooted, weight);
        }
        if all & CUT != 0 {
            add(&mut into.truncated, weight);
        }
        if let Some(leaf) = stack.first().filter(|leaf| see(leaf) & NAMELESS != 0) {
            let module = frames.get(*leaf).module;
            add(into.unresolved.entry(module.into()).or_default(), weight);
        }
    }
}

fn look_at(frames: &FrameTable, id: FrameId) -> u8 {
    let Frame { symbol, kind, .. } = frames.get(id);
    // Inside execve the old stack is gone: the new program begins there.
    let is_root =
        THREAD_ROOTS.iter().any(|&root| symbol == BStr::new(root)) || symbol.ends_with(b"execve");
    let bits = [
        (ROOT, is_root),
        (NAMELESS, symbol == "[unknown]"),
        (CUT, kind == Kind::Truncated),
        (CALLED_BY_START, symbol.starts_with(b"__libc_start_main")),
    ];
    bits.into_iter().filter(|(_, is_set)| *is_set).fold(0, |all, (bit, _)| all | bit)
}

fn add(sum: &mut u64, weight: u64) {
    *sum = sum.saturating_add(weight);
}
