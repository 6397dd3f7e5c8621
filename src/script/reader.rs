//! perf-script text → samples.
//!
//! A profile repeats itself: 75,000 frame lines hold 1,900 distinct ones. So everything behind the address is looked up as
//! bytes in a cache of [`lines`](super::lines) and taken apart once per distinct line; and [`callers`](super::callers) that were met
//! before are not even looked at line by line. What is not as perf prints it goes a slower way.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bstr::ByteSlice;
use hashbrown::HashMap;
use memchr::{memchr, memchr_iter};

use super::callers::Callers;
use super::chunk::Chunks;
use super::digests::Digest;
use super::header::{Header, Last};
use super::line;
use super::lines::Lines;
use super::pending::Pending;
use super::window::Windows;
use crate::error::{Error, Result};
use crate::sample::{Frame, FrameId, FrameTable, Place, SampleSink};
use crate::tally::{Count, Tally};

/// What the sinks need of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Fill in [`Sample::places`](crate::sample::Sample::places).
    pub places: bool,
    /// Fill in [`Sample::text`](crate::sample::Sample::text) and pass on what is no sample.
    pub text: bool,
    /// Keep unknown frames apart by their address: [`Frame::address`].
    pub addresses: bool,
}

/// Reads perf-script text. What it learns about lines is good for the next input, if it has the same frame table.
pub struct Reader {
    config: Config,
    lines: Lines,
    callers: Callers,
    last: Last,
    sample: Pending,
    /// The lines of a sample that are looked up at once: where each starts, its digest, and where the next starts.
    ahead: Vec<(usize, Digest, usize)>,
    /// Unknown frames at addresses, of those who tell them apart.
    addressed: HashMap<(FrameId, u64), FrameId>,
    single: u64,
}

impl Reader {
    /// A reader that gives what `config` asks for.
    pub fn new(config: Config) -> Self {
        Reader {
            config,
            lines: Lines::new(config.places),
            callers: Callers::default(),
            last: Last::default(),
            sample: Pending::default(),
            ahead: Vec::new(),
            addressed: HashMap::new(),
            single: 0,
        }
    }

    /// How many samples had their only frame on their first line, as perf prints those without a call chain.
    pub fn without_chain(&self) -> u64 {
        self.single
    }

    /// Reads `input` to its end and pushes its samples into `sink`, which is not finished.
    ///
    /// Memory: a chunk of text and what is distinct. Fails if `input` cannot be read or the sink fails.
    pub fn read(
        &mut self,
        input: impl Read,
        name: &str,
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        let mut chunks = Chunks::new(input);
        while let Some(chunk) =
            chunks.next_chunk().map_err(Error::io(|| format!("cannot read {name}")))?
        {
            self.read_lines(chunk, frames, sink, tally)?;
        }
        self.end_sample(b"", frames, sink, tally)
    }

    /// The same for a part of a file, which starts with a sample: where files can be mapped, nothing is copied.
    pub fn read_file(
        &mut self,
        mut file: File,
        part: Range<u64>,
        name: &str,
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        let reading = || format!("cannot read {name}");
        if let Some(mut windows) = Windows::new(&file, part.clone()) {
            while let Some(chunk) = windows.next_chunk().map_err(Error::io(reading))? {
                self.read_lines(chunk, frames, sink, tally)?;
            }
            return self.end_sample(b"", frames, sink, tally);
        }
        file.seek(SeekFrom::Start(part.start)).map_err(Error::io(reading))?;
        self.read(file.take(part.end - part.start), name, frames, sink, tally)
    }

    fn read_lines(
        &mut self,
        chunk: &[u8],
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        self.callers.forget();
        let mut at = 0;
        while let Some(text) = chunk.get(at..).filter(|text| !text.is_empty()) {
            if self.sample.open && text.first() == Some(&b'\t') {
                if self.sample.stack.is_empty()
                    && !self.config.places
                    && let Some(end) = self.callers.end(chunk, at)
                {
                    if self.frame_lines(chunk, at..end, frames).is_some() {
                        self.keep_text(&chunk[at..end]);
                        at = end;
                        continue;
                    }
                    self.sample.stack.clear();
                    self.callers.give_up(end);
                }
                if let Some((id, frame, next)) = self.frame_line(chunk, at, frames) {
                    let address = &chunk[at + 1..at + ADDRESS_END];
                    self.add_frame((id, frame), address, &chunk[at..next], frames);
                    at = next;
                    continue;
                }
            }
            let end = memchr(b'\n', text).map_or(text.len(), |newline| newline + 1);
            self.other_line(&text[..end], frames, sink, tally)?;
            at += end;
        }
        Ok(())
    }

