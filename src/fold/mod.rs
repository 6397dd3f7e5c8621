//! Turns samples into folded stacks: names frames, sums the weights of equal stacks, and merges.
//!
//! ```text
//! source ─Sample─▶ Folder ─Folded, each stack once─▶ Merge ─Folded, sorted─▶ writer, renderer
//!                   │ frame_names::FrameNames: one name per distinct frame
//!                   └ sums::Sums: weights by stack, compared as integers
//! folded text ─Folded─▶ Merge
//!
//! source ─Sample─▶ Lanes ─Folded, piece after piece of each thread─▶ renderer of a flame chart
//! ```
//!
//! Options and names are those of inferno-collapse-perf. [`name`] lists where inferno is wrong.

mod arguments;
mod bound;
mod event;
mod folder;
mod frame_names;
mod labels;
mod lanes;
mod merge;
#[doc(hidden)] // For the slow twin of the folder, in the tests.
pub mod name;
mod order;
mod quality;
mod ranks;
mod root;
pub(crate) mod split_files;
mod stage;
mod sums;
mod threads;
mod workers;

use bstr::BString;

pub use bound::Bound;
#[doc(hidden)] // As above.
pub use event::base_event;
pub use folder::Folder;
pub use labels::Labels;
pub use lanes::Lanes;
pub use merge::Merge;
pub(crate) use root::{is_java, thread_name};
pub(crate) use stage::SoFar;
pub use stage::Stage;
pub(crate) use threads::{Piece, Thread, Threads};
pub(crate) use workers::{Worker, fold_all};

/// How samples are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Mark kernel frames with `_[k]`.
    pub kernel: bool,
    /// Mark frames of run-time generated code with `_[j]`.
    pub jit: bool,
    /// Name frames by their modules, `/usr/bin/rg`, and leave out inlined ones.
    pub modules: bool,
    /// Put the process into the root frame: `java-123`.
    pub pid: bool,
    /// Put process and thread into the root frame: `java-123/456`.
    pub tid: bool,
    /// Put the CPU above the thread, as a frame of its own: `cpu 3`.
    pub cpu: bool,
    /// Put the event above all else, as a frame of its own. If `event` names none, all events are
    /// folded, and their weights have different units.
    pub by_event: bool,
    /// Write `*` for numbers in the names of threads, so that the threads of a pool are one:
    /// `worker-*`.
    pub merge_threads: bool,
    /// Keep the lines of frames, if the source has them. Stacks are then apart by lines.
    pub lines: bool,
    /// What a sample weighs.
    pub weighing: Weighing,
    /// Omit the `# unit` line, even if the input has one: see [`crate::unit`].
    pub no_unit: bool,
    /// Accept an input without samples.
    pub allow_empty: bool,
    /// The event to fold, with or without its modifiers. `None` is the first event that the
    /// recording lists. If text lists none, it is the most frequent one. `off-cpu`, the time that
    /// threads were blocked, is folded beside a clock, because both are nanoseconds; each then has
    /// a root of its own.
    pub event: Option<BString>,
    /// Symbols that become the root of every stack they are on. Their callers and the comm are left
    /// out.
    pub skip_after: Vec<BString>,
}

impl Config {
    /// Whether an option needs samples, because folded stacks do not have what it asks for.
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
    /// Its period, in units of the event: nanoseconds, cycles. 1 if it has no period.
    #[default]
    Period,
    /// 1.
    Samples,
}
