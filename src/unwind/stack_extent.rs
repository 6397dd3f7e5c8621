//! How much of a copied stack unwinding will need.
//!
//! ```text
//!  stack pointer      root                        the kernel's copy ends
//!        ▕ frames of functions ▏ what the thread started with ▏
//!        ╰──────── kept ───────╯
//! ```
//!
//! The kernel copies up to 64 KB, whatever is there: behind a thread's first function its own variables, behind a process's its arguments
//! and environment, which is more than most stacks. Where a thread began stays where it is, so what is above is not kept of
//! any stack after the first that was followed to there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::perf_data::RawSample;

use super::registers::{Machine, Registers};

/// What is kept above a root, in bytes: where no tables say how to go on, a few words are looked at.
const MARGIN: u64 = 256;

/// Where threads began, as those who unwind them find out, for those who copy their stacks.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    machine: Option<Machine>,
    /// By thread; `None` is one that was lost once, perhaps because it has several stacks.
    roots: Arc<Mutex<HashMap<u32, Option<u64>>>>,
}

impl Reach {
    pub(super) fn new(machine: Option<Machine>) -> Reach {
        Reach { machine, ..Reach::default() }
    }

    /// How many bytes of its copied stack are needed to unwind `sample`.
    pub(crate) fn needed(&self, sample: &RawSample<'_>) -> usize {
        let copied = sample.stack_user.map_or(0, |stack| stack.bytes.len());
        self.to_root(sample).map_or(copied, |needed| copied.min(needed as usize))
    }

    fn to_root(&self, sample: &RawSample<'_>) -> Option<u64> {
        let root = lock(&self.roots).get(&sample.tid?).copied()??;
        let start = Registers::of(self.machine?, sample)?.sp();
        // On another stack, as in a signal's handler, it is not known.
        (start < root).then(|| (root - start).saturating_add(MARGIN))
    }

    /// Thread `tid` was followed to its root, where the stack pointer was `root`.
    pub(super) fn found(&self, tid: u32, root: u64) {
        let mut roots = lock(&self.roots);
        roots.entry(tid).or_insert(Some(root)).as_mut().into_iter().for_each(|known| *known = root);
    }

    /// Whether a copy of the stack of thread `tid` that ends at `end` lacks the root, as far as
    /// that is known.
    pub(super) fn is_below_root(&self, tid: u32, end: u64) -> bool {
        lock(&self.roots).get(&tid).copied().flatten().is_some_and(|root| end < root)
    }

    /// Thread `tid` was not followed to its root: from now on all of it is needed.
    pub(super) fn lost(&self, tid: u32) {
        lock(&self.roots).entry(tid).and_modify(|known| *known = None);
    }

    /// Thread `tid` has another stack from now on, or is another one.
    pub(super) fn forget(&self, tid: u32) {
        lock(&self.roots).remove(&tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::{Cursor, Endian, Regs, StackUser};

    #[test]
    fn what_is_above_a_root_is_not_needed() {
        let reach = Reach::new(Machine::of(Some("x86_64")));
        let needed = |tid, sp: u64| {
            // Of `enum perf_event_x86_regs`, 7 and 8: sp and ip.
            let values: Vec<u8> = [sp, 0x1000].iter().flat_map(|word| word.to_le_bytes()).collect();
            let values = Cursor::new(&values, Endian::Little).words(2).unwrap();
            let regs_user = Some(Regs { abi: 2, mask: 3 << 7, values });
            let stack_user = Some(StackUser { bytes: &[0; 4000], reserved: 4096 });
            let sample =
                RawSample { tid: Some(tid), regs_user, stack_user, ..RawSample::default() };
            reach.needed(&sample)
        };
        assert_eq!(needed(7, 0x7000), 4000, "nothing is known");
        reach.found(7, 0x7100);
        assert_eq!(needed(7, 0x7000), 0x200);
        assert_eq!((needed(8, 0x7000), needed(7, 0x7100), needed(7, 0x9000)), (4000, 4000, 4000));
        assert_eq!(needed(7, 0x1000), 4000, "more than was copied");
        reach.found(7, 0x7200);
        assert_eq!(needed(7, 0x7000), 0x300, "another stack");
        reach.lost(7);
        reach.found(7, 0x7100);
        reach.lost(8);
        assert_eq!((needed(7, 0x7000), needed(8, 0x7000)), (4000, 4000));
        reach.forget(7);
        reach.found(7, 0x7100);
        assert_eq!(needed(7, 0x7000), 0x200, "a new thread");
    }
}
