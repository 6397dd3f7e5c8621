//! What to keep of a profile, where to cut it, and how to call things: over samples and folded stacks.
//!
//! A [`Config`] is a [`Predicate`] that says which items stay and a list of [`Edit`]s of their stacks. It is what a
//! filter *means*; what is typed, as flags or in the language of `grammar.rs`, is turned into it. [`SampleFilter`] and
//! [`FoldedFilter`] apply it, each as a stage that owns the next sink.
//!
//! Every question about a frame is asked once per distinct frame and the answer kept by its id (`memo.rs`), so the
//! cost of a regular expression does not depend on how many samples there are. Items whose stack is not changed are
//! passed on as they are, text and all: a filter that keeps everything is `cat`.

mod edit;
mod folded;
mod grammar;
mod heaviest;
mod memo;
mod pattern;
mod predicate;
mod preset;
mod sample;
mod show;

pub use edit::Edit;
pub use folded::FoldedFilter;
pub use heaviest::{Heaviest, Minimum, Weights};
pub use pattern::Pattern;
pub use predicate::Predicate;
pub use preset::Preset;
pub use sample::SampleFilter;

/// What a filter does; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What an item must be to stay. It sees names as they are read, before any edit.
    pub keep: Predicate,
    /// What is done to the stacks that stay, in this order, each on what the one before left.
    pub edits: Vec<Edit>,
}

impl Config {
    /// Whether this is `cat`: every item stays as it is.
    pub fn keeps_everything(&self) -> bool {
        self.edits.is_empty() && matches!(&self.keep, Predicate::All(all) if all.is_empty())
    }
}
