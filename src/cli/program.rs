//! A program: its arguments, how it runs, and how it ends.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::Shell;

/// One of our programs: its arguments, and how it runs.
pub trait Program: CommandFactory + FromArgMatches {
    /// The binary's name, which starts its messages.
    const NAME: &'static str;

    /// Does the work.
    fn run(self) -> anyhow::Result<Done>;

    /// The command with its help in its final form.
    fn shaped() -> Command {
        Self::command()
    }

    /// What to add to `own`, the completions for `shell`.
    fn more_completions(_shell: Shell, _own: &str) -> String {
        String::new()
    }

    /// Changes arguments before they are parsed, for programs that accept more than clap alone
    /// would.
    fn arguments(arguments: Vec<OsString>) -> Vec<OsString> {
        arguments
    }
}

/// How a program ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Success: 0.
    Ok,
    /// The output is complete, but a gate (`--strict`, `--fail-above`) was not met: 3.
    Gate,
    /// The output is complete. The workload ended with this status, which is passed on.
    Workload(u8),
}

impl Done {
    /// The exit status.
    pub(super) fn code(self) -> u8 {
        match self {
            Done::Ok => 0,
            Done::Gate => 3,
            Done::Workload(status) => status,
        }
    }
}

/// Failures that have an exit status of their own; all others exit with 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The options make no sense together: 2.
    #[error("{0}")]
    Usage(String),
}
