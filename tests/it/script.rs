//! fg-script: perf.data read by ourselves, held against `perf script` on recordings made here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use bstr::{BString, ByteSlice};

use crate::harness::{Dir, cannot_run, example};

mod debuginfod;
mod fallback;
mod header;
mod jit;
mod progress;
mod select;
mod vmlinux;
mod warnings;

/// Records with the perf program; `None`, said loudly, where that cannot be done.
fn record(dir: &Dir, test: &str, options: &str, command: &[&str]) -> Option<PathBuf> {
    let path = dir.path("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-o"]).arg(&path).args(options.split(' ')).arg("--").args(command);
    let done = perf.current_dir(dir.path("")).output();
    match done {
        Ok(output)
            if output.status.success() && path.metadata().is_ok_and(|file| file.len() > 0) =>
        {
            Some(path)
        }
        Ok(output) => {
            cannot_run(test, &output.stderr.to_str_lossy());
            None
        }
        Err(error) => {
            cannot_run(test, &error.to_string());
            None
        }
    }
}

/// perf 6.1 does not tell some stubs' names: `@plt` instead of `__tunable_get_val@plt`.
fn without_stub_names(stack: &[u8]) -> BString {
    let frame =
        |frame: &[u8]| if frame.ends_with(b"@plt") { b"@plt".to_vec() } else { frame.to_vec() };
    stack.split_str(";").map(frame).collect::<Vec<_>>().join(&b';').into()
}

fn sums(folded: &BString) -> BTreeMap<BString, u64> {
    let mut sums = BTreeMap::new();
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once_str(" ").unwrap();
        *sums.entry(without_stub_names(stack)).or_default() +=
            weight.to_str().unwrap().parse::<u64>().unwrap();
    }
    sums
}

/// The share of perf's weight that folds to the same stack here.
fn agreement(ours: &BString, perfs: &BString) -> f64 {
    let (ours, perfs) = (sums(ours), sums(perfs));
    assert_eq!(ours.values().sum::<u64>(), perfs.values().sum::<u64>(), "all weight is there");
    let same: u64 =
        perfs.iter().map(|(stack, &weight)| weight.min(*ours.get(stack).unwrap_or(&0))).sum();
    same as f64 / perfs.values().sum::<u64>() as f64
}

/// perf expands no inlines in `-g` recordings: without them on both sides.
fn fold(dir: &Dir, backend: &str, more: &[&str]) -> BString {
    dir.cmd("fg-fold")
        .args(["--backend", backend, "-q", "--no-inline", "--perf-compat"])
        .args(more)
        .arg("perf.data")
        .stdout()
}

#[test]
fn chains_are_those_of_perf() {
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=400000"];
    let shell =
        ["sh", "-c", "for i in 1 2 3; do python3 -c 'sum(range(2000000))'; cat /dev/null; done"];
    for (options, command) in
        [("-g -F 2000", &dd[..]), ("-g -F 2000", &shell[..]), ("-g -z -F 999", &dd[..])]
    {
        let dir = Dir::new();
        let Some(_) = record(&dir, "chains_are_those_of_perf", options, command) else { return };
        let share = agreement(&fold(&dir, "native", &[]), &fold(&dir, "perf", &[]));
        assert!(share >= 0.99, "{options} {command:?}: {share}");
    }
}

#[test]
fn every_event_keeps_its_name_and_its_samples() {
    for events in ["cpu-clock,page-faults", "{cpu-clock,task-clock}:S"] {
        let dir = Dir::new();
        let options = format!("-g -F 2000 -e {events}");
        let Some(_) = record(
            &dir,
            "every_event_keeps_its_name",
            &options,
            &["python3", "-c", "sum(range(3000000))"],
        ) else {
            return;
        };
        for event in events.trim_matches(['{', '}', 'S', ':']).split(',') {
            let filter = ["--event-filter", event];
            let share = agreement(&fold(&dir, "native", &filter), &fold(&dir, "perf", &filter));
            assert!(share >= 0.99, "{event}: {share}");
        }
    }
}

#[test]
fn unwound_stacks_reach_the_root_of_their_thread() {
    let dir = Dir::new();
    let burn = example("burn");
    let command = [burn.to_str().unwrap(), "--ms", "300"];
    let Some(_) = record(&dir, "unwound_stacks", "-F 997 --call-graph dwarf,16384", &command)
    else {
        return;
    };
    let folded = dir.cmd("fg-fold").args(["-q", "perf.data"]).stdout();
    let sums = sums(&folded);
    let all: u64 = sums.values().sum();
    let of = |part: &str| {
        sums.iter()
            .filter(|(stack, _)| stack.contains_str(part))
            .map(|(_, weight)| weight)
            .sum::<u64>()
    };
    assert!(of("clone3") + of("_start;") >= all / 100 * 97, "{folded}");
    assert!(of("[truncated]") <= all / 50, "{folded}");
    assert!(of("hot_hash") >= all / 3, "{folded}");
}

#[test]
fn text_and_memory_files_and_streams_are_the_same() {
    let dir = Dir::new();
    let Some(path) = record(
        &dir,
        "text_and_memory",
        "-F 997 --call-graph dwarf,8192",
        &["python3", "-c", "sum(range(3000000))"],
    ) else {
        return;
    };
    let folded = dir.cmd("fg-fold").args(["-q", "perf.data"]).stdout();
    let text = dir.cmd("fg-script").arg("perf.data").stdout();
    assert_eq!(dir.cmd("fg-fold").arg("-q").stdin(&text).stdout(), folded);
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(dir.cmd("fg-fold").arg("-q").stdin(&bytes).stdout(), folded);
    let plain = dir.cmd("fg-script").args(["--no-inline", "perf.data"]).stdout();
    assert!(!plain.contains_str("(inlined)"));
    // A recording that was cut is read as far as it goes.
    dir.write("cut.data", &bytes[..bytes.len() / 2]);
    let cut = dir.cmd("fg-fold").arg("cut.data").run().code(0);
    assert!(!cut.stdout.is_empty() && cut.stderr.contains_str("cut short"), "{}", cut.everything());
}
