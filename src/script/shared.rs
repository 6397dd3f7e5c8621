//! The root that a sample shares with the one before, found with a single comparison.
//!
//! Stacks differ near their leaves. Once a frame line is met that the last sample has too, all that followed it there is likely
//! to follow here: if the bytes are the same, return addresses included, so are the frames, and no line need be looked at.

use std::ops::Range;

use super::lines::Lines;
use crate::sample::FrameId;

/// Where the frame lines of the last sample and of this one lie in the chunk at hand.
#[derive(Default)]
pub(super) struct Shared {
    last: Run,
    this: Run,
    /// Which sample this is.
    serial: u32,
}

/// Frame lines one behind the other, with nothing in between.
#[derive(Default)]
struct Run {
    /// Where each line starts.
    starts: Vec<usize>,
    ids: Vec<u32>,
    end: usize,
    /// Something stood between the lines: they are no run any more.
    broken: bool,
}

impl Run {
    fn clear(&mut self) {
        self.starts.clear();
        self.ids.clear();
        self.broken = false;
    }
}

impl Shared {
    /// Forgets everything: positions are those of one chunk.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.this.clear();
        self.this.broken = true;
    }

    /// A sample begins.
    pub(super) fn begin(&mut self) {
        std::mem::swap(&mut self.last, &mut self.this);
        if self.last.broken {
            self.last.clear();
        }
        self.this.clear();
        self.serial = self.serial.wrapping_add(1);
    }

    /// The line `id` was read at `at` of `chunk`. Its frame goes onto `stack`, and those of the lines that follow it, if they are those
    /// of the last sample to its end. The answer is where the next line starts.
    #[inline]
    pub(super) fn note(
        &mut self,
        chunk: &[u8],
        at: Range<usize>,
        id: u32,
        lines: &mut Lines,
        stack: &mut Vec<FrameId>,
    ) -> usize {
        let Shared { last, this, serial } = self;
        let (frame, seen) = lines.see(id, *serial);
        stack.extend(frame);
        this.broken |= !this.starts.is_empty() && at.start != this.end;
        if this.broken {
            return at.end;
        }
        this.starts.push(at.start);
        this.ids.push(id);
        this.end = at.end;
        if seen.wrapping_add(1) != *serial {
            return at.end;
        }
        let Some(before) = last.ids.iter().rposition(|&before| before == id) else { return at.end };
        let next = before + 1;
        let Some(&from) = last.starts.get(next) else { return at.end };
        if !chunk[at.end..].starts_with(&chunk[from..last.end]) {
            return at.end;
        }
        for (&id, &start) in last.ids[next..].iter().zip(&last.starts[next..]) {
            stack.extend(lines.see(id, *serial).0);
            this.starts.push(start - from + at.end);
            this.ids.push(id);
        }
        lines.go_on_from(last.ids.last().copied().unwrap_or(id));
        this.end = at.end + last.end - from;
        this.end
    }
}
