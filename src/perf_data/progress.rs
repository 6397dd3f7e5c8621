//! How far a reader has come, for a thread that shows it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes read, of how many. A stream does not tell.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    whole: AtomicU64,
}

impl Progress {
    /// Bytes read and bytes there are; `None` before anything is known.
    pub fn get(&self) -> Option<(u64, u64)> {
        let (read, whole) = (self.read.load(Relaxed), self.whole.load(Relaxed));
        (whole > 0).then_some((read.min(whole), whole))
    }

    pub(super) fn set(&self, read: usize, whole: usize) {
        self.read.store(read as u64, Relaxed);
        self.whole.store(whole as u64, Relaxed);
    }
}
