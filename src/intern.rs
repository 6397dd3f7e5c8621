//! Byte strings, each stored once and named by a small number.
//!
//! Everything that repeats in a profile (symbols, modules, whole lines of text) goes through an [`Interner`], so
//! that memory grows with what is distinct and comparisons are comparisons of integers.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::slots::Slots;

/// Room from the start on, in bytes. What is not used costs nothing, and allocations of this size grow by moving pages
/// instead of bytes.
pub(crate) const ROOM: usize = 256 << 10;

/// A set of byte strings with dense ids from 0 in order of first appearance.
#[derive(Clone, Default)]
pub struct Interner {
    bytes: Vec<u8>,
    /// Where each string lies in `bytes`.
    ranges: Vec<Range>,
    ids: Slots,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    len: u32,
}

impl Interner {
    /// The id of `string`, which is stored if it is new.
    ///
    /// Ids stop at `u32::MAX` strings of up to 4 GiB; a profile that large would not fit memory.
    #[inline]
    pub fn intern(&mut self, string: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(string) as u32;
        let Self { bytes, ranges, ids, .. } = self;
        let next = ranges.len() as u32;
        let id = ids.find_or_add(hash, next, |id| get(bytes, ranges, id) == string);
        if id == next {
            if ranges.is_empty() {
                bytes.reserve(ROOM);
                ranges.reserve(ROOM / size_of::<Range>());
            }
            ranges.push(Range { start: bytes.len(), len: string.len() as u32 });
            bytes.extend_from_slice(string);
        }
        id
    }

    /// The string of `id`; empty if no string has it.
    #[inline]
    pub fn get(&self, id: u32) -> &[u8] {
        get(&self.bytes, &self.ranges, id)
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[inline]
fn get<'a>(bytes: &'a [u8], ranges: &[Range], id: u32) -> &'a [u8] {
    match ranges.get(id as usize) {
        Some(range) => &bytes[range.start..range.start + range.len as usize],
        None => b"",
    }
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
