//! Sorted folded text without what is too narrow to be drawn, which is left out before one of its names is looked up.
//!
//! In sorted text a path is over when a line comes that goes on otherwise, and what it weighs is known then. Narrow beside all that came so
//! far, it is narrow beside the whole: what is below it is forgotten, and the path is as heavy as that, so that what is beside it stays
//! where it is.
//!
//! ```text
//! main;f;a;b 1
//! main;f;c 2          main;f 3, if 3 of 900 is narrow
//! main;g 897
//! ```

use std::fs::File;

use bstr::ByteSlice;

use super::names;
use crate::folded::{self, Line};
use crate::windows::Windows;

/// After so many lines it is computed anew what is narrow.
const OFTEN: u64 = 1 << 8;

/// Where more is left, as with `--minwidth 0`, a tree of all stacks takes less memory.
const MOST_NODES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// Comments are rare where stacks are folded.
const MOST_COMMENTS: usize = 1 << 8;

/// What is left: a tree, each path behind all that is below it.
#[derive(Default)]
pub(super) struct Pruned {
    nodes: Vec<Node>,
    /// The names of the nodes, one behind the other.
    names: Vec<u8>,
    /// Lines that are no stacks.
    pub(super) texts: Vec<Vec<u8>>,
    /// How many stacks there were.
    pub(super) stacks: u64,
    /// What they weigh together.
    pub(super) total: u64,
}

/// A path.
struct Node {
    /// Where its last name ends.
    end: usize,
    /// How many names come before it.
    depth: usize,
    /// What ends there, if anything does.
    own: Option<u64>,
}

/// A path that the last line begins with. Or one that a line ended in and that may still go on: after `main` comes `main::x`, then `main;f`.
struct Open {
    /// Where it ends in the line.
    end: usize,
    depth: usize,
    weight: u64,
    own: Option<u64>,
    /// How many nodes there were before what is below it, if anything is.
    before: Option<usize>,
}

/// Sorted stacks as they come.
struct Pruner<N, F> {
    pruned: Pruned,
    open: Vec<Open>,
    last: Vec<u8>,
    narrow_beside: N,
    is_narrow: F,
}

impl Pruned {
    /// What is left of `file`, where `narrow` tells of a whole what is narrow beside it; `None` if a line of it is not sorted or needs a second look.
    pub(super) fn read<F: Fn(u64) -> bool>(
        file: &File,
        narrow: impl Fn(u64) -> F,
    ) -> Option<Pruned> {
        let mut windows = Windows::new(file, 0..file.metadata().ok()?.len())?;
        let mut pruner = Pruner::new(narrow);
        while let Some(chunk) = windows.next_chunk().ok()? {
            chunk.lines_with_terminator().try_for_each(|line| pruner.line(line))?;
        }
        pruner.finish()
    }

    /// Gives each path, before those that are below it: how many names come before its last one, that, and what ends there, if anything does.
    pub(super) fn visit(&self, mut path: impl FnMut(usize, &[u8], Option<u64>)) {
        let mut start = self.names.len();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let end = start;
            start = at.checked_sub(1).map_or(0, |before| self.nodes[before].end);
            path(node.depth, &self.names[start..end], node.own);
        }
    }

    /// The same without what is below paths that are narrow beside the whole: what came early was beside little.
    fn without(self, is_narrow: impl Fn(u64) -> bool) -> Pruned {
        let mut left = Pruned {
            texts: self.texts,
            stacks: self.stacks,
            total: self.total,
            ..Pruned::default()
        };
        // By depth, what the paths weigh whose parent is still to come, and how many nodes there were before them.
        let mut waiting: Vec<Option<(u64, usize)>> = Vec::new();
        let mut start = 0;
        for Node { end, depth, own } in self.nodes {
            waiting.resize(waiting.len().max(depth + 2), None);
            let (below, before) = waiting[depth + 1].take().unwrap_or((0, left.nodes.len()));
            let weight = own.unwrap_or(0) + below;
            waiting[depth].get_or_insert((0, before)).0 += weight;
            let is_narrow = is_narrow(weight);
            if is_narrow {
                left.truncate(before);
            }
            left.push(&self.names[start..end], depth, if is_narrow { Some(weight) } else { own });
            start = end;
        }
        left
    }

    fn push(&mut self, name: &[u8], depth: usize, own: Option<u64>) {
        self.names.extend_from_slice(name);
        self.nodes.push(Node { end: self.names.len(), depth, own });
    }

    /// Leaves nothing behind the first nodes, of which there are so many.
    fn truncate(&mut self, nodes: usize) {
        self.nodes.truncate(nodes);
        self.names.truncate(self.nodes.last().map_or(0, |node| node.end));
    }
}

