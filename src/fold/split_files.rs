//! Makes a folded text for each root, to be written into files of their own.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use bstr::{BStr, BString, ByteSlice};

use super::Config;
use super::root::Roots;
use crate::error::Result;
use crate::folded::{self, Folded, FoldedSink, OFF_CPU, ON_CPU};
use crate::sample::{FrameId, FrameTable, printable};
use crate::tally::Tally;

/// A sink that keeps stacks apart by their first frames.
///
/// Memory: the folded text.
#[derive(Default)]
pub(crate) struct Parts {
    depth: usize,
    /// Whether `on-cpu` and `off-cpu` may be roots above the others.
    may_have_place: bool,
    /// Comments, which every part begins with.
    start: Vec<u8>,
    parts: BTreeMap<BString, Part>,
}

/// The stacks under one root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Their lines, with the roots.
    pub text: Vec<u8>,
    /// The number of stacks.
    pub stacks: u64,
    /// The sum of their weights.
    pub weight: u64,
}

impl Parts {
    /// Keeps stacks apart by all the root frames that folding with `config` adds.
    pub(crate) fn new(config: &Config) -> Self {
        Parts { depth: Roots::depth(config), may_have_place: !config.by_event, ..Parts::default() }
    }

    /// A file name that no other part has, the roots joined by `;`, and the part.
    pub(crate) fn into_files(self) -> Vec<(String, BString, Part)> {
        let mut taken = HashSet::new();
        let files = self.parts.into_iter().map(|(key, part)| {
            let stem = file_stem(key.as_bstr());
            let name = (1..)
                .map(|n| if n == 1 { stem.clone() } else { format!("{stem}~{n}") })
                // Some file systems treat `A` and `a` as the same.
                .find(|name| taken.insert(name.to_lowercase()));
            (name.unwrap_or(stem) + ".folded", key, part)
        });
        files.collect()
    }

    /// The table of contents of `files`. Each line has `file`, `weight`, `stacks` and `key`,
    /// separated by tabs.
    pub(crate) fn index(files: &[(String, BString, Part)]) -> Vec<u8> {
        let mut index = b"file\tweight\tstacks\tkey\n".to_vec();
        for (file, key, part) in files {
            // Writing to a Vec cannot fail.
            let _ = write!(index, "{file}\t{}\t{}\t", part.weight, part.stacks);
            index.extend_from_slice(&printable(key));
            index.push(b'\n');
        }
        index
    }
}

impl FoldedSink for Parts {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let is_place =
            |&root: &FrameId| [ON_CPU, OFF_CPU].contains(&frames.symbol(root).as_bytes());
        let has_place = self.may_have_place && folded.stack.first().is_some_and(is_place);
        let depth = self.depth + usize::from(has_place);
        let roots = &folded.stack[..depth.min(folded.stack.len())];
        let names = roots.iter().map(|&frame| frames.symbol(frame));
        let key = bstr::join(";", names);
        let part = self
            .parts
            .entry(key.into())
            .or_insert_with(|| Part { text: self.start.clone(), ..Part::default() });
        folded::format(&mut part.text, frames, folded);
        part.stacks += 1;
        part.weight = part.weight.saturating_add(folded.weight);
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.start.extend_from_slice(line);
        Ok(())
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

/// A file name for a key: `kworker/0:1` is `kworker%2F0%3A1`. Letters, digits and `-_.` stay,
/// except for a `.` in front. Everything else is `%` and two hexadecimal digits. Long names are
/// cut.
fn file_stem(key: &BStr) -> String {
    const LONGEST: usize = 200;
    let mut name = String::new();
    for (at, &byte) in key.iter().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || (byte == b'.' && at > 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
        if name.len() >= LONGEST {
            break;
        }
    }
    if name.is_empty() { "%".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_differ() {
        let mut parts = Parts { depth: 1, ..Parts::default() };
        for key in [
            "java",
            "JAVA",
            "kworker/0:1",
            "..",
            "caf\u{e9}",
            "",
            &"x".repeat(300),
            &"x".repeat(301),
        ] {
            parts.parts.insert(key.into(), Part::default());
        }
        let names: Vec<_> = parts.into_files().into_iter().map(|(name, ..)| name).collect();
        let long = "x".repeat(200);
        assert_eq!(
            names,
            [
                "%.folded",
                "%2E..folded",
                "JAVA.folded",
                "caf%C3%A9.folded",
                "java~2.folded",
                "kworker%2F0%3A1.folded",
                &format!("{long}.folded"),
                &format!("{long}~2.folded"),
            ]
        );
    }
}
