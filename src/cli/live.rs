//! Recording and drawing at once: samples are folded, and the symbols of their modules loaded, while the workload runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::io::Output;
use super::signals;
use crate::input::{Format, Input};
use crate::output::Target;
use crate::perf_data::Seekable;
use crate::pipeline::{self, Sender};
use crate::record::{self, Destination, Ended, Notice, Recorder, Workload};
use crate::tally::Tally;

/// What became of it.
pub(crate) struct Drawn {
    /// The graphs, not yet committed.
    pub(crate) outputs: Vec<Output>,
    /// That of all stages.
    pub(crate) tally: Tally,
}

/// Records `workload` and draws it into `targets`; the recording is kept in `keep`, if that is named.
///
/// # Errors
/// What went wrong with the recording, or else with the drawing.
pub(crate) fn draw(
    recorder: &dyn Recorder,
    workload: &Workload,
    record: &record::Config,
    mut pipeline: pipeline::Config,
    keep: Option<&Path>,
    targets: Vec<Target<Output>>,
    tell: &mut dyn FnMut(Notice<'_>),
) -> Result<(Ended, crate::error::Result<Drawn>)> {
    let keep = keep.map(Keep::create).transpose()?;
    let (sender, reader) = pipeline::channel();
    // To tell it by its first bytes would take waiting for 64 KB of them.
    pipeline.input.format = Some(Format::PerfData);
    pipeline.input.script.live = true;
    let input = Input::new("the recording", reader);
    std::thread::scope(|scope| {
        let drawing = scope.spawn(move || {
            let (outputs, tally) = pipeline::draw(input, pipeline, targets)?;
            Ok(Drawn { outputs, tally })
        });
        let mut to = Tee { sender, keep };
        let ended = signals::left_to(|| {
            recorder.record(workload, record, Destination::Stream(&mut to), tell)
        })?;
        to.sender.finish();
        to.keep.map(Keep::commit).transpose()?;
        let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((ended, drawn))
    })
}

/// To the drawing, and to the file where the recording is kept.
struct Tee {
    sender: Sender,
    keep: Option<Keep>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(keep) = &mut self.keep {
            keep.write_all(bytes)?;
        }
        self.sender.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.flush()
    }
}

/// Where the recording is kept.
struct Keep {
    output: Output,
    /// The same, if it is a file.
    file: Option<Seekable<File>>,
}

impl Keep {
    fn create(path: &Path) -> Result<Keep> {
        let output = Output::create(Some(path))?;
        let open = |path: &Path| File::options().write(true).open(path);
        let file = output.file().map(open).transpose();
        let file = file.with_context(|| format!("cannot write {}", output.name))?;
        Ok(Keep { output, file: file.map(Seekable::new) })
    }

    fn commit(self) -> Result<()> {
        if let Some(file) = self.file {
            file.finish().with_context(|| format!("cannot write {}", self.output.name))?;
        }
        self.output.commit()
    }
}

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => self.output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.flush(),
            None => self.output.flush(),
        }
    }
}
