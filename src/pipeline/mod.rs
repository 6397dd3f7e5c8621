//! The stages nested in one process, as flamegraph and cargo-flamegraph run them.
//!
//! ```text
//! Source ─▶ Folder ─▶ Merge ─▶ [Command: --post-process] ─▶ Renderer ─▶ SVG
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
use crate::fold::{self, Folder, Merge, source};
use crate::folded::FoldedSink;
use crate::render::{self, Renderer};
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
    match config.post_process {
        None => {
            let renderer = Renderer::new(config.render, recording.name, out, output);
            let (renderer, tally) = fold_into(recording, config.source, config.fold, renderer)?;
            Ok((renderer.into_inner(), tally))
        }
        Some(words) => {
            let name = command::output_of(&command::name(&words));
            let renderer = Renderer::new(config.render, name, out, output);
            let command = Command::new(words, renderer);
            let (command, tally) = fold_into(recording, config.source, config.fold, command)?;
            Ok((command.into_next().into_inner(), tally))
        }
    }
}

fn fold_into<S: FoldedSink>(
    recording: source::Input<'_>,
    source: source::Config,
    fold: fold::Config,
    next: S,
) -> Result<(S, Tally)> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    // The renderer shows it.
    let fold = fold::Config { unit: true, ..fold };
    let mut folder = Folder::new(fold, recording.name, Merge::new(next));
    source::Source::new(source).feed(recording, &mut folder, &mut frames, &mut tally)?;
    folder.finish(&mut frames, &mut tally)?;
    Ok((folder.into_next().into_next(), tally))
}
