//! Samples out of recordings and text.
//!
//! [`Reader`] turns perf-script text into samples and [`Writer`] turns samples into perf-script text; [`perf`] asks
//! the perf program to script a recording. fg-script(5) is the contract of the text.
//!
//! ```text
//! python3 14854 [001]  1526.501428:     500000 cpu-clock:ppp:                 header::Header
//!                20ca3 mmap64+0x13 (/usr/lib/x86_64-linux-gnu/libc.so.6)     line::Frame, leaf first
//!                 61f7 main+0x87 (/usr/bin/python3.11)
//!                                                                            a blank line ends the sample
//! ```

mod callers;
pub mod chunk;
mod config;
mod digests;
mod frame_lines;
pub mod header;
pub mod line;
mod lines;
pub mod native;
mod numbers;
mod pending;
pub mod perf;
mod reader;
mod writer;

pub use config::Config;
pub(crate) use numbers::nanoseconds;
pub use reader::Reader;
pub use writer::Writer;
