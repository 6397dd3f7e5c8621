//! The stacks inside a picture, behind the base64 and deflate that they are wrapped in:
//! `cargo fuzz run embedded_stacks`.
#![no_main]

use std::io::{Cursor, Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use flamepipe::input::{Config, Input, Source};
use flamepipe::fold::{self, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::tally::Tally;

libfuzzer_sys::fuzz_target!(|code: &[u8]| {
    let mut deflater = DeflateEncoder::new(Vec::new(), Compression::fast());
    let Ok(()) = deflater.write_all(code) else { return };
    let Ok(packed) = deflater.finish() else { return };
    let data = BASE64_STANDARD.encode(packed);
    let svg = format!("<svg><metadata id=\"flamepipe-graph-3\">{data}</metadata></svg>");
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
    let input = Input::new("fuzz", Cursor::new(svg.into_bytes()));
    let config = Config::default();
    let fed = Source::new(&config).feed([input], &mut folder, &mut frames, &mut tally);
    if fed.is_ok() {
        let _ = folder.finish(&mut frames, &mut tally);
    }
});
