//! Every record type, of files and streams, of both byte orders: `cargo fuzz run perf_data`, seeded with recordings.
#![no_main]

use flamepipe::perf_data::{Reader, Shares};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::bytes(bytes.to_vec(), "fuzz") else { return };
    let mut shares = Shares::default();
    while let Ok(Some(item)) = reader.next_item() {
        shares.of(&item, |_, _| {});
    }
});
