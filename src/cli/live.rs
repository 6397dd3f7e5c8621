//! Records and draws at the same time: folds samples and loads the symbols of their modules while
//! the workload runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::io::Output;
use super::signals;
use crate::input::{Format, Input};
use crate::output::Target;
use crate::perf_data::Seekable;
use crate::pipeline::{self, Sender};
use crate::record::{self, Destination, Ended, Notice, Recorder, Workload};
use crate::tally::Tally;
use crate::watch::Watch;

/// The result.
pub(crate) struct Live {
    pub(crate) ended: Ended,
    pub(crate) drawn: crate::error::Result<Drawn>,
    /// Whether the recording was kept, if the user asked for it. The graph is complete even if not.
    pub(crate) kept: Result<()>,
}

/// The graphs of a recording.
pub(crate) struct Drawn {
    /// The graphs, not yet committed.
    pub(crate) outputs: Vec<Output>,
    pub(crate) tally: Tally,
}

/// Where a recording goes.
pub(crate) struct Outputs {
    pub(crate) targets: Vec<Target<Output>>,
    /// The recording itself, if it is kept.
    pub(crate) keep: Option<Output>,
    /// What shows it while it goes on.
    pub(crate) watch: Option<Arc<Watch>>,
}

/// Records `workload` and draws it.
///
/// # Errors
/// The recording failed.
pub(crate) fn draw(
    recorder: &dyn Recorder,
    workload: &Workload,
    record: &record::Config,
    mut pipeline: pipeline::Config,
    to: Outputs,
    tell: &mut dyn FnMut(Notice<'_>),
) -> Result<Live> {
    let Outputs { targets, keep, watch } = to;
    let keep = keep.map(Keep::new).transpose()?;
    let (sender, reader) = pipeline::channel();
    // Recognising the format would mean to wait for 64 KB.
    pipeline.input.format = Some(Format::PerfData);
    pipeline.input.script.live = true;
    let input = Input::new("the recording", reader);
    std::thread::scope(|scope| {
        let drawing = std::thread::Builder::new().spawn_scoped(scope, move || {
            let (outputs, tally) = pipeline::draw_watched(input, pipeline, targets, watch)?;
            Ok(Drawn { outputs, tally })
        });
        let drawing = drawing.context("cannot start a thread")?;
        let mut to = Tee { sender, keep };
        let ended = signals::left_to(|| {
            recorder.record(workload, record, Destination::Stream(&mut to), tell)
        })?;
        to.sender.finish();
        let kept = to.keep.map_or(Ok(()), Keep::commit);
        let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Live { ended, drawn, kept })
    })
}

/// Writes to the drawing, and to the file that keeps the recording.
struct Tee {
    sender: Sender,
    keep: Option<Keep>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(keep) = &mut self.keep {
            keep.write(bytes);
        }
        self.sender.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.flush()
    }
}

/// The output that keeps the recording.
struct Keep {
    output: Output,
    /// The same output, if it is a file.
    file: Option<Seekable<File>>,
    /// The first failure. After it, nothing more is written, but the graph is still drawn.
    failed: Option<io::Error>,
}

impl Keep {
    fn new(output: Output) -> Result<Keep> {
        let open = |path: &Path| File::options().write(true).open(path);
        let file = output.file().map(open).transpose();
        let file = file.with_context(|| format!("cannot write {}", output.name))?;
        Ok(Keep { output, file: file.map(Seekable::new), failed: None })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            let written = match &mut self.file {
                Some(file) => file.write_all(bytes),
                None => self.output.write_all(bytes),
            };
            self.failed = written.err();
        }
    }

    fn commit(self) -> Result<()> {
        let Keep { output, file, failed } = self;
        let name = output.name.clone();
        let written = failed.map_or(Ok(()), Err);
        let finished = written.and_then(|()| file.map_or(Ok(()), |file| file.finish().map(drop)));
        finished.with_context(|| format!("cannot write {name}"))?;
        output.commit()
    }
}
