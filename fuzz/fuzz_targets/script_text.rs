//! perf-script text: `cargo fuzz run script_text`. It folds to the same bytes in whatever pieces it arrives, and what fg-script copies of it folds alike.
#![no_main]

use std::io::Read;

use flamepipe::fold::{Config, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::script;
use flamepipe::tally::Tally;

/// Gives one to seven bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let len = self.1.min(into.len());
        self.0.read(&mut into[..len])
    }
}

fn fold(text: impl Read) -> Option<Vec<u8>> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(Config::default(), "fuzz", merge);
    script::Reader::new(&script::Config::default())
        .read(text, "fuzz", &mut frames, &mut folder, &mut tally)
        .ok()?;
    folder.finish(&mut frames, &mut tally).ok()?;
    Some(folder.into_next().into_next().into_inner())
}

fn copy(text: &[u8]) -> Option<Vec<u8>> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let mut writer = script::Writer::new(Vec::new(), "memory");
    script::Reader::new(&script::Config { places: true, text: true, ..script::Config::default() })
        .read(text, "fuzz", &mut frames, &mut writer, &mut tally)
        .ok()?;
    writer.finish(&mut frames, &mut tally).ok()?;
    Some(writer.into_inner())
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let whole = fold(text);
    assert_eq!(whole, fold(Pieces(text, 0)));
    if let (Some(whole), Some(copy)) = (whole, copy(text)) {
        assert_eq!(Some(whole), fold(&copy[..]));
    }
});
