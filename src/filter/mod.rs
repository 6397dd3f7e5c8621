//! Selects, cuts and renames the stacks of a profile, in samples and in folded text.
//!
//! A [`Config`] has a [`Predicate`], which says which items stay, and a list of [`Edit`]s of their
//! stacks. The flags and the language of `grammar.rs` are turned into it. [`SampleFilter`] and
//! [`FoldedFilter`] apply it, each as a stage that owns the next sink.
//!
//! A question about a frame is asked once per distinct frame (`memo.rs`), so the cost of a regular
//! expression does not depend on the number of samples. Items whose stack does not change are
//! passed on with their text: a filter that keeps everything is `cat`.

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
pub use heaviest::{Heaviest, Weights};
pub use pattern::Pattern;
pub use predicate::Predicate;
pub use preset::Preset;
pub use sample::SampleFilter;

/// What a filter does. The default does nothing.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which items stay. It sees names as they are read, before any edit.
    pub keep: Predicate,
    /// The edits of the stacks that stay, in this order.
    pub edits: Vec<Edit>,
}

impl Config {
    /// Whether this is `cat`: every item stays as it is.
    pub fn keeps_everything(&self) -> bool {
        self.edits.is_empty() && matches!(&self.keep, Predicate::All(all) if all.is_empty())
    }
}