impl<F: Fn(u64) -> bool, N: Fn(u64) -> F> Pruner<N, F> {
    fn new(narrow_beside: N) -> Self {
        let is_narrow = narrow_beside(0);
        Pruner {
            pruned: Pruned::default(),
            open: Vec::new(),
            last: Vec::new(),
            narrow_beside,
            is_narrow,
        }
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        match folded::split(line) {
            Some(Line { stack, weight, after: None }) => {
                // What is cut off of a fraction is counted.
                let number = line.trim_ascii_start().get(stack.len()..)?;
                if number.contains(&b'.') { None } else { self.stack(stack, weight) }
            }
            None if folded::is_comment(line) && self.pruned.texts.len() < MOST_COMMENTS => {
                self.pruned.texts.push(line.to_vec());
                Some(())
            }
            _ => None,
        }
    }

    fn stack(&mut self, stack: &[u8], weight: u64) -> Option<()> {
        let same = folded::common_prefix(&self.last, stack);
        let next = stack.get(same);
        if self.last.get(same).is_some_and(|last| next <= Some(last)) {
            return None;
        }
        if self.pruned.nodes.len() > MOST_NODES {
            return None;
        }
        self.pruned.total = self.pruned.total.checked_add(weight)?;
        self.pruned.stacks += 1;
        if self.pruned.stacks % OFTEN == 1 {
            self.is_narrow = (self.narrow_beside)(self.pruned.total);
        }
        let goes_on = |open: &Open| {
            open.end < same || open.end == same && next.is_none_or(|next| *next <= b';')
        };
        while self.open.last().is_some_and(|open| !goes_on(open)) {
            self.close()?;
        }
        if !is_printable(&stack[same..]) && names::clean(stack).1 {
            return None;
        }
        self.last.truncate(same);
        self.last.extend_from_slice(&stack[same..]);
        self.open(same);
        let leaf = self.open.last_mut()?;
        leaf.weight += weight;
        *leaf.own.get_or_insert_default() += weight;
        Some(())
    }

    /// Opens the paths that the line at hand does not share, of which it shares so many bytes, with the one before.
    fn open(&mut self, same: usize) {
        let last = self.open.last().map_or(usize::MAX, |open| open.end);
        if last == self.last.len() {
            return;
        }
        let before = self.pruned.nodes.len();
        let above = above(&self.open, &self.last);
        let mut depth = 0;
        if let Some(above) = above.map(|at| &mut self.open[at]) {
            above.before.get_or_insert(before);
            depth = above.depth + 1;
        }
        // Where the line at hand goes on below a path that the last one ended in, that path is there.
        let from = same + usize::from(last == same);
        let ends = memchr::memchr_iter(b';', &self.last[from..]).map(|at| from + at);
        for end in ends {
            self.open.push(Open { end, depth, weight: 0, own: None, before: Some(before) });
            depth += 1;
        }
        let end = self.last.len();
        self.open.push(Open { end, depth, weight: 0, own: None, before: None });
    }

    /// Ends the path that was opened last.
    fn close(&mut self) -> Option<()> {
        let Open { end, depth, weight, own, before } = self.open.pop()?;
        let above = above(&self.open, &self.last);
        let start = above.map_or(0, |at| self.open[at].end + 1);
        let name = &self.last[start..end];
        // What inferno trims at the ends of lines makes another name of it.
        let is_plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
        if !is_plain(name.last()) || depth == 0 && !is_plain(name.first()) {
            return None;
        }
        if let Some(above) = above {
            self.open[above].weight += weight;
        }
        let is_narrow = (self.is_narrow)(weight);
        if let Some(before) = before.filter(|_| is_narrow) {
            self.pruned.truncate(before);
        }
        self.pruned.push(name, depth, if is_narrow { Some(weight) } else { own });
        Some(())
    }

    fn finish(mut self) -> Option<Pruned> {
        while !self.open.is_empty() {
            self.close()?;
        }
        let is_narrow = (self.narrow_beside)(self.pruned.total);
        (self.pruned.total > 0).then(|| self.pruned.without(is_narrow))
    }
}

/// The last of the `open` paths that `stack` goes on below.
fn above(open: &[Open], stack: &[u8]) -> Option<usize> {
    open.iter().rposition(|open| stack.get(open.end) == Some(&b';'))
}

/// Whether all of it is what is printed of ASCII.
fn is_printable(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |odd, &byte| odd | (byte.wrapping_sub(b' ') > b'~' - b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_narrow_is_forgotten() {
        let narrow = |total: u64| move |weight: u64| weight * 10 < total;
        let mut pruner = Pruner::new(narrow);
        for line in ["a;b;c 1", "a;d 90", "a;d;e 1", "a;d;f;g 2", "b;c 6", "b;d 1"] {
            pruner.line(line.as_bytes()).unwrap();
        }
        let pruned = pruner.finish().unwrap();
        let mut paths = Vec::new();
        pruned
            .visit(|depth, name, own| paths.push((depth, name.to_str().unwrap().to_owned(), own)));
        let left = [
            (0, "b", Some(7)),
            (0, "a", None),
            (1, "d", Some(90)),
            (2, "f", Some(2)),
            (2, "e", Some(1)),
            (1, "b", Some(1)),
        ];
        assert_eq!(paths, left.map(|(depth, name, own)| (depth, name.to_owned(), own)));
    }
}
