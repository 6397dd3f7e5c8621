//! Samples → folded stacks: naming, summing, merging.
//!
//! ```text
//! source ─Sample─▶ Folder ─Folded, once per distinct stack─▶ Merge ─Folded, sorted─▶ writer, renderer
//!                   │ name::Names: one name per distinct frame
//!                   └ sums::Sums: weights by stack, compared as integers
//! folded text ─Folded─▶ Merge
//!
//! source ─Sample─▶ Lanes ─Folded, piece after piece of each thread─▶ renderer of a flame chart
//! ```
//!
//! Options and names are those of inferno-collapse-perf; where it is wrong, [`name`] says what is right and why.

mod event;
mod folder;
mod foreign;
mod format;
mod lanes;
mod merge;
pub mod name;
mod parallel;
mod quality;
pub mod source;
mod sums;

use bstr::BString;

pub use folder::Folder;
pub use format::Format;
pub use lanes::Lanes;
pub use merge::Merge;

/// How samples are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Mark kernel frames with `_[k]`.
    pub kernel: bool,
    /// Mark frames of run-time generated code with `_[j]`.
    pub jit: bool,
    /// Name unknown frames by their address too: `[libc.so.6 <7f53>]`. The source must keep the addresses apart.
    pub addresses: bool,
    /// Put the process into the root frame: `java-123`.
    pub pid: bool,
    /// Put process and thread into the root frame: `java-123/456`.
    pub tid: bool,
    /// The event to fold, with or without its modifiers; `None` is the first one met. Beside a clock, and in the same nanoseconds,
    /// there may be `off-cpu`, the time that threads were blocked: both are folded then, each under a root of its own.
    pub event: Option<BString>,
    /// Symbols that become the root of every stack they are on: what called them is left out, the comm too.
    pub skip_after: Vec<BString>,
}
