//! macOS: `xctrace record` with the Time Profiler, then `xctrace export`, whose XML is the
//! recording.

use std::ffi::OsString;
use std::path::Path;

use super::child::{self, Stdout};
use super::{
    Config, Destination, Ended, Notice, Recorder, Workload, deposit, privileged, program,
    refuse_linux_only, scratch,
};
use crate::error::{Error, Result};

/// `xctrace`, by the name of its program.
pub(super) struct Xctrace {
    program: OsString,
}

impl Xctrace {
    /// The xctrace that `XCTRACE` names.
    pub(super) fn from_env() -> Xctrace {
        Xctrace { program: program("XCTRACE", "xctrace") }
    }
}

impl Recorder for Xctrace {
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        let remedy = "install Xcode, or set XCTRACE to the path of xctrace";
        let folder = scratch()?;
        let trace = folder.path().join("flamepipe.trace");
        let record = record_line(&self.program, workload, config, &trace)?;
        tell(Notice::Line(&child::shown(&record)));
        let taken = matches!(to, Destination::Stdout(_));
        let stdout = if taken { Stdout::Stderr } else { Stdout::Ours };
        let recorded = child::run(&record, config, stdout, remedy)?;
        if !trace.exists() {
            return Err(failed(&record, recorded.status));
        }
        let export = export_line(&self.program, &trace);
        tell(Notice::Line(&child::shown(&export)));
        let exported = match to {
            Destination::Stdout(stream) | Destination::Stream(stream) => {
                child::run(&export, config, Stdout::Stream(stream), remedy)?
            }
            Destination::File(_) => {
                let xml = folder.path().join("export.xml");
                let mut file = std::fs::File::create(&xml)
                    .map_err(Error::io(|| format!("cannot write {}", xml.display())))?;
                let exported = child::run(&export, config, Stdout::Stream(&mut file), remedy)?;
                deposit(&xml, to)?;
                exported
            }
        };
        if !exported.status.success() {
            return Err(failed(&export, exported.status));
        }
        Ok(Ended {
            status: status(child::code(recorded.status), workload, recorded.signal.is_some()),
            is_short: false,
            interrupted: recorded.signal.is_some(),
            elsewhere: None,
        })
    }
}

/// xctrace answers Ctrl-C with status 54, which is not a failure.
fn status(code: u8, workload: &Workload, interrupted: bool) -> u8 {
    let attached = !matches!(workload, Workload::Command(_));
    if code == 54 || (attached && interrupted) { 0 } else { code }
}

fn failed(line: &[OsString], status: std::process::ExitStatus) -> Error {
    let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).take(2).collect();
    Error::Child { program: words.join(" "), status, said: String::new() }
}

/// `xctrace record --template 'Time Profiler' …`.
///
/// # Errors
/// xctrace supports only one process, and no frequency, event or custom command.
fn record_line(
    xctrace: &OsString,
    workload: &Workload,
    config: &Config,
    trace: &Path,
) -> Result<Vec<OsString>> {
    let cannot = |what: &str| {
        Err(Error::Unsupported { what: format!("xctrace {what}"), remedy: String::new() })
    };
    refuse_linux_only("xctrace", config)?;
    let usual = Config::default();
    if config.frequency != usual.frequency {
        return cannot("does not support --freq");
    }
    if config.custom.is_some() {
        return cannot("does not support --cmd");
    }
    if config.events != usual.events {
        return cannot("does not support --event");
    }
    let mut line = vec![xctrace.clone()];
    line.extend(["record", "--template", "Time Profiler", "--output"].map(OsString::from));
    line.push(trace.into());
    match workload {
        Workload::Command(command) => {
            line.extend(["--target-stdout", "-", "--launch", "--"].map(OsString::from));
            line.extend_from_slice(command);
        }
        // It accepts more, but profiles the last one only.
        Workload::Pids(pids) => match pids.as_slice() {
            [pid] => line.extend(["--attach".into(), pid.to_string().into()]),
            _ => return cannot("records only one process at a time"),
        },
        Workload::System => line.push("--all-processes".into()),
    }
    Ok(privileged(line, config))
}

/// `xctrace export` of the samples, to its stdout.
fn export_line(xctrace: &OsString, trace: &Path) -> Vec<OsString> {
    let xpath = r#"/trace-toc/*/data/table[@schema="time-profile"]"#;
    vec![
        xctrace.clone(),
        "export".into(),
        "--input".into(),
        trace.into(),
        "--xpath".into(),
        xpath.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &Workload, config: &Config) -> Result<String> {
        record_line(&"xctrace".into(), workload, config, Path::new("x.trace"))
            .map(|line| child::shown(&line))
    }

    #[test]
    fn lines_are_flamegraphs() {
        let record = "xctrace record --template 'Time Profiler' --output x.trace";
        let command = Workload::Command(vec!["./bin".into(), "-v".into()]);
        let usual = Config::default();
        assert_eq!(
            line(&command, &usual).unwrap(),
            format!("{record} --target-stdout - --launch -- ./bin -v")
        );
        assert_eq!(line(&Workload::Pids(vec![7]), &usual).unwrap(), format!("{record} --attach 7"));
        assert_eq!(line(&Workload::System, &usual).unwrap(), format!("{record} --all-processes"));
        assert_eq!(
            child::shown(&export_line(&"xctrace".into(), Path::new("x.trace"))),
            r#"xctrace export --input x.trace --xpath '/trace-toc/*/data/table[@schema="time-profile"]'"#
        );
    }

    #[test]
    fn what_xctrace_cannot_do_is_refused() {
        let usual = Config::default();
        assert!(line(&Workload::Pids(vec![1, 2]), &usual).is_err());
        for config in [
            Config { frequency: 99, ..usual.clone() },
            Config { custom: Some("x".into()), ..usual.clone() },
            Config { events: vec!["x".into()], ..usual.clone() },
        ] {
            assert!(line(&Workload::System, &config).is_err(), "{config:?}");
        }
    }

    #[test]
    fn an_interrupt_is_no_failure() {
        let command = Workload::Command(vec!["./bin".into()]);
        assert_eq!(status(54, &command, true), 0);
        assert_eq!(status(3, &command, false), 3);
        assert_eq!(status(130, &Workload::Pids(vec![1]), true), 0);
    }
}
