//! Asks a test harness whether its filter matches anything, so that an empty run is not recorded.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use memchr::memmem;

use super::Launch;
use super::target::Target;
use crate::error::{Error, Result};
use crate::filter::Preset;

/// The variables that libtest, criterion and divan read. A program that contains one of these names
/// knows `--list`. Others are not asked, because they would do their work.
const MARKS: [&str; 3] = ["RUST_TEST_THREADS", "CRITERION_HOME", "DIVAN_"];

/// Rules that remove the frames between the start of a program and its tests or benchmarks.
pub(super) const PRESETS: [Preset; 4] =
    [Preset::Std, Preset::Libtest, Preset::Criterion, Preset::Divan];

/// The tests and benchmarks that `launch` runs; none if its harness does not list them.
///
/// # Errors
/// [`Error::Choice`] if it runs none, with the names that the harness knows.
pub(super) fn work(launch: &Launch, target: &Target) -> Result<Vec<String>> {
    let typed: Vec<&OsString> = launch.args.iter().collect();
    if typed.iter().any(|argument| *argument == "--list") || !lists(Path::new(&launch.program)) {
        return Ok(Vec::new());
    }
    match names(launch, &typed) {
        None => return Ok(Vec::new()),
        Some(names) if !names.is_empty() => return Ok(names),
        Some(_) => {}
    }
    let place = format!("{} {}", target.kind.noun(), target.name);
    let ignored = names(launch, &[&typed[..], &[&"--ignored".into()]].concat()).unwrap_or_default();
    if !ignored.is_empty() {
        return Err(Error::Choice {
            what: format!("all that would run in {place} is ignored"),
            candidates: ignored,
            remedy: "add --ignored or --include-ignored behind `--`".into(),
        });
    }
    let unfiltered: Vec<&OsString> = typed.into_iter().filter(|word| *word == "--bench").collect();
    let all = names(launch, &unfiltered).unwrap_or_default();
    let elsewhere = "name another target with --test, --unit-test or --bench";
    let (what, remedy) = if all.is_empty() {
        (format!("{place} has no tests or benchmarks to record"), elsewhere.to_owned())
    } else {
        let what = format!("the filter matches nothing in {place}; it has");
        (what, format!("change the filter, or {elsewhere}"))
    };
    Err(Error::Choice { what, candidates: all, remedy })
}

fn lists(executable: &Path) -> bool {
    std::fs::read(executable)
        .is_ok_and(|code| MARKS.iter().any(|mark| memmem::find(&code, mark.as_bytes()).is_some()))
}

/// The names that the harness runs with these arguments; `None` if it does not list them.
fn names(launch: &Launch, arguments: &[&OsString]) -> Option<Vec<String>> {
    let with = |more: &[&str]| list(launch, arguments, more);
    let terse = |more: &[&str]| with(&[&["--list", "--format", "terse"], more].concat());
    // Older harnesses have no format.
    let mut names = terse(&[]).or_else(|| with(&["--list"]))?;
    // The list has ignored tests too.
    let runs_ignored = ["--ignored", "--include-ignored"];
    if !arguments.iter().any(|typed| runs_ignored.iter().any(|option| *typed == option)) {
        let ignored = terse(&["--ignored"]).unwrap_or_default();
        names.retain(|name| !ignored.contains(name));
    }
    Some(names)
}

fn list(launch: &Launch, arguments: &[&OsString], more: &[&str]) -> Option<Vec<String>> {
    let mut command = Command::new(&launch.program);
    command.args(arguments).args(more).envs(launch.env.iter().map(|(key, value)| (key, value)));
    // divan writes whole names only for nextest.
    command.env("NEXTEST", "1").current_dir(&launch.cwd).stdin(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(listed(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads a list: `name: test` in libtest and criterion, a tree in divan.
fn listed(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.trim_matches(|c: char| c.is_whitespace() || "├╰│─".contains(c));
        match name.rsplit_once(": ") {
            Some((name, "test" | "bench" | "benchmark")) => Some(name.to_owned()),
            _ if name.is_empty() => None,
            // The last line of libtest: `0 tests, 3 benchmarks`.
            _ if name.starts_with(|c: char| c.is_ascii_digit()) && name.contains(" test") => None,
            _ => Some(name.to_owned()),
        }
    };
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_harnesses() {
        let libtest = "a::b: test\nc: bench\n\n1 test, 1 benchmark\n";
        assert_eq!(listed(libtest), ["a::b", "c"]);
        assert_eq!(listed("0 tests, 0 benchmarks\n"), [""; 0]);
        assert_eq!(listed("fib: benchmark\n\n"), ["fib"]);
        assert_eq!(listed("speed\n├─ fib\n╰─ sort\n"), ["speed", "fib", "sort"]);
        assert_eq!(listed("\n"), [""; 0]);
    }
}
