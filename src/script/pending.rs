//! Collects the lines of the sample that is being read.

use bstr::ByteSlice;

use super::header::Header;
use crate::sample::{FrameId, Place, Sample};

/// A sample that owns its words, because its lines may be in two chunks.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) open: bool,
    /// There is a frame on its first line. If others follow, this one is the address that it
    /// accessed.
    pub(super) single: bool,
    /// [`Header::is_sure`]
    is_sure: bool,
    comm: Vec<u8>,
    event: Vec<u8>,
    numbers: Sample<'static>,
    pub(super) stack: Vec<FrameId>,
    pub(super) places: Vec<Place>,
    /// The part of its text that was in earlier chunks.
    pub(super) text: Vec<u8>,
}

impl Pending {
    /// Begins a sample with this header.
    pub(super) fn start(&mut self, header: &Header<'_>) {
        self.open = true;
        self.single = false;
        self.is_sure = header.is_sure();
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

    /// Whether the first line may not be that of a sample, because nothing proves it.
    pub(super) fn is_doubtful(&self) -> bool {
        self.stack.is_empty() && !self.is_sure
    }

    /// Drops the frame on the first line, because the stack follows.
    pub(super) fn drop_single(&mut self) {
        if std::mem::take(&mut self.single) {
            self.stack.drain(..self.stack.len().min(1));
            self.places.drain(..self.places.len().min(1));
        }
    }

    /// The sample for a sink. `text` is the end of its text.
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
