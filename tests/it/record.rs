//! `fg-record` with a real perf: what is recorded, whose output is whose, and how everything can end.
#![cfg(target_os = "linux")]

mod advice;
mod attach;
mod builds;
mod elsewhere;
mod go;
mod jit;
mod losses;
mod native;
mod off_cpu;
mod segments;
mod short_lived;
mod signals;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice};

use crate::harness::{Cmd, Dir, bin, cannot_run, example};

/// The workload with known shares.
pub fn burn() -> &'static Path {
    static BURN: OnceLock<PathBuf> = OnceLock::new();
    BURN.get_or_init(|| example("burn"))
}

/// Whether perf can record here; if not, `test` says so loudly.
pub fn perf_works(test: &str) -> bool {
    let mut perf = Command::new("perf");
    perf.args(["record", "-e", "cpu-clock", "-o", "-", "true"]);
    let works = match perf.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => return true,
        Ok(output) => output.stderr.to_str_lossy().into_owned(),
        Err(error) => error.to_string(),
    };
    cannot_run(test, &format!("perf cannot record here: {works}"));
    false
}

/// Both recorders of Linux must do the same.
const BACKENDS: [&str; 2] = ["native", "perf"];

fn record(dir: &Dir) -> Cmd {
    dir.cmd("fg-record").args(["-e", "cpu-clock", "--call-graph", "dwarf,8192"])
}

