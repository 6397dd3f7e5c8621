//! Every way it can end badly: interrupted, refused, without what it needs.

use super::*;

#[test]
fn ctrl_c_while_drawing_leaves_nothing_new() {
    let test = "ctrl_c_while_drawing_leaves_nothing_new";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    dir.fifo("started");
    let perf = "if [ \"$1\" = script ]; then echo >started; sleep 600; fi
                exec /usr/bin/env -S PATH=\"${PATH#*:}\" perf \"$@\"";
    executable(&dir, "perf", perf);
    let recording = dir.write("x.data", &recordings()[0]);
    dir.write("old", "precious");
    let recording = recording.to_str().unwrap();
    let workload =
        [&SMALL[..], &["--backend", "perf", "-o", "old", burn().to_str().unwrap(), "--ms", "30"]]
            .concat();
    for (program, args) in [
        ("flamegraph", &["--backend", "perf", "--perfdata", recording, "-o", "old"][..]),
        ("flamegraph", &workload),
        ("fg-fold", &["--backend", "perf", recording, "-o", "old"]),
        ("fg-script", &["--backend", "perf", recording, "-o", "old"]),
    ] {
        if args == workload && !perf_works(&format!("{test} (perf)")) {
            continue;
        }
        let child = start(&dir, program, args, Stdio::null());
        dir.read("started");
        kill("INT", child.id(), true);
        let (status, stdout, said) = finish(child);
        assert_eq!((status, stdout.len()), (Some(130), 0), "{program}: {said}");
        assert_eq!(dir.names(), ["old", "perf", "started", "x.data"], "{program} {args:?}");
        assert_eq!(dir.read("old"), "precious");
    }
}

#[test]
fn stages_on_a_pipe_outlive_the_first_ctrl_c() {
    // More than a pipe holds: once it is written, the program has opened its input and listens.
    let folded = "main;f 1\n".repeat(20_000);
    let sample = "x 1 1.000000: 9 cycles: \n\t              12 f+0x1 (/a)\n\n".repeat(4_000);
    for (program, args, half) in [
        ("fg-fold", &[][..], &sample),
        ("fg-script", &[], &sample),
        ("fg-filter", &["--keep", "f"], &folded),
        ("fg-render", &[], &folded),
        ("fg-diff", &["-", "empty"], &folded),
    ] {
        let dir = Dir::new();
        dir.write("empty", "");
        let listening = || {
            let mut child = start(&dir, program, args, Stdio::piped());
            let (mut stdin, mut stdout) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let read = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).unwrap();
                bytes
            });
            stdin.write_all(half.as_bytes()).unwrap();
            (child, stdin, read)
        };
        let (child, mut stdin, read) = listening();
        kill("INT", child.id(), true);
        let written = stdin.write_all(half.as_bytes());
        drop(stdin);
        let (status, _, said) = finish(child);
        assert_eq!(status, Some(0), "{program}: {said}");
        assert!(written.is_ok() && !read.join().unwrap().is_empty(), "{program}: {said}");

        // Signals that come too fast are one.
        let (mut child, _stdin, _) = listening();
        while child.try_wait().unwrap().is_none() {
            kill("INT", child.id(), true);
        }
        let (status, _, said) = finish(child);
        assert_eq!(status, Some(130), "{program}: {said}");
    }
}

#[test]
fn whoever_has_seen_enough_may_go() {
    let dir = Dir::new();
    let folded: String = (0..30_000).map(|n| format!("main;function_number_{n} 1\n")).collect();
    let script: String = (0..30_000)
        .map(|n| format!("x 1 1.000000: 9 cycles: \n\t              12 function_{n}+0x1 (/a)\n\n"))
        .collect();
    dir.write("folded", folded);
    dir.write("script", script);
    for line in [
        "fg-fold folded | head -1",
        "fg-fold script | head -1",
        "fg-script script | head -1",
        "fg-filter folded | head -1",
        "fg-filter --keep f script | head -1",
        "fg-diff folded folded | head -1",
        "fg-render --minwidth 0 folded | head -1",
        "flamegraph --perfdata folded --min-width 0 -o /dev/stdout | head -1",
        "fg-fold --generate man | true",
        "fg-fold --help | true",
    ] {
        let outcome = shell(&dir, line).run().success();
        assert!(
            !outcome.stderr.contains_str("roken") && !outcome.stderr.contains_str("panic"),
            "{}",
            outcome.everything()
        );
    }
}

