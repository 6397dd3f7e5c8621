//! How good a stack is: does it reach the start of a thread, was it cut, has its leaf a name.

use bstr::BStr;

use crate::sample::{FrameId, FrameTable, Kind};
use crate::tally::Stacks;

/// Functions that start a thread or the kernel's side of one; whoever called them, nobody did.
const THREAD_ROOTS: [&str; 22] = [
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
    "x86_64_start_kernel",
];

/// Looks at each distinct stack once.
#[derive(Default)]
pub(super) struct Quality {
    /// By frame id: whether it is a thread's root.
    roots: Vec<Option<bool>>,
    pub(super) stacks: Stacks,
}

impl Quality {
    /// Counts `stack`, leaf first.
    pub(super) fn look(&mut self, frames: &FrameTable, stack: &[FrameId], weight: u64) {
        add(&mut self.stacks.weight, weight);
        let mut ends = stack.iter().rev().copied();
        let (last, before) = (ends.next(), ends.next());
        // The `_start` of a program without symbols.
        let is_start = |&last: &FrameId| {
            let called = before.map(|before| frames.symbol(before));
            frames.symbol(last) == "[unknown]"
                && called.is_some_and(|called| called.starts_with(b"__libc_start_main"))
        };
        if last.is_some_and(|last| is_start(&last) || self.is_root(frames, last)) {
            add(&mut self.stacks.rooted, weight);
        }
        if stack.iter().any(|&frame| frames.kind(frame) == Kind::Truncated) {
            add(&mut self.stacks.truncated, weight);
        }
        if let Some(leaf) =
            stack.first().map(|&leaf| frames.get(leaf)).filter(|leaf| leaf.symbol == "[unknown]")
        {
            add(self.stacks.unresolved.entry(leaf.module.into()).or_default(), weight);
        }
    }

    fn is_root(&mut self, frames: &FrameTable, id: FrameId) -> bool {
        if self.roots.len() <= id.index() {
            self.roots.resize(id.index() + 1, None);
        }
        *self.roots[id.index()].get_or_insert_with(|| {
            let symbol = frames.symbol(id);
            // Inside execve the old stack is gone: the new program begins there.
            THREAD_ROOTS.iter().any(|&root| symbol == BStr::new(root))
                || symbol.ends_with(b"execve")
        })
    }
}

fn add(sum: &mut u64, weight: u64) {
    *sum = sum.saturating_add(weight);
}
