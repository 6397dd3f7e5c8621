//! FreeBSD, illumos and others: `dtrace`, whose aggregated stacks are the recording.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::child::{self, Stdout};
use super::{
    Config, Destination, Ended, Notice, Recorder, Workload, deposit, privileged, program,
    refuse_linux_only, scratch,
};
use crate::error::{Error, Result};

/// `dtrace`, by the name of its program.
pub(super) struct Dtrace {
    program: OsString,
}

impl Dtrace {
    /// The dtrace that `DTRACE` names.
    pub(super) fn from_env() -> Dtrace {
        Dtrace { program: program("DTRACE", "dtrace") }
    }

    /// Whether it can be run at all.
    #[cfg(windows)]
    pub(super) fn is_there(&self) -> bool {
        use std::process::{Command, Stdio};
        let mut help = Command::new(&self.program);
        help.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }
}

impl Recorder for Dtrace {
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        let folder = scratch()?;
        let stacks = folder.path().join("stacks");
        // dtrace appends to it. A file that we make stays ours even if dtrace is root.
        std::fs::write(&stacks, b"").map_err(Error::io(|| "cannot create a temporary file"))?;
        let line = command_line(&self.program, workload, config, &stacks)?;
        tell(Notice::Line(&child::shown(&line)));
        let taken = matches!(to, Destination::Stdout(_));
        let stdout = if taken { Stdout::Stderr } else { Stdout::Ours };
        let exit = child::run(&line, config, stdout, "install dtrace, or set DTRACE to its path")?;
        if deposit(&stacks, to)? == 0 && !exit.status.success() && exit.signal.is_none() {
            let program = self.program.to_string_lossy().into_owned();
            return Err(Error::Child { program, status: exit.status, said: String::new() });
        }
        let attached = !matches!(workload, Workload::Command(_));
        let status = if attached && exit.signal.is_some() { 0 } else { child::code(exit.status) };
        Ok(Ended { status, interrupted: exit.signal.is_some(), is_short: false, elsewhere: None })
    }
}

/// `dtrace -x ustackframes=100 -n 'profile-997 …' -o stacks -c CMD`.
///
/// # Errors
/// dtrace does not support events; a custom script names its own.
fn command_line(
    dtrace: &OsString,
    workload: &Workload,
    config: &Config,
    output: &Path,
) -> Result<Vec<OsString>> {
    refuse_linux_only("dtrace", config)?;
    if !config.events.is_empty() {
        return Err(Error::Unsupported {
            what: "dtrace does not support the events of perf".into(),
            remedy: "pass a script for dtrace with --cmd".into(),
        });
    }
    let who = match workload {
        Workload::System => "",
        _ => "/pid == $target/ ",
    };
    let script = config.custom.clone().unwrap_or_else(|| {
        format!("profile-{} {who}{{ @[ustack(100)] = count(); }}", config.frequency)
    });
    let mut line = vec![dtrace.clone()];
    line.extend(["-x", "ustackframes=100", "-n"].map(OsString::from));
    line.extend([script.into(), "-o".into(), output.into()]);
    match workload {
        Workload::Command(command) => line.extend(["-c".into(), words(command)]),
        Workload::Pids(pids) => {
            for pid in pids {
                line.extend(["-p".into(), pid.to_string().into()]);
            }
        }
        Workload::System => {}
    }
    Ok(privileged(line, config))
}

/// A command as `dtrace -c` reads it: blanks part words, and a backslash precedes a blank within a
/// word.
fn words(command: &[OsString]) -> OsString {
    let mut line = OsString::new();
    for (nth, word) in command.iter().enumerate() {
        if nth > 0 {
            line.push(" ");
        }
        match word.to_str() {
            Some(word) => line.push(word.replace(' ', "\\ ")),
            None => line.push::<&OsStr>(word),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &Workload, config: &Config) -> String {
        child::shown(
            &command_line(&"dtrace".into(), workload, config, Path::new("stacks")).unwrap(),
        )
    }

    #[test]
    fn lines_are_flamegraphs() {
        let command = Workload::Command(vec!["./my bin".into(), "-v".into()]);
        let usual = Config::default();
        let dtrace = "dtrace -x ustackframes=100 -n";
        assert_eq!(
            line(&command, &usual),
            format!(
                "{dtrace} 'profile-997 /pid == $target/ {{ @[ustack(100)] = count(); }}' \
                 -o stacks -c './my\\ bin -v'"
            )
        );
        let custom =
            Config { custom: Some("tick-1s".into()), root: Some(vec![]), ..Config::default() };
        assert_eq!(
            line(&Workload::Pids(vec![1, 2]), &custom),
            format!("sudo {dtrace} tick-1s -o stacks -p 1 -p 2")
        );
        assert_eq!(
            line(&Workload::System, &usual),
            format!("{dtrace} 'profile-997 {{ @[ustack(100)] = count(); }}' -o stacks")
        );
    }

    #[test]
    fn events_are_refused() {
        let config = Config { events: vec!["cycles".into()], ..Config::default() };
        assert!(
            command_line(&"dtrace".into(), &Workload::System, &config, Path::new("x")).is_err()
        );
    }
}