    /// All frame lines of a sample. `None` if something among them is none, or not in perf's fixed columns.
    fn frame_lines(
        &mut self,
        chunk: &[u8],
        lines: Range<usize>,
        frames: &mut FrameTable,
    ) -> Option<()> {
        let (mut at, end) = (lines.start, lines.end);
        let leaf = chunk.get(at..at + ADDRESS_END)?;
        while at < end && chunk[at..].starts_with(leaf) {
            at = self.push_line(chunk, at, frames)?;
        }
        let (callers, leaves) = (at..end, self.sample.stack.len());
        let shared = self.callers.shared(chunk, &callers);
        let is_long = shared.start - at > SHORT;
        let digest = if is_long { self.callers.digest(&chunk[callers.clone()]) } else { None };
        if let Some(known) = digest.and_then(|digest| self.callers.find(digest)) {
            self.sample.stack.extend_from_slice(known);
        } else {
            self.push_lines(chunk, at..shared.start, frames)?;
            self.sample.stack.extend_from_slice(self.callers.shared_frames(shared.lines));
            let frames = &self.sample.stack[leaves..];
            digest.into_iter().for_each(|digest| self.callers.remember(digest, frames));
        }
        self.callers.note(callers, &self.sample.stack[leaves..]);
        Some(())
    }

    fn push_lines(
        &mut self,
        chunk: &[u8],
        lines: Range<usize>,
        frames: &mut FrameTable,
    ) -> Option<()> {
        let mut at = lines.start;
        if !self.lines.is_plain() {
            while at < lines.end {
                at = self.push_line(chunk, at, frames)?;
            }
            return Some(());
        }
        self.ahead.clear();
        for newline in memchr_iter(b'\n', &chunk[lines.clone()]) {
            let next = lines.start + newline + 1;
            if !has_plain_address(&chunk[at..]) {
                return None;
            }
            self.ahead.push((at, self.lines.expect(&chunk[at + ADDRESS_END + 1..next]), next));
            at = next;
        }
        for ahead in 0..self.ahead.len() {
            let (at, digest, next) = self.ahead[ahead];
            let id = self.lines.find_by(digest, &chunk[at + ADDRESS_END + 1..next], frames);
            let frame = self.lines.frame(id)?;
            self.push_frame(frame, &chunk[at + 1..at + ADDRESS_END], frames);
        }
        Some(())
    }

    #[inline]
    fn push_line(&mut self, chunk: &[u8], at: usize, frames: &mut FrameTable) -> Option<usize> {
        let (_, frame, next) = self.frame_line(chunk, at, frames)?;
        self.push_frame(frame, &chunk[at + 1..at + ADDRESS_END], frames);
        Some(next)
    }

    #[inline]
    fn push_frame(&mut self, mut frame: FrameId, address: &[u8], frames: &mut FrameTable) {
        if self.config.addresses {
            frame = self.with_address(frame, line::address(address.trim_ascii_start()), frames);
        }
        self.sample.stack.push(frame);
    }

    /// The line that starts `at`, if it is a frame with its address in perf's fixed columns: its id, the frame, where the next line starts.
    #[inline]
    fn frame_line(
        &mut self,
        chunk: &[u8],
        at: usize,
        frames: &mut FrameTable,
    ) -> Option<(u32, FrameId, usize)> {
        if !has_plain_address(&chunk[at..]) {
            return None;
        }
        let start = at + ADDRESS_END + 1;
        let (id, len) = self.lines.find(&chunk[start..], frames);
        Some((id, self.lines.frame(id)?, start + len))
    }

    /// Any line that the fast path did not take.
    fn other_line(
        &mut self,
        line: &[u8],
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        if line.starts_with(b"#") {
            return self.pass_on(line, sink);
        }
        if line.trim_ascii().is_empty() {
            return match self.sample.open {
                true => self.end_sample(line, frames, sink, tally),
                false => self.pass_on(line, sink),
            };
        }
        if self.sample.open {
            return self.sample_line(line, frames, sink, tally);
        }
        match Header::parse_after(line, &mut self.last) {
            Some(header) => self.open_sample(header, line, frames, sink, tally),
            None => {
                tally.odd(line);
                self.pass_on(line, sink)
            }
        }
    }

