//! Samples → folded stacks: naming, summing, merging.
//!
//! ```text
//! source ─Sample─▶ Folder ─Folded, once per distinct stack─▶ Merge ─Folded, sorted─▶ writer, renderer
//!                   │ names::Names: one name per distinct frame
//!                   └ sums::Sums: weights by stack, compared as integers
//! folded text ─Folded─▶ Merge
//!
//! source ─Sample─▶ Lanes ─Folded, piece after piece of each thread─▶ renderer of a flame chart
//! ```
//!
//! Options and names are those of inferno-collapse-perf; where it is wrong, [`name`] says what is right and why.

mod arguments;
mod event;
mod folder;
mod lanes;
mod merge;
#[doc(hidden)] // For the slow twin of the folder, in the tests.
pub mod name;
mod names;
mod order;
pub(crate) mod parts;
mod portions;
mod quality;
mod ranks;
mod root;
mod stage;
mod sums;

use bstr::BString;

#[doc(hidden)] // As above.
pub use event::base_event;
pub use folder::Folder;
pub use lanes::Lanes;
pub use merge::Merge;
pub(crate) use portions::{Worker, fold_all};
pub use stage::Stage;

/// How samples are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Mark kernel frames with `_[k]`.
    pub kernel: bool,
    /// Mark frames of run-time generated code with `_[j]`.
    pub jit: bool,
    /// Put the process into the root frame: `java-123`.
    pub pid: bool,
    /// Put process and thread into the root frame: `java-123/456`.
    pub tid: bool,
    /// Put the CPU above the thread, as a frame of its own: `cpu 3`.
    pub cpu: bool,
    /// Put the event above all else, as a frame of its own, and, if none is named in `event`, fold all of them. Their weights are in
    /// units of their own.
    pub by_event: bool,
    /// Numbers in the names of threads become `*`, so that those of a pool are one: `worker-*`.
    pub merge_threads: bool,
    /// What is summed.
    pub weighing: Weighing,
    /// Do not tell the next sink what weights are in, not even what inputs tell: see [`crate::unit`].
    pub no_unit: bool,
    /// The event to fold, with or without its modifiers; `None` is the first one that the recording
    /// lists or, in text that lists none, the most frequent one. Beside a clock, and in the same
    /// nanoseconds, there may be `off-cpu`, the time that threads were blocked: both are folded
    /// then, each under a root of its own.
    pub event: Option<BString>,
    /// Symbols that become the root of every stack they are on: what called them is left out, the comm too.
    pub skip_after: Vec<BString>,
}

impl Config {
    /// Whether something is asked for that samples tell and folded stacks do not.
    pub(crate) fn asks_samples(&self) -> bool {
        let roots = [self.pid, self.tid, self.cpu, self.by_event, self.merge_threads];
        roots.contains(&true)
            || self.weighing == Weighing::Samples
            || self.event.is_some()
            || !self.skip_after.is_empty()
    }
}

/// What a sample weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighing {
    /// What it stands for, in units of the event: nanoseconds, cycles. 1 where that is not told.
    #[default]
    Period,
    /// 1.
    Samples,
}
