//! fg-fold as a program.

use bstr::ByteSlice;

use crate::harness::Dir;

#[test]
fn any_input_is_folded_and_several_are_merged() {
    let dir = Dir::new();
    let script = dir.write("a.txt", "app 7 1.5: 10 cycles: \n\t              10 f (/a)\n\n");
    dir.write("b.folded", "app;f 5\napp;g 1\n");
    dir.write(
        "c.dtrace",
        "\n\n              libc.so.1`f+0x1\n              app`main+0x2\n                5\n\n",
    );
    assert_eq!(
        dir.cmd("fg-fold").args(["a.txt", "b.folded", "c.dtrace"]).stdout(),
        "# unit: cycles 0\napp;f 15\napp;g 1\napp`main;libc.so.1`f 5\n"
    );
    let script = std::fs::read(script).unwrap();
    assert_eq!(dir.cmd("fg-fold").arg("--no-unit").stdin(script).stdout(), "app;f 10\n");
    assert_eq!(
        dir.cmd("fg-fold").args(["--format", "recursive"]).stdin("a;b;b;b 3\n").stdout(),
        "a;b 3\n"
    );
}

#[test]
fn each_mistake_has_its_own_diagnosis_and_leaves_the_old_output() {
    let dir = Dir::new();
    dir.write("old", "old");
    let bare = "app 7 1.5: 10 cycles: \napp 7 1.5: 10 cycles: \n";
    for (input, says) in [
        ("", "standard input is empty"),
        ("\n\n", "standard input is empty"),
        ("hello\nworld\n", "standard input is not perf-script text"),
        ("<svg>\n", "standard input is a picture without folded stacks"),
        (bare, "has 2 samples but no call chains"),
        (
            "PERFILE2 is the beginning of something else",
            "byte 8: the perf.data header is cut short",
        ),
    ] {
        dir.cmd("fg-fold").args(["-o", "old"]).stdin(input).run().code(1).says(says);
        assert_eq!(dir.read("old"), "old");
        assert_eq!(dir.names(), ["old"]);
    }
    dir.cmd("fg-fold").arg("missing.txt").run().code(1).says("cannot read missing.txt: ");
    dir.cmd("fg-fold")
        .args(["-o", "no/such/dir"])
        .stdin("a 1\n")
        .run()
        .code(1)
        .says("cannot write no/such/dir");
    dir.cmd("fg-fold")
        .args(["--event-filter", "faults"])
        .stdin(bare)
        .run()
        .code(1)
        .says("has no samples of the wanted event: 2 are of cycles");
    dir.cmd("fg-fold").arg("--nonsense").run().code(2);
}

#[test]
fn strict_is_a_status() {
    let dir = Dir::new();
    let odd = "app;f 5\nodd\n";
    dir.cmd("fg-fold")
        .args(["--strict", "--format", "folded"])
        .stdin(odd)
        .run()
        .code(3)
        .says("1 odd line or record skipped");
    dir.cmd("fg-fold").args(["--format", "folded"]).stdin(odd).run().code(0);
}

#[test]
fn strict_with_a_percentage_is_a_limit() {
    let dir = Dir::new();
    // Of ten samples, one was skipped, one is truncated, and one has no name.
    let sample = |frame: &str| format!("app 1 1.0: 1 cycles: \n\t1 {frame} (/x)\n\n");
    let mut text = sample("f").repeat(7) + &sample("[unknown]") + "odd\n\n";
    text += "app 1 1.0: 1 cycles: \n\t1 f (/x)\n\t0 [truncated] ([truncated])\n\n";
    let fold = |strict: &str, code: i32| {
        dir.cmd("fg-fold").args([strict, "-q"]).stdin(&*text).run().code(code)
    };
    fold("--strict", 3).says_nothing();
    fold("--strict=70", 0).says_nothing();
    fold("--strict=70.1", 3)
        .says("only 70.00 % of the weight is good, and --strict=70.1 was given");
    fold("--strict=x", 2).says("a percentage between 0 and 100");
    fold("--strict=101", 2).says("a percentage between 0 and 100");
    // What is missing behind a cut is unknown.
    let mut cut = text.clone();
    cut.truncate(text.len() - 30);
    dir.cmd("fg-fold").arg("--strict=1").stdin(cut).run().code(3).says("nobody knows how much");
    // A value is part of the option, so a file may follow.
    dir.write("in", sample("f"));
    dir.cmd("fg-fold").args(["--strict", "in"]).run().success();
}

