//! Reads a recording from its first record to its last.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::UNIX_EPOCH;

use super::attr::Attr;
use super::event::{Event, Events};
use super::feature::Features;
use super::head::Head;
use super::header::{self, FILE_SIZE, Header, PIPE_SIZE};
use super::id::SampleId;
use super::order::Location;
use super::record::Record;
use super::session::Session;
use super::source::{Next, Source, fill};
use super::window::Window;
use crate::error::{Error, Result};
use crate::mapped::Bytes;
use crate::tally::Tally;

/// A recording that is being read.
pub struct Reader {
    name: String,
    /// When the file was last written, in nanoseconds since 1970.
    written: Option<u64>,
    source: Source,
    session: Session,
    /// The record that was lent last.
    current: Location,
    ended: bool,
    progress: Arc<Progress>,
}

/// How far a reader has come, for a thread that shows it.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    whole: AtomicU64,
}

impl Progress {
    /// How many bytes were read, of how many; `None` if the total is unknown, as it is for a
    /// stream.
    pub(crate) fn get(&self) -> Option<(u64, u64)> {
        let read = self.read.load(Relaxed);
        let whole = self.whole.load(Relaxed);
        (whole > 0).then_some((read.min(whole), whole))
    }

    fn set(&self, read: usize, whole: usize) {
        self.read.store(read as u64, Relaxed);
        self.whole.store(whole as u64, Relaxed);
    }
}

/// A record of the kernel, or one that perf made in the kernel's layout.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The content.
    pub record: Record<'a>,
    /// Its thread, time and CPU.
    pub id: SampleId,
    /// The event it belongs to; every sample has one.
    pub event: Option<&'a Event>,
    /// Its type, its length, and the mode of the CPU.
    pub head: Head,
    /// The record's bytes in the recording, including its head.
    pub bytes: &'a [u8],
    events: &'a Events,
}

impl<'a> Item<'a> {
    /// The event with this id, such as another member of the event's group.
    pub(crate) fn event_of(&self, id: u64) -> Option<&'a Event> {
        self.events.index_of(id).and_then(|at| self.events.list().get(at))
    }
}

impl Reader {
    /// Opens a file, and maps it if the system can do that. `name` is for messages.
    ///
    /// # Errors
    /// The file cannot be read, is empty, has another format, or has a broken header.
    pub fn open(file: &File, name: &str) -> Result<Reader> {
        let doing = || format!("cannot read {name}");
        let metadata = file.metadata();
        if metadata.as_ref().is_ok_and(|kind| !kind.is_file()) {
            return Reader::stream(Box::new(file.try_clone().map_err(Error::io(doing))?), name);
        }
        let mut reader = Reader::whole(Bytes::of_recording(file).map_err(Error::io(doing))?, name)?;
        let written = metadata.and_then(|metadata| metadata.modified()).ok();
        let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        reader.written = written.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(reader)
    }

    /// Reads a recording that is in memory.
    ///
    /// # Errors
    /// The recording is empty, has another format, or has a broken header.
    pub fn bytes(bytes: Vec<u8>, name: &str) -> Result<Reader> {
        Reader::whole(Bytes::Owned(bytes), name)
    }

    /// Reads a stream as it comes, in bounded memory, as `perf record -o -` and fg-record write it.
    ///
    /// A recording in the layout of a file has its names at its end, so it is first copied to a
    /// temporary file.
    ///
    /// # Errors
    /// The stream cannot be read, is empty, has another format, or has a broken header.
    pub fn stream(mut input: Box<dyn Read + Send>, name: &str) -> Result<Reader> {
        let doing = || format!("cannot read {name}");
        let mut window = Window::new();
        while window.bytes().len() < PIPE_SIZE as usize {
            if !fill(&mut input, &mut window).map_err(Error::io(doing))? {
                break;
            }
        }
        match Header::parse(window.bytes(), name) {
            Ok(Header::Pipe(endian)) => {
                window.take(PIPE_SIZE as usize);
                let source = Source::Stream { input, window };
                Ok(Reader::new(name, source, Session::new(endian)))
            }
            Err(error @ Error::NeedsPerf { .. }) => Err(error),
            Err(error) if !header::sniff(window.bytes()) => Err(error),
            _ => {
                let mut spool = || -> io::Result<Bytes> {
                    let mut file = tempfile::tempfile()?;
                    file.write_all(window.bytes())?;
                    io::copy(&mut input, &mut file)?;
                    file.rewind()?;
                    Bytes::of_recording(&file)
                };
                let doing = || format!("cannot copy {name} to a temporary file");
                Reader::whole(spool().map_err(Error::io(doing))?, name)
            }
        }
    }