#[test]
fn bad_input_gets_its_own_diagnosis() {
    if !can_record("bad_input_gets_its_own_diagnosis") {
        return;
    }
    let dir = Dir::new();
    let [stream, file, ..] = recordings() else { panic!("two recordings") };
    dir.write("empty", "");
    dir.write("wrong", "hello world\n");
    dir.write("binary", [0xff; 5000]);
    dir.write("stub", &file[..50]);
    dir.write("header", &stream[..16]);
    dir.write("folder/x", "");
    dir.write("old.svg", "precious");
    for (name, diagnosis) in [
        ("empty", "empty is empty"),
        ("wrong", "wrong is not perf-script text, perf.data,"),
        ("binary", "binary is not perf-script text, perf.data,"),
        ("stub", "stub, byte 8: the perf.data header is cut short"),
        ("header", "header has no samples"),
        ("missing", "cannot read missing: No such file"),
        ("folder", "cannot read folder: it is a directory"),
    ] {
        for (program, args) in [
            ("flamegraph", &["--no-inline", "-o", "old.svg", "--perfdata", name][..]),
            ("fg-fold", &[name, "-o", "old.svg"]),
        ] {
            let outcome = dir
                .cmd(program)
                .args(args)
                .run()
                .code(1)
                .says(&format!("{program}: "))
                .says(diagnosis);
            let lines = outcome.stderr.lines().count();
            let remedies = outcome.stderr.lines().filter(|line| line.starts_with(b"  ")).count();
            assert!(lines - remedies == 1 && remedies <= 1, "{}", outcome.everything());
            assert_eq!(dir.read("old.svg"), "precious");
        }
    }
    let names = ["binary", "empty", "folder", "header", "old.svg", "stub", "wrong"];
    assert_eq!(dir.names(), names);
    // A recording that ends early is drawn as far as it goes, and said to be short.
    for whole in recordings() {
        // Cut inside a record. All records are multiples of eight bytes, and a stream may well end
        // between two of them.
        dir.write("short", &whole[..(whole.len() / 2) | 1]);
        let draw = || dir.cmd("flamegraph").args(["--perfdata", "short", "-o", "short.svg"]);
        draw().run().success().says("1 input cut short at its end");
        draw().arg("--strict").run().code(3);
    }
    dir.cmd("fg-fold")
        .run()
        .code(1)
        .says("the program before this one in the pipeline wrote nothing");
}

#[test]
fn post_processing_and_its_failures() {
    if !can_record("post_processing_and_its_failures") {
        return;
    }
    let dir = Dir::new();
    dir.write("x.data", &recordings()[0]);
    let draw = |command: &str| {
        dir.cmd("flamegraph").args([
            "--perfdata",
            "x.data",
            "-o",
            "p.svg",
            "--post-process",
            command,
        ])
    };
    draw("head -1").run().success();
    draw("sed -e 's/burn::hot_hash/my  \"own\" name/'").run().success();
    assert!(share(&dir.read("p.svg"), "my  &quot;own&quot; name") > 30.0);
    dir.write("p.svg", "precious");
    for (command, diagnosis) in [
        ("no-such-command -x", "cannot run no-such-command: there is no such program"),
        ("false", "the post-process command `false` failed (exit status: 1)"),
        (
            "sh -c 'cat >/dev/null; exit 7'",
            "the post-process command `sh -c 'cat >/dev/null; exit 7'` failed (exit status: 7)",
        ),
        (
            "sh -c 'head -1; exit 3'",
            "the post-process command `sh -c 'head -1; exit 3'` failed (exit status: 3)",
        ),
        ("sh -c 'kill -9 $$'", "the post-process command `sh -c 'kill -9 $$'` failed (signal: 9"),
        ("echo hello", "the output of `echo hello` is not folded stacks"),
        ("true", "the output of `true` is empty"),
        ("echo 'a;b 0'", "the output of `echo 'a;b 0'` has no samples"),
    ] {
        draw(command).run().code(1).says(&format!("flamegraph: {diagnosis}"));
        assert_eq!(dir.read("p.svg"), "precious", "{command}");
    }
    let outcome = draw("sh -c 'echo oops >&2; exit 4'").run().code(1).says("oops\n");
    assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.everything());
    flamegraph(&dir)
        .args(["--post-process", "false"])
        .arg(burn())
        .args(["--ms", "30"])
        .run()
        .code(1);
    assert_eq!(dir.names(), ["p.svg", "x.data"], "the recording is gone");
}

#[test]
fn without_perf_it_is_said_what_is_missing() {
    let dir = Dir::new();
    let file = dir.write("no-program", "text");
    dir.write("x.data", b"PERFILE2\x10\0\0\0\0\0\0\0");
    for (program, args) in [
        ("flamegraph", &["--backend", "perf", "/bin/true"][..]),
        ("fg-record", &["--backend", "perf", "-o", "x", "/bin/true"]),
        ("flamegraph", &["--backend", "perf", "--perfdata", "x.data"]),
        ("fg-script", &["--backend", "perf", "x.data"]),
        ("fg-fold", &["--backend", "perf", "x.data"]),
    ] {
        let run = || dir.cmd(program).args(args).env("PERF", "no-such-perf");
        run().run().code(1).says(&format!("{program}: cannot run no-such-perf: ")).says("PERF");
        run().env("PERF", &file).run().code(1).says("no-program: Permission denied").says("PERF");
        let mut none = run().env("PATH", dir.path("."));
        none.command.env_remove("PERF");
        none.run().code(1).says(&format!("{program}: cannot run perf: ")).says("install perf");
    }
    dir.cmd("flamegraph")
        .arg("./no-such-program")
        .run()
        .code(1)
        .says("cannot run ./no-such-program: ");
    assert_eq!(dir.names(), ["no-program", "x.data"]);
}

