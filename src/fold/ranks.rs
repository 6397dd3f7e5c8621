//! Ranks frames, so that stacks sort as numbers.

use std::cmp::Ordering;

use bstr::ByteSlice;

use super::order::{self, Strings};
use super::sums::Sums;
use crate::sample::{FrameId, FrameTable};
use crate::stacks::common;

/// Ranks of frames. Stacks that are sorted by them are in the order of their lines' bytes.
///
/// At the first difference, one line has frame `a` and the other has `b`. If `a` is the start of
/// `b`, the byte behind `a` decides: `;` inside a stack, nothing at its end. So each frame has two
/// ranks: that of its bytes, and that of its bytes with a `;`. This gives `main` < `main::x` <
/// `main;`, as the bytes do.
pub(super) struct Ranks {
    /// By frame id: the rank at the end of a stack, and the rank inside.
    ranks: Vec<(u32, u32)>,
    /// By frame id, if frames have lines: the rank of its line. It decides between stacks of the
    /// same names.
    lines: Vec<u32>,
}

impl Ranks {
    /// The ranks of the frames of `stacks`. The table holds many others.
    pub(super) fn new(frames: &FrameTable, stacks: &Sums, parallel: bool) -> Self {
        let mut used = vec![[false; 2]; frames.len()];
        for (stack, _) in stacks.iter() {
            let Some((leaf, inner)) = stack.split_last() else { continue };
            used[leaf.index()][0] = true;
            inner.iter().for_each(|frame| used[frame.index()][1] = true);
        }
        let mut keys: Vec<(&[u8], bool, usize)> = Vec::new();
        for id in frames.ids() {
            let sides =
                [false, true].into_iter().filter(|&inside| used[id.index()][usize::from(inside)]);
            keys.extend(sides.map(|inside| (frames.symbol(id).as_bytes(), inside, id.index())));
        }
        let keys = Keys(keys);
        let mut ranks = vec![(0, 0); frames.len()];
        let mut rank = 0;
        let mut last = None;
        for at in order::sorted(keys.0.len(), &keys, parallel) {
            let (_, inside, id) = keys.0[at as usize];
            // Frames of the same name, from several modules, have the same ranks.
            let key = (frames.symbol_number(FrameId::at(id)), inside);
            rank += u32::from(last.is_some_and(|last| last != key));
            last = Some(key);
            let slot = &mut ranks[id];
            if inside { slot.1 = rank } else { slot.0 = rank }
        }
        let lines = if frames.has_lines() { lines(frames) } else { Vec::new() };
        Ranks { ranks, lines }
    }

    /// The numbers of `stacks`, sorted. This compares ranks as integers and never reads a name.
    pub(super) fn sorted(&self, stacks: &Sums, parallel: bool) -> Vec<u32> {
        order::sorted(stacks.len(), &Ranked { ranks: self, stacks }, parallel)
    }
}

/// The rank of the line of each frame; 0 without one.
fn lines(frames: &FrameTable) -> Vec<u32> {
    let mut order: Vec<FrameId> = frames.ids().collect();
    let key = |id| frames.line(id).map(|line| (line.file, line.line));
    order.sort_by_key(|&id| key(id));
    let mut ranks = vec![0; frames.len()];
    let mut rank = 0;
    for pair in order.windows(2) {
        rank += u32::from(key(pair[0]) != key(pair[1]));
        ranks[pair[1].index()] = rank;
    }
    ranks
}

/// Stacks as strings of ranks.
struct Ranked<'a> {
    ranks: &'a Ranks,
    stacks: &'a Sums,
}

impl Ranked<'_> {
    /// The rank of the frame that is `at` this index in `stack`. Behind the frames come the ranks
    /// of their lines.
    #[inline]
    fn rank(&self, stack: &[FrameId], at: usize) -> Option<u32> {
        let Some(frame) = stack.get(at) else {
            let frame = stack.get(at - stack.len())?;
            return self.ranks.lines.get(frame.index()).copied();
        };
        let &(end, inside) = self.ranks.ranks.get(frame.index())?;
        Some(if at + 1 == stack.len() { end } else { inside })
    }
}

impl Strings for Ranked<'_> {
    /// Two ranks, each plus one, because 0 means none.
    #[inline]
    fn word(&self, id: u32, at: usize) -> Option<u64> {
        let stack = self.stacks.get(id as usize).0;
        let first = self.rank(stack, 2 * at)?;
        let second = self.rank(stack, 2 * at + 1).map_or(0, |second| u64::from(second) + 1);
        Some((u64::from(first) + 1) << 32 | second)
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        let [a, b] = [a, b].map(|id| self.stacks.get(id as usize).0);
        let same = common(a, b);
        // The last common frame may be at the end of one of them.
        let from = same.saturating_sub(1);
        (from..).map_while(|at| self.rank(a, at)).cmp((from..).map_while(|at| self.rank(b, at)))
    }
}

/// Names, whether each is inside a stack, and the frame's index.
struct Keys<'a>(Vec<(&'a [u8], bool, usize)>);

impl Strings for Keys<'_> {
    /// Eight bytes of a name, with a `;` behind it if it is inside a stack, as in [`compare`].
    fn word(&self, key: u32, at: usize) -> Option<u64> {
        let (name, inside, _) = self.0[key as usize];
        let rest = name.get(8 * at..)?;
        if let Some(&eight) = rest.first_chunk() {
            return Some(u64::from_be_bytes(eight));
        }
        let mut eight = [0; 8];
        eight[..rest.len()].copy_from_slice(rest);
        if inside {
            eight[rest.len()] = b';';
        }
        (inside || !rest.is_empty()).then(|| u64::from_be_bytes(eight))
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        let [a, b] = [a, b].map(|key| self.0[key as usize]);
        compare((a.0, a.1), (b.0, b.1))
    }
}

/// Compares names as bytes, as if a `;` followed those that are inside a stack.
fn compare((a, a_inside): (&[u8], bool), (b, b_inside): (&[u8], bool)) -> Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then_with(|| {
        let next = |name: &[u8], inside: bool| name.get(common).copied().or(inside.then_some(b';'));
        // Only a name that holds a `;` gets as far as the lengths: `main;x` beside `main`.
        next(a, a_inside).cmp(&next(b, b_inside)).then(a.len().cmp(&b.len()))
    })
}
