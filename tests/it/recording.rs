//! Recordings that the tests make with perf.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bstr::{BString, ByteSlice};

use crate::harness::{Dir, cannot_run};

/// Records `command` with the perf program. `None`, with a loud message, if that is impossible.
pub fn record(dir: &Dir, test: &str, options: &str, command: &[&str]) -> Option<PathBuf> {
    let path = dir.path("perf.data");
    let mut perf = Command::new("perf");
    perf.current_dir(dir.path("")).args(["record", "-q"]).args(options.split(' '));
    // In pipe mode nothing is written back to the header at the end.
    if options.contains("-o -") {
        perf.stdout(std::fs::File::create(&path).unwrap());
    } else {
        perf.arg("-o").arg(&path).stdout(Stdio::null());
    }
    match perf.arg("--").args(command).stderr(Stdio::piped()).output() {
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

/// The options that copy stacks of `size` bytes, with large rings if this user may have them.
#[cfg(target_os = "linux")]
pub fn unwound(size: u32) -> String {
    let ring = if is_root() { "8M" } else { "2M" };
    format!("-F 1997 -m {ring} --call-graph dwarf,{size}")
}

/// Root may lock as much memory as it likes.
#[cfg(target_os = "linux")]
fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// The weights of stacks.
pub fn sums(folded: &[u8]) -> BTreeMap<BString, u64> {
    let mut sums = BTreeMap::new();
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once_str(" ").unwrap();
        *sums.entry(stack.into()).or_default() += weight.to_str().unwrap().parse::<u64>().unwrap();
    }
    sums
}
