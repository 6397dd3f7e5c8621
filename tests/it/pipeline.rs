//! The whole as a user runs it: a program in, its graph out, and every way that can end.
#![cfg(target_os = "linux")]

mod endings;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use bstr::{BString, ByteSlice};
use serde_json::Value;

use crate::harness::{Cmd, Dir, Outcome, bin, bin_dir, cannot_run, repo, wait_until};
use crate::record::{burn, can_record, executable, kill, path, perf_works};

/// Options for small recordings, which make these tests quick.
const SMALL: [&str; 4] = ["-e", "cpu-clock", "--call-graph", "dwarf,8192"];

const FILE: &str = "record -q -e cpu-clock -F 997 --call-graph dwarf,8192 -o";

/// Recordings of one kind of work: a stream and a file, and a file of perf's if there is perf.
fn recordings() -> &'static [Vec<u8>] {
    static RECORDINGS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    RECORDINGS.get_or_init(|| {
        let dir = Dir::new();
        let record = || dir.cmd("fg-record").args(SMALL);
        let stream = || -> Vec<u8> { record().arg(burn()).args(["--ms", "150"]).stdout().into() };
        let file = || -> Vec<u8> {
            record().args(["-o", "file"]).arg(burn()).args(["--ms", "150"]).run().success();
            dir.read("file").into()
        };
        // A busy machine loses samples, and then shares differ.
        let is_whole = |recording: &Vec<u8>| {
            dir.write("x", recording);
            let folded = dir.cmd("fg-fold").args(["--no-inline", "x"]).run().success();
            !folded.stderr.contains_str("lost by the recorder")
        };
        let whole = |record: &dyn Fn() -> Vec<u8>| {
            std::iter::repeat_with(record).take(5).find(is_whole).unwrap_or_else(record)
        };
        let mut recordings = vec![whole(&stream), whole(&file)];
        if perf_works("pipeline (perf)") {
            let perf = dir.cmd("perf").args(FILE.split(' ')).arg("perf").arg(burn());
            perf.args(["--ms", "150"]).run().success();
            recordings.push(dir.read("perf").into());
        }
        recordings
    })
}

fn flamegraph(dir: &Dir) -> Cmd {
    dir.cmd("flamegraph").args(SMALL).arg("--no-inline")
}

/// The percentage of `function` in a graph: `<title>burn::hot_sum (155,466,395 samples,
/// 38.85%)</title>`.
fn share(svg: &[u8], function: &str) -> f64 {
    let svg = svg.to_str().unwrap();
    let titles = svg.split("<title>").filter_map(|rest| rest.split_once("%)</title>"));
    let shares = titles.filter(|(title, _)| title.starts_with(&format!("{function} (")));
    shares.filter_map(|(title, _)| title.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Holds a graph of examples/burn to what it is built to burn.
#[track_caller]
fn has_shares(svg: &[u8], prefix: &str) {
    roxmltree::Document::parse_with_options(
        svg.to_str().unwrap(),
        roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() },
    )
    .unwrap();
    for (function, expected) in [("hot_sum", 37.5), ("hot_sort", 12.5), ("hot_hash", 50.0)] {
        let found = share(svg, &format!("{prefix}{function}"));
        assert!((found - expected).abs() < 5.0, "{function}: {found} %, not {expected} %");
    }
}

/// Runs the command of `cmd` until nothing is lost. On a busy machine samples are lost, which it
/// says, and then shares differ.
fn unlost(cmd: impl Fn() -> Cmd) -> Outcome {
    let run = || cmd().run().success().says("reach a thread root");
    let lost = |outcome: &Outcome| outcome.stderr.contains_str("lost by the recorder");
    std::iter::repeat_with(run).take(5).find(|outcome| !lost(outcome)).unwrap_or_else(run)
}

/// A line of shell with our programs in its PATH.
fn shell(dir: &Dir, line: &str) -> Cmd {
    let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap());
    dir.cmd("bash").env("PATH", path).args(["-o", "pipefail", "-c", line])
}

/// Starts a program in a process group of its own, as a shell does.
fn start(dir: &Dir, program: &str, args: &[&str], stdin: Stdio) -> Child {
    Command::new(bin(program))
        .args(args)
        .env("PATH", path(dir))
        .current_dir(dir.path("."))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Its status, stdout and stderr.
fn finish(child: Child) -> (Option<i32>, BString, BString) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output.stdout.into(), output.stderr.into())
}

