//! Folded stacks → the JSON of speedscope, whose schema is file-format-schema.json of that project.

use std::io::Write;

use serde_json::json;

use super::Names;
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Loss, Tally};
use crate::unit::Unit;

/// Larger numbers are not exact in JavaScript.
const MOST: u64 = 1 << 53;

/// Writes a profile for speedscope, once it is finished. In a line with two numbers, the first one
/// belongs to the name.
///
/// Memory: the stacks as numbers, 8 bytes for each frame, and the JSON.
pub struct Speedscope<W> {
    out: W,
    output: String,
    title: String,
    names: Names,
    unit: Unit,
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
    weight: u64,
    fractions: u64,
    room: Vec<FrameId>,
}

impl<W: Write> Speedscope<W> {
    /// Writes to `out`, which errors call `output`. Viewers call the profile `title`.
    pub fn new(title: impl Into<String>, out: W, output: impl Into<String>) -> Self {
        Speedscope {
            out,
            output: output.into(),
            title: title.into(),
            names: Names::default(),
            unit: Unit::default(),
            samples: Vec::new(),
            weights: Vec::new(),
            weight: 0,
            fractions: 0,
            room: Vec::new(),
        }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> FoldedSink for Speedscope<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        self.fractions += u64::from(folded.has_fraction());
        let plain = folded.plain(frames, &mut room);
        let stack = plain.stack.iter().map(|&frame| self.names.number(frames, frame));
        self.samples.push(stack.collect());
        self.weights.push(plain.weight);
        self.weight = self.weight.saturating_add(plain.weight);
        self.room = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    /// # Errors
    /// There are no samples, or more weight than JavaScript can count.
    fn finish(&mut self, _: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if self.weight == 0 {
            return Err(Error::NoSamples { input: "the profile".into(), why: String::new() });
        }
        if self.weight > MOST {
            return Err(Error::Overflow { of: "the profile".into(), most: MOST });
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        tally.lose(Loss::Replaced, self.names.replaced, 0);
        let unit = match self.unit.known() {
            Some(unit) if unit == "ns" => "nanoseconds",
            Some(unit) if unit == "bytes" => "bytes",
            _ => "none",
        };
        let frames: Vec<_> = self.names.names.iter().map(|name| json!({ "name": name })).collect();
        let file = json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": concat!("flamepipe ", env!("CARGO_PKG_VERSION")),
            "name": self.title,
            "activeProfileIndex": 0,
            "shared": { "frames": frames },
            "profiles": [{
                "type": "sampled",
                "name": self.title,
                "unit": unit,
                "startValue": 0,
                "endValue": self.weight,
                "samples": self.samples,
                "weights": self.weights,
            }],
        });
        writeln!(self.out, "{file}")
            .and_then(|()| self.out.flush())
            .map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}
