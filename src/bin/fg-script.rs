//! Writes the samples of a recording as text.

use std::process::ExitCode;

fn main() -> ExitCode {
    flamepipe::cli::main::<flamepipe::cli::ScriptArgs>()
}
