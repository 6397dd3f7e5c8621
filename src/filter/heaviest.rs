//! Drops stacks that are too light. This filter must see all stacks first.

use crate::error::Result;
use crate::folded::{Folded, FoldedSink, Minimum};
use crate::sample::{FrameId, FrameTable};
use crate::stacks::Stacks;
use crate::tally::{Count, Tally};

/// How heavy a stack must be to stay. By default all stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weights {
    /// The least weight.
    pub minimum: Option<Minimum>,
    /// The number of stacks that stay: the heaviest, and the first among equals.
    pub top: Option<usize>,
}

impl Weights {
    /// Whether every stack stays.
    pub fn keeps_everything(&self) -> bool {
        *self == Weights::default()
    }
}

/// A stage that passes on the heaviest stacks, with their lines, in their order.
///
/// The weight of a stack is that of all its lines. In a differential, it is the larger of the two
/// weights. Dropped stacks count as filtered. Memory: all lines are held until the end.
pub struct Heaviest<S> {
    weights: Weights,
    stacks: Stacks<FrameId>,
    /// By stack: its weight before and after.
    sums: Vec<(u64, u64)>,
    items: Vec<Item>,
    lines: Vec<u8>,
    next: S,
}

/// A line, whose text is in `lines`.
struct Item {
    /// The length of its text.
    len: usize,
    /// The stack's number and its weights; `None` for text.
    stack: Option<(usize, u64, Option<u64>)>,
}

impl<S: FoldedSink> Heaviest<S> {
    /// A stage in front of `next`.
    pub fn new(weights: Weights, next: S) -> Self {
        let items = Vec::new();
        let lines = Vec::new();
        let sums = Vec::new();
        Heaviest { weights, stacks: Stacks::default(), sums, items, lines, next }
    }

    /// The sink behind.
    pub fn into_inner(self) -> S {
        self.next
    }

    /// Which stacks stay, by number.
    fn staying(&self) -> Vec<bool> {
        let weigh = |&(before, after): &(u64, u64)| before.max(after);
        let sums: Vec<u64> = self.sums.iter().map(weigh).collect();
        let total = |side: fn(&(u64, u64)) -> u64| {
            self.sums.iter().map(side).fold(0, u64::saturating_add) as f64
        };
        let all = total(|sums| sums.0).max(total(|sums| sums.1));
        let heavy = |weight: u64| match self.weights.minimum {
            None => true,
            Some(minimum) => minimum.is_met(weight, all),
        };
        let mut order: Vec<usize> = (0..sums.len()).collect();
        // The sort is stable: among equals the first stays first.
        order.sort_by_key(|&stack| std::cmp::Reverse(sums.get(stack)));
        let mut stays = vec![false; sums.len()];
        for stack in order.into_iter().take(self.weights.top.unwrap_or(usize::MAX)) {
            if let (Some(stays), Some(&weight)) = (stays.get_mut(stack), sums.get(stack)) {
                *stays = heavy(weight);
            }
        }
        stays
    }
}

impl<S: FoldedSink> FoldedSink for Heaviest<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if self.weights.keeps_everything() {
            return self.next.folded(frames, folded);
        }
        let stack = self.stacks.intern(folded.stack);
        if stack >= self.sums.len() {
            self.sums.resize(stack + 1, (0, 0));
        }
        if let Some((before, after)) = self.sums.get_mut(stack) {
            *before = before.saturating_add(folded.weight);
            *after = after.saturating_add(folded.after.unwrap_or(0));
        }
        let stack = Some((stack, folded.weight, folded.after));
        self.items.push(Item { len: folded.line.len(), stack });
        self.lines.extend_from_slice(folded.line);
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        if self.weights.keeps_everything() {
            return self.next.text(line);
        }
        self.items.push(Item { len: line.len(), stack: None });
        self.lines.extend_from_slice(line);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let stays = self.staying();
        let mut rest = &self.lines[..];
        let mut filtered = Count::default();
        for item in &self.items {
            let (line, behind) = rest.split_at_checked(item.len).unwrap_or((rest, b""));
            rest = behind;
            match item.stack {
                None => self.next.text(line)?,
                Some((stack, weight, after)) if stays.get(stack) == Some(&true) => {
                    let stack = self.stacks.get(stack);
                    self.next.folded(frames, &Folded { stack, weight, after, line })?;
                }
                Some((_, weight, _)) => {
                    filtered += Count::one(weight);
                }
            }
        }
        tally.filtered += filtered;
        self.next.finish(frames, tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{Writer, read};
    use proptest::prelude::*;

    fn filter(weights: Weights, text: &str) -> (String, Count) {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut heaviest = Heaviest::new(weights, Writer::new(Vec::new(), "memory"));
        read(text.as_bytes(), "text", &mut frames, &mut heaviest, &mut tally).unwrap();
        heaviest.finish(&mut frames, &mut tally).unwrap();
        (String::from_utf8(heaviest.into_inner().into_inner()).unwrap(), tally.filtered)
    }

    #[test]
    fn lines_stay_as_they_were() {
        let text = "# x\na;b 5.5\nc 1\n\nodd\na;b 1\nd 3 9\n";
        let top = |n| filter(Weights { top: Some(n), minimum: None }, text).0;
        assert_eq!(top(0), "# x\n\nodd\n");
        assert_eq!(top(1), "# x\n\nodd\nd 3 9\n");
        assert_eq!(top(2), "# x\na;b 5.5\n\nodd\na;b 1\nd 3 9\n");
        let least = |minimum| filter(Weights { top: None, minimum: Some(minimum) }, text).0;
        assert_eq!(least(Minimum::Weight(6)), top(2));
        assert_eq!(least(Minimum::Percent(0.0)), text);
    }

    proptest! {
        #[test]
        fn the_heaviest_stay(
            lines in prop::collection::vec(("[ab](;[ab])?", 1u64..9), 0..12),
            top in prop::option::of(0usize..5),
            minimum in prop::option::of(0u64..12),
            percent: bool,
        ) {
            let text: String = lines.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            let sum = |stack: &str| lines.iter().filter(|line| line.0 == stack).map(|line| line.1).sum::<u64>();
            let all: u64 = lines.iter().map(|line| line.1).sum();
            // By weight; equal ones by their first lines.
            let mut stacks: Vec<&str> = Vec::new();
            for (stack, _) in &lines {
                if !stacks.contains(&&**stack) {
                    stacks.push(stack);
                }
            }
            stacks.sort_by_key(|stack| std::cmp::Reverse(sum(stack)));
            stacks.truncate(top.unwrap_or(usize::MAX));
            let heavy = |weight: u64| minimum.is_none_or(|least| {
                if percent { weight * 100 >= least * all } else { weight >= least }
            });
            stacks.retain(|stack| heavy(sum(stack)));
            let stays = |line: &&(String, u64)| stacks.contains(&&*line.0);
            let expected: String = lines.iter().filter(stays).map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            let gone = || lines.iter().filter(|line| !stays(line));
            let minimum = minimum.map(|least| if percent { Minimum::Percent(least as f64) } else { Minimum::Weight(least) });
            let (text, filtered) = filter(Weights { top, minimum }, &text);
            prop_assert_eq!(text, expected);
            prop_assert_eq!((filtered.items, filtered.weight), (gone().count() as u64, gone().map(|line| line.1).sum()));
        }
    }
}
