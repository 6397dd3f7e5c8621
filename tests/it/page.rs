//! Tests the page of HTML: its script in node, and the whole page in a browser. The tests
//! themselves are in tests/page/.

use std::fmt::Write;
#[cfg(target_os = "linux")]
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Command;
#[cfg(target_os = "linux")]
use std::process::Stdio;

use bstr::ByteSlice;

use crate::harness::{Dir, cannot_run, is_not_for_here, repo};
#[cfg(target_os = "linux")]
use crate::record::{burn, can_record};

/// The version of node, if it is there and new enough for our tests.
fn node() -> Option<u32> {
    let version = Command::new("node").arg("--version").output().ok()?.stdout;
    let major = version.to_str().ok()?.trim().strip_prefix('v')?.split('.').next()?;
    major.parse().ok().filter(|&major| major >= 18)
}

/// Runs a file of tests in node, and shows what it says.
pub fn run(test: &str, file: &str, surroundings: &[(&str, PathBuf)]) {
    let mut node = Command::new("node");
    node.arg("--test").arg(repo().join("tests/page").join(file));
    node.envs(surroundings.iter().map(|(name, value)| (name, value)));
    let done = node.output().unwrap();
    let said = done.stdout.to_str_lossy();
    assert!(done.status.success(), "{test}: {said}{}", done.stderr.to_str_lossy());
    said.lines().filter(|line| line.contains("first picture")).for_each(|line| eprintln!("{line}"));
}

#[test]
fn the_script_of_a_page() {
    let test = "the_script_of_a_page";
    if node().is_none() {
        return cannot_run(test, "node 18 or newer is not installed");
    }
    run(test, "pure.test.mjs", &[]);
}

#[test]
fn the_scripts_of_a_page_are_tidy() {
    let test = "the_scripts_of_a_page_are_tidy";
    let tools = repo().join("target/page");
    if !tools.join("node_modules/eslint").is_dir() {
        return is_not_for_here(test, "scripts/test installs eslint, if npm can and node is new");
    }
    run(test, "lint.test.mjs", &[("ESLINT", tools)]);
}

/// The names of a browser, or of the program that drives it.
pub const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
const FIREFOX: &[&str] = &["firefox-esr", "firefox"];
const WEBKIT: &[&str] = &["WebKitWebDriver"];

/// The first of these programs that is there.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found =
        names.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    found.find(|program| program.is_file())
}

/// The programs and folders that the tests in a browser of these names need, or `None` and a
/// message.
pub fn surroundings(test: &str, browser: &[&str]) -> Option<Vec<(&'static str, PathBuf)>> {
    let playwright = repo().join("target/page");
    if node().is_none() {
        cannot_run(test, "node 18 or newer is not installed");
        return None;
    }
    let Some(browser) = program(browser) else {
        is_not_for_here(test, &format!("{} is not installed", browser[0]));
        return None;
    };
    if !playwright.join("node_modules/playwright-core").is_dir() {
        is_not_for_here(test, "scripts/test installs playwright-core, if npm can");
        return None;
    }
    Some(vec![("PLAYWRIGHT", playwright), ("BROWSER", browser)])
}

#[test]
fn a_page_in_a_browser() {
    let test = "a_page_in_a_browser";
    let Some(mut surroundings) = surroundings(test, CHROMIUM) else { return };
    let dir = Dir::new();
    make_pages(&dir);
    surroundings.push(("PAGES", dir.path(".")));
    run(test, "browser.test.mjs", &surroundings);
    run(test, "svg.test.mjs", &surroundings);
}

