//! The distinct frame lines of a text, without their addresses, and what each means.
//!
//! Before a line is looked up it is compared with the two that followed the last one before, which finds nine in ten and the end of the
//! line for free: no search for a newline, no hash. For that lines are kept, up to [`KEPT`] bytes of them. A program with
//! more hardly ever repeats one behind the same other; of the rest there are only [`digests`](super::digests), and their ids
//! are those of their frames, so that nothing else need be loaded. Where most lines turn out not to be as expected, all are like that.

use memchr::memchr;

use super::digests::{Digest, Digests};
use super::line;
use crate::sample::{Frame, FrameId, FrameTable, Kind};

/// So much text of lines is kept for comparison: the lines of most programs.
const KEPT: usize = 8 << 20;
/// Most programs have fewer distinct lines; so many slots stay in the second-level cache.
const FIRST: usize = 1 << 14;
/// After so many lines that were not as expected it is looked at how many were; soon where it is tested.
const TRIAL: u32 = if cfg!(any(test, fuzzing)) { 16 } else { 1 << 14 };
/// Ids from here on are of lines that are not kept: of those that are no frame, and then of frames by their indices.
const NO_FRAME: u32 = 1 << 31;

/// What stands behind the address, newline included, and what it means.
pub(super) struct Lines {
    digests: Digests,
    /// What is known of kept lines.
    rows: Vec<Row>,
    /// Where each of them is.
    texts: Vec<Text>,
    kept: Vec<u8>,
    /// By line: the offset into the symbol; of those who ask for it.
    offsets: Option<Vec<Option<u64>>>,
    last: u32,
    /// How many lines followed as expected, and how many did not, since it was last looked at.
    expected: u32,
    missed: u32,
    /// No line is expected any more.
    expects_nothing: bool,
}

/// Half a cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Row {
    /// The frame, if the line is one.
    frame: Option<FrameId>,
    /// The lines that followed this one, the last one first.
    next: [Next; 2],
}

/// A likely line, and what tells it from most others without access to its text.
#[derive(Clone, Copy, Default)]
struct Next {
    id: u32,
    look: Look,
}

/// A line at a glance: how long it is, and how symbol and offset end, where lines of one module differ.
#[derive(Clone, Copy, Default)]
struct Look {
    /// With its newline; 0 if it is not kept.
    len: u16,
    /// Where the blank before the module is.
    blank: u16,
    /// Of the eight bytes before it.
    print: u32,
}

#[derive(Clone, Copy)]
struct Text {
    start: u32,
    look: Look,
}

impl Lines {
    /// No lines yet. `offsets`: those into symbols are asked for.
    pub(super) fn new(offsets: bool) -> Lines {
        Lines {
            digests: Digests::with_slots(FIRST),
            rows: Vec::new(),
            texts: Vec::new(),
            kept: Vec::new(),
            offsets: offsets.then(Vec::new),
            last: 0,
            expected: 0,
            missed: 0,
            expects_nothing: false,
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

    /// The offset into its symbol, if the line says one.
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
                    self.expected = self.expected.saturating_add(1);
                    return (likely.id, likely.look.len.into());
                }
            }
        }
        self.look_up(text, frames)
    }

    /// Makes all lines such as are not kept.
    #[cold]
    fn expect_nothing(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.digests.change(|id| rows.get(id as usize).map_or(id, |row| unkept_id(row.frame)));
        (self.texts, self.kept, self.expects_nothing) = (Vec::new(), Vec::new(), true);
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

    /// Whether lines are best looked up several at a time, as none is expected.
    #[inline]
    pub(super) fn expects_nothing(&self) -> bool {
        self.expects_nothing
    }

    /// The digest of a whole line, by which it will be asked for soon.
    #[inline]
    pub(super) fn prefetch(&self, tail: &[u8]) -> Digest {
        let digest = self.digests.of(tail);
        self.digests.prefetch(digest);
        digest
    }

    /// The id of the line of this digest, if it was met before.
    #[inline]
    pub(super) fn known(&self, digest: Digest) -> Option<u32> {
        self.digests.get(digest)
    }

    /// Has at hand what a new line will need.
    #[cold]
    pub(super) fn prefetch_new(tail: &[u8], frames: &FrameTable) {
        if let Some(line) = line::Frame::parse(tail) {
            frames.prefetch_symbol(line.symbol);
        }
    }

    /// The id of a whole line.
    #[inline]
    pub(super) fn find_by(&mut self, digest: Digest, tail: &[u8], frames: &mut FrameTable) -> u32 {
        self.missed += 1;
        if self.missed == TRIAL {
            if self.expected < TRIAL / 2 && self.offsets.is_none() && !self.expects_nothing {
                self.expect_nothing();
            }
            (self.expected, self.missed) = (0, 0);
        }
        let Lines { digests, rows, texts, kept, offsets, expects_nothing, .. } = self;
        let id = digests.get_or_insert_with(digest, || {
            let parts = line::Frame::parse(tail);
            let frame = parts.map(|line::Frame { symbol, module, .. }| {
                let kind = Kind::of(symbol, module);
                frames.intern(Frame { symbol, module, kind, address: None })
            });
            let start = kept.len();
            // Offsets are of lines, so where they are asked for each line has a row.
            if *expects_nothing || (start + tail.len() > KEPT && offsets.is_none()) {
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
    /// Of a frame line; `None` for one that is too long, too short, or has no newline, which would prove where it ends.
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

/// Of the eight bytes of `text` before `end`.
#[inline]
fn print(text: &[u8], end: usize) -> Option<u32> {
    let word = u64::from_le_bytes(*text.get(..end)?.last_chunk()?);
    Some(word as u32 ^ (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_line_is_as_expected_none_is_expected_any_more() {
        let mut frames = FrameTable::default();
        // Each always behind the same, or behind another in each round.
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
            assert_eq!((lines.expects_nothing(), ids.len()), (gives_up, many));
        }
    }
}
