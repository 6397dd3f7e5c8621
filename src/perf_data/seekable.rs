//! Turns a stream into a perf.data file while it is written, for readers that do not know streams.
//!
//! `header.rs` shows the layout. The records go to the file as they come. A stream has records for
//! its events, features and build ids; these become sections at the end of the file. At each flush
//! the header says how far the records go, so a killed recorder leaves a readable file too, which
//! perf does not.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

use super::head::kind;
use super::header::number;
use super::header::{FILE_SIZE, PIPE_SIZE};

/// A writer that takes a stream and writes a file.
pub struct Seekable<W> {
    out: W,
    /// The start of a record whose rest has not come yet.
    begun: Vec<u8>,
    /// The stream's own header was read.
    is_stream: bool,
    events: Vec<Event>,
    features: BTreeMap<u64, Vec<u8>>,
    attrs: Option<Attrs>,
    /// Where the records in the file end.
    end: u64,
    /// Two earlier ends of records, at least [`SPARE`] bytes apart. The first is where the end
    /// moves back to if the disk is full.
    before: [u64; 2],
    /// A write failed, so every later one fails too.
    failed: Option<io::ErrorKind>,
}

/// An event that the stream announced.
struct Event {
    attr: Vec<u8>,
    ids: Vec<u8>,
    name: Vec<u8>,
}

/// Where the attrs are, and the size of one entry: an attr and the section of its ids.
#[derive(Clone, Copy)]
struct Attrs {
    start: u64,
    size: u64,
    each: u64,
}

/// How many bytes of records are dropped if the disk is too full for the sections at the end.
const SPARE: u64 = 16 << 10;

impl<W: Write + Seek> Seekable<W> {
    /// Writes to `out`, which is empty. The input must be a stream of
    /// [`Writer`](super::write::Writer).
    pub fn new(out: W) -> Seekable<W> {
        Seekable {
            out,
            begun: Vec::new(),
            is_stream: false,
            events: Vec::new(),
            features: BTreeMap::new(),
            attrs: None,
            end: 0,
            before: [0; 2],
            failed: None,
        }
    }

    /// Completes the file with all whole records, even if a write failed before. The file stays
    /// empty if nothing was written. Returns the writer, positioned at its end.
    ///
    /// # Errors
    /// A write fails. The file is then as it was at the last flush.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.is_stream {
            return Ok(self.out);
        }
        let attrs = self.place_attrs()?;
        self.features.insert(number::EVENT_DESC, describe(&self.events));
        if let Err(error) = self.write_features() {
            if self.before[0] == 0 {
                return Err(error);
            }
            self.end = self.before[0];
            self.write_features()?;
        }
        let mut bits = [0; 4];
        for feature in self.features.keys() {
            if let Some(word) = bits.get_mut((feature / 64) as usize) {
                *word |= 1 << (feature % 64);
            }
        }
        self.write_header(attrs, self.end, bits)?;
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Keeps a record that becomes a section. `false` for any other record.
    fn take(&mut self, record: &[u8]) -> bool {
        let body = record.get(8..).unwrap_or_default();
        match record.first_chunk().map(|word| u32::from_ne_bytes(*word)) {
            Some(kind::HEADER_ATTR) => self.events.push(event(body)),
            Some(kind::EVENT_UPDATE) => {
                let parts = body.get(8..).and_then(|rest| rest.split_at_checked(8));
                let Some((id, name)) = parts else { return true };
                let of = |event: &&mut Event| event.ids.chunks(8).any(|known| known == id);
                if let Some(event) = self.events.iter_mut().find(of) {
                    event.name = name.to_vec();
                }
            }
            Some(kind::HEADER_FEATURE) => {
                if let Some((&feature, content)) = body.split_first_chunk() {
                    self.features.insert(u64::from_ne_bytes(feature), content.to_vec());
                }
            }
            Some(kind::HEADER_BUILD_ID) => {
                self.features.entry(number::BUILD_ID).or_default().extend_from_slice(record);
            }
            _ => return false,
        }
        true
    }

    /// Writes whole `records`.
    fn put(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.place_attrs()?;
        let start = self.end;
        let written = self.out.write_all(records);
        // If the disk is full, some of them may still have been written.
        let room = match &written {
            Ok(()) => records.len() as u64,
            Err(_) => self.out.stream_position()?.saturating_sub(start),
        };
        let mut rest = records;
        while let Some((record, behind)) = first(rest)
            && self.end + record.len() as u64 <= start + room
        {
            rest = behind;
            self.end += record.len() as u64;
            if self.end - self.before[1] >= SPARE {
                self.before = [self.before[1], self.end];
            }
        }
        self.failed = written.as_ref().err().map(io::Error::kind);
        written
    }

    /// Where the attrs are. The first call writes them, after a header that does not know yet where
    /// the records end.
    fn place_attrs(&mut self) -> io::Result<Attrs> {
        if let Some(attrs) = self.attrs {
            return Ok(attrs);
        }
        let each = self.events.first().map_or(0, |event| event.attr.len() as u64 + 16);
        let ids: u64 = self.events.iter().map(|event| event.ids.len() as u64).sum();
        let start = FILE_SIZE + ids;
        let size = each * self.events.len() as u64;
        let attrs = Attrs { start, size, each };
        self.write_header(attrs, start + size, [0; 4])?;
        self.events.iter().try_for_each(|event| self.out.write_all(&event.ids))?;
        let mut ids = FILE_SIZE;
        for event in &self.events {
            self.out.write_all(&event.attr)?;
            self.out.write_all(&words(&[ids, event.ids.len() as u64]))?;
            ids += event.ids.len() as u64;
        }
        self.attrs = Some(attrs);
        self.end = start + size;
        self.before = [0, self.end];
        Ok(attrs)
    }

    /// Writes the header, with records up to `end`.
    fn write_header(&mut self, attrs: Attrs, end: u64, features: [u64; 4]) -> io::Result<()> {
        let start = attrs.start + attrs.size;
        let magic = super::write::MAGIC;
        let parts =
            [magic, FILE_SIZE, attrs.each, attrs.start, attrs.size, start, end - start, 0, 0];
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&[words(&parts), words(&features)].concat())
    }

    /// Writes the table of the features behind the records, and then the features.
    fn write_features(&mut self) -> io::Result<()> {
        let mut table = Vec::new();
        let mut contents = Vec::new();
        let start = self.end + 16 * self.features.len() as u64;
        for content in self.features.values() {
            table.extend(words(&[start + contents.len() as u64, content.len() as u64]));
            contents.extend_from_slice(content);
        }
        self.out.seek(SeekFrom::Start(self.end))?;
        self.out.write_all(&[table, contents].concat())
    }
}

