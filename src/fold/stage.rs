//! What inputs are fed into.

use super::Folder;
use crate::folded::FoldedSink;
use crate::sample::SampleSink;

/// A sink of samples that folds them: stacks that are folded already go past it, to the stage behind.
pub trait Stage: SampleSink {
    /// The stage behind.
    type Next: FoldedSink;
    /// What is behind the folder, if the stage has one.
    type Folded: FoldedSink;

    /// The stage behind.
    fn next_mut(&mut self) -> &mut Self::Next;

    /// The stage as a folder, which samples may reach in any order, so that several threads can read.
    fn as_folder(&mut self) -> Option<&mut Folder<Self::Folded>> {
        None
    }
}
