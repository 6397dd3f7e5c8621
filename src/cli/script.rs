//! `fg-script`: writes the samples of perf.data as perf-script text.

use std::io::{self, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, Parser, ValueEnum};

use super::io::{Input, Output, report};
use super::logger;
use super::program::{Done, Program};
use super::progress::Shown;
use super::select::Select;
use super::strict::StrictArgs;
use crate::backend::Backend;
use crate::error::Error;
use crate::filter;
use crate::input::{self, Format, read_start, recording};
use crate::sample::{FrameTable, SampleSink};
use crate::script;
use crate::symbols;
use crate::tally::Tally;

/// Write the samples of a recording as text.
///
/// Reads perf.data, a file or a stream, and writes what `perf script` writes. A sample is a header
/// line, a line for each frame, leaf first, and a blank line. Perf-script text is passed through,
/// without the samples that are not selected.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-script",
    version,
    after_help = "Memory: 65,536 samples as numbers, the distinct addresses with their names, and the symbols that are looked up; \
constant for text. A perf.data file on standard input is first copied to a temporary file."
)]
pub struct ScriptArgs {
    #[command(flatten)]
    reading: ReadingArgs,

    /// Write what the recording says about itself first, as comments
    #[arg(long)]
    header: bool,

    /// The recording, as an option like that of perf script
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,

    /// Write to FILE [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    strict: StrictArgs,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,

    /// The recording [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    select: Select,
}

/// How recordings become text.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReadingArgs {
    /// Omit inlined frames of perf.data
    #[arg(long)]
    no_inline: bool,

    /// Reader of perf.data; flamegraph also records with it
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = Backend::Native)]
    pub(crate) backend: Backend,

    /// Name frames as perf 6.1 does even if it is wrong, for comparisons
    #[arg(long)]
    perf_compat: bool,

    /// Look for all files under this directory, for recordings of another machine
    #[arg(long, value_name = "DIRECTORY")]
    symfs: Option<PathBuf>,

    /// Read the kernel's symbols from FILE [default: /proc/kallsyms]
    #[arg(long, value_name = "FILE")]
    kallsyms: Option<PathBuf>,

    /// Read the kernel's symbols and inlined functions from FILE if it is the recorded build
    /// [default: the paths where packages install it]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// Also look for debug files in this directory; may be repeated
    #[arg(long, value_name = "DIRECTORY")]
    debug_dir: Vec<PathBuf>,

    /// Fetch missing files from the servers of DEBUGINFOD_URLS with debuginfod-find, for at most
    /// SECONDS in all [default: 60]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    debuginfod: Option<u32>,
}

impl ValueEnum for Backend {
    fn value_variants<'a>() -> &'a [Backend] {
        &[Backend::Native, Backend::Perf]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Backend::Native => PossibleValue::new("native").help("flamepipe itself"),
            Backend::Perf => PossibleValue::new("perf").help("The perf program"),
        })
    }
}

impl ReadingArgs {
    pub(crate) fn config(&self) -> script::Config {
        let mut symbols = symbols::Config {
            symfs: self.symfs.clone(),
            kallsyms: self.kallsyms.clone(),
            vmlinux: self.vmlinux.clone(),
            debuginfod: self.debuginfod.map(|seconds| Duration::from_secs(seconds.into())),
            ..Default::default()
        };
        symbols.debug_dirs.extend(self.debug_dir.iter().cloned());
        script::Config {
            backend: self.backend,
            no_inline: self.no_inline,
            perf_compat: self.perf_compat,
            symbols,
            ..script::Config::default()
        }
    }
}

impl Program for ScriptArgs {
    const NAME: &'static str = "fg-script";

    fn run(self) -> anyhow::Result<Done> {
        logger::install(Self::NAME, self.quiet, 0);
        let mut config = self.reading.config();
        (config.pids, config.header) = (self.select.asks_for_pids(), self.header);
        let select = self.select.config()?;
        let path = self.input.or(self.file);
        let input = path.as_deref().map_or_else(Input::stdin, Input::open)?;
        let mut output = Output::create_private(self.output.as_deref())?;
        output.refuse(&input)?;
        let mut tally = Tally::default();
        let Input { name, reader, path, .. } = input;
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let (start, is_whole) = read_start(&mut reader, &name)?;
        let format = Format::sniff(&start, is_whole);
        let mut whole = io::Cursor::new(start).chain(reader);
        match format {
            Some(Format::PerfData) => {
                let progress = Arc::default();
                // Text on the same terminal shows progress well enough.
                let wanted =
                    !self.quiet && (output.file().is_some() || !io::stdout().is_terminal());
                let _shown = Shown::start(Self::NAME, &name, &progress, wanted);
                let reader = Box::new(whole);
                let recording = input::Input { name, reader, path, progress };
                let mut sink = sink(select.unwrap_or_default(), &mut output);
                let mut frames = FrameTable::default();
                // perf's text is passed on unchanged.
                (config.places, config.text) = (true, true);
                recording::read(&config, recording, &mut frames, &mut sink, &mut tally)?;
                sink.finish(&mut frames, &mut tally)?;
            }
            Some(Format::Script) => match select {
                Some(select) => {
                    let mut frames = FrameTable::default();
                    let mut sink = sink(select, &mut output);
                    config.text = true;
                    let mut reader = script::Reader::new(&config);
                    reader.read(whole, &name, &mut frames, &mut sink, &mut tally)?;
                    sink.finish(&mut frames, &mut tally)?;
                }
                None => copy(&mut whole, &mut output)?,
            },
            _ => {
                return Err(Format::unknown(&name, whole.get_ref().0.get_ref(), "perf.data").into());
            }
        }
        output.commit()?;
        if !tally.is_clean() || tally.filtered.items > 0 || tally.flat > 0 {
            report(Self::NAME, self.quiet, &tally);
        }
        Ok(self.strict.done(Self::NAME, &tally))
    }
}

/// Writes samples as text, without those that were not selected.
fn sink(select: filter::Config, output: &mut Output) -> impl SampleSink {
    let name = output.name.clone();
    filter::SampleFilter::new(select, script::Writer::new(output, name))
}

fn copy(from: &mut dyn Read, to: &mut Output) -> Result<(), Error> {
    let doing = format!("cannot write {}", to.name);
    io::copy(from, to).map(drop).map_err(Error::io(|| doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flags_mean_the_default() {
        let config = |args: &[&str]| {
            ScriptArgs::parse_from([&["fg-script"], args].concat()).reading.config()
        };
        assert_eq!(config(&[]), script::Config::default());
        assert!(config(&["--no-inline"]).no_inline);
    }
}
