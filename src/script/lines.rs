//! The distinct frame lines of a text, without their addresses, and the frame of each.
//!
//! Before a line is looked up, it is compared with the two lines that followed the previous line
//! last time. That prediction is right for nine lines in ten, and finds their ends without a search
//! for a newline and without a hash.
//!
//! For the comparison, lines are kept, up to [`KEPT`] bytes. A program with more text hardly ever
//! repeats a line behind the same other. Of further lines only the [digests](super::digests) are
//! kept, and their ids are those of their frames, so that nothing else must be loaded. If most
//! predictions are wrong, all lines are treated like that.

use memchr::memchr;

use super::digests::{Digest, Digests};
use super::line;
use crate::sample::{Frame, FrameId, FrameTable, Kind};

/// The most text that is kept for comparison: more than most programs have.
const KEPT: usize = 8 << 20;
/// The first number of slots. Most programs have fewer distinct lines, and this many slots stay in
/// the second-level cache.
const FIRST: usize = 1 << 14;
/// After this many wrong predictions, the right ones are counted. It is small in tests, so that
/// they get there.
const TRIAL: u32 = if cfg!(any(test, fuzzing)) { 16 } else { 1 << 14 };
/// Ids from here on are those of lines that are not kept. This one is of lines that are not frames,
/// and the others follow it in the order of their frames.
const NO_FRAME: u32 = 1 << 31;

/// The known lines, from behind the address to the newline, and their frames.
pub(super) struct Lines {
    digests: Digests,
    /// The frames and the successors of kept lines.
    rows: Vec<Row>,
    /// The texts of kept lines.
    texts: Vec<Text>,
    kept: Vec<u8>,
    /// The offset in the symbol, by line, if the sink asks for it.
    offsets: Option<Vec<Option<u64>>>,
    last: u32,
    /// How many predictions were right and wrong since the last trial.
    right: u32,
    wrong: u32,
    /// Lines are no longer predicted.
    gave_up: bool,
}

/// Half a cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Row {
    /// The frame, if the line is one.
    frame: Option<FrameId>,
    /// The lines that followed this one, the most recent first.
    next: [Next; 2],
}

/// A predicted line, and how it differs from most others without access to its text.
#[derive(Clone, Copy, Default)]
struct Next {
    id: u32,
    look: Look,
}

/// A summary of a line: its length, and the end of the symbol and offset, where lines of one module
/// differ.
#[derive(Clone, Copy, Default)]
struct Look {
    /// The length with its newline; 0 if the line is not kept.
    len: u16,
    /// The index of the blank before the module.
    blank: u16,
    /// A checksum of the eight bytes before that.
    print: u32,
}

#[derive(Clone, Copy)]
struct Text {
    start: u32,
    look: Look,
}

impl Lines {
    /// Without any known lines. `offsets`: whether the sink asks for offsets in symbols.
    pub(super) fn new(offsets: bool) -> Lines {
        Lines {
            digests: Digests::with_slots(FIRST),
            rows: Vec::new(),
            texts: Vec::new(),
            kept: Vec::new(),
            offsets: offsets.then(Vec::new),
            last: 0,
            right: 0,
            wrong: 0,
            gave_up: false,
        }
    }

    /// The frame of a line, if it is one.
    #[inline]
    pub(super) fn frame(&self, id: u32) -> Option<FrameId> {
        match self.rows.get(id as usize) {
            Some(row) => row.frame,
            None => id.checked_sub(NO_FRAME + 1).map(|index| FrameId::at(index as usize)),
        }
    }

    /// The offset in its symbol, if the line has one.
    pub(super) fn offset(&self, id: u32) -> Option<u64> {
        *self.offsets.as_ref()?.get(id as usize)?
    }

    /// The id of the line that starts `text`, and its length with its newline.
    #[inline]
    pub(super) fn find(&mut self, text: &[u8], frames: &mut FrameTable) -> (u32, usize) {
        if let Some(&Row { next, .. }) = self.rows.get(self.last as usize) {
            for (i, likely) in next.into_iter().enumerate() {
                if likely.look.fits(text) && text.starts_with(self.kept(likely.id)) {
                    if i == 1 {
                        self.rows[self.last as usize].next.swap(0, 1);
                    }
                    self.last = likely.id;
                    self.right = self.right.saturating_add(1);
                    return (likely.id, likely.look.len.into());
                }
            }
        }
        self.look_up(text, frames)
    }

    /// Stops to predict lines, and gives all lines the ids of lines that are not kept.
    #[cold]
    fn give_up(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.digests.change(|id| rows.get(id as usize).map_or(id, |row| unkept_id(row.frame)));
        self.texts = Vec::new();
        self.kept = Vec::new();
        self.gave_up = true;
    }

    #[inline]
    fn kept(&self, id: u32) -> &[u8] {
        let Some(&Text { start, look }) = self.texts.get(id as usize) else { return b"" };
        self.kept.get(start as usize..start as usize + usize::from(look.len)).unwrap_or_default()
    }

