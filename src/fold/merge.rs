//! Merges equal folded stacks and puts them in order.

use rayon::prelude::*;

use super::ranks::Ranks;
use super::sums::{Sums, Weight};
use crate::error::Result;
use crate::folded::{self, Folded, FoldedSink};
use crate::sample::FrameTable;
use crate::tally::{Loss, Tally};
use crate::unit::{Unit, WeightCount};

/// A sink of folded stacks that, when it is finished, pushes each distinct stack once into `S`, in
/// the order of the lines' bytes. It drops comments and odd lines. It passes on the
/// [unit](mod@crate::unit), if all inputs that have one agree.
///
/// Memory: the distinct stacks.
pub struct Merge<S> {
    stacks: Sums,
    fractions: u64,
    unit: Unit,
    weights: WeightCount,
    parallel: bool,
    next: S,
}

/// This many stacks make a piece of work: they and their names stay in a cache.
const PIECE: usize = if cfg!(test) { 4 } else { 256 };
/// This many pieces are passed on together, if several threads can take them.
const PIECES: usize = 32;

impl<S: FoldedSink> Merge<S> {
    /// A merger in front of `next`.
    pub fn new(next: S) -> Self {
        let stacks = Sums::default();
        let unit = Unit::default();
        let weights = WeightCount::default();
        Merge { stacks, fractions: 0, unit, weights, parallel: false, next }
    }

    /// Whether all of rayon's threads help. The result is the same.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    pub(crate) fn next_mut(&mut self) -> &mut S {
        &mut self.next
    }
}

