//! Flame graphs as a Unix pipeline.
//!
//! ```text
//!             perf.data stream       perf-script text          folded text             SVG
//!  fg-record ──────────────▶ fg-script ────────────▶ fg-fold ─────────────▶ fg-render ─────▶
//!     │                                     ▲ fg-filter ▲           ▲ fg-filter, fg-diff, --post-process
//!     └── fg-fold reads the stream too, so `fg-record ./bin | fg-fold | fg-render` works
//!
//!  in one process:  source ──push──▶ [filter] ──push──▶ folder ──push──▶ [filter, post-process] ──▶ renderer
//! ```
//!
//! A *source* pushes [`sample::Sample`]s or [`folded::Folded`] stacks, a *stage* is a sink that owns the next sink, a
//! *writer* is a sink that prints. Start with [`sample`].

mod backend;
#[doc(hidden)] // For the tests.
pub mod cargo;
#[doc(hidden)] // For the binaries.
pub mod cli;
pub mod diff;
pub mod error;
mod event;
pub mod filter;
pub mod fold;
pub mod folded;
mod graph;
pub mod input;
mod intern;
mod lock;
mod mapped;
pub mod output;
#[doc(hidden)] // For the tests and the fuzzer.
pub mod perf_data;
pub mod pipeline;
mod prefetch;
pub mod record;
pub mod render;
pub mod sample;
pub mod script;
mod slots;
mod stacks;
#[doc(hidden)] // As above.
pub mod symbols;
pub mod tally;
mod unit;
mod unwind;
mod windows;

pub use backend::Backend;
