//! Writes stacks and weights as the lines that inferno reads, in one piece of memory.

use std::io::Write;

use super::names::{DrawnNames, MARK};
use crate::graph::Weight;

/// Lines of folded text: `main;f 3`, or `main;f 3 4` in a differential.
pub(super) struct Lines {
    text: Vec<u8>,
    ends: Vec<usize>,
    differential: bool,
}

impl Lines {
    pub(super) fn new(differential: bool) -> Self {
        Lines { text: Vec::new(), ends: Vec::new(), differential }
    }

    /// Appends a line for a stack that was [`trimmed`](DrawnNames::trim).
    pub(super) fn push(&mut self, names: &DrawnNames, stack: &[u32], weight: Weight) {
        let start = self.text.len();
        for (i, &name) in stack.iter().enumerate() {
            if i > 0 {
                self.text.push(b';');
            }
            self.text.extend_from_slice(names.get(name));
            if names.is_marked(name) {
                self.text.extend_from_slice(MARK.as_bytes());
            }
        }
        // `# x 3` would be a comment. A wide space, which inferno trims, protects a single `#`.
        match &self.text[start..] {
            b"#" => self.text.extend_from_slice("\u{a0}".as_bytes()),
            [b'#', b' ', ..] => drop(self.text.splice(start + 1..start + 1, MARK.bytes())),
            _ => {}
        }
        // Writing to a Vec cannot fail.
        let _ = if self.differential {
            write!(self.text, " {} {}", weight.before, weight.after)
        } else {
            write!(self.text, " {}", weight.after)
        };
        self.ends.push(self.text.len());
    }

    /// The lines, without newlines. They are valid text, because the names are.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        let start = |i: usize| if i == 0 { 0 } else { self.ends[i - 1] };
        let line = move |i| str::from_utf8(&self.text[start(i)..self.ends[i]]).unwrap_or_default();
        (0..self.ends.len()).map(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_inferno_reads() {
        let mut names = DrawnNames::default();
        let [hash, main, thread] =
            [&b"#"[..], b"main", b"GC 0"].map(|name| names.names.intern(name));
        names.ends_line(thread);
        let mut lines = Lines::new(false);
        let weight = Weight { before: 3, after: 4 };
        lines.push(&names, &[main, hash], weight);
        lines.push(&names, &[hash], weight);
        lines.push(&names, &[thread], weight);
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["main;# 4", "#\u{a0} 4", "GC 0\u{200b} 4"]);
        let mut lines = Lines::new(true);
        lines.push(&names, &[main], weight);
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["main 3 4"]);
    }
}
