//! `cargo-flamegraph`: draws the flame graph of a cargo target.

use std::ffi::OsString;

use clap::Parser;

use super::cargo::{CargoOptions, without_subcommand};
use super::graph::{GraphOptions, Subject};
use super::io::say;
use super::program::{Done, Program};

/// Build a target of a cargo workspace, record it, and draw a flame graph.
///
/// Without a target option, it is the target that `cargo run` would run. The build is optimised
/// unless another profile is named. If the profile has `debug = true`, inlined functions are named
/// too. Arguments after `--` go to the program.
#[derive(Debug, Parser)]
#[command(
    name = "cargo-flamegraph",
    bin_name = "cargo flamegraph",
    version,
    override_usage = "cargo flamegraph [OPTIONS] [-- ARGUMENTS...]",
    after_help = "Exit status: that of the program once the graph is drawn; 1 if something failed; 2 for wrong usage; 130 if interrupted while drawing.\n\
Memory: the distinct stacks and frames. Except on Linux, the recording is first written to a temporary file beside the output."
)]
pub struct CargoFlamegraphArgs {
    /// Arguments for the recorded program
    #[arg(last = true, value_name = "ARGUMENTS")]
    trailing: Vec<OsString>,

    #[command(flatten)]
    graph: GraphOptions,

    #[command(flatten)]
    cargo: CargoOptions,
}

impl Program for CargoFlamegraphArgs {
    const NAME: &'static str = "cargo-flamegraph";

    fn arguments(arguments: Vec<OsString>) -> Vec<OsString> {
        without_subcommand(arguments)
    }

    fn run(self) -> anyhow::Result<Done> {
        let mut told = |line: &str| say(Self::NAME, format_args!("{line}"));
        let launch = self.cargo.workload(self.graph.verbose(), &self.trailing, &mut told)?;
        let command = std::iter::once(launch.program).chain(launch.args).collect();
        self.graph.run(Self::NAME, Subject::Launch { command, env: launch.env, cwd: launch.cwd })
    }
}
