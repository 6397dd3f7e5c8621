//! The root that a sample shares with the one before, found with a single comparison.
//!
//! Stacks differ near their leaves. Once a frame line is met that the last sample has too, all that followed it there is likely
//! to follow here: if the bytes are the same, return addresses included, so are the frames, and no line need be looked at.

/// Where the frame lines of the last sample and of this one lie in the chunk at hand.
#[derive(Default)]
pub(super) struct Shared {
    last: Run,
    this: Run,
    /// By line id: the sample that had the line last, and which of its frames it was.
    seen: Vec<(u32, u32)>,
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

    /// The line `id` was read at `start..end` of `chunk`. The answer is the lines that follow it, if they are those of
    /// the last sample to its end, and where they end.
    #[inline]
    pub(super) fn note(
        &mut self,
        chunk: &[u8],
        start: usize,
        end: usize,
        id: u32,
    ) -> Option<(&[u32], usize)> {
        let Shared { last, this, seen, serial } = self;
        this.broken |= !this.starts.is_empty() && start != this.end;
        if this.broken {
            return None;
        }
        if seen.len() <= id as usize {
            seen.resize(id as usize + 1, (0, 0));
        }
        let (before, at) =
            std::mem::replace(&mut seen[id as usize], (*serial, this.ids.len() as u32));
        this.starts.push(start);
        this.ids.push(id);
        this.end = end;
        if before.wrapping_add(1) != *serial {
            return None;
        }
        let next = at as usize + 1;
        let (from, ids) = (*last.starts.get(next)?, last.ids.get(next..)?);
        if !chunk.get(end..)?.starts_with(chunk.get(from..last.end)?) {
            return None;
        }
        for (&id, &start) in ids.iter().zip(&last.starts[next..]) {
            seen[id as usize] = (*serial, this.ids.len() as u32);
            this.starts.push(start - from + end);
            this.ids.push(id);
        }
        this.end = end + last.end - from;
        Some((ids, this.end))
    }
}
