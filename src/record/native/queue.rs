//! Records of all rings, put in order of time.
//!
//! Each CPU has its own ring, so a thread's map can lie in one and its next sample in another. A record has the time when
//! it was begun and is seen when it is whole: what is read waits until nothing older can still be underway.

use crate::perf_data::{Attr, Endian, Record};

/// The machine's own byte order.
pub(super) const ENDIAN: Endian =
    if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

/// Records that wait.
#[derive(Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    waiting: Vec<Entry>,
    spare: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Entry {
    time: u64,
    start: usize,
    length: usize,
}

impl Queue {
    /// Takes a record, which `see` may look at, without the part of a copied stack that holds nothing.
    pub(super) fn push(&mut self, bytes: &[u8], attr: &Attr, see: impl FnOnce(&Record<'_>)) {
        let Some((record, id)) = Record::parse(bytes, ENDIAN, attr) else { return };
        see(&record);
        let time = id.time.unwrap_or(0);
        let start = self.bytes.len();
        let copied = match record {
            Record::Sample(sample) => sample.stack_user,
            _ => None,
        };
        match copied.filter(|stack| stack.reserved > 0) {
            Some(stack) => self.push_trimmed(bytes, stack.bytes, stack.reserved),
            None => self.bytes.extend_from_slice(bytes),
        }
        self.waiting.push(Entry { time, start, length: self.bytes.len() - start });
    }

    /// A sample ends in the length that was reserved for the stack, the stack, and the length that was used.
    fn push_trimmed(&mut self, bytes: &[u8], stack: &[u8], reserved: u64) {
        let at = bytes.len().saturating_sub(16 + reserved as usize);
        let kept = stack.len().next_multiple_of(8);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..at).unwrap_or_default());
        self.bytes.extend_from_slice(&(kept as u64).to_ne_bytes());
        if kept > 0 {
            self.bytes.extend_from_slice(stack);
            self.bytes.resize(self.bytes.len() + kept - stack.len(), 0);
            self.bytes.extend_from_slice(&(stack.len() as u64).to_ne_bytes());
        }
        let length = (self.bytes.len() - start) as u16;
        if let Some(size) = self.bytes.get_mut(start + 6..start + 8) {
            size.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Hands over what is from before `until`, in order. The answer is whether there was anything.
    pub(super) fn take<E>(
        &mut self,
        until: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        // What has the same time stays in the order of its ring.
        self.waiting.sort_by_key(|entry| entry.time);
        let ready = self.waiting.partition_point(|entry| entry.time <= until);
        for entry in &self.waiting[..ready] {
            each(&self.bytes[entry.start..entry.start + entry.length])?;
        }
        self.waiting.drain(..ready);
        self.forget();
        Ok(ready > 0)
    }

    /// Frees the room of what was handed over, once it is most of all: stacks are large, and those that wait are not to be copied each
    /// time.
    fn forget(&mut self) {
        let needed: usize = self.waiting.iter().map(|entry| entry.length).sum();
        if self.bytes.len() < 4 * needed {
            return;
        }
        self.spare.clear();
        for entry in &mut self.waiting {
            let start = self.spare.len();
            self.spare.extend_from_slice(&self.bytes[entry.start..entry.start + entry.length]);
            entry.start = start;
        }
        std::mem::swap(&mut self.bytes, &mut self.spare);
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
            let taken = queue.take(until, |bytes| {
                times.push(bytes[32]);
                Ok::<(), ()>(())
            });
            taken.unwrap();
            times.push(0);
        }
        assert_eq!(times, [1, 3, 0, 4, 5, 0, 8, 0, 9, 0]);
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
        let check = |bytes: &[u8]| {
            let (record, _) = Record::parse(bytes, ENDIAN, &attr(fields)).unwrap();
            let Record::Sample(sample) = record else { panic!() };
            assert_eq!(sample.stack_user.unwrap().bytes, [1; 10]);
            Ok::<(), ()>(())
        };
        assert_eq!(queue.take(u64::MAX, check), Ok(true));
    }
}
