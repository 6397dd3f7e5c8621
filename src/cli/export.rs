//! `fg-export`: a profile for the viewers of other tools.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Parser, ValueEnum};

use super::folding::{FoldedInputs, FoldingArgs, fold_inputs, write_report};
use super::io::{Output, report};
use super::logger;
use super::program::{Done, Failure, Program};
use super::script::RecordingArgs;
use super::strict::StrictArgs;
use crate::export::{Format, Pprof, Speedscope};
use crate::fold::Merge;
use crate::folded::FoldedSink;
use crate::input;
use crate::tally::Tally;

/// Write a profile for the viewer of another tool: pprof or speedscope.
///
/// Reads whatever fg-fold reads: perf.data, perf-script text, folded stacks, graphs, and the formats
/// of other profilers. Stacks, names and weights are exported. Times, addresses, modules and lines are
/// not.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-export",
    version,
    after_help = "Examples:\n  \
      fg-export -o app.pb.gz perf.data && go tool pprof -http : app.pb.gz\n  \
      fg-export -o app.speedscope.json app.svg     open it in speedscope\n\
      Memory: the profile, before it is packed."
)]
pub struct ExportArgs {
    /// Profiles, which are added up; `-` is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The format [default: pprof if the output ends in .pb.gz or .pprof, speedscope for .json]
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,

    #[command(flatten)]
    folding: FoldingArgs,

    #[command(flatten)]
    recording: RecordingArgs,

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
    /// Gzipped protocol buffers: go tool pprof, Grafana, Perfetto.
    Pprof,
    /// The JSON of speedscope.
    Speedscope,
}

impl ExportArgs {
    fn format(&self) -> Result<Format> {
        let typed = self.format.map(|format| match format {
            ExportFormat::Pprof => Format::Pprof,
            ExportFormat::Speedscope => Format::Speedscope,
        });
        let format = typed.or_else(|| Format::of(self.output.as_deref()?));
        let what =
            "the format is not known: give --format, or an output that ends in .pb.gz or .json";
        format.ok_or_else(|| Failure::Usage(what.into()).into())
    }

    /// Folds all inputs into `sink`, in the order of fg-fold.
    fn fold<S: FoldedSink>(&self, sink: S) -> Result<(S, Tally)> {
        let config = input::Config {
            script: self.recording.config(),
            threads: input::threads(),
            ..input::Config::default()
        };
        let merge = Merge::new(sink).parallel(config.threads > 1);
        let folding = self.folding.config();
        let FoldedInputs { sink, tally, .. } =
            fold_inputs(Self::NAME, self.quiet, &self.files, &config, folding, merge)?;
        Ok((sink.into_next(), tally))
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
        let quality = self.folding.open_report()?;
        let output = match format {
            Format::Pprof => Output::create_binary(self.output.as_deref())?,
            Format::Speedscope => Output::create(self.output.as_deref())?,
        };
        let name = output.name.clone();
        let (output, tally) = match format {
            Format::Pprof => {
                let (sink, tally) = self.fold(Pprof::new(output, name))?;
                (sink.into_inner(), tally)
            }
            Format::Speedscope => {
                let (sink, tally) = self.fold(Speedscope::new(self.title(), output, name))?;
                (sink.into_inner(), tally)
            }
        };
        output.commit()?;
        write_report(quality, &tally)?;
        report(Self::NAME, self.quiet, &tally);
        Ok(self.strict.done(Self::NAME, &tally))
    }
}
