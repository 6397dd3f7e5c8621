//! The state of a reader, and how it handles each record: it learns from it, queues it or skips it.

use super::attr::Attr;
use super::bytes::{Cursor, Endian};
use super::compressed::Inflate;
use super::describe;
use super::event::Events;
use super::feature::Features;
use super::head::{Head, kind, misc};
use super::header::{FileHeader, Section};
use super::id;
use super::order::{Location, Order};
use super::record::Record;
use crate::tally::{Loss, Tally};

/// The state of a reader, without its input.
pub(super) struct Session {
    pub(super) endian: Endian,
    pub(super) events: Events,
    pub(super) features: Features,
    pub(super) order: Order,
    pub(super) warnings: Vec<String>,
    inflate: Option<Inflate>,
    /// The compressed stream is broken.
    deflated: bool,
    /// The recorder said that more would follow.
    goes_on: bool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    /// The sum of the LOST records.
    lost: u64,
    /// The sum of the LOST_SAMPLES records.
    lost_samples: u64,
    odd: Tally,
    cut: bool,
}

impl Session {
    pub(super) fn new(endian: Endian) -> Session {
        Session {
            endian,
            events: Events::default(),
            features: Features::default(),
            order: Order::new(),
            warnings: Vec::new(),
            inflate: None,
            deflated: false,
            goes_on: false,
            counts: Counts::default(),
        }
    }

    /// Reads the attrs and the features of a file.
    pub(super) fn begin_file(&mut self, header: &FileHeader, file: &[u8]) {
        self.features.lines.insert(0, describe::layout(header));
        if self.attrs(header, file).is_none() {
            self.odd("the table of events is broken");
        }
        if header.data.size == 0 {
            self.cut(
                "the recorder was killed: there are records, but not what it writes at its end",
            );
        } else if header.data.end() > file.len() as u64 {
            self.cut("the file is shorter than it says");
        } else if self.feature_table(header, file).is_none() {
            self.odd("the table of features is broken");
        }
    }

    fn attrs(&mut self, header: &FileHeader, file: &[u8]) -> Option<()> {
        let entries = header.attrs.of(file);
        let size = usize::try_from(header.attr_size).ok().filter(|&size| size > 16)?;
        // All entries of a hostile file may name one section. So together they may not have more
        // ids than the file has words.
        let mut words = file.len() / 8;
        for entry in entries.chunks_exact(size) {
            let (attr, section) = entry.split_at(size - 16);
            let attr = Attr::parse(&mut Cursor::new(attr, self.endian))?;
            let ids = Section::parse(&mut Cursor::new(section, self.endian))?.of(file);
            words = words.checked_sub(ids.len() / 8)?;
            let ids = Cursor::new(ids, self.endian).words(ids.len() as u64 / 8)?;
            self.events.add(attr, ids.iter());
        }
        Some(())
    }

    fn feature_table(&mut self, header: &FileHeader, file: &[u8]) -> Option<()> {
        let table = Section { offset: header.data.end(), size: u64::MAX }.of(file);
        let mut table = Cursor::new(table, self.endian);
        let set = |bit: &u64| header.features[*bit as usize / 64] >> (bit % 64) & 1 == 1;
        let mut whole = Some(());
        for feature in (0..256).filter(set) {
            let section = Section::parse(&mut table)?.of(file);
            let cursor = Cursor::new(section, self.endian);
            whole = self.features.read(feature, cursor, &mut self.events).and(whole);
        }
        whole
    }

    /// Handles one record, which starts `at` this byte of a whole file. Returns how many bytes of
    /// payload follow it.
    pub(super) fn admit(&mut self, bytes: &[u8], at: Option<usize>) -> u64 {
        let Some(head) = Head::parse(bytes, self.endian) else { return 0 };
        let mut body = Cursor::new(bytes, self.endian);
        let known = match head.kind {
            ..kind::PERF_FIRST => self.of_kernel(head, bytes, at),
            kind::FINISHED_ROUND => {
                self.order.round();
                self.goes_on = head.misc & misc::BIT_13 != 0;
                Some(())
            }
            kind::COMPRESSED | kind::COMPRESSED2 => {
                self.compressed(head, bytes);
                Some(())
            }
            // The sizes of TRACING_DATA and AUXTRACE do not include their payload.
            kind::TRACING_DATA => {
                return body.skip(8).and_then(|()| body.u32()).map_or(0, u64::from);
            }
            kind::AUXTRACE_INFO => {
                self.features.traced = true;
                Some(())
            }
            kind::AUXTRACE => return body.skip(8).and_then(|()| body.u64()).unwrap_or(0),
            kind::HEADER_BUILD_ID => self.features.build_id(bytes, self.endian),
            kind::HEADER_ATTR..=kind::PERF_LAST => {
                body.skip(Head::SIZE as u64).and_then(|()| self.of_header(head.kind, body))
            }
            _ => None,
        };
        if known.is_none() {
            let place = at.map_or(String::new(), |at| format!(" at byte {at}"));
            self.odd(&format!("a record of type {} and {} bytes{place}", head.kind, head.size));
        }
        0
    }

