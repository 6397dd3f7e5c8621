//! The stage that inputs feed.

use super::{Config, Folder};
use crate::error::Result;
use crate::folded::FoldedSink;
use crate::sample::{FrameTable, SampleSink};

/// A sink that folds samples. Stacks that are already folded go past it, to the stage behind.
pub trait Stage: SampleSink {
    /// The stage behind.
    type Next: FoldedSink;
    /// The sink behind the folder, if the stage has a folder.
    type Folded: FoldedSink;

    /// The stage behind.
    fn next_mut(&mut self) -> &mut Self::Next;

    /// How it folds samples, for inputs that are folded already but have some of what it asks for.
    fn folding(&mut self) -> Config {
        self.as_folder().map(|folder| folder.config().clone()).unwrap_or_default()
    }

    /// The stage as a folder, if samples may reach it in any order. Then several threads can read.
    fn as_folder(&mut self) -> Option<&mut Folder<Self::Folded>> {
        None
    }
}

/// A stage that can show what it has before the end.
pub(crate) trait SoFar: Stage {
    /// Pushes what came so far into `next`, as it will be pushed at the end, and goes on. `false`
    /// if there is nothing yet. `next` is not finished.
    fn so_far(&mut self, frames: &mut FrameTable, next: &mut dyn FoldedSink) -> Result<bool>;
}