impl<W: Write + Seek> Write for Seekable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut rest = &all[..];
        if !self.is_stream {
            let Some((start, behind)) = rest.split_at_checked(PIPE_SIZE as usize) else {
                self.begun = all;
                return Ok(bytes.len());
            };
            if start != words(&[super::write::MAGIC, PIPE_SIZE]) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a stream of ours"));
            }
            self.is_stream = true;
            rest = behind;
        }
        // Adjacent records are written together.
        let mut run = rest;
        while let Some((record, behind)) = first(rest) {
            if record.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a record without a size"));
            }
            if self.take(record) {
                self.put(&run[..run.len() - rest.len()])?;
                run = behind;
            }
            rest = behind;
        }
        self.put(&run[..run.len() - rest.len()])?;
        self.begun = rest.to_vec();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(attrs) = self.attrs.filter(|_| self.failed.is_none()) {
            self.write_header(attrs, self.end, [0; 4])?;
            self.out.seek(SeekFrom::Start(self.end))?;
        }
        self.out.flush()
    }
}

/// The first record of `bytes` and the rest. `None` if the record is not whole; an empty record if
/// its size is impossible.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[.., low, high] = bytes.first_chunk::<8>()?;
    let size = u16::from_ne_bytes([low, high]).into();
    bytes.split_at_checked(if size < 8 { 0 } else { size })
}

/// Splits a `perf_event_attr`, whose second word is its size, from the ids behind it.
fn event(body: &[u8]) -> Event {
    let size = body
        .get(4..8)
        .and_then(|word| word.first_chunk())
        .map_or(0, |word| u32::from_ne_bytes(*word));
    let (attr, ids) = body.split_at_checked(size as usize).unwrap_or((body, b""));
    Event { attr: attr.to_vec(), ids: ids.to_vec(), name: Vec::new() }
}

/// The feature that names the events.
fn describe(events: &[Event]) -> Vec<u8> {
    let number = |value: usize| (value as u32).to_ne_bytes();
    let size = events.first().map_or(0, |event| event.attr.len());
    let mut all = [number(events.len()), number(size)].concat();
    for Event { attr, ids, name } in events {
        all.extend_from_slice(attr);
        all.extend_from_slice(&number(ids.len() / 8));
        all.extend_from_slice(&number(name.len()));
        all.extend_from_slice(name);
        all.extend_from_slice(ids);
    }
    all
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