#[test]
fn three_programs_show_the_shares() {
    if !perf_works("three_programs_show_the_shares") {
        return;
    }
    let dir = Dir::new();
    // The buffer is large, because the stages compete with perf for two processors.
    let perf = "record -e cpu-clock -F 997 --call-graph dwarf,8192 -m 8M";
    let line = format!("fg-record -c '{perf}' {} --ms 600 | fg-fold | fg-render", burn().display());
    let svg = unlost(|| shell(&dir, &line)).stdout;
    has_shares(&svg, "burn::");
    assert!(dir.names().is_empty());
}

#[test]
fn a_command_is_drawn_in_every_way_it_can_be_typed() {
    if !can_record("a_command_is_drawn_in_every_way_it_can_be_typed") {
        return;
    }
    let dir = Dir::new();
    let burn = burn().to_str().unwrap();
    let workload = [burn, "--ms", "500"];
    unlost(|| flamegraph(&dir).args(["-o", "a.svg", "--"]).args(workload)).says("wrote a.svg: ");
    has_shares(&dir.read("a.svg"), "burn::");
    let rename = ["--post-process", "sed 's/burn::/my own /g'"];
    unlost(|| flamegraph(&dir).args(rename).args(workload));
    has_shares(&dir.read("flamegraph.svg"), "my own ");
    assert_eq!(dir.names(), ["a.svg", "flamegraph.svg"]);
    if !perf_works("a_command_is_drawn_in_every_way_it_can_be_typed (perf)") {
        return;
    }
    let custom = "record -e cpu-clock -F 997 --call-graph dwarf,8192";
    let flags = ["--no-inline", "-c", custom, "-v", "-o", "b.svg"];
    unlost(|| dir.cmd("flamegraph").args(flags).args(workload))
        .says("flamegraph: perf record -e cpu-clock -F 997 --call-graph dwarf,8192 -o ");
    has_shares(&dir.read("b.svg"), "burn::");
    assert_eq!(dir.names(), ["a.svg", "b.svg", "flamegraph.svg"]);
}

#[test]
fn a_preset_is_that_of_fg_filter() {
    let dir = Dir::new();
    dir.write("x.data", &recordings()[0]);
    let args = ["--perfdata", "x.data", "--preset", "std"];
    flamegraph(&dir).args(args).run().success();
    let folded = dir.cmd("fg-fold").arg("flamegraph.svg").stdout();
    let line = "fg-fold --no-inline x.data | fg-filter -q --preset std | fg-fold";
    assert_eq!(folded, shell(&dir, line).stdout());
    assert!(folded.contains_str("burn::hot_sum") && !folded.contains_str("start_thread"));
}