    fn whole(bytes: Bytes, name: &str) -> Result<Reader> {
        let header = Header::parse(bytes.get(..FILE_SIZE as usize).unwrap_or(&bytes), name)?;
        let mut session = Session::new(header.endian());
        let (at, end) = match &header {
            Header::Pipe(_) => (PIPE_SIZE, u64::MAX),
            Header::File(file) => {
                session.begin_file(file, &bytes);
                let killed = file.data.size == 0;
                (file.data.offset, if killed { u64::MAX } else { file.data.end() })
            }
        };
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let at = clamp(at);
        let end = clamp(end);
        Ok(Reader::new(name, Source::Whole { bytes, at, end }, session))
    }

    fn new(name: &str, source: Source, session: Session) -> Reader {
        Reader {
            name: name.into(),
            written: None,
            source,
            session,
            current: Location::Whole(0),
            ended: false,
            progress: Arc::default(),
        }
    }

    /// The next record, in order of time; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read. A broken recording is not an error; it leads to
    /// [`warnings`](Reader::warnings).
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>> {
        self.current = loop {
            if let Some(place) = self.session.order.pop() {
                break place;
            }
            if self.ended {
                return Ok(None);
            }
            self.advance().map_err(Error::io(|| format!("cannot read {}", self.name)))?;
        };
        let bytes = match (&self.current, &self.source) {
            (Location::Owned(bytes), _) => bytes,
            (Location::Whole(at), Source::Whole { bytes, end, .. }) => {
                bytes.get(*at..*end).unwrap_or_default()
            }
            _ => &[],
        };
        if Head::parse(bytes, self.session.endian).is_none() {
            // It was a record when it was put in order.
            self.session.cut("somebody has changed the file meanwhile");
        }
        Ok(self.session.item(bytes))
    }

    /// Reads until a record is ready to go out.
    fn advance(&mut self) -> io::Result<()> {
        while !self.ended && !self.session.order.is_ready() {
            if let Source::Whole { at, end, .. } = &self.source {
                self.progress.set(*at, *end);
            }
            match self.source.next(self.session.endian)? {
                Next::Record(bytes, at) => {
                    let payload = self.session.admit(bytes, at);
                    if payload > 0 && !self.source.skip(payload)? {
                        self.session.cut("it ends in the middle of a record");
                    }
                    continue;
                }
                Next::End => {}
                Next::Cut => self.session.cut("it ends in the middle of a record"),
                Next::Broken => self.session.cut("it is broken in the middle"),
            }
            self.session.end();
            self.ended = true;
        }
        Ok(())
    }

    /// The events that are known so far: all of a file, or those of a stream that it has announced.
    pub fn events(&self) -> &[Event] {
        self.session.events.list()
    }

    /// Reports to `progress` from now on.
    pub(crate) fn tell(&mut self, progress: Arc<Progress>) {
        self.progress = progress;
    }

    /// When the file was last written, in nanoseconds since 1970. The recording had ended by then.
    pub(crate) fn written(&self) -> Option<u64> {
        self.written
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The features of the recording that are known so far.
    pub fn features(&self) -> &Features {
        &self.session.features
    }

    /// Sentences for the user about the state of the recording, without the input's name.
    pub fn warnings(&self) -> &[String] {
        &self.session.warnings
    }

    /// Adds what the recorder lost, what was odd and what was cut short. The caller counts the
    /// samples itself.
    pub fn tally(&self, tally: &mut Tally) {
        self.session.tally(tally);
    }
}

impl Session {
    /// The record at the start of `bytes`, which [`admit`](Session::admit) could read.
    fn item<'a>(&'a self, bytes: &'a [u8]) -> Option<Item<'a>> {
        let head = Head::parse(bytes, self.endian)?;
        let bytes = bytes.get(..head.size.into())?;
        let event = self.events.of(head, bytes, self.endian);
        let attr = event.map_or_else(Attr::default, |event| event.attr);
        let parsed = Record::parse(bytes, self.endian, &attr);
        let (record, id) = parsed.unwrap_or((Record::Other, SampleId::default()));
        Some(Item { record, id, event, head, bytes, events: &self.events })
    }
}
