//! What comes in: which format it is in, and what it was packed or encoded with.

pub mod decode;
mod format;
mod stranger;

pub use format::Format;
pub(crate) use format::SNIFFED;
pub(crate) use stranger::Stranger;
