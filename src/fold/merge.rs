//! Merges equal folded stacks and puts them in order.

use bstr::ByteSlice;

use super::order;
use super::sums::{Sums, Weight};
use crate::error::Result;
use crate::folded::{Folded, FoldedSink};
use crate::sample::FrameTable;
use crate::tally::{Loss, Tally};
use crate::unit::{self, Unit};

/// A sink of folded stacks that pushes each distinct one once into `S`, in the order of their lines' bytes, when it is
/// finished. Comments and odd lines go no further, but for the [unit](mod@crate::unit), if all inputs that tell it agree.
///
/// Memory: the distinct stacks.
pub struct Merge<S> {
    stacks: Sums,
    fractions: u64,
    unit: Unit,
    next: S,
}

impl<S: FoldedSink> Merge<S> {
    /// A merger in front of `next`.
    pub fn new(next: S) -> Self {
        Merge { stacks: Sums::default(), fractions: 0, unit: Unit::default(), next }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    /// The next sink.
    pub fn next_mut(&mut self) -> &mut S {
        &mut self.next
    }

    /// How many distinct stacks are held back.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether none is held back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: FoldedSink> FoldedSink for Merge<S> {
    fn folded(&mut self, _: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.stacks.add(folded.stack, Weight { weight: folded.weight, after: folded.after });
        self.fractions += u64::from(folded.has_fraction());
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    /// Equal stacks are neighbours once they are sorted.
    fn distinct(&mut self) {
        self.stacks.close();
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if let Some(unit) = self.unit.known() {
            self.next.text(&unit::line(unit))?;
        }
        let mut stacks = std::mem::take(&mut self.stacks);
        stacks.close();
        let ranks = Ranks::new(frames, &stacks);
        let (mut full, sorted) = (0, ranks.sorted(&stacks));
        let mut rest = &sorted[..];
        while let Some((&id, mut next)) = rest.split_first() {
            prefetch(next, &stacks, frames);
            let (stack, mut sum) = stacks.get(id as usize);
            while let Some((&same, after)) = next.split_first()
                && stacks.get(same as usize).0 == stack
            {
                sum += stacks.get(same as usize).1;
                next = after;
            }
            rest = next;
            let Weight { weight, after } = sum;
            full += u64::from(weight == u64::MAX || after == Some(u64::MAX));
            self.next.folded(frames, &Folded { stack, weight, after, line: b"" })?;
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        // A single weight can be as large, but nobody's is.
        tally.lose(Loss::Overflow, full, 0);
        self.next.finish(frames, tally)
    }
}

/// Has what the stacks that come next are made of at hand when they do: they lie anywhere, and so do their names.
fn prefetch(next: &[u32], stacks: &Sums, frames: &FrameTable) {
    for (ahead, links) in [(7, 1), (5, 0)] {
        next.get(ahead).into_iter().for_each(|&id| stacks.prefetch(id as usize, links));
    }
    for (ahead, links) in [(3, 2), (1, 1), (0, 0)] {
        let Some(&id) = next.get(ahead) else { return };
        stacks.get(id as usize).0.iter().for_each(|&frame| frames.prefetch(frame, links));
    }
}

/// Ranks that make the order of stacks the order of their lines' bytes.
///
/// Where two lines differ first, one has frame `a` and the other `b`, and what follows a frame matters if one is the
/// beginning of the other: `;` inside a stack, nothing at its end. So each frame has two ranks, that of its bytes and that of its
/// bytes with a `;`, and `main` < `main::x` < `main;` as in the bytes.
struct Ranks {
    /// By frame id: the rank at the end of a stack, and inside.
    ranks: Vec<(u32, u32)>,
}

impl Ranks {
    /// The ranks of the frames of `stacks`; the table holds many others.
    fn new(frames: &FrameTable, stacks: &Sums) -> Self {
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
        let key = |at: u32| {
            let (name, inside, _) = keys[at as usize];
            (name, inside)
        };
        let mut ranks = vec![(0, 0); frames.len()];
        let (mut rank, mut last) = (0, None);
        let compare = |a, b| compare(key(a), key(b));
        for at in order::sorted(keys.len(), |at, depth| word(key(at), depth), compare) {
            // Frames of one name (of several modules, say) share their ranks.
            rank += u32::from(last.is_some_and(|last| compare(last, at).is_ne()));
            last = Some(at);
            let (_, inside, id) = keys[at as usize];
            let slot = &mut ranks[id];
            if inside { slot.1 = rank } else { slot.0 = rank }
        }
        Ranks { ranks }
    }

    /// The numbers of `stacks` in their order: that of their ranks, so that sorting compares integers and never touches a name.
    fn sorted(&self, stacks: &Sums) -> Vec<u32> {
        let mut ranks: Vec<u32> = Vec::new();
        for (stack, _) in stacks.iter() {
            let Some((leaf, inner)) = stack.split_last() else { continue };
            ranks.extend(inner.iter().map(|frame| self.ranks[frame.index()].1));
            ranks.push(self.ranks[leaf.index()].0);
        }
        let ranks_of = |id: u32| &ranks[stacks.range(id as usize)];
        // Two ranks, each one more than it is: 0 is none.
        let word = |id, depth: usize| {
            let (&first, rest) = ranks_of(id).get(2 * depth..)?.split_first()?;
            let second = rest.first().map_or(0, |&second| u64::from(second) + 1);
            Some((u64::from(first) + 1) << 32 | second)
        };
        order::sorted(stacks.len(), word, |a, b| ranks_of(a).cmp(ranks_of(b)))
    }
}

/// Eight bytes of a name, with a `;` behind those that are inside a stack: as [`compare`] sees them.
fn word((name, inside): (&[u8], bool), depth: usize) -> Option<u64> {
    let rest = name.get(8 * depth..)?;
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

/// Compares names as bytes, with a `;` behind those that are inside a stack.
fn compare((a, a_inside): (&[u8], bool), (b, b_inside): (&[u8], bool)) -> std::cmp::Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then_with(|| {
        let next = |name: &[u8], inside: bool| name.get(common).copied().or(inside.then_some(b';'));
        match (a.len() == b.len(), next(a, a_inside), next(b, b_inside)) {
            (true, a, b) => a.cmp(&b),
            // `main;` against `main;x` cannot be, as names hold no `;`; if one does, the longer is later.
            (false, Some(x), Some(y)) if x == y => a.len().cmp(&b.len()),
            (false, a, b) => a.cmp(&b),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{self, Writer};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn merged(text: &str) -> String {
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        let mut merge = Merge::new(Writer::new(Vec::new(), "memory"));
        folded::read(text.as_bytes(), "text", &mut frames, &mut merge, &mut tally).unwrap();
        merge.finish(&mut frames, &mut tally).unwrap();
        String::from_utf8(merge.into_next().into_inner()).unwrap()
    }

    #[test]
    fn the_order_is_that_of_bytes() {
        assert_eq!(
            merged("main;a 1\nmain 1\nmain::x 2\nmain 3\nmain!y 1\n"),
            "main 4\nmain!y 1\nmain::x 2\nmain;a 1\n"
        );
        assert_eq!(merged("a 1 2\na 3 4\n"), "a 4 6\n");
    }

    proptest! {
        #[test]
        fn merging_is_a_sorted_map(lines in proptest::collection::vec(("[a-c:;!<]{1,6}", 0u64..9), 0..60)) {
            let text: String = lines.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            let mut map = BTreeMap::<&str, u64>::new();
            for (stack, weight) in &lines {
                *map.entry(stack).or_default() += weight;
            }
            let expected: String = map.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            prop_assert_eq!(merged(&text), expected);
        }
    }
}
