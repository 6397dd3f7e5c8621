//! Predicts how much of a copied stack the unwinder will need.
//!
//! ```text
//!  stack pointer      root                        the kernel's copy ends
//!        ▕ frames of functions ▏ older data of the thread ▏
//!        ╰──────── kept ───────╯
//! ```
//!
//! The kernel copies up to 64 KB, whatever they hold. Above the root there are a thread's own
//! variables, or the arguments and environment of a process, which are larger than most stacks. The
//! root of a thread does not move. So once a stack was followed to its root, the bytes above it are
//! dropped from later ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::perf_data::RawSample;

use super::registers::{Machine, Registers};

/// How many bytes above a root are kept. Without tables, the unwinder looks at a few of these
/// words.
const MARGIN: u64 = 256;

/// The roots of threads. The unwinder finds them, and the thread that copies stacks asks for them.
#[derive(Clone, Default)]
pub(crate) struct StackExtent {
    machine: Option<Machine>,
    /// By thread. `None` for one that was lost once, perhaps because it has several stacks.
    roots: Arc<Mutex<HashMap<u32, Option<u64>>>>,
}

impl StackExtent {
    pub(super) fn new(machine: Option<Machine>) -> StackExtent {
        StackExtent { machine, ..StackExtent::default() }
    }

    /// How many bytes of its copied stack are needed to unwind `sample`.
    pub(crate) fn needed(&self, sample: &RawSample<'_>) -> usize {
        let copied = sample.stack_user.map_or(0, |stack| stack.bytes.len());
        self.to_root(sample).map_or(copied, |needed| copied.min(needed as usize))
    }

    fn to_root(&self, sample: &RawSample<'_>) -> Option<u64> {
        let root = lock(&self.roots).get(&sample.tid?).copied()??;
        let start = Registers::of(self.machine?, sample)?.sp();
        // It is not known on another stack, such as that of a signal's handler.
        (start < root).then(|| (root - start).saturating_add(MARGIN))
    }

    /// Notes that thread `tid` was followed to its root, where the stack pointer was `root`.
    pub(super) fn found(&self, tid: u32, root: u64) {
        if let Some(known) = lock(&self.roots).entry(tid).or_insert(Some(root)) {
            *known = root;
        }
    }

    /// Whether a copy of the stack of thread `tid` that ends at `end` is known to lack the root.
    pub(super) fn is_below_root(&self, tid: u32, end: u64) -> bool {
        lock(&self.roots).get(&tid).copied().flatten().is_some_and(|root| end < root)
    }

    /// Notes that thread `tid` was not followed to its root. From now on its whole stack is needed.
    pub(super) fn lost(&self, tid: u32) {
        lock(&self.roots).entry(tid).and_modify(|known| *known = None);
    }

    /// Forgets thread `tid`, which ended or has a new stack.
    pub(super) fn forget(&self, tid: u32) {
        lock(&self.roots).remove(&tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::sample::{Regs, StackUser};
    use crate::perf_data::{Cursor, Endian};

    #[test]
    fn bytes_above_a_root_are_not_needed() {
        let reach = StackExtent::new(Machine::of(Some("x86_64")));
        let needed = |tid, sp: u64| {
            // sp and ip are 7 and 8 of `enum perf_event_x86_regs`.
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
