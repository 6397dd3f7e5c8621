//! The stages nested in one process, as flamegraph and cargo-flamegraph run them.
//!
//! ```text
//! Source ─▶ Folder or, for a flame chart, Lanes ─▶ [Merge ─▶ Command: --post-process] ─▶ Renderer ─▶ SVG
//! ```
//!
//! They are the stages of the binaries with other ends plugged in, so that `fg-script X | fg-fold | COMMAND | fg-render` writes
//! the same bytes; scripts/flamegraph.sh is that pipeline, and a test compares them.

mod channel;
mod command;

use std::io::Write;

pub use channel::{Reader, Sender, channel};
pub use command::Command;

use crate::error::Result;
use crate::fold::source::Stage;
use crate::fold::{self, Folder, Lanes, Merge, source};
use crate::folded::FoldedSink;
use crate::render::{self, Order, Renderer};
use crate::sample::{FrameTable, SampleSink};
use crate::tally::Tally;

/// How a recording becomes a graph.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// How it is read.
    pub source: source::Config,
    /// How it is folded.
    pub fold: fold::Config,
    /// A program that the folded stacks pass through: its words, the first of which is its name.
    pub post_process: Option<Vec<String>>,
    /// How it is drawn.
    pub render: render::Config,
}

/// Draws `recording` to `out`, which errors call `output`; the tally is that of all stages.
///
/// Nothing is written before the graph is complete.
///
/// # Errors
/// Those of the stages; where there is nothing to draw, the one that says why.
pub fn draw<W: Write>(
    recording: source::Input<'_>,
    config: Config,
    out: W,
    output: &str,
) -> Result<(W, Tally)> {
    let Config { source, fold, post_process, render } = config;
    let is_chart = render.order == Order::Time;
    let input = recording.name.to_owned();
    match post_process {
        None => {
            let renderer = Renderer::new(render, &*input, out, output);
            let (renderer, tally) = match is_chart {
                true => chart([recording], &input, source, fold, renderer, |renderer| renderer)?,
                false => folded([recording], &input, source, fold, renderer)?,
            };
            Ok((renderer.into_inner(), tally))
        }
        Some(words) => {
            let name = command::output_of(&command::name(&words));
            let command = Command::new(words, Renderer::new(render, name, out, output));
            let (command, tally) = match is_chart {
                true => chart([recording], &input, source, fold, command, Command::next_mut)?,
                false => {
                    // Programs are given sorted stacks; a renderer does not care.
                    let merge = Merge::new(command);
                    let (merge, tally) = folded([recording], &input, source, fold, merge)?;
                    (merge.into_next(), tally)
                }
            };
            Ok((command.into_next().into_inner(), tally))
        }
    }
}

/// Draws `inputs`, together called `name`, with `renderer`.
///
/// # Errors
/// As with [`draw`].
pub fn draw_all<'a, W: Write>(
    inputs: impl IntoIterator<Item = source::Input<'a>>,
    name: &str,
    source: source::Config,
    is_chart: bool,
    renderer: Renderer<W>,
) -> Result<(Renderer<W>, Tally)> {
    match is_chart {
        true => chart(inputs, name, source, fold::Config::default(), renderer, |renderer| renderer),
        false => folded(inputs, name, source, fold::Config::default(), renderer),
    }
}

fn folded<'a, S: FoldedSink>(
    inputs: impl IntoIterator<Item = source::Input<'a>>,
    name: &str,
    source: source::Config,
    fold: fold::Config,
    next: S,
) -> Result<(S, Tally)> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    // The renderer shows it.
    let fold = fold::Config { unit: true, ..fold };
    let mut folder = Folder::new(fold, name, next);
    feed(inputs, source, &mut folder, &mut frames, &mut tally)?;
    folder.finish(&mut frames, &mut tally)?;
    Ok((folder.into_next(), tally))
}

/// As lanes of time; `renderer` finds what draws them behind `next`.
fn chart<'a, S: FoldedSink, W: Write>(
    inputs: impl IntoIterator<Item = source::Input<'a>>,
    name: &str,
    mut source: source::Config,
    fold: fold::Config,
    next: S,
    renderer: impl FnOnce(&mut S) -> &mut Renderer<W>,
) -> Result<(S, Tally)> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    source.recording.pids = true;
    let mut lanes = Lanes::new(fold, name, next);
    feed(inputs, source, &mut lanes, &mut frames, &mut tally)?;
    if !lanes.is_empty() {
        renderer(lanes.next_mut()).count_in("ns");
    }
    lanes.finish(&mut frames, &mut tally)?;
    Ok((lanes.into_next(), tally))
}

fn feed<'a>(
    inputs: impl IntoIterator<Item = source::Input<'a>>,
    source: source::Config,
    stage: &mut impl Stage,
    frames: &mut FrameTable,
    tally: &mut Tally,
) -> Result<()> {
    let mut source = source::Source::new(source);
    inputs.into_iter().try_for_each(|input| source.feed(input, stage, frames, tally))
}
