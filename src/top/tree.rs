//! The heaviest nodes of a tree of callers, callees or paths.
//!
//! The tree is never built: sorted stacks are one, whose nodes are ranges. Only the nodes that are
//! shown are looked for, the heaviest first, so a million stacks cost little more than their
//! sorting.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use bstr::BString;
use regex::bytes::Regex;

use super::{Groups, Top};
use crate::stacks::common;

/// How stacks are seen.
#[derive(Clone, Debug)]
pub enum View {
    /// From their roots.
    Paths,
    /// From the outermost function that matches to its callers.
    Callers(Regex),
    /// From the outermost function that matches to its callees.
    Callees(Regex),
}

/// A node of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The names of a chain of nodes, each the only one below the last and as heavy.
    pub names: Vec<BString>,
    /// The weight of its stacks.
    pub weight: u64,
    /// The weight of the stacks that end in it.
    pub own: u64,
    /// The nodes below it, the heaviest first.
    pub below: Vec<Node>,
    /// The nodes that are left out below it.
    pub left_out: LeftOut,
}

/// Nodes that are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their number, with all nodes below them. The nodes of a chain count each.
    pub nodes: usize,
    /// Their weight.
    pub weight: u64,
    /// The weight of the heaviest.
    pub heaviest: u64,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: LeftOut) {
        self.nodes += other.nodes;
        self.weight = self.weight.saturating_add(other.weight);
        self.heaviest = self.heaviest.max(other.heaviest);
    }
}

/// Stacks, merged as far as they share names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its roots, the heaviest first.
    pub roots: Vec<Node>,
    /// The weight of the stacks in it.
    pub weight: u64,
    /// The weight of the profile.
    pub total: u64,
    /// The roots that are left out.
    pub left_out: LeftOut,
}

/// How much of a tree is shown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// This many nodes.
    pub nodes: usize,
    /// This many levels.
    pub levels: usize,
}

/// No tree has more levels, because trees are walked recursively.
const MOST_LEVELS: usize = 1_000;

impl Tree {
    pub(super) fn new(top: &Top, groups: &Groups, view: &View, limits: Limits) -> Tree {
        let paths = Paths::new(top, groups, view);
        let mut growing = Growing::default();
        growing.push_below(&paths, 0..paths.stacks.len(), 0, None);
        while growing.nodes.len() < limits.nodes
            && let Some(candidate) = growing.candidates.pop()
        {
            if growing.level(candidate.parent) < limits.levels.min(MOST_LEVELS) {
                growing.show(&paths, candidate);
            } else {
                growing.too_deep.push(candidate);
            }
        }
        let (roots, left_out) = growing.finish(&paths);
        Tree { roots, weight: paths.weight(0..paths.stacks.len()), total: top.total, left_out }
    }
}

/// The stacks of a view in order of their names.
struct Paths<'a> {
    /// The names, in order.
    names: Vec<&'a BString>,
    /// All paths, one after another, as places in `names`.
    all: Vec<u32>,
    /// Where each path is in `all`.
    stacks: Vec<Range<usize>>,
    /// The weights of all stacks before each, and behind the last.
    weights: Vec<u64>,
    /// The nodes that the stacks before each add to the tree.
    nodes: Vec<usize>,
}

impl<'a> Paths<'a> {
    fn new(top: &Top, groups: &'a Groups, view: &View) -> Paths<'a> {
        let mut order: Vec<usize> = (0..groups.names.len()).collect();
        order.sort_unstable_by_key(|&group| &groups.names[group]);
        let mut ranks = vec![0u32; order.len()];
        for (rank, &group) in order.iter().enumerate() {
            ranks[group] = rank as u32;
        }
        let is_wanted: Vec<bool> = match view {
            View::Paths => Vec::new(),
            View::Callers(wanted) | View::Callees(wanted) => {
                groups.names.iter().map(|name| wanted.is_match(name)).collect()
            }
        };
        let mut all = Vec::new();
        let mut stacks = Vec::new();
        let mut room = Vec::new();
        for (stack, weight) in top.stacks() {
            groups.of(stack, &mut room);
            let first = room.iter().position(|&group| is_wanted.get(group) == Some(&true));
            let path = match (view, first) {
                (View::Paths, _) => &mut room[..],
                (View::Callees(_), Some(at)) => &mut room[at..],
                (View::Callers(_), Some(at)) => {
                    room[..=at].reverse();
                    &mut room[..=at]
                }
                (_, None) => continue,
            };
            let start = all.len();
            all.extend(path.iter().map(|&group| ranks[group]));
            stacks.push((start..all.len(), weight));
        }
        stacks.sort_unstable_by(|(a, _), (b, _)| all[a.clone()].cmp(&all[b.clone()]));
        let mut weights = vec![0u64];
        let mut nodes = vec![0];
        let mut last: &[u32] = &[];
        for (stack, weight) in &stacks {
            let path = &all[stack.clone()];
            weights.push(weights[weights.len() - 1].saturating_add(*weight));
            nodes.push(nodes[nodes.len() - 1] + path.len() - common(last, path));
            last = path;
        }
        let stacks = stacks.into_iter().map(|(stack, _)| stack).collect();
        let names = order.into_iter().map(|group| &groups.names[group]).collect();
        Paths { names, all, stacks, weights, nodes }
    }

    fn path(&self, stack: usize) -> &[u32] {
        &self.all[self.stacks[stack].clone()]
    }

    fn weight(&self, stacks: Range<usize>) -> u64 {
        self.weights[stacks.end] - self.weights[stacks.start]
    }

    /// The first of `stacks`, which share `depth` names, that has more.
    fn first_below(&self, stacks: &Range<usize>, depth: usize) -> usize {
        let shorter = self.stacks[stacks.clone()].partition_point(|stack| stack.len() <= depth);
        stacks.start + shorter
    }

    /// How many nodes `stacks`, which share `depth` names, have behind those.
    fn nodes(&self, stacks: &Range<usize>, depth: usize) -> usize {
        let first = self.stacks[stacks.start].len() - depth;
        first + self.nodes[stacks.end] - self.nodes[stacks.start + 1]
    }
}

/// A node that may be shown. The heaviest comes first, and of equal ones the one that was found
/// first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    weight: u64,
    order: Reverse<usize>,
    /// Its stacks, and how many names they share in front of it.
    start: usize,
    end: usize,
    depth: usize,
    parent: Option<usize>,
}

