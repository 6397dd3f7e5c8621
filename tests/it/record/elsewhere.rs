//! Programs whose file is not at its path: deleted, in another root, or only in memory. flamegraph
//! names them while they run.

use crate::harness::{is_not_for_here, repo};

use super::*;

/// Executes a copy of the program that it is given, which has no name in any folder.
const FROM_MEMORY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words) {
    int from = open(words[1], O_RDONLY), to = memfd_create("copy", 0);
    while (sendfile(to, from, 0, 1 << 20) > 0);
    return fexecve(to, words + 1, environ);
}
"#;

/// A static program, `prog`, whose calls are known, and what executes a copy of it; `None` if
/// `test` cannot run.
fn prepare(test: &str) -> Option<Dir> {
    if cfg!(not(target_arch = "x86_64")) {
        cannot_run(test, "the functions are written for x86-64");
        return None;
    }
    let dir = can_record(test).then(Dir::new)?;
    dir.write("memory.c", FROM_MEMORY);
    let fixture = repo().join("tests/fixtures/frames.c");
    let compile = |args: &[&str], source: &Path, to| {
        let mut cc = Command::new("cc");
        let done = cc.args(args).arg(source).arg("-o").arg(dir.path(to)).output().unwrap();
        assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
    };
    compile(&["-O1", "-static"], &fixture, "prog");
    compile(&[], &dir.path("memory.c"), "memory");
    Some(dir)
}

/// Wants `flamegraph -- COMMAND` to name the calls of `prog`.
#[track_caller]
fn is_named(dir: &Dir, command: &[&str]) {
    let outcome = dir.cmd("flamegraph").args(["-o", "x.svg", "--"]).args(command).run().success();
    let folded = dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout();
    let calls = b";_start;";
    let is_whole =
        |line: &&[u8]| line.contains_str(calls) && line.contains_str(";main;untold;inside;spin");
    assert!(folded.lines().any(|line| is_whole(&line)), "{folded}\n{}", outcome.everything());
}

#[test]
fn a_program_without_a_place_is_named() {
    let Some(dir) = prepare("a_program_without_a_place_is_named") else { return };
    is_named(&dir, &["./memory", "prog"]);
    let removed =
        "cp prog gone; ./gone & until [ /proc/$!/exe -ef gone ]; do :; done; rm gone; wait";
    is_named(&dir, &["sh", "-c", removed]);
}

#[test]
fn a_program_in_another_root_is_named() {
    let Some(dir) = prepare("a_program_in_another_root_is_named") else { return };
    let may = Command::new("chroot").arg(dir.path("")).arg("/prog").output();
    if !may.is_ok_and(|done| done.status.success()) {
        return is_not_for_here("a_program_in_another_root_is_named", "chroot is not allowed");
    }
    is_named(&dir, &["chroot", ".", "/prog"]);
}
