//! Programs of Go.

use super::*;
use crate::harness::is_not_for_here;

/// Go's `-s -w` leaves no unwinding tables: only its own table says that `goexit`, to which a
/// goroutine returns though nothing called from there, is the start of a function.
const SPIN: &str = r#"
package main

import "time"

var sink int

//go:noinline
func spin(end time.Time) { for time.Now().Before(end) { for i := 0; i < 100000; i++ { sink += i } } }

func main() { spin(time.Now().Add(300 * time.Millisecond)) }
"#;

#[test]
fn stacks_of_stripped_go_programs_are_whole() {
    let dir = Dir::new();
    let test = "stacks_of_stripped_go_programs_are_whole";
    if !can_record(test) {
        return;
    }
    dir.write("main.go", SPIN);
    let mut go = Command::new("go");
    go.args(["build", "-ldflags=-s -w", "-o", "spin", "main.go"]).current_dir(dir.path(""));
    go.env("GOCACHE", dir.path("cache")).env("GO111MODULE", "off");
    if !go.output().is_ok_and(|built| built.status.success()) {
        return is_not_for_here(test, "there is no go");
    }
    dir.cmd("fg-record").args(["-e", "cpu-clock", "-o", "x.data", "./spin"]).run().success();
    let folded = dir.cmd("fg-fold").args(["-q", "x.data"]).stdout().to_string();
    // Go's handlers of signals run on a stack of their own.
    let of_main = |line: &&str| line.contains("main.spin") && !line.contains("runtime.sigreturn");
    let stacks: Vec<&str> = folded.lines().filter(of_main).collect();
    assert!(!stacks.is_empty(), "{folded}");
    for stack in stacks {
        assert!(stack.contains(";runtime.goexit;runtime.main;main.main;main.spin"), "{folded}");
    }
}
