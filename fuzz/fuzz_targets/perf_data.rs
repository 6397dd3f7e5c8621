//! Every record type, of files and streams, of both byte orders, and files made of streams: `cargo fuzz run perf_data`, seeded with
//! recordings.
#![no_main]

use std::io::Write;

use flamepipe::perf_data::Seekable;
use flamepipe::perf_data::{Reader, Shares};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    let mut file = Seekable::new(std::io::Cursor::new(Vec::new()));
    let _ = file.write_all(bytes);
    if let Ok(file) = file.finish() {
        read(file.into_inner());
    }
});

fn read(bytes: Vec<u8>) {
    let Ok(mut reader) = Reader::bytes(bytes, "fuzz") else { return };
    let mut shares = Shares::default();
    while let Ok(Some(item)) = reader.next_item() {
        shares.of(&item, |_, _| {});
    }
}
