//! `flamegraph`: draws the flame graph of a program.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;

use super::binary::generate;
use super::doctor::DoctorArgs;
use super::graph::{GraphOptions, Subject};
use super::help;
use super::program::{Done, Failure, Program};
use crate::record::Workload;

const EXAMPLES: &str = "  \
  flamegraph --open -- ./app --flag                 a program, until it ends or until Ctrl-C
  flamegraph --duration 10 -p 1337                  a process that runs already, for ten seconds
  flamegraph -o app.html -- ./app                   a page with search, tables and more views
  flamegraph --perfdata perf.data                   an existing recording";

/// Record a program or running processes, and draw a flame graph.
///
/// The graph is drawn when the program ends, even if it failed, or at the first Ctrl-C.
#[derive(Debug, Parser)]
#[command(
    name = "flamegraph",
    version,
    override_usage = "flamegraph [OPTIONS] [--] COMMAND...\n       flamegraph [OPTIONS] -p PID,...\n       flamegraph [OPTIONS] --perfdata FILE",
    after_help = "Exit status: that of COMMAND once the graph is drawn; 1 if something failed; 2 for wrong usage; 128 + n if signal n ended it while drawing.\n\
Memory: the distinct stacks and frames. Except on Linux, the recording is first written to a temporary file beside the output."
)]
pub struct FlamegraphArgs {
    /// Record these running processes until they end, or until Ctrl-C
    #[arg(short, long, value_delimiter = ',', value_name = "PID,...", conflicts_with_all = ["command", "doctor"])]
    pid: Vec<u32>,

    /// Draw an existing recording
    #[arg(long = "perfdata", value_name = "FILE", conflicts_with_all = ["pid", "command", "doctor"])]
    perf_file: Option<PathBuf>,

    /// The program to record, with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,

    #[command(flatten)]
    graph: GraphOptions,

    #[command(flatten)]
    doctor: DoctorArgs,

    /// Print the completions for SHELL
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
}

impl Program for FlamegraphArgs {
    const NAME: &'static str = "flamegraph";

    fn shaped() -> Command {
        help::grouped(Self::command(), EXAMPLES)
    }

    fn run(self) -> anyhow::Result<Done> {
        if let Some(shell) = self.completions {
            generate::<Self>(&shell.to_string())?;
            return Ok(Done::Ok);
        }
        // As typed to record it: `--doctor -- ./app --flag`.
        if let Some(done) = self.doctor.run(self.command.first())? {
            return Ok(done);
        }
        let subject = if let Some(path) = self.perf_file {
            Subject::Recording(path)
        } else if !self.pid.is_empty() {
            Subject::Workload(Workload::Pids(self.pid))
        } else if !self.command.is_empty() {
            Subject::Workload(Workload::Command(self.command))
        } else {
            return Err(Failure::Usage(
                "nothing to record: name a command, -p PID or --perfdata FILE".into(),
            )
            .into());
        };
        self.graph.run(Self::NAME, subject)
    }
}
