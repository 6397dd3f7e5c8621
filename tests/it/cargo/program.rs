//! `cargo flamegraph` as users type it, on the same small workspaces.

use bstr::ByteSlice;

use super::{TARGET, Workspace};
use crate::harness::Outcome;
#[cfg(target_os = "linux")]
use crate::harness::{Dir, repo};

/// Runs `cargo flamegraph LINE` in the workspace.
fn flamegraph(workspace: &Workspace, line: &str) -> Outcome {
    let words = shlex::split(line).unwrap();
    let mut cmd = workspace.0.cmd("cargo-flamegraph").arg("flamegraph").args(words);
    cmd.command.current_dir(workspace.path(""));
    cmd.env("CARGO_TARGET_DIR", workspace.0.path(TARGET)).env("CARGO_NET_OFFLINE", "true").run()
}

#[cfg(target_os = "linux")]
#[test]
fn a_graph_in_the_package_does_not_make_cargo_build_again() {
    if !crate::record::can_record("a_graph_in_the_package_does_not_make_cargo_build_again") {
        return;
    }
    let Some(workspace) = Workspace::new("virtual") else { return };
    let build = |words: &str| {
        let line = "build -q --offline --release -p one --message-format json";
        let words: Vec<&str> = line.split(' ').chain(words.split_whitespace()).collect();
        let (success, messages) = workspace.cargo("", &words);
        assert!(success);
        messages.contains("\"fresh\":false")
    };
    assert!(build(""));
    let line = "-p one --no-debuginfo -o one/flamegraph.svg -o one/x.html --keep one/x.data -- 100";
    flamegraph(&workspace, line).success().says("wrote one/flamegraph.svg");
    assert!(!build(""), "the graph is older than the package");
    std::fs::write(workspace.path("one/newer.svg"), "").unwrap();
    assert!(build(""), "any newer file makes cargo build again");
}

#[cfg(target_os = "linux")]
#[test]
fn the_graph_of_a_test_shows_the_test() {
    if !crate::record::can_record("the_graph_of_a_test_shows_the_test") {
        return;
    }
    let Some(workspace) = Workspace::new("kinds") else { return };
    let draw = |flags: &str| {
        let line = format!("test for_a_tenth --no-debuginfo -e cpu-clock {flags}");
        flamegraph(&workspace, &line).success();
        workspace.read("flamegraph.svg").to_string()
    };
    let graph = draw("");
    assert!(graph.contains("<title>doubles_for_a_tenth_of_a_second ("), "the name is whole");
    assert!(graph.contains(">kinds: unit tests of lib kinds · for_a_tenth · "), "the title");
    for harness in ["test::run_test", "std::thread::lifecycle", "start_thread", "FnOnce"] {
        assert!(!graph.contains(harness), "{harness}");
    }
    let graph = draw("--keep-harness --subtitle Mine");
    assert!(graph.contains("test::run_test") && graph.contains(">Mine<"));
}

