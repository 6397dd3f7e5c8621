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
    lines: Vec<Line>,
    end: usize,
    /// Something stood between the lines: they are no run any more.
    broken: bool,
}

#[derive(Clone, Copy)]
struct Line {
    start: usize,
    id: u32,
    /// What it means, its address included.
    frame: FrameId,
}

impl Run {
    fn clear(&mut self) {
        self.lines.clear();
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

    /// The line `id`, which is `frame`, was read at `at` of `chunk`. The frame goes onto `stack`, and those of the lines that follow it, if
    /// they are those of the last sample to its end. The answer is where the next line starts.
    #[inline]
    pub(super) fn note(
        &mut self,
        chunk: &[u8],
        at: Range<usize>,
        (id, frame): (u32, FrameId),
        lines: &mut Lines,
        stack: &mut Vec<FrameId>,
    ) -> usize {
        let Shared { last, this, serial } = self;
        let seen = lines.see(id, *serial);
        stack.push(frame);
        this.broken |= !this.lines.is_empty() && at.start != this.end;
        if this.broken {
            return at.end;
        }
        this.lines.push(Line { start: at.start, id, frame });
        this.end = at.end;
        if seen.wrapping_add(1) != *serial {
            return at.end;
        }
        let Some(before) = last.lines.iter().rposition(|before| before.id == id) else {
            return at.end;
        };
        let Some((first, _)) = last.lines[before + 1..].split_first() else { return at.end };
        let from = first.start;
        if !chunk[at.end..].starts_with(&chunk[from..last.end]) {
            return at.end;
        }
        for &Line { start, id, frame } in &last.lines[before + 1..] {
            lines.see(id, *serial);
            stack.push(frame);
            this.lines.push(Line { start: start - from + at.end, id, frame });
        }
        lines.go_on_from(last.lines.last().map_or(id, |last| last.id));
        this.end = at.end + last.end - from;
        this.end
    }
}
