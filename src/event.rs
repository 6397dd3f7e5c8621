//! The list of a recording's events in perf-script text: comment lines, as `perf script --header`
//! writes them.
//!
//! ```text
//! # event : name = cpu-clock:u, , id = { 25, 26 }, type = 1, size = 128, …
//! # event : name = page-faults
//! ```
//!
//! fg-script writes the short form if a recording has several events, so that a reader knows which
//! of them the user named first.

use bstr::{BStr, ByteSlice};

use crate::folded::OFF_CPU;

const START: &[u8] = b"# event : name = ";

/// The names that the lines of `text` list.
pub(crate) fn listed(text: &[u8]) -> impl Iterator<Item = &BStr> {
    text.lines().filter_map(|line| {
        let rest = line.strip_prefix(START)?;
        // A name may hold commas: `cpu/mem-loads,ldlat=30/P`.
        let ends = [", , id = ", ", id = ", ", type = "];
        let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        Some(rest[..end].trim_ascii().as_bstr())
    })
}

/// The lines that list the events of these `names`. None if there is no choice between them,
/// because `off-cpu` goes beside another event.
pub(crate) fn lines<'a>(names: impl Iterator<Item = &'a BStr> + Clone) -> Vec<u8> {
    if names.clone().filter(|name| *name != OFF_CPU).nth(1).is_none() {
        return Vec::new();
    }
    names.flat_map(|name| [START, name, b"\n"].concat()).collect()
}

/// Whether `line` lists an event.
pub(crate) fn is_line(line: &[u8]) -> bool {
    line.starts_with(START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let text =
            b"# ========\n# event : name = cpu/mem-loads,ldlat=30/P, , id = { 1 }, type = 4\n\
            # event : name = cycles, type = 0\n# event : name = page-faults\nx 7 1.5: cycles:\n";
        let names: Vec<_> = listed(text).collect();
        assert_eq!(names, ["cpu/mem-loads,ldlat=30/P", "cycles", "page-faults"]);
        let names = ["a b", "off-cpu", "c"].map(BStr::new);
        assert!(listed(&lines(names.into_iter())).eq(names));
        assert_eq!(lines(names[..2].iter().copied()), b"");
    }
}
