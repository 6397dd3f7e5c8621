//! Reads and writes folded text: one line per stack, root first, the weight last:
//! `main;read_file;memcpy 42`.
//!
//! This is the interchange format of every flame graph tool since stackcollapse-perf.pl;
//! fg-folded(5) is the contract. [`read`] turns text into [`Folded`] items, and [`Writer`] items
//! into text. An item that does not change keeps its line, byte for byte.

mod joined;
mod minimum;
mod write;

use std::io::{BufRead, ErrorKind};

use bstr::ByteSlice;
use joined::Joined;
pub use minimum::{Minimum, NoMinimum};
pub use write::Writer;
pub(crate) use write::{format, restack};

use crate::error::{Error, Result};
use crate::sample::{Frame, FrameId, FrameTable};
use crate::tally::{Count, Loss, Tally};
use crate::unit;

/// The root of stacks sampled on the processor, where those of threads that were blocked are beside
/// them. Both weigh nanoseconds.
pub const ON_CPU: &[u8] = b"on-cpu";
/// The root of stacks of threads that were blocked; also the event's name in a recording.
pub const OFF_CPU: &[u8] = b"off-cpu";

/// A stack and its weight. It borrows everything, because it lives for one push.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folded<'a> {
    /// The stack, root first. Its frames have only names.
    pub stack: &'a [FrameId],
    /// The weight. A fraction in the text is cut off here, but `line` still has it.
    pub weight: u64,
    /// The weight of the second profile, in lines of a differential: `main;foo 10 12`.
    pub after: Option<u64>,
    /// The line it was read from, including its newline, or the result of [`restack`]; empty for
    /// other sources. A writer writes it as it is.
    pub line: &'a [u8],
}

/// The thread and the time of a stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment<'a> {
    /// The thread's name; empty if the profile does not tell threads apart.
    pub comm: &'a str,
    /// The process, if it is known.
    pub pid: Option<u64>,
    /// The thread, if it is known.
    pub tid: Option<u64>,
    /// The frame that names the thread in folded text, if there is one.
    pub root: Option<FrameId>,
    /// In nanoseconds.
    pub start: u64,
    /// When another stack began.
    pub end: u64,
}

/// Whether a profile is a differential. The line of its unit or else its first stack decides,
/// because nothing is read twice.
#[derive(Debug, Default)]
pub(crate) struct Differential {
    first: Option<bool>,
    single: u64,
}

impl Differential {
    /// Whether `folded`, the next stack, is one of a differential.
    pub(crate) fn note(&mut self, folded: &Folded<'_>) -> bool {
        let is_differential = *self.first.get_or_insert(folded.after.is_some());
        self.single += u64::from(is_differential && folded.after.is_none());
        is_differential
    }

    /// Notes a line that is no stack.
    pub(crate) fn note_line(&mut self, line: &[u8]) {
        self.first = self.first.or(unit::is_of_differential(line));
    }

    /// Whether the stacks so far are those of a differential.
    pub(crate) fn is_known(&self) -> bool {
        self.first == Some(true)
    }

    /// Counts the stacks with one weight in a differential. They make it likely that it is none,
    /// and that the name of its first stack ends in a number: `GC Thread 0 12`.
    pub(crate) fn count(&self, tally: &mut Tally) {
        tally.lose(Loss::OneWeight, self.single, 0);
    }
}

