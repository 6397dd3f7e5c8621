//! The programs: what is typed becomes a stage's `Config`, stages are given their ends, failures become messages.
//!
//! One file a program. [`main`] is the whole of every binary; [`io`] is the only place that opens files and standard
//! streams.

mod binary;
pub mod cargo;
pub mod cargo_flamegraph;
pub mod diff;
pub mod filter;
pub mod flamegraph;
pub mod fold;
pub mod folding;
pub mod graph;
pub mod io;
mod live;
pub mod logger;
pub mod man;
mod palette_map;
pub mod program;
pub mod progress;
pub mod record;
pub mod render;
pub mod rules;
pub mod script;
pub mod select;
pub mod signals;

pub use binary::main;
pub use program::{Done, Failure, Program};