#[test]
fn quiet_programs_print_only_errors() {
    let dir = Dir::new();
    dir.write("in", "a 1 1.0: 7 cycles: \n\t1 f (x)\n\t2 [unknown] (/lib/b.so)\n\nodd\n");
    dir.write("folded", "a;f 1\nodd\na;g 2.5\n");
    for (program, args) in [
        ("fg-fold", "in"),
        ("fg-filter", "--drop x folded"),
        ("fg-script", "--time 2, in"),
        ("fg-render", "folded"),
        ("fg-top", "folded"),
        ("fg-export", "-o x.json folded"),
        ("fg-diff", "in folded"),
        ("flamegraph", "--perfdata in"),
    ] {
        dir.cmd(program).arg("-q").args(args.split(' ')).run().success().says_nothing();
        let loud = dir.cmd(program).args(args.split(' ')).run().success();
        assert!(!loud.stderr.is_empty(), "{program} has nothing to be quiet about");
    }
}

/// Memory is what is distinct, not how long the input is: 64 MB of the same again, through a pipe.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_input() {
    use bstr::ByteSlice;
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut text = String::new();
    for sample in 0..1000 {
        text += &format!("app 7 [000] {sample}.5: 1000 cycles:u: \n");
        for depth in 0..20 {
            let frame = sample * depth % 300;
            text += &format!("\t{frame:>16x} function_{frame}+0x1 (/usr/bin/app)\n");
        }
        text.push('\n');
    }
    let times = (64 << 20) / text.len() + 1;
    let mut child = Command::new(crate::harness::bin("fg-fold"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..times {
        stdin.write_all(text.as_bytes()).unwrap();
    }
    // It has read all but what the pipe holds, and cannot end before the pipe is closed.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(stdin);
    let folded = child.wait_with_output().unwrap().stdout;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak <= 16 << 10, "{peak} KiB for {} bytes", times * text.len());
    let total: u64 =
        folded.lines().filter_map(flamepipe::folded::split).map(|line| line.weight).sum();
    assert_eq!(total, times as u64 * 1_000_000);
}

#[test]
fn many_files_and_threads_fold_as_one() {
    let dir = Dir::new();
    // Together they are large enough for two threads. The second begins in the middle of a file.
    // One file has no blank line at its end.
    let sample = |i: usize| {
        let [stack, line, odd] = [i % 977, i % 89, i % 50_021];
        let odd = if odd == 7 { "what is this\n" } else { "" };
        format!(
            "app {i} 1.5: 10 cycles: \n\t{line:>16x} f{stack}+0x1 (/a)\n\t{stack:>16x} main (/a)\n{odd}\n"
        )
    };
    for (name, samples) in [("a", 0..150_000), ("b", 150_000..150_001), ("c", 150_001..290_000)] {
        dir.write(name, samples.map(sample).collect::<String>().trim_end());
    }
    dir.write("folded", "app;other 5\n");
    let fold = |threads: &str| {
        let args = ["-n", threads, "a", "folded", "b", "c"];
        let run = dir.cmd("fg-fold").args(args).run().success();
        (run.stdout, run.stderr)
    };
    let one = fold("1");
    assert!(one.0.find(b"app;main;f7 ").is_some(), "it was folded");
    assert_eq!(one, fold("2"));
    assert_eq!(one, fold("7"));
    dir.cmd("fg-fold").args(["-n", "2", "a", "c", "none"]).run().code(1).says("cannot read none");
    // A file that standard input is redirected from is split as one that is named.
    if cfg!(unix) {
        let named = dir.cmd("fg-fold").args(["-n", "1", "a"]).stdout();
        let redirect = dir.cmd("sh").args(["-c", "exec \"$0\" -n 2 <a"]);
        assert_eq!(redirect.arg(crate::harness::bin("fg-fold")).stdout(), named);
    }
}

#[test]
fn the_quality_is_reported_as_json() {
    let dir = Dir::new();
    dir.write("in", "a 1 1.0: 7 cycles: \n\t1 f (x)\n\t2 [unknown] (/lib/b.so)\n\nodd\n");
    dir.cmd("fg-fold").args(["--report", "quality.json", "in"]).run().success();
    let report: serde_json::Value = serde_json::from_slice(&dir.read("quality.json")).unwrap();
    assert_eq!((&report["clean"], &report["event"]), (&false.into(), &"cycles".into()));
    assert_eq!((&report["samples"], &report["weight"]), (&1.into(), &7.into()));
    assert_eq!(report["losses"]["odd"], 1);
    assert!(report["line"].as_str().unwrap().starts_with("1 sample"));
    assert_eq!(report["unresolved"], serde_json::json!([]));
    // The same for a graph, and nothing at all without samples.
    let args = ["--perfdata", "in", "--report", "graph.json"];
    dir.cmd("flamegraph").args(args).run().success();
    assert_eq!(dir.read("graph.json"), dir.read("quality.json"));
    dir.cmd("fg-fold").args(["--report", "none.json"]).stdin("").run().code(1);
    assert!(!dir.path("none.json").exists());
}
