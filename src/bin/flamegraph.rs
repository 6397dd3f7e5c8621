//! Records a program and draws its flame graph.

use std::process::ExitCode;

fn main() -> ExitCode {
    flamepipe::cli::main::<flamepipe::cli::FlamegraphArgs>()
}
