//! Tests that perf reads what we cannot read, with a message.

use bstr::{BString, ByteSlice};

use super::record;
use crate::harness::{Cmd, Dir, cannot_run};
use crate::record::executable;

const FOLDED: &str = "# unit: cycles 0\nweb;main 9\n";
const TEXT: &str = "web  7/7   [001]  1.500000:          9 cycles:u: \n\t   1234 main+0x1 (/a)\n\n";

/// A perf that always scripts the same.
fn with_perf(dir: &Dir, program: &str) -> Cmd {
    let perf = executable(dir, "perf", &format!("cat <<'.'\n{TEXT}."));
    dir.cmd(program).env("PERF", perf)
}

/// A stream with a record of an instruction trace and nothing else.
fn trace() -> Vec<u8> {
    let mut bytes = b"PERFILE2".to_vec();
    bytes.extend(16u64.to_le_bytes());
    bytes.extend(70u32.to_le_bytes());
    bytes.extend([0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[test]
fn what_is_beyond_us_goes_through_perf() {
    let dir = Dir::new();
    dir.write("old.data", b"PERFFILE and what follows");
    dir.write("trace.data", trace());
    dir.write("threads.data/data", b"PERFILE2");
    for (input, said) in [
        (
            "old.data",
            "old.data is a perf.data file from before Linux 3.3; reading it with perf script",
        ),
        (
            "trace.data",
            "trace.data has an instruction trace and no samples; reading it with perf script",
        ),
        (
            "threads.data",
            "threads.data is a directory of `perf record --threads`; reading it with perf script",
        ),
    ] {
        let text = with_perf(&dir, "fg-script").arg(input).run().success().says(said);
        assert_eq!(text.stdout, TEXT);
        let folded = with_perf(&dir, "fg-fold").arg(input).run().success().says(said);
        assert_eq!(folded.stdout, FOLDED);
        with_perf(&dir, "flamegraph").args(["--perfdata", input]).run().success().says(said);
        let missing = dir.cmd("fg-fold").env("PERF", "/no/perf").arg(input).run().code(1);
        missing.says(said).says("cannot run /no/perf").says("install perf");
    }
}

#[test]
fn streams_are_not_kept() {
    let dir = Dir::new();
    let old = with_perf(&dir, "fg-fold").stdin(b"PERFFILE and what follows").run().success();
    assert_eq!(old.says("reading it with perf script").stdout, FOLDED);
    let trace = with_perf(&dir, "fg-script").stdin(trace()).run().code(1);
    trace.says("standard input has an instruction trace and no samples").says("--backend perf");
}

#[test]
fn stacks_of_other_architectures_are_left_to_perf() {
    let dir = Dir::new();
    let test = "stacks_of_other_architectures";
    let options = "-F 999 --call-graph dwarf,4096";
    let Some(path) = record(&dir, test, options, &["python3", "-c", "sum(range(999999))"]) else {
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    let arch = format!("{}\0", std::env::consts::ARCH);
    let Some(at) = bytes.rfind(&arch) else { return cannot_run(test, "the recording has no arch") };
    let mut other: BString = bytes.into();
    other[at..at + arch.len()].fill(0);
    other[at..at + 5].copy_from_slice(b"s390x");
    std::fs::write(&path, &other).unwrap();
    let said =
        "perf.data has user stacks of s390x, which cannot be unwound; reading it with perf script";
    let text = with_perf(&dir, "fg-script").arg("perf.data").run().success().says(said);
    assert_eq!(text.stdout, TEXT);
}

#[test]
fn recordings_of_threads_are_read_by_perf_itself() {
    let dir = Dir::new();
    let test = "recordings_of_threads";
    let command = ["python3", "-c", "sum(range(999999))"];
    let Some(path) = record(&dir, test, "--threads -g -F 999", &command) else { return };
    if !path.is_dir() {
        return cannot_run(test, "perf record --threads made no directory");
    }
    let folded =
        dir.cmd("fg-fold").arg("perf.data").run().success().says("; reading it with perf script");
    assert!(folded.stdout.contains_str("python3;"), "{}", folded.everything());
}
