//! Lines of folded text in a few bytes each: what a line shares with the one before, and numbers for names that were met before.
//!
//! ```text
//! main;read_file;memcpy 42      0;'main';'read_file';'memcpy' 42
//! main;read_file;memcpy 7       3 7
//! main;write;read_file 1        1;'write';1 1
//! ```
//!
//! A coded line is the number of names that it begins with in common with the line before; each name that follows, behind a `;`; and
//! what stands behind the stack as it was. A name is a number, counted from 0 in order of first appearance, or, where it
//! appears first, itself between quotes. A name holds no `;`, and what stands behind a stack no quote. A line that is no stack
//! is names alone.

use bstr::ByteSlice;

use crate::folded::{self, Folded, Joined};
use crate::intern::Interner;
use crate::sample::{FrameId, FrameTable};
use crate::stacks::common;

/// Codes lines, of text or of frames: the same line is the same bytes.
#[derive(Default)]
pub(super) struct Coder {
    names: Interner,
    /// The names of the last line. Of the line at hand, as far as it is no longer the same.
    last: Vec<u32>,
    is_same: bool,
    /// How many names the line at hand shares with the one before, and the code of the others.
    shared: usize,
    code: Vec<u8>,
    /// The frames of the last line, and where each ends; none if it was text.
    frames: Vec<FrameId>,
    ends: Vec<End>,
    /// The stack of the last line; nothing if it was of frames.
    joined: Joined,
    /// By frame: what was seen of it, and where its names stand in `numbers`.
    looks: Vec<Look>,
    known: Vec<Option<(u32, u32)>>,
    numbers: Vec<u32>,
}

/// How many names there are up to the end of a frame, and how many bytes of text.
#[derive(Clone, Copy, Default)]
struct End {
    names: usize,
    bytes: usize,
}

/// What is to be known of a frame's name: how long it is, and where in a line it may stand and be read as what it is.
#[derive(Clone, Copy, Default)]
struct Look {
    len: u32,
    places: u8,
}

impl Coder {
    /// Appends the code of a stack. False, and nothing was, if its line has to be read to tell what of it is names.
    pub(super) fn stack(
        &mut self,
        out: &mut Vec<u8>,
        frames: &FrameTable,
        folded: &Folded<'_>,
    ) -> bool {
        let stack = folded.stack;
        let common = common(&self.frames, stack);
        let Some(tail) = self.tail(frames, folded, common) else { return false };
        self.joined.clear();
        self.frames.truncate(common);
        self.ends.truncate(common);
        let End { names, mut bytes } = self.ends.last().copied().unwrap_or_default();
        self.begin(names);
        for &frame in &stack[common..] {
            bytes += usize::from(!self.frames.is_empty()) + self.look(frames, frame).len as usize;
            self.frame(frames, frame);
            self.frames.push(frame);
            let names = if self.is_same { self.shared } else { self.last.len() };
            self.ends.push(End { names, bytes });
        }
        self.end(out);
        match folded.line {
            b"" => folded::weights(out, folded),
            _ => out.extend_from_slice(tail),
        }
        out.push(b'\n');
        true
    }

