//! fg-script: perf.data read by ourselves, held against `perf script` on recordings made here.

use bstr::ByteSlice;

use crate::harness::Dir;
#[cfg(target_os = "linux")]
use crate::harness::example;
use crate::recording::record;
#[cfg(target_os = "linux")]
use crate::recording::sums;

// With programs that are shell scripts.
#[cfg(target_os = "linux")]
mod debuginfod;
mod deferred;
#[cfg(target_os = "linux")]
mod fallback;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod header;
mod jit;
mod names;
#[cfg(target_os = "linux")]
mod progress;
mod select;
mod vmlinux;
#[cfg(target_os = "linux")]
mod warnings;

#[cfg(target_os = "linux")]
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
