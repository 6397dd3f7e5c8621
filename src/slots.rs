//! A hash table of small numbers. The caller owns the things that they stand for, and compares
//! them.

use crate::prefetch::prefetch;

/// Numbers by hash. A look-up mostly needs one access to memory. A missing thing is seldom compared
/// with others.
#[derive(Clone, Default)]
pub(crate) struct Slots {
    /// Their count is a power of two, and at most three quarters are taken. A number is in the
    /// first free slot from where its hash points.
    slots: Vec<Slot>,
    taken: usize,
}

/// The hash is kept with the number, so a growing table does not touch the things. Most things also
/// differ in it.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

/// The number of a free slot.
const FREE: u32 = u32::MAX;
const FEWEST: usize = 1 << 8;

impl Slots {
    /// The number of the thing with this hash for which `is_it` is true. If there is none, adds it
    /// as `next`.
    #[inline]
    pub(crate) fn find_or_add(&mut self, hash: u32, next: u32, is_it: impl Fn(u32) -> bool) -> u32 {
        if self.taken >= self.slots.len() / 4 * 3 {
            self.grow();
        }
        let at = place(&self.slots, hash, is_it);
        let slot = &mut self.slots[at];
        if slot.number == FREE {
            *slot = Slot { hash, number: next };
            self.taken += 1;
        }
        slot.number
    }

    /// Prefetches the slot of this hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        prefetch(self.slots.get(hash as usize & self.slots.len().wrapping_sub(1)));
    }

    /// The number in the slot where this hash points, if it has this hash.
    #[inline]
    pub(crate) fn likely(&self, hash: u32) -> Option<u32> {
        let slot = self.slots.get(hash as usize & self.slots.len().wrapping_sub(1))?;
        (slot.hash == hash && slot.number != FREE).then_some(slot.number)
    }

    #[cold]
    fn grow(&mut self) {
        let many = (self.slots.len() * 2).max(FEWEST);
        let mut larger = vec![Slot { hash: 0, number: FREE }; many];
        for slot in self.slots.iter().filter(|slot| slot.number != FREE) {
            let at = place(&larger, slot.hash, |_| false);
            larger[at] = *slot;
        }
        self.slots = larger;
    }
}

/// The slot of the thing, or a free one for it.
#[inline]
fn place(slots: &[Slot], hash: u32, is_it: impl Fn(u32) -> bool) -> usize {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    loop {
        let Slot { hash: its, number } = slots[at];
        if number == FREE || (its == hash && is_it(number)) {
            return at;
        }
        at = (at + 1) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_hash_are_distinguished() {
        let mut slots = Slots::default();
        let things: Vec<String> = (0..3000).map(|i| format!("thing {i}")).collect();
        for round in 0..2 {
            for (i, thing) in things.iter().enumerate() {
                let next = if round == 0 { i as u32 } else { 3000 };
                let number =
                    slots.find_or_add(i as u32 / 3, next, |at| things[at as usize] == *thing);
                assert_eq!(number, i as u32, "{round}");
            }
        }
    }
}
