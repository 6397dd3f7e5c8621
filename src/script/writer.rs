//! Writes samples as perf-script text, with the default fields of `perf script`.

use std::io::Write;

use crate::error::{Error, Result};
use crate::sample::{FrameTable, Kind, Place, Sample, SampleSink};
use crate::tally::Tally;

/// Writes perf-script text. A sample that still has its original text is written unchanged.
pub struct Writer<W> {
    out: W,
    output: String,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which errors call `output`.
    pub fn new(out: W, output: impl Into<String>) -> Self {
        Writer { out, output: output.into(), buffer: Vec::new() }
    }

    /// The inner writer.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}

impl<W: Write> SampleSink for Writer<W> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        if !sample.text.is_empty() {
            return self.write(sample.text);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        format(&mut buffer, frames, sample);
        let done = self.write(&buffer);
        self.buffer = buffer;
        done
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.write(text)
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        self.out.flush().map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}

/// Appends `sample` as text, including the blank line: `python3 14854/14855 [001] 1526.501428:
/// 500000 cpu-clock:ppp: ` and a line for each frame, with the columns of perf 6.1. Frames without
/// a place get address 0 and no offset.
fn format(out: &mut Vec<u8>, frames: &FrameTable, sample: &Sample<'_>) {
    out.extend_from_slice(sample.comm);
    // Writing to a Vec cannot fail.
    let _ = match (sample.pid, sample.tid) {
        (Some(pid), Some(tid)) => write!(out, " {pid:>5}/{tid:<5}"),
        (Some(pid), None) => write!(out, " {pid:>5}/-1"),
        (None, Some(tid)) => write!(out, " {tid:>5}"),
        (None, None) => write!(out, "    -1"),
    };
    if let Some(cpu) = sample.cpu {
        let _ = write!(out, " [{cpu:03}]");
    }
    if let Some(time) = sample.time {
        let seconds = time / 1_000_000_000;
        let nanos = time % 1_000_000_000;
        let _ = match nanos % 1000 {
            0 => write!(out, " {seconds:>5}.{:06}: ", nanos / 1000),
            _ => write!(out, " {seconds:>5}.{nanos:09}: "),
        };
    }
    if let Some(period) = sample.period {
        let _ = write!(out, "{period:>10} ");
    }
    if !sample.event.is_empty() {
        if out.last() != Some(&b' ') {
            out.push(b' ');
        }
        out.extend_from_slice(sample.event);
        out.extend_from_slice(b": ");
    }
    out.push(b'\n');
    for (i, &id) in sample.stack.iter().enumerate() {
        let frame = frames.get(id);
        let place = sample
            .places
            .get(i)
            .copied()
            .unwrap_or(Place { address: frame.address.unwrap_or(0), offset: None });
        let _ = write!(out, "\t{:>16x} ", place.address);
        out.extend_from_slice(frame.symbol);
        if let Some(offset) = place.offset {
            let _ = write!(out, "+0x{offset:x}");
        }
        let module: &[u8] = if frame.kind == Kind::Inlined { b"inlined" } else { frame.module };
        out.extend_from_slice(b" (");
        out.extend_from_slice(module);
        out.extend_from_slice(b")\n");
    }
    out.push(b'\n');
}
