//! The sample that is being read, until its last line was.

use bstr::ByteSlice;

use super::header::Header;
use crate::sample::{FrameId, Place, Sample};

/// A sample that owns its words, as its lines may lie in two chunks.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) open: bool,
    /// Its only frame stood on its first line: where it was, or the address that it accessed if
    /// frames follow.
    pub(super) single: bool,
    comm: Vec<u8>,
    event: Vec<u8>,
    numbers: Sample<'static>,
    pub(super) stack: Vec<FrameId>,
    pub(super) places: Vec<Place>,
    /// What of its text lies in chunks before.
    pub(super) text: Vec<u8>,
}

impl Pending {
    /// Begins anew with what `header` tells.
    pub(super) fn start(&mut self, header: &Header<'_>) {
        self.open = true;
        self.single = false;
        self.stack.clear();
        self.places.clear();
        self.text.clear();
        self.comm.clear();
        self.comm.extend_from_slice(header.comm);
        self.event.clear();
        self.event.extend_from_slice(header.event);
        let Header { pid, tid, cpu, time, period, .. } = *header;
        self.numbers = Sample { pid, tid, cpu, time, period, ..Sample::default() };
    }

    /// Whether nothing proves that its first line was one of a sample: it has neither a time, an
    /// event nor a frame.
    pub(super) fn is_doubtful(&self) -> bool {
        self.stack.is_empty() && self.event.is_empty() && self.numbers.time.is_none()
    }

    /// Forgets the frame that stood on its first line: those of its stack follow.
    pub(super) fn drop_single(&mut self) {
        if std::mem::take(&mut self.single) {
            self.stack.drain(..self.stack.len().min(1));
            self.places.drain(..self.places.len().min(1));
        }
    }

    /// As sinks take it; `text` is the end of its text.
    pub(super) fn lend<'a>(&'a mut self, text: &'a [u8]) -> Sample<'a> {
        if !self.text.is_empty() {
            self.text.extend_from_slice(text);
        }
        Sample {
            comm: self.comm.as_bstr(),
            event: self.event.as_bstr(),
            stack: &self.stack,
            places: &self.places,
            text: if self.text.is_empty() { text } else { &self.text },
            ..self.numbers
        }
    }
}
