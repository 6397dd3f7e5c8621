//! Stores each distinct byte string once, under a small number.
//!
//! Everything that repeats in a profile (symbols, modules, whole lines of text) goes through an
//! [`Interner`]. So memory grows with the number of distinct strings, and comparing strings means
//! comparing integers.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::prefetch::prefetch;
use crate::slots::Slots;

/// The first capacity, in bytes. Unused pages cost nothing, and allocations of this size grow by
/// moving pages instead of bytes.
pub(crate) const ROOM: usize = 256 << 10;

/// A set of byte strings with dense ids from 0 in order of first appearance.
#[derive(Clone, Default)]
pub(crate) struct Interner {
    bytes: Vec<u8>,
    /// The end of each string in `bytes`. It starts at the end of the previous one.
    ends: Vec<usize>,
    ids: Slots,
    hasher: DefaultHashBuilder,
}

impl Interner {
    /// The id of `string`. Stores it if it is new.
    ///
    /// There are at most `u32::MAX` ids. A larger profile would not fit into memory.
    #[inline]
    pub(crate) fn intern(&mut self, string: &[u8]) -> u32 {
        self.intern_hashed(string, self.hash(string))
    }

    #[inline]
    fn hash(&self, string: &[u8]) -> u32 {
        self.hasher.hash_one(string) as u32
    }

    #[inline]
    fn intern_hashed(&mut self, string: &[u8], hash: u32) -> u32 {
        let Self { bytes, ends, ids, .. } = self;
        let next = ends.len() as u32;
        let id = ids.find_or_add(hash, next, |id| are_equal(get(bytes, ends, id), string));
        if id == next {
            if ends.is_empty() {
                bytes.reserve(ROOM);
                ends.reserve(ROOM / size_of::<usize>());
            }
            bytes.extend_from_slice(string);
            ends.push(bytes.len());
        }
        id
    }

    /// The string of `id`; empty if there is none.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        get(&self.bytes, &self.ends, id)
    }

    /// Interns every string of `other`. Returns the new ids by the other's ids.
    pub(crate) fn absorb(&mut self, other: &Interner) -> Vec<u32> {
        // Each string waits for this many others, while its slot is fetched, then the end of the
        // string there, then that string.
        const AHEAD: u32 = 12;
        let many = other.len() as u32;
        let mut hashes = [0; AHEAD as usize];
        let mut ids = Vec::with_capacity(other.len());
        for at in 0..many + AHEAD {
            let before = |steps: u32| at.checked_sub(steps).filter(|&due| due < many);
            for (steps, links) in [(4, 1), (8, 0)] {
                let due = before(steps).map(|due| hashes[(due % AHEAD) as usize]);
                if let Some(likely) = due.and_then(|hash| self.ids.likely(hash)) {
                    self.prefetch(likely, links);
                }
            }
            let hash = &mut hashes[(at % AHEAD) as usize];
            if let Some(due) = before(AHEAD) {
                ids.push(self.intern_hashed(other.get(due), *hash));
            }
            if at < many {
                *hash = self.hash(other.get(at));
                self.ids.prefetch(*hash);
            }
        }
        ids
    }

    /// Prefetches the slot of a string that will be interned.
    #[inline]
    pub(crate) fn prefetch_string(&self, string: &[u8]) {
        self.ids.prefetch(self.hash(string));
    }

    /// Prefetches one step of the way to the string of `id`: with 1 `links` its end, with 0 the
    /// string.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32, links: u8) {
        match links {
            0 => prefetch(self.get(id).first()),
            _ => prefetch(self.ends.get(id as usize)),
        }
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[inline]
fn get<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends.get(id - 1).copied().unwrap_or(0) };
    ends.get(id).and_then(|&end| bytes.get(start..end)).unwrap_or_default()
}

/// Compares names inline, because they are too short for a call.
#[inline]
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    // Compares whole blocks, then the last block, which may overlap them.
    fn blocks<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        let (blocks, _) = a.as_chunks::<N>();
        let (others, _) = b.as_chunks::<N>();
        blocks.iter().zip(others).all(|(a, b)| a == b) && a.last_chunk::<N>() == b.last_chunk::<N>()
    }
    a.len() == b.len()
        && match a.len() {
            16.. => blocks::<16>(a, b),
            4.. => blocks::<4>(a, b),
            _ => blocks::<1>(a, b),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_are_equal_if_slices_are(a in prop::collection::vec(0u8..2, 0..50), at in 0usize..50, len in 0usize..50) {
            let mut b = a.clone();
            prop_assert!(are_equal(&a, &b));
            b.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            prop_assert_eq!(are_equal(&a, &b), a == b);
            b.truncate(len);
            prop_assert_eq!(are_equal(&a, &b), a == b);
        }

        #[test]
        fn absorbed_strings_are_interned(
            mine in prop::collection::vec("[ab]{0,3}", 0..20), theirs in prop::collection::vec("[ab]{0,3}", 0..20),
        ) {
            let mut one = Interner::default();
            let mut other = Interner::default();
            for (strings, interner) in [(mine, &mut one), (theirs, &mut other)] {
                strings.iter().for_each(|string| {
                    interner.intern(string.as_bytes());
                });
            }
            let ids = one.absorb(&other);
            prop_assert_eq!(ids.len(), other.len());
            for (id, &here) in ids.iter().enumerate() {
                prop_assert_eq!(other.get(id as u32), one.get(here));
                prop_assert_eq!(one.intern(other.get(id as u32)), here);
            }
        }
    }

    #[test]
    fn equal_strings_share_an_id() {
        let mut interner = Interner::default();
        let words: [&[u8]; 5] = [b"main", b"", b"main", b"\xff\0", b""];
        let ids: Vec<u32> = words.iter().map(|word| interner.intern(word)).collect();
        assert_eq!(ids, [0, 1, 0, 2, 1]);
        assert!(words.iter().zip(&ids).all(|(word, &id)| interner.get(id) == *word));
        assert_eq!(interner.len(), 3);
        assert_eq!(interner.get(7), b"");
    }
}
