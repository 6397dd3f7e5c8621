//! Reads perf-script text into samples.
//!
//! A profile repeats itself: 75,000 frame lines hold 1,900 distinct ones. So the reader looks up
//! the text behind the address as bytes, and parses each distinct line once: see
//! [`frame_lines`](super::frame_lines). Lines that are not as perf prints them are read more
//! slowly.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;

use bstr::ByteSlice;
use memchr::memchr;

use super::chunk::Chunks;
use super::config::Config;
use super::frame_lines::FrameLines;
use super::header::{Header, Last};
use super::line;
use super::pending::Pending;
use crate::error::{Error, Result};
use crate::event;
use crate::sample::{FrameTable, SampleSink};
use crate::tally::{Count, Loss, Tally};
use crate::windows::Windows;

/// Reads perf-script text. A reader can go on to the next input, with the lines that it knows
/// already, if the frame table is the same.
pub struct Reader {
    /// [`Config::text`]
    text: bool,
    frame_lines: FrameLines,
    last: Last,
    sample: Pending,
    /// Where in the chunk the text of the open sample starts or continues.
    text_from: usize,
    /// The first line of the open sample, if nothing on it proves that it is one.
    doubtful: Vec<u8>,
    /// Whether frames may follow that have no header: at the start of the text, or after a blank
    /// line.
    at_start: bool,
    /// How samples begin; `None` before the first line.
    begins: Option<Begins>,
}

/// How the samples of a text begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// With a header: a line that has the thread, the time or the event.
    Header,
    /// With a frame, so the thread is unknown: `perf script -F ip,sym`.
    Frame,
    /// With a line that has neither a thread nor a time: `perf script -F comm,ip,sym`.
    Bare,
}

impl Begins {
    /// How samples begin in a text whose first line is `line`, which is not a header.
    fn of(line: &[u8]) -> Begins {
        match Header::bare(line) {
            Some(header) if header.period.is_some() => Begins::Bare,
            _ if is_frame(line) => Begins::Frame,
            Some(_) => Begins::Bare,
            None => Begins::Header,
        }
    }
}

impl Reader {
    /// A reader that fills in the fields that `config` asks for.
    pub fn new(config: &Config) -> Self {
        Reader {
            text: config.text,
            frame_lines: FrameLines::new(config),
            last: Last::default(),
            sample: Pending::default(),
            text_from: 0,
            doubtful: Vec::new(),
            at_start: true,
            begins: None,
        }
    }

    /// Reads `input` to its end and pushes its samples into `sink`. It does not finish the sink.
    ///
    /// Memory: a chunk of text and the distinct lines. Fails if `input` cannot be read or the sink
    /// fails.
    pub fn read(
        &mut self,
        input: impl Read,
        name: &str,
        frames: &mut FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) -> Result<()> {
        self.begins = None;
        self.at_start = true;
        let mut chunks = Chunks::new(input);
        let mut is_cut = false;
        while let Some(chunk) =
            chunks.next_chunk().map_err(Error::io(|| format!("cannot read {name}")))?
        {
            self.read_lines(&mut To { chunk, frames, sink, tally })?;
            is_cut = self.is_cut_behind(chunk);
        }
        tally.lose(Loss::CutShort, u64::from(is_cut), 0);
        self.end_sample(0, &mut To { chunk: b"", frames, sink, tally })
    }

    /// Reads a part of a file, which starts with a sample.
    pub(crate) fn read_file(
        &mut self,
        mut file: File,
        part: Range<u64>,
        name: &str,
        frames: &mut FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) -> Result<()> {
        let reading = || format!("cannot read {name}");
        self.at_start = true;
        self.begins = None;
        if part.start > 0 {
            let start = first_line(&mut file).map_err(Error::io(reading))?;
            self.begins = Some(start.map_or(Begins::Header, |line| Begins::of(&line)));
        }
        let mut windows = Windows::new(file, part).map_err(Error::io(reading))?;
        let mut is_cut = false;
        while let Some(chunk) = windows.next_chunk().map_err(Error::io(reading))? {
            self.read_lines(&mut To { chunk, frames, sink, tally })?;
            is_cut = self.is_cut_behind(chunk);
        }
        is_cut |= windows.is_cut();
        tally.lose(Loss::CutShort, u64::from(is_cut), 0);
        self.end_sample(0, &mut To { chunk: b"", frames, sink, tally })
    }

