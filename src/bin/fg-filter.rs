//! Keeps, drops and edits stacks of folded text and perf-script text.

use std::process::ExitCode;

use flamepipe::cli;

fn main() -> ExitCode {
    cli::main::<cli::FilterArgs>()
}
