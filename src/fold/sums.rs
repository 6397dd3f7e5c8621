//! Sums weights by stack.

use std::ops::AddAssign;

use crate::prefetch::prefetch;
use crate::sample::FrameId;
use crate::stacks::{Stacks, hash};

/// The weight of a stack, and in a differential its weight in the second profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) weight: u64,
    pub(super) after: Option<u64>,
}

/// Sums stop at `u64::MAX`.
impl AddAssign for Weight {
    fn add_assign(&mut self, other: Weight) {
        self.weight = self.weight.saturating_add(other.weight);
        if let Some(after) = other.after {
            self.after = Some(self.after.unwrap_or(0).saturating_add(after));
        }
    }
}

/// A sum of weights for each distinct stack, in order of first appearance.
#[derive(Clone, Default)]
pub(super) struct Sums {
    stacks: Stacks<FrameId>,
    /// By the numbers of the stacks.
    weights: Vec<u64>,
    /// The weights in the second profile. Empty if this is not a differential, as few profiles are.
    after: Vec<Option<u64>>,
}

impl Sums {
    /// Adds `weight` to `stack`. Sums stop at `u64::MAX`.
    #[inline]
    pub(super) fn add(&mut self, stack: &[FrameId], weight: Weight) {
        let id = self.stacks.intern(stack);
        self.add_to(id, weight);
    }

    #[inline]
    fn add_to(&mut self, id: usize, weight: Weight) {
        match self.weights.get_mut(id) {
            Some(sum) => *sum = sum.saturating_add(weight.weight),
            None => self.weights.push(weight.weight),
        }
        if let Some(after) = weight.after {
            self.after.resize(self.weights.len(), None);
            let sum = &mut self.after[id];
            *sum = Some(sum.unwrap_or(0).saturating_add(after));
        }
    }

    /// Every stack once.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[FrameId], Weight)> {
        (0..self.len()).map(|id| self.get(id))
    }

    /// A stack by its number, in the order of [`iter`](Sums::iter), and its sum.
    pub(super) fn get(&self, id: usize) -> (&[FrameId], Weight) {
        let after = self.after.get(id).copied().flatten();
        (self.stacks.get(id), Weight { weight: self.weights[id], after })
    }

    /// As [`Stacks::prefetch`], with the weight of the stack.
    pub(super) fn prefetch(&self, id: usize, links: u8) {
        self.stacks.prefetch(id, links);
        prefetch(self.weights.get(id));
    }

    /// How many distinct stacks there are.
    pub(super) fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Frees the table that finds stacks, a third of all memory. From now on, every added stack
    /// counts as a new one.
    pub(super) fn close(&mut self) {
        self.stacks.close();
    }
}

/// Sums stacks that arrive one after another. Each waits for a few others while the memory that it
/// needs is loaded.
#[derive(Default)]
pub(super) struct Arrivals {
    sums: Sums,
    /// The waiting stacks, one behind the other.
    frames: Vec<FrameId>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    hash: u32,
    /// In `frames`.
    end: usize,
    weight: u64,
}

/// This many stacks wait.
const AHEAD: usize = 8;

impl Arrivals {
    /// Adds `weight` to `stack`.
    #[inline]
    pub(super) fn add(&mut self, stack: &[FrameId], weight: u64) {
        let hash = hash(stack);
        self.sums.stacks.prefetch_hash(hash);
        self.frames.extend_from_slice(stack);
        self.waiting.push(Waiting { hash, end: self.frames.len(), weight });
        if self.waiting.len() == AHEAD {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let mut start = 0;
        for Waiting { hash, end, weight } in self.waiting.drain(..) {
            let id = self.sums.stacks.intern_hashed(&self.frames[start..end], hash);
            self.sums.add_to(id, Weight { weight, after: None });
            start = end;
        }
        self.frames.clear();
    }

    /// The sums of all that arrived.
    pub(super) fn sums(&mut self) -> &mut Sums {
        self.settle();
        &mut self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Frame, FrameTable};
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn sums_are_those_of_a_map(
            adds in proptest::collection::vec((proptest::collection::vec(0usize..4, 0..5), 0u64..9), 0..200)
        ) {
            let mut table = FrameTable::default();
            let ids: Vec<_> = ["a", "b", "c", "d"].iter().map(|n| table.intern(Frame::named(n.as_bytes()))).collect();
            let mut sums = Sums::default();
            let mut map = HashMap::<Vec<FrameId>, u64>::new();
            let mut arrivals = Arrivals::default();
            for (stack, weight) in adds {
                let stack: Vec<_> = stack.into_iter().map(|i| ids[i]).collect();
                sums.add(&stack, Weight { weight, after: None });
                arrivals.add(&stack, weight);
                *map.entry(stack).or_default() += weight;
            }
            prop_assert_eq!(sums.len(), map.len());
            prop_assert!(sums.iter().all(|(stack, weight)| map[stack] == weight.weight));
            prop_assert!(sums.iter().eq(arrivals.sums().iter()));
        }
    }
}
