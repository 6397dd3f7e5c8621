//! How far a long recording has come is shown on a terminal, and only there.

use bstr::ByteSlice;

use crate::harness::{Dir, bin, cannot_run};

/// A recording that takes a while, though there is little in it: most of it are marks between
/// rounds of records.
fn long(dir: &Dir, test: &str) -> bool {
    let shell = "perf record -q -g -F 999 -o - -- python3 -c 'sum(range(999999))' | cat >start";
    let done = dir.cmd("sh").args(["-c", shell]).run();
    let mut bytes = dir.read("start").to_vec();
    if bytes.is_empty() {
        cannot_run(test, &done.everything());
        return false;
    }
    bytes.extend(
        [68, 0, 0, 0, 0, 0, 8, 0].repeat(if cfg!(debug_assertions) { 3 } else { 64 } << 20),
    );
    dir.write("long.data", bytes);
    true
}

#[test]
fn progress_is_for_terminals() {
    let dir = Dir::new();
    let test = "progress_is_for_terminals";
    if !long(&dir, test) {
        return;
    }
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return cannot_run(test, "there is no script(1)");
    }
    let programs = [
        ("fg-fold", "long.data -o folded"),
        ("fg-script", "long.data -o text"),
        ("flamegraph", "--perfdata long.data -o x.svg"),
    ];
    std::thread::scope(|scope| {
        for (name, options) in programs {
            let dir = &dir;
            scope.spawn(move || {
                let line = format!("{} {options}", bin(name).display());
                let shown = dir.cmd("script").args(["-qec", &line, "/dev/null"]).stdout();
                assert!(shown.contains_str(format!("{name}: reading long.data: ")), "{shown:?}");
                // The line disappears before another message.
                let last = shown.split_str("\r\x1b[K").last().unwrap();
                assert!(!last.contains_str("reading") && !last.contains_str("naming"), "{shown:?}");
            });
        }
        let piped = dir.cmd("fg-fold").arg("long.data").run().success().says("samples");
        assert!(!piped.stderr.contains_str("reading") && !piped.stderr.contains_str("\x1b"));
    });
}
