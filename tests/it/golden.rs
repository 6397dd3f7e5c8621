//! Recordings that are checked in, and the folded stacks that they give on every machine.
//! scripts/golden and scripts/golden-arm make them.
#![cfg(unix)]

use std::path::Path;

use bstr::{BString, ByteSlice};

use crate::harness::{Cmd, Dir, repo};

/// The recordings, one of each kind.
const RECORDINGS: [&str; 8] =
    ["arm", "arm-signed", "by-perf", "chains", "jit", "off-cpu", "stacks", "stream"];

fn folder() -> std::path::PathBuf {
    repo().join("tests/data/golden")
}

/// A program that finds the recorded files, and no others.
fn program(dir: &Dir, name: &str) -> Cmd {
    let cmd = dir.cmd(name).arg("--symfs").arg(folder().join("root"));
    cmd.args(["--kallsyms", "/dev/null"]).env("HOME", dir.path("")).env("DEBUGINFOD_URLS", "")
}

fn folded(dir: &Dir, recording: &Path) -> BString {
    program(dir, "fg-fold").arg("--strict").arg(recording).stdout()
}

#[test]
fn golden_recordings_fold_to_what_they_always_did() {
    let dir = Dir::new();
    for name in RECORDINGS {
        let recording = folder().join(name).with_extension("data");
        let expected: BString = std::fs::read(recording.with_extension("folded")).unwrap().into();
        assert_eq!(folded(&dir, &recording), expected, "{name}");
        let bytes = std::fs::read(&recording).unwrap();
        assert_eq!(program(&dir, "fg-fold").stdin(bytes).stdout(), expected, "{name} by a pipe");
        let text = program(&dir, "fg-script").arg(&recording).stdout();
        assert_eq!(dir.cmd("fg-fold").stdin(text).stdout(), expected, "{name} by its text");
    }
}

#[test]
fn all_golden_recordings_are_read() {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.strip_suffix(".data")?.to_owned())).collect();
    names.sort();
    assert_eq!(names, RECORDINGS);
}

/// Recordings and text lose nothing on the way: what is recorded is what the program does.
#[test]
fn golden_stacks_are_whole() {
    let dir = Dir::new();
    for name in RECORDINGS {
        let folded = folded(&dir, &folder().join(name).with_extension("data"));
        for line in folded.lines().filter(|line| !line.starts_with(b"#")) {
            assert!(line.contains_str("chained;_start;run;"), "{name}: {}", line.to_str_lossy());
        }
    }
}
