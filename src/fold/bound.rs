//! Bounds the size of a profile without losing weight: what is too light is merged into `[other]`.
//!
//! A limit on stacks alone would drop a heavy function that a million light stacks reach. So the
//! limit is on the nodes of the call tree: a stack is cut where the tree below becomes lighter than
//! that, and all nodes that are heavy enough keep their weights.

use std::ops::Range;

use super::sums::Weight;
use crate::error::Result;
use crate::folded::{Folded, FoldedSink, Minimum};
use crate::sample::{Frame, FrameId, FrameTable};
use crate::stacks::Stacks;
use crate::tally::Tally;

/// The frame of what was cut off.
const OTHER: &[u8] = b"[other]";

/// A stage that cuts stacks once the input has ended, if it has a minimum.
///
/// In a differential, a node stays if one of its weights is enough. Memory: the distinct stacks.
pub struct Bound<S> {
    minimum: Option<Minimum>,
    stacks: Stacks<FrameId>,
    /// By stack.
    weights: Vec<Weight>,
    next: S,
}

/// The larger one of the weights of a differential.
fn larger(Weight { weight, after }: Weight) -> u64 {
    weight.max(after.unwrap_or(0))
}

impl<S: FoldedSink> Bound<S> {
    /// A stage in front of `next`.
    pub fn new(minimum: Option<Minimum>, next: S) -> Self {
        Bound { minimum, stacks: Stacks::default(), weights: Vec::new(), next }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }
}

/// The stacks in an order in which all that share their first frames are neighbours.
struct Sorted<'a> {
    stacks: &'a Stacks<FrameId>,
    weights: &'a [Weight],
    order: Vec<usize>,
}

impl<'a> Sorted<'a> {
    fn new(stacks: &'a Stacks<FrameId>, weights: &'a [Weight]) -> Self {
        let mut order: Vec<usize> = (0..stacks.len()).collect();
        order.sort_unstable_by(|&a, &b| stacks.get(a).cmp(stacks.get(b)));
        Sorted { stacks, weights, order }
    }

    fn stack(&self, at: usize) -> &'a [FrameId] {
        self.stacks.get(self.order[at])
    }

    fn weight(&self, range: Range<usize>) -> Weight {
        let mut sum = Weight::default();
        for &stack in &self.order[range] {
            sum += self.weights[stack];
        }
        sum
    }

    /// The ranges of the stacks in `node` by their frame at `depth`.
    fn children(&self, node: Range<usize>, depth: usize) -> impl Iterator<Item = Range<usize>> {
        let mut start = node.start;
        std::iter::from_fn(move || {
            let frame = (start < node.end).then(|| self.stack(start)[depth])?;
            let same = self.order[start..node.end]
                .partition_point(|&stack| self.stacks.get(stack)[depth] <= frame);
            let child = start..start + same;
            start = child.end;
            Some(child)
        })
    }
}

impl<S: FoldedSink> FoldedSink for Bound<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if self.minimum.is_none() {
            return self.next.folded(frames, folded);
        }
        let stack = self.stacks.intern(folded.stack);
        if stack == self.weights.len() {
            self.weights.push(Weight::default());
        }
        self.weights[stack] += Weight { weight: folded.weight, after: folded.after };
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.next.text(line)
    }

    fn no_unit(&mut self) {
        self.next.no_unit();
    }

    fn distinct(&mut self) {
        match self.minimum {
            None => self.next.distinct(),
            Some(_) => self.stacks.close(),
        }
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let Some(minimum) = self.minimum else { return self.next.finish(frames, tally) };
        let other = frames.intern(Frame::named(OTHER));
        let sorted = Sorted::new(&self.stacks, &self.weights);
        let whole = 0..sorted.order.len();
        let all = larger(sorted.weight(whole.clone())) as f64;
        let mut cut = Vec::new();
        // Nodes of the call tree that are heavy enough, with their depths.
        let mut nodes = vec![(whole, 0)];
        while let Some((mut node, depth)) = nodes.pop() {
            let path = node.clone().next().map_or(&[][..], |first| &sorted.stack(first)[..depth]);
            while node.start < node.end && sorted.stack(node.start).len() == depth {
                let Weight { weight, after } = sorted.weight(node.start..node.start + 1);
                let own = Folded { stack: path, weight, after, line: b"" };
                self.next.folded(frames, &own)?;
                node.start += 1;
            }
            let mut light = Weight::default();
            for child in sorted.children(node, depth) {
                let weight = sorted.weight(child.clone());
                if minimum.is_met(larger(weight), all) {
                    nodes.push((child, depth + 1));
                } else {
                    light += weight;
                }
            }
            if larger(light) > 0 {
                cut.clear();
                cut.extend_from_slice(path);
                cut.push(other);
                let Weight { weight, after } = light;
                let folded = Folded { stack: &cut, weight, after, line: b"" };
                self.next.folded(frames, &folded)?;
            }
        }
        self.next.finish(frames, tally)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::fold::Merge;
    use crate::folded::{self, Writer};

    fn bounded(text: &str, minimum: &str) -> String {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let merge = Merge::new(Writer::new(Vec::new(), "memory"));
        let mut bound = Bound::new(Some(minimum.parse().unwrap()), merge);
        folded::read(text.as_bytes(), "text", &mut frames, &mut bound, &mut tally).unwrap();
        bound.finish(&mut frames, &mut tally).unwrap();
        String::from_utf8(bound.into_next().into_next().into_inner()).unwrap()
    }

    #[test]
    fn light_branches_end_in_other() {
        let text = "a 1\na;b;c 6\na;b;d 3\na;b;e 3\na;f 2\ng 2\n";
        assert_eq!(bounded(text, "5"), "[other] 2\na 1\na;[other] 2\na;b;[other] 6\na;b;c 6\n");
        assert_eq!(bounded(text, "0"), text);
        assert_eq!(bounded(text, "100%"), "[other] 17\n");
        assert_eq!(bounded("a;b 1 9\na;c 1 1\n", "5"), "a;[other] 1 1\na;b 1 9\n");
        assert_eq!(bounded("", "5"), "");
    }

    /// The weight of each node that has at least `least`.
    fn heavy(text: &str, least: u64) -> BTreeMap<String, u64> {
        let mut nodes = BTreeMap::<String, u64>::new();
        for line in text.lines() {
            let (stack, weight) = line.rsplit_once(' ').unwrap();
            let ends = stack.match_indices(';').map(|(at, _)| at).chain([stack.len()]);
            for end in ends.filter(|&end| !stack[..end].ends_with("[other]")) {
                *nodes.entry(stack[..end].into()).or_default() += weight.parse::<u64>().unwrap();
            }
        }
        nodes.retain(|_, weight| *weight >= least);
        nodes
    }

    proptest! {
        #[test]
        fn heavy_nodes_keep_their_weights(
            lines in proptest::collection::vec(("[a-c](;[a-c]){0,4}", 1u64..9), 0..60), least in 1u64..40,
        ) {
            let text: String = lines.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect();
            let out = bounded(&text, &least.to_string());
            prop_assert_eq!(heavy(&text, least), heavy(&out, 1));
            let sum = |text: &str| text.lines().map(|line| folded::split(line.as_bytes()).unwrap().weight).sum::<u64>();
            prop_assert_eq!(sum(&text), sum(&out));
        }
    }
}
