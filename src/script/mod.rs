//! Reads samples from recordings and from perf-script text, and writes samples as text.
//!
//! [`Reader`] turns text into samples, and [`Writer`] turns samples into text. [`native`] reads
//! perf.data itself; [`perf`] lets the perf program read it. fg-script(5) specifies the text.
//!
//! ```text
//! python3 14854 [001]  1526.501428:     500000 cpu-clock:ppp:             header::Header
//!            20ca3 mmap64+0x13 (/usr/lib/x86_64-linux-gnu/libc.so.6)     line::Frame, leaf first
//!             61f7 main+0x87 (/usr/bin/python3.11)
//!                                                                        a blank line
//! ```

mod callers;
pub(crate) mod chunk;
mod config;
mod digests;
mod frame_lines;
#[doc(hidden)] // For the slow twin of the reader, in the tests.
pub mod header;
#[doc(hidden)] // As above.
pub mod line;
mod lines;
pub(crate) mod native;
mod numbers;
mod pending;
pub(crate) mod perf;
mod reader;
mod writer;

pub use crate::symbols::Config as Symbols;
pub use config::Config;
pub(crate) use numbers::nanoseconds;
pub use reader::Reader;
pub use writer::Writer;
