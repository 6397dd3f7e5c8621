//! Byte strings, each stored once and named by a small number.
//!
//! Everything that repeats in a profile (symbols, modules, whole lines of text) goes through an [`Interner`], so
//! that memory grows with what is distinct and comparisons are comparisons of integers.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::prefetch::prefetch;
use crate::slots::Slots;

/// Room from the start on, in bytes. What is not used costs nothing, and allocations of this size grow by moving pages
/// instead of bytes.
pub(crate) const ROOM: usize = 256 << 10;

/// A set of byte strings with dense ids from 0 in order of first appearance.
#[derive(Clone, Default)]
pub struct Interner {
    bytes: Vec<u8>,
    /// Where each string ends in `bytes`; it starts where the one before ends.
    ends: Vec<usize>,
    ids: Slots,
    hasher: DefaultHashBuilder,
}

impl Interner {
    /// The id of `string`, which is stored if it is new.
    ///
    /// Ids stop at `u32::MAX` strings; a profile that large would not fit memory.
    #[inline]
    pub fn intern(&mut self, string: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(string) as u32;
        let Self { bytes, ends, ids, .. } = self;
        let next = ends.len() as u32;
        let id = ids.find_or_add(hash, next, |id| get(bytes, ends, id) == string);
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

    /// The string of `id`; empty if no string has it.
    #[inline]
    pub fn get(&self, id: u32) -> &[u8] {
        get(&self.bytes, &self.ends, id)
    }

    /// Has at hand what leads to the string of `id`: where it is, if `links` is 1, before it is asked for with 0.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32, links: u8) {
        match links {
            0 => self.get(id).first().into_iter().for_each(prefetch),
            _ => self.ends.get(id as usize).into_iter().for_each(prefetch),
        }
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[inline]
fn get<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends.get(id - 1).copied().unwrap_or(0) };
    ends.get(id).and_then(|&end| bytes.get(start..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
