//! The call tree. Equal stacks are one, siblings are in order, and a walk skips what is too narrow
//! to see.
//!
//! Stacks are kept as they come. Each is stored as its difference from the one before. If the
//! stacks are sorted, these differences are the tree, and a path is a run of them. Otherwise a path
//! has several runs, which a walk finds and puts in order. Only siblings that are visible are ever
//! sorted.

use std::ops::Range;

use super::names::{Names, Ranks};
use crate::stacks::common;

/// The weight of a stack in the first and in the second profile. They are the same if there is only
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Weight {
    pub(crate) fn add(&mut self, other: Weight) {
        self.before = self.before.saturating_add(other.before);
        self.after = self.after.saturating_add(other.after);
    }

    /// The same weight before as after.
    pub(crate) fn unchanged(self) -> Weight {
        Weight { before: self.after, ..self }
    }

    /// The difference of two weights.
    pub(crate) fn less(self, other: Weight) -> Weight {
        Weight {
            before: self.before.saturating_sub(other.before),
            after: self.after.saturating_sub(other.after),
        }
    }
}

/// Stacks in the order of the input.
#[derive(Default)]
pub(crate) struct Sequence {
    names: Vec<u32>,
    /// The end of each stack in `names`, and its weight.
    stacks: Vec<(usize, Weight)>,
}

impl Sequence {
    pub(crate) fn add(&mut self, stack: &[u32], weight: Weight) {
        self.names.extend_from_slice(stack);
        self.stacks.push((self.names.len(), weight));
    }

    pub(crate) fn visit(&self, mut line: impl FnMut(&[u32], Weight)) {
        let mut start = 0;
        for &(end, weight) in &self.stacks {
            line(&self.names[start..end], weight);
            start = end;
        }
    }
}

/// How many unsorted stacks may come before equal ones are merged.
const FEW: usize = 1 << 17;

/// Stacks of names and their weights.
///
/// Memory: 4 bytes for each name that a stack does not share with the one before, and 28 for each
/// stack; at most four times as much as the distinct stacks take.
pub(crate) struct CallTree {
    /// The names of each stack that it does not share with the one before.
    names: Vec<u32>,
    /// The end of each stack in `names`.
    ends: Vec<usize>,
    /// How many names each stack shares with the one before.
    shared: Vec<u32>,
    weights: Vec<Weight>,
    last: Vec<u32>,
    /// Whether every stack so far sorts behind the one before, so no two are equal.
    is_sorted: bool,
    /// How many stacks there may be until equal ones are merged.
    limit: usize,
}

impl Default for CallTree {
    fn default() -> Self {
        CallTree {
            names: Vec::new(),
            ends: Vec::new(),
            shared: Vec::new(),
            weights: Vec::new(),
            last: Vec::new(),
            is_sorted: true,
            limit: FEW,
        }
    }
}

/// A part of a walk that is left to do.
enum Task {
    /// Walk a path. Its runs are those from this index to the last, and the second number is its
    /// length.
    Enter(usize, usize),
    /// Give a path that is not drawn: its last name, its parent's length, and its weight.
    Narrow(u32, usize, u64),
    /// Give weight to the path of this length that was entered last.
    Line(usize, Weight),
}

impl CallTree {
    /// Adds a stack of names, root first, which must not be empty.
    pub(crate) fn add(&mut self, names: &Names, stack: &[u32], weight: Weight) {
        let shared = common(&self.last, stack);
        self.is_sorted = self.is_sorted && is_behind(names, &self.last, stack, shared);
        self.push_behind(shared, stack, weight);
        if !self.is_sorted && self.ends.len() >= self.limit {
            self.merge();
        }
    }

    fn push(&mut self, stack: &[u32], weight: Weight) {
        self.push_behind(common(&self.last, stack), stack, weight);
    }

    fn push_behind(&mut self, shared: usize, stack: &[u32], weight: Weight) {
        if shared == stack.len()
            && shared == self.last.len()
            && let Some(last) = self.weights.last_mut()
        {
            return last.add(weight);
        }
        self.names.extend_from_slice(&stack[shared..]);
        self.ends.push(self.names.len());
        self.shared.push(shared as u32);
        self.weights.push(weight);
        self.last.truncate(shared);
        self.last.extend_from_slice(&stack[shared..]);
    }

