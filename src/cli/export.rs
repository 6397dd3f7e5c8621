//! `fg-export`: a profile for the viewers of other tools.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{ArgAction, Parser, ValueEnum};

use super::folding::{FoldedInputs, FoldingArgs, feed_inputs, fold_inputs, label, write_report};
use super::io::{Output, report};
use super::logger;
use super::program::{Done, Failure, Program};
use super::render::usage;
use super::script::ReadingArgs;
use super::strict::StrictArgs;
use crate::export::{Export, Format};
use crate::fold::{self, Merge};
use crate::folded::FoldedSink;
use crate::folded::Writer;
use crate::input;
use crate::script;
use crate::tally::Tally;

/// Write a profile for the viewer of another tool: pprof, speedscope, the Firefox Profiler,
/// Perfetto, kcachegrind.
///
/// Reads whatever fg-fold reads: perf.data, perf-script text, folded stacks, graphs, and the
/// formats of other profilers. Stacks, names and weights are exported. The formats `firefox`,
/// `speedscope` and `chrome` also get threads and times, if the profile has them: recordings, and
/// profiles of Firefox, samply, speedscope, Chrome and V8. `firefox` gets the modules of samples,
/// and `pprof` when the recording began and how long it took. Of recordings, the source
/// lines are exported that DWARF has: `pprof`, `firefox` and `callgrind` get them, and `speedscope`
/// the files, unless `--no-inline` or `--backend perf` is given. Addresses are not exported.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-export",
    version,
    after_help = "Examples:\n  \
      fg-export -o app.pb.gz perf.data && go tool pprof -http : app.pb.gz\n  \
      fg-export -o app.speedscope.json app.svg     open it in speedscope\n  \
      fg-export -o app.json.gz perf.data           load it in profiler.firefox.com\n  \
      fg-export -o app.trace.json perf.data        load it in ui.perfetto.dev\n\
      Memory: the profile, before it is packed."
)]
pub struct ExportArgs {
    /// Profiles, which are added up; `-` is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The format [default: by the end of the output's name: .pb.gz or .pprof, .json.gz for
    /// firefox, .trace.json for chrome, .json for speedscope, .callgrind, .folded]
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,

    /// Give all samples of a pprof profile the label KEY=VALUE; may be repeated. For other formats,
    /// `fg-fold --label` makes it a root frame
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = label, value_delimiter = ',')]
    label: Vec<String>,

    #[command(flatten)]
    folding: FoldingArgs,

    #[command(flatten)]
    reading: ReadingArgs,

    /// Write to FILE, which is replaced only once the output is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    strict: StrictArgs,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,

    /// Show which files the names are read from
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// Gzipped protocol buffers: go tool pprof, Grafana, Perfetto
    Pprof,
    /// JSON of the Firefox Profiler, with times and threads
    Firefox,
    /// JSON of speedscope, with times and threads
    Speedscope,
    /// Trace events in JSON: a flame chart for Perfetto and chrome://tracing
    Chrome,
    /// Costs of functions and calls: callgrind_annotate, kcachegrind
    Callgrind,
    /// Folded stacks, as fg-fold writes them
    Folded,
}

impl ExportFormat {
    /// The format that the name of a file tells.
    fn of(path: &Path) -> Option<ExportFormat> {
        if path.extension().is_some_and(|end| end == "folded") {
            return Some(ExportFormat::Folded);
        }
        Format::of(path).map(|format| match format {
            Format::Pprof => ExportFormat::Pprof,
            Format::Firefox => ExportFormat::Firefox,
            Format::Speedscope => ExportFormat::Speedscope,
            Format::Chrome => ExportFormat::Chrome,
            Format::Callgrind => ExportFormat::Callgrind,
        })
    }

    /// `None` for folded stacks.
    fn format(self) -> Option<Format> {
        match self {
            ExportFormat::Pprof => Some(Format::Pprof),
            ExportFormat::Firefox => Some(Format::Firefox),
            ExportFormat::Speedscope => Some(Format::Speedscope),
            ExportFormat::Chrome => Some(Format::Chrome),
            ExportFormat::Callgrind => Some(Format::Callgrind),
            ExportFormat::Folded => None,
        }
    }
}

impl ExportArgs {
    fn format(&self) -> Result<ExportFormat> {
        let format = self.format.or_else(|| ExportFormat::of(self.output.as_deref()?));
        let what = "the format is not known: give --format, or an output that ends in .pb.gz, .json.gz or .json";
        format.ok_or_else(|| Failure::Usage(what.into()).into())
    }

    fn config(&self, lines: bool) -> input::Config {
        input::Config {
            script: script::Config { lines, ..self.reading.config() },
            threads: input::threads(),
            ..input::Config::default()
        }
    }

    /// Folds all inputs into `sink`, in the order of fg-fold.
    fn fold<S: FoldedSink>(&self, lines: bool, sink: S) -> Result<(S, Tally)> {
        let config = self.config(lines);
        let merge = Merge::new(sink).parallel(config.threads > 1);
        let folding = fold::Config { lines, ..self.folding.config() };
        let FoldedInputs { sink, tally, .. } =
            fold_inputs(Self::NAME, self.quiet, &self.files, &config, folding, merge)?;
        Ok((sink.into_next(), tally))
    }

    fn export(&self, format: Format, output: Output) -> Result<(Output, Tally)> {
        let name = output.name.clone();
        let sink = Export::new(format, self.title(), output, name).labelled(self.labels());
        format.check(&self.folding.config()).map_err(usage)?;
        let lines = format.has_lines();
        let folding = fold::Config { lines, ..self.folding.config() };
        if !format.takes_samples(&folding) {
            let (sink, tally) = self.fold(lines, sink)?;
            return Ok((sink.into_inner(), tally));
        }
        let mut config = self.config(lines);
        config.script.pids = true;
        let sink = sink.folding(folding);
        let FoldedInputs { sink, tally, .. } =
            feed_inputs(Self::NAME, self.quiet, &self.files, &config, |_| sink)?;
        Ok((sink.into_inner(), tally))
    }

    fn labels(&self) -> Vec<(String, String)> {
        let pair = |label: &String| {
            label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        self.label.iter().filter_map(pair).collect()
    }

    /// Returns the name of the profile in viewers.
    fn title(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        if names.is_empty() { "flamepipe".into() } else { names.join(", ") }
    }
}

impl Program for ExportArgs {
    const NAME: &'static str = "fg-export";

    fn run(self) -> Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        let format = self.format()?;
        if !self.label.is_empty() && !matches!(format, ExportFormat::Pprof) {
            let what =
                "--label is for pprof: for other formats, `fg-fold --label` makes it a root frame";
            return Err(Failure::Usage(what.into()).into());
        }
        let quality = self.folding.open_report()?;
        let output = match format {
            ExportFormat::Pprof => Output::create_binary(self.output.as_deref())?,
            _ => Output::create(self.output.as_deref())?,
        };
        let name = output.name.clone();
        let (output, tally) = match format.format() {
            Some(format) => self.export(format, output)?,
            None => {
                let (writer, tally) = self.fold(false, Writer::new(output, name))?;
                (writer.into_inner(), tally)
            }
        };
        output.commit()?;
        write_report(quality, &tally)?;
        report(Self::NAME, self.quiet, &tally);
        Ok(self.strict.done(Self::NAME, &tally))
    }
}
