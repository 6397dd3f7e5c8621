//! Whatever fg-fold may be given, of any format: `cargo fuzz run any_input`, seeded with recordings, graphs and text of all kinds.
#![no_main]

use std::io::Cursor;

use flamepipe::input::{Config, Input, Source};
use flamepipe::fold::{self, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::tally::Tally;

libfuzzer_sys::fuzz_target!(init: {
    // inferno's readers of other formats may panic, which `fold::foreign` makes errors of: a panic is a find only if nobody catches it.
    drop(std::panic::take_hook());
}, |bytes: &[u8]| {
    // What only the perf program reads would be given to it.
    if bytes.starts_with(b"PERFFILE") {
        return;
    }
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
    let input = Input::new("fuzz", Cursor::new(bytes.to_vec()));
    let config = Config::default();
    let fed = Source::new(&config).feed([input], &mut folder, &mut frames, &mut tally);
    if fed.is_ok() {
        let _ = folder.finish(&mut frames, &mut tally);
    }
});
