//! Prepares frame names for the SVG: as text that XML can hold, in pieces that inferno reads
//! unchanged.

use std::borrow::Cow;
use std::collections::HashSet;

use bstr::ByteSlice;

use crate::graph::Names;

/// The end of a name that inferno would misread. It is invisible and not whitespace, so the name
/// looks the same, and a search finds it.
pub(super) const MARK: &str = "\u{200b}";

/// Names that inferno can draw.
pub(super) struct DrawnNames {
    pub(super) names: Names,
    /// Names that look like a weight at the end of a stack.
    marked: HashSet<u32>,
}

impl Default for DrawnNames {
    fn default() -> Self {
        DrawnNames { names: Names::prepared(clean_bytes), marked: HashSet::new() }
    }
}

impl DrawnNames {
    /// Whether [`DrawnNames::trim`] obviously leaves a stack as it is.
    pub(super) fn are_trimmed(&self, stack: &[u32]) -> bool {
        let (Some(&first), Some(&last)) = (stack.first(), stack.last()) else { return false };
        is_plain(self.get(first).first()) && is_plain(self.get(last).last())
    }

    /// Trims what inferno would trim from lines. A stack of only blanks becomes empty.
    pub(super) fn trim(&mut self, stack: &mut Vec<u32>) {
        if let Some(first) = stack.first_mut()
            && !is_plain(self.get(*first).first())
        {
            *first = self.trimmed(*first, str::trim_start);
        }
        if let Some(last) = stack.last_mut()
            && !is_plain(self.get(*last).last())
        {
            *last = self.trimmed(*last, str::trim_end);
        }
        if let [only] = stack[..]
            && self.get(only).is_empty()
        {
            stack.clear();
        }
    }

    /// Notes that `name` ends a plain line. inferno takes a number at the end of a line for a
    /// weight, so the name is marked, and in all stacks, so that its boxes can be one.
    pub(super) fn ends_line(&mut self, name: u32) {
        if reads_as_weight(self.get(name)) {
            self.marked.insert(name);
        }
    }

    fn trimmed(&mut self, name: u32, trim: fn(&str) -> &str) -> u32 {
        let text = self.get(name).to_str().unwrap_or_default();
        let trimmed = trim(text);
        if trimmed.len() == text.len() {
            return name;
        }
        let trimmed = trimmed.to_owned();
        self.names.intern(trimmed.as_bytes())
    }

    /// The name of a number.
    pub(super) fn get(&self, name: u32) -> &[u8] {
        self.names.get(name)
    }

    /// Whether the name has to be written with a [`MARK`].
    pub(super) fn is_marked(&self, name: u32) -> bool {
        !self.marked.is_empty() && self.marked.contains(&name)
    }
}

fn is_plain(end: Option<&u8>) -> bool {
    end.is_some_and(u8::is_ascii_graphic)
}

/// Whether inferno takes the end of this name for a weight: `GC Thread 0`, `x 1.5`.
fn reads_as_weight(name: &[u8]) -> bool {
    name.rfind_byte(b' ').is_some_and(|space| {
        name[space + 1..].iter().all(|&byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// `bytes` as text that XML 1.0 can hold (production 2, Char), and whether U+FFFD replaced some.
pub(super) fn clean(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let forbidden = |c: char| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match bytes.to_str() {
        Ok(text) if !text.contains(forbidden) => (Cow::Borrowed(text), false),
        _ => (Cow::Owned(bytes.to_str_lossy().replace(forbidden, "\u{fffd}")), true),
    }
}

/// [`clean`], in bytes.
fn clean_bytes(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let (text, replaced) = clean(bytes);
    let bytes = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    (bytes, replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_text_for_xml() {
        assert_eq!(clean(b"main"), (Cow::Borrowed("main"), false));
        assert_eq!(clean(b"a\tb\n"), (Cow::Borrowed("a\tb\n"), false));
        assert_eq!(
            clean(b"a\x01\x1b[0m\xff\xef\xbf\xbf").0,
            "a\u{fffd}\u{fffd}[0m\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn blanks_at_the_ends_of_a_stack_are_trimmed() {
        let mut names = DrawnNames::default();
        let mut stack =
            [&b" 8]>"[..], b"f<[u8", b"x "].map(|name| names.names.intern(name)).to_vec();
        names.trim(&mut stack);
        let shown: Vec<&[u8]> = stack.iter().map(|&name| names.get(name)).collect();
        assert_eq!(shown, [&b"8]>"[..], b"f<[u8", b"x"]);
    }

    #[test]
    fn only_a_number_at_the_end_is_marked() {
        let mut names = DrawnNames::default();
        let [thread, main] = [&b"GC Thread 0"[..], b"main"].map(|name| names.names.intern(name));
        names.ends_line(main);
        assert!(!names.is_marked(thread));
        names.ends_line(thread);
        assert!(names.is_marked(thread) && !names.is_marked(main));
        let mut space = vec![names.names.intern(b" \xe3\x80\x80")];
        names.trim(&mut space);
        assert!(space.is_empty());
    }
}
