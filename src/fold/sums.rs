//! Weights by stack.

use std::ops::Range;

use crate::sample::FrameId;
use crate::stacks::Stacks;

/// What is summed for a stack: the weight, and that of the second profile in a differential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) weight: u64,
    pub(super) after: Option<u64>,
}

/// A sum of weights for each distinct stack, in order of first appearance.
#[derive(Clone, Default)]
pub(super) struct Sums {
    stacks: Stacks<FrameId>,
    /// By the stacks' numbers.
    weights: Vec<u64>,
    /// The same of the second profile, if any stack has one: few profiles are differentials.
    after: Vec<Option<u64>>,
}

impl Sums {
    /// Adds `weight` to `stack`. Sums stop at `u64::MAX`.
    #[inline]
    pub(super) fn add(&mut self, stack: &[FrameId], weight: Weight) {
        let id = self.stacks.intern(stack);
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

    /// The stack of a number, in the order of [`iter`](Sums::iter), and its sum.
    pub(super) fn get(&self, id: usize) -> (&[FrameId], Weight) {
        let after = self.after.get(id).copied().flatten();
        (self.stacks.get(id), Weight { weight: self.weights[id], after })
    }

    /// Where the stack of a number is among the frames of all stacks, one behind the other.
    pub(super) fn range(&self, id: usize) -> Range<usize> {
        self.stacks.range(id)
    }

    /// How many distinct stacks there are.
    pub(super) fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Frees what only [`add`](Sums::add) needs, a third of all: nothing may be added any more.
    pub(super) fn close(&mut self) {
        self.stacks.close();
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
            let (mut sums, mut map) = (Sums::default(), HashMap::<Vec<FrameId>, u64>::new());
            for (stack, weight) in adds {
                let stack: Vec<_> = stack.into_iter().map(|i| ids[i]).collect();
                sums.add(&stack, Weight { weight, after: None });
                *map.entry(stack).or_default() += weight;
            }
            prop_assert_eq!(sums.len(), map.len());
            prop_assert!(sums.iter().all(|(stack, weight)| map[stack] == weight.weight));
        }
    }
}
