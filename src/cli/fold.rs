//! fg-fold: any profile → folded stacks.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgAction, Parser};

use super::io::{Input, Output};
use super::logger;
use super::program::{Done, Program, report};
use super::progress::Shown;
use super::script::RecordingArgs;
use crate::fold::{self, Folder, Format, Merge, source};
use crate::folded::Writer;
use crate::sample::{FrameTable, SampleSink};

use crate::tally::Tally;

/// Fold samples into one line for each distinct stack.
///
/// Reads perf-script text, perf.data, folded stacks and the formats of other profilers, told apart by their first bytes;
/// writes folded stacks, `main;read;memcpy 42`, sorted. Several files are folded into one profile.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-fold",
    version,
    after_help = "A recording of fg-record --off-cpu has two events, both in nanoseconds: they are folded under the roots `on-cpu` and `off-cpu`. \
Of any other events one is folded and the rest is counted.\n\
Memory: the distinct stacks and frames, whatever the length of the input. \
Formats of other profilers are held as a whole."
)]
pub struct FoldArgs {
    /// Name unknown frames by their address too
    #[arg(long)]
    addrs: bool,

    /// All marks (--kernel --jit)
    #[arg(long)]
    all: bool,

    /// Mark frames of code made at run time with `_[j]`
    #[arg(long)]
    jit: bool,

    /// Mark kernel frames with `_[k]`
    #[arg(long)]
    kernel: bool,

    /// Put the process id into the root frame
    #[arg(long)]
    pid: bool,

    /// Put the process and thread ids into the root frame
    #[arg(long)]
    tid: bool,

    /// Event to fold [default: the first one met, and off-cpu beside cpu-clock or task-clock]
    #[arg(long, value_name = "EVENT")]
    event_filter: Option<String>,

    /// Make this symbol the root of every stack it is on; may be repeated
    #[arg(long, value_name = "SYMBOL")]
    skip_after: Vec<String>,

    /// Threads that fold [default: one for each CPU; a pipe is folded by one]
    #[arg(short, long, value_name = "N")]
    nthreads: Option<usize>,

    /// The format of the input [default: told by its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<String>,

    #[command(flatten)]
    recording: RecordingArgs,

    /// Write to FILE [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Exit with 3 if anything was skipped, lost, truncated or left without a name
    #[arg(long)]
    strict: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Say more; may be repeated
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Files to fold; `-` is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `--format`'s values.
pub fn format_parser() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(Format::NAMES.map(|(name, _)| name))
}

impl FoldArgs {
    fn fold_config(&self) -> fold::Config {
        fold::Config {
            kernel: self.kernel || self.all,
            jit: self.jit || self.all,
            addresses: self.addrs,
            pid: self.pid,
            tid: self.tid,
            event: self.event_filter.as_deref().map(Into::into),
            skip_after: self.skip_after.iter().map(|symbol| symbol.as_str().into()).collect(),
        }
    }

    fn source_config(&self) -> source::Config {
        let named = |wanted: &String| {
            Format::NAMES.iter().find(|(name, _)| name == wanted).map(|(_, format)| *format)
        };
        source::Config {
            format: self.format.as_ref().and_then(named),
            lenient: false,
            recording: self.recording.config(),
            addresses: self.addrs,
            threads: self
                .nthreads
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get())),
        }
    }
}

impl Program for FoldArgs {
    const NAME: &'static str = "fg-fold";

    fn run(self) -> anyhow::Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        let inputs = Input::open_all(&self.files)?;
        let output = Output::create(self.output.as_deref())?;
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        let output_name = output.name.clone();
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let merge = Merge::new(Writer::new(output, output_name));
        let mut folder = Folder::new(self.fold_config(), names.join(", "), merge);
        let mut source = source::Source::new(self.source_config());
        for input in inputs {
            let Input { name, reader, path, .. } = input;
            let progress = Arc::default();
            let _shown = Shown::start(Self::NAME, &name, &progress, !self.quiet);
            let input = source::Input { name: &name, reader, path, progress };
            source.feed(input, &mut folder, &mut frames, &mut tally)?;
        }
        folder.finish(&mut frames, &mut tally)?;
        folder.into_next().into_next().into_inner().commit()?;
        report(Self::NAME, self.quiet, &tally);
        Ok(Done::strict(self.strict, &tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flags_are_the_defaults() {
        let args = FoldArgs::try_parse_from(["fg-fold"]).unwrap();
        assert_eq!(args.fold_config(), fold::Config::default());
        assert_eq!(
            source::Config { threads: 0, ..args.source_config() },
            source::Config::default()
        );
    }

    #[test]
    fn every_option_of_inferno_is_there() {
        let line = "fg-fold --addrs --all --jit --kernel --pid --tid -q -vvv --event-filter cycles -n 2 --skip-after main x";
        let args = FoldArgs::try_parse_from(line.split(' ')).unwrap();
        let config = args.fold_config();
        assert!(config.kernel && config.jit && config.addresses && config.pid && config.tid);
        assert_eq!((config.event, config.skip_after), (Some("cycles".into()), vec!["main".into()]));
    }
}
