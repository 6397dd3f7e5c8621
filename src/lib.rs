//! Flame graphs as a Unix pipeline.
//!
//! ```text
//!            perf.data stream       perf-script text       folded text            SVG
//! fg-record ──────────────▶ fg-script ────────────▶ fg-fold ──────────▶ fg-render ─────▶
//!    │                                    ▲ fg-filter          ▲ fg-filter, fg-diff
//!    └── fg-fold reads the stream too, so `fg-record ./bin | fg-fold | fg-render` works
//!
//! in one process:  source ──push──▶ [filter] ──push──▶ folder ──push──▶ [filter] ──▶ renderer
//! ```
//!
//! A *source* pushes [`sample::Sample`]s or [`folded::Folded`] stacks. A *stage* is a sink that
//! owns the next sink. A *writer* is a sink that prints. This draws a part of a profile in any
//! known format:
//!
//! ```
//! use flamepipe::filter::{self, FoldedFilter};
//! use flamepipe::fold::{self, Folder, Merge};
//! use flamepipe::input::{self, Input, Source};
//! use flamepipe::render::{self, Renderer};
//! use flamepipe::sample::SampleSink;
//!
//! let text = "app 7 1.5: 10 cycles: \n\t 20 parse+0x2 (/app)\n\t 10 main+0x8 (/app)\n\n";
//! let renderer = Renderer::new(render::Config::default(), "app", Vec::new(), "app.svg");
//! let keep = filter::Config { keep: "frame parse*".parse()?, edits: Vec::new() };
//! let next = Merge::new(FoldedFilter::new(keep, renderer)?);
//! let mut folder = Folder::new(fold::Config::default(), "app", next);
//!
//! let (mut frames, mut tally) = Default::default();
//! let config = input::Config::default();
//! let input = Input::new("app", text.as_bytes());
//! Source::new(&config).feed([input], &mut folder, &mut frames, &mut tally)?;
//! folder.finish(&mut frames, &mut tally)?;
//! let svg: Vec<u8> = folder.into_next().into_next().into_inner().into_inner();
//! assert!(svg.starts_with(b"<?xml") && tally.is_clean());
//! # Ok::<(), flamepipe::error::Error>(())
//! ```
//!
//! | I want to | use |
//! |---|---|
//! | record a program | [`record::recorder`], [`record::Workload`] |
//! | read a profile of any format | [`input::Source`] |
//! | read or write perf-script text | [`script::Reader`], [`script::Writer`] |
//! | read or write folded stacks | [`folded::read`], [`folded::Writer`] |
//! | fold samples, and merge equal stacks | [`fold::Folder`], [`fold::Merge`] |
//! | draw a flame chart | [`fold::Lanes`] |
//! | keep, drop or edit stacks | [`filter::FoldedFilter`], [`filter::SampleFilter`] |
//! | compare two profiles | [`diff::Differ`], [`diff::Movers`] |
//! | list functions, callers, callees | [`top::Top`] |
//! | draw a graph | [`render::Renderer`], [`output::Pictures`] |
//! | write a profile for another tool | [`export::Export`] |
//! | do all of this at once | [`pipeline::draw`] |
//! | write a stage of my own | [`sample::SampleSink`], [`folded::FoldedSink`] |
//! | know what was lost | [`tally::Tally`], [`report::of`] |

mod backend;
#[doc(hidden)] // For the tests.
pub mod cargo;
#[doc(hidden)] // For the binaries.
pub mod cli;
pub mod diff;
mod doctor;
pub mod error;
mod event;
pub mod export;
pub mod filter;
pub mod fold;
pub mod folded;
mod graph;
mod heap;
pub mod input;
mod intern;
mod leb128;
mod lock;
mod lookup;
mod mapped;
pub mod output;
mod parallel;
#[doc(hidden)] // For the tests and the fuzzer. Only Linux writes recordings.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]
pub mod perf_data;
pub mod pipeline;
mod pprof;
mod prefetch;
pub mod record;
pub mod render;
pub mod report;
pub mod sample;
pub mod script;
mod slots;
mod stacks;
#[doc(hidden)] // As above.
pub mod symbols;
pub mod tally;
pub mod top;
mod unit;
mod unwind;
mod watch;
mod windows;

pub use backend::Backend;
