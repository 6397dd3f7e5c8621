//! The settings of all readers of recordings and of perf-script text.

use crate::backend::Backend;
use crate::symbols;

/// How recordings and their text become samples. All readers take it by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The program that reads perf.data.
    pub backend: Backend,
    /// Leave inlined frames out.
    pub no_inline: bool,
    /// Distinguish unknown frames by their addresses:
    /// [`Frame::address`](crate::sample::Frame::address). fold names them by it.
    pub addresses: bool,
    /// Name and lose frames as perf 6.1 does even if it is wrong, so that the rest can be compared.
    /// For example, a call that ends a function is named after the next function, and no mark says
    /// that a stack was cut. docs/DIFFERENCES.md marks all of it with a star.
    pub perf_compat: bool,
    /// Print the process of each sample. We always do; `perf script` does it only on demand.
    pub pids: bool,
    /// Begin with the description of the recording:
    /// [`SampleSink::text`](crate::sample::SampleSink::text) gets the comment lines of `perf script
    /// --header`.
    pub header: bool,
    /// The recording still goes on, so name addresses meanwhile. Not with perf.
    pub live: bool,
    /// Find the lines of frames: [`Frame::line`](crate::sample::Frame::line). Frames of one
    /// function are then distinct. Only our own reader of perf.data finds them, by DWARF.
    pub lines: bool,
    /// The sink needs [`Sample::places`](crate::sample::Sample::places).
    pub places: bool,
    /// The sink needs [`Sample::text`](crate::sample::Sample::text), and text that is no sample.
    pub text: bool,
    /// Where to look for modules and their debug files.
    pub symbols: symbols::Config,
}
