//! Profiles with times beside the graphs: they take the samples themselves.

use std::io::Write;

use crate::error::Result;
use crate::export::Export;
use crate::fold::{self, Stage};
use crate::output::{Format, Target};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;

/// The targets that take samples, and the other ones. Viewers call the profile `title`.
pub(super) fn split<W: Write>(
    targets: Vec<Target<W>>,
    title: &str,
    config: &fold::Config,
) -> (Vec<Export<W>>, Vec<Target<W>>) {
    let mut exports = Vec::new();
    let mut others = Vec::new();
    for target in targets {
        match target.format {
            Format::Export(format) if format.takes_samples(config) => {
                let export = Export::new(format, title, target.out, target.name);
                let lines = format.has_lines();
                exports.push(export.folding(fold::Config { lines, ..config.clone() }));
            }
            _ => others.push(target),
        }
    }
    (exports, others)
}

/// A stage, and exports that get the same samples. One thread reads, so that they come in order.
pub(super) struct Beside<'a, S, W> {
    pub(super) stage: S,
    pub(super) exports: &'a mut [Export<W>],
}

impl<S: Stage, W: Write> SampleSink for Beside<'_, S, W> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        for export in self.exports.iter_mut() {
            export.sample(frames, sample)?;
        }
        self.stage.sample(frames, sample)
    }

    fn is_watched(&mut self) -> bool {
        self.stage.is_watched()
    }

    fn pause(&mut self, frames: &mut FrameTable) -> Result<()> {
        self.stage.pause(frames)
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        for export in self.exports.iter_mut() {
            SampleSink::text(export, text)?;
        }
        self.stage.text(text)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        // The stage counts the same losses.
        let before = tally.clone();
        self.stage.finish(frames, tally)?;
        for export in self.exports.iter_mut() {
            export.needs_samples()?;
            SampleSink::finish(export, frames, &mut before.clone())?;
        }
        Ok(())
    }
}

impl<S: Stage, W> Stage for Beside<'_, S, W>
where
    Self: SampleSink,
{
    type Next = S::Next;
    type Folded = S::Folded;

    fn next_mut(&mut self) -> &mut S::Next {
        self.stage.next_mut()
    }
}
