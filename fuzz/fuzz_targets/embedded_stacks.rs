//! The stacks inside a graph, as far as the code that zstd and base64 are wrapped around: `cargo fuzz run embedded_stacks`, seeded with
//! lines such as `1;'write';0 42`.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use flamepipe::input::{Config, Input, Source};
use flamepipe::fold::{self, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::tally::Tally;

libfuzzer_sys::fuzz_target!(|code: &[u8]| {
    let Ok(packed) = zstd::encode_all(code, 1) else { return };
    let data = BASE64_STANDARD.encode(packed);
    let svg = format!("<svg><metadata id=\"flamepipe-folded-2\">{data}</metadata></svg>");
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
    let reader = Box::new(Cursor::new(svg.into_bytes()));
    let input = Input { name: "fuzz".into(), reader, path: None, progress: Arc::default() };
    let fed = Source::new(Config::default()).feed([input], &mut folder, &mut frames, &mut tally);
    if fed.is_ok() {
        let _ = folder.finish(&mut frames, &mut tally);
    }
});