    /// What stands behind the stack in its line, if it has one; `None` if the stack's names would not be read as what they are. It has so many
    /// frames in `common` with the one before.
    fn tail<'a>(
        &mut self,
        frames: &FrameTable,
        folded: &Folded<'a>,
        common: usize,
    ) -> Option<&'a [u8]> {
        let (&root, &leaf) = folded.stack.first().zip(folded.stack.last())?;
        let mut len = self.ends[..common].last().map_or(0, |end| end.bytes + 1);
        let mut places = self.look(frames, root).places & ROOT;
        for &frame in &folded.stack[common..] {
            let look = self.look(frames, frame);
            places |= !look.places & INSIDE;
            len += look.len as usize + 1;
        }
        if places != ROOT {
            return None;
        }
        let Some(line) = ByteSlice::lines(folded.line).next() else {
            return (self.look(frames, leaf).places & LEAF != 0).then_some(b"");
        };
        let (stack, tail) = line.split_at_checked(len.checked_sub(1)?)?;
        let is_stack = tail.starts_with(b" ")
            && stack.first() == frames.symbol(root).first()
            && stack.ends_with(frames.symbol(leaf));
        is_stack.then_some(tail)
    }

    /// Appends the code of a line without its newline.
    pub(super) fn line(&mut self, out: &mut Vec<u8>, line: &[u8]) {
        self.frames.clear();
        self.ends.clear();
        let stack = match folded::split(line) {
            Some(parts) => {
                let before = line.len() - line.trim_ascii_start().len();
                line.get(..before + parts.stack.len()).unwrap_or(line)
            }
            None => line,
        };
        let mut joined = std::mem::take(&mut self.joined);
        let shared = joined.set(stack);
        self.begin(shared);
        for name in joined.names(shared) {
            self.name(name);
        }
        self.joined = joined;
        self.end(out);
        out.extend_from_slice(line.get(stack.len()..).unwrap_or_default());
        out.push(b'\n');
    }

    /// Begins a line that has so many names of the one before.
    fn begin(&mut self, shared: usize) {
        (self.shared, self.is_same) = (shared, true);
        self.code.clear();
    }

    fn look(&mut self, frames: &FrameTable, frame: FrameId) -> Look {
        if self.looks.len() <= frame.index() {
            self.looks.resize(frames.len().max(frame.index() + 1), Look::default());
        }
        let look = &mut self.looks[frame.index()];
        if look.places == 0 {
            let name = frames.symbol(frame);
            *look = Look { len: name.len() as u32, places: SEEN | places(name) };
        }
        *look
    }

    fn frame(&mut self, frames: &FrameTable, frame: FrameId) {
        if self.known.len() <= frame.index() {
            self.known.resize(frames.len().max(frame.index() + 1), None);
        }
        if let Some((start, end)) = self.known[frame.index()] {
            for at in start..end {
                self.number(self.numbers[at as usize]);
            }
            return;
        }
        let start = self.numbers.len() as u32;
        for name in frames.symbol(frame).split_str(";") {
            let number = self.name(name);
            self.numbers.push(number);
        }
        self.known[frame.index()] = Some((start, self.numbers.len() as u32));
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        let next = self.names.len() as u32;
        let number = self.names.intern(name);
        if number != next {
            self.number(number);
            return number;
        }
        self.differs(number);
        self.code.extend_from_slice(b";'");
        self.code.extend_from_slice(name);
        self.code.push(b'\'');
        number
    }

    fn number(&mut self, number: u32) {
        if self.is_same && self.last.get(self.shared) == Some(&number) {
            self.shared += 1;
            return;
        }
        self.differs(number);
        self.code.push(b';');
        folded::number(&mut self.code, number.into());
    }

    /// The next name is not that of the line before.
    fn differs(&mut self, number: u32) {
        if self.is_same {
            self.last.truncate(self.shared);
            self.is_same = false;
        }
        self.last.push(number);
    }

    /// Appends how many names are shared, and the others.
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.is_same {
            self.last.truncate(self.shared);
        }
        folded::number(out, self.shared as u64);
        out.extend_from_slice(&self.code);
    }
}

/// Bits of a name: looked at; not cut by the end of a line; no comment and no blank at the start of one; no weight and no blank where a
/// weight follows: in `GC Thread 0 12` text has two.
const SEEN: u8 = 1;
const INSIDE: u8 = 2;
const ROOT: u8 = 4;
const LEAF: u8 = 8;

