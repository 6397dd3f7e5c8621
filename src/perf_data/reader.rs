//! Reading a recording from its first record to its last: the one way in.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::attr::Attr;
use super::bytes::Endian;
use super::event::{Event, Events};
use super::feature::Features;
use super::head::Head;
use super::header::{self, FILE_SIZE, Header, PIPE_SIZE};
use super::id::SampleId;
use super::map::Whole;
use super::order::Place;
use super::progress::Progress;
use super::record::Record;
use super::session::Session;
use super::source::{Source, Step, fill};
use super::window::Window;
use crate::error::{Error, Result};
use crate::tally::Tally;

/// A recording that is being read.
pub struct Reader {
    name: String,
    /// When the file was last written, in nanoseconds since 1970.
    written: Option<u64>,
    source: Source,
    session: Session,
    /// The record that was lent last.
    current: Place,
    ended: bool,
    progress: Arc<Progress>,
}

/// A record of the kernel's (or one that perf made in its likeness), in its place in time.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What it says.
    pub record: Record<'a>,
    /// Whose it is and when it was made.
    pub id: SampleId,
    /// The event it belongs to; every sample has one.
    pub event: Option<&'a Event>,
    /// Its type, its length, and where the CPU was.
    pub head: Head,
    /// The record as it stands in the recording, head included: to be passed on.
    pub bytes: &'a [u8],
    events: &'a Events,
}

impl<'a> Item<'a> {
    /// The event with this id, as the members of a group have.
    pub fn event_of(&self, id: u64) -> Option<&'a Event> {
        self.events.index_of(id).and_then(|at| self.events.list().get(at))
    }
}

impl Reader {
    /// Reads a file: it is mapped where the system can, otherwise read. `name` is for messages.
    ///
    /// # Errors
    /// It cannot be read; it is empty, of another format, or its header is broken.
    pub fn open(file: &File, name: &str) -> Result<Reader> {
        let doing = || format!("cannot read {name}");
        let metadata = file.metadata();
        if metadata.as_ref().is_ok_and(|kind| !kind.is_file()) {
            return Reader::stream(Box::new(file.try_clone().map_err(Error::io(doing))?), name);
        }
        let mut reader = Reader::whole(Whole::new(file).map_err(Error::io(doing))?, name)?;
        let written = metadata.and_then(|metadata| metadata.modified()).ok();
        let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        reader.written = written.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(reader)
    }

    /// Reads a recording that is in memory.
    ///
    /// # Errors
    /// It is empty, of another format, or its header is broken.
    pub fn bytes(bytes: Vec<u8>, name: &str) -> Result<Reader> {
        Reader::whole(Whole::Read(bytes), name)
    }

    /// Reads a stream as it comes, in bounded memory: what `perf record -o -` and fg-record write.
    ///
    /// A recording in the layout of a file has its names at its end; such a one goes through a temporary file.
    ///
    /// # Errors
    /// It cannot be read; it is empty, of another format, or its header is broken.
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
            Err(error @ Error::Unsupported { .. }) => Err(error),
            Err(error) if !header::sniff(window.bytes()) => Err(error),
            _ => {
                let mut spool = || -> io::Result<Whole> {
                    let mut file = tempfile::tempfile()?;
                    file.write_all(window.bytes())?;
                    io::copy(&mut input, &mut file)?;
                    file.rewind()?;
                    Whole::new(&file)
                };
                let doing = || format!("cannot copy {name} to a temporary file");
                Reader::whole(spool().map_err(Error::io(doing))?, name)
            }
        }
    }

    fn whole(bytes: Whole, name: &str) -> Result<Reader> {
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
        let (at, end) = (clamp(at), clamp(end));
        Ok(Reader::new(name, Source::Whole { bytes, at, end }, session))
    }

    fn new(name: &str, source: Source, session: Session) -> Reader {
        Reader {
            name: name.into(),
            written: None,
            source,
            session,
            current: Place::Whole(0),
            ended: false,
            progress: Arc::default(),
        }
    }

    /// The next record, in order of time; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read. What is broken in the recording is no error: see [`warnings`](Reader::warnings).
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
            (Place::Owned(bytes), _) => bytes,
            (Place::Whole(at), Source::Whole { bytes, end, .. }) => {
                bytes.get(*at..*end).unwrap_or_default()
            }
            _ => &[],
        };
        Ok(self.session.item(bytes))
    }

    /// Reads on until a record is ready to go out.
    fn advance(&mut self) -> io::Result<()> {
        while !self.ended && !self.session.order.is_ready() {
            if let Source::Whole { at, end, .. } = &self.source {
                self.progress.set(*at, *end);
            }
            match self.source.next(self.session.endian)? {
                Step::Record(bytes, at) => {
                    let payload = self.session.admit(bytes, at);
                    if payload > 0 && !self.source.skip(payload)? {
                        self.session.cut("it ends in the middle of a record");
                    }
                    continue;
                }
                Step::End => {}
                Step::Cut => self.session.cut("it ends in the middle of a record"),
                Step::Broken => self.session.cut("it is broken in the middle"),
            }
            self.session.end();
            self.ended = true;
        }
        Ok(())
    }

    /// The events that are known so far: of a file all, of a stream those whose records have come.
    pub fn events(&self) -> &[Event] {
        self.session.events.list()
    }

    /// The byte order, for those who read [`Item::bytes`].
    pub fn endian(&self) -> Endian {
        self.session.endian
    }

    /// Tells `progress` from now on how far it has come.
    pub fn tell(&mut self, progress: Arc<Progress>) {
        self.progress = progress;
    }

    /// When the recording had ended at the latest, in nanoseconds since 1970: when its file was
    /// written last.
    pub fn written(&self) -> Option<u64> {
        self.written
    }

    /// What the input is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the recording says about itself, as far as it is known so far.
    pub fn features(&self) -> &Features {
        &self.session.features
    }

    /// What the user should know about the state of the recording, as sentences without the input's name.
    pub fn warnings(&self) -> &[String] {
        &self.session.warnings
    }

    /// Adds what was lost by the recorder, what was odd and what was cut short. How much was read is not added:
    /// that is for whoever makes samples of the records.
    pub fn tally(&self, tally: &mut Tally) {
        self.session.tally(tally);
    }
}

impl Session {
    /// The record at the start of `bytes`, which [`admit`](Session::admit) found readable.
    fn item<'a>(&'a self, bytes: &'a [u8]) -> Option<Item<'a>> {
        let head = Head::parse(bytes, self.endian)?;
        let bytes = bytes.get(..head.size.into())?;
        let event = self.events.of(head, bytes, self.endian);
        let attr = event.map_or_else(Attr::default, |event| event.attr);
        let parsed = Record::parse(bytes, self.endian, &attr);
        let unread = || (Record::Other { kind: head.kind, body: bytes }, SampleId::default());
        let (record, id) = parsed.unwrap_or_else(unread);
        Some(Item { record, id, event, head, bytes, events: &self.events })
    }
}
