//! The fault matrix: every program under every fault that we can cause.
//!
//! The law is the same in all cells. A program ends; no signal, panic or failed allocation ends it;
//! if its status is 0, its output is complete; and it leaves no temporary file.
//!
//! `scripts/faults [AREA]` runs whole areas and says how many cells held. With the other tests, a
//! slice of each area runs.
#![cfg(target_os = "linux")]

mod children;
mod errnos;
mod hostile;
mod limits;
mod namespaces;
mod outputs;
mod pipes;
mod signals;

use std::fmt::Display;

use bstr::{BString, ByteSlice};

use crate::harness::{Cmd, Dir, Outcome, bin, repo};

/// A program, its arguments without `-o`, and the name of its output.
#[derive(Clone, Copy)]
struct Run {
    program: &'static str,
    args: &'static [&'static str],
    output: &'static str,
}

const fn run(program: &'static str, args: &'static [&'static str], output: &'static str) -> Run {
    Run { program, args, output }
}

/// Every program that reads a file and writes one, with each family of formats. `symfs` and
/// `kallsyms` are links in the directory, so that names do not depend on the machine.
const RUNS: [Run; 11] = [
    run("fg-script", &["--symfs", "root", "--kallsyms", "/dev/null", "in.data"], "out.txt"),
    run("fg-fold", &["--symfs", "root", "--kallsyms", "/dev/null", "in.data"], "out.folded"),
    run("fg-fold", &["in.txt"], "out.folded"),
    run("fg-filter", &["--keep", "frame hot", "in.folded"], "out.folded"),
    run("fg-filter", &["in.txt"], "out.txt"),
    run("fg-diff", &["in.folded", "in.folded"], "out.folded"),
    run("fg-render", &["in.folded"], "out.svg"),
    run("fg-render", &["in.txt"], "out.html"),
    run("fg-top", &["in.folded"], "out.txt"),
    run("fg-export", &["in.folded"], "out.pb.gz"),
    run(
        "flamegraph",
        &["--symfs", "root", "--kallsyms", "/dev/null", "--perfdata", "in.data"],
        "out.svg",
    ),
];

impl Run {
    /// The program in `dir`, with its output. It is killed if it does not end, on any machine.
    fn cmd(&self, dir: &Dir) -> Cmd {
        self.under(dir, &[])
    }

    /// The program, started by `wrapper`.
    fn under(&self, dir: &Dir, wrapper: &[&str]) -> Cmd {
        let cmd = dir.cmd("timeout").args(["-k", "5", "300"]).args(wrapper).arg(bin(self.program));
        cmd.args(self.args).args(["-o", self.output]).env("HOME", dir.path("")).env("PERF", "")
    }

    /// The program in a line for a shell.
    fn line(&self) -> String {
        let args = self.args.iter().map(|arg| format!(" '{arg}'"));
        format!("{}{}", bin(self.program).display(), args.collect::<String>())
    }

    /// The file that it reads.
    fn input(&self) -> &'static str {
        self.args.iter().find(|arg| arg.starts_with("in.")).unwrap()
    }

    /// What it writes if there is no fault.
    fn expected(&self, dir: &Dir) -> BString {
        self.cmd(dir).run().success();
        let expected = dir.read(self.output);
        std::fs::remove_file(dir.path(self.output)).unwrap();
        expected
    }

    /// Whether the output is there and complete.
    fn is_complete(&self, dir: &Dir, expected: &[u8]) -> bool {
        std::fs::read(dir.path(self.output)).is_ok_and(|written| written == expected)
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} -o {}", self.program, self.args.join(" "), self.output)
    }
}

/// A directory with the inputs of [`RUNS`].
fn inputs() -> Dir {
    let dir = Dir::new();
    let golden = repo().join("tests/data/golden");
    std::os::unix::fs::symlink(golden.join("root"), dir.path("root")).unwrap();
    std::fs::copy(golden.join("stacks.data"), dir.path("in.data")).unwrap();
    std::fs::copy(golden.join("stacks.folded"), dir.path("in.folded")).unwrap();
    let args = ["--symfs", "root", "--kallsyms", "/dev/null", "in.data"];
    let text = dir.cmd("fg-script").args(args).stdout();
    dir.write("in.txt", text);
    dir
}

/// Whether all cells are wanted, not only a slice.
fn is_whole() -> bool {
    std::env::var_os("FLAMEPIPE_FAULTS").is_some()
}

/// An area of the matrix.
struct Area {
    name: &'static str,
    held: usize,
    broken: Vec<String>,
}

impl Area {
    fn new(name: &'static str) -> Area {
        Area { name, held: 0, broken: Vec::new() }
    }

    /// Judges a program that ended in `dir`. If its status is 0, its output must be `complete`.
    fn cell(&mut self, dir: &Dir, what: &dyn Display, outcome: &Outcome, complete: bool) {
        match broken_law(dir, outcome, complete) {
            None => self.held += 1,
            Some(law) => self.broken.push(format!("{what}: {law}\n{}", outcome.everything())),
        }
        for name in dir.names().iter().filter(|name| name.starts_with(".flamepipe")) {
            std::fs::remove_file(dir.path(name)).unwrap();
        }
    }

    /// Says how many cells held, and fails if one did not.
    fn end(self) {
        let Area { name, held, broken } = self;
        eprintln!("faults: {name}: {held} held, {} broken", broken.len());
        assert!(broken.is_empty(), "{name}: broken cells:\n{}", broken.join("\n"));
        assert!(held > 0, "{name} has no cells");
    }
}

/// The law that was broken, if one was.
fn broken_law(dir: &Dir, outcome: &Outcome, complete: bool) -> Option<&'static str> {
    let code = outcome.status.code();
    let says = |words: &str| outcome.stderr.contains_str(words);
    // `timeout` kills it, or a workload was killed, whose status it passes on.
    let is_killed = code == Some(137) && !says("the program was killed by SIGKILL");
    if code == Some(124) || is_killed {
        Some("it does not end")
    } else if code.is_none() {
        Some("a signal ends it")
    } else if says("panicked at") || says("memory allocation of") || code == Some(101) {
        Some("it panics")
    } else if code == Some(0) && !complete {
        Some("its status is 0, but the output is not complete")
    } else if dir.names().iter().any(|name| name.starts_with(".flamepipe")) {
        Some("it leaves a temporary file")
    } else {
        None
    }
}
