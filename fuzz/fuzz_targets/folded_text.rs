//! Folded text: `cargo fuzz run folded_text`. Merging what was merged changes nothing, and of a file, which is sorted then, the same is drawn as of a stream.
#![no_main]

use std::io::Write;

use flamepipe::fold::Merge;
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::pipeline;
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

fn renderer() -> Renderer<Vec<u8>> {
    let config = Config { embed: false, min_width: 7.0, ..Config::default() };
    Renderer::new(config, "fuzz", Vec::new(), "memory")
}

/// What is drawn of sorted `text` as a file, if that is taken as one.
fn drawn_of_file(text: &[u8]) -> Option<Vec<u8>> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(text).ok()?;
    let mut renderer = renderer();
    pipeline::draw_sorted(&file, &mut renderer).ok()??;
    Some(renderer.into_inner())
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Some(once) = merged(text) {
        if let Some(drawn) = drawn_of_file(&once) {
            assert_eq!(pass(&once, renderer()).map(Renderer::into_inner), Some(drawn));
        }
        assert_eq!(merged(&once), Some(once));
    }
    pass(text, Renderer::new(Config::default(), "fuzz", Vec::new(), "memory"));
});
