//! Windows without dtrace: blondie samples through the system's event tracing and writes stacks as
//! dtrace would.
//!
//! Only the call of blondie needs Windows; the request is made, and tested, on every system.

use super::{Config, Workload, refuse_linux_only};
use crate::error::{Error, Result};

/// The command that blondie starts, or why it cannot record this.
#[cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "its caller is compiled on Windows alone")
)]
fn command<'a>(workload: &'a Workload, config: &Config) -> Result<&'a [std::ffi::OsString]> {
    refuse_linux_only("blondie", config)?;
    let usual = Config::default();
    let cannot = |what: &str| {
        Err(Error::Unsupported {
            what: format!("blondie {what}"),
            remedy: "install dtrace, or set DTRACE to its path".into(),
        })
    };
    let differs = config.frequency != usual.frequency
        || config.events != usual.events
        || config.custom.is_some()
        || config.root.is_some();
    match workload {
        _ if differs => cannot("does not support --freq, --event, --cmd and --root"),
        Workload::Command(command) if !command.is_empty() => Ok(command),
        _ => cannot("records only a command that it starts"),
    }
}

#[cfg(windows)]
pub(super) use windows::Blondie;

#[cfg(windows)]
mod windows {
    use std::io::Write;
    use std::process::Stdio;

    use super::super::child;
    use super::super::{Destination, Ended, Notice, Recorder};
    use super::{Config, Error, Result, Workload, command};

    /// The blondie crate.
    pub(in super::super) struct Blondie;

    impl Recorder for Blondie {
        fn record(
            &self,
            workload: &Workload,
            config: &Config,
            to: Destination<'_>,
            tell: &mut dyn FnMut(Notice<'_>),
        ) -> Result<Ended> {
            let line = command(workload, config)?;
            tell(Notice::Line(&child::shown(line)));
            let failed = |error: blondie::Error| Error::Refused {
                what: format!("blondie cannot record: {}", said(error)),
                remedy: "run it as an administrator".into(),
            };
            let mut command = child::command(line, config, Stdio::inherit())?;
            let written = match to {
                Destination::Stdout(stream) | Destination::Stream(stream) => {
                    command.stdout(std::io::stderr());
                    let trace = blondie::trace_command(command, false).map_err(failed)?;
                    trace.write_dtrace(&mut *stream).map_err(failed)?;
                    stream.flush()
                }
                Destination::File(path) => {
                    let trace = blondie::trace_command(command, false).map_err(failed)?;
                    let mut file = std::fs::File::create(path)
                        .map(std::io::BufWriter::new)
                        .map_err(Error::io(|| format!("cannot write {}", path.display())))?;
                    trace.write_dtrace(&mut file).map_err(failed)?;
                    file.flush()
                }
            };
            written.map_err(Error::io(|| "cannot write the recording"))?;
            // blondie keeps the status to itself.
            Ok(Ended { status: 0, interrupted: false, is_short: false, elsewhere: None })
        }
    }

    /// blondie's errors have no words of their own.
    fn said(error: blondie::Error) -> String {
        use blondie::Error::{
            Formatted, NotAnAdmin, Other, SpawnErr, UnknownError, UnsupportedOsVersion,
            WaitOnChildErrAbandoned, WaitOnChildErrTimeout, Write,
        };
        match error {
            NotAnAdmin => "only an administrator may".into(),
            Write(error) => format!("the stacks cannot be written: {error}"),
            SpawnErr(error) => format!("the program cannot be started: {error}"),
            WaitOnChildErrAbandoned => "the program was abandoned".into(),
            WaitOnChildErrTimeout => "the program did not end in time".into(),
            Formatted(_, said, _) => said,
            Other(error) => error.to_string(),
            UnsupportedOsVersion => "it needs Windows 7 or later".into(),
            UnknownError => "it does not say why".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_commands() {
        let line = Workload::Command(vec!["a.exe".into()]);
        let usual = Config::default();
        assert_eq!(command(&line, &usual).unwrap(), ["a.exe"]);
        for refused in [Workload::System, Workload::Pids(vec![1]), Workload::Command(vec![])] {
            assert!(command(&refused, &usual).is_err());
        }
        assert!(command(&line, &Config { frequency: 99, ..usual }).is_err());
    }
}
