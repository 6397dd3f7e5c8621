//! Connects the stages in one process, for flamegraph and cargo-flamegraph.
//!
//! ```text
//! Source ─▶ Folder ─▶ [filter] ─▶ Merge ─▶ [Command: --post-process] ─▶ Renderer ─▶ SVG
//!        ├▶ Lanes, for a flame chart ─▶ [filter] ─▶ [Command] ─▶ Renderer
//!        └▶ Export, beside either: a profile with times for another tool
//! ```
//!
//! While someone watches, `Watched` around the folder pushes what it has so far the same way, but
//! into the graph of a page.
//!
//! The programs have the same stages with other ends, so `fg-script X | fg-fold | COMMAND |
//! fg-render` writes the same bytes. scripts/flamegraph.sh is that pipeline, and a test compares
//! them.

mod beside;
mod channel;
mod command;
mod trim;

use std::io::Write;
use std::sync::Arc;

use beside::Beside;
pub(crate) use channel::{Sender, channel};
pub(crate) use command::{Command, check_command};
use trim::Trim;

use crate::error::Result;
use crate::export::Export;
use crate::filter::Preset;
use crate::fold::{self, Folder, Lanes, Merge, SoFar, Stage};
use crate::folded::FoldedSink;
use crate::input::{self, Input, Source};
use crate::output::{Format, Pictures, Target};
use crate::render::{self, Order};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;
use crate::watch::{Edits, Watch, Watched};

/// How a recording becomes a graph.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// How the recording is read.
    pub input: input::Config,
    /// How it is folded.
    pub fold: fold::Config,
    /// The frames that are left out of the folded stacks, before any other program gets them.
    pub presets: Vec<Preset>,
    /// The whole names of threads; the kernel cuts them to 15 bytes.
    pub threads: Vec<String>,
    /// The words of a program that the folded stacks pass through.
    pub post_process: Option<Vec<String>>,
    /// How it is drawn.
    pub render: render::Config,
    /// The command that was recorded, which a page names.
    pub command: Option<String>,
}

/// Draws `recording` to `targets`; the tally is that of all stages.
///
/// Nothing is written before a graph is complete.
///
/// # Errors
/// A stage fails. If there is nothing to draw, the error says why.
pub fn draw<W: Write>(
    recording: Input,
    config: Config,
    targets: Vec<Target<W>>,
) -> Result<(Vec<W>, Tally)> {
    draw_watched(recording, config, targets, None)
}

/// Does what [`draw`] does, and shows in `watch` what the graph is so far.
///
/// # Errors
/// As with [`draw`].
pub(crate) fn draw_watched<W: Write>(
    recording: Input,
    config: Config,
    targets: Vec<Target<W>>,
    watch: Option<Arc<Watch>>,
) -> Result<(Vec<W>, Tally)> {
    let Config { input: mut source, mut fold, presets, threads, post_process, render, command } =
        config;
    let has_lines =
        |target: &Target<W>| matches!(target.format, Format::Export(format) if format.has_lines());
    source.script.lines |= targets.iter().any(has_lines);
    let trim = Trim { presets, threads };
    let way = Way { trim, post_process: post_process.clone(), order: render.order, watch };
    let source = &source;
    let input = recording.name.clone();
    let (mut exports, targets) =
        beside::split(targets, command.as_deref().unwrap_or(&input), &fold);
    fold.lines |= post_process.is_none() && targets.iter().any(has_lines);
    let Some(words) = post_process else {
        let pictures = Pictures::new(render, command, &input, targets);
        let (pictures, tally) = fold_one(recording, source, fold, way, &mut exports, pictures)?;
        return Ok((outs(pictures, exports), tally));
    };
    let name = command::output_of(&command::name(&words));
    let pictures = Pictures::new(render, command, &name, targets);
    let program = Command::new(words, pictures);
    let (program, tally) = fold_one(recording, source, fold, way, &mut exports, program)?;
    Ok((outs(program.into_next(), exports), tally))
}

/// What was written to: the pictures first.
fn outs<W: Write>(pictures: Pictures<W>, exports: Vec<Export<W>>) -> Vec<W> {
    let exports = exports.into_iter().map(Export::into_inner);
    pictures.into_outs().into_iter().chain(exports).collect()
}

/// Draws `inputs`, together called `name`, into `next`.
///
/// # Errors
/// As with [`draw`].
pub(crate) fn draw_all<S: FoldedSink>(
    inputs: impl IntoIterator<Item = Input>,
    name: &str,
    source: &input::Config,
    is_chart: bool,
    next: S,
) -> Result<(S, Tally)> {
    let fold = fold::Config::default();
    if is_chart {
        let mut source = source.clone();
        source.script.pids = true;
        let (lanes, tally) = run(inputs, &source, Lanes::new(fold, name, next))?;
        return Ok((lanes.into_next(), tally));
    }
    let merge = Merge::new(next).parallel(source.threads > 1);
    let stage = PastMerge(Folder::new(fold, name, merge).parallel(source.threads > 1));
    let (stage, tally) = run(inputs, source, stage)?;
    Ok((stage.0.into_next().into_next(), tally))
}

