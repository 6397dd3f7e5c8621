//! The programs. They turn the typed options into a stage's `Config`, open the ends of the stages,
//! and print failures as messages.
//!
//! Each program has a file. [`main`] is the whole of every binary; [`io`] is the only place that
//! opens files and standard streams.

mod binary;
mod cargo;
mod cargo_flamegraph;
mod cargo_words;
mod completions;
mod diff;
mod doctor;
mod export;
mod failed;
mod filter;
mod filter_args;
mod flamegraph;
mod fold;
mod folding;
mod graph;
mod help;
mod io;
mod live;
mod logger;
mod man;
mod pack;
mod palette_map;
mod per_test;
mod program;
mod progress;
mod record;
mod render;
mod script;
mod select;
mod signals;
mod strict;
mod stripped;
mod top;

pub use binary::main;
pub use cargo_flamegraph::CargoFlamegraphArgs;
pub use diff::DiffArgs;
pub use export::ExportArgs;
pub use filter::FilterArgs;
pub use flamegraph::FlamegraphArgs;
pub use fold::FoldArgs;
pub use program::{Done, Program};
pub use record::RecordArgs;
pub use render::RenderArgs;
pub use script::ScriptArgs;
pub use top::TopArgs;

pub(crate) use program::Failure;
