//! Byte strings, each stored once and named by a small number.
//!
//! Everything that repeats in a profile (symbols, modules, whole lines of text) goes through an [`Interner`], so
//! that memory grows with what is distinct and comparisons are comparisons of integers.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Room from the start on, in bytes. What is not used costs nothing, and allocations of this size grow by moving pages
/// instead of bytes.
pub(crate) const ROOM: usize = 256 << 10;

/// A set of byte strings with dense ids from 0 in order of first appearance.
#[derive(Clone, Default)]
pub struct Interner {
    bytes: Vec<u8>,
    /// Where each string lies in `bytes`.
    ranges: Vec<Range>,
    ids: HashTable<Slot>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    len: u32,
}

/// The hash stays with the id: a growing table need not touch a string, and most strings differ by it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) hash: u32,
    pub(crate) id: u32,
}

impl Interner {
    /// The id of `string`, which is stored if it is new.
    ///
    /// Ids stop at `u32::MAX` strings of up to 4 GiB; a profile that large would not fit memory.
    #[inline]
    pub fn intern(&mut self, string: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(string) as u32;
        let Self { bytes, ranges, ids, .. } = self;
        let same = |slot: &Slot| slot.hash == hash && get(bytes, ranges, slot.id) == string;
        match ids.entry(spread(hash), same, |slot| spread(slot.hash)) {
            Entry::Occupied(entry) => entry.get().id,
            Entry::Vacant(entry) => {
                let id = ranges.len() as u32;
                entry.insert(Slot { hash, id });
                if ranges.is_empty() {
                    bytes.reserve(ROOM);
                    ranges.reserve(ROOM / size_of::<Range>());
                }
                ranges.push(Range { start: bytes.len(), len: string.len() as u32 });
                bytes.extend_from_slice(string);
                id
            }
        }
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

/// The table takes its bucket from the low bits and its control byte from the high ones.
#[inline]
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash) | u64::from(hash) << 32
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
