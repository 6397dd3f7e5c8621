//! Every record type, of files and streams, of both byte orders, and files made of streams: `cargo fuzz run perf_data`, seeded with
//! recordings.
#![no_main]

use flamepipe::perf_data::{Reader, Shares, seekable};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    let mut file = std::io::Cursor::new(Vec::new());
    if let Ok(true) = seekable::write(bytes, &mut file) {
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
