//! How recordings, and text of them, become samples.

use crate::backend::Backend;
use crate::symbols;

/// How recordings, and text of them, become samples. Whoever reads takes it by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Who reads perf.data.
    pub backend: Backend,
    /// Leave inlined frames out.
    pub no_inline: bool,
    /// Keep unknown frames apart by their address: [`Frame::address`](crate::sample::Frame::address). fold names them by it.
    pub addresses: bool,
    /// Name and lose frames as perf 6.1 does even if it is wrong, so that the rest can be compared.
    /// For example, a call that ends a function is named after the next function, and no mark says
    /// that a stack was cut. docs/DIFFERENCES.md marks all of it with a star.
    pub perf_compat: bool,
    /// Tell the process of each sample. We always do; `perf script` does only if it is asked to.
    pub pids: bool,
    /// Begin with what the recording says about itself: [`SampleSink::text`](crate::sample::SampleSink::text) is given
    /// comment lines, as `perf script --header` writes them.
    pub header: bool,
    /// The recording is still going on: name what is there while there is time. Not with perf.
    pub live: bool,
    /// The sink needs [`Sample::places`](crate::sample::Sample::places).
    pub places: bool,
    /// The sink needs [`Sample::text`](crate::sample::Sample::text), and text that is no sample.
    pub text: bool,
    /// Where to look for modules and their debug files.
    pub symbols: symbols::Config,
}
