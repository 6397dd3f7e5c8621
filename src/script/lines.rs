//! The distinct frame lines of a text, without their addresses, and what each means.
//!
//! Before a line is looked up it is compared with the two that followed the last one before, which finds nine in ten and the
//! end of the line for free: no search for a newline, no hash.

use memchr::memchr;

use super::line;
use crate::intern::Interner;
use crate::sample::{Frame, FrameId, FrameTable, Kind};

/// What stands behind the address, newline included, and what it means.
#[derive(Default)]
pub(super) struct Lines {
    tails: Interner,
    rows: Vec<Row>,
    last: u32,
}

#[derive(Clone, Copy)]
struct Row {
    /// The frame, if the line is one.
    frame: Option<FrameId>,
    /// The lines that followed this one, the last one first.
    next: [u32; 2],
    /// The offset into the symbol.
    offset: Option<u64>,
}

impl Lines {
    /// The frame of a line, if it is one.
    #[inline]
    pub(super) fn frame(&self, id: u32) -> Option<FrameId> {
        self.rows.get(id as usize)?.frame
    }

    /// The offset into its symbol, if the line says one.
    pub(super) fn offset(&self, id: u32) -> Option<u64> {
        self.rows.get(id as usize)?.offset
    }

    /// The id of the line that starts `text`, and its length with its newline.
    #[inline]
    pub(super) fn find(&mut self, text: &[u8], frames: &mut FrameTable) -> (u32, usize) {
        if let Some(row) = self.rows.get_mut(self.last as usize) {
            for likely in row.next {
                let tail = self.tails.get(likely);
                // Only a tail with its newline proves that the line ends there.
                if text.starts_with(tail) && tail.last() == Some(&b'\n') {
                    if likely != row.next[0] {
                        row.next.swap(0, 1);
                    }
                    self.last = likely;
                    return (likely, tail.len());
                }
            }
        }
        self.look_up(text, frames)
    }

    /// The line `id` was passed without being looked up.
    #[inline]
    pub(super) fn go_on_from(&mut self, id: u32) {
        self.last = id;
    }

    fn look_up(&mut self, text: &[u8], frames: &mut FrameTable) -> (u32, usize) {
        let len = memchr(b'\n', text).map_or(text.len(), |newline| newline + 1);
        let tail = &text[..len];
        let id = self.tails.intern(tail);
        if id as usize == self.rows.len() {
            self.rows.push(Row::new(tail, id, frames));
        }
        if let Some(Row { next, .. }) = self.rows.get_mut(self.last as usize) {
            *next = [id, next[0]];
        }
        self.last = id;
        (id, len)
    }
}

impl Row {
    fn new(tail: &[u8], id: u32, frames: &mut FrameTable) -> Row {
        let parts = line::Frame::parse(tail);
        let frame = parts.map(|line::Frame { symbol, module, .. }| {
            frames.intern(Frame { symbol, module, kind: Kind::of(symbol, module), address: None })
        });
        Row { frame, next: [id; 2], offset: parts.and_then(|parts| parts.offset) }
    }
}