#[cfg(target_os = "linux")]
#[test]
fn each_test_gets_a_graph_of_its_own() {
    if !crate::record::can_record("each_test_gets_a_graph_of_its_own") {
        return;
    }
    let Some(workspace) = Workspace::new("kinds") else { return };
    let test = |name: &str, end: &str| {
        let attribute = if name == "skipped" { "#[ignore]" } else { "" };
        format!(
            "#[test] {attribute} fn {name}() {{ let start = std::time::Instant::now(); \
             while start.elapsed().as_millis() < 50 {{ std::hint::black_box(kinds::double(2)); }} {end} }}"
        )
    };
    let fails = "assert_eq!(std::env::args().filter(|word| word.ends_with(\"fails\")).count(), 0);";
    let inner = format!("mod inner {{ {} {} }}", test("works", ""), test("fails", fails));
    workspace.write("tests/more.rs", inner + &test("skipped", "") + "#[test] fn is_short() {}");
    let line = "--test more --per-test --no-debuginfo -e cpu-clock -o out -- i -q";
    let outcome = flamegraph(&workspace, line).code(101).says("3 of 3, is_short: ");
    assert!(!outcome.stderr.contains_str("skipped"), "{}", outcome.everything());
    let page = workspace.read("out/index.html");
    for said in [
        "<h1>kinds: test more</h1>",
        "<p>3 graphs, 1 failed</p>",
        "<a href=\"inner.fails.svg\">inner::fails</a> <b>exited with 101</b><td>",
    ] {
        assert!(page.contains_str(said), "{said}: {page}");
    }
    let graph = workspace.read("out/inner.works.svg");
    assert!(graph.contains_str(">kinds: test more · inner::works · "), "{graph}");
    assert!(!graph.contains_str("inner::fails"), "each runs alone");

    // Less than a second of processor time.
    let line = "--test more --per-test --no-debuginfo -e cpu-clock -F 1 -- is_short";
    flamegraph(&workspace, line).success().says("1 of 1, is_short: no samples");
    let page = workspace.read("flamegraphs/index.html");
    assert!(page.contains_str("<td>is_short<td>no samples"), "{page}");

    let line = "--test more --per-test --no-debuginfo -- skipped";
    flamegraph(&workspace, line).code(1).says("is ignored: skipped");
    let line = "--bin kinds --per-test --no-debuginfo";
    flamegraph(&workspace, line).code(1).says("does not list its tests");
    flamegraph(&workspace, "--per-bench --no-debuginfo").code(1).says("bench speed does not list");
    flamegraph(&workspace, "--lib --per-test --keep x")
        .code(2)
        .says("--keep is for a single graph");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_recorded_is_refused_before_the_build() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    let outcome = flamegraph(&workspace, "--bin kinds -e no-such-event --features nothing").code(1);
    assert!(
        !outcome.stderr.contains_str("does not contain this feature"),
        "{}",
        outcome.everything()
    );
}

/// nextest lists the tests of a binary, and then runs each in a process of its own.
#[cfg(target_os = "linux")]
#[test]
fn nextest_gets_a_graph_for_each_test() {
    if !crate::record::can_record("nextest_gets_a_graph_for_each_test") {
        return;
    }
    let dir = Dir::new();
    let burn = crate::harness::example("burn");
    let script = repo().join("scripts/nextest-flamegraph");
    let path =
        format!("{}:{}", crate::harness::bin_dir().display(), std::env::var("PATH").unwrap());
    // Instead of libtest, a shell script that takes its command line.
    let binary = crate::record::executable(
        &dir,
        "api-0123456789abcdef",
        &format!(
            "case \" $* \" in *' --list '*) echo 'a::test: test';; *) {} --ms 60;; esac",
            burn.display()
        ),
    );
    let run = |args: &[&str]| {
        let cmd = dir.cmd(script.to_str().unwrap()).env("PATH", &path).arg(&binary).args(args);
        cmd.run().success()
    };
    assert_eq!(run(&["--list", "--format", "terse"]).stdout, "a::test: test\n");
    assert_eq!(dir.names(), ["api-0123456789abcdef"], "a list is not recorded");
    run(&["--exact", "a::test", "--nocapture"]);
    let graph = dir.read("flamegraphs/api-a.test.svg");
    assert!(graph.contains_str("burn::hot_hash") && graph.contains_str(">a::test<"));
}

