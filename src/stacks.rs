//! Stores each distinct stack of frames or names once, under a small number.

use std::ops::Range;

use crate::intern::ROOM;
use crate::prefetch::prefetch;
use crate::slots::Slots;

/// A set of stacks with dense numbers from 0, in order of first appearance. The elements are small
/// numbers too.
///
/// Memory: the elements, and about 20 bytes for each stack.
#[derive(Clone)]
pub(crate) struct Stacks<T> {
    elements: Vec<T>,
    /// The end of each stack in `elements`. It starts at the end of the previous one.
    ends: Vec<usize>,
    slots: Slots,
    is_closed: bool,
}

impl<T> Default for Stacks<T> {
    fn default() -> Self {
        Stacks { elements: Vec::new(), ends: Vec::new(), slots: Slots::default(), is_closed: false }
    }
}

impl<T: Copy + Eq + Into<u32>> Stacks<T> {
    /// The number of `stack`. Stores it if it is new.
    #[inline]
    pub(crate) fn intern(&mut self, stack: &[T]) -> usize {
        let hash = if self.is_closed { 0 } else { hash(stack) };
        self.intern_hashed(stack, hash)
    }

    /// The same for a stack whose [`hash`] is known.
    #[inline]
    pub(crate) fn intern_hashed(&mut self, stack: &[T], hash: u32) -> usize {
        let id = self.ends.len();
        if !self.is_closed {
            let Self { elements, ends, slots, .. } = self;
            let is_it = |id| get(elements, ends, id as usize) == stack;
            let known = slots.find_or_add(hash, id as u32, is_it) as usize;
            if known != id {
                return known;
            }
        }
        if id == 0 {
            self.elements.reserve(ROOM / size_of::<T>());
        }
        self.elements.extend_from_slice(stack);
        self.ends.push(self.elements.len());
        id
    }

    /// Prefetches the slot of a stack with this [`hash`].
    #[inline]
    pub(crate) fn prefetch_hash(&self, hash: u32) {
        self.slots.prefetch(hash);
    }

    /// Prefetches one step of the way to a stack: with 1 `links` its end, with 0 its elements.
    pub(crate) fn prefetch(&self, id: usize, links: u8) {
        if links > 0 {
            return prefetch(self.ends.get(id));
        }
        let Range { start, end } = self.range(id);
        prefetch(self.elements.get(start));
        prefetch(self.elements.get(end.saturating_sub(1)));
    }

    /// Frees the hash table. From now on each stack that is interned is new.
    pub(crate) fn close(&mut self) {
        self.slots = Slots::default();
        self.is_closed = true;
    }

    /// How many stacks there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The stack of a number.
    pub(crate) fn get(&self, id: usize) -> &[T] {
        get(&self.elements, &self.ends, id)
    }

    /// The range of a stack among all elements.
    pub(crate) fn range(&self, id: usize) -> Range<usize> {
        range(&self.ends, id)
    }
}

/// The length of the common prefix of two stacks.
#[inline]
pub(crate) fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A hash for a table that also compares the stacks. It takes two elements per step.
#[inline]
pub(crate) fn hash<T: Copy + Into<u32>>(stack: &[T]) -> u32 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(K);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let (pairs, rest) = stack.as_chunks::<2>();
    let mut state = K ^ stack.len() as u64;
    for &[a, b] in pairs {
        state = mix(state, u64::from(a.into()) | u64::from(b.into()) << 32);
    }
    for &a in rest {
        state = mix(state, u64::from(a.into()));
    }
    (mix(state, K.rotate_left(32)) >> 32) as u32
}

fn get<'a, T>(elements: &'a [T], ends: &[usize], id: usize) -> &'a [T] {
    &elements[range(ends, id)]
}

fn range(ends: &[usize], id: usize) -> Range<usize> {
    let start = if id == 0 { 0 } else { ends[id - 1] };
    start..ends[id]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_share_a_number() {
        let mut stacks = Stacks::default();
        let all: [&[u32]; 5] = [&[1, 2], &[], &[1], &[1, 2], &[]];
        assert_eq!(all.map(|stack| stacks.intern(stack)), [0, 1, 2, 0, 1]);
        assert_eq!(stacks.get(0), [1, 2]);
        assert!(stacks.get(1).is_empty());
    }

    #[test]
    fn a_closed_set_takes_each_stack_as_new() {
        let mut stacks = Stacks::default();
        assert_eq!([1, 1, 2u32].map(|stack| stacks.intern(&[stack])), [0, 0, 1]);
        stacks.close();
        assert_eq!([1, 1].map(|stack| stacks.intern(&[stack])), [2, 3]);
    }
}
