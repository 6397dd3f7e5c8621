//! Sorts the records of all rings by time.
//!
//! Each CPU has its own ring, so a thread's map can lie in one ring and its next sample in another.
//! A record carries the time when it was begun, but appears when it is whole. So records wait here
//! until nothing older can still be underway.

use super::open::Events;
use crate::perf_data::{Attr, Endian, Record};
use crate::unwind::StackExtent;

/// Records that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    /// The memory of records that were handed over, to be used again.
    spare: Vec<Vec<u8>>,
    /// How many bytes fit into `spare`.
    room: usize,
    /// How much is needed of copied stacks.
    pub(super) stack_extent: StackExtent,
}

/// More memory than this is freed, in bytes: it is needed only for records that have to wait.
const MOST_SPARE: usize = 16 << 20;

struct Waiting {
    time: u64,
    bytes: Vec<u8>,
}

impl Queue {
    /// Takes a record, which `see` may look at. It leaves out the part of a copied stack that is
    /// empty or not needed.
    pub(super) fn push(&mut self, bytes: &[u8], attr: &Attr, see: impl FnOnce(&Record<'_>)) {
        let Some((record, id)) = Record::parse(bytes, Endian::NATIVE, attr) else { return };
        see(&record);
        let time = id.time.unwrap_or(0);
        let copied = match record {
            Record::Sample(sample) => {
                sample.stack_user.map(|stack| (stack, self.stack_extent.needed(&sample)))
            }
            _ => None,
        };
        let mut room = self.spare.pop().unwrap_or_default();
        self.room -= room.capacity();
        room.clear();
        match copied.filter(|(stack, _)| stack.reserved > 0) {
            Some((stack, needed)) => {
                trim(bytes, &stack.bytes[..needed], stack.reserved, &mut room);
            }
            None => room.extend_from_slice(bytes),
        }
        self.waiting.push(Waiting { time, bytes: room });
    }

    /// Takes what is in the rings, unless very much waits already: 128 MB of copied stacks.
    pub(super) fn fill(&mut self, events: &mut Events<'_>) {
        const MOST: usize = 2 << 10;
        if self.waiting.len() < MOST {
            let attr = events.attr();
            events.drain(|bytes| self.push(bytes, &attr, |_| {}));
        }
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out the records up to the time `until`, in order.
    pub(super) fn take(&mut self, until: u64) -> Vec<Vec<u8>> {
        // Records of one time stay in the order of their ring.
        self.waiting.sort_by_key(|record| record.time);
        let ready = self.waiting.partition_point(|record| record.time <= until);
        self.waiting.drain(..ready).map(|record| record.bytes).collect()
    }

    /// Takes back the memory of records that are no longer needed.
    pub(super) fn give_back(&mut self, records: Vec<Vec<u8>>) {
        for record in records {
            if self.room + record.capacity() <= MOST_SPARE {
                self.room += record.capacity();
                self.spare.push(record);
            }
        }
    }
}

/// Copies a sample with less of its stack. A sample ends in the length that was reserved for the
/// stack, the stack, and the length that was used.
fn trim(bytes: &[u8], stack: &[u8], reserved: u64, into: &mut Vec<u8>) {
    let at = bytes.len().saturating_sub(16 + reserved as usize);
    let kept = stack.len().next_multiple_of(8);
    let needed = at + kept + 16;
    if into.capacity() < needed {
        // Growing would copy what is not needed any more.
        *into = Vec::with_capacity(needed);
    }
    into.extend_from_slice(bytes.get(..at).unwrap_or_default());
    into.extend_from_slice(&(kept as u64).to_ne_bytes());
    if kept > 0 {
        into.extend_from_slice(stack);
        into.resize(into.len() + kept - stack.len(), 0);
        into.extend_from_slice(&(stack.len() as u64).to_ne_bytes());
    }
    let length = into.len() as u16;
    if let Some(size) = into.get_mut(6..8) {
        size.copy_from_slice(&length.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::{kind, sample_type as has};

    fn attr(sample_type: u64) -> Attr {
        Attr { sample_type, flags: 1 << 18, ..Attr::default() }
    }

    fn exit(time: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(kind::EXIT.to_ne_bytes());
        bytes.extend(0u16.to_ne_bytes());
        bytes.extend(40u16.to_ne_bytes());
        bytes.extend([0; 24]);
        bytes.extend(time.to_ne_bytes());
        bytes
    }

    #[test]
    fn what_may_be_overtaken_waits() {
        let mut queue = Queue::default();
        let mut times = Vec::new();
        for (new, until) in [(&[5, 1, 3][..], 3), (&[4, 8], 7), (&[], 8), (&[9], u64::MAX)] {
            new.iter().for_each(|&time| queue.push(&exit(time), &attr(has::TIME), |_| {}));
            let taken = queue.take(until);
            times.extend(taken.iter().map(|bytes| bytes[32]));
            times.push(0);
            queue.give_back(taken);
        }
        assert_eq!(times, [1, 3, 0, 4, 5, 0, 8, 0, 9, 0]);
    }

    #[test]
    fn memory_of_records_that_had_to_wait_is_freed() {
        let mut queue = Queue::default();
        let size = 64 << 10;
        for _ in 0..2 {
            queue.give_back((0..1000).map(|_| Vec::with_capacity(size)).collect());
            assert_eq!(queue.spare.len(), MOST_SPARE / size);
        }
        queue.push(&exit(1), &attr(has::TIME), |_| {});
        assert_eq!(queue.room, MOST_SPARE - size);
        let records = queue.take(u64::MAX);
        queue.give_back(records);
        assert_eq!(queue.room, MOST_SPARE);
    }

    #[test]
    fn what_a_stack_did_not_use_is_cut_off() {
        let fields = has::TIME | has::STACK_USER;
        let mut bytes = Vec::new();
        bytes.extend(kind::SAMPLE.to_ne_bytes());
        bytes.extend(0u16.to_ne_bytes());
        bytes.extend((8 + 8 + 8 + 64 + 8u16).to_ne_bytes());
        bytes.extend(7u64.to_ne_bytes());
        bytes.extend(64u64.to_ne_bytes());
        bytes.extend([1; 10]);
        bytes.extend([9; 54]);
        bytes.extend(10u64.to_ne_bytes());
        let mut queue = Queue::default();
        queue.push(&bytes, &attr(fields), |_| {});
        let [bytes] = &queue.take(u64::MAX)[..] else { panic!() };
        let (record, _) = Record::parse(bytes, Endian::NATIVE, &attr(fields)).unwrap();
        let Record::Sample(sample) = record else { panic!() };
        assert_eq!(sample.stack_user.unwrap().bytes, [1; 10]);
    }
}
