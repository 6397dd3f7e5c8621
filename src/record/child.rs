//! Runs a profiler as a child process: starts it, copies its stream, and reads its status.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::Config;
use super::signals::{Signals, Whom, end};
use crate::error::{Error, Result};

/// How a child ended.
pub(super) struct Exit {
    pub(super) status: ExitStatus,
    /// How its workload ended, if we know that apart from the child's status.
    pub(super) workload: Option<ExitStatus>,
    /// The signal that asked us to end it.
    pub(super) signal: Option<i32>,
    /// How many bytes it streamed.
    pub(super) streamed: u64,
}

pub(super) enum Stdout<'a> {
    /// Ours.
    Ours,
    /// Our stderr, because a stream has our stdout.
    Stderr,
    /// It is copied as it comes to this stream, which has our stdout.
    Stream(&'a mut dyn Write),
    /// It is copied to this stream; our stdout is the workload's.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the kernel's own recorder's"))]
    Beside(&'a mut dyn Write),
}

impl Stdout<'_> {
    fn for_profiler(&self) -> Stdio {
        match self {
            Stdout::Ours => Stdio::inherit(),
            Stdout::Stderr => io::stderr().into(),
            Stdout::Stream(_) | Stdout::Beside(_) => Stdio::piped(),
        }
    }

    /// The stdout of a workload that is not the profiler's child.
    #[cfg(target_os = "linux")]
    pub(super) fn for_workload(&self) -> Stdio {
        match self {
            Stdout::Ours | Stdout::Beside(_) => Stdio::inherit(),
            Stdout::Stderr | Stdout::Stream(_) => io::stderr().into(),
        }
    }
}

/// Runs `line` to its end.
pub(super) fn run(
    line: &[OsString],
    config: &Config,
    stdout: Stdout<'_>,
    remedy: &str,
) -> Result<Exit> {
    let mut signals = Signals::catch();
    let mut child = spawn(line, config, &stdout, remedy)?;
    let pid = child.id();
    signals.forward_to(pid, Whom::Profiler);
    let copied = drain(&mut child, stdout, || end(pid));
    let status = child.wait().map_err(Error::io(|| "cannot wait for the recorder"))?;
    let streamed = copied.map_err(Error::io(|| "cannot write the recording"))?;
    Ok(Exit { status, workload: None, signal: signals.seen(), streamed })
}

/// `line` as a command, with the workload's environment and working directory: a profiler passes
/// its own on.
pub(super) fn command(line: &[OsString], config: &Config, stdout: Stdio) -> Result<Command> {
    let (program, arguments) = line.split_first().ok_or_else(|| Error::Usage {
        what: "there is no command to run".into(),
        remedy: String::new(),
    })?;
    let mut command = Command::new(program);
    command.args(arguments).stdout(stdout);
    command.envs(config.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &config.cwd {
        command.current_dir(cwd);
    }
    Ok(command)
}

/// Starts `line`.
pub(super) fn spawn(
    line: &[OsString],
    config: &Config,
    stdout: &Stdout<'_>,
    remedy: &str,
) -> Result<Child> {
    command(line, config, stdout.for_profiler())?.spawn().map_err(|source| Error::Spawn {
        program: line.first().map(|program| program.to_string_lossy().into()).unwrap_or_default(),
        source,
        remedy: remedy.into(),
    })
}

/// Copies the stream of `child` to its end, and returns the number of bytes.
pub(super) fn drain(
    child: &mut Child,
    stdout: Stdout<'_>,
    failed: impl FnOnce(),
) -> io::Result<u64> {
    match (child.stdout.take(), stdout) {
        (Some(from), Stdout::Stream(to) | Stdout::Beside(to)) => copy(from, to, failed),
        _ => Ok(0),
    }
}

/// Copies to the end of `from`, each piece as soon as it is there. If `to` fails, calls `failed`
/// once, and reads and drops the rest, so that no writer stays blocked.
fn copy(mut from: impl Read, to: &mut dyn Write, failed: impl FnOnce()) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    let mut failed = Some(failed);
    let mut outcome = Ok(());
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return outcome.map(|()| copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return outcome.and(Err(error)),
        };
        if let Some(bytes) = buffer.get(..read).filter(|_| outcome.is_ok()) {
            copied += read as u64;
            outcome = to.write_all(bytes).and_then(|()| to.flush());
        }
        if outcome.is_err()
            && let Some(failed) = failed.take()
        {
            failed();
        }
    }
}

/// A status as shells count it: the program's own, or 128 + the signal that killed it.
pub(super) fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    // Windows has 32 bits of status; one that does not fit is a failure.
    status.code().map_or(1, |code| u8::try_from(code).unwrap_or(u8::MAX))
}

/// The exit status of a workload: its own, unless it died of the SIGINT or SIGTERM by which a
/// recording ends it. Then it is 128 + the `signal` that ended the recording, or 0 if the time that
/// the user set `is_over`.
pub(super) fn outcome(status: ExitStatus, signal: Option<i32>, is_over: bool) -> u8 {
    let code = code(status);
    // SIGINT and SIGTERM, whose numbers are the same everywhere.
    let by_that = [128 + 2, 128 + 15].contains(&code) && status.code().is_none();
    match signal {
        Some(signal) if by_that => u8::try_from(128 + signal).unwrap_or(code),
        None if by_that && is_over => 0,
        _ => code,
    }
}

/// `line` as a user would type it in a shell.
pub(super) fn shown(line: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let quoted = |word: &OsString| match word.to_string_lossy() {
        word if !word.is_empty() && word.chars().all(plain) => word.into_owned(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    };
    line.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_outlives_its_reader() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let input = vec![7_u8; 1_000_000];
        let mut rest = &input[..];
        let mut calls = 0;
        let copied = copy(&mut rest, &mut Full(100_000), || calls += 1);
        assert_eq!(copied.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!((rest.len(), calls), (0, 1), "all is read, one call");
        assert_eq!(copy(&input[..], &mut Vec::new(), || panic!()).unwrap(), 1_000_000);
    }

    #[test]
    fn lines_are_shown_as_typed() {
        let line = ["perf", "-z=1", "a b", "it's", ""].map(OsString::from);
        assert_eq!(shown(&line), r"perf -z=1 'a b' 'it'\''s' ''");
    }

    #[cfg(unix)]
    #[test]
    fn statuses_count_as_in_a_shell() {
        let run = |script: &str| {
            let line = ["sh".into(), "-c".into(), OsString::from(script)];
            super::run(&line, &Config::default(), Stdout::Ours, "").unwrap()
        };
        assert_eq!(code(run("exit 7").status), 7);
        assert_eq!(code(run("kill -KILL $$").status), 137);
        let mut stream = Vec::new();
        let line = ["sh".into(), "-c".into(), OsString::from("echo out")];
        let exit = super::run(&line, &Config::default(), Stdout::Stream(&mut stream), "").unwrap();
        assert_eq!((exit.streamed, stream, exit.signal), (4, b"out\n".to_vec(), None));
    }
}