/// Folds and edits `recording` into `next`, which draws it.
fn fold_one<S: FoldedSink, W: Write>(
    recording: Input,
    source: &input::Config,
    fold: fold::Config,
    way: Way,
    exports: &mut [Export<W>],
    next: S,
) -> Result<(S, Tally)> {
    let name = recording.name.clone();
    let is_parallel = source.threads > 1;
    if way.is_chart() {
        let lanes = Lanes::new(fold, name, way.trim.clone().before(next)?);
        let mut source = source.clone();
        source.script.pids = true;
        let (lanes, tally) = run_beside([recording], &source, exports, way.watched(lanes))?;
        return Ok((lanes.into_inner().into_next().into_inner().into_next(), tally));
    }
    let merge = Merge::new(next).parallel(is_parallel);
    if way.trim.is_empty() {
        let folder = Folder::new(fold, name, merge).parallel(is_parallel);
        let (folder, tally) = run_beside([recording], source, exports, way.watched(folder))?;
        return Ok((folder.into_inner().into_next().into_next(), tally));
    }
    let edited = way.trim.clone().before(merge)?;
    let folder = Folder::new(fold, name, edited).parallel(is_parallel);
    let (folder, tally) = run_beside([recording], source, exports, way.watched(folder))?;
    Ok((folder.into_inner().into_next().into_inner().into_next().into_next(), tally))
}

/// The way of stacks from the folder to a graph.
struct Way {
    trim: Trim,
    post_process: Option<Vec<String>>,
    order: Order,
    watch: Option<Arc<Watch>>,
}

impl Way {
    fn is_chart(&self) -> bool {
        self.order == Order::Time
    }

    /// A stage that shows what it has so far, edited as at the end.
    fn watched<S: SoFar>(self, stage: S) -> Watched<S> {
        let is_chart = self.is_chart();
        let Way { trim, post_process, order, watch } = self;
        let Some(watch) = watch else { return Watched::unseen(stage) };
        let edits: Edits = Box::new(move |graph| match &post_process {
            Some(words) => edited(&trim, !is_chart, Command::new(words.clone(), graph).quiet()),
            // The graph merges equal stacks itself.
            None => edited(&trim, order == Order::Input, graph),
        });
        Watched::new(stage, watch, order, edits)
    }
}

/// A stage that edits stacks for `next`.
fn edited<'a, S: FoldedSink + 'a>(
    trim: &Trim,
    merges: bool,
    next: S,
) -> Result<Box<dyn FoldedSink + 'a>> {
    Ok(match (merges, trim.is_empty()) {
        (true, _) => Box::new(trim.clone().before(Merge::new(next))?),
        (false, true) => Box::new(next),
        (false, false) => Box::new(trim.clone().before(next)?),
    })
}

/// A folder whose stacks are merged. Stacks that were folded before bypass the merger.
struct PastMerge<S>(Folder<Merge<S>>);

impl<S: FoldedSink> SampleSink for PastMerge<S> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        self.0.sample(frames, sample)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        self.0.finish(frames, tally)
    }
}

impl<S: FoldedSink> Stage for PastMerge<S> {
    type Next = S;
    type Folded = Merge<S>;

    fn next_mut(&mut self) -> &mut S {
        self.0.next_mut().next_mut()
    }

    fn as_folder(&mut self) -> Option<&mut Folder<Merge<S>>> {
        Some(&mut self.0)
    }
}

/// Feeds all inputs into `stage` and `exports`, and finishes them.
fn run_beside<S: Stage, W: Write>(
    inputs: impl IntoIterator<Item = Input>,
    source: &input::Config,
    exports: &mut [Export<W>],
    stage: S,
) -> Result<(S, Tally)> {
    if exports.is_empty() {
        return run(inputs, source, stage);
    }
    let mut source = source.clone();
    source.script.pids = true;
    let (both, tally) = run(inputs, &source, Beside { stage, exports })?;
    Ok((both.stage, tally))
}

/// Feeds all inputs into `stage`, and finishes it.
fn run<S: Stage>(
    inputs: impl IntoIterator<Item = Input>,
    source: &input::Config,
    mut stage: S,
) -> Result<(S, Tally)> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    Source::new(source).feed(inputs, &mut stage, &mut frames, &mut tally)?;
    stage.finish(&mut frames, &mut tally)?;
    Ok((stage, tally))
}
