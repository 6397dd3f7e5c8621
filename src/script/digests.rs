//! A table of texts that keeps their digests instead of the texts.
//!
//! For each text the table keeps a keyed hash of 96 bits and a number. So a look-up is one access
//! to memory instead of three, and a program of a million distinct lines costs 32 MB and not its
//! text. Among a million texts, two have the same hash once in 10¹⁷ runs. The keys are random in
//! each run, so no input can provoke it.

use std::hash::{BuildHasher, RandomState};

use crate::prefetch::prefetch;

/// A number for each text.
pub(super) struct Digests {
    /// At most three quarters are taken. A text is in the first free slot from where its hash
    /// points. The number of slots is a power of two.
    slots: Vec<Slot>,
    taken: usize,
    keys: [u64; 4],
}

/// The hash of a text.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    high: u64,
    low: u32,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    high: u64,
    low: u32,
    /// The number of the text, or `FREE`.
    value: u32,
}

const FREE: u32 = u32::MAX;
const EMPTY: Slot = Slot { high: 0, low: 0, value: FREE };

impl Digests {
    /// An empty table of `slots` slots, which must be a power of two.
    pub(super) fn with_slots(slots: usize) -> Digests {
        let random = RandomState::new();
        let keys = std::array::from_fn(|i| random.hash_one(i));
        Digests { slots: vec![EMPTY; slots], taken: 0, keys }
    }

    /// The digest of a text.
    #[inline]
    pub(super) fn of(&self, text: &[u8]) -> Digest {
        hash(text, &self.keys)
    }

    /// Loads the slot of a digest that will be asked for soon.
    #[inline]
    pub(super) fn prefetch(&self, digest: Digest) {
        prefetch(self.slots.get(digest.high as usize & (self.slots.len() - 1)));
    }

    /// The number of a digest. If the digest is new, calls `make` for its number, which must not be
    /// `u32::MAX`.
    #[inline]
    pub(super) fn get_or_insert_with(
        &mut self,
        Digest { high, low }: Digest,
        make: impl FnOnce() -> u32,
    ) -> u32 {
        let at = place(&self.slots, high, low);
        if self.slots[at].value == FREE {
            return self.insert(at, Slot { high, low, value: make() });
        }
        self.slots[at].value
    }

    /// The number of a digest, if it is known.
    #[inline]
    pub(super) fn get(&self, Digest { high, low }: Digest) -> Option<u32> {
        let value = self.slots[place(&self.slots, high, low)].value;
        (value != FREE).then_some(value)
    }

    /// Replaces each number by `change(number)`.
    pub(super) fn change(&mut self, change: impl Fn(u32) -> u32) {
        let taken = self.slots.iter_mut().filter(|slot| slot.value != FREE);
        taken.for_each(|slot| slot.value = change(slot.value));
    }

    /// Fills a free slot, and returns its number.
    #[inline]
    fn insert(&mut self, at: usize, slot: Slot) -> u32 {
        self.slots[at] = slot;
        self.taken += 1;
        if self.taken > self.slots.len() / 4 * 3 {
            self.grow();
        }
        slot.value
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = vec![EMPTY; self.slots.len() * 2];
        for &slot in self.slots.iter().filter(|slot| slot.value != FREE) {
            let at = place(&larger, slot.high, slot.low);
            larger[at] = slot;
        }
        self.slots = larger;
    }
}

/// The slot of a hash, or the free slot where it would go.
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

/// Hashes 16 bytes a step in two chains of folded multiplications; wyhash and foldhash have one
/// chain. Each step of a chain waits for the one before, so every other step goes to two more
/// chains.
#[inline]
fn hash(text: &[u8], keys: &[u64; 4]) -> Digest {
    let step = |(a, b): (u64, u64), block: &[u8; 16]| {
        let block = u128::from_le_bytes(*block);
        let x = block as u64;
        let y = (block >> 64) as u64;
        (fold(x ^ a, y ^ keys[2]), fold(x ^ keys[3], y ^ b))
    };
    let len = text.len() as u64;
    let mut chains = (keys[0] ^ len, keys[1] ^ len.rotate_left(32));
    let (blocks, rest) = text.as_chunks::<16>();
    let (pairs, last) = blocks.as_chunks::<2>();
    if !pairs.is_empty() {
        // These must not be the keys of a step. Otherwise the halves of a block could be exchanged.
        let mut others = (keys[1], keys[0]);
        for [one, other] in pairs {
            chains = step(chains, one);
            others = step(others, other);
        }
        let ((a, b), (c, d)) = (chains, others);
        chains = (fold(a ^ keys[1], c ^ keys[2]), fold(b ^ keys[3], d ^ keys[0]));
    }
    if let [last] = last {
        chains = step(chains, last);
    }
    // The last 16 bytes, which may overlap the blocks. A shorter text is padded.
    chains = match text.last_chunk::<16>() {
        Some(_) if rest.is_empty() => chains,
        Some(last) => step(chains, last),
        None => {
            let mut last = [0; 16];
            last[..text.len()].copy_from_slice(text);
            step(chains, &last)
        }
    };
    let (a, b) = chains;
    Digest { high: fold(a ^ keys[1], b ^ keys[2]), low: fold(a ^ keys[3], b ^ keys[0]) as u32 }
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
            let mut digests = Digests::with_slots(1 << 4);
            let mut map = HashMap::new();
            for (i, text) in texts.into_iter().enumerate() {
                let known = digests.get_or_insert_with(digests.of(&text), || i as u32);
                prop_assert_eq!(known, *map.entry(text).or_insert(i as u32));
            }
        }
    }

    #[test]
    fn values_stay_when_the_table_grows() {
        let mut digests = Digests::with_slots(1 << 4);
        let texts: Vec<String> = (0..1000).map(|i| format!("function_{i}+0x1 (/a)\n")).collect();
        for new in [true, false] {
            for (i, text) in texts.iter().enumerate() {
                let mut was_new = false;
                let value = digests.get_or_insert_with(digests.of(text.as_bytes()), || {
                    was_new = true;
                    i as u32
                });
                assert_eq!((value, was_new), (i as u32, new));
            }
        }
    }

    #[test]
    fn texts_of_zeros_differ_by_their_length() {
        let mut digests = Digests::with_slots(1 << 4);
        let zeros = [0; 100];
        assert!(
            (0..100)
                .all(|len| digests.get_or_insert_with(digests.of(&zeros[..len]), || len as u32)
                    == len as u32)
        );
    }

    #[test]
    fn digests_differ_by_each_byte_and_the_length() {
        let digests = Digests::with_slots(1 << 4);
        let mut met = std::collections::HashSet::new();
        let mut is_new = |text: &[u8]| {
            let Digest { high, low } = digests.of(text);
            met.insert((high, low))
        };
        let mut text = vec![0; 300];
        assert!((0..=300).all(|len| is_new(&text[..len])));
        for at in 0..300 {
            text[at] = 1;
            assert!(is_new(&text), "{at}");
            text[at] = 0;
        }
    }
}
