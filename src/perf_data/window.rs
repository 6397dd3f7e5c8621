//! The buffer of a stream of records. It is filled at its end, emptied at its front, and never
//! grows.

use super::bytes::Endian;
use super::head::Head;

/// Room for some of the largest records, 64 KB each.
const CAPACITY: usize = 256 << 10;
/// The least room that a read should have.
const ROOM: usize = 64 << 10;

pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// The start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A whole record of this many bytes.
    Record(usize),
    /// The start of a record, or nothing.
    Part,
    /// Not a record.
    Broken,
}

impl Window {
    pub(super) fn new() -> Window {
        Window { buffer: vec![0; CAPACITY], start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn front(&self, endian: Endian) -> Front {
        let bytes = self.bytes();
        match Head::parse(bytes, endian) {
            Some(head) if usize::from(head.size) <= bytes.len() => Front::Record(head.size.into()),
            None if bytes.len() >= Head::SIZE => Front::Broken,
            _ => Front::Part,
        }
    }

    /// Takes up to `count` bytes from the front.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start.saturating_add(count));
        self.buffer.get(start..self.start).unwrap_or_default()
    }

    /// Room for more bytes, at least [`ROOM`] of them if the buffer holds less than a record.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.buffer.len() - self.end < ROOM || self.start == self.end {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `count` bytes of the room were filled.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end.saturating_add(count));
    }
}
