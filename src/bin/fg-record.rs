//! Runs a program, or attaches to processes, and streams the recording.

use std::process::ExitCode;

use flamepipe::cli::RecordArgs;

fn main() -> ExitCode {
    flamepipe::cli::main::<RecordArgs>()
}
