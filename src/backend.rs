//! Who does what the perf program can do, too: record, and read recordings.

/// This library or the perf program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// This library; perf for what only perf can do.
    #[default]
    Native,
    /// The perf program.
    Perf,
}
