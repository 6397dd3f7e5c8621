//! Runs every binary: parses options, prints generated pages and messages, and returns the exit
//! status.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use super::{Done, Failure, Program, completions, io, man};
use crate::error::Error;

/// Runs a program.
pub fn main<P: Program>() -> ExitCode {
    silence_panics_of_inferno();
    let arguments = P::arguments(std::env::args_os().collect());
    if let [_, flag, what] = arguments.as_slice()
        && flag == "--generate"
    {
        return finish::<P>(generate::<P>(&what.to_string_lossy()).map(|()| Done::Ok));
    }
    // The native recorder was started through sudo, by any of the programs.
    #[cfg(target_os = "linux")]
    if arguments.get(1).is_some_and(|first| first == crate::record::native::AS_RECORDER) {
        return parse_and_run::<super::record::RecordArgs>(arguments.into_iter().skip(1).collect());
    }
    parse_and_run::<P>(arguments)
}

fn parse_and_run<P: Program>(arguments: Vec<OsString>) -> ExitCode {
    let parsed = P::shaped().try_get_matches_from(arguments).and_then(|matches| {
        P::from_arg_matches(&matches).map_err(|error| error.format(&mut P::shaped()))
    });
    match parsed {
        Ok(program) => finish::<P>(program.run()),
        Err(error) => {
            // Help goes to stdout, and mistakes to stderr. If neither can be written to, there is
            // nobody to tell.
            let _ = error.print();
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

fn finish<P: Program>(outcome: anyhow::Result<Done>) -> ExitCode {
    let name = P::NAME;
    match outcome {
        Ok(done) => ExitCode::from(done.code()),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if is_interrupted(&error) => ExitCode::from(130),
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(Failure::Usage(problem)) => {
                io::say(name, format_args!("{problem}\n  `{name} --help` lists the options"));
                ExitCode::from(2)
            }
            None => {
                io::say(name, format_args!("{error:#}"));
                let remedy =
                    error.chain().find_map(|cause| cause.downcast_ref::<Error>()?.remedy());
                if let Some(remedy) = remedy.map(own_ways::<P>).filter(|ways| !ways.is_empty()) {
                    io::say_more(format_args!("  {remedy}"));
                }
                status(&error)
            }
        },
    }
}

/// Silences the panics of inferno, because they are caught and become errors.
fn silence_panics_of_inferno() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("inferno")) {
            others(panic);
        }
    }));
}

/// The exit status for `error`: that of cargo, if it is cargo that failed.
fn status(error: &anyhow::Error) -> ExitCode {
    let cargo = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(Error::Build { status, .. }) => status.code(),
        _ => None,
    });
    cargo.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The ways out, `A, or B`, whose options the program has. The advice of a stage may be for another
/// program.
fn own_ways<P: Program>(remedy: &str) -> String {
    let command = P::shaped();
    let has_options = |way: &&str| {
        way.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).all(|word| {
            word.strip_prefix("--").is_none_or(|word| {
                word.is_empty() || command.get_arguments().any(|arg| arg.get_long() == Some(word))
            })
        })
    };
    let ways: Vec<&str> = remedy.split(", or ").filter(has_options).collect();
    ways.join(", or ")
}

/// Whether the reader of our output closed it: `fg-fold | head -1`.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// Ctrl-C also reaches the programs that we run. We may notice their end before our own signal.
fn is_interrupted(error: &anyhow::Error) -> bool {
    #[cfg(unix)]
    return error.chain().any(|cause| {
        use std::os::unix::process::ExitStatusExt;
        matches!(cause.downcast_ref(), Some(Error::Child { status, .. })
            if status.signal() == Some(signal_hook::consts::SIGINT))
    });
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Writes the man page (`man`) or the completions of a shell (`bash`, `zsh`, …) to stdout.
pub(crate) fn generate<P: Program>(what: &str) -> anyhow::Result<()> {
    let text = if what == "man" {
        man::page(P::shaped(), P::NAME)?
    } else {
        completions::of::<P>(what.parse().map_err(|_| {
            Failure::Usage(format!(
                "cannot generate {what:?}: choose man, bash, zsh, fish, elvish or powershell"
            ))
        })?)
    };
    let mut output = io::Output::create(None)?;
    output.write_all(&text)?;
    output.commit()
}