fn places(name: &[u8]) -> u8 {
    let is_number = |word: &[u8]| word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let starts = name.first().is_some_and(|first| *first != b'#' && !first.is_ascii_whitespace());
    let ends = name.last().is_some_and(|last| !last.is_ascii_whitespace())
        && !name.rfind_byte(b' ').is_some_and(|blank| is_number(&name[blank + 1..]));
    let bits = [(INSIDE, !name.contains(&b'\n')), (ROOT, starts), (LEAF, ends)];
    bits.into_iter().filter(|(_, is_set)| *is_set).fold(0, |all, (bit, _)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::decoded;
    use super::*;
    use crate::error::Result;
    use crate::folded::FoldedSink;
    use crate::sample::Frame;
    use crate::tally::Tally;
    use proptest::prelude::*;

    fn coded(lines: &[&[u8]]) -> Vec<u8> {
        let (mut coder, mut out) = (Coder::default(), Vec::new());
        lines.iter().for_each(|line| coder.line(&mut out, line));
        out
    }

    #[test]
    fn names_are_written_once() {
        let lines = [
            &b"main;read_file;memcpy 42"[..],
            b"main;read_file;memcpy 7",
            b"main;write;read_file 1",
            b"main 3 4.5 ",
            b"# it's 1",
            b"",
            b"GC 0 1",
        ];
        let code = coded(&lines);
        let expected = "0;'main';'read_file';'memcpy' 42\n3 7\n1;'write';1 1\n1 3 4.5 \n0;'# it's 1'\n0;''\n0;'GC' 0 1\n";
        assert_eq!(code.as_bstr(), expected);
        assert_eq!(
            decoded(&code).unwrap().as_bstr(),
            [lines.join(&b'\n'), b"\n".to_vec()].concat()
        );
    }

    /// Codes lines as a renderer gets them.
    #[derive(Default)]
    struct Lines(Coder, Vec<u8>);

    impl FoldedSink for Lines {
        fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
            if self.0.stack(&mut self.1, frames, folded) { Ok(()) } else { self.text(folded.line) }
        }
        fn text(&mut self, text: &[u8]) -> Result<()> {
            ByteSlice::lines(text).for_each(|line| self.0.line(&mut self.1, line));
            Ok(())
        }
        fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn lines_that_were_read_are_coded_alike(
            lines in prop::collection::vec("(([ab]{1,2};){0,3}[ab]{1,2}|[ab;' #.01\r\t]{0,9}) [01]{0,2}", 0..30),
        ) {
            let text = lines.join("\n");
            let (mut frames, mut tally, mut sink) = (FrameTable::default(), Tally::default(), Lines::default());
            folded::read(text.as_bytes(), "text", &mut frames, &mut sink, &mut tally).unwrap();
            let lines: Vec<&[u8]> = ByteSlice::lines(text.as_bytes()).collect();
            let code = coded(&lines);
            prop_assert_eq!(sink.1.as_bstr(), code.as_bstr());
        }

        #[test]
        fn lines_come_out_as_they_went_in(lines in prop::collection::vec("[ab;' #.01\\xff\r]{0,12}", 0..30)) {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let text = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect::<Vec<u8>>();
            let back = decoded(&coded(&lines)).unwrap();
            prop_assert_eq!(back.as_bstr(), text.as_bstr());
        }

        /// Frames of whatever name, and now and then a line that was read.
        #[test]
        fn a_stack_is_coded_as_its_line(
            stacks in prop::collection::vec(
                (prop::collection::vec("[ab]{1,2}|[ab;' #.0\n]{0,4}", 0..5), 0u64..30, prop::option::of(0u64..3), any::<bool>()), 0..30,
            ),
        ) {
            let (mut table, mut by_frames, mut by_lines) = (FrameTable::default(), Coder::default(), Coder::default());
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for (names, weight, after, is_read) in stacks {
                let stack: Vec<_> = names.iter().map(|name| table.intern(Frame::named(name.as_bytes()))).collect();
                let folded = Folded { stack: &stack, weight, after, line: b"" };
                let mut text = Vec::new();
                folded::format(&mut text, &table, &folded);
                if is_read || !by_frames.stack(&mut one, &table, &folded) {
                    ByteSlice::lines(&text[..]).for_each(|line| by_frames.line(&mut one, line));
                }
                ByteSlice::lines(&text[..]).for_each(|line| by_lines.line(&mut other, line));
            }
            prop_assert_eq!(one.as_bstr(), other.as_bstr());
        }
    }
}
