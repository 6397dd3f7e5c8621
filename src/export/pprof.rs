//! Folded stacks → pprof: gzipped protocol buffers.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Names;
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::pprof::{bytes, function, line, location, number, profile, sample, value_type, varint};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Loss, Tally};
use crate::unit::{self, Unit};

/// Writes a profile as pprof does, once it is finished. In a line with two numbers, the first one
/// belongs to the name.
///
/// Memory: the profile before it is packed.
pub struct Pprof<W> {
    out: W,
    output: String,
    names: Names,
    unit: Unit,
    /// The encoded samples.
    samples: Vec<u8>,
    weight: u64,
    fractions: u64,
    /// Room for a sample.
    sample: Vec<u8>,
    locations: Vec<u8>,
    room: Vec<FrameId>,
}

impl<W: Write> Pprof<W> {
    /// Writes to `out`, which errors call `output`.
    pub fn new(out: W, output: impl Into<String>) -> Self {
        Pprof {
            out,
            output: output.into(),
            names: Names::default(),
            unit: Unit::default(),
            samples: Vec::new(),
            weight: 0,
            fractions: 0,
            sample: Vec::new(),
            locations: Vec::new(),
            room: Vec::new(),
        }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// The profile. Location and function N + 1 are the name N, whose string has the number N + 3.
    fn profile(&self) -> Vec<u8> {
        let (kind, unit) = self.value_type();
        let mut all = Vec::new();
        let mut message = Vec::new();
        number(&mut message, value_type::TYPE, 1);
        number(&mut message, value_type::UNIT, 2);
        bytes(&mut all, profile::SAMPLE_TYPE, &message);
        all.extend_from_slice(&self.samples);
        for (id, _) in (1u64..).zip(&self.names.names) {
            let mut its_line = Vec::new();
            number(&mut its_line, line::FUNCTION_ID, id);
            message.clear();
            number(&mut message, location::ID, id);
            bytes(&mut message, location::LINE, &its_line);
            bytes(&mut all, profile::LOCATION, &message);
            message.clear();
            number(&mut message, function::ID, id);
            // Without a system name, the name counts as demangled, and stays as it is.
            number(&mut message, function::NAME, id + 2);
            bytes(&mut all, profile::FUNCTION, &message);
        }
        let names = self.names.names.iter().map(String::as_str);
        for text in ["", &kind, unit].into_iter().chain(names) {
            bytes(&mut all, profile::STRING_TABLE, text.as_bytes());
        }
        all
    }

    /// What values are, and their unit as pprof calls it.
    fn value_type(&self) -> (String, &'static str) {
        match self.unit.known().map(ToString::to_string) {
            None => (unit::SAMPLES.into(), "count"),
            Some(unit) if unit == "ns" => ("cpu".into(), "nanoseconds"),
            Some(unit) if unit == "bytes" => ("space".into(), "bytes"),
            Some(unit) => (unit, "count"),
        }
    }
}

impl<W: Write> FoldedSink for Pprof<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        self.fractions += u64::from(folded.has_fraction());
        let plain = folded.plain(frames, &mut room);
        // pprof's stacks begin at the leaf.
        self.locations.clear();
        for &frame in plain.stack.iter().rev() {
            varint(&mut self.locations, self.names.number(frames, frame) as u64 + 1);
        }
        self.sample.clear();
        bytes(&mut self.sample, sample::LOCATION_ID, &self.locations);
        number(&mut self.sample, sample::VALUE, plain.weight);
        bytes(&mut self.samples, profile::SAMPLE, &self.sample);
        self.weight = self.weight.saturating_add(plain.weight);
        self.room = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    /// # Errors
    /// There are no samples, or more weight than pprof can count.
    fn finish(&mut self, _: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if self.weight == 0 {
            return Err(Error::NoSamples { input: "the profile".into(), why: String::new() });
        }
        if self.weight > i64::MAX as u64 {
            return Err(Error::Overflow { of: "the profile".into(), most: i64::MAX as u64 });
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        tally.lose(Loss::Replaced, self.names.replaced, 0);
        let profile = self.profile();
        let mut packed = GzEncoder::new(&mut self.out, Compression::default());
        let written = packed.write_all(&profile).and_then(|()| packed.finish().map(drop));
        written
            .and_then(|()| self.out.flush())
            .map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}
