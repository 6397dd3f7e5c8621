//! Asking for memory before it is needed.
//!
//! A table that is larger than the caches answers after a hundred nanoseconds. Who knows some look-ups ahead where it will look can wait for all
//! of them at once.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "no safe function prefetches"))]

/// Has `place` brought into the cache, if the processor knows how to.
#[inline]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which SSE has and so every x86-64: it changes nothing and cannot fault, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
