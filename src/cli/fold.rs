//! `fg-fold`: folds any profile.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{ArgAction, Parser};

use super::folding::{FoldingArgs, fold_inputs, write_report};
use super::io::{Output, report};
use super::logger;
use super::program::{Done, Program};
use super::script::RecordingArgs;
use crate::fold::parts::Parts;
use crate::fold::{self, Merge};
use crate::folded::{FoldedSink, Writer};
use crate::input::{self, Format};
use crate::parallel;
use crate::script;
use crate::tally::Tally;

/// Fold samples into one line for each distinct stack.
///
/// Reads perf-script text, perf.data, folded stacks and the formats of other profilers, and detects
/// the format from the first bytes. Writes folded stacks such as `main;read;memcpy 42`, sorted.
/// Several files are folded into one profile.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-fold",
    version,
    after_help = "A recording of fg-record --off-cpu has two events, both in nanoseconds. They are folded under the roots `on-cpu` and `off-cpu`. \
If a recording has other events, one of them is folded; the quality line names and counts the rest. `--event-filter all` folds each event separately.\n\
--weight samples counts the samples of perf-script text and perf.data. Folded stacks and the formats of other profilers keep their weights.\n\
Memory: the distinct stacks and frames, whatever the length of the input. \
Files of other profilers are held in memory as a whole."
)]
pub struct FoldArgs {
    /// Add the address to the names of unknown frames
    #[arg(long)]
    addrs: bool,

    /// The same as --kernel --jit
    #[arg(long)]
    all: bool,

    /// Mark frames of code made at run time with `_[j]`
    #[arg(long)]
    jit: bool,

    /// Mark kernel frames with `_[k]`
    #[arg(long)]
    kernel: bool,

    /// Add the process id to the root frame
    #[arg(long)]
    pid: bool,

    /// Add the process and thread ids to the root frame
    #[arg(long)]
    tid: bool,

    #[command(flatten)]
    folding: FoldingArgs,

    /// Omit the `# unit` line, the first line, from which fg-render takes the unit of the weights
    #[arg(long)]
    no_unit: bool,

    /// Write one file for each root frame into DIR, and `index.tsv`, which lists them. --split
    /// chooses the root frames [default: the thread's name]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "skip_after"])]
    split_files: Option<PathBuf>,

    /// Fold perf-script text exactly as inferno-collapse-perf 0.12 does, with its code and its
    /// errors
    #[arg(long, conflicts_with_all = ["weight", "split", "merge_threads"])]
    inferno_compat: bool,

    /// Number of threads that fold [default: one for each CPU; one for a pipe]
    #[arg(short, long, value_name = "N")]
    nthreads: Option<usize>,

    /// Format of the input [default: detected from its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<String>,

    #[command(flatten)]
    recording: RecordingArgs,

    /// Write to FILE [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Exit with 3 if anything was skipped, lost, truncated or unresolved
    #[arg(long)]
    strict: bool,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,

    /// Show which files the names are read from
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Files to fold; `-` is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `--format`'s values.
pub(crate) fn format_parser() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(Format::all().map(Format::name))
}

impl FoldArgs {
    fn fold_config(&self) -> fold::Config {
        let config = self.folding.config();
        fold::Config {
            kernel: self.kernel || self.all,
            jit: self.jit || self.all,
            pid: self.pid || config.pid,
            tid: self.tid || config.tid,
            no_unit: self.no_unit,
            ..config
        }
    }

    fn threads(&self) -> usize {
        self.nthreads.unwrap_or_else(input::threads)
    }

    fn input_config(&self) -> input::Config {
        let named = |wanted: &String| Format::all().find(|format| format.name() == wanted);
        input::Config {
            format: self.format.as_ref().and_then(named),
            lenient: false,
            script: script::Config { addresses: self.addrs, ..self.recording.config() },
            inferno: self.inferno_compat,
            threads: self.threads(),
        }
    }
}

impl Program for FoldArgs {
    const NAME: &'static str = "fg-fold";

    fn run(self) -> anyhow::Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        if let Some(threads @ 2..) = self.nthreads {
            parallel::start(threads);
        }
        let quality = self.folding.open_report()?;
        match &self.split_files {
            None => {
                let output = Output::create(self.output.as_deref())?;
                let name = output.name.clone();
                let (writer, tally) = self.fold_into(Writer::new(output, name))?;
                writer.into_inner().commit()?;
                self.done(quality, &tally)
            }
            Some(folder) => {
                let (parts, tally) = self.fold_into(Parts::new(&self.fold_config()))?;
                write_files(folder, parts)?;
                self.done(quality, &tally)
            }
        }
    }
}

impl FoldArgs {
    /// Folds all inputs into `next`.
    fn fold_into<S: FoldedSink>(&self, next: S) -> anyhow::Result<(S, Tally)> {
        let config = self.input_config();
        let merge = Merge::new(next).parallel(config.threads > 1);
        let folding = self.fold_config();
        let folded = fold_inputs(Self::NAME, self.quiet, &self.files, &config, folding, merge)?;
        Ok((folded.sink.into_next(), folded.tally))
    }

    fn done(&self, quality: Option<Output>, tally: &Tally) -> anyhow::Result<Done> {
        write_report(quality, tally)?;
        report(Self::NAME, self.quiet, tally);
        Ok(Done::strict(self.strict, tally))
    }
}

/// Writes each part to a file. The index comes last, when all its files are there.
fn write_files(folder: &Path, parts: Parts) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let files = parts.into_files();
    let texts = files.iter().map(|(name, _, part)| (name.as_str(), part.text.clone()));
    let index = ("index.tsv", Parts::index(&files));
    for (name, text) in texts.chain(std::iter::once(index)) {
        let mut output = Output::create(Some(&folder.join(name)))?;
        output.write_all(&text).with_context(|| format!("cannot write {}", output.name))?;
        output.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flags_are_the_defaults() {
        let args = FoldArgs::try_parse_from(["fg-fold"]).unwrap();
        assert_eq!(args.fold_config(), fold::Config::default());
        assert_eq!(input::Config { threads: 0, ..args.input_config() }, input::Config::default());
    }

    #[test]
    fn every_option_of_inferno_is_there() {
        let line = "fg-fold --addrs --all --jit --kernel --pid --tid -q -vvv --event-filter cycles -n 2 --skip-after main x";
        let args = FoldArgs::try_parse_from(line.split(' ')).unwrap();
        let config = args.fold_config();
        assert!(config.kernel && config.jit && config.pid && config.tid);
        assert!(args.input_config().script.addresses);
        assert_eq!((config.event, config.skip_after), (Some("cycles".into()), vec!["main".into()]));
    }
}
