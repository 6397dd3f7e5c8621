//! Tests `--debuginfod`: missing files come from a server, through a stand-in for elfutils'
//! program.

use bstr::ByteSlice;

use super::record;
use crate::harness::{Cmd, Dir, cannot_run, example};
use crate::record::{executable, path};

/// Answers from `store`, and lists what it was asked for.
const FIND: &str =
    "cd \"$(dirname \"$0\")\"; echo \"$*\" >>asked; test -f store/$2/$1 && echo $PWD/store/$2/$1";

/// A recording of a program without names, whose names are in `store`, by its build-id.
fn stripped(dir: &Dir, test: &str) -> Option<String> {
    let program = dir.path("program");
    std::fs::copy(example("burn"), &program).unwrap();
    let run = |line: &str| dir.cmd("sh").args(["-c", line]).run();
    let notes = run("readelf -n program");
    let notes = notes.stdout.to_str_lossy().into_owned();
    let Some((_, id)) = notes.split_once("Build ID: ") else {
        cannot_run(test, "the program has no build-id, or there is no readelf");
        return None;
    };
    let id = id.split_whitespace().next().unwrap().to_owned();
    let objcopy = format!(
        "mkdir -p store/{id} && objcopy --only-keep-debug program store/{id}/debuginfo && strip program && cp program store/{id}/executable"
    );
    run(&objcopy).success();
    record(dir, test, "-F 999 --call-graph dwarf,16384", &["./program", "--ms", "200"])?;
    executable(dir, "debuginfod-find", FIND);
    Some(id)
}

/// Folds with the stand-in, and without files that this machine may have.
fn fold(dir: &Dir) -> Cmd {
    dir.cmd("fg-fold")
        .arg("perf.data")
        .env("HOME", dir.path("home"))
        .env("XDG_CACHE_HOME", dir.path("home"))
        .env("PATH", path(dir))
        .env("DEBUGINFOD_URLS", "http://127.0.0.1:9")
}

#[test]
fn files_come_by_their_build_id() {
    let (dir, test) = (Dir::new(), "files_come_by_their_build_id");
    let Some(id) = stripped(&dir, test) else { return };
    let plain = fold(&dir).run().success();
    assert!(!plain.stdout.contains_str("hot_hash"), "{}", plain.everything());
    assert!(!dir.path("asked").exists(), "only when it is asked for");
    let whole = fold(&dir).arg("--debuginfod").run().success();
    assert!(whole.stdout.contains_str("burn::hot_hash"), "{}", whole.everything());
    let asked = dir.read("asked");
    assert_eq!(asked.lines().filter(|line| line.contains_str(&id)).count(), 1, "{asked}");

    // The module itself is gone, too.
    std::fs::rename(dir.path("program"), dir.path("moved")).unwrap();
    let missing = fold(&dir).run().success();
    assert!(missing.says("because these files are missing").stdout.contains_str("[program]"));
    let fetched = fold(&dir).arg("--debuginfod=9").run().success();
    assert_eq!(fetched.stdout, whole.stdout);
    assert!(!fetched.stderr.contains_str("no file"), "{}", fetched.everything());

    // A cached file needs no server and no program.
    let cached = fold(&dir).env("DEBUGINFOD_CACHE_PATH", dir.path("store"));
    let cached = cached.env("DEBUGINFOD_URLS", "").arg("--debuginfod").run().success();
    assert_eq!(cached.stdout, whole.stdout);
}

#[test]
fn what_cannot_be_asked_is_said_once() {
    let (dir, test) = (Dir::new(), "what_cannot_be_asked_is_said_once");
    let Some(_) = stripped(&dir, test) else { return };
    let silent = fold(&dir).env("DEBUGINFOD_URLS", "").arg("--debuginfod").run().success();
    let silent = silent.says("DEBUGINFOD_URLS names no server");
    assert_eq!(silent.stderr.find_iter("--debuginfod").count(), 1, "{}", silent.everything());
    let none = fold(&dir).env("PATH", dir.path("home")).arg("--debuginfod").run().success();
    none.says("cannot run debuginfod-find").says("package debuginfod");
    executable(&dir, "debuginfod-find", "exec sleep 60");
    let late = fold(&dir).arg("--debuginfod=1").run().success();
    let late = late.says("no answer after 1 s; giving up on debuginfod");
    assert_eq!(late.stderr.find_iter("giving up").count(), 1, "{}", late.everything());
}
