//! Gives freed memory back to the system.
//!
//! glibc keeps what was freed for the next time. After a second in which records had to wait, that
//! is a hundred megabytes, and a recording may last for days.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "malloc_trim(3)")
)]

/// Gives back the pages that nothing is on. Takes some milliseconds: call it every few seconds.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time and takes the locks that it needs.
    unsafe {
        libc::malloc_trim(0);
    }
}
