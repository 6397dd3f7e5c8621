//! The only integration-test binary: a module per stage, the laws of the pipeline, and the programs
//! as users run them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub
)]

mod harness;
mod recording;

mod agreement;
mod cargo;
#[cfg(target_os = "linux")]
mod ci;
mod cli;
mod diff;
mod embed;
mod export;
mod faults;
mod filter;
mod fold;
mod foreign;
mod fuzz;
mod golden;
mod language;
mod laws;
mod movers;
mod page;
mod perf_data;
mod pipeline;
mod presets;
mod record;
mod render;
mod script;
mod symbols;
mod top;
mod unwinding;
