//! The options of folding, for fg-fold and the programs that fold in-process.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::io::{Input, Inputs, Output};
use super::logger;
use super::progress::Shown;
use crate::fold::{self, Folder, Stage, Weighing};
use crate::folded::FoldedSink;
use crate::input::{self, Source};
use crate::report;
use crate::sample::FrameTable;
use crate::tally::Tally;

/// The options of folding that all programs that fold have in common.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FoldingArgs {
    /// Event to fold. `all` folds each event under a root frame of its name, in its own unit
    /// [default: the first event that the recording lists, or the most frequent one in text without
    /// a list; off-cpu together with cpu-clock or task-clock]
    #[arg(long, value_name = "EVENT|all")]
    pub(crate) event_filter: Option<String>,

    /// Make this function the root of every stack that contains it; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) skip_after: Vec<String>,

    /// Write the quality of the profile to FILE, as JSON: samples, losses, the shares that are
    /// good, reach a thread root, are truncated and were sampled, the modules without names and
    /// what helps, and all warnings
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Add up periods or samples
    #[arg(long, value_enum, default_value_t = WeightArg::Period)]
    pub(crate) weight: WeightArg,

    /// Root frames: `comm` is always there, and `pid` or `tid` is added to it; `cpu` comes before
    /// it, and `event` comes first
    #[arg(long, value_name = "BY,...", value_enum, value_delimiter = ',')]
    pub(crate) split: Vec<SplitArg>,

    /// Merge threads whose names differ only in a number, which becomes `*`: worker-17 becomes
    /// worker-*, kworker/0:1-events becomes kworker/*:*-events. Digits at the start stay, and so do
    /// digits after a letter or a dot, as in python3.11
    #[arg(long)]
    pub(crate) merge_threads: bool,
}

/// `--weight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightArg {
    /// The periods of the samples, in the unit of the event (ns, cycles)
    #[default]
    Period,
    /// 1 for each sample
    Samples,
}

/// `--split`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitArg {
    /// The thread's name: `java`
    Comm,
    /// `java-123`
    Pid,
    /// `java-123/456`
    Tid,
    /// `cpu 3`
    Cpu,
    /// The event: `cycles`
    Event,
}

impl FoldingArgs {
    /// Where the report goes, which is opened before anything is read.
    pub(crate) fn open_report(&self) -> Result<Option<Output>> {
        self.report.as_deref().map(|path| Output::create(Some(path))).transpose()
    }

    pub(crate) fn config(&self) -> fold::Config {
        let by = |by| self.split.contains(&by);
        let event = self.event_filter.as_deref().filter(|event| *event != "all");
        fold::Config {
            event: event.map(Into::into),
            by_event: self.event_filter.as_deref() == Some("all") || by(SplitArg::Event),
            cpu: by(SplitArg::Cpu),
            pid: by(SplitArg::Pid),
            tid: by(SplitArg::Tid),
            merge_threads: self.merge_threads,
            weighing: match self.weight {
                WeightArg::Period => Weighing::Period,
                WeightArg::Samples => Weighing::Samples,
            },
            skip_after: self.skip_after.iter().map(|symbol| symbol.as_str().into()).collect(),
            ..fold::Config::default()
        }
    }
}

/// The result of folding.
pub(crate) struct FoldedInputs<S> {
    /// The sink behind the folder, or the stage.
    pub(crate) sink: S,
    /// The frames of its stacks.
    pub(crate) frames: FrameTable,
    /// What was read and lost.
    pub(crate) tally: Tally,
}

/// Folds `files`, or standard input if there are none, into `sink`. `program` shows the progress,
/// unless it is `quiet`.
pub(crate) fn fold_inputs<S: FoldedSink>(
    program: &'static str,
    quiet: bool,
    files: &[PathBuf],
    config: &input::Config,
    folding: fold::Config,
    sink: S,
) -> Result<FoldedInputs<S>> {
    let folder = |input: String| Folder::new(folding, input, sink).parallel(config.threads > 1);
    let FoldedInputs { sink, frames, tally } = feed_inputs(program, quiet, files, config, folder)?;
    Ok(FoldedInputs { sink: sink.into_next(), frames, tally })
}

/// Feeds `files`, or standard input if there are none, into the stage that `stage` makes, which
/// errors call by the name that it gets. `program` shows the progress, unless it is `quiet`.
pub(crate) fn feed_inputs<S: Stage>(
    program: &'static str,
    quiet: bool,
    files: &[PathBuf],
    config: &input::Config,
    stage: impl FnOnce(String) -> S,
) -> Result<FoldedInputs<S>> {
    let mut inputs = Inputs::new(files.to_vec())?;
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut stage = stage(inputs.names().join(", "));
    // The progress of this input, shown until the next one is read.
    let mut shown = None;
    let opened = inputs.by_ref().map(|Input { name, reader, path, .. }| {
        let progress = Arc::default();
        shown = Some(Shown::start(program, &name, &progress, !quiet));
        input::Input { name, reader, path, progress }
    });
    let fed = Source::new(config).feed(opened, &mut stage, &mut frames, &mut tally);
    inputs.end()?;
    fed?;
    stage.finish(&mut frames, &mut tally)?;
    Ok(FoldedInputs { sink: stage, frames, tally })
}

/// A label: `host=a`.
pub(super) fn label(text: &str) -> Result<String> {
    let is_pair = text.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    anyhow::ensure!(is_pair, "expected KEY=VALUE");
    let is_frame = !text.contains(|c: char| c == ';' || c.is_control());
    anyhow::ensure!(is_frame, "a label must not contain `;` or control characters");
    anyhow::ensure!(
        !text.trim().starts_with("# "),
        "folded text that starts with `# ` is a comment"
    );
    Ok(text.into())
}

/// Writes the quality of the profile, if a report is wanted.
pub(crate) fn write_report(to: Option<Output>, tally: &Tally) -> Result<()> {
    let Some(mut output) = to else { return Ok(()) };
    writeln!(output, "{:#}", report::of(tally, &logger::warnings()))
        .with_context(|| format!("cannot write {}", output.name))?;
    output.commit()
}
