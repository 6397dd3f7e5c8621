//! Reads perf.data into samples, natively or with the perf program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::Input;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::parallel;
use crate::perf_data;
use crate::sample::{FrameTable, SampleSink};
use crate::script::{Config, Reader, native, perf};
use crate::tally::Tally;

/// Reads `recording` to its end and pushes its samples into `sink`. It does not finish the sink.
///
/// If the native backend cannot read the recording, perf does, with a warning. Of a stream only the
/// first bytes can decide that, because nothing of it is kept. Memory: see [`native::script`] and
/// [`perf::script`].
pub(crate) fn read(
    config: &Config,
    recording: Input,
    frames: &mut FrameTable,
    sink: &mut dyn SampleSink,
    tally: &mut Tally,
) -> Result<()> {
    parallel::start(0);
    if config.backend == Backend::Perf {
        return by_perf(config, recording, frames, sink, tally);
    }
    let Input { name, mut reader, path, progress } = recording;
    let Some(path) = path else {
        let mut start = Vec::new();
        let reading = || format!("cannot read {name}");
        (&mut reader).take(8).read_to_end(&mut start).map_err(Error::io(reading))?;
        let is_old = perf_data::is_old(&start);
        let reader = Box::new(io::Cursor::new(start).chain(reader));
        if is_old {
            log::warn!("{name} has the format from before Linux 3.3; reading it with perf script");
            let recording = Input { name, reader, path: None, progress };
            return by_perf(config, recording, frames, sink, tally);
        }
        let reader = perf_data::Reader::stream(reader, &name)?;
        return by_us(config, reader, frames, sink, tally);
    };
    let mut ours = Tally::default();
    let done = open(&path, &name).and_then(|mut reader| {
        reader.tell(Arc::clone(&progress));
        by_us(config, reader, frames, sink, &mut ours)
    });
    match done {
        Err(Error::NeedsPerf { what, .. }) => {
            log::warn!("{what}; reading it with perf script");
            let recording = Input { name, reader, path: Some(path), progress };
            by_perf(config, recording, frames, sink, tally)
        }
        done => {
            tally.absorb(ours);
            done
        }
    }
}

fn open(path: &Path, name: &str) -> Result<perf_data::Reader> {
    if path.is_dir() {
        return Err(Error::needs_perf(name, "is a directory of `perf record --threads`"));
    }
    let file = File::open(path).map_err(Error::io(|| format!("cannot read {name}")))?;
    perf_data::Reader::open(&file, name)
}

fn by_us(
    config: &Config,
    reader: perf_data::Reader,
    frames: &mut FrameTable,
    sink: &mut dyn SampleSink,
    tally: &mut Tally,
) -> Result<()> {
    native::script(reader, config, frames, sink, tally)
}

fn by_perf(
    config: &Config,
    recording: Input,
    frames: &mut FrameTable,
    sink: &mut dyn SampleSink,
    tally: &mut Tally,
) -> Result<()> {
    let Input { name, reader, path, .. } = recording;
    // perf's text does not say which event the user named first.
    let path_to_list = path.as_ref().filter(|_| !config.header);
    if let Some(reader) = path_to_list.and_then(|path| open(path, &name).ok()) {
        native::list_events(&reader, sink)?;
    }
    let recording = path.map_or_else(|| perf::Recording::Stream(reader), perf::Recording::File);
    perf::script(config, recording, &name, tally, |text, tally| {
        let mut reader = Reader::new(config);
        reader.read(text, &name, frames, sink, tally)
    })
}
