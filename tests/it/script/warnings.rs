//! Tests the warnings about a recording and its modules: on stderr, once, in few lines.

use bstr::ByteSlice;

use super::record;
use crate::harness::{Cmd, Dir, bin, example};

/// Without perf's own copies of the modules.
fn cmd(dir: &Dir, program: &str) -> Cmd {
    dir.cmd(program).env("HOME", dir.path(""))
}

#[test]
fn modules_without_their_names_are_named() {
    let dir = Dir::new();
    let program = dir.path("program");
    std::fs::copy(example("burn"), &program).unwrap();
    let command = [program.to_str().unwrap(), "--ms", "100"];
    let options = "-F 999 --call-graph dwarf,8192";
    let Some(_) = record(&dir, "modules_without_their_names", options, &command) else { return };
    let said = |program: &str| cmd(&dir, program).arg("perf.data").run().success();
    assert!(!said("fg-fold").stderr.contains_str("program"), "nothing is wrong yet");

    std::fs::remove_file(&program).unwrap();
    std::fs::copy(bin("fg-diff"), &program).unwrap();
    for said in [said("fg-fold"), said("fg-script")] {
        let said =
            said.says("so their names were not used: ").says("1 module is not the recorded build");
        assert_eq!(
            said.stderr.find_iter(program.to_str().unwrap()).count(),
            1,
            "{}",
            said.everything()
        );
    }
    std::fs::remove_file(&program).unwrap();
    let said = said("fg-fold").says(&format!(
        "are missing (--symfs names the directory that has them): {}",
        program.display()
    ));
    assert_eq!(said.stderr.lines().count(), 2, "{}", said.everything());
    let quiet = cmd(&dir, "fg-fold").args(["-q", "perf.data"]).run().success();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_broken_recording_says_how() {
    let dir = Dir::new();
    let command = ["python3", "-c", "sum(range(3000000))"];
    let Some(path) = record(&dir, "a_broken_recording_says_how", "-g -F 999", &command) else {
        return;
    };
    let mut bytes = std::fs::read(path).unwrap();
    dir.write("cut.data", &bytes[..bytes.len() / 2]);
    // The header has the place and the size of the data. A killed recorder has left the size at 0
    // and written no more.
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    bytes.truncate(word(40) + word(48));
    bytes[48..56].fill(0);
    dir.write("killed.data", &bytes);
    for program in ["fg-script", "fg-fold"] {
        let run = |input: &str| cmd(&dir, program).arg(input).run().success();
        let said =
            run("killed.data").says(&format!("{program}: killed.data: the recorder was killed"));
        assert_eq!(said.stderr.find_iter("killed.data").count(), 1, "{}", said.everything());
        run("cut.data").says("only what comes before is read");
    }
    let drawn = cmd(&dir, "flamegraph").args(["--perfdata", "killed.data"]).run().success();
    drawn.says("flamegraph: killed.data: the recorder was killed");
}
