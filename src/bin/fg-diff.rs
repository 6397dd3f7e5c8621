//! Compares two profiles of folded stacks.

use std::process::ExitCode;

use flamepipe::cli;

fn main() -> ExitCode {
    cli::main::<cli::DiffArgs>()
}
