//! System calls fail, one after another: strace returns the error in place of the kernel.

use super::*;
use crate::harness::cannot_run;
use crate::record::can_record;

/// What fails, and how.
const FAULTS: [(&str, &str); 14] = [
    ("open,openat", "EMFILE"),
    ("open,openat", "EACCES"),
    ("read,pread64", "EIO"),
    ("read,pread64", "EINTR"),
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("write", "EINTR"),
    ("write", "EAGAIN"),
    ("rename,renameat,renameat2", "EACCES"),
    ("stat,fstat,newfstatat,statx", "EIO"),
    ("lseek", "EIO"),
    ("chmod,fchmod,fchmodat", "EPERM"),
    ("clone,clone3", "EAGAIN"),
    ("fcntl,ioctl", "EINVAL"),
];

/// What only a recorder asks for.
const OF_RECORDERS: [(&str, &str); 7] = [
    ("perf_event_open", "EACCES"),
    ("perf_event_open", "EMFILE"),
    ("perf_event_open", "EINTR"),
    ("poll,ppoll", "EINTR"),
    ("pipe,pipe2", "EMFILE"),
    ("wait4,waitid", "EINTR"),
    ("sched_setattr,sched_setscheduler,setpriority", "EPERM"),
];

/// The program after `strace`, whose call number `nth` fails.
fn strace((calls, error): (&str, &str), nth: usize) -> Vec<String> {
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:error={error}:when={nth}");
    ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "calls", "-e", &trace, "-e", &inject]
        .map(Into::into)
        .into()
}

fn can_inject(test: &str) -> bool {
    let dir = Dir::new();
    let line = strace(("write", "EIO"), 1);
    let (strace, arguments) = line.split_first().unwrap();
    let mut command = std::process::Command::new(strace);
    command.current_dir(dir.path("")).args(arguments).arg("true");
    let works = command.output().is_ok_and(|tried| tried.status.success());
    if !works {
        cannot_run(test, "strace cannot trace here");
    }
    works
}

/// Fails the calls of one kind, one after another, as long as there are any.
fn each(limit: usize, fault: (&str, &str), mut cell: impl FnMut(&[&str], &str) -> BString) {
    for nth in 1..=limit {
        let line = strace(fault, nth);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let calls = cell(&line, &format!("{} {} {nth}", fault.0, fault.1));
        if !calls.contains_str("(INJECTED)") {
            break;
        }
    }
}

#[test]
fn errnos() {
    if !can_inject("faults::errnos") {
        return;
    }
    let mut area = Area::new("errnos");
    let dir = inputs();
    // The first calls are those of the dynamic linker, which ends the program with 127.
    let limit = if is_whole() { 20 } else { 2 };
    for run in RUNS {
        let expected = run.expected(&dir);
        for fault in FAULTS {
            // Writing begins late, and there the damage is.
            let limit = if ["write", "rename"].iter().any(|call| fault.0.starts_with(call)) {
                limit * 2
            } else {
                limit
            };
            each(limit, fault, |strace, what| {
                let outcome = run.under(&dir, strace).run();
                // Names that could not be read are missing, which is said.
                let says = outcome.stderr.contains_str("functions have no names because");
                let complete = says || run.is_complete(&dir, &expected);
                area.cell(&dir, &format!("{run}: {what}"), &outcome, complete);
                let _ = std::fs::remove_file(dir.path(run.output));
                dir.read("calls")
            });
        }
    }
    area.end();
}

#[test]
fn errnos_of_recorders() {
    let test = "faults::errnos_of_recorders";
    if !can_inject(test) || !can_record(test) {
        return;
    }
    let mut area = Area::new("errnos_of_recorders");
    let dir = Dir::new();
    let limit = if is_whole() { 40 } else { 1 };
    let workload = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64k", "count=3000", "status=none"];
    for (program, output, options) in [
        ("fg-record", "out", &["-e", "cpu-clock"][..]),
        ("flamegraph", "out.svg", &["--no-inline"]),
    ] {
        for fault in OF_RECORDERS.into_iter().chain(FAULTS) {
            each(limit, fault, |strace, what| {
                let mut cmd = dir.cmd("timeout").args(["-k", "5", "300"]).args(strace);
                cmd = cmd.arg(bin(program)).args(options).args(["-o", output, "--"]);
                let outcome = cmd.args(workload).env("PERF", "").run();
                let reader = dir.cmd("fg-fold").arg(output).run();
                let says = |words| reader.stderr.contains_str(words);
                // Nearly all the time of the workload is the kernel's, which may be left out.
                let is_read = reader.status.success() || says("has no samples");
                let complete = is_read && !says("cut short");
                area.cell(&dir, &format!("{program}: {what}"), &outcome, complete);
                let _ = std::fs::remove_file(dir.path(output));
                dir.read("calls")
            });
        }
    }
    area.end();
}
