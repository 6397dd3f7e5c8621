//! `cargo-flamegraph`: draws the flame graph of a cargo target.

use std::ffi::OsString;

use anyhow::Context;
use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;

use super::cargo::{CargoOptions, without_subcommand};
use super::cargo_words::{self, features_for_frequency};
use super::doctor::DoctorArgs;
use super::graph::{GraphOptions, Subject, command_line};
use super::io::{report, say};
use super::program::{Done, Program};
use super::{completions, help, per_test};
use crate::cargo::prepare;

const EXAMPLES: &str = "  \
  cargo flamegraph --open -- --port 8000            what `cargo run --release` runs
  cargo flamegraph test parser                      unit tests whose names contain \"parser\"
  cargo flamegraph bench lex                        benchmarks whose names contain \"lex\"
  cargo flamegraph -o app.html --bin app            a page with search, tables and more views";

/// Build a target of a cargo workspace, record it, and draw a flame graph.
///
/// Without a target option, it is the target that `cargo run` would run. The build is optimised
/// unless another profile is named. Debug information that the profile lacks is added for this
/// build. Arguments after `--` go to the program.
#[derive(Debug, Parser)]
#[command(
    name = "cargo-flamegraph",
    bin_name = "cargo flamegraph",
    version,
    override_usage = "cargo flamegraph [run] [OPTIONS] [-- ARGUMENTS...]\n       cargo flamegraph test|bench [FILTER] [OPTIONS] [-- ARGUMENTS...]",
    after_help = "Exit status: that of the program once the graph is drawn; 1 if something failed; 2 for wrong usage; 128 + n if signal n ended it while drawing.\n\
Memory: the distinct stacks and frames. Except on Linux, the recording is first written to a temporary file beside the output."
)]
pub struct CargoFlamegraphArgs {
    /// `run`, `test` or `bench`, as for cargo; after the latter two, the name of tests or
    /// benchmarks
    #[arg(value_name = "run|test|bench [FILTER]")]
    words: Vec<String>,

    /// Arguments for the recorded program
    #[arg(last = true, value_name = "ARGUMENTS")]
    trailing: Vec<OsString>,

    // The options of cargo come first in the help.
    #[command(flatten)]
    cargo: CargoOptions,

    #[command(flatten)]
    graph: GraphOptions,

    #[command(flatten)]
    doctor: DoctorArgs,
}

impl Program for CargoFlamegraphArgs {
    const NAME: &'static str = "cargo-flamegraph";

    fn shaped() -> Command {
        help::grouped(Self::command(), EXAMPLES)
    }

    fn more_completions(shell: Shell, own: &str) -> String {
        completions::as_subcommand(shell, own)
    }

    fn arguments(arguments: Vec<OsString>) -> Vec<OsString> {
        let mut arguments = without_subcommand(arguments);
        for features in features_for_frequency(&mut arguments) {
            let what = "taken as --features, because it is no frequency";
            say(Self::NAME, format_args!("-F {features} {what}"));
        }
        arguments
    }

    fn run(self) -> anyhow::Result<Done> {
        if let Some(done) = self.doctor.run(None)? {
            return Ok(done);
        }
        let quiet = self.graph.quiet();
        let (verb, filter) = cargo_words::verb(&self.words)?;
        let config = self.cargo.config(verb, self.graph.verbose(), quiet)?;
        let mut graph = self.graph;
        let is_each = (self.cargo.per_test || self.cargo.per_bench) && !self.cargo.no_run;
        let folder = is_each.then(|| graph.take_folder()).transpose()?;
        graph.check()?;
        let cwd = std::env::current_dir().context("cannot find the working directory")?;
        let filter = filter.map(OsString::from);
        let arguments: Vec<OsString> = filter.into_iter().chain(self.trailing).collect();
        let mut tell = |line: &str| report(Self::NAME, quiet, &line);
        let mut launch = prepare(&config, &cwd, &arguments, &mut tell)?;
        if self.cargo.no_run {
            let line = command_line(&launch.command()).unwrap_or_default();
            let place = launch.cwd.display();
            report(
                Self::NAME,
                quiet,
                &format_args!("built; to record it in {place}: flamegraph -- {line}"),
            );
            return Ok(Done::Ok);
        }
        if self.cargo.keep_harness {
            launch.presets.clear();
        }
        let Some(folder) = folder else {
            return graph.run(Self::NAME, Subject::Launch(launch));
        };
        if launch.tests.is_empty() {
            let target = launch.target();
            let why = "so they cannot be recorded one by one: omit --per-test and --per-bench";
            anyhow::bail!("{target} does not list its tests or benchmarks, {why}");
        }
        per_test::run(Self::NAME, &graph, &folder, &launch)
    }
}
