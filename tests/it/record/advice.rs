//! Tests fg-record's advice for workloads that the graph will hardly show.

use super::*;

#[test]
fn who_runs_on_in_the_background_is_named() {
    if !can_record("who_runs_on_in_the_background_is_named") {
        return;
    }
    let dir = Dir::new();
    let script = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!
                  until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done";
    let options = ["-o", "x", "--", "sh", "-c", script];
    let outcome = dir.cmd("fg-record").args(options).run().success();
    let pid: u32 = outcome.stdout.to_str_lossy().trim().parse().unwrap();
    kill("KILL", pid, false);
    let said = format!(
        "process {pid} (sleep) that it started still runs: the graph shows only what came before"
    );
    outcome.says(&said).says(&format!("record the rest with -p {pid}"));
    let outcome = dir.cmd("fg-record").args(["-o", "x", "--", "sh", "-c", "true & wait"]).run();
    assert!(!outcome.stderr.contains_str("still runs"), "{}", outcome.stderr);
}

/// A program that goes to the background forks twice, and its recording may end before the second
/// fork.
#[test]
fn a_program_that_goes_to_the_background_is_named() {
    if !can_record("a_program_that_goes_to_the_background_is_named") {
        return;
    }
    let dir = Dir::new();
    // The shell that `setsid` makes a leader ends before the recording does.
    let script = "setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & echo $!'";
    let options = ["-o", "x", "--", "sh", "-c", script];
    let outcome = dir.cmd("fg-record").args(options).run().success();
    let pid: u32 = outcome.stdout.to_str_lossy().trim().parse().unwrap();
    kill("KILL", pid, false);
    outcome.says(&format!("record the rest with -p {pid}"));
}

#[test]
fn who_waits_is_sent_to_off_cpu() {
    if !can_record("who_waits_is_sent_to_off_cpu") {
        return;
    }
    let dir = Dir::new();
    let command = ["-o", "x", "--", "sleep", "1.1"];
    let idle =
        "waited the rest of the time, which the graph does not show: use --off-cpu to record where";
    dir.cmd("fg-record").args(command).run().success().says(idle);
    let outcome = dir.cmd("fg-record").arg("--off-cpu").args(command).run().success();
    assert!(!outcome.stderr.contains_str("use --off-cpu to record where"), "{}", outcome.stderr);
}

/// The kernel stops recording a process that becomes such a program.
#[test]
fn programs_that_run_as_another_user_are_told() {
    let test = "programs_that_run_as_another_user_are_told";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    let other =
        |program: &str| dir.cmd("setpriv").args(["--reuid=65534", "--clear-groups", program]);
    let program = dir.path("program");
    let recorder = dir.path("fg-record");
    for (from, to) in [(burn(), &program), (&*bin("fg-record"), &recorder)] {
        std::fs::copy(from, to).unwrap();
    }
    assert!(dir.cmd("chmod").args(["755", "."]).run().status.success());
    if other("true").run().status.code() != Some(0) {
        return cannot_run(test, "only root runs programs as another user");
    }
    for (mode, told) in [
        ("4755", Some("runs as another user (set-user-ID)")),
        ("711", Some("is a program that you may run but not read")),
        ("755", None),
    ] {
        assert!(dir.cmd("chmod").args([mode, "program"]).run().status.success());
        let outcome =
            other("./fg-record").args(["-o", "/dev/null", "./program", "--ms", "10"]).run();
        let said = outcome.stderr.to_string();
        if said.contains("perf_event_paranoid is") {
            return cannot_run(test, &said);
        }
        let remedy = "so the kernel does not let you record it, and the graph will lack it: use --root --per-cpu";
        assert_eq!(said.contains(remedy), told.is_some(), "{said}");
        assert!(told.is_none_or(|told| said.contains(told)), "{said}");
    }
}
