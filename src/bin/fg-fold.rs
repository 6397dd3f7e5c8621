//! Folds samples into one line for each distinct stack.

use std::process::ExitCode;

fn main() -> ExitCode {
    flamepipe::cli::main::<flamepipe::cli::FoldArgs>()
}