impl<S: FoldedSink> FoldedSink for Merge<S> {
    fn folded(&mut self, _: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.stacks.add(folded.stack, Weight { weight: folded.weight, after: folded.after });
        self.weights.note(folded);
        self.fractions += u64::from(folded.has_fraction());
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    fn no_unit(&mut self) {
        self.unit.note_none();
    }

    /// Equal stacks are neighbours once they are sorted.
    fn distinct(&mut self) {
        self.stacks.close();
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let mut stacks = std::mem::take(&mut self.stacks);
        stacks.close();
        self.weights.has_numbers_in_names = has_numbers_in_names(frames, &stacks);
        if let Some(line) = self.unit.line(self.weights) {
            self.next.text(&line)?;
        }
        let sorted = Ranks::new(frames, &stacks, self.parallel).sorted(&stacks, self.parallel);
        let mut rest = &sorted[..];
        let mut full = 0;
        while !rest.is_empty() {
            let mut ids = Vec::new();
            while ids.len() < if self.parallel { PIECES } else { 1 } && !rest.is_empty() {
                let (piece, behind) = rest.split_at(piece(rest, &stacks));
                ids.push(piece);
                rest = behind;
            }
            let pieces: Vec<Vec<Folded<'_>>> = match &ids[..] {
                [ids] => vec![summed(ids, &stacks)],
                _ => ids.par_iter().map(|ids| summed(ids, &stacks)).collect(),
            };
            let is_full =
                |folded: &&Folded<'_>| folded.weight == u64::MAX || folded.after == Some(u64::MAX);
            full += pieces.iter().flatten().filter(is_full).count() as u64;
            self.next.many(frames, &pieces)?;
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        tally.lose(Loss::OtherUnit, self.unit.differing(), 0);
        // A single weight could be as large, but no real one is.
        tally.lose(Loss::Overflow, full, 0);
        self.next.finish(frames, tally)
    }
}

/// Whether the last name of a stack could be taken for a shorter one and a weight.
fn has_numbers_in_names(frames: &FrameTable, stacks: &Sums) -> bool {
    let mut is_known = vec![false; frames.len()];
    (0..stacks.len()).filter_map(|id| stacks.get(id).0.last()).any(|leaf| {
        let is_known = std::mem::replace(&mut is_known[leaf.index()], true);
        !is_known && folded::ends_in_weight(frames.symbol(*leaf))
    })
}

/// How many of `sorted` make a piece. Equal stacks are in one piece.
fn piece(sorted: &[u32], stacks: &Sums) -> usize {
    let stack = |at: usize| sorted.get(at).map(|&id| stacks.get(id as usize).0);
    let mut end = PIECE.min(sorted.len());
    while end < sorted.len() && stack(end) == stack(end - 1) {
        end += 1;
    }
    end
}

/// Each distinct stack of `sorted` once, with its sum.
fn summed<'a>(sorted: &[u32], stacks: &'a Sums) -> Vec<Folded<'a>> {
    let mut all = Vec::with_capacity(sorted.len());
    let mut rest = sorted;
    while let Some((&id, mut next)) = rest.split_first() {
        // The stacks are scattered in memory.
        for (ahead, links) in [(7, 1), (4, 0)] {
            if let Some(&id) = next.get(ahead) {
                stacks.prefetch(id as usize, links);
            }
        }
        let (stack, mut sum) = stacks.get(id as usize);
        while let Some((&same, after)) = next.split_first()
            && stacks.get(same as usize).0 == stack
        {
            sum += stacks.get(same as usize).1;
            next = after;
        }
        rest = next;
        let Weight { weight, after } = sum;
        all.push(Folded { stack, weight, after, line: b"" });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::Writer;
    use crate::render::{self, Renderer};
    use crate::sample::{Frame, FrameId, SourceLine};
    use bstr::ByteSlice;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn merge<S: FoldedSink>(text: &str, parallel: bool, next: S) -> S {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut merge = Merge::new(next).parallel(parallel);
        folded::read(text.as_bytes(), "text", &mut frames, &mut merge, &mut tally).unwrap();
        merge.finish(&mut frames, &mut tally).unwrap();
        merge.into_next()
    }

    fn merged(text: &str, parallel: bool) -> String {
        let writer = merge(text, parallel, Writer::new(Vec::new(), "memory"));
        String::from_utf8(writer.into_inner()).unwrap()
    }

    #[test]
    fn the_order_is_that_of_bytes() {
        assert_eq!(
            merged("main;a 1\nmain 1\nmain::x 2\nmain 3\nmain!y 1\n", false),
            "main 4\nmain!y 1\nmain::x 2\nmain;a 1\n"
        );
        assert_eq!(merged("a 1 2\na 3 4\n", false), "a 4 6\n");
    }

    #[test]
    fn a_graph_is_the_same_whoever_packs_its_stacks() {
        let text: String = (0..40).map(|n| format!("main;f{};g{n}\u{1} {n}\n", n % 7)).collect();
        let drawn = |parallel| {
            let renderer = Renderer::new(render::Config::default(), "text", Vec::new(), "memory");
            merge(&text, parallel, renderer).into_inner()
        };
        assert_eq!(drawn(true).as_bstr(), drawn(false).as_bstr());
    }

    /// Names and lines of stacks, and their weights.
    #[derive(Default)]
    struct Lines(Vec<(Vec<(String, u32)>, u64)>);

    impl FoldedSink for Lines {
        fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
            let frame = |&id: &FrameId| {
                (frames.symbol(id).to_string(), frames.line(id).map_or(0, |it| it.line))
            };
            self.0.push((folded.stack.iter().map(frame).collect(), folded.weight));
            Ok(())
        }

        fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
            Ok(())
        }
    }

    proptest! {
        /// Stacks that are apart by lines are in the order of their names, and each is there once,
        /// whatever the order in which they came.
        #[test]
        fn lines_come_after_names(
            stacks in proptest::collection::vec(
                (proptest::collection::vec(("[ab!]{1,2}", 0u32..3), 1..4), 1u64..9), 1..40,
            ),
            parallel: bool,
        ) {
            let merged = |stacks: &[(Vec<(String, u32)>, u64)]| {
                let mut frames = FrameTable::default();
                let mut merge = Merge::new(Lines::default()).parallel(parallel);
                for (stack, weight) in stacks {
                    let ids: Vec<FrameId> = stack.iter().map(|(name, line)| {
                        let line = SourceLine { file: "f".into(), line: *line };
                        let line = Some(line).filter(|line| line.line > 0);
                        frames.intern(Frame { line, ..Frame::named(name.as_bytes()) })
                    }).collect();
                    merge.folded(&mut frames, &Folded { stack: &ids, weight: *weight, ..Folded::default() }).unwrap();
                }
                merge.finish(&mut frames, &mut Tally::default()).unwrap();
                merge.into_next().0
            };
            let all = merged(&stacks);
            let mut sums = BTreeMap::<_, u64>::new();
            stacks.iter().for_each(|(stack, weight)| *sums.entry(stack.clone()).or_default() += weight);
            prop_assert_eq!(all.iter().cloned().collect::<BTreeMap<_, _>>(), sums);
            let names = |(stack, _): &(Vec<(String, u32)>, u64)| {
                stack.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>().join(";")
            };
            prop_assert!(all.iter().map(names).is_sorted());
            let backwards: Vec<_> = stacks.into_iter().rev().collect();
            prop_assert_eq!(merged(&backwards), all);
        }

        #[test]
        fn merging_is_a_sorted_map(
            lines in proptest::collection::vec(("[a-c:;!<]{1,6}", 0u64..9), 0..60), parallel: bool,
        ) {
            let text: String = lines.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            let mut map = BTreeMap::<&str, u64>::new();
            for (stack, weight) in &lines {
                *map.entry(stack).or_default() += weight;
            }
            let expected: String = map.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            prop_assert_eq!(merged(&text, parallel), expected);
        }
    }
}
