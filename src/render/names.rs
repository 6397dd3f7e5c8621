//! Frame names as the SVG shows them: text that XML can hold, in pieces that inferno reads back as they were.

use std::borrow::Cow;
use std::collections::HashSet;

use bstr::ByteSlice;

use crate::intern::Interner;
use crate::sample::{FrameId, FrameTable};
use crate::stacks::common;

/// Ends a name that would be taken for something else. It has no width and is no whitespace: what is seen and what
/// is searched for stays the same.
pub(super) const MARK: &str = "\u{200b}";

/// The distinct names, by small numbers.
#[derive(Default)]
pub(super) struct Names {
    names: Interner,
    /// For each frame that was seen, its names in `pieces`: a frame such as `[u8; 8]` is two, here as in folded text.
    of_frame: Vec<Option<(u32, u32)>>,
    pieces: Vec<u32>,
    /// Names at the end of a stack that look like a weight there.
    marked: HashSet<u32>,
    replaced: u64,
}

impl Names {
    /// The number of a name, made fit for XML.
    pub(super) fn intern(&mut self, name: &[u8]) -> u32 {
        self.names.intern(clean(name).0.as_bytes())
    }

    /// Appends the names of `frame` to `stack`.
    pub(super) fn push(&mut self, frames: &FrameTable, frame: FrameId, stack: &mut Vec<u32>) {
        if self.of_frame.len() <= frame.index() {
            self.of_frame.resize(frames.len().max(frame.index() + 1), None);
        }
        let (start, end) = match self.of_frame[frame.index()] {
            Some(range) => range,
            None => {
                let (name, replaced) = clean(frames.symbol(frame));
                self.replaced += u64::from(replaced);
                let start = self.pieces.len() as u32;
                for piece in name.split(';') {
                    self.pieces.push(self.names.intern(piece.as_bytes()));
                }
                let range = (start, self.pieces.len() as u32);
                self.of_frame[frame.index()] = Some(range);
                range
            }
        };
        stack.extend_from_slice(&self.pieces[start as usize..end as usize]);
    }

    /// Whether [`Names::trim`] leaves a stack as it is, for all that is seen at once.
    pub(super) fn are_trimmed(&self, stack: &[u32]) -> bool {
        let (Some(&first), Some(&last)) = (stack.first(), stack.last()) else { return false };
        is_plain(self.get(first).first()) && is_plain(self.get(last).last())
    }

    /// Takes off what inferno trims from lines. A stack that is nothing but space becomes empty.
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

    /// `name` will be the last of a plain line, where inferno takes a number at its end for another weight.
    /// It is then marked everywhere, so that its boxes can be one.
    pub(super) fn ends_line(&mut self, name: u32) {
        if reads_as_weight(self.get(name)) {
            self.marked.insert(name);
        }
    }

    fn trimmed(&mut self, name: u32, trim: fn(&str) -> &str) -> u32 {
        let text = self.names.get(name).to_str().unwrap_or_default();
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

    /// The order of the names: by their bytes.
    pub(super) fn ranks(&self) -> Ranks {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by_key(|&name| self.names.get(name));
        Ranks::new(order)
    }

    /// How many frames had bytes that XML cannot hold.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }
}

/// The names of the stack that came last. The next one often begins with the same frames, whose names need not be looked up again.
#[derive(Default)]
pub(super) struct Path {
    frames: Vec<FrameId>,
    names: Vec<u32>,
    /// Where in `names` each frame ends.
    ends: Vec<usize>,
}

impl Path {
    /// Makes it that of `stack`.
    pub(super) fn set(&mut self, names: &mut Names, frames: &FrameTable, stack: &[FrameId]) {
        let common = common(&self.frames, stack);
        self.frames.truncate(common);
        self.ends.truncate(common);
        self.names.truncate(self.ends.last().copied().unwrap_or(0));
        for &frame in &stack[common..] {
            names.push(frames, frame, &mut self.names);
            self.frames.push(frame);
            self.ends.push(self.names.len());
        }
    }

    pub(super) fn names(&self) -> &[u32] {
        &self.names
    }
}

fn is_plain(end: Option<&u8>) -> bool {
    end.is_some_and(u8::is_ascii_graphic)
}

/// Numbers of names that compare as the names do.
pub(super) struct Ranks {
    names: Vec<u32>,
    ranks: Vec<u32>,
}

impl Ranks {
    /// The ranks of `names`, which are all names from 0 up, in their order.
    pub(super) fn new(names: Vec<u32>) -> Self {
        let mut ranks = vec![0; names.len()];
        for (rank, &name) in names.iter().enumerate() {
            ranks[name as usize] = rank as u32;
        }
        Ranks { names, ranks }
    }

    /// The rank of a name.
    pub(super) fn of(&self, name: u32) -> u32 {
        self.ranks[name as usize]
    }

    /// The name of a rank.
    pub(super) fn name(&self, rank: u32) -> u32 {
        self.names[rank as usize]
    }
}

/// Whether inferno takes the end of this name for a weight: `GC Thread 0`, `x 1.5`.
fn reads_as_weight(name: &[u8]) -> bool {
    name.rfind_byte(b' ').is_some_and(|space| {
        name[space + 1..].iter().all(|&byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// `bytes` as text that XML 1.0 can hold (production 2, Char), and whether something had to be replaced by U+FFFD.
pub(super) fn clean(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let forbidden = |c: char| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match bytes.to_str() {
        Ok(text) if !text.contains(forbidden) => (Cow::Borrowed(text), false),
        _ => (Cow::Owned(bytes.to_str_lossy().replace(forbidden, "\u{fffd}")), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Frame;

    fn shown(names: &Names, stack: &[u32]) -> Vec<String> {
        stack.iter().map(|&name| names.get(name).to_str().unwrap().to_owned()).collect()
    }

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
    fn a_frame_with_a_semicolon_is_what_it_is_in_text() {
        let (mut frames, mut names, mut stack) = (FrameTable::default(), Names::default(), vec![]);
        let id = frames.intern(Frame::named(b"f<[u8; 8]>"));
        names.push(&frames, id, &mut stack);
        names.push(&frames, id, &mut stack);
        assert_eq!(shown(&names, &stack), ["f<[u8", " 8]>", "f<[u8", " 8]>"]);
        stack.reverse();
        names.trim(&mut stack);
        assert_eq!(shown(&names, &stack), ["8]>", "f<[u8", " 8]>", "f<[u8"]);
    }

    #[test]
    fn only_a_number_at_the_end_is_marked() {
        let mut names = Names::default();
        let [thread, main] = [&b"GC Thread 0"[..], b"main"].map(|name| names.intern(name));
        names.ends_line(main);
        assert!(!names.is_marked(thread));
        names.ends_line(thread);
        assert!(names.is_marked(thread) && !names.is_marked(main));
        let mut space = vec![names.intern(b" \xe3\x80\x80")];
        names.trim(&mut space);
        assert!(space.is_empty());
    }
}
