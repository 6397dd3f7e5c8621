//! Which texts were met before, without keeping them.
//!
//! Of each text a keyed hash of 96 bits is kept, beside a number. So a look-up is one access to memory and not three, and a program of a
//! million distinct lines costs 32 MB and not its text. Of a million texts two have the same hash once in 10¹⁷ runs, and as the
//! keys are drawn anew in each, no input can be made to.

use std::hash::{BuildHasher, RandomState};

/// What is known of each text: a number.
pub(super) struct Digests {
    /// A power of two of them, at most three quarters taken. A text is in the first free slot behind where its hash points.
    slots: Vec<Slot>,
    taken: usize,
    keys: [u64; 4],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    high: u64,
    low: u32,
    /// What is known, or `FREE`.
    value: u32,
}

/// Most programs have fewer distinct lines; so many slots stay in the second-level cache.
const FIRST: usize = 1 << 14;
const FREE: u32 = u32::MAX;
const EMPTY: Slot = Slot { high: 0, low: 0, value: FREE };

impl Default for Digests {
    fn default() -> Self {
        let random = RandomState::new();
        let keys = std::array::from_fn(|i| random.hash_one(i));
        Digests { slots: vec![EMPTY; FIRST], taken: 0, keys }
    }
}

impl Digests {
    /// What is known of `text`; if it is new, what `make` answers, which must not be `u32::MAX`.
    #[inline]
    pub(super) fn get_or_insert_with(&mut self, text: &[u8], make: impl FnOnce() -> u32) -> u32 {
        let (high, low) = hash(text, &self.keys);
        let at = place(&self.slots, high, low);
        if self.slots[at].value == FREE {
            self.slots[at] = Slot { high, low, value: make() };
            self.taken += 1;
            if self.taken > self.slots.len() / 4 * 3 {
                return self.grow(at);
            }
        }
        self.slots[at].value
    }

    /// Answers what was known at `at`.
    #[cold]
    fn grow(&mut self, at: usize) -> u32 {
        let value = self.slots[at].value;
        let mut larger = vec![EMPTY; self.slots.len() * 2];
        for &slot in self.slots.iter().filter(|slot| slot.value != FREE) {
            let at = place(&larger, slot.high, slot.low);
            larger[at] = slot;
        }
        self.slots = larger;
        value
    }
}

/// Where the text of a hash is, or would be.
#[inline]
fn place(slots: &[Slot], high: u64, low: u32) -> usize {
    let mask = slots.len() - 1;
    let mut at = high as usize & mask;
    loop {
        let slot = slots[at];
        if slot.value == FREE || (slot.high, slot.low) == (high, low) {
            return at;
        }
        at = (at + 1) & mask;
    }
}

/// Two chains of folded multiplications, as wyhash and foldhash have one: 16 bytes a step, both at once in the processor.
#[inline]
fn hash(text: &[u8], keys: &[u64; 4]) -> (u64, u32) {
    let len = text.len() as u64;
    let (mut a, mut b) = (keys[0] ^ len, keys[1] ^ len.rotate_left(32));
    let mut step = |block: &[u8; 16]| {
        let block = u128::from_le_bytes(*block);
        let (x, y) = (block as u64, (block >> 64) as u64);
        (a, b) = (fold(x ^ a, y ^ keys[2]), fold(x ^ keys[3], y ^ b));
    };
    let (blocks, rest) = text.as_chunks::<16>();
    blocks.iter().for_each(&mut step);
    // The last 16 bytes, some of them once more; a shorter text is filled up.
    match text.last_chunk::<16>() {
        Some(_) if rest.is_empty() => {}
        Some(last) => step(last),
        None => {
            let mut last = [0; 16];
            last[..text.len()].copy_from_slice(text);
            step(&last);
        }
    }
    (fold(a ^ keys[1], b ^ keys[2]), fold(a ^ keys[3], b ^ keys[0]) as u32)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn texts_are_known_as_by_a_map(texts in prop::collection::vec(prop::collection::vec(0u8..3, 0..40), 0..300)) {
            let (mut digests, mut map) = (Digests::default(), HashMap::new());
            for (i, text) in texts.into_iter().enumerate() {
                let known = digests.get_or_insert_with(&text, || i as u32);
                prop_assert_eq!(known, *map.entry(text).or_insert(i as u32));
            }
        }
    }

    #[test]
    fn values_stay_when_the_table_grows() {
        let mut digests = Digests::default();
        let texts: Vec<String> =
            (0..3 * FIRST).map(|i| format!("function_{i}+0x1 (/a)\n")).collect();
        for new in [true, false] {
            for (i, text) in texts.iter().enumerate() {
                let mut was_new = false;
                let value = digests.get_or_insert_with(text.as_bytes(), || {
                    was_new = true;
                    i as u32
                });
                assert_eq!((value, was_new), (i as u32, new));
            }
        }
    }

    #[test]
    fn texts_of_zeros_differ_by_their_length() {
        let (mut digests, zeros) = (Digests::default(), [0; 100]);
        assert!(
            (0..100)
                .all(|len| digests.get_or_insert_with(&zeros[..len], || len as u32) == len as u32)
        );
    }
}
