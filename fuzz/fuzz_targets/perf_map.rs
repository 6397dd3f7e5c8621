//! `scripts/fuzz perf_map`. The body is in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flamepipe_fuzz::perf_map(bytes));
