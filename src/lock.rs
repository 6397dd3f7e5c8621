//! Mutexes, also of threads that panicked: what they guard is whole between any two steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `mutex` guards.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
