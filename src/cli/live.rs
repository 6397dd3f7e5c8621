//! Recording and drawing at once: samples are folded, and the symbols of their modules loaded, while the workload runs.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::io::Output;
use super::signals;
use crate::fold::{Format, source};
use crate::perf_data::seekable;
use crate::pipeline::{self, Sender};
use crate::record::{self, Destination, Ended, Notice, Recorder, Workload};
use crate::tally::Tally;

/// What became of it.
pub struct Drawn {
    /// The graph, not yet committed.
    pub output: Output,
    /// That of all stages.
    pub tally: Tally,
}

/// Records `workload` and draws it into `output`; the recording is kept in `keep`, if that is named.
///
/// # Errors
/// What went wrong with the recording, or else with the drawing.
pub fn draw(
    recorder: &dyn Recorder,
    workload: &Workload,
    record: &record::Config,
    mut pipeline: pipeline::Config,
    keep: Option<&Path>,
    output: Output,
    tell: &mut dyn FnMut(Notice<'_>),
) -> Result<(Ended, crate::error::Result<Drawn>)> {
    let keep = keep.map(|path| Output::create(Some(path))).transpose()?;
    let (sender, reader) = pipeline::channel();
    // To tell it by its first bytes would take waiting for 64 KB of them.
    pipeline.source.format = Some(Format::PerfData);
    pipeline.source.recording.live = true;
    let input = source::Input {
        name: "the recording".into(),
        reader: Box::new(reader),
        path: None,
        progress: Arc::default(),
    };
    std::thread::scope(|scope| {
        let drawing = scope.spawn(move || {
            let name = output.name.clone();
            let (output, tally) = pipeline::draw(input, pipeline, output, &name)?;
            Ok(Drawn { output, tally })
        });
        let mut to = Tee { sender, keep };
        let ended = signals::left_to(|| {
            recorder.record(workload, record, Destination::Stream(&mut to), tell)
        })?;
        to.sender.finish();
        if let Some(mut keep) = to.keep {
            keep.flush()?;
            if let Some(file) = keep.file() {
                seekable::in_place(file).with_context(|| format!("cannot write {}", keep.name))?;
            }
            keep.commit()?;
        }
        let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((ended, drawn))
    })
}

/// To the drawing, and to the file where the recording is kept.
struct Tee {
    sender: Sender,
    keep: Option<Output>,
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