    /// Queues a record of the kernel if it can be read.
    fn of_kernel(&mut self, head: Head, bytes: &[u8], at: Option<usize>) -> Option<()> {
        if !(kind::MMAP..=kind::CALLCHAIN_DEFERRED).contains(&head.kind) {
            return None;
        }
        let unknown = Attr::default();
        let attr = match self.events.of(head, bytes, self.endian) {
            Some(event) => &event.attr,
            None if head.kind == kind::SAMPLE => return None,
            None => &unknown,
        };
        let (record, _) = Record::parse(bytes, self.endian, attr)?;
        match record {
            Record::Lost { count, .. } => self.counts.lost = self.counts.lost.saturating_add(count),
            Record::LostSamples { count, filtered: false } => {
                self.counts.lost_samples = self.counts.lost_samples.saturating_add(count);
            }
            _ => {}
        }
        let time = if head.kind == kind::SAMPLE {
            id::time_of_sample(bytes, self.endian, attr)
        } else {
            id::time_of_other(bytes, self.endian, attr)
        };
        let location = at.map_or_else(|| Location::Owned(bytes.into()), Location::Whole);
        self.order.push(time, location);
        Some(())
    }

    /// Handles a record that takes the place of a file's section in a stream.
    fn of_header(&mut self, kind: u32, mut c: Cursor<'_>) -> Option<()> {
        match kind {
            kind::HEADER_ATTR => {
                let attr = Attr::parse(&mut c)?;
                let ids = c.words(c.rest().len() as u64 / 8)?;
                self.events.add(attr, ids.iter());
            }
            kind::HEADER_EVENT_TYPE => {
                let config = c.u64()?;
                self.events.name_config(config, c.text());
            }
            kind::EVENT_UPDATE => {
                const NAME: u64 = 2;
                let what = c.u64()?;
                let id = c.u64()?;
                if what == NAME {
                    self.events.name(Some(id), None, c.text());
                }
            }
            kind::HEADER_FEATURE => {
                let feature = c.u64()?;
                self.features.read(feature, c, &mut self.events)?;
            }
            // ID_INDEX, THREAD_MAP, STAT, TIME_CONV, FINISHED_INIT: nothing that a profile needs.
            _ => {}
        }
        Some(())
    }

    fn compressed(&mut self, head: Head, bytes: &[u8]) {
        let inflate = self.inflate.take().map_or_else(Inflate::new, Ok);
        let mut inflate = match inflate {
            Ok(inflate) if !self.deflated => inflate,
            _ => return self.odd("a compressed record after a broken one"),
        };
        let mut piece = Cursor::new(bytes, self.endian);
        let piece = piece.skip(Head::SIZE as u64).and_then(|()| match head.kind {
            // It is padded, so the length of the piece comes first.
            kind::COMPRESSED2 => piece.u64().and_then(|size| piece.take(size)),
            _ => Some(piece.rest()),
        });
        let limit = self.features.inflated_limit;
        let fed = match piece {
            Some(piece) => inflate.feed(piece, limit, self.endian, |record| self.inflated(record)),
            None => Err("it is longer than its record".into()),
        };
        match fed {
            Ok(()) => self.inflate = Some(inflate),
            Err(why) => {
                self.deflated = true;
                self.cut(&format!(
                    "a compressed record cannot be read, nor can those after it: {why}"
                ));
            }
        }
    }

    /// Handles a record out of a compressed one, which never holds compressed records or those with
    /// a payload.
    fn inflated(&mut self, record: &[u8]) {
        let kind = Head::parse(record, self.endian).map(|head| head.kind);
        match kind {
            Some(kind::COMPRESSED | kind::COMPRESSED2 | kind::TRACING_DATA | kind::AUXTRACE) => {
                self.odd("a compressed record of a kind that cannot be compressed")
            }
            _ => {
                self.admit(record, None);
            }
        }
    }

    /// Handles the end of the input.
    pub(super) fn end(&mut self) {
        if self.inflate.take().is_some_and(|inflate| !inflate.is_whole()) {
            self.cut("it ends in the middle of a compressed record");
        }
        if self.goes_on && !self.counts.cut {
            self.cut("the recorder did not finish it");
        }
        self.order.end();
        if self.order.late() > 0 {
            let late = self.order.late();
            self.warn(format!("{late} records came too late to be sorted by time"));
        }
    }

    fn odd(&mut self, what: &str) {
        self.counts.odd.odd(what.as_bytes());
    }

    /// Notes that the recording is not whole.
    pub(super) fn cut(&mut self, why: &str) {
        self.counts.cut = true;
        self.warn(format!("{why}; only what comes before is read"));
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < 8 && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Adds what the recorder lost, what was odd and what was cut short.
    pub(super) fn tally(&self, tally: &mut Tally) {
        let counts = &self.counts;
        // Both count the same loss: LOST when a buffer is full, LOST_SAMPLES per event at the end.
        tally.lose(Loss::Lost, counts.lost.max(counts.lost_samples), 0);
        tally.lose(Loss::CutShort, u64::from(counts.cut), 0);
        tally.absorb(counts.odd.clone());
    }
}
