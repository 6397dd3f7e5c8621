//! Folded text: `cargo fuzz run folded_text`. Merging what was
//! merged changes nothing.
#![no_main]

use flamepipe::fold::Merge;
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::render::{Config, Renderer};
use flamepipe::sample::FrameTable;
use flamepipe::tally::Tally;

fn pass<S: FoldedSink>(text: &[u8], mut sink: S) -> Option<S> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    folded::read(text, "fuzz", &mut frames, &mut sink, &mut tally).ok()?;
    sink.finish(&mut frames, &mut tally).ok()?;
    Some(sink)
}

fn merged(text: &[u8]) -> Option<Vec<u8>> {
    let merge = pass(text, Merge::new(Writer::new(Vec::new(), "memory")))?;
    Some(merge.into_next().into_inner())
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Some(once) = merged(text) {
        assert_eq!(merged(&once), Some(once));
    }
    pass(text, Renderer::new(Config::default(), "fuzz", Vec::new(), "memory"));
});
