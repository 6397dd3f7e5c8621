//! Tests `--debuginfod`: missing files come from a server, through a stand-in for elfutils'
//! program.

use std::io::Write;

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
    let dir = Dir::new();
    let test = "files_come_by_their_build_id";
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

/// elfutils' own program, against a server on loopback whose files never end.
#[test]
fn an_endless_file_is_given_up() {
    let dir = Dir::new();
    let test = "an_endless_file_is_given_up";
    let has_program = std::process::Command::new("debuginfod-find").arg("--version").output();
    if has_program.is_err() {
        return cannot_run(test, "there is no debuginfod-find");
    }
    let Some(_) = stripped(&dir, test) else { return };
    std::fs::remove_file(dir.path("debuginfod-find")).unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let _ = client.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
                while client.write_all(&[b'x'; 1 << 16]).is_ok() {}
            });
        }
    });
    let fold = fold(&dir).arg("--debuginfod").env("DEBUGINFOD_URLS", format!("http://{address}"));
    let cache = dir.path("cache");
    let fold = fold.env("DEBUGINFOD_CACHE_PATH", &cache).env("DEBUGINFOD_MAXSIZE", "1000000");
    fold.run().success();
    let kept = || dir.cmd("find").args(["cache", "-size", "+100k"]).stdout();
    assert_eq!(kept(), "", "the largest size ends it");
    std::fs::remove_dir_all(&cache).unwrap();
    let slow = self::fold(&dir).arg("--debuginfod=1").env("DEBUGINFOD_CACHE_PATH", &cache);
    let slow = slow.env("DEBUGINFOD_URLS", format!("http://{address}")).run().success();
    slow.says("giving up on debuginfod");
    assert_eq!(kept(), "", "so does the time");
}

#[test]
fn what_cannot_be_asked_is_said_once() {
    let dir = Dir::new();
    let test = "what_cannot_be_asked_is_said_once";
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
