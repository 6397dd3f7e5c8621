//! Locks mutexes even if a thread panicked, because their data is consistent between any two steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The data of `mutex`.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