    /// Whether a text that ends with `chunk` was cut: every line ends, and a blank line follows the
    /// frames of a stack.
    fn is_cut_behind(&self, chunk: &[u8]) -> bool {
        let has_stack = self.sample.open && !self.sample.single;
        !chunk.ends_with(b"\n") || (has_stack && chunk.lines().next_back().is_some_and(is_frame))
    }

    fn read_lines(&mut self, to: &mut To<'_>) -> Result<()> {
        self.frame_lines.begin_chunk();
        self.text_from = 0;
        let chunk = to.chunk;
        let mut at = 0;
        while let Some(text) = chunk.get(at..).filter(|text| !text.is_empty()) {
            if self.sample.open && text.first() == Some(&b'\t') && !self.sample.single {
                let Reader { frame_lines, sample, .. } = self;
                let next = frame_lines
                    .all(chunk, at, sample, to.frames)
                    .or_else(|| frame_lines.one(chunk, at, sample, to.frames));
                if let Some(next) = next {
                    at = next;
                    continue;
                }
            }
            let end = memchr(b'\n', text).map_or(chunk.len(), |newline| at + newline + 1);
            self.other_line(at..end, to)?;
            at = end;
        }
        if self.text && self.sample.open {
            self.sample.text.extend_from_slice(&chunk[self.text_from..]);
        }
        Ok(())
    }

    /// Reads a line that the fast paths did not take.
    fn other_line(&mut self, at: Range<usize>, to: &mut To<'_>) -> Result<()> {
        let line = &to.chunk[at.clone()];
        if line.starts_with(b"#") {
            // A folder needs the list of events even if nobody wants the text.
            if !self.text && event::is_line(line) {
                return to.sink.text(line);
            }
            return self.pass_on(line, to);
        }
        if line.trim_ascii().is_empty() {
            self.at_start = true;
            return if self.sample.open {
                self.end_sample(at.end, to)
            } else {
                self.pass_on(line, to)
            };
        }
        if self.sample.open {
            return self.sample_line(at, to);
        }
        let at_start = std::mem::take(&mut self.at_start);
        let header = Header::parse_after(line, &mut self.last);
        let begins = || if header.is_some() { Begins::Header } else { Begins::of(line) };
        let begins = *self.begins.get_or_insert_with(begins);
        let may_be_bare = begins == Begins::Bare && at_start;
        let header = header.or_else(|| if may_be_bare { Header::bare(line) } else { None });
        match header {
            Some(header) => self.open_sample(header, at, to),
            None if begins == Begins::Frame && at_start && is_frame(line) => {
                self.open_nameless(at, to)
            }
            None => {
                to.tally.odd(line);
                self.pass_on(line, to)
            }
        }
    }

    /// Reads a line inside a sample: a frame, the header of the next sample if the listing has no
    /// blank lines, or something odd.
    fn sample_line(&mut self, at: Range<usize>, to: &mut To<'_>) -> Result<()> {
        let line = &to.chunk[at.clone()];
        let next = |last: &mut Last| {
            let header = Header::parse_after(line, last);
            header.filter(|header| header.time.is_some() && !header.event.is_empty())
        };
        // In a listing without call chains nearly every line is a header.
        if self.sample.single
            && let Some(header) = next(&mut self.last)
        {
            return self.open_sample(header, at, to);
        }
        // Look up only what may be a frame, so that the cache does not grow with the listing.
        let parts = line::split_address(line).filter(|_| line.trim_ascii_end().ends_with(b")"));
        let is_frame =
            |word: &[u8], last: &mut Last| line::is_address(word) || next(last).is_none();
        if let Some(parts) = parts.filter(|(word, _)| is_frame(word, &mut self.last))
            && self.frame_lines.loose(parts, &mut self.sample, to.frames)
        {
            self.sample.drop_single();
            return Ok(());
        }
        if let Some(header) = next(&mut self.last) {
            return self.open_sample(header, at, to);
        }
        if let Some(parts) = line::split_bare(line) {
            self.frame_lines.bare(parts, &mut self.sample, to.frames);
            self.sample.drop_single();
            return Ok(());
        }
        if line::is_note(line) {
            return Ok(());
        }
        to.tally.odd(line);
        self.pass_on(line, to)
    }

