//! Compares recordings of real programs, made here with perf, with `perf script` and inferno: what
//! `--perf-compat` folds, and how many stacks reach the root of their thread without it.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bstr::{BString, ByteSlice};
use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};

use crate::harness::{Dir, repo};
use crate::recording::{record, sums, unwound};

const DD: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=400000"];
const PYTHON: [&str; 3] = [
    "python3",
    "-c",
    "import json, re
for i in range(60):
    re.purge(); re.compile('(a|b)*c{%d}[^d]' % i)
    json.loads(json.dumps([{'a': [i] * 50, 'b': str(i)}] * 100))",
];
const SHELL: [&str; 3] = [
    "sh",
    "-c",
    "for i in 1 2 3 4 5 6 7 8; do ls -l /usr/bin /usr/lib /etc; sort /etc/passwd | grep root; done >/dev/null; ls -lR /usr/share/doc | sort | uniq >/dev/null",
];

/// The output of `perf script | inferno-collapse-perf` for the samples of one event.
fn perf_and_inferno(path: &Path, event: Option<&str>, more: &[&str]) -> Vec<u8> {
    let mut script = Command::new("perf");
    script.args(["script", "-i"]).arg(path).args(more);
    if event.is_some() {
        // With several events, inferno reads only periods that have no padding. So samples are
        // counted instead.
        script.args(["-F", "-period"]);
    }
    let script = script.output().unwrap();
    assert!(script.status.success(), "{}", script.stderr.to_str_lossy());
    let mut options = Options::default();
    options.event_filter = event.map(str::to_owned);
    let mut folded = Vec::new();
    Folder::from(options).collapse(&script.stdout[..], &mut folded).unwrap();
    without_versions(&folded)
}

/// The versions of symbols, `cfree@GLIBC_2.2.5` and `main@@GLIBC_2.34`, are no part of their names
/// here.
fn without_versions(folded: &[u8]) -> Vec<u8> {
    let version = regex::bytes::Regex::new("@@?[A-Z][A-Za-z_]*_[0-9.]+").unwrap();
    version.replace_all(folded, &b""[..]).into_owned()
}

/// Folds the recording on both sides, and wants `share` of the weight to have the same bytes.
#[track_caller]
fn agrees(dir: &Dir, share: f64, event: Option<&str>, more: &[&str]) {
    let one = |event| ["--event-filter", event, "--weight", "samples"];
    let filter: Vec<&str> = event.into_iter().flat_map(one).collect();
    let ours = dir.cmd("fg-fold").args(["-q", "--perf-compat"]).args(filter).args(more);
    let (ours, perfs) = (
        sums(&ours.arg("perf.data").stdout()),
        sums(&perf_and_inferno(&dir.path("perf.data"), event, more)),
    );
    let all = |sums: &BTreeMap<BString, u64>| sums.values().sum::<u64>() as f64;
    let our_all = all(&ours);
    let all = all(&perfs);
    assert!(our_all == all, "all weight is there: {our_all} {all}");
    let part = |stack: &BString| ours.get(stack).map_or(0.0, |&weight| weight as f64 / our_all);
    let same: f64 = perfs.iter().map(|(stack, &weight)| part(stack).min(weight as f64 / all)).sum();
    eprintln!("agreement {event:?} {more:?}: {:.3} %", same * 100.0);
    let other = |(stack, weight): (&BString, &u64), there: &BTreeMap<BString, u64>| {
        (there.get(stack) != Some(weight)).then(|| format!("{weight} {stack}"))
    };
    let only = |here: &BTreeMap<BString, u64>, there: &BTreeMap<BString, u64>| {
        here.iter().filter_map(|line| other(line, there)).take(10).collect::<Vec<_>>().join("\n")
    };
    assert!(
        same >= share,
        "{same}\nours:\n{}\nperf's:\n{}",
        only(&ours, &perfs),
        only(&perfs, &ours)
    );
}

/// The program of `tests/fixtures/threads.rs` with full debugging information.
fn threads(dir: &Dir) -> PathBuf {
    let path = dir.path("threads");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut rustc = Command::new(rustc);
    rustc.args(["--edition", "2024", "-g", "-O", "-o"]).arg(&path);
    let done = rustc.arg(repo().join("tests/fixtures/threads.rs")).output().unwrap();
    assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
    path
}

#[test]
fn unwound_stacks_of_rust_are_those_of_perf_inlines_included() {
    let dir = Dir::new();
    let program = threads(&dir);
    let command = [program.to_str().unwrap()];
    if record(&dir, "unwound_stacks_of_rust", &unwound(16384), &command).is_some() {
        agrees(&dir, 0.999, None, &[]);
        agrees(&dir, 0.999, None, &["--no-inline"]);
        reaches_roots(&dir);
    }
}

#[test]
fn recorded_chains_are_those_of_perf() {
    let dir = Dir::new();
    let program = threads(&dir);
    let rust = [program.to_str().unwrap()];
    for (options, command) in [
        ("-g -F 997", &rust[..]),
        ("-g -F 1997", &PYTHON),
        ("-g -F 1997", &SHELL),
        ("-g -F 1997", &DD),
        ("-g -F 1997 -z", &PYTHON),
        ("-g -F 1997 -o -", &PYTHON),
    ] {
        eprintln!("{options} {}", command[0]);
        if record(&dir, "recorded_chains", options, command).is_some() {
            agrees(&dir, 0.99, None, &[]);
        }
    }
}

#[test]
fn every_event_has_its_own_stacks() {
    let dir = Dir::new();
    for events in ["cpu-clock,page-faults", "{cpu-clock,task-clock}:S"] {
        let options = format!("-g -F 1997 -e {events}");
        if record(&dir, "every_event", &options, &PYTHON).is_some() {
            for event in events.trim_matches(['{', '}', 'S', ':']).split(',') {
                agrees(&dir, 0.99, Some(event), &[]);
            }
        }
    }
}

#[test]
fn unwound_stacks_reach_the_root_of_their_thread() {
    let dir = Dir::new();
    for command in [&DD[..], &PYTHON, &SHELL] {
        if record(&dir, "unwound_stacks_reach", &unwound(32768), command).is_some() {
            reaches_roots(&dir);
        }
    }
}

/// Asserts that 98 % of the weight begins where threads do.
#[track_caller]
fn reaches_roots(dir: &Dir) {
    let folded = sums(&dir.cmd("fg-fold").args(["-q", "perf.data"]).stdout());
    let all: u64 = folded.values().sum();
    let is_lost = |stack: &BString| {
        let mut frames = stack.split_str(";").skip(1);
        let (first, second) =
            (frames.next().unwrap_or_default(), frames.next().unwrap_or_default());
        let is_root = match first {
            b"_start" | b"_dl_start_user" | b"clone3" | b"__clone3" | b"clone" => true,
            // The `_start` of a program without symbols.
            [b'[', .., b']'] => second.starts_with(b"__libc_start_main"),
            // The new program's thread begins in there.
            first => first.ends_with(b"execve"),
        };
        !is_root
    };
    let lost: Vec<_> = folded.iter().filter(|(stack, _)| is_lost(stack)).collect();
    let weight: u64 = lost.iter().map(|(_, weight)| **weight).sum();
    eprintln!("roots: {:.3} %", 100.0 - weight as f64 * 100.0 / all as f64);
    assert!(weight <= all / 50, "{weight} of {all}: {lost:#?}");
}