impl<'a> Folded<'a> {
    /// The same weights on another stack, without a line.
    pub fn with_stack<'b>(&self, stack: &'b [FrameId]) -> Folded<'b> {
        Folded { stack, weight: self.weight, after: self.after, line: b"" }
    }

    /// The same line as one of a plain profile. There the first of two numbers is the end of the
    /// last name: the thread `GC Thread 0` without a call chain folds to `GC Thread 0 12`. `stack`
    /// is a buffer for the frames.
    pub fn plain<'b>(&self, frames: &mut FrameTable, stack: &'b mut Vec<FrameId>) -> Folded<'b>
    where
        'a: 'b,
    {
        let (Some(weight), Some((&leaf, rest))) = (self.after, self.stack.split_last()) else {
            return *self;
        };
        let mut name = frames.symbol(leaf).to_vec();
        name.push(b' ');
        match self.line.trim_ascii().rsplitn_str(3, " ").nth(1) {
            Some(number) => name.extend_from_slice(number),
            None => name.extend_from_slice(self.weight.to_string().as_bytes()),
        }
        stack.clear();
        stack.extend_from_slice(rest);
        stack.push(frames.intern(Frame::named(&name)));
        Folded { stack, weight, after: None, line: self.line }
    }

    /// Whether a weight lost its fraction: `main;foo 1.75`.
    pub fn has_fraction(&self) -> bool {
        let numbers = 1 + usize::from(self.after.is_some());
        let words = self.line.trim_ascii().rsplit(|&byte| byte == b' ');
        words.take(numbers).any(|number| {
            number
                .find_byte(b'.')
                .is_some_and(|dot| number[dot + 1..].iter().any(|digit| *digit != b'0'))
        })
    }
}

/// Takes folded stacks: a merger, a filter, a writer, a renderer.
pub trait FoldedSink {
    /// Takes one stack.
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()>;

    /// Whether the sink keeps times. If so, sources give it stacks with times if they have them.
    fn keeps_times(&self) -> bool {
        false
    }

    /// Takes a stack of a thread, which is not among the frames.
    fn timed(
        &mut self,
        frames: &mut FrameTable,
        folded: &Folded<'_>,
        _moment: &Moment<'_>,
    ) -> Result<()> {
        self.folded(frames, folded)
    }

    /// Takes many stacks. Several threads may work on the pieces.
    fn many(&mut self, frames: &mut FrameTable, pieces: &[Vec<Folded<'_>>]) -> Result<()> {
        pieces.iter().flatten().try_for_each(|folded| self.folded(frames, folded))
    }

    /// Takes a line that is not a stack: a comment, an empty or odd line. Only writers need it.
    fn text(&mut self, _line: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Says that hardly any of the following stacks are equal, so it is not worth looking for them.
    fn distinct(&mut self) {}

    /// Says that an input of folded text has no line that names its unit.
    fn no_unit(&mut self) {}

    /// Ends the stream: pushes held items, ends the next sink, and adds this stage's counts to
    /// `tally`.
    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()>;
}

impl<S: FoldedSink + ?Sized> FoldedSink for &mut S {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        (**self).folded(frames, folded)
    }

    fn keeps_times(&self) -> bool {
        (**self).keeps_times()
    }

    fn timed(
        &mut self,
        frames: &mut FrameTable,
        folded: &Folded<'_>,
        moment: &Moment<'_>,
    ) -> Result<()> {
        (**self).timed(frames, folded, moment)
    }

    fn many(&mut self, frames: &mut FrameTable, pieces: &[Vec<Folded<'_>>]) -> Result<()> {
        (**self).many(frames, pieces)
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        (**self).text(line)
    }

    fn distinct(&mut self) {
        (**self).distinct();
    }

    fn no_unit(&mut self) {
        (**self).no_unit();
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        (**self).finish(frames, tally)
    }
}

/// The parts of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The frames, still joined.
    pub stack: &'a [u8],
    /// The weight, cut to a whole number.
    pub weight: u64,
    /// The second weight of a differential.
    pub after: Option<u64>,
}

/// Splits a folded line. `None` if it is not a stack: a comment (`# …`), a blank line, a line
/// without a weight.
///
/// ```
/// use flamepipe::folded::{split, Line};
/// assert_eq!(split(b"main;f 42\n"), Some(Line { stack: b"main;f", weight: 42, after: None }));
/// let difference = Line { stack: b"operator new;f", weight: 10, after: Some(12) };
/// assert_eq!(split(b"operator new;f 10 12"), Some(difference));
/// assert_eq!(split(b"# comm 3"), None);
/// ```
pub fn split(line: &[u8]) -> Option<Line<'_>> {
    let Line { stack: rest, weight: last, .. } = split_plain(line)?;
    // In `main; 1 2` the 1 is a function.
    match split_weight(rest).filter(|(stack, _)| !stack.ends_with(b";")) {
        Some((stack, weight)) => Some(Line { stack, weight, after: Some(last) }),
        None => Some(Line { stack: rest, weight: last, after: None }),
    }
}

