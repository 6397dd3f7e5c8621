//! What the sinks of a reader need of the text.

/// What the sinks need of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Fill in [`Sample::places`](crate::sample::Sample::places).
    pub places: bool,
    /// Fill in [`Sample::text`](crate::sample::Sample::text) and pass on what is no sample.
    pub text: bool,
    /// Keep unknown frames apart by their address: [`Frame::address`](crate::sample::Frame::address).
    pub addresses: bool,
}