#[test]
fn an_attached_graph_is_drawn_at_ctrl_c() {
    if !can_record("an_attached_graph_is_drawn_at_ctrl_c") {
        return;
    }
    let dir = Dir::new();
    let mut workload = Command::new(burn()).args(["--ms", "60000"]).spawn().unwrap();
    let pid = workload.id().to_string();
    let used = || -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let used = tasks.map(|task| std::fs::read_to_string(task.path().join("schedstat")));
        used.map(|used| used.unwrap().split(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    for post_process in [&[][..], &["--post-process", "cat"]] {
        let args = [&SMALL[..], &["--no-inline", "-o", "a.svg", "-p", &pid], post_process].concat();
        let child = start(&dir, "flamegraph", &args, Stdio::null());
        wait_until(|| has_events(child.id()));
        let begin = used();
        wait_until(|| used() - begin > 2e9);
        kill("INT", child.id(), true);
        let (status, _, said) = finish(child);
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(dir.names(), ["a.svg"]);
        // On a busy machine one thread gets more time than the other. Within a thread, the shares
        // are as built.
        let svg = dir.read("a.svg");
        let [sum, sort] = ["burn::hot_sum", "burn::hot_sort"].map(|function| share(&svg, function));
        assert!((sum / (sum + sort) - 0.75).abs() < 0.05, "{sum} % and {sort} %");
        assert!(share(&svg, "burn::hot_hash") > 20.0);
        std::fs::remove_file(dir.path("a.svg")).unwrap();
    }
    workload.kill().unwrap();
    workload.wait().unwrap();
}

/// Whether a recorder has opened events.
fn has_events(recorder: u32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{recorder}/fd")).unwrap().flatten();
    let mut files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    files.any(|file| file.as_os_str() == "anon_inode:[perf_event]")
}

#[test]
fn a_failing_workload_is_drawn_and_its_status_passed_on() {
    if !can_record("a_failing_workload_is_drawn_and_its_status_passed_on") {
        return;
    }
    let dir = Dir::new();
    let exited = "the program exited with 7";
    for (how, status, flags, said) in [
        (["--exit", "7"], 7, &[][..], exited),
        (["--kill", "9"], 137, &[], "the program was killed by SIGKILL"),
        (["--exit", "7"], 0, &["--ignore-status"], exited),
    ] {
        let outcome = flamegraph(&dir).args(flags).arg(burn()).args(["--ms", "60"]).args(how).run();
        outcome.code(status).says("wrote flamegraph.svg").says(said);
        assert!(share(&dir.read("flamegraph.svg"), "burn::hot_hash") > 30.0);
        std::fs::remove_file(dir.path("flamegraph.svg")).unwrap();
    }
    // A few samples of a failure do not cost a larger graph.
    let older = "x".repeat(10_000_000);
    dir.write("flamegraph.svg", &older);
    let fails = flamegraph(&dir).args(["-F", "99"]).arg(burn()).args(["--ms", "60", "--exit", "7"]);
    fails.run().code(7).says("the older flamegraph.svg was larger; it is now flamegraph.old.svg");
    assert!(dir.read("flamegraph.old.svg") == older && dir.read("flamegraph.svg") != older);
    std::fs::remove_file(dir.path("flamegraph.old.svg")).unwrap();
    std::fs::remove_file(dir.path("flamegraph.svg")).unwrap();
    // A program that ends at once leaves nothing to draw; that it failed is the better explanation.
    let outcome = flamegraph(&dir).args(["-F", "1", "false"]).run().code(1);
    outcome.says("the program exited with 1: the recording has no samples");
    flamegraph(&dir)
        .args(["-F", "1", "true"])
        .run()
        .code(1)
        .says("the recording has no samples")
        .says("-F");
    assert!(dir.names().is_empty(), "{:?}", dir.names());
}

#[test]
fn ctrl_c_while_recording_draws_what_there_is() {
    let test = "ctrl_c_while_recording_draws_what_there_is";
    if !can_record(test) {
        return;
    }
    let burn = burn().display();
    let script = format!("{burn} --ms 300; echo >'at work'; exec {burn} --ms 15000");
    for more in [&["--keep", "kept"][..], &["--post-process", "cat"], &["--backend", "perf"]] {
        if more.contains(&"perf") && !perf_works(&format!("{test} (perf)")) {
            continue;
        }
        let dir = Dir::new();
        dir.fifo("at work");
        let same = ["--no-inline", "--title", "A title, because kept recordings have no program"];
        let args = [&SMALL[..], more, &same, &["--", "sh", "-c", &script]].concat();
        let child = start(&dir, "flamegraph", &args, Stdio::null());
        dir.read("at work");
        kill("INT", child.id(), true);
        let (status, _, said) = finish(child);
        assert_eq!(status, Some(130), "{said}");
        let svg = dir.read("flamegraph.svg");
        assert!(share(&svg, "burn::hot_hash") > 20.0);
        if more.contains(&"kept") {
            assert_eq!(dir.names(), ["at work", "flamegraph.svg", "kept"]);
            let again = ["--perfdata", "kept", "-o", "again"];
            dir.cmd("flamegraph").args(same).args(again).run().success();
            assert_eq!(dir.read("again"), svg, "drawn while it was recorded, or later");
        } else {
            assert_eq!(dir.names(), ["at work", "flamegraph.svg"]);
        }
    }
}

#[test]
fn outputs_of_every_kind() {
    if !can_record("outputs_of_every_kind") {
        return;
    }
    let dir = Dir::new();
    dir.write("x.data", &recordings()[0]);
    let draw =
        |to: &str| dir.cmd("flamegraph").args(["--no-inline", "--perfdata", "x.data", "-o", to]);
    draw("a.svg").run().success();
    let svg = dir.read("a.svg");
    assert_eq!(draw("/dev/stdout").run().success().says("wrote standard output: ").stdout, svg);
    assert_eq!(draw("-").stdout(), svg);
    draw("/dev/null").run().success();
    draw("/dev/full").run().code(1).says("cannot write /dev/full: No space left");
    std::os::unix::fs::symlink("target.svg", dir.path("link")).unwrap();
    draw("link").run().success();
    assert!(
        dir.path("link").is_symlink() && dir.read("target.svg") == svg,
        "a link to nothing yet"
    );
    dir.write("target.svg", "old");
    draw("link").run().success();
    assert!(dir.path("link").is_symlink() && dir.read("target.svg") == svg);
    let outcome = draw("no/such/folder.svg").run().code(1);
    assert_eq!(
        outcome.stderr,
        "flamegraph: cannot write no/such/folder.svg: No such file or directory (os error 2)\n"
    );
    draw(".").run().code(1).says("cannot write .: Is a directory");
    assert_eq!(dir.names(), ["a.svg", "link", "target.svg", "x.data"]);
    // Standard output stays what it is, even if it is a file with something in it.
    shell(&dir, "echo old >log; flamegraph --perfdata x.data -o /dev/stdout >>log").run().success();
    assert!(dir.read("log").starts_with(b"old\n<?xml"));
    // Nothing is recorded before the output is known to be writable.
    let recorded = flamegraph(&dir).args(["-o", "no/x.svg", "touch", "ran"]).run().code(1);
    assert!(!recorded.says("cannot write no/x.svg").stderr.contains_str("perf record"));
    assert!(!dir.path("ran").exists());
    flamegraph(&dir).args(["-o", "/dev/null"]).arg(burn()).args(["--ms", "30"]).run().success();
    let left = std::fs::read_dir("/dev").unwrap().flatten();
    assert_eq!(
        left.filter(|entry| entry.file_name().as_bytes().starts_with(b".flamepipe")).count(),
        0
    );
}

#[test]
fn names_need_not_be_utf8() {
    if !can_record("names_need_not_be_utf8") {
        return;
    }
    let dir = Dir::new();
    let odd = OsStr::from_bytes(b"b\xff n");
    std::fs::copy(burn(), dir.path(".").join(odd)).unwrap();
    let program = Path::new(".").join(odd);
    let svg = OsStr::from_bytes(b"\xff.svg");
    flamegraph(&dir).arg("-o").arg(svg).arg(&program).args(["--ms", "60"]).run().success();
    let drawn = std::fs::read(dir.path(".").join(svg)).unwrap();
    assert!(share(&drawn, "burn::hot_hash") > 30.0);
    let echo = dir.cmd("fg-record").args(SMALL).args(["-o", "x"]).arg("printf").arg("%s").arg(odd);
    assert_eq!(echo.stdout(), odd.as_bytes());
    let data = OsStr::from_bytes(b"\xfe.data");
    std::fs::write(dir.path(".").join(data), &recordings()[1]).unwrap();
    dir.cmd("flamegraph")
        .arg("--perfdata")
        .arg(data)
        .args(["--no-inline", "-o", "b.svg"])
        .run()
        .success();
    has_some(&dir.cmd("fg-fold").arg("--no-inline").arg(data).stdout());
    has_some(&dir.cmd("fg-script").arg("--no-inline").arg(data).stdout());
}

fn has_some(text: &[u8]) {
    assert!(text.contains_str("burn::hot_hash"), "{}", text.to_str_lossy());
}

/// Law 3: the stages in one process and as a pipeline write the same bytes; law 6: each time.
#[test]
fn one_process_and_a_pipeline_write_the_same_bytes() {
    if !can_record("one_process_and_a_pipeline_write_the_same_bytes") {
        return;
    }
    let dir = Dir::new();
    let script = repo().join("scripts/flamegraph.sh");
    for (name, recording) in ["stream", "file", "perf"].iter().zip(recordings()) {
        dir.write(name, recording);
        for post_process in [None, Some("sed s/hot_sum/renamed/")] {
            let draw = || {
                let cmd =
                    dir.cmd("flamegraph").args(["--no-inline", "--perfdata", name, "-o", "-"]);
                cmd.args(post_process.map(|command| format!("--post-process={command}"))).stdout()
            };
            let svg = draw();
            assert!(svg.contains_str(if post_process.is_some() {
                "burn::renamed"
            } else {
                "burn::hot_sum"
            }));
            assert_eq!(svg, draw(), "the same input, the same bytes");
            let middle = post_process.map(|command| format!("| {command} ")).unwrap_or_default();
            let line = format!("fg-script --no-inline {name} | fg-fold {middle}| fg-render");
            assert_eq!(shell(&dir, &line).stdout(), svg, "{line}");
            let line = format!("fg-fold --no-inline <{name} {middle}| fg-render");
            assert_eq!(shell(&dir, &line).stdout(), svg, "{line}");
        }
        // Folded text does not tell what the header of a page says about the recording.
        dir.cmd("flamegraph").args(["-q", "--perfdata", name, "-o", "x.html"]).stdout();
        let (whole, told) = without_notes(&dir.read("x.html"));
        let line = format!("fg-script {name} | fg-fold | fg-render --format html");
        let (page, notes) = without_notes(&shell(&dir, &line).stdout());
        assert!(page == whole, "{line}");
        let differing =
            |(key, value): (&String, &Value)| (notes.get(key) != Some(value)).then(|| key.clone());
        let differing: Vec<_> = told.as_object().unwrap().iter().filter_map(differing).collect();
        assert_eq!(differing, ["event", "host", "quality", "rate", "span"]);
        if script.exists() {
            for options in [
                "",
                "--post-process=cat",
                "--weight=samples --split=tid,cpu",
                "--event-filter all",
                "--no-embed",
                "--preset std,rayon --preset tokio",
            ] {
                let words = options.split_whitespace();
                let cmd = dir.cmd("flamegraph").args(words).args(["--perfdata", name, "-o", "-"]);
                let line = format!("'{}' {options} {name}", script.display());
                assert!(shell(&dir, &line).stdout() == cmd.stdout(), "{line}");
            }
        }
    }
}

/// A page without its notes, and the notes.
fn without_notes(page: &[u8]) -> (BString, Value) {
    let from = page.find("id=\"flamepipe-notes\">").unwrap() + 21;
    let to = from + page[from..].find("</script>").unwrap();
    let rest = [&page[..from], &page[to..]].concat();
    (rest.into(), serde_json::from_slice(&page[from..to]).unwrap())
}

#[test]
fn cargo_flamegraph_in_a_workspace() {
    if !can_record("cargo_flamegraph_in_a_workspace") {
        return;
    }
    let dir = Dir::new();
    let fixture = repo().join("tests/fixtures/cargo/kinds");
    assert!(
        Command::new("cp").arg("-r").arg(fixture).arg(dir.path("work")).status().unwrap().success()
    );
    dir.write("work/examples/spin.rs", SPIN);
    let options = SMALL.join(" ");
    let line =
        format!("cd work && cargo flamegraph --offline --dev --example spin --no-inline {options}");
    shell(&dir, &line).run().success().says("wrote flamegraph.svg");
    assert!(share(&dir.read("work/flamegraph.svg"), "spin::hot_spin") > 50.0);
    let post_process = "--post-process 'grep hot_spin' -o '../b b.svg' -- one two";
    shell(&dir, &format!("{line} {post_process}")).run().code(2).says("wrote ../b b.svg");
    assert!(share(&dir.read("b b.svg"), "spin::hot_spin") > 90.0);
    assert_eq!(dir.names(), ["b b.svg", "work"]);
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(dir.path("work")).unwrap().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    assert!(!names.iter().any(|name| name.starts_with(".flamepipe")), "{names:?}");
    shell(&dir, "cd work && cargo flamegraph --offline --bin nothing")
        .run()
        .code(1)
        .says("cargo-flamegraph: ");
}

/// An example that does one thing.
const SPIN: &str = "
#[inline(never)]
fn hot_spin() {
    let begin = std::time::Instant::now();
    while begin.elapsed().as_millis() < 200 {
        std::hint::black_box((0..1000u64).map(std::hint::black_box).sum::<u64>());
    }
}

fn main() {
    hot_spin();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    std::process::exit(arguments.len() as i32);
}
";