/// Splits a line of a plain profile, where a name may end in a number: `GC Thread 0 12`.
pub(crate) fn split_plain(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii();
    if begins_comment(line) {
        return None;
    }
    let (stack, weight) = split_weight(line)?;
    Some(Line { stack, weight, after: None })
}

/// Whether `text`, the start of a line or the name of a root, makes the line a comment: `# comm 3`,
/// but not `#comm 3`.
pub(crate) fn begins_comment(text: &[u8]) -> bool {
    text.strip_prefix(b"#").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a name, in front of a weight, could be taken for a shorter name and a first weight.
pub(crate) fn ends_in_weight(name: &[u8]) -> bool {
    name.last().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
        && split_weight(name).is_some()
}

/// Whether a line is a comment or blank.
pub(crate) fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.trim_ascii().is_empty()
}

/// Splits `stack 12.5` into `stack` and 12. The stack must not be empty.
fn split_weight(line: &[u8]) -> Option<(&[u8], u64)> {
    let is_of_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let len = line.iter().rev().take_while(is_of_number).count();
    let (stack, number) = line.split_at(line.len() - len);
    let stack = stack.strip_suffix(b" ")?.trim_ascii_end();
    let (whole, fraction) = match number.find_byte(b'.') {
        Some(dot) => (&number[..dot], &number[dot + 1..]),
        None => (number, &b""[..]),
    };
    if stack.is_empty() || whole.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |number: u64, byte| number.checked_mul(10)?.checked_add(digit(byte)?);
    Some((stack, whole.iter().try_fold(0, add)?))
}

/// Reads folded text named `input` to its end and pushes it into `sink`, which is not finished.
///
/// Lines that are not stacks are passed on as text. They count as odd unless they are comments or
/// blank. Memory: one line and the distinct frames.
pub fn read<R: BufRead>(
    mut reader: R,
    input: &str,
    frames: &mut FrameTable,
    sink: &mut dyn FoldedSink,
    tally: &mut Tally,
) -> Result<()> {
    let mut cut = Vec::new();
    let mut stack = Stack::default();
    let stacks_before = tally.folded_before;
    let reading = || Error::io(|| format!("cannot read {input}"));
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            buffer => buffer.map_err(reading())?,
        };
        // Lines are read in place, except for one that is cut by the buffer's end.
        if let Some(end) = buffer.rfind_byte(b'\n') {
            for line in buffer[..=end].lines_with_terminator() {
                stack.push(line, frames, sink, tally)?;
            }
            reader.consume(end + 1);
            continue;
        }
        cut.clear();
        if reader.read_until(b'\n', &mut cut).map_err(reading())? == 0 {
            if !stack.has_unit && tally.folded_before > stacks_before {
                sink.no_unit();
            }
            return Ok(());
        }
        // Every writer ends the last line, whose weight may lack digits now.
        tally.lose(Loss::CutShort, u64::from(!cut.ends_with(b"\n")), 0);
        stack.push(&cut, frames, sink, tally)?;
    }
}

/// The stack of the last line. The next one often begins with the same frames, nearly always in
/// sorted text, and these need not be looked up again.
#[derive(Default)]
struct Stack {
    joined: Joined,
    ids: Vec<FrameId>,
    /// Whether a line named the unit.
    has_unit: bool,
    /// Whether it also said that this is no differential.
    is_plain: bool,
}

