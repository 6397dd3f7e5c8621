//! perf.data → samples, by ourselves or by the perf program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::Input;
use crate::error::{Error, Result};
use crate::perf_data;
use crate::sample::{FrameTable, SampleSink};
use crate::script::{Config as Wanted, Reader, native, perf};
use crate::symbols;
use crate::tally::Tally;

/// Who scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// This library.
    #[default]
    Native,
    /// `perf script`.
    Perf,
}

/// How recordings are scripted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Who scripts.
    pub backend: Backend,
    /// Leave inlined frames out.
    pub no_inline: bool,
    /// Name and lose frames as perf 6.1 does even if it is wrong, so that the rest can be compared.
    /// For example, a call that ends a function is named after the next function, and no mark says
    /// that a stack was cut. docs/DIFFERENCES.md marks all of it with a star.
    pub perf_compat: bool,
    /// Tell the process of each sample. The native backend always does, `perf script` only if it is asked to.
    pub pids: bool,
    /// Begin with what the recording says about itself: [`SampleSink::text`] is given comment lines.
    pub header: bool,
    /// The recording is still going on: name what is there while there is time. Native only.
    pub live: bool,
    /// Where the native backend looks for modules and their debug files.
    pub symbols: symbols::Config,
}

/// Reads `recording` to its end and pushes its samples into `sink`, which is not finished.
///
/// What is beyond the native backend goes through perf, and that is said; a stream only if its first bytes tell, as
/// nothing is kept of it. Memory: see [`native::script`] and [`perf::script`].
pub fn read(
    config: &Config,
    recording: Input,
    wanted: Wanted,
    frames: &mut FrameTable,
    sink: &mut (impl SampleSink + ?Sized),
    tally: &mut Tally,
) -> Result<()> {
    if config.backend == Backend::Perf {
        return by_perf(config, recording, wanted, frames, sink, tally);
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
            return by_perf(config, recording, wanted, frames, sink, tally);
        }
        let reader = perf_data::Reader::stream(reader, &name)?;
        return by_us(config, reader, wanted, frames, sink, tally);
    };
    let mut ours = Tally::default();
    let done = open(&path, &name).and_then(|mut reader| {
        reader.tell(Arc::clone(&progress));
        by_us(config, reader, wanted, frames, sink, &mut ours)
    });
    match done {
        // Nothing was pushed yet: perf can begin anew.
        Err(Error::Unsupported { what, .. }) if ours.read.items == 0 => {
            log::warn!("{what}; reading it with perf script");
            let recording = Input { name, reader, path: Some(path), progress };
            by_perf(config, recording, wanted, frames, sink, tally)
        }
        done => {
            tally.absorb(ours);
            done
        }
    }
}

fn open(path: &Path, name: &str) -> Result<perf_data::Reader> {
    if path.is_dir() {
        return Err(Error::Unsupported {
            what: format!("{name} is a directory of `perf record --threads`"),
            remedy: "read it with perf script (--backend perf)".into(),
        });
    }
    let file = File::open(path).map_err(Error::io(|| format!("cannot read {name}")))?;
    perf_data::Reader::open(&file, name)
}

fn by_us(
    config: &Config,
    reader: perf_data::Reader,
    wanted: Wanted,
    frames: &mut FrameTable,
    sink: &mut (impl SampleSink + ?Sized),
    tally: &mut Tally,
) -> Result<()> {
    let config = native::Config {
        no_inline: config.no_inline,
        places: wanted.places,
        addresses: wanted.addresses,
        perf_compat: config.perf_compat,
        live: config.live,
        header: config.header,
        symbols: config.symbols.clone(),
    };
    native::script(reader, &config, frames, sink, tally)
}

fn by_perf(
    config: &Config,
    recording: Input,
    wanted: Wanted,
    frames: &mut FrameTable,
    sink: &mut (impl SampleSink + ?Sized),
    tally: &mut Tally,
) -> Result<()> {
    let Input { name, reader, path, .. } = recording;
    // perf's text does not say which event the user named first.
    let path_to_list = path.as_ref().filter(|_| !config.header);
    if let Some(reader) = path_to_list.and_then(|path| open(path, &name).ok()) {
        native::list_events(&reader, sink)?;
    }
    let recording = path.map_or_else(|| perf::Recording::Stream(reader), perf::Recording::File);
    let Config { no_inline, pids, header, .. } = *config;
    let config = perf::Config { program: None, no_inline, pids, header };
    perf::script(&config, recording, &name, tally, |text, tally| {
        let mut reader = Reader::new(wanted);
        reader.read(text, &name, frames, sink, tally)
    })
}
