//! `scripts/fuzz foreign`. The body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: {
    // The panics of inferno's readers are caught: a panic is a find only if nobody catches it.
    drop(std::panic::take_hook());
}, |bytes: &[u8]| flamepipe_fuzz::foreign(bytes));
