//! Profiles with times beside the graphs: they take the samples themselves, and the stacks that
//! were folded before.

use std::io::Write;

use crate::error::Result;
use crate::export::Export;
use crate::fold::{self, Stage};
use crate::folded::{Folded, FoldedSink, Moment};
use crate::output::{Format, Target};
use crate::sample::{FrameId, FrameTable, Sample, SampleSink};
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
        SampleSink::finish(&mut self.stage, frames, tally)?;
        for export in self.exports.iter_mut() {
            SampleSink::finish(export, frames, &mut before.clone())?;
        }
        Ok(())
    }
}

/// Stacks that were folded before go past the stage.
impl<S: Stage, W: Write> FoldedSink for Beside<'_, S, W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        for export in self.exports.iter_mut() {
            export.folded(frames, folded)?;
        }
        self.stage.next_mut().folded(frames, folded)
    }

    fn keeps_times(&self) -> bool {
        self.exports.iter().any(FoldedSink::keeps_times)
    }

    fn timed(
        &mut self,
        frames: &mut FrameTable,
        folded: &Folded<'_>,
        moment: &Moment<'_>,
    ) -> Result<()> {
        for export in self.exports.iter_mut() {
            export.timed(frames, folded, moment)?;
        }
        let stack: Vec<FrameId> = moment.root.iter().chain(folded.stack).copied().collect();
        self.stage.next_mut().folded(frames, &folded.with_stack(&stack))
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        for export in self.exports.iter_mut() {
            FoldedSink::text(export, line)?;
        }
        self.stage.next_mut().text(line)
    }

    fn no_unit(&mut self) {
        self.stage.next_mut().no_unit();
    }

    fn distinct(&mut self) {
        self.stage.next_mut().distinct();
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        SampleSink::finish(self, frames, tally)
    }
}

impl<S: Stage, W: Write> Stage for Beside<'_, S, W> {
    type Next = Self;
    type Folded = S::Folded;

    fn next_mut(&mut self) -> &mut Self {
        self
    }

    fn folding(&mut self) -> fold::Config {
        self.stage.folding()
    }
}
