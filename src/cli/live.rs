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
pub(crate) struct Live {
    pub(crate) ended: Ended,
    pub(crate) drawn: crate::error::Result<Drawn>,
    /// Whether the recording was kept, if that was asked for. The graph is complete even if not.
    pub(crate) kept: Result<()>,
}

/// The graphs of a recording.
pub(crate) struct Drawn {
    /// The graphs, not yet committed.
    pub(crate) outputs: Vec<Output>,
    /// That of all stages.
    pub(crate) tally: Tally,
}

/// Records `workload` and draws it into `targets`; the recording is kept in `keep`, if that is given.
///
/// # Errors
/// What went wrong with the recording.
pub(crate) fn draw(
    recorder: &dyn Recorder,
    workload: &Workload,
    record: &record::Config,
    mut pipeline: pipeline::Config,
    keep: Option<Output>,
    targets: Vec<Target<Output>>,
    tell: &mut dyn FnMut(Notice<'_>),
) -> Result<Live> {
    let keep = keep.map(Keep::new).transpose()?;
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
        let kept = to.keep.map_or(Ok(()), Keep::commit);
        let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Live { ended, drawn, kept })
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
            keep.write(bytes);
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
    /// The first failure. Then nothing more is written, but the graph is still drawn.
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
