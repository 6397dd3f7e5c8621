//! Edits folded stacks before any other program gets them: applies presets, and completes the names
//! of threads that the kernel has cut.

use std::collections::HashMap;

use regex::bytes::Regex;

use crate::error::Result;
use crate::filter::{Config, Edit, Preset};

/// The kernel keeps this many bytes of a thread's name.
const KEPT: usize = 15;

/// The edits of `presets`, and one for each of `threads` whose name was cut, unless two names were
/// cut to the same.
pub(super) fn edits(presets: &[Preset], threads: &[String]) -> Result<Config> {
    let mut edits = Vec::new();
    for preset in presets {
        edits.extend(preset.edits()?);
    }
    let mut cut: HashMap<&str, Vec<&str>> = HashMap::new();
    for name in threads {
        if let Some(kept) = name.get(..KEPT) {
            cut.entry(kept).or_default().push(name);
        }
    }
    let mut unique: Vec<(&str, &str)> = cut
        .into_iter()
        .filter_map(|(kept, names)| match names.as_slice() {
            [only] if *only != kept => Some((kept, *only)),
            _ => None,
        })
        .collect();
    unique.sort_unstable();
    for (kept, name) in unique {
        let pattern = Regex::new(&format!("^{}$", regex::escape(kept)))?;
        edits.push(Edit::rename(pattern, name.as_bytes())?);
    }
    Ok(Config { edits, ..Config::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_told_apart_become_whole() {
        let names = [
            "tests::first_with_more",
            "tests::second",
            "tests::first_with_less",
            "other::test_of_it",
        ];
        let names = names.map(str::to_owned);
        let edits = edits(&[], &names).unwrap().edits;
        let edits = format!("{edits:?}");
        assert!(
            edits.contains("^other::test_of_$") && edits.matches("Rename").count() == 1,
            "{edits}"
        );
        assert!(super::edits(&[], &[]).unwrap().keeps_everything());
    }
}
