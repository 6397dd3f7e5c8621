//! `cargo flamegraph --per-test` and `--per-bench`: a graph for each test of a harness, and a page
//! that lists them.
//!
//! Each test runs in a process of its own. One recording could be split only by the threads of
//! libtest: the kernel cuts their names to 15 bytes, a test may start more threads, and criterion
//! and divan run all benchmarks in one thread.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::failed::Failed;
use super::folding::{FoldedInputs, fold_inputs};
use super::graph::{Drawing, GraphOptions, Subject};
use super::io::{Output, report};
use super::program::Done;
use super::signals;
use crate::cargo::Launch;
use crate::error::Error;
use crate::output::index::{self, Entry, Profile};
use crate::top::{By, Top};
use crate::{fold, input};

/// How many functions of each test the page names.
const HEAVIEST: usize = 3;

/// Records each test of `launch` into `folder`, and lists them in the output of `graph`.
///
/// # Errors
/// A test cannot be recorded or drawn. If one fails, its status is returned at the end.
pub(crate) fn run(
    name: &'static str,
    graph: &GraphOptions,
    folder: &Path,
    launch: &Launch,
) -> Result<Done> {
    let page = folder.join("index.html");
    let mut output = Output::create(Some(&page))?;
    let mut files = Files::default();
    let mut entries = Vec::new();
    let mut done = Done::Ok;
    for test in &launch.tests {
        let file = files.of(test);
        let path = folder.join(&file);
        let drawn = graph.to(path.clone()).draw(name, Subject::Launch(launch.alone(test)));
        let (drawing, failed) = match drawn {
            Ok(drawing) => {
                let failed = drawing.failed;
                (Some(drawing), failed)
            }
            // Most unit tests end sooner than the first sample is due.
            Err(error) if is_empty(&error) => (None, error.downcast_ref::<Failed>().copied()),
            Err(error) => return Err(error.context(format!("cannot record {test}"))),
        };
        let (outcome, ended) = match &drawing {
            Some(Drawing { tally, done, .. }) => (format!("{file}: {tally}"), *done),
            None => ("no samples".into(), Done::Ok),
        };
        let words = failed.map(Failed::words);
        let how = words.as_ref().map(|words| format!("{words}; ")).unwrap_or_default();
        let number = entries.len() + 1;
        let all = launch.tests.len();
        report(name, graph.quiet(), &format_args!("{number} of {all}, {test}: {how}{outcome}"));
        let profile = drawing.map(|_| profile_of(name, file, &path)).transpose()?;
        entries.push(Entry { name: test.clone(), failed: words, profile });
        if signals::ended_work() {
            // Not all tests ran, as if we had been interrupted ourselves.
            done = Done::Workload(130);
            break;
        }
        if done == Done::Ok {
            let status = failed.filter(|_| !graph.ignores_status());
            done = status.map_or(ended, |failed| Done::Workload(failed.0));
        }
    }
    output
        .write_all(index::page(launch.target(), entries).as_bytes())
        .with_context(|| format!("cannot write {}", output.name))?;
    let place = output.target().and_then(|path| std::path::absolute(path).ok());
    output.commit()?;
    launch.sensitive.protect(&page);
    report(name, graph.quiet(), &format_args!("wrote {}", page.display()));
    graph.show(place.as_deref())?;
    Ok(done)
}

fn is_empty(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::NoSamples { .. })))
}

/// The weight and the heaviest functions of the graph at `path`.
fn profile_of(name: &'static str, file: String, path: &Path) -> Result<Profile> {
    let config = input::Config { threads: input::threads(), ..input::Config::default() };
    let top = Top::default();
    let files = [path.to_owned()];
    let FoldedInputs { sink: top, frames, .. } =
        fold_inputs(name, true, &files, &config, fold::Config::default(), top)?;
    let mut heaviest = top.functions(&frames, By::Function).all;
    heaviest.retain(|function| function.own > 0);
    heaviest.truncate(HEAVIEST);
    Ok(Profile { file, total: top.total(), unit: top.unit().to_string(), heaviest })
}

/// Names of files that differ on every file system.
struct Files(HashSet<String>);

impl Default for Files {
    /// Avoids the page's own name, and those that Windows keeps for devices.
    fn default() -> Files {
        Files(["index", "con", "prn", "aux", "nul"].map(str::to_owned).into())
    }
}

impl Files {
    /// A name for the graph of `test`, the same in each run: `lexer.reads_strings.svg`.
    fn of(&mut self, test: &str) -> String {
        const LONGEST: usize = 100;
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let parts = test.replace("::", ".");
        let safe = parts.chars().map(|c| if is_safe(c) { c } else { '_' });
        let safe: String = safe.take(LONGEST).collect();
        let safe = safe.trim_start_matches('.');
        let mut number = 1;
        loop {
            let name = if number == 1 { safe.to_owned() } else { format!("{safe}-{number}") };
            // Not all file systems tell upper from lower case.
            if self.0.insert(name.to_ascii_lowercase()) {
                return format!("{name}.svg");
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_safe_and_differ() {
        let mut files = Files::default();
        for (test, file) in [
            ("a::b::reads", "a.b.reads.svg"),
            ("A::b::reads", "A.b.reads-2.svg"),
            ("a::b/reads", "a.b_reads.svg"),
            ("sort/größe <u8>, 10", "sort_gr__e__u8___10.svg"),
            ("../x", "_x.svg"),
            ("index", "index-2.svg"),
            ("NUL", "NUL-2.svg"),
        ] {
            assert_eq!(files.of(test), file, "{test}");
        }
        let long = "x".repeat(300);
        assert_eq!(files.of(&long).len(), 104);
        assert_eq!(files.of(&long).len(), 106);
    }
}
