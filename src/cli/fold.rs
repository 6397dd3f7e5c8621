//! `fg-fold`: folds any profile.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use bstr::ByteSlice;
use clap::{ArgAction, Parser};

use super::folding::{FoldingArgs, fold_inputs, label, write_report};
use super::io::{Input, Output, report};
use super::logger;
use super::program::{Done, Program};
use super::script::ReadingArgs;
use super::strict::StrictArgs;
use crate::fold::split_files::Parts;
use crate::fold::{self, Bound, Labels, Merge};
use crate::folded::{FoldedSink, Minimum, Writer};
use crate::input::{self, Format};
use crate::parallel;
use crate::script;
use crate::tally::Tally;

/// Fold samples into one line for each distinct stack.
///
/// Reads perf-script text, perf.data, folded stacks, graphs and the formats of other profilers:
/// pprof, speedscope, Firefox Profiler, V8, Chrome traces and more (--format lists them). Detects
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

    /// Make KEY=VALUE the root frame of all stacks, to tell profiles apart once they are merged;
    /// may be repeated
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = label, value_delimiter = ',', conflicts_with = "split_files")]
    label: Vec<String>,

    /// Multiply the weights by FACTOR, so that profiles with different sampling rates can be merged
    #[arg(long, value_name = "FACTOR", value_parser = factor, conflicts_with = "split_files")]
    scale: Option<f64>,

    /// Cut stacks where the tree below is lighter than WEIGHT: 500, or 0.1% of the profile. What
    /// was cut off becomes `[other]`, so no weight is lost
    #[arg(long, value_name = "WEIGHT", value_parser = Minimum::from_str, conflicts_with = "split_files")]
    min_weight: Option<Minimum>,

    /// Write nothing, and exit with 0, if there are no samples
    #[arg(long)]
    allow_empty: bool,

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
    reading: ReadingArgs,

    /// Write to FILE [default: standard output]
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

    /// Fold the files that FILE lists, one on each line, or with a zero byte after each; `-` is
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    files_from: Option<PathBuf>,

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
            script: script::Config { addresses: self.addrs, ..self.reading.config() },
            inferno: self.inferno_compat,
            allow_empty: self.allow_empty,
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
        let files = match &self.files_from {
            Some(list) => listed(list, self.allow_empty)?,
            None => self.files.clone(),
        };
        if self.files_from.is_some() && files.is_empty() {
            return Ok((next, Tally::default()));
        }
        let config = self.input_config();
        let labels = Labels::new(
            self.label.iter().map(|label| label.as_str().into()).collect(),
            self.scale,
            next,
        );
        let merge = Merge::new(labels).parallel(config.threads > 1);
        let bound = Bound::new(self.min_weight, merge);
        let folding = fold::Config { allow_empty: self.allow_empty, ..self.fold_config() };
        let folded = fold_inputs(Self::NAME, self.quiet, &files, &config, folding, bound)?;
        Ok((folded.sink.into_next().into_next().into_next(), folded.tally))
    }

    fn done(&self, quality: Option<Output>, tally: &Tally) -> anyhow::Result<Done> {
        write_report(quality, tally)?;
        report(Self::NAME, self.quiet, tally);
        Ok(self.strict.done(Self::NAME, tally))
    }
}

/// The paths in `list`. If there is a zero byte, each path ends in one, as `find -print0` writes
/// them.
fn listed(list: &Path, allow_empty: bool) -> anyhow::Result<Vec<PathBuf>> {
    let Input { name, mut reader, .. } = Input::open(list)?;
    let mut text = Vec::new();
    reader.read_to_end(&mut text).with_context(|| format!("cannot read {name}"))?;
    let end = if text.contains(&0) { b'\0' } else { b'\n' };
    let paths = text.split(|&byte| byte == end).filter(|path| !path.is_empty());
    let path = |path: &[u8]| {
        path.to_path().map(Path::to_owned).with_context(|| format!("{name} is not UTF-8"))
    };
    let paths: Vec<PathBuf> = paths.map(path).collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(allow_empty || !paths.is_empty(), "{name} lists no files");
    Ok(paths)
}

/// A factor of `--scale`.
fn factor(text: &str) -> anyhow::Result<f64> {
    let factor: f64 = text.parse().context("expected a number")?;
    anyhow::ensure!(factor.is_finite() && factor > 0.0, "it must be more than 0");
    Ok(factor)
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
