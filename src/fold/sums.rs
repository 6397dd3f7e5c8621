//! Weights by stack.

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
    weights: Vec<Weight>,
}

impl Sums {
    /// Adds `weight` to `stack`. Sums stop at `u64::MAX`.
    #[inline]
    pub(super) fn add(&mut self, stack: &[FrameId], weight: Weight) {
        let id = self.stacks.intern(stack);
        match self.weights.get_mut(id) {
            Some(sum) => sum.add(weight),
            None => self.weights.push(weight),
        }
    }

    /// Every stack once.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[FrameId], Weight)> {
        self.weights.iter().enumerate().map(|(id, &weight)| (self.stacks.get(id), weight))
    }

    /// How many distinct stacks there are.
    pub(super) fn len(&self) -> usize {
        self.stacks.len()
    }
}

impl Weight {
    /// Adds `other`, up to `u64::MAX`.
    pub(super) fn add(&mut self, other: Weight) {
        self.weight = self.weight.saturating_add(other.weight);
        self.after = match (self.after, other.after) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
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
