//! Reads inputs of any format into samples or folded stacks. Every profile that is read comes
//! through here.
//!
//! ```text
//!          decode        start, format                        fold::Stage
//! bytes ─▶ plain bytes ─▶ which format? ┬ perf.data ─────── recording ─┐
//!                                       ├ perf-script text ─ text ─────┴─Sample─▶ Folder, Lanes
//!                                       ├ folded, a graph ─────────────┬─Folded─▶ the stage behind
//!                                       └ others ─ foreign ────────────┘
//! ```
//!
//! To add a format of another profiler, write a file with its [`Foreign`], and add that to the list
//! in `format.rs`. Its reader is a function over the bytes of an input. Names go through
//! `Stacks::frame`, so that they are whole in folded text, and threads through `Stacks::thread`, so
//! that options about threads work.

mod async_profiler;
mod austin;
mod bpftrace;
mod chrome;
mod devtools;
mod dump;
mod firefox;
pub(crate) mod foreign;
mod format;
mod inferno;
mod json;
mod mistaken;
mod pprof;
pub(crate) mod recording;
mod source;
mod speedscope;
mod stackprof;
mod start;
mod text;
mod trace_samples;
pub(crate) mod unpack;
mod v8;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::perf_data::Progress;

pub use foreign::Foreign;
pub use format::Format;
pub(crate) use format::may_be_folded;
pub use source::{Config, Source, threads};
pub(crate) use start::read_start;

/// One input.
pub struct Input {
    /// Its name in errors.
    pub name: String,
    /// Its bytes.
    pub reader: Box<dyn Read + Send>,
    /// Its path, if it is a file that another program can open too.
    pub path: Option<PathBuf>,
    /// How much of a perf.data input was read, for a progress display.
    pub progress: Arc<Progress>,
}

impl Input {
    /// An input that is read once, from its start to its end: a stream, or bytes in memory.
    pub fn new(name: impl Into<String>, reader: impl Read + Send + 'static) -> Input {
        let name = name.into();
        let reader = Box::new(reader);
        Input { name, reader, path: None, progress: Arc::default() }
    }
}