/// The nodes that are shown, each behind its parent.
#[derive(Default)]
struct Growing {
    candidates: BinaryHeap<Candidate>,
    /// The candidates that are deeper than the last level.
    too_deep: Vec<Candidate>,
    found: usize,
    nodes: Vec<Grown>,
    left_out: LeftOut,
}

struct Grown {
    node: Node,
    parent: Option<usize>,
    level: usize,
}

impl Growing {
    /// Finds the nodes below `parent`, whose `stacks` share `depth` names.
    fn push_below(
        &mut self,
        paths: &Paths<'_>,
        stacks: Range<usize>,
        depth: usize,
        parent: Option<usize>,
    ) {
        let mut start = paths.first_below(&stacks, depth);
        while start < stacks.end {
            let name = paths.path(start)[depth];
            let rest = &paths.stacks[start..stacks.end];
            let end = start + rest.partition_point(|stack| paths.all[stack.start + depth] <= name);
            let weight = paths.weight(start..end);
            let order = Reverse(self.found);
            self.candidates.push(Candidate { weight, order, start, end, depth, parent });
            self.found += 1;
            start = end;
        }
    }

    /// Shows a node, with the chain below it.
    fn show(&mut self, paths: &Paths<'_>, candidate: Candidate) {
        let Candidate { weight, start, end, depth, parent, .. } = candidate;
        let stacks = start..end;
        let mut names = Vec::new();
        let mut depth = depth;
        loop {
            names.push(paths.names[paths.path(start)[depth] as usize].clone());
            depth += 1;
            let first = paths.first_below(&stacks, depth);
            let is_chain = first == start && paths.path(start)[depth] == paths.path(end - 1)[depth];
            if !is_chain {
                break;
            }
        }
        let own = paths.weight(start..paths.first_below(&stacks, depth));
        let level = self.level(parent) + 1;
        let node = Node { names, weight, own, below: Vec::new(), left_out: LeftOut::default() };
        self.nodes.push(Grown { node, parent, level });
        self.push_below(paths, stacks, depth, Some(self.nodes.len() - 1));
    }

    fn level(&self, parent: Option<usize>) -> usize {
        parent.map_or(0, |parent| self.nodes[parent].level)
    }

    fn left_out_of(&mut self, parent: Option<usize>) -> &mut LeftOut {
        match parent {
            Some(parent) => &mut self.nodes[parent].node.left_out,
            None => &mut self.left_out,
        }
    }

    /// Counts what is left out, and hangs the nodes below their parents.
    fn finish(mut self, paths: &Paths<'_>) -> (Vec<Node>, LeftOut) {
        let too_deep = std::mem::take(&mut self.too_deep);
        for candidate in std::mem::take(&mut self.candidates).into_iter().chain(too_deep) {
            let Candidate { weight, start, end, depth, parent, .. } = candidate;
            let nodes = paths.nodes(&(start..end), depth);
            self.left_out_of(parent).add(LeftOut { nodes, weight, heaviest: weight });
        }
        let mut roots = Vec::new();
        while let Some(Grown { mut node, parent, .. }) = self.nodes.pop() {
            // Nodes were found in the order of their weights, and come off in the other one.
            node.below.reverse();
            match parent {
                Some(parent) => self.nodes[parent].node.below.push(node),
                None => roots.push(node),
            }
        }
        roots.reverse();
        (roots, self.left_out)
    }
}