    /// Merges equal stacks.
    fn merge(&mut self) {
        let names = self.names.iter().max().map_or(0, |&name| name + 1);
        let ranks = Ranks::new((0..names).collect());
        let all = std::mem::take(self);
        self.is_sorted = false;
        all.visit(&ranks, |_| false, false, |stack, weight| self.push(stack, weight));
        self.limit = FEW.max(4 * self.ends.len());
    }

    /// A tree of the stacks that vanished: those that end in a path without weight after. They are
    /// below the frame `root`, as wide as they were. All of their weight is lost, so their weight
    /// before is twice their width.
    pub(crate) fn vanished(&mut self, root: u32) -> CallTree {
        self.merge();
        let mut vanished = CallTree { is_sorted: false, limit: usize::MAX, ..CallTree::default() };
        let mut stack = vec![root];
        for at in 0..self.ends.len() {
            stack.truncate(1 + self.shared[at] as usize);
            stack.extend_from_slice(&self.names[self.start(at)..self.ends[at]]);
            // In a merged tree, the stacks below a path follow it.
            let below = at..self.next(at, self.ends.len(), self.len(at) - 1);
            let width = self.weights[at].before;
            if width > 0 && self.weights[below].iter().all(|weight| weight.after == 0) {
                vanished.push(&stack, Weight { before: width.saturating_mul(2), after: width });
            }
        }
        vanished
    }

    pub(crate) fn width(&self) -> u64 {
        self.weights.iter().fold(0, |sum, weight| sum.saturating_add(weight.after))
    }

    /// The start in `names` of a stack's own names.
    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }

    /// The length of a stack.
    fn len(&self, at: usize) -> usize {
        self.shared[at] as usize + self.ends[at] - self.start(at)
    }

    /// The name at `depth`, which must be one of the stack's own names.
    fn name(&self, at: usize, depth: usize) -> u32 {
        self.names[self.start(at) + depth - self.shared[at] as usize]
    }

    /// The first stack behind `at` and before `end` that shares at most `depth` names with the one
    /// before it.
    fn next(&self, at: usize, end: usize, depth: usize) -> usize {
        let behind = &self.shared[at + 1..end];
        at + 1 + behind.iter().position(|&n| n as usize <= depth).unwrap_or(behind.len())
    }

    /// Walks the tree, with siblings in the order of their ranks, and calls `line` with each stack
    /// and the weight that ends there.
    ///
    /// If `narrow` says that a path with this weight is not drawn, the path is not walked. `line`
    /// gets its weight at the same place as weight of the parent, which changes nothing that is
    /// drawn. The root is not a frame that could get weight, so below the root the path is given as
    /// one line.
    ///
    /// In a differential, each path first gets a line of its own, whether or not a stack ends
    /// there. inferno colours only the last frame of a line, by the difference of the line's two
    /// weights. Here the last frame must get the difference of the whole path. So the line's weight
    /// before is chosen such that the difference is right. It can be negative, and then wraps
    /// around, as inferno's numbers do.
    pub(crate) fn visit(
        mut self,
        ranks: &Ranks,
        narrow: impl Fn(u64) -> bool,
        differential: bool,
        mut line: impl FnMut(&[u32], Weight),
    ) {
        // Prefix sums of the weights. The weight of a run is a difference of two.
        let mut sum = Weight::default();
        for weight in &mut self.weights {
            sum.add(*weight);
            *weight = sum;
        }
        let before = |at: usize| if at == 0 { Weight::default() } else { self.weights[at - 1] };
        let weight = |run: &Range<usize>| before(run.end).less(before(run.start));

        // The runs of all paths that are still to be entered. Those of the next path are last.
        let mut runs = Vec::from_iter(std::iter::once(0..self.ends.len()));
        let mut tasks = vec![Task::Enter(0, 0)];
        let mut path = Vec::new();
        let mut children = Vec::new();
        while let Some(task) = tasks.pop() {
            let (first, depth) = match task {
                Task::Enter(first, depth) => (first, depth),
                Task::Narrow(name, depth, after) => {
                    path.truncate(depth);
                    path.push(name);
                    line(&path, Weight { before: after, after });
                    continue;
                }
                Task::Line(depth, weight) => {
                    path.truncate(depth);
                    line(&path, weight);
                    continue;
                }
            };
            if depth > 0 {
                path.truncate(depth - 1);
                path.push(self.name(runs[first].start, depth - 1));
            }
            let mut own = None::<Weight>;
            let mut whole = Weight::default();
            for run in runs.drain(first..) {
                whole.add(weight(&run));
                let mut at = run.start;
                while at < run.end {
                    let child = at..self.next(at, run.end, depth);
                    at = child.end;
                    if self.len(child.start) == depth {
                        own.get_or_insert_default().add(weight(&child));
                    } else {
                        children.push((ranks.of(self.name(child.start, depth)), child));
                    }
                }
            }
            children.sort_unstable_by_key(|(rank, _)| *rank);
            // The task that is pushed last comes next, so push the last sibling first. `rest` is
            // the weight before the sibling that was pushed last.
            let mut rest = None::<Weight>;
            for group in children.chunk_by(|a, b| a.0 == b.0).rev() {
                let mut sum = Weight::default();
                group.iter().for_each(|(_, run)| sum.add(weight(run)));
                if differential && sum.after == 0 {
                    continue;
                }
                let is_narrow = narrow(sum.after);
                if is_narrow && depth > 0 {
                    rest.get_or_insert_default().add(sum);
                    continue;
                }
                tasks.extend(rest.take().map(|rest| Task::Line(depth, rest.unchanged())));
                if is_narrow {
                    tasks.push(Task::Narrow(ranks.name(group[0].0), depth, sum.after));
                } else {
                    tasks.push(Task::Enter(runs.len(), depth + 1));
                    runs.extend(group.iter().map(|(_, run)| run.clone()));
                }
            }
            children.clear();
            if let Some(own) = own {
                rest.get_or_insert_default().add(own);
            }
            let Weight { after, .. } = rest.unwrap_or_default();
            if differential && depth > 0 {
                let grown = whole.after.wrapping_sub(whole.before);
                let before = after.wrapping_sub(grown);
                tasks.push(Task::Line(depth, Weight { before, after }));
            } else if depth > 0 {
                tasks.extend(rest.map(|rest| Task::Line(depth, rest)));
            }
        }
    }
}

