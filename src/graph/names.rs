//! Numbers the names of frames, and keeps the path of names of the current stack.

use std::borrow::Cow;

use bstr::ByteSlice;

use crate::intern::Interner;
use crate::sample::{FrameId, FrameTable};
use crate::stacks::common;

/// Prepares a frame's symbol before it is split, and says whether that lost something.
type Prepare = fn(&[u8]) -> (Cow<'_, [u8]>, bool);

/// The distinct names, numbered in order of first appearance.
///
/// A frame such as `[u8; 8]` has two names, here as in folded text.
pub(crate) struct Names {
    prepare: Prepare,
    names: Interner,
    /// The range in `pieces` of the names of each known frame.
    of_frame: Vec<Option<(u32, u32)>>,
    pieces: Vec<u32>,
    replaced: u64,
}

impl Default for Names {
    fn default() -> Self {
        Names::prepared(|symbol| (Cow::Borrowed(symbol), false))
    }
}

impl Names {
    /// Names that `prepare` changes before they are stored.
    pub(crate) fn prepared(prepare: Prepare) -> Self {
        Names {
            prepare,
            names: Interner::default(),
            of_frame: Vec::new(),
            pieces: Vec::new(),
            replaced: 0,
        }
    }

    /// The number of a name.
    pub(crate) fn intern(&mut self, name: &[u8]) -> u32 {
        let (name, _) = (self.prepare)(name);
        self.names.intern(&name)
    }

    /// The name of a number.
    pub(crate) fn get(&self, name: u32) -> &[u8] {
        self.names.get(name)
    }

    /// Appends the names of `frame` to `stack`.
    fn push(&mut self, frames: &FrameTable, frame: FrameId, stack: &mut Vec<u32>) {
        if self.of_frame.len() <= frame.index() {
            self.of_frame.resize(frames.len().max(frame.index() + 1), None);
        }
        let (start, end) = match self.of_frame[frame.index()] {
            Some(range) => range,
            None => self.take_apart(frames, frame),
        };
        stack.extend_from_slice(&self.pieces[start as usize..end as usize]);
    }

    fn take_apart(&mut self, frames: &FrameTable, frame: FrameId) -> (u32, u32) {
        let (name, replaced) = (self.prepare)(frames.symbol(frame));
        self.replaced += u64::from(replaced);
        let start = self.pieces.len() as u32;
        for piece in name.split_str(";") {
            self.pieces.push(self.names.intern(piece));
        }
        let range = (start, self.pieces.len() as u32);
        self.of_frame[frame.index()] = Some(range);
        range
    }

    /// The ranks of the names, in the order of their bytes.
    pub(crate) fn ranks(&self) -> Ranks {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by_key(|&name| self.names.get(name));
        Ranks::new(order)
    }

    /// How many frames `prepare` changed with a loss.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced
    }
}

/// The names of the last stack. The next stack often begins with the same frames, whose names need
/// not be looked up again.
#[derive(Default)]
pub(crate) struct Path {
    frames: Vec<FrameId>,
    names: Vec<u32>,
    /// The end of each frame in `names`.
    ends: Vec<usize>,
}

impl Path {
    /// Changes the path to that of `stack`.
    pub(crate) fn set(&mut self, names: &mut Names, frames: &FrameTable, stack: &[FrameId]) {
        let common = common(&self.frames, stack);
        self.frames.truncate(common);
        self.ends.truncate(common);
        self.names.truncate(self.ends.last().copied().unwrap_or(0));
        for &frame in &stack[common..] {
            names.push(frames, frame, &mut self.names);
            self.frames.push(frame);
            self.ends.push(self.names.len());
        }
    }

    pub(crate) fn names(&self) -> &[u32] {
        &self.names
    }
}

/// Ranks of names. They compare as the names do.
pub(crate) struct Ranks {
    names: Vec<u32>,
    ranks: Vec<u32>,
}

impl Ranks {
    /// The ranks of `names`: all names from 0 up, sorted.
    pub(crate) fn new(names: Vec<u32>) -> Self {
        let mut ranks = vec![0; names.len()];
        for (rank, &name) in names.iter().enumerate() {
            ranks[name as usize] = rank as u32;
        }
        Ranks { names, ranks }
    }

    /// The rank of a name.
    pub(crate) fn of(&self, name: u32) -> u32 {
        self.ranks[name as usize]
    }

    pub(crate) fn name(&self, rank: u32) -> u32 {
        self.names[rank as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Frame;

    #[test]
    fn a_frame_with_a_semicolon_is_what_it_is_in_text() {
        let mut frames = FrameTable::default();
        let mut names = Names::default();
        let mut path = Path::default();
        let array = frames.intern(Frame::named(b"f<[u8; 8]>"));
        path.set(&mut names, &frames, &[array, array]);
        let shown: Vec<&[u8]> = path.names().iter().map(|&name| names.get(name)).collect();
        assert_eq!(shown, [&b"f<[u8"[..], b" 8]>", b"f<[u8", b" 8]>"]);
    }
}
