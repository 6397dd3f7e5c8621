//! Drawing folded text, ours against inferno's flamegraph, both in-process.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flamepipe::folded::{self, FoldedSink};
use flamepipe::render::{Config, Renderer};
use flamepipe::sample::FrameTable;
use flamepipe::tally::Tally;
use inferno::flamegraph;

/// `stacks` distinct stacks of 12 frames, sorted. Most weigh too little to be visible.
fn profile(stacks: u64) -> Vec<u8> {
    let line = |i: u64| {
        let frames: Vec<String> = (1..12)
            .map(|depth| format!("module{}::function_{}", depth, (i >> (12 - depth)) % 97))
            .collect();
        format!("main;{};leaf_{i} {}\n", frames.join(";"), 1 + 100_000 / (1 + i))
    };
    let mut lines: Vec<String> = (0..stacks).map(line).collect();
    lines.sort_unstable();
    lines.concat().into_bytes()
}

fn ours(text: &[u8]) -> Vec<u8> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut svg = Vec::new();
    let mut renderer = Renderer::new(Config::default(), "text", &mut svg, "memory");
    folded::read(text, "text", &mut frames, &mut renderer, &mut tally).unwrap();
    renderer.finish(&mut frames, &mut tally).unwrap();
    svg
}

fn infernos(text: &[u8]) -> Vec<u8> {
    let mut svg = Vec::new();
    flamegraph::from_reader(&mut flamegraph::Options::default(), text, &mut svg).unwrap();
    svg
}

fn render(criterion: &mut Criterion) {
    let text = profile(50_000);
    let mut group = criterion.benchmark_group("render");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("ours", |bencher| bencher.iter(|| black_box(ours(&text))));
    group.bench_function("inferno", |bencher| bencher.iter(|| black_box(infernos(&text))));
    group.finish();
}

criterion_group!(benches, render);
criterion_main!(benches);