    fn look_up(&mut self, text: &[u8], frames: &mut FrameTable) -> (u32, usize) {
        let len = memchr(b'\n', text).map_or(text.len(), |newline| newline + 1);
        let tail = &text[..len];
        (self.find_by(self.digests.of(tail), tail, frames), len)
    }

    /// Whether lines are no longer predicted, so that it pays to look up several together.
    #[inline]
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Loads the slot of a whole line that will be looked up soon, and returns its digest.
    #[inline]
    pub(super) fn prefetch(&self, tail: &[u8]) -> Digest {
        let digest = self.digests.of(tail);
        self.digests.prefetch(digest);
        digest
    }

    /// The id of the line with this digest, if it is known.
    #[inline]
    pub(super) fn known(&self, digest: Digest) -> Option<u32> {
        self.digests.get(digest)
    }

    /// Loads the memory that a new line will need.
    #[cold]
    pub(super) fn prefetch_new(tail: &[u8], frames: &FrameTable) {
        if let Some(line) = line::Frame::parse(tail) {
            frames.prefetch_symbol(line.symbol);
        }
    }

    /// The id of a whole line.
    #[inline]
    pub(super) fn find_by(&mut self, digest: Digest, tail: &[u8], frames: &mut FrameTable) -> u32 {
        self.wrong += 1;
        if self.wrong == TRIAL {
            if self.right < TRIAL / 2 && self.offsets.is_none() && !self.gave_up {
                self.give_up();
            }
            self.right = 0;
            self.wrong = 0;
        }
        let Lines { digests, rows, texts, kept, offsets, gave_up, .. } = self;
        let id = digests.get_or_insert_with(digest, || {
            let parts = line::Frame::parse(tail);
            let frame = parts.map(|line::Frame { symbol, module, .. }| {
                let kind = Kind::of(symbol, module);
                frames.intern(Frame { symbol, module, kind, ..Frame::default() })
            });
            let start = kept.len();
            // Offsets belong to lines, so if they are asked for, each line has a row.
            if *gave_up || (start + tail.len() > KEPT && offsets.is_none()) {
                return unkept_id(frame);
            }
            let look = parts.and_then(|parts| Look::of(tail, parts.module.len()));
            let look = look.filter(|_| start + tail.len() <= KEPT).unwrap_or_default();
            kept.extend_from_slice(&tail[..look.len.into()]);
            texts.push(Text { start: start as u32, look });
            if let Some(offsets) = offsets {
                offsets.push(parts.and_then(|parts| parts.offset));
            }
            rows.push(Row { frame, next: Default::default() });
            rows.len() as u32 - 1
        });
        if let Some(&Text { look, .. }) = texts.get(id as usize)
            && let Some(Row { next, .. }) = rows.get_mut(self.last as usize)
        {
            *next = [Next { id, look }, next[0]];
        }
        self.last = id;
        id
    }
}

/// The id of a line that is not kept.
fn unkept_id(frame: Option<FrameId>) -> u32 {
    frame.map_or(NO_FRAME, |frame| NO_FRAME + 1 + frame.index() as u32)
}

impl Look {
    /// The summary of a frame line. `None` if the line is too long, too short, or has no newline,
    /// which marks its end.
    fn of(tail: &[u8], module: usize) -> Option<Look> {
        let len = tail.strip_suffix(b"\n").map(|_| u16::try_from(tail.len()))?.ok()?;
        let blank = u16::try_from(tail.len().checked_sub(module + 4)?).ok()?;
        Some(Look { len, blank, print: print(tail, blank.into())? })
    }

    #[inline]
    fn fits(self, text: &[u8]) -> bool {
        text.get(usize::from(self.len).wrapping_sub(1)) == Some(&b'\n')
            && print(text, self.blank.into()) == Some(self.print)
    }
}

/// A checksum of the eight bytes of `text` before `end`.
#[inline]
fn print(text: &[u8], end: usize) -> Option<u32> {
    let word = u64::from_le_bytes(*text.get(..end)?.last_chunk()?);
    Some(word as u32 ^ (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_predictions_end_the_predicting() {
        let mut frames = FrameTable::default();
        // Each line always follows the same line, or another one in each round.
        for (many, turns, gives_up) in [(8, 0, false), (97, 1, true)] {
            let mut lines = Lines::new(false);
            let mut ids = std::collections::HashMap::new();
            for i in 0..970 {
                let function = i * (i / 97 * turns + 1) % many;
                let text = format!("function_{function}+0x1 (/a)\n");
                let (id, len) = lines.find(text.as_bytes(), &mut frames);
                assert_eq!(len, text.len());
                let frame = lines.frame(id).unwrap();
                assert_eq!(*ids.entry(function).or_insert(frame), frame);
            }
            assert_eq!((lines.gave_up(), ids.len()), (gives_up, many));
        }
    }
}
