//! The call tree: equal stacks are one, siblings are in order, and what is too narrow to be seen is not walked.
//!
//! It is never built: the stacks, sorted, are its leaves, and a run of stacks that start alike is a path.

use super::lines::Weight;
use super::names::Ranks;
use crate::stacks::Stacks;

/// Distinct stacks of names and their weights.
#[derive(Default)]
pub(super) struct CallTree {
    stacks: Stacks<u32>,
    weights: Vec<Weight>,
}

/// What is left to do of a walk.
enum Step {
    /// The path that the stacks from one place up to another share, as deep as the number says.
    Enter(usize, usize, usize),
    /// A path that will not be drawn, below one of this depth.
    Narrow(usize, usize, usize),
    /// Weight of the path of this depth that was entered last.
    Line(usize, Weight),
}

impl CallTree {
    /// Adds a stack of names, root first, which must not be empty.
    pub(super) fn add(&mut self, stack: &[u32], weight: Weight) {
        let id = self.stacks.intern(stack);
        if id == self.weights.len() {
            self.weights.push(Weight::default());
        }
        self.weights[id].add(weight);
    }

    /// The largest difference of one stack, by which inferno scales the colours of a differential.
    pub(super) fn largest_difference(&self) -> u64 {
        self.weights.iter().map(|weight| weight.before.abs_diff(weight.after)).max().unwrap_or(0)
    }

    /// Walks the tree, siblings by the rank of their names, and gives each stack with what ends there.
    ///
    /// Where `narrow` says of a path's weight that it will not be drawn, the path is not walked: its weight is given
    /// at its place as its parent's, which changes nothing that is drawn. The root is no frame that could be given
    /// weight, and the parent's colour in a differential must not change: there the path is given as one line that
    /// weighs the same before and after.
    pub(super) fn visit(
        mut self,
        ranks: &Ranks,
        narrow: impl Fn(u64) -> bool,
        differential: bool,
        mut line: impl FnMut(&[u32], Weight),
    ) {
        let order = self.stacks.sorted(|name| ranks.of(name));
        let stack = |at: usize| self.stacks.get(order[at] as usize);
        // What all stacks before a place weigh: the weight of a run is a difference.
        let mut sums = vec![Weight::default()];
        let mut sum = Weight::default();
        sums.extend(order.iter().map(|&id| {
            sum.add(self.weights[id as usize]);
            sum
        }));
        let run = |from: usize, to: usize| sums[to].less(sums[from]);

        let (mut path, mut steps, mut mine) = (Vec::new(), vec![], Vec::new());
        steps.push(Step::Enter(0, order.len(), 0));
        while let Some(step) = steps.pop() {
            let (mut at, end, depth) = match step {
                Step::Enter(at, end, depth) => (at, end, depth),
                Step::Narrow(at, end, depth) => {
                    path.truncate(depth);
                    path.push(ranks.name(stack(at)[depth]));
                    let Weight { after, .. } = run(at, end);
                    line(&path, Weight { before: after, after });
                    continue;
                }
                Step::Line(depth, weight) => {
                    path.truncate(depth);
                    line(&path, weight);
                    continue;
                }
            };
            if depth > 0 {
                path.truncate(depth - 1);
                path.push(ranks.name(stack(at)[depth - 1]));
            }
            let mut own = None;
            if at < end && stack(at).len() == depth {
                own = Some(run(at, at + 1));
                at += 1;
            }
            while at < end {
                let name = stack(at)[depth];
                let length = order[at..end]
                    .partition_point(|&id| self.stacks.get(id as usize)[depth] == name);
                let (child, next) = (at, at + length);
                at = next;
                let weight = run(child, next);
                if !narrow(weight.after) {
                    mine.extend(own.take().map(|own| Step::Line(depth, own)));
                    mine.push(Step::Enter(child, next, depth + 1));
                } else if depth == 0 || differential {
                    mine.extend(own.take().map(|own| Step::Line(depth, own)));
                    mine.push(Step::Narrow(child, next, depth));
                } else {
                    own.get_or_insert_default().add(weight);
                }
            }
            mine.extend(own.map(|own| Step::Line(depth, own)));
            steps.extend(mine.drain(..).rev());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(stacks: &[(&[u32], u64)]) -> CallTree {
        let mut tree = CallTree::default();
        for &(stack, weight) in stacks {
            tree.add(stack, Weight { before: weight, after: weight });
        }
        tree
    }

    fn lines(stacks: &[(&[u32], u64)], order: &[u32], least: u64) -> Vec<(Vec<u32>, u64)> {
        let mut lines = Vec::new();
        let narrow = move |weight| weight < least;
        tree(stacks).visit(&Ranks::new(order.to_vec()), narrow, false, |stack, weight| {
            lines.push((stack.to_vec(), weight.after))
        });
        lines
    }

    #[test]
    fn equal_stacks_are_one_and_siblings_are_in_order() {
        let stacks: &[(&[u32], u64)] =
            &[(&[0, 2], 1), (&[1], 1), (&[0, 1], 2), (&[0], 4), (&[0, 2], 8)];
        let all = [(vec![0], 4), (vec![0, 1], 2), (vec![0, 2], 9), (vec![1], 1)];
        assert_eq!(lines(stacks, &[0, 1, 2], 0), all);
        let turned = [(vec![1], 1), (vec![0], 4), (vec![0, 2], 9), (vec![0, 1], 2)];
        assert_eq!(lines(stacks, &[2, 1, 0], 0), turned);
    }

    #[test]
    fn narrow_paths_weigh_in_their_place() {
        let stacks: &[(&[u32], u64)] = &[
            (&[0, 1, 3], 1),
            (&[0, 1, 4], 9),
            (&[0, 2], 1),
            (&[0, 3, 1], 1),
            (&[4], 1),
            (&[5], 1),
        ];
        let pruned =
            [(vec![0, 1], 1), (vec![0, 1, 4], 9), (vec![0], 2), (vec![4], 1), (vec![5], 1)];
        assert_eq!(lines(stacks, &[0, 1, 2, 3, 4, 5], 2), pruned);
    }
}
