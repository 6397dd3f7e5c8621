//! Builds a tree of callers, callees or paths, and keeps its heaviest nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bstr::BString;
use hashbrown::HashMap;
use regex::bytes::Regex;

use super::{Groups, Top};

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
    /// Their number, with all nodes below them.
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

/// A node while the tree grows.
#[derive(Default)]
struct Growing {
    weight: u64,
    own: u64,
    below: HashMap<usize, usize>,
}

impl Tree {
    pub(super) fn new(top: &Top, groups: &Groups, view: &View) -> Tree {
        let matches: Vec<bool> = match view {
            View::Paths => Vec::new(),
            View::Callers(wanted) | View::Callees(wanted) => {
                groups.names.iter().map(|name| wanted.is_match(name)).collect()
            }
        };
        // Node 0 stands for all.
        let mut nodes = vec![Growing::default()];
        let mut room = Vec::new();
        for (stack, weight) in top.stacks() {
            groups.of(stack, &mut room);
            let first = room.iter().position(|&group| matches.get(group) == Some(&true));
            let path = match (view, first) {
                (View::Paths, _) => &mut room[..],
                (View::Callees(_), Some(at)) => &mut room[at..],
                (View::Callers(_), Some(at)) => {
                    room[..=at].reverse();
                    &mut room[..=at]
                }
                (_, None) => continue,
            };
            add(&mut nodes, path, weight);
        }
        let roots = below(&nodes, &groups.names, 0);
        Tree { roots, weight: nodes[0].weight, total: top.total, left_out: LeftOut::default() }
    }

    /// Keeps the `most` heaviest nodes, and none deeper than `depth`.
    pub fn keep(&mut self, most: usize, depth: usize) {
        let least = self.least(most, depth);
        self.left_out = cut(&mut self.roots, least, 1, depth);
    }

    /// The weight of the lightest node that is kept.
    fn least(&self, most: usize, depth: usize) -> u64 {
        let mut heap: BinaryHeap<(u64, Reverse<usize>, &Node)> =
            self.roots.iter().map(|node| (node.weight, Reverse(1), node)).collect();
        let mut least = u64::MAX;
        for _ in 0..most {
            let Some((weight, Reverse(at), node)) = heap.pop() else { return 0 };
            least = weight;
            if at < depth {
                heap.extend(node.below.iter().map(|node| (node.weight, Reverse(at + 1), node)));
            }
        }
        // Nodes of equal weight would be more than that.
        match heap.peek() {
            Some((weight, ..)) if *weight == least => least.saturating_add(1),
            _ => least,
        }
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A heavier node is greater. If two weigh the same, the one whose name comes first is greater.
impl Ord for Node {
    fn cmp(&self, other: &Node) -> std::cmp::Ordering {
        self.weight.cmp(&other.weight).then_with(|| other.names.cmp(&self.names))
    }
}

/// Deeper nodes are merged into one, `[deeper]`.
const DEEPEST: usize = 1_000;
const DEEPER: usize = usize::MAX;

fn add(nodes: &mut Vec<Growing>, path: &[usize], weight: u64) {
    let mut at = 0;
    nodes[0].weight = nodes[0].weight.saturating_add(weight);
    let deeper = (path.len() > DEEPEST).then_some(DEEPER);
    for name in path.iter().copied().take(DEEPEST).chain(deeper) {
        let next = nodes.len();
        let node = *nodes[at].below.entry(name).or_insert(next);
        if node == next {
            nodes.push(Growing::default());
        }
        at = node;
        nodes[at].weight = nodes[at].weight.saturating_add(weight);
    }
    nodes[at].own = nodes[at].own.saturating_add(weight);
}

/// The nodes below a node, with chains merged.
fn below(nodes: &[Growing], names: &[BString], at: usize) -> Vec<Node> {
    let name_of = |group: usize| names.get(group).cloned().unwrap_or_else(|| "[deeper]".into());
    let mut all: Vec<Node> = Vec::with_capacity(nodes[at].below.len());
    for (&name, &child) in &nodes[at].below {
        let mut chain = vec![name_of(name)];
        let mut last = child;
        while let Some((&name, &only)) = nodes[last].below.iter().next() {
            if nodes[last].below.len() > 1 || nodes[last].own > 0 {
                break;
            }
            chain.push(name_of(name));
            last = only;
        }
        all.push(Node {
            names: chain,
            weight: nodes[child].weight,
            own: nodes[last].own,
            below: below(nodes, names, last),
            left_out: LeftOut::default(),
        });
    }
    all.sort_unstable_by(|a, b| b.cmp(a));
    all
}

/// Leaves out nodes that are lighter than `least` or deeper than `depth`.
fn cut(nodes: &mut Vec<Node>, least: u64, at: usize, depth: usize) -> LeftOut {
    let mut left_out = LeftOut::default();
    nodes.retain(|node| {
        let is_kept = node.weight >= least && at <= depth;
        if !is_kept {
            let nodes = 1 + count(&node.below);
            left_out.add(LeftOut { nodes, weight: node.weight, heaviest: node.weight });
        }
        is_kept
    });
    for node in nodes {
        node.left_out = cut(&mut node.below, least, at + 1, depth);
    }
    left_out
}

fn count(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| 1 + count(&node.below)).sum()
}
