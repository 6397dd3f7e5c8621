//! Folding perf-script text, ours against inferno's collapser, both in-process and with one thread.
//!
//! The text is made here, modelled on recordings of python3 and rustc: a call tree that is walked at random, so that
//! neighbouring stacks share their roots, symbols of 10 to 150 bytes, paths of libraries, some kernel frames on top.
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

/// Marsaglia's xorshift64: the same text on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// About `bytes` of perf-script text in which each function calls up to `fan_out` others.
fn script(bytes: usize, fan_out: u64) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut text, mut path, mut time) = (String::new(), vec![1u64], 1_526_000_000u64);
    while text.len() < bytes {
        // The next sample leaves some functions and enters some others.
        path.truncate((1 + random.below(path.len() as u64)) as usize);
        for _ in 0..random.below(16).min(40 - path.len().min(40) as u64) {
            let caller = path.last().copied().unwrap_or(1);
            // A callee is what its caller and the call site make it.
            path.push(
                caller.wrapping_mul(0x5851_f42d_4c95_7f2d)
                    ^ random.below(fan_out).min(random.below(fan_out)),
            );
        }
        time += 1_003;
        text += &format!(
            "python3 14854 [00{}]  {}.{:06}:     500000 cpu-clock:ppp: \n",
            time / 50_000 % 2,
            time / 1_000_000,
            time % 1_000_000
        );
        path.iter().rev().for_each(|&function| text += &frame(function % 6_000));
        text.push('\n');
    }
    text.into_bytes()
}

fn frame(function: u64) -> String {
    let address = 0x7f53_0000_0000 + function * 0x140;
    let long = "core::iter::adapters::map::Map<alloc::vec::IntoIter<rustc_middle::ty::Ty>, ";
    match function % 8 {
        0 => format!(
            "\tffffffff{:08x} vfs_read_{function}+0x{:x} ([kernel.kallsyms])\n",
            function * 64,
            function % 199
        ),
        1..=3 => format!(
            "\t    {address:x} _PyEval_Frame{function}+0x{:x} (/usr/bin/python3.11)\n",
            function % 4001
        ),
        4 => format!("\t    {address:x} [unknown] (/usr/lib/x86_64-linux-gnu/libc.so.6)\n"),
        5 => format!(
            "\t    {address:x} {long}fold_{function}>+0x1b (/usr/lib/librustc_driver-0123456789abcdef.so)\n"
        ),
        6 => format!(
            "\t    {address:x} std::map<int, A{function}>::find(int const&)+0x2c (/usr/lib/libc++.so.1)\n"
        ),
        _ => format!("\t    {address:x} {long}<f{function} as B>::call>+0x1b (inlined)\n"),
    }
}

fn ours(text: &[u8]) -> Vec<u8> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(Config::default(), "text", merge);
    let mut reader = script::Reader::new(script::Config::default());
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
        ("typical", script(10 << 20, 4)),
        ("repeated", script(1 << 20, 2).repeat(10)),
        ("diverse", script(10 << 20, 50)),
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
