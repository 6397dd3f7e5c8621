//! Writes a profile for the viewers of other tools.

use std::process::ExitCode;

use flamepipe::cli;

fn main() -> ExitCode {
    cli::main::<cli::ExportArgs>()
}
