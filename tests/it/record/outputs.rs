//! Tests the outputs of recordings: who may read them, and outputs that are not files.

use super::*;

/// The permissions of `file`, as `ls` would show them in octal.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn only_their_owner_reads_recordings() {
    if !can_record("only_their_owner_reads_recordings") {
        return;
    }
    let dir = Dir::new();
    dir.fifo("at work");
    let script = format!("echo >'at work'; exec {} --ms 15000", burn().display());
    let child = start(&dir, &["-o", "x"], &["sh", "-c", &script]);
    dir.read("at work");
    let open: Vec<_> = dir.names().into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(open.iter().map(|name| mode(&dir.path(name))).collect::<Vec<_>>(), [0o600]);
    kill("INT", child.id(), true);
    finish(child, Vec::new());
    assert_eq!(mode(&dir.path("x")), 0o600);
    dir.cmd("fg-script").args(["x", "-o", "text"]).run().success();
    assert_eq!(mode(&dir.path("text")), 0o600, "it has the kernel's addresses");
    for backend in backends("only_their_owner_reads_recordings") {
        let keep = ["--backend", backend, "-e", "cpu-clock", "--keep", "kept", "-o", "x.svg"];
        dir.cmd("flamegraph").args(keep).arg(burn()).args(["--ms", "50"]).run().success();
        assert_eq!((mode(&dir.path("kept")), mode(&dir.path("x.svg"))), (0o600, 0o644));
        std::fs::remove_file(dir.path("kept")).unwrap();
    }
    // The creator of an existing file decided who may read it.
    let old = dir.write("old", "");
    assert!(Command::new("chmod").arg("640").arg(&old).status().unwrap().success());
    record(&dir).args(["-o", "old"]).arg(burn()).args(["--ms", "50"]).run().success();
    assert_eq!(mode(&old), 0o640);
}

#[test]
fn a_named_pipe_gets_the_recording_and_stdout_stays_the_workloads() {
    let test = "a_named_pipe_gets_the_recording_and_stdout_stays_the_workloads";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    dir.fifo("pipe");
    let path = format!("{}:{}", bin("fg-record").parent().unwrap().display(), path(&dir));
    let bash = |line: &str| {
        let line = line.replace("BURN", &format!("{} --ms 60 --print", burn().display()));
        dir.cmd("bash").env("PATH", &path).args(["-c", &line])
    };
    let is_recording = |bytes: &[u8]| bytes.starts_with(b"PERFILE2") && samples(&dir, bytes) > 20;
    for line in [
        "cat pipe >got & fg-record -e cpu-clock -o pipe BURN >out; wait",
        "fg-record -e cpu-clock -o >(cat >got; echo >done) BURN >out; cat done",
        "fg-record -e cpu-clock -o /dev/fd/3 BURN 3>got >out",
    ] {
        if line.contains("cat done") {
            dir.fifo("done");
        }
        bash(line).run().success();
        assert!(is_recording(&dir.read("got")), "{line}");
        assert_eq!(dir.read("out"), "burnt\n", "{line}");
        std::fs::remove_file(dir.path("got")).unwrap();
    }
    let quiet = bash("fg-record -e cpu-clock -o /dev/null BURN >out").run().success();
    assert_eq!((dir.read("out"), quiet.stderr), ("burnt\n".into(), "".into()));
    assert!(is_recording(&bash("fg-record -e cpu-clock -o /dev/fd/1 BURN").stdout()));
    // Text that others wrote to an open file stays.
    let line = "exec 3>>log; echo before >&3; fg-fold -o /dev/fd/3 f; echo after >&3; cat log";
    dir.write("f", "main;f 1\n");
    assert_eq!(bash(line).stdout(), "before\nmain;f 1\nafter\n");
}