    /// A line inside a sample: a frame, the next sample where a listing has no blank lines, or something odd.
    fn sample_line(
        &mut self,
        line: &[u8],
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        let header = || {
            Header::parse(line).filter(|header| header.time.is_some() && !header.event.is_empty())
        };
        // Only what may be a frame is looked up: the cache must not grow with the listing.
        let parts = line::split_address(line).filter(|_| line.trim_ascii_end().ends_with(b")"));
        if let Some((address, tail)) =
            parts.filter(|(word, _)| line::is_address(word) || header().is_none())
        {
            let (id, _) = self.lines.find(tail, frames);
            if let Some(frame) = self.lines.frame(id) {
                self.add_frame((id, frame), address, line, frames);
                return Ok(());
            }
        }
        match header() {
            Some(header) => {
                self.end_sample(b"", frames, sink, tally)?;
                self.open_sample(header, line, frames, sink, tally)
            }
            None => {
                tally.odd(line);
                self.pass_on(line, sink)
            }
        }
    }

    fn open_sample(
        &mut self,
        header: Header<'_>,
        line: &[u8],
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        self.sample.start(&header);
        self.keep_text(line);
        // `cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])`: perf puts the only frame of a sample on its first line.
        if let Some((address, tail)) =
            line::split_address(header.rest).filter(|(word, _)| line::is_address(word))
        {
            let (id, _) = self.lines.find(tail, frames);
            if let Some(frame) = self.lines.frame(id) {
                self.add_frame((id, frame), address, b"", frames);
                self.single += 1;
                return self.end_sample(b"", frames, sink, tally);
            }
        }
        Ok(())
    }

    fn add_frame(
        &mut self,
        (id, mut frame): (u32, FrameId),
        address: &[u8],
        line: &[u8],
        frames: &mut FrameTable,
    ) {
        self.keep_text(line);
        if self.config.addresses || self.config.places {
            let address = line::address(address.trim_ascii_start());
            if self.config.addresses {
                frame = self.with_address(frame, address, frames);
            }
            if self.config.places {
                self.sample.places.push(Place { address, offset: self.lines.offset(id) });
            }
        }
        self.sample.stack.push(frame);
    }

    /// An unknown frame is another at each address.
    fn with_address(&mut self, frame: FrameId, address: u64, frames: &mut FrameTable) -> FrameId {
        if frames.symbol(frame) != "[unknown]" {
            return frame;
        }
        *self.addressed.entry((frame, address)).or_insert_with(|| {
            let Frame { symbol, module, kind, .. } = frames.get(frame);
            let (symbol, module) = (symbol.to_owned(), module.to_owned());
            let (symbol, module) = (symbol.as_bstr(), module.as_bstr());
            frames.intern(Frame { symbol, module, kind, address: Some(address) })
        })
    }

    fn end_sample(
        &mut self,
        line: &[u8],
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        if !self.sample.open {
            return Ok(());
        }
        self.keep_text(line);
        self.sample.open = false;
        let sample = self.sample.lend();
        tally.read += Count::one(sample.weight());
        sink.sample(frames, &sample)
    }

    fn keep_text(&mut self, line: &[u8]) {
        if self.config.text {
            self.sample.text.extend_from_slice(line);
        }
    }

    /// Text that is no sample; inside a sample it is part of the sample's text.
    fn pass_on(&mut self, line: &[u8], sink: &mut (impl SampleSink + ?Sized)) -> Result<()> {
        match (self.config.text, self.sample.open) {
            (true, true) => self.keep_text(line),
            (true, false) => sink.text(line)?,
            (false, _) => {}
        }
        Ok(())
    }
}

/// Where perf's address column ends: a tab and `%16lx`.
const ADDRESS_END: usize = 17;

/// So few bytes of lines are read faster than looked for.
const SHORT: usize = 200;

/// Whether `line` starts as perf prints frames: a tab, blanks, up to 16 bytes without a blank, a blank.
#[inline]
fn has_plain_address(line: &[u8]) -> bool {
    let Some((&[b'\t', ref column @ ..], rest)) = line.split_first_chunk::<ADDRESS_END>() else {
        return false;
    };
    if rest.first() != Some(&b' ') {
        return false;
    }
    const ONES: u128 = u128::from_le_bytes([1; 16]);
    let bytes = u128::from_le_bytes(*column);
    let blanks = (bytes ^ (ONES * b' ' as u128)).trailing_zeros() & !7;
    if blanks >= 128 {
        return false;
    }
    // The leading blanks become digits, then no byte may be below `!` or above ASCII.
    let word = bytes | (((1u128 << blanks) - 1) & (ONES * 0x10));
    let high = ONES * 0x80;
    (word.wrapping_sub(ONES * 0x21) & !word & high) | (word & high) == 0
}
