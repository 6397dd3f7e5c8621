//! Prints the heaviest functions of a profile.

use std::process::ExitCode;

use flamepipe::cli;

fn main() -> ExitCode {
    cli::main::<cli::TopArgs>()
}
