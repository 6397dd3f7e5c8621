//! Builds a cargo target, records it and draws its flame graph.

use std::process::ExitCode;

fn main() -> ExitCode {
    flamepipe::cli::main::<flamepipe::cli::CargoFlamegraphArgs>()
}
