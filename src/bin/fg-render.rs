//! Draws folded stacks as a flame graph.

use std::process::ExitCode;

use flamepipe::cli;

fn main() -> ExitCode {
    cli::main::<cli::RenderArgs>()
}
