//! Selects who records and reads recordings: native code or the perf program.

/// This library or the perf program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// This library; perf for what only perf can do.
    #[default]
    Native,
    /// The perf program.
    Perf,
}