/// Whether the line of `stack` sorts behind that of `last`. Their first `shared` names are equal.
fn is_behind(names: &Names, last: &[u32], stack: &[u32], shared: usize) -> bool {
    let next = |stack: &[u32]| stack.get(shared).map_or(&b""[..], |&name| names.get(name));
    let a = next(last);
    let b = next(stack);
    // If one name is the start of the other, the byte behind it decides: `;` inside a stack,
    // nothing at its end.
    let inside = |stack: &[u32]| (stack.len() > shared + 1).then_some(&b';');
    if a.starts_with(b) || b.starts_with(a) {
        a.iter().chain(inside(last)).lt(b.iter().chain(inside(stack)))
    } else {
        a < b
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(stacks: &[(&[u32], u64)]) -> CallTree {
        let mut tree = CallTree::default();
        for &(stack, weight) in stacks {
            tree.push(stack, Weight { before: weight, after: weight });
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

    #[test]
    fn sorted_lines_need_no_merging() {
        let mut names = Names::default();
        let [main, x, a] = [&b"main"[..], b"main::x", b"a"].map(|name| names.intern(name));
        let mut tree = CallTree::default();
        let weight = Weight::default();
        for stack in [&[main][..], &[x], &[x, a], &[main, a, x], &[main, x], &[main]] {
            assert!(tree.is_sorted, "before {stack:?}");
            tree.add(&names, stack, weight);
        }
        assert!(!tree.is_sorted);
    }

    proptest! {
        #[test]
        fn a_tree_is_a_sorted_map(
            stacks in proptest::collection::vec((proptest::collection::vec(0u32..3, 1..5), 1u64..9), 0..60),
            limit in 1usize..20,
        ) {
            let mut tree = CallTree { limit, ..CallTree::default() };
            let mut names = Names::default();
            for name in [&b"a"[..], b"a:", b"c"] {
                names.intern(name);
            }
            let mut map = std::collections::BTreeMap::<Vec<u32>, u64>::new();
            for (stack, weight) in &stacks {
                tree.add(&names, stack, Weight { before: *weight, after: *weight });
                *map.entry(stack.clone()).or_default() += weight;
            }
            let mut lines = Vec::new();
            let ranks = Ranks::new(vec![0, 1, 2]);
            tree.visit(&ranks, |_| false, false, |stack, weight| lines.push((stack.to_vec(), weight.after)));
            prop_assert_eq!(lines, Vec::from_iter(map));
        }
    }
}