    /// Opens the sample of a header, and ends the one before.
    fn open_sample(&mut self, header: Header<'_>, at: Range<usize>, to: &mut To<'_>) -> Result<()> {
        self.end_sample(at.start, to)?;
        self.start_sample(&header, at.start);
        if !header.is_sure() {
            self.doubtful.extend_from_slice(&to.chunk[at]);
        }
        // `cycles:u: ffffffff9aa3c8de [unknown] ([unknown])`: perf prints a sample's only frame on
        // its first line, and with `-F +addr` the address that was accessed. Of a branch, `from =>
        // to`, the frame is where it came from.
        let rest = header.rest.split_once_str(" => ").map_or(&**header.rest, |(from, _)| from);
        let rest = without_instruction(rest).trim_ascii_end();
        let parts = line::split_address(rest).filter(|(word, _)| line::is_address(word));
        if let Some(parts) = parts
            && self.frame_lines.loose(parts, &mut self.sample, to.frames)
        {
            self.sample.single = true;
        } else if let Some(parts) = line::split_bare(rest).filter(|(word, _)| word.len() >= 6) {
            self.frame_lines.bare(parts, &mut self.sample, to.frames);
            self.sample.single = true;
        }
        Ok(())
    }

    /// Opens a sample that begins with a frame, as `perf script -F ip,sym,dso` prints it. Its
    /// thread is unknown. Only lines of call chains start with a tab.
    fn open_nameless(&mut self, at: Range<usize>, to: &mut To<'_>) -> Result<()> {
        let is_chain = to.chunk[at.start] == b'\t';
        self.start_sample(&Header::default(), at.start);
        let end = at.end;
        self.sample_line(at, to)?;
        if is_chain {
            return Ok(());
        }
        self.sample.single = true;
        self.at_start = true;
        self.end_sample(end, to)
    }

    fn start_sample(&mut self, header: &Header<'_>, at: usize) {
        self.sample.start(header);
        self.text_from = at;
        self.doubtful.clear();
    }

    /// Pushes the open sample, whose text ends at `end` in the chunk.
    fn end_sample(&mut self, end: usize, to: &mut To<'_>) -> Result<()> {
        if !self.sample.open {
            return Ok(());
        }
        self.sample.open = false;
        let text =
            if self.text { to.chunk.get(self.text_from..end).unwrap_or_default() } else { b"" };
        if self.sample.is_doubtful() {
            to.tally.odd(&self.doubtful);
            let text = self.sample.lend(text).text;
            return if self.text { to.sink.text(text) } else { Ok(()) };
        }
        let is_flat = u64::from(self.sample.single);
        let sample = self.sample.lend(text);
        to.tally.read += Count::one(sample.weight());
        to.tally.flat += is_flat;
        to.sink.sample(to.frames, &sample)
    }

    /// Passes on text that is not a sample. Text inside a sample goes with the sample.
    fn pass_on(&self, line: &[u8], to: &mut To<'_>) -> Result<()> {
        if self.text && !self.sample.open { to.sink.text(line) } else { Ok(()) }
    }
}