impl Stack {
    /// Pushes `line` into `sink`.
    fn push(
        &mut self,
        line: &[u8],
        frames: &mut FrameTable,
        sink: &mut dyn FoldedSink,
        tally: &mut Tally,
    ) -> Result<()> {
        let split = if self.is_plain { split_plain(line) } else { split(line) };
        let Some(Line { stack, weight, after }) = split else {
            if !is_comment(line) {
                tally.odd(line);
            }
            self.has_unit |= unit::of_line(line).is_some();
            let is_differential = unit::is_of_differential(line);
            self.is_plain = is_differential.map_or(self.is_plain, |is| !is);
            return sink.text(line);
        };
        tally.read += Count::one(weight);
        tally.folded_before += 1;
        self.set(frames, stack);
        sink.folded(frames, &Folded { stack: &self.ids, weight, after, line })
    }

    fn set(&mut self, frames: &mut FrameTable, text: &[u8]) {
        let shared = self.joined.set(text);
        self.ids.truncate(shared);
        let names = self.joined.names(shared).map(without_blanks);
        self.ids.extend(names.map(|name| frames.intern(Frame::named(name))));
    }
}

/// Removes the blank that some tools put behind each `;`: `main; read; f 1` is `main;read;f 1`. A
/// name of only blanks stays.
fn without_blanks(name: &[u8]) -> &[u8] {
    match name.trim_start_with(|c| c == ' ') {
        b"" => name,
        trimmed => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_numbers_if_the_unit_says_that_there_is_one_weight() {
        let written = |text: &str| {
            let mut frames = FrameTable::default();
            let mut tally = Tally::default();
            let mut merge = crate::fold::Merge::new(Writer::new(Vec::new(), "memory"));
            read(text.as_bytes(), "x", &mut frames, &mut merge, &mut tally).unwrap();
            merge.finish(&mut frames, &mut tally).unwrap();
            (String::from_utf8(merge.into_next().into_inner()).unwrap(), tally.read.weight)
        };
        let plain = "# unit: ns 0\nGC Thread 0 12\nGC Thread 007 3\nf 0.0 5\n";
        let sorted = "# unit: ns 0\nGC Thread 0 12\nGC Thread 007 3\nf 0.0 5\n";
        assert_eq!(written(plain), (sorted.to_owned(), 20));
        let differential = "# unit: ns 0 0\nf 2 5\n";
        assert_eq!(written(differential), (differential.to_owned(), 2));
        // Without numbers in the unit, each line tells. What is read again is the same.
        let mixed = "# unit: ns\nGC Thread 0 12\nf 5\n";
        assert_eq!(written(mixed), (mixed.to_owned(), 5));
        // Such names get the line even if the unit could be guessed, or is unknown.
        for unit in ["# unit: samples 0", "# unit:  0"] {
            let named = format!("{unit}\nGC Thread 0 12\n");
            assert_eq!(written(&named), (named.clone(), 12));
        }
        assert_eq!(written("# unit: ns\nf 5\n").0, "# unit: ns 0\nf 5\n");
        assert_eq!(written("# unit: ns\nf 5 6\n").0, "# unit: ns 0 0\nf 5 6\n");
    }

    #[test]
    fn lines_are_taken_apart() {
        let line = |stack: &'static str, weight, after| {
            Some(Line { stack: stack.as_bytes(), weight, after })
        };
        for (text, parts) in [
            ("a;b 1", line("a;b", 1, None)),
            ("  a;b  1 \n", line("a;b", 1, None)),
            ("a b;c d 10 20", line("a b;c d", 10, Some(20))),
            ("a 1.75", line("a", 1, None)),
            ("a; 1 2", line("a; 1", 2, None)),
            ("a 1.75 2.5", line("a", 1, Some(2))),
            ("12 5", line("12", 5, None)),
            ("a", None),
            ("a x1", None),
            (" 5", None),
            ("# a 5", None),
            ("\x0c#\x0c 2 1", None),
            ("#a 5", line("#a", 5, None)),
            ("", None),
            ("a 99999999999999999999999", None),
        ] {
            assert_eq!(split(text.as_bytes()), parts, "{text:?}");
        }
    }

    #[test]
    fn neighbours_share_frames_and_nothing_else() {
        let mut frames = FrameTable::default();
        let mut stack = Stack::default();
        for text in [
            "a;b;c",
            "a;b;c",
            "a;b",
            "a;bc;c",
            "a;bc",
            "",
            "a;",
            "a;;",
            ";a",
            "0123456789abcdef;x;y",
            "0123456789abcdef;x;z",
            "0123456789abcdef",
            "0123456789abcdefg",
        ] {
            stack.set(&mut frames, text.as_bytes());
            let names: Vec<String> =
                stack.ids.iter().map(|&id| frames.symbol(id).to_string()).collect();
            assert_eq!(names.join(";"), text);
            assert_eq!(names.len(), text.split(';').count(), "{text:?}");
        }
    }

    #[test]
    fn a_blank_behind_a_semicolon_is_no_part_of_a_name() {
        let mut frames = FrameTable::default();
        let mut stack = Stack::default();
        for (text, names) in [
            ("a; b;  c", ["a", "b", "c"]),
            ("a; b; d e", ["a", "b", "d e"]),
            ("a; ;c", ["a", " ", "c"]),
        ] {
            stack.set(&mut frames, text.as_bytes());
            assert!(stack.ids.iter().map(|&id| frames.symbol(id)).eq(names), "{text}");
        }
    }

    #[test]
    fn a_new_stack_keeps_what_stands_around_it() {
        let mut frames = FrameTable::default();
        let stack = [&b"a"[..], b"b\xff"].map(|name| frames.intern(Frame::named(name)));
        let mut line = Vec::new();
        assert!(restack(&mut line, &frames, b" x;y  7.5 8 \r\n", true, &stack));
        assert_eq!(line.as_bstr(), b" a;b\xff  7.5 8 \r\n".as_bstr());
        assert!(!restack(&mut Vec::new(), &frames, b"x 7", false, &[]));
        assert!(!restack(&mut Vec::new(), &frames, b"odd", false, &stack));
    }

    #[test]
    fn a_second_number_can_belong_to_the_name() {
        let mut frames = FrameTable::default();
        let mut room = Vec::new();
        let stack = [frames.intern(Frame::named(b"a")), frames.intern(Frame::named(b"GC 9"))];
        let mut name = |folded: Folded<'_>| {
            let plain = folded.plain(&mut frames, &mut room);
            (frames.symbol(plain.stack[1]).to_string(), plain.weight, plain.after)
        };
        let folded = Folded { stack: &stack, weight: 1, after: Some(7), line: b"a;GC 9 1.5 7\n" };
        assert_eq!(name(folded), ("GC 9 1.5".into(), 7, None));
        assert_eq!(name(Folded { line: b"", ..folded }), ("GC 9 1".into(), 7, None));
        assert_eq!(name(Folded { after: None, ..folded }), ("GC 9".into(), 1, None));
        assert!(folded.has_fraction());
        assert!(!Folded { after: None, ..folded }.has_fraction());
        assert!(!Folded { line: b"a.b;c 1.0 2.", ..folded }.has_fraction());
    }

    #[test]
    fn reading_and_writing_changes_nothing() {
        let text = b"# comment\na;b 1\n\nodd\na;\xff 2.50\nlast 3 4";
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut writer = Writer::new(Vec::new(), "memory");
        read(&text[..], "text", &mut frames, &mut writer, &mut tally).unwrap();
        assert_eq!(writer.into_inner().as_bstr(), text.as_bstr());
        assert_eq!(tally.read.weight, 6);
        assert_eq!(tally.example(), Some("odd".into()));
    }
}
