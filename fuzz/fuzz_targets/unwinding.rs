//! `scripts/fuzz unwinding`. The body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flamepipe_fuzz::unwinding(bytes));