/// The first line that is neither blank nor a comment, or as much of it as is within 64 KiB. `None`
/// if it is a header.
fn first_line(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    const LONGEST: u64 = 64 << 10;
    let mut start = Vec::new();
    file.rewind()?;
    file.take(LONGEST).read_to_end(&mut start)?;
    let mut lines = start.lines().filter(|line| !line.starts_with(b"#") && !line.trim().is_empty());
    let first = lines.next().filter(|line| Header::parse(line).is_none());
    Ok(first.map(<[u8]>::to_vec))
}

/// Whether a line is certainly a frame: it is indented and has an address.
fn is_frame(line: &[u8]) -> bool {
    let is_indented = line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t');
    let parts = line::split_address(line).filter(|(word, _)| line::is_address(word));
    let is_whole = || parts.is_some_and(|(_, tail)| line::Frame::parse(tail).is_some());
    is_indented && (is_whole() || line::split_bare(line).is_some())
}

/// `401000 main+0x1 (/a)`, without what `--insn-trace`, `--xed` and `-F +ipc` print behind it: a
/// tab and `push %rbp`, ` insn: 55`, ` \t IPC: 0.50 (1/2)`.
fn without_instruction(rest: &[u8]) -> &[u8] {
    let starts = [&b")\t"[..], b") \t", b") insn: "];
    let end = starts.iter().filter_map(|start| rest.find(start)).min();
    end.map_or(rest, |end| &rest[..=end])
}

/// A chunk of text, and where its samples go.
struct To<'a> {
    chunk: &'a [u8],
    frames: &'a mut FrameTable,
    sink: &'a mut dyn SampleSink,
    tally: &'a mut Tally,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::Sample;

    /// The symbols of each sample, and all text.
    #[derive(Default)]
    struct Seen(Vec<Vec<String>>, Vec<u8>);

    impl SampleSink for Seen {
        fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
            self.0.push(sample.stack.iter().map(|&id| frames.symbol(id).to_string()).collect());
            self.text(sample.text)
        }

        fn text(&mut self, text: &[u8]) -> Result<()> {
            self.1.extend_from_slice(text);
            Ok(())
        }

        fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
            Ok(())
        }
    }

    proptest! {
        /// The twin parses each line by itself. There are many lines, so that the reader soon stops
        /// to predict them, and few roots, which samples share.
        #[test]
        fn all_ways_lead_to_the_same_stacks(
            samples in prop::collection::vec((prop::collection::vec(0usize..300, 0..6), 0usize..4), 1..80),
        ) {
            let mut text = String::new();
            let mut expected = Vec::new();
            let mut odd = 0;
            for (leaves, root) in samples {
                text += "app 7 1.5: 10 cycles: \n";
                let mut stack = Vec::new();
                for function in leaves.into_iter().chain([root, root + 10]) {
                    let line = match function {
                        // Neither long enough for an address nor in perf's column of them.
                        290.. => format!("\t{function:x} no frame\n"),
                        280..290 => format!("\t  {function:x} f{function}+0x1 (/a)\n"),
                        _ => format!("\t{:>16x} function_{function}+0x1 (/a)\n", function / 2),
                    };
                    let (_, tail) = line::split_address(line.as_bytes()).unwrap();
                    match line::Frame::parse(tail) {
                        Some(frame) => stack.push(frame.symbol.to_string()),
                        None => odd += 1,
                    }
                    text += &line;
                }
                expected.push(stack);
                text += "\n";
            }
            for config in [Config { text: true, ..Config::default() }, Config { places: true, text: true, ..Config::default() }] {
                let mut seen = Seen::default();
                let mut tally = Tally::default();
                let mut frames = FrameTable::default();
                Reader::new(&config).read(text.as_bytes(), "text", &mut frames, &mut seen, &mut tally).unwrap();
                prop_assert_eq!(&seen.0, &expected);
                prop_assert_eq!(&seen.1[..], text.as_bytes());
                prop_assert_eq!(tally.lost(crate::tally::Loss::Odd).items, odd);
            }
        }
    }
}