#[test]
fn what_a_user_of_cargo_types() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    // The examples of flamegraph 0.6.15 come first, with the names of this workspace.
    for (line, runs) in [
        ("--bin=kinds", "release/kinds"),
        ("--dev --bin kinds", "debug/kinds"),
        (
            "--bin kinds -- my-command --my-arg my-value -m -f",
            " my-command --my-arg my-value -m -f",
        ),
        ("--bench speed --features more -- --bench", "speed-* --bench"),
        ("--example show --features more", "examples/show"),
        ("--unit-test -- doubles", "kinds-* doubles"),
        ("--unit-test kinds --unit-test-kind lib -- doubles", "kinds-* doubles"),
        ("--test whole", "whole-*"),
        ("-o my_flamegraph.svg --bin kinds", "release/kinds"),
        // What cargo itself takes.
        ("run --bin kinds", "release/kinds"),
        ("run -r -F more --bin extra -q", ""),
        ("test", "kinds-*"),
        ("test double", "kinds-* double"),
        ("test --test whole whole -- --exact", "whole-* whole --exact"),
        ("bench", "speed-* --bench"),
        ("bench lex --workspace", "speed-* lex --bench"),
        ("--lib", "kinds-*"),
        ("-p kinds@0.1 --bin kinds --color never --timings", "release/kinds"),
        ("--bin kinds --profile release-lines -v", "release-lines/kinds"),
    ] {
        let outcome = flamegraph(&workspace, &format!("--no-run --no-debuginfo {line}")).success();
        let said = outcome.stderr.to_str_lossy();
        let recorded = said.lines().find_map(|line| line.split(": flamegraph -- ").nth(1));
        let recorded = recorded.unwrap_or_default().replace('\'', "");
        let (start, end) = runs.split_once('*').unwrap_or((runs, ""));
        assert!(recorded.contains(start) && recorded.ends_with(end), "{line}: {said}");
        assert!(!line.ends_with("-q") || said.lines().count() == 1, "{said}");
    }
    for (line, status, said) in [
        ("server 8000", 2, "cargo flamegraph -- server 8000"),
        ("--bin kidns", 1, "a target with a similar name exists: kinds"),
        ("-p kind", 1, "a package with a similar name exists: kinds"),
        ("test nothing", 1, "the filter matches nothing in lib kinds; it has: doubles"),
        ("--unit-test extra -F more", 1, "bin extra has no tests or benchmarks to record"),
        ("--bin kinds --features nothing", 101, "cargo build failed"),
        ("--bin kinds --image-width 20 --features nothing", 2, "width"),
        ("--bin kinds -o none/x.svg --features nothing", 1, "cannot write none/x.svg"),
    ] {
        let outcome = flamegraph(&workspace, line).code(status).says(said);
        let built = outcome.stderr.contains_str("does not contain this feature");
        assert_eq!(built, status == 101, "{line}: {}", outcome.everything());
    }
    assert!(!workspace.path("flamegraph.svg").exists());
}

/// The README's line of criterion and its like, on real harnesses.
#[cfg(target_os = "linux")]
#[test]
fn benchmarks_of_every_harness() {
    let test = "benchmarks_of_every_harness";
    if !crate::record::can_record(test) {
        return;
    }
    let Some(workspace) = Workspace::new("harnesses") else { return };
    let run = |line: &str| {
        let words = shlex::split(line).unwrap();
        let mut cmd = workspace.0.cmd("cargo-flamegraph").arg("flamegraph").args(words);
        cmd.command.current_dir(workspace.path(""));
        // Criterion takes half a minute to build, so it is kept for the next run.
        let target = crate::harness::bin_dir().parent().unwrap().join("harnesses");
        let cmd = cmd.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
        // For `#[bench]`.
        cmd.env("RUSTC_BOOTSTRAP", "1").run()
    };
    let quick = "--warm-up-time 0.1 --measurement-time 0.2 --sample-size 10 --noplot";
    let crit = format!("--bench crit --features some --per-bench -o crit -- --bench {quick}");
    for (line, printed, graphs) in [
        (crit.as_str(), "time:", &["fib_10", "fib_11"][..]),
        ("--bench div --per-bench -o div -- --bench", "fastest", &["div.fib.24", "div.fib.25"]),
        ("bench fib --bench std --per-bench -o std", "ns/iter", &["fib_10", "fib_11"]),
        ("bench fib_10 --bench std -o std.svg", "ns/iter", &[]),
    ] {
        let outcome = run(line);
        if outcome.stderr.contains_str("no matching package") {
            let why = "criterion and divan are not downloaded: run `cargo fetch` in its workspace";
            return crate::harness::is_not_for_here(test, why);
        }
        let outcome = outcome.success();
        let measured = outcome.stdout.to_str_lossy();
        let measured = measured.matches(printed).count();
        assert_eq!(measured, graphs.len().max(1), "{line}: {}", outcome.everything());
        let name = line.split_once("-o ").unwrap().1.split(' ').next().unwrap();
        for graph in graphs {
            let svg = workspace.read(&format!("{name}/{graph}.svg"));
            assert!(svg.contains_str("<title>harnesses::fib ("), "{line}: {graph}");
            assert!(!svg.contains_str("<title>criterion::analysis::common"), "{line}: {graph}");
        }
    }
    let filter = crate::harness::bin("fg-filter").display().to_string();
    let filter = format!("{filter} -q --drop warm_up|criterion::analysis");
    let line = "bench 'fib 10' --bench crit --features some --post-process";
    run(&format!("{line} {} -- {quick}", shlex::try_quote(&filter).unwrap())).success();
    let svg = workspace.read("flamegraph.svg");
    assert!(svg.contains_str("<title>harnesses::fib ("));
    assert!(!svg.contains_str("::warm_up (") && !svg.contains_str("criterion::analysis"));
}
