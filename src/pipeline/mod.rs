//! Connects the stages in one process, for flamegraph and cargo-flamegraph.
//!
//! ```text
//! Source ─▶ Folder ─▶ [filter] ─▶ Merge ─▶ [Command: --post-process] ─▶ Renderer ─▶ SVG
//!        ├▶ Lanes, for a flame chart ─▶ [filter] ─▶ [Command] ─▶ Renderer
//!        └▶ Export, beside either: a profile with times for another tool
//! ```
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
use crate::fold::{self, Folder, Lanes, Merge, Stage};
use crate::folded::FoldedSink;
use crate::input::{self, Input, Source};
use crate::output::{Pictures, Target};
use crate::render::{self, Order};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;
use crate::watch::{Watch, Watched};

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
/// Those of the stages. If there is nothing to draw, the error says why.
pub fn draw<W: Write>(
    recording: Input,
    config: Config,
    targets: Vec<Target<W>>,
) -> Result<(Vec<W>, Tally)> {
    let Config { input: source, fold, presets, threads, post_process, render, command } = config;
    let trim = Trim { presets, threads };
    let source = &source;
    let is_chart = render.order == Order::Time;
    let input = recording.name.clone();
    let (mut exports, targets) =
        beside::split(targets, command.as_deref().unwrap_or(&input), &fold);
    let Some(words) = post_process else {
        let pictures = Pictures::new(render, command, &input, targets);
        let (pictures, tally) =
            fold_one(recording, source, fold, trim, is_chart, &mut exports, pictures)?;
        return Ok((outs(pictures, exports), tally));
    };
    let name = command::output_of(&command::name(&words));
    let program = Command::new(words, Pictures::new(render, command, &name, targets));
    let (program, tally) =
        fold_one(recording, source, fold, trim, is_chart, &mut exports, program)?;
    Ok((outs(program.into_next(), exports), tally))
}

/// What was written to: the pictures first.
fn outs<W: Write>(pictures: Pictures<W>, exports: Vec<Export<W>>) -> Vec<W> {
    let exports = exports.into_iter().map(Export::into_inner);
    pictures.into_outs().into_iter().chain(exports).collect()
}

/// Draws `recording` as [`draw`] does without a program between the stages and without a flame
/// chart, and shows in `watch` what was folded so far.
///
/// # Errors
/// As with [`draw`].
pub(crate) fn draw_watched<W: Write>(
    recording: Input,
    config: Config,
    targets: Vec<Target<W>>,
    watch: Arc<Watch>,
) -> Result<(Vec<W>, Tally)> {
    let Config { input: source, fold, presets, threads, render, command, .. } = config;
    let trim = Trim { presets, threads };
    let name = recording.name.clone();
    let is_parallel = source.threads > 1;
    let (mut exports, targets) = beside::split(targets, command.as_deref().unwrap_or(&name), &fold);
    let merge = Merge::new(Pictures::new(render, command, &name, targets)).parallel(is_parallel);
    let folder = Folder::new(fold, name, trim.before(merge)?).parallel(is_parallel);
    let watched = Watched::new(folder, watch);
    let (watched, tally) = run_beside([recording], &source, &mut exports, watched)?;
    Ok((outs(watched.into_next().into_inner().into_next().into_next(), exports), tally))
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
        return chart::<_, Vec<u8>>(inputs, name, source, fold, &mut [], next);
    }
    let merge = Merge::new(next).parallel(source.threads > 1);
    let stage = PastMerge(Folder::new(fold, name, merge).parallel(source.threads > 1));
    let (stage, tally) = run(inputs, source, stage)?;
    Ok((stage.0.into_next().into_next(), tally))
}

fn fold_one<S: FoldedSink, W: Write>(
    recording: Input,
    source: &input::Config,
    fold: fold::Config,
    trim: Trim,
    is_chart: bool,
    exports: &mut [Export<W>],
    next: S,
) -> Result<(S, Tally)> {
    let name = recording.name.clone();
    let is_parallel = source.threads > 1;
    if is_chart {
        let next = trim.before(next)?;
        let (next, tally) = chart([recording], &name, source, fold, exports, next)?;
        return Ok((next.into_inner().into_next(), tally));
    }
    let merge = Merge::new(next).parallel(is_parallel);
    if trim.is_empty() {
        let folder = Folder::new(fold, name, merge).parallel(is_parallel);
        let (folder, tally) = run_beside([recording], source, exports, folder)?;
        return Ok((folder.into_next().into_next(), tally));
    }
    let folder = Folder::new(fold, name, trim.before(merge)?).parallel(is_parallel);
    let (folder, tally) = run_beside([recording], source, exports, folder)?;
    Ok((folder.into_next().into_inner().into_next().into_next(), tally))
}

/// Folds into lanes of time.
fn chart<S: FoldedSink, W: Write>(
    inputs: impl IntoIterator<Item = Input>,
    name: &str,
    source: &input::Config,
    fold: fold::Config,
    exports: &mut [Export<W>],
    next: S,
) -> Result<(S, Tally)> {
    let mut source = source.clone();
    source.script.pids = true;
    let (lanes, tally) = run_beside(inputs, &source, exports, Lanes::new(fold, name, next))?;
    Ok((lanes.into_next(), tally))
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
