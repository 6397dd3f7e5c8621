//! What names are asked for.

/// How the functions at an address are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// With those that were inlined there.
    pub inlines: bool,
    /// As `perf script` 6.1 does: with inlined functions all have the names that addr2line gives them, the outermost too, and only
    /// what has the name of the symbol itself is not told to be inlined; stubs are counted, not looked at.
    pub as_perf: bool,
    /// `_start` and `clone` by their code, where they have lost their names: `symbols/code.rs`.
    pub starts: bool,
}

impl Naming {
    /// The one function of the symbol.
    pub const SYMBOLS: Naming = Naming { inlines: false, as_perf: false, starts: false };
    /// All functions.
    pub const INLINES: Naming = Naming { inlines: true, ..Naming::SYMBOLS };
}