#[test]
fn stages_do_not_read_from_a_terminal() {
    let dir = Dir::new();
    for program in ["fg-fold", "fg-script", "fg-filter", "fg-render"] {
        let line = bin(program).display().to_string();
        let mut script = dir.cmd("script").args(["-qec", &line, "/dev/null"]).command;
        let Ok(output) = script.stdin(Stdio::null()).output() else {
            return cannot_run("stages_do_not_read_from_a_terminal", "there is no script(1)");
        };
        let said = output.stdout.to_str_lossy();
        assert_eq!(output.status.code(), Some(2), "{program}: {said}");
        assert!(said.contains("standard input is a terminal"), "{program}: {said}");
    }
}

#[test]
fn a_closed_stderr_harms_nothing() {
    let dir = Dir::new();
    dir.write("x", "main;f 1\n");
    let wanted = dir.cmd("fg-render").arg("x").stdout();
    for line in [
        "fg-render x 2>&-",
        "fg-fold <x 2>&- | fg-render 2>&-",
        "fg-filter --keep f x 2>&- | fg-render 2>&-",
        "flamegraph --perfdata x -o - 2>&-",
        "fg-render x 2>/dev/full",
        "fg-render -o out x 2>&- && cat out",
    ] {
        assert_eq!(shell(&dir, line).stdout(), wanted, "{line}");
    }
    assert_eq!(dir.names(), ["out", "x"]);
}

#[test]
fn nobody_records_their_own_programs() {
    let test = "nobody_records_their_own_programs";
    if !can_record(test) {
        return;
    }
    let nobody = ["--reuid=65534", "--clear-groups", "--"];
    if !Command::new("setpriv")
        .args(nobody)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return cannot_run(test, "it needs root, to become nobody");
    }
    let dir = Dir::new();
    assert!(Command::new("chmod").arg("777").arg(dir.path(".")).status().unwrap().success());
    for program in ["flamegraph", "burn"] {
        let from = if program == "burn" { burn().to_owned() } else { bin(program) };
        std::fs::copy(from, dir.path(program)).unwrap();
    }
    let run =
        |args: &[&str]| dir.cmd("setpriv").args(nobody).arg("./flamegraph").args(SMALL).args(args);
    run(&["./burn", "--ms", "100"]).run().success().says("wrote flamegraph.svg");
    assert!(share(&dir.read("flamegraph.svg"), "burn::hot_hash") > 30.0);
    dir.write("closed/old.svg", "precious");
    let outcome = run(&["-o", "closed/new.svg", "./burn"]).run().code(1);
    assert_eq!(
        outcome.stderr,
        "flamegraph: cannot write closed/new.svg: Permission denied (os error 13)\n"
    );
    if std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
        .is_ok_and(|level| level.trim() != "-1")
    {
        let outcome = run(&["-o", "x.svg", "-p", "1"]).run().code(1);
        outcome.says("perf_event_paranoid").says("--root");
    }
    assert_eq!(dir.names(), ["burn", "closed", "flamegraph", "flamegraph.svg"]);
}

#[test]
fn a_recording_that_cannot_be_kept_costs_no_graph() {
    let test = "a_recording_that_cannot_be_kept_costs_no_graph";
    if !can_record(test) {
        return;
    }
    for backend in ["native", "perf"] {
        if backend == "perf" && !perf_works(&format!("{test} (perf)")) {
            continue;
        }
        let dir = Dir::new();
        dir.fifo("pipe");
        let line = |keep: &str| {
            let burn = burn().display();
            let record = format!("flamegraph -e cpu-clock --backend {backend} --keep {keep}");
            format!("{record} -o x.svg {burn} --ms 200")
        };
        // Its reader has seen enough.
        shell(&dir, &format!("head -c 1 pipe >first & {}", line("pipe"))).run().success();
        assert!(share(&dir.read("x.svg"), "burn::hot_hash") > 20.0, "{backend}");
        assert_eq!(dir.read("first"), "P");
        std::fs::remove_file(dir.path("x.svg")).unwrap();
        let full = shell(&dir, &line("/dev/full")).run().code(1);
        full.says("wrote x.svg").says("cannot write /dev/full: No space left");
        assert!(share(&dir.read("x.svg"), "burn::hot_hash") > 20.0, "{backend}");
    }
}

#[test]
fn what_cannot_end_well_does_not_begin() {
    if !can_record("what_cannot_end_well_does_not_begin") {
        return;
    }
    let dir = Dir::new();
    for (args, code, words) in [
        (["--keep", "./x.svg"], 2, "--keep and -o both name the file x.svg"),
        (["--keep", "no/such/folder"], 1, "cannot write no/such/folder"),
        (["--post-process", "no-such-program x"], 1, "cannot run no-such-program: there is no"),
    ] {
        let run = flamegraph(&dir).args(args).args(["-o", "x.svg", "touch", "ran"]);
        run.run().code(code).says(words);
        assert!(dir.names().is_empty(), "{args:?}");
    }
}