/// What perf reads from a recording.
fn script(dir: &Dir, recording: &[u8], fields: &str) -> String {
    let path = dir.write("recording", recording);
    let script = Command::new("perf")
        .args(["script", "--no-inline", "-F", fields, "-i"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(script.status.success(), "{}", script.stderr.to_str_lossy());
    script.stdout.to_str_lossy().into_owned()
}

/// The stacks in a recording, one paragraph each.
fn stacks(dir: &Dir, recording: &[u8]) -> Vec<String> {
    let text = script(dir, recording, "comm,ip,sym");
    text.split("\n\n").filter(|stack| !stack.trim().is_empty()).map(str::to_owned).collect()
}

/// The lines of samples; of streams, perf shows chains too, whatever the fields.
fn heads(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter(|line| !line.is_empty() && !line.starts_with('\t'))
}

/// How many samples there are, which is known without a look at symbols.
fn samples(dir: &Dir, recording: &[u8]) -> usize {
    heads(&script(dir, recording, "tid,time")).count()
}

/// How many of `stacks` are in `function`, in percent.
fn share(stacks: &[String], function: &str) -> f64 {
    let hits = stacks.iter().filter(|stack| stack.contains(function)).count();
    100.0 * hits as f64 / stacks.len() as f64
}

/// Starts fg-record in a process group of its own, as a shell does for a pipeline.
fn start(dir: &Dir, arguments: &[&str], workload: &[&str]) -> Child {
    Command::new(bin("fg-record"))
        .env("PATH", path(dir))
        .current_dir(dir.path("."))
        .args(["-e", "cpu-clock", "--call-graph", "dwarf,8192"])
        .args(arguments)
        .args(workload)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// A PATH that looks into `dir` first.
pub fn path(dir: &Dir) -> String {
    format!("{}:{}", dir.path(".").display(), std::env::var("PATH").unwrap())
}

pub fn executable(dir: &Dir, name: &str, script: &str) -> PathBuf {
    let path = dir.write(name, format!("#!/bin/sh\n{script}\n"));
    assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
    path
}

/// A sudo that is no sudo: what it runs, and that the workload is not among it, is what counts.
fn fake_sudo(dir: &Dir) {
    let script =
        "echo \"sudo $*\" >&2\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nexec \"$@\"";
    executable(dir, "sudo", script);
}

/// Sends a signal: to one process, or to a group as a terminal does.
pub fn kill(signal: &str, pid: u32, group: bool) {
    let whom = if group { format!("-{pid}") } else { pid.to_string() };
    assert!(Command::new("kill").args(["-s", signal, "--", &whom]).status().unwrap().success());
}

/// Waits until the workload is at work: the stream holds more than what describes the processes.
fn first_bytes(child: &mut Child) -> Vec<u8> {
    let mut bytes = vec![0; 150_000];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads what remains, within a time that only a hanging program needs.
fn finish(mut child: Child, mut stream: Vec<u8>) -> (Option<i32>, Vec<u8>, String) {
    let begin = Instant::now();
    child.stdout.take().unwrap().read_to_end(&mut stream).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30), "it did not end: {said}");
    (status.code(), stream, said)
}

#[test]
fn the_stream_has_the_shares_and_nothing_else() {
    if !perf_works("the_stream_has_the_shares_and_nothing_else") {
        return;
    }
    for backend in BACKENDS {
        let dir = Dir::new();
        let cmd = record(&dir).args(["--backend", backend]).arg(burn()).arg("--print");
        let outcome = cmd.run().success().says("burnt");
        assert!(outcome.stdout.starts_with(b"PERFILE2"), "pipe mode");
        let stacks = stacks(&dir, &outcome.stdout);
        assert!(stacks.len() > 500, "{} samples", stacks.len());
        for (function, expected) in [("hot_sum", 37.5), ("hot_sort", 12.5), ("hot_hash", 50.0)] {
            let found = share(&stacks, function);
            assert!((found - expected).abs() < 5.0, "{function}: {found} %, not {expected} %");
        }
    }
}

#[test]
fn with_a_file_stdout_is_the_workloads() {
    if !perf_works("with_a_file_stdout_is_the_workloads") {
        return;
    }
    for backend in BACKENDS {
        let dir = Dir::new();
        let burn = burn().to_str().unwrap();
        let cmd = record(&dir).args(["--backend", backend, "-o", "x", "--", burn, "--ms", "100"]);
        assert_eq!(cmd.arg("--print").run().success().stdout, "burnt\n");
        assert_eq!(dir.names(), ["x"], "and nothing beside it");
        let recording = dir.read("x");
        assert!(samples(&dir, &recording) > 50);
    }
}

#[test]
fn a_failing_workload_passes_its_status_on() {
    if !perf_works("a_failing_workload_passes_its_status_on") {
        return;
    }
    let dir = Dir::new();
    for (arguments, status) in
        [(["--exit", "7"], 7), (["--kill", "9"], 137), (["--kill", "15"], 143)]
    {
        for (file, backend) in
            [(false, "native"), (true, "native"), (false, "perf"), (true, "perf")]
        {
            let record = |dir: &Dir| record(dir).args(["--backend", backend]);
            let cmd = if file { record(&dir).args(["-o", "x"]) } else { record(&dir) };
            let outcome = cmd.arg(burn()).args(["--ms", "50"]).args(arguments).run().code(status);
            let recording = if file { dir.read("x") } else { outcome.stdout };
            assert!(samples(&dir, &recording) > 20, "the recording is complete");
        }
    }
    record(&dir)
        .arg("--ignore-status")
        .arg(burn())
        .args(["--ms", "9", "--exit", "7"])
        .run()
        .success();
}

#[test]
fn perfs_own_failures_are_told_apart() {
    if !perf_works("perfs_own_failures_are_told_apart") {
        return;
    }
    let dir = Dir::new();
    let outcome = record(&dir).arg("./no-such-program").run().code(1);
    assert_eq!(
        outcome.stderr,
        "fg-record: cannot run ./no-such-program: there is no such program\n"
    );
    dir.write("old", "precious");
    let outcome = record(&dir).args(["-o", "old", "-e", "no-such-event", "true"]).run().code(1);
    outcome
        .says("fg-record does not know the event no-such-event; recording with perf")
        .says("fg-record: perf");
    assert_eq!(dir.read("old"), "precious");
    dir.cmd("fg-record").args(["-c", "record -o old -e no-such-event", "true"]).run().code(1);
    record(&dir)
        .env("PERF", "no-such-perf")
        .arg("true")
        .run()
        .code(1)
        .says("cannot run no-such-perf")
        .says("PERF");
    assert_eq!(dir.names(), ["old"]);
}

#[test]
fn usage_is_checked_before_anything_runs() {
    let dir = Dir::new();
    let cmd = || dir.cmd("fg-record");
    cmd()
        .args(["-F", "99", "-c", "record", "true"])
        .run()
        .code(2)
        .says("Cannot pass both a custom command and a frequency.");
    cmd().args(["-c", "record -o x", "-o", "y", "true"]).run().code(2).says("x");
    cmd().run().code(2).says("COMMAND");
}

#[test]
fn a_terminal_gets_no_binary() {
    let dir = Dir::new();
    let line = format!("{} true", bin("fg-record").display());
    let script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(dir.path("."))
        .stdin(Stdio::null())
        .output();
    let Ok(script) = script else {
        return cannot_run("a_terminal_gets_no_binary", "there is no script(1)");
    };
    assert_eq!(script.status.code(), Some(2));
    assert!(script.stdout.contains_str("is a terminal"), "{}", script.stdout.to_str_lossy());
    assert!(script.stdout.contains_str("-o"));
}

#[test]
fn perf_custom_commands_and_root_are_honoured() {
    if !perf_works("perf_custom_commands_and_root_are_honoured") {
        return;
    }
    let dir = Dir::new();
    let perf = executable(&dir, "myperf", "echo \"myperf $*\" >&2\nexec perf \"$@\"");
    let custom = "record -e cpu-clock -F 99 -g -o 'my recording'";
    dir.cmd("fg-record")
        .env("PERF", &perf)
        .args(["-v", "-c", custom, "--", "echo", "hello  world"])
        .run()
        .success()
        .says("-o 'my recording' -- echo 'hello  world'")
        .says("myperf record -e cpu-clock -F 99 -g -o my recording -- echo hello  world");
    assert!(dir.read("my recording").starts_with(b"PERFILE2"));

    fake_sudo(&dir);
    for (output, backend) in [
        (&[][..], "native"),
        (&[], "perf"),
        (&["-o", "rooted"], "native"),
        (&["-o", "rooted"], "perf"),
    ] {
        let recorder = if backend == "perf" {
            "perf record".into()
        } else {
            format!("{} --as-fg-record", bin("fg-record").display())
        };
        let outcome = record(&dir)
            .env("PATH", path(&dir))
            .args(["--backend", backend, "--root=-E -n"])
            .args(output)
            .arg(burn())
            .args(["--ms", "50", "--exit", "3", "--print"])
            .run()
            .code(3)
            .says(&format!("sudo -E -n {recorder} -F 997"));
        assert!(!outcome.stderr.contains_str("--exit"), "{}", outcome.everything());
        assert_eq!(outcome.stdout == "burnt\n", !output.is_empty());
        let recording = if output.is_empty() { outcome.stdout } else { dir.read("rooted") };
        assert!(samples(&dir, &recording) > 20);
    }
}

#[test]
fn streams_may_be_compressed() {
    if !perf_works("streams_may_be_compressed") {
        return;
    }
    let dir = Dir::new();
    let cmd = || record(&dir).args(["--backend", "perf", "-z"]);
    let recording = cmd().arg("--").arg(burn()).args(["--ms", "100"]).stdout();
    assert!(samples(&dir, &recording) > 50);
    assert!(recording.len() < 2_000_000, "{} bytes", recording.len());
}

#[test]
fn an_unprivileged_user_records_or_is_told_why() {
    let test = "an_unprivileged_user_records_or_is_told_why";
    if !perf_works(test) {
        return;
    }
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--clear-groups", "--"]);
    if !Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        return cannot_run(test, "it needs root, to become nobody");
    }
    nobody.arg(bin("fg-record")).args(["-e", "cpu-clock", "-a"]).current_dir("/");
    let output = nobody.stdin(Stdio::null()).output().unwrap();
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if level.trim().parse::<i32>().unwrap() < 1 {
        return cannot_run(test, "everybody may record everything here");
    }
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr.to_str_lossy());
    let setting = format!("kernel.perf_event_paranoid is {}", level.trim());
    assert!(output.stderr.contains_str(&setting), "{}", output.stderr.to_str_lossy());
    assert!(output.stderr.contains_str("sysctl kernel.perf_event_paranoid"));
}
