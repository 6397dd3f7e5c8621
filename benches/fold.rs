//! Folding perf-script text, ours against inferno's collapser, both in-process and with one thread.
//!
//! The text is that of `examples/corpus.rs`.
//! `FLAMEPIPE_BENCH_SCRIPT=FILE cargo bench --bench fold` benches a real file too.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flamepipe::fold::{Config, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::script;
use flamepipe::tally::Tally;
use inferno::collapse::Collapse;
use inferno::collapse::perf as inferno_perf;

#[path = "../examples/corpus.rs"]
mod corpus;

/// About 10 MB of a kind of text.
fn script(name: &str) -> Vec<u8> {
    let kind = corpus::KINDS.into_iter().find(|kind| kind.name == name).unwrap();
    let mut text = Vec::new();
    corpus::write(&corpus::Kind { bytes: 10 << 20, ..kind }, &mut text).unwrap();
    text
}

fn ours(text: &[u8]) -> Vec<u8> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(Config::default(), "text", merge);
    let mut reader = script::Reader::new(&script::Config::default());
    reader.read(text, "text", &mut frames, &mut folder, &mut tally).unwrap();
    folder.finish(&mut frames, &mut tally).unwrap();
    folder.into_next().into_next().into_inner()
}

fn infernos(text: &[u8]) -> Vec<u8> {
    let mut options = inferno_perf::Options::default();
    options.nthreads = 1;
    let mut out = Vec::new();
    inferno_perf::Folder::from(options).collapse(text, &mut out).unwrap();
    out
}

fn fold(criterion: &mut Criterion) {
    let mut texts = vec![
        ("repetitive", script("repetitive")),
        ("diverse", script("diverse")),
        ("stacks", script("stacks")),
    ];
    if let Some(path) = std::env::var_os("FLAMEPIPE_BENCH_SCRIPT") {
        texts.push(("file", std::fs::read(path).unwrap()));
    }
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(10);
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours", name), text, |bencher, text| {
            bencher.iter(|| black_box(ours(text)));
        });
        group.bench_with_input(BenchmarkId::new("inferno", name), text, |bencher, text| {
            bencher.iter(|| black_box(infernos(text)));
        });
    }
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