#[test]
fn a_page_in_other_browsers() {
    let test = "a_page_in_other_browsers";
    let dir = Dir::new();
    for browser in [FIREFOX, WEBKIT] {
        let Some(mut surroundings) = surroundings(test, browser) else { continue };
        if browser == WEBKIT && program(&["Xvfb"]).is_none() {
            is_not_for_here(test, "Xvfb is not installed");
            continue;
        }
        if dir.names().is_empty() {
            make_pages(&dir);
        }
        surroundings.push(("PAGES", dir.path(".")));
        run(test, "browser.test.mjs", &surroundings);
        if browser == FIREFOX {
            run(test, "svg.test.mjs", &surroundings);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_page_while_a_program_runs() {
    let Some(page) = watched("a_page_while_a_program_runs", CHROMIUM, &[], "graph") else { return };
    // The recorder's rate, and from the first to the last sample.
    assert!(page.contains_str("\"rate\":\"997 Hz\"") && page.contains_str("\"span\":"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_chart_that_a_command_edits_while_a_program_runs() {
    let test = "a_chart_that_a_command_edits_while_a_program_runs";
    // Another browser than the test above, if there is one.
    let browser = program(FIREFOX).map_or(CHROMIUM, |_| FIREFOX);
    watched(test, browser, &["--flamechart", "--post-process", "sed s/^sh-/edited-/"], "chart");
}

/// Records a program that a page shows while it runs, and returns the page in the file.
#[cfg(target_os = "linux")]
fn watched(test: &str, browser: &[&str], options: &[&str], view: &str) -> Option<bstr::BString> {
    let mut surroundings = surroundings(test, browser)?;
    if !can_record(test) {
        return None;
    }
    let dir = Dir::new();
    let workload = "while [ ! -e end ]; do :; done";
    let mut cmd = dir.cmd("flamegraph").args(["--live", "-o", "x.html"]).args(options);
    cmd = cmd.args(["--", "sh", "-c", workload]);
    let mut live = cmd.command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(live.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("flamegraph: live at ").unwrap_or_else(|| panic!("{line}"));
    surroundings.extend([("LIVE", url.into()), ("END", dir.path("end")), ("VIEW", view.into())]);
    run(test, "live.test.mjs", &surroundings);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(live.wait().unwrap().success(), "{rest}");
    // The file is that of a run that nobody watched.
    assert!(rest.contains("wrote x.html: "), "{rest}");
    let page = dir.read("x.html");
    assert!(page.contains_str("reach a thread root") && !page.contains_str("connect-src"));
    Some(page)
}

#[cfg(target_os = "linux")]
#[test]
fn a_graph_that_no_program_opens_is_still_drawn() {
    let test = "a_graph_that_no_program_opens_is_still_drawn";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    let burn = burn();
    let workload = ["--", burn.to_str().unwrap(), "--ms", "100"];
    // Without a PATH, no launcher is found.
    let run = |args: &[&str]| {
        let command = dir.cmd("flamegraph").env("PATH", dir.path("")).args(args);
        command.args(workload).run()
    };
    let live = run(&["--live", "--open", "-o", "live.svg"]).code(0);
    live.says("open the address above yourself").says("wrote live.svg: ");
    let after = run(&["--open", "-o", "after.svg"]).code(1);
    after.says("it is complete, so open after.svg yourself").says("wrote after.svg: ");
    assert_eq!(dir.names(), ["after.svg", "live.svg"]);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let dir = Dir::new();
    dir.cmd("flamegraph").args(["--live", "--perfdata", "x"]).run().code(2);
    assert!(dir.names().is_empty());
}

#[test]
fn a_page_holds_what_an_svg_holds() {
    let dir = Dir::new();
    let folded = "# unit: ns 0\nmain;f 3\nmain;g</script> 1\n";
    dir.write("x.folded", folded);
    dir.cmd("fg-render").args(["-q", "-o", "x.html", "x.folded"]).stdout();
    let page = dir.read("x.html");
    assert_eq!(dir.cmd("fg-fold").args(["-q", "x.html"]).stdout(), folded);
    let format = ["-q", "--format", "html", "x.folded"];
    assert_eq!(dir.cmd("fg-render").args(format).stdout(), page);
    let script = "main 1 10.000: 1000000 cpu-clock: \n\t1 f (x)\n\n";
    dir.write("x.txt", script);
    let several = ["--perfdata", "x.txt", "-o", "a.svg", "-o", "a.html", "-o", "b.html"];
    dir.cmd("flamegraph").args(several).stdout();
    let stacks = |name: &str| dir.cmd("fg-fold").args(["-q", name]).stdout();
    assert_eq!(stacks("a.svg"), stacks("x.txt"));
    assert_eq!(stacks("a.html"), stacks("x.txt"));
    assert_eq!(dir.read("a.html"), dir.read("b.html"));
    assert!(dir.read("a.svg").starts_with(b"<?xml"));
}

#[test]
fn a_page_without_stacks_is_refused() {
    let dir = Dir::new();
    for (program, args) in [
        ("fg-render", &["--no-embed", "--format", "html"][..]),
        ("flamegraph", &["--no-embed", "-o", "a.svg", "-o", "x.html", "true"]),
    ] {
        let done = dir.cmd(program).args(args).stdin("main 1\n").run();
        assert_eq!(done.status.code(), Some(2), "{}", done.everything());
    }
    assert!(dir.names().is_empty());
    let done = dir.cmd("fg-render").args(["-o", "x.html"]).stdin("").run();
    assert_eq!(done.status.code(), Some(1));
    assert!(dir.names().is_empty());
}

fn make_pages(dir: &Dir) {
    let draw = |name: &str, text: &[u8], args: &[&str]| {
        let page = format!("{name}.html");
        dir.cmd("fg-render").args(["-q", "-o", &page]).args(args).stdin(text).stdout();
    };
    draw(
        "profile",
        b"# unit: ns 0\nmain;app::read::lines;parse_line 40000000\nmain;app::read::lines;memcpy 20000000\n\
          main;app::write::all<u8>;write 20000000\nmain;app::write::all<u8>;memcpy 10000000\nidle 10000000\n",
        &[],
    );
    draw(
        "differential",
        b"main;grown 20 60\nmain;same 20 20\nmain;gone 60 0\nmain;fresh 0 20\n",
        &[],
    );
    let hostile: [&[u8]; 8] = [
        b"</script><script>alert(1)</script>",
        b"<img src=x onerror=alert(1)>\"'`&amp",
        "abc\u{202e}def".as_bytes(),
        b"a\x01\x7fb",
        b"not\xffUTF-8",
        "שלום".as_bytes(),
        &[b'x'; 10_000],
        b"__proto__",
    ];
    draw("hostile", &[&hostile.join(&b';')[..], b" 3\n"].concat(), &["--title", "<b>&</title>"]);
    let samples = "one 1/1 10.000: 1000000 cpu-clock: \n\t1 a (x)\n\t2 m (x)\n\t3 start (x)\n\none 1/1 10.001: 1000000 cpu-clock: \n\t1 b (x)\n\t3 start (x)\n\n\
                   two 1/2 10.005: 1000000 cpu-clock: \n\t1 c (x)\n\t2 a (x)\n\n";
    draw("chart", samples.as_bytes(), &["--flamechart"]);
    let deep = format!("main;{}leaf 3\n", "again;".repeat(20_000));
    draw("deep", deep.as_bytes(), &[]);
    let svg = ["-q", "-o", "profile.svg"];
    let deep =
        format!("# unit: ns 0\nburn;{}Leaf 30000000\nburn;other 10000000\n", "Call;".repeat(90));
    dir.cmd("fg-render").args(svg).stdin(deep).stdout();
    draw("sequence", b"main;a 3\nmain;b 1\nmain;a 2\n", &["--no-sort"]);
    draw("million", million().as_bytes(), &[]);
    let page = dir.read("profile.html");
    let at = page.find("flamepipe-graph-3").unwrap() + 80;
    dir.write("broken.html", [&page[..at], &page[at + 40..]].concat());
}

/// A tree of a million frames.
fn million() -> String {
    let mut text = String::new();
    let mut state = 1u64;
    for stack in 0..100_000u64 {
        write!(text, "main;part::run_{}", stack % 64).unwrap();
        for depth in 0..10 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(stack + depth);
            let name =
                ["alloc::take", "parse::token", "cache::find", "io::read"][depth as usize % 4];
            write!(text, ";{name}_{:x}", (state >> 33) % 5_000).unwrap();
        }
        writeln!(text, " {}", 1 + state % 1_000).unwrap();
    }
    text
}
