//! `fg-record`: what is recorded, whose output is whose, and how a recording can end.
//!
//! The native recorder is tested wherever the kernel lets us record. perf, if it is installed, is
//! the second recorder and the second reader.
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
mod outputs;
mod sandbox;
mod segments;
mod short_lived;
mod signals;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use bstr::{BString, ByteSlice};

use crate::harness::{Cmd, Dir, bin, cannot_run, example};

/// The workload with known shares.
pub fn burn() -> &'static Path {
    static BURN: OnceLock<PathBuf> = OnceLock::new();
    BURN.get_or_init(|| example("burn"))
}

/// Whether the kernel lets fg-record record; if not, `test` says so loudly. Any other failure of
/// fg-record is left to the test.
pub fn can_record(test: &str) -> bool {
    static REFUSED: OnceLock<Option<String>> = OnceLock::new();
    let refused = REFUSED.get_or_init(|| {
        let mut record = Command::new(bin("fg-record"));
        record.args(["-e", "cpu-clock", "-o", "/dev/null", "true"]).env_remove("PERF");
        let output = record.stdin(Stdio::null()).output().unwrap();
        let said = output.stderr.to_str_lossy().into_owned();
        (!output.status.success() && said.contains("perf_event")).then_some(said)
    });
    if let Some(why) = refused {
        cannot_run(test, &format!("fg-record cannot record here: {why}"));
    }
    refused.is_none()
}

/// Whether perf can record here; if not, `test` says so loudly.
pub fn perf_works(test: &str) -> bool {
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let mut perf = Command::new("perf");
        perf.args(["record", "-e", "cpu-clock", "-o", "-", "true"]);
        match perf.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() && !output.stdout.is_empty() => Ok(()),
            Ok(output) => Err(output.stderr.to_str_lossy().into_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    if let Err(why) = works {
        cannot_run(test, &format!("perf cannot record here: {why}"));
    }
    works.is_ok()
}

/// The recorders that can record here. They must do the same, so `test` says loudly which it could
/// not try.
fn backends(test: &str) -> impl Iterator<Item = &'static str> {
    let native = can_record(test).then_some("native");
    // Only once the other one was tried.
    let perf = std::iter::once("perf").filter(move |_| perf_works(&format!("{test} (perf)")));
    native.into_iter().chain(perf)
}

fn record(dir: &Dir) -> Cmd {
    dir.cmd("fg-record").args(["-e", "cpu-clock", "--call-graph", "dwarf,8192"])
}

/// The samples in a recording, one paragraph each.
fn stacks(dir: &Dir, recording: &[u8]) -> Vec<String> {
    let path = dir.write("recording", recording);
    let text = dir.cmd("fg-script").args(["-q", "--no-inline"]).arg(path).stdout().to_string();
    text.split_terminator("\n\n").map(str::to_owned).collect()
}

/// The lines of samples; of streams, perf shows chains too, whatever the fields.
fn heads(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter(|line| !line.is_empty() && !line.starts_with(['\t', '#']))
}

/// How many samples are in a recording. perf, if there is one, must read as many.
fn samples(dir: &Dir, recording: &[u8]) -> usize {
    let count = stacks(dir, recording).len();
    let perf = Command::new("perf")
        .args(["script", "--no-inline", "-F", "tid,time", "-i"])
        .arg(dir.path("recording"))
        .stdin(Stdio::null())
        .output();
    if let Ok(perf) = perf {
        assert!(perf.status.success(), "{}", perf.stderr.to_str_lossy());
        assert_eq!(heads(&perf.stdout.to_str_lossy()).count(), count, "perf reads as many samples");
    }
    count
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

/// A fake sudo. The tests check what it runs, and that the workload is not a part of that.
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

/// Reads what remains, to the end.
fn finish(mut child: Child, mut stream: Vec<u8>) -> (Option<i32>, Vec<u8>, String) {
    child.stdout.take().unwrap().read_to_end(&mut stream).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    (status.code(), stream, said)
}

#[test]
fn the_stream_has_the_shares_and_nothing_else() {
    for backend in backends("the_stream_has_the_shares_and_nothing_else") {
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
    for backend in backends("with_a_file_stdout_is_the_workloads") {
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
    let dir = Dir::new();
    for backend in backends("a_failing_workload_passes_its_status_on") {
        let record = || record(&dir).args(["--backend", backend]);
        for (arguments, status) in
            [(["--exit", "7"], 7), (["--kill", "9"], 137), (["--kill", "15"], 143)]
        {
            for file in [false, true] {
                let cmd = if file { record().args(["-o", "x"]) } else { record() };
                let cmd = cmd.arg(burn()).args(["--ms", "50"]).args(arguments);
                let outcome = cmd.run().code(status);
                let recording = if file { dir.read("x") } else { outcome.stdout };
                assert!(samples(&dir, &recording) > 20, "the recording is complete");
            }
        }
        let ignored = record().arg("--ignore-status").arg(burn());
        ignored.args(["--ms", "9", "--exit", "7"]).run().success();
    }
}

#[test]
fn perfs_own_failures_are_told_apart() {
    if !perf_works("perfs_own_failures_are_told_apart") {
        return;
    }
    let dir = Dir::new();
    dir.write("old", "precious");
    let outcome = record(&dir).args(["-o", "old", "-e", "no-such-event", "true"]).run().code(1);
    outcome
        .says("fg-record does not know the event no-such-event; recording with perf")
        .says("fg-record: perf");
    assert_eq!(dir.read("old"), "precious");
    dir.cmd("fg-record").args(["-c", "record -o old -e no-such-event", "true"]).run().code(1);
    assert_eq!(dir.names(), ["old"]);
}

#[test]
fn what_cannot_be_run_is_named() {
    let dir = Dir::new();
    let outcome = record(&dir).arg("./no-such-program").run().code(1);
    assert_eq!(
        outcome.stderr,
        "fg-record: cannot run ./no-such-program: there is no such program\n"
    );
    let perf = record(&dir).env("PERF", "no-such-perf").arg("true").run().code(1);
    perf.says("cannot run no-such-perf").says("PERF");
    let lonely = record(&dir).args(["-e", "no-such-event", "/bin/true"]).env("PATH", "/nowhere");
    lonely
        .run()
        .code(1)
        .says("fg-record does not know the event no-such-event")
        .says("perf may support it: install perf");
    assert!(dir.names().is_empty());
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
fn perf_and_custom_commands_are_honoured() {
    if !perf_works("perf_and_custom_commands_are_honoured") {
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
}

#[test]
fn only_the_recorder_is_root() {
    let dir = Dir::new();
    fake_sudo(&dir);
    for backend in backends("only_the_recorder_is_root") {
        let recorder = match backend {
            "perf" => "perf record".into(),
            _ => format!("{} --as-fg-record", bin("fg-record").display()),
        };
        for output in [&[][..], &["-o", "rooted"]] {
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
}

#[test]
fn names_of_temporary_folders_may_have_commas() {
    let dir = Dir::new();
    fake_sudo(&dir);
    std::fs::create_dir(dir.path("a,b")).unwrap();
    for backend in backends("names_of_temporary_folders_may_have_commas") {
        let cmd = record(&dir).env("PATH", path(&dir)).env("TMPDIR", dir.path("a,b"));
        let cmd = cmd.args(["--backend", backend, "--root", "-o", "x"]).arg(burn());
        cmd.args(["--ms", "50"]).run().success();
        let recording = dir.read("x");
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
    if !can_record(test) {
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
