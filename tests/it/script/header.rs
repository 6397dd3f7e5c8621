//! `--header`: the comments are those of `perf script`, and no reader minds them.

use bstr::{BString, ByteSlice};
use inferno::collapse::{Collapse, perf};

use super::record;
use crate::harness::{Dir, cannot_run};

/// Lines that only perf prints: of the file, not of the recording, or of what `-I` would show.
const PERFS: [&str; 7] = [
    "# captured on",
    "info available",
    "# missing features",
    "# group:",
    "# clockid",
    "# reference time",
    "# contains ",
];

fn comments(text: &BString) -> Vec<BString> {
    let ours = |line: &&[u8]| !PERFS.iter().any(|perfs| line.contains_str(perfs));
    text.lines().take_while(|line| line.starts_with(b"#")).filter(ours).map(Into::into).collect()
}

#[test]
fn the_header_is_that_of_perf() {
    for (options, command) in [
        ("-g -F 999 -e cpu-clock,page-faults", "echo \"it's\""),
        ("-F 999 -z -k mono --call-graph dwarf,4096 -e cpu-clock:u", "true"),
        ("-c 100000 -e {cpu-clock,task-clock}:S --sample-cpu -d", "true"),
    ] {
        let dir = Dir::new();
        let test = "the_header_is_that_of_perf";
        let Some(_) = record(&dir, test, options, &["sh", "-c", command]) else { return };
        let theirs = dir.cmd("perf").args(["script", "--header", "-i", "perf.data"]).stdout();
        let ours = dir.cmd("fg-script").args(["--header", "-q", "perf.data"]).stdout();
        let lines = comments(&theirs);
        assert!(lines.len() > 10, "{theirs}");
        assert_eq!(comments(&ours), lines, "{options}");
        let backend =
            dir.cmd("fg-script").args(["--header", "-q", "--backend", "perf", "perf.data"]);
        assert_eq!(comments(&backend.stdout()), lines, "{options}");
    }
}

#[test]
fn the_header_of_a_stream_comes_first_too() {
    let dir = Dir::new();
    let shell = "perf record -q -g -F 999 -o - -- python3 -c 'sum(range(2000000))' | cat >stream";
    let done = dir.cmd("sh").args(["-c", shell]).run();
    if dir.read("stream").is_empty() {
        return cannot_run("the_header_of_a_stream_comes_first_too", &done.everything());
    }
    let text = dir.cmd("fg-script").args(["--header", "-q", "stream"]).stdout();
    let lines = comments(&text);
    for start in ["# hostname : ", "# arch : ", "# cmdline : ", "# event : name = "] {
        assert!(lines.iter().any(|line| line.starts_with(start.as_bytes())), "{start}\n{text}");
    }
}

#[test]
fn readers_skip_the_header() {
    let dir = Dir::new();
    let command = ["python3", "-c", "sum(range(2000000))\n# looks like a sample 1.5: 7 cycles:"];
    let Some(_) = record(&dir, "readers_skip_the_header", "-g -F 999", &command) else { return };
    let plain = dir.cmd("fg-script").args(["-q", "perf.data"]).stdout();
    let text = dir.cmd("fg-script").args(["--header", "-q", "perf.data"]).stdout();
    assert!(text.ends_with(&plain) && text.len() > plain.len());
    let fold = |program: &str, text: &BString| dir.cmd(program).arg("-q").stdin(text).stdout();
    assert_eq!(fold("fg-fold", &text), fold("fg-fold", &plain));
    let filtered = dir.cmd("fg-filter").args(["-q", "--drop=^$"]).stdin(&text).stdout();
    assert_eq!(filtered, text);
    let inferno = |text: &BString| {
        let mut out = Vec::new();
        perf::Folder::from(perf::Options::default()).collapse(&text[..], &mut out).unwrap();
        BString::from(out)
    };
    assert_eq!(inferno(&text), inferno(&plain));
}
