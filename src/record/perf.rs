//! Linux: `perf record`.
//!
//! If perf writes to `-`, it uses its *pipe mode* and sends the workload's stdout to stderr. If the
//! workload's stdout must stay its own, perf writes a file instead.
//!
//! perf passes on the workload's status as its own, so a status alone does not say which of them
//! failed. But perf opens its events before it writes the first byte: if there are no bytes, perf
//! failed.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::child::{self, Exit, Stdout};
use super::{Config, Destination, Ended, Notice, Recorder, Workload, privileged, program};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::lookup::check_runnable;

/// `perf record`, by the name of its program.
#[derive(Clone, Debug)]
pub(crate) struct Perf {
    /// A name in the PATH or a path.
    pub program: OsString,
    /// Whether it may have large rings. With 64,000 bytes of stack per sample, 8 MB for each CPU
    /// lose none, and perf's own 512 KB lose up to a tenth. But memory beyond `perf_event_mlock_kb`
    /// needs CAP_IPC_LOCK.
    pub large_rings: bool,
}

impl Perf {
    /// Whether the program can be run.
    pub(crate) fn is_there(&self) -> bool {
        check_runnable(&self.program, "").is_ok()
    }

    /// The perf that `PERF` names.
    pub(crate) fn from_env() -> Perf {
        Perf { program: program("PERF", "perf"), large_rings: may_lock_memory() }
    }
}

impl Recorder for Perf {
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        if let Workload::Command(command) = workload {
            check_runnable(command.first().map_or("".as_ref(), OsString::as_os_str), "")?;
        }
        let remedy = "install perf (package linux-perf or linux-tools), or set PERF to its path";
        let elsewhere = custom_output(config)?;
        let mut run = |output: &Path, stdout| {
            #[cfg(target_os = "linux")]
            if let (Workload::Command(command), Some(_), None) =
                (workload, &config.root, &config.custom)
            {
                return super::held_child::run(command, config, stdout, remedy, |pid, fifos| {
                    let pid = Workload::Pids(vec![pid]);
                    let mut line = command_line(self, &pid, config, output)?;
                    line.push(format!("--control=fifo:{fifos}").into());
                    tell(Notice::Line(&child::shown(&line)));
                    Ok(line)
                });
            }
            let line = command_line(self, workload, config, output)?;
            tell(Notice::Line(&child::shown(&line)));
            child::run(&line, config, stdout, remedy)
        };
        let (exit, recorded) = match (&elsewhere, to) {
            (Some(path), _) => {
                let written = || path.metadata().and_then(|file| file.modified()).ok();
                let before = written();
                let exit = run(path, Stdout::Ours)?;
                // A recording that was there before does not count.
                (exit, u64::from(written() != before))
            }
            (None, Destination::Stdout(stream) | Destination::Stream(stream)) => {
                let exit = run(Path::new("-"), Stdout::Stream(stream))?;
                let streamed = exit.streamed;
                (exit, streamed)
            }
            (None, Destination::File(path)) => {
                let file = File::options().write(true).open(path);
                let file =
                    file.map_err(Error::io(|| format!("cannot write {}", path.display())))?;
                let exit = run(&reachable(path, &file, config), Stdout::Ours)?;
                (exit, file.metadata().map_or(0, |file| file.len()))
            }
        };
        if recorded == 0 && exit.signal.is_none() {
            return Err(failed(&self.program, &exit, config));
        }
        let status = match workload {
            Workload::Command(_) => {
                child::outcome(exit.workload.unwrap_or(exit.status), exit.signal, false)
            }
            // perf's status says that SIGINT ended it; no workload was killed.
            _ if exit.signal.is_some() => 0,
            _ => child::code(exit.status),
        };
        Ok(Ended { status, interrupted: exit.signal.is_some(), is_short: false, elsewhere })
    }
}

/// Whether perf is to record: by name, by a command of its own, or by `PERF`.
pub(crate) fn is_wanted(config: &Config) -> bool {
    let named = std::env::var_os("PERF").is_some_and(|name| !name.is_empty());
    named || config.backend == Backend::Perf || config.custom.is_some()
}

/// perf's command line, through `sudo` if the config asks for it: `perf record -F 997 --call-graph
/// dwarf,64000 -g -o … CMD`.
///
/// # Errors
/// The custom command is not shell words.
pub(crate) fn command_line(
    perf: &Perf,
    workload: &Workload,
    config: &Config,
    output: &Path,
) -> Result<Vec<OsString>> {
    let mut line = vec![perf.program.clone()];
    if let Some(words) = custom_words(config)? {
        line.extend(words.into_iter().map(OsString::from));
    } else {
        line.push("record".into());
        line.extend(config.quiet.then(|| "-q".into()));
        line.extend(match config.period {
            Some(period) => ["-c".into(), period.to_string().into()],
            None => ["-F".into(), config.frequency.to_string().into()],
        });
        line.extend(config.delay.map(|delay| format!("-D={}", delay.as_millis()).into()));
        for event in &config.events {
            line.extend(["-e".into(), event.into()]);
        }
        line.extend(["--call-graph".into(), (&config.call_graph).into(), "-g".into()]);
        if perf.large_rings || config.root.is_some() {
            line.extend(["-m".into(), "8M".into()]);
        }
        line.extend(config.compression.map(|level| format!("-z={level}").into()));
    }
    if custom_output(config)?.is_none() {
        line.extend(["-o".into(), output.into()]);
    }
    match workload {
        Workload::Command(command) => {
            line.push("--".into());
            #[cfg(target_os = "linux")]
            line.extend(super::signals::ignoring_shell());
            line.extend_from_slice(command);
        }
        Workload::Pids(pids) => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            line.extend(["-p".into(), pids.join(",").into()]);
        }
        Workload::System => line.push("-a".into()),
    }
    Ok(privileged(line, config))
}

/// The file that a custom command names for the recording: `record -F 99 -o FILE`.
///
/// # Errors
/// The custom command is not shell words, or ends with a bare `-o`.
pub(crate) fn custom_output(config: &Config) -> Result<Option<PathBuf>> {
    let mut words = custom_words(config)?.unwrap_or_default().into_iter();
    let mut output = None;
    while let Some(word) = words.next() {
        let value = if word == "-o" || word == "--output" {
            Some(words.next().ok_or_else(|| Error::Usage {
                what: format!("the custom command ends with {word}"),
                remedy: "write the name of the file after it".into(),
            })?)
        } else {
            let attached = word.strip_prefix("--output=");
            attached.or_else(|| word.strip_prefix("-o")).map(str::to_owned)
        };
        output = value.or(output);
    }
    Ok(output.filter(|output| output != "-").map(PathBuf::from))
}

fn custom_words(config: &Config) -> Result<Option<Vec<String>>> {
    let Some(custom) = &config.custom else { return Ok(None) };
    let words = shlex::split(custom);
    if words.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::Usage {
            what: "the custom command is empty".into(),
            remedy: "write the arguments for perf, such as `record -g`".into(),
        });
    }
    words.map(Some).ok_or_else(|| Error::Usage {
        what: format!("the custom command has an open quote or ends with a backslash: {custom}"),
        remedy: "quote it as in a shell".into(),
    })
}

/// A path by which a privileged perf can open our file: in /tmp, `fs.protected_regular` keeps even
/// root from opening other users' files by name, but not through our descriptor. The file stays
/// ours.
fn reachable(path: &Path, file: &File, config: &Config) -> PathBuf {
    #[cfg(target_os = "linux")]
    if config.root.is_some() {
        let fd = std::os::fd::AsRawFd::as_raw_fd(file);
        return format!("/proc/{}/fd/{fd}", std::process::id()).into();
    }
    let _ = (file, config);
    path.to_owned()
}

/// perf has said on stderr what it could not do. We say what the user can do.
fn failed(program: &OsString, exit: &Exit, config: &Config) -> Error {
    if config.root.is_none()
        && let Some(refused) = refused()
    {
        return refused;
    }
    Error::Child {
        program: format!("{} record", program.to_string_lossy()),
        status: exit.status,
        said: ": nothing was recorded; perf gave the reason above".into(),
    }
}

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// The part that the kernel may have refused, if we are not root.
fn refused() -> Option<Error> {
    let level = std::fs::read_to_string(PARANOID).ok()?;
    (!is_root()).then(|| paranoid(level.trim()))
}

/// Whether we have CAP_IPC_LOCK, which root in a container may lack: `CapEff: 000001ffffffffff`.
fn may_lock_memory() -> bool {
    const CAP_IPC_LOCK: u64 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|capabilities| capabilities >> CAP_IPC_LOCK & 1 == 1)
}

/// Whether we act as root: our own entry in /proc belongs to the user as whom we act.
fn is_root() -> bool {
    #[cfg(unix)]
    return std::fs::metadata("/proc/self")
        .is_ok_and(|owner| std::os::unix::fs::MetadataExt::uid(&owner) == 0);
    #[cfg(not(unix))]
    false
}

/// `level` is the setting's value: above 2 (Debian, Android) nothing is allowed, at 2 only the
/// user's own code.
fn paranoid(level: &str) -> Error {
    Error::Refused {
        what: format!(
            "perf recorded nothing and gave the reason above; if the kernel refused it: {PARANOID} \
             is {level}"
        ),
        remedy: "allow it with `sudo sysctl kernel.perf_event_paranoid=1` (-1 for other users' \
                 processes and tracepoints), or record with --root"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &Workload, config: &Config) -> String {
        let perf = Perf { program: "perf".into(), large_rings: false };
        child::shown(&command_line(&perf, workload, config, Path::new("-")).unwrap())
    }

    fn command() -> Workload {
        Workload::Command(vec!["./bin".into(), "--flag".into()])
    }

    fn custom(custom: &str) -> Config {
        Config { custom: Some(custom.into()), ..Config::default() }
    }

    #[test]
    fn lines_are_flamegraphs() {
        let plain = Config::default();
        let usual = "perf record -F 997 --call-graph dwarf,64000 -g -o -";
        assert_eq!(line(&command(), &plain), format!("{usual} -- ./bin --flag"));
        assert_eq!(line(&Workload::Pids(vec![1, 20]), &plain), format!("{usual} -p 1,20"));
        assert_eq!(line(&Workload::System, &plain), format!("{usual} -a"));
        let all = Config {
            frequency: 99,
            events: vec!["cpu-clock".into(), "page-faults:u".into()],
            call_graph: "fp".into(),
            compression: Some(3),
            custom: None,
            root: Some(vec!["-n".into()]),
            ..Config::default()
        };
        assert_eq!(
            line(&command(), &all),
            "sudo -n perf record -F 99 -e cpu-clock -e page-faults:u --call-graph fp -g -m 8M -z=3 \
             -o - -- ./bin --flag"
        );
    }

    #[test]
    fn custom_commands_are_shell_words() {
        let quoted = custom("record -e 'sched:sched_switch' --filter \"prev_comm == a\" -g");
        assert_eq!(
            line(&command(), &quoted),
            "perf record -e sched:sched_switch --filter 'prev_comm == a' -g -o - -- ./bin --flag"
        );
        let perf = Perf { program: "perf".into(), large_rings: true };
        let open = command_line(&perf, &command(), &custom("record 'x"), Path::new("-"));
        assert!(matches!(open, Err(Error::Usage { .. })));
    }

    #[test]
    fn custom_commands_may_name_the_recording() {
        let output = |line| custom_output(&custom(line)).unwrap();
        assert_eq!(output("record -g"), None);
        for line in [
            "record -o 'a b' -g",
            "record '-oa b'",
            "record --output 'a b'",
            "record '--output=a b'",
        ] {
            assert_eq!(output(line), Some("a b".into()), "{line}");
        }
        assert_eq!(output("record -o -"), None, "that is the stream");
        assert!(custom_output(&custom("record -o")).is_err());
        assert_eq!(line(&Workload::System, &custom("record -o x")), "perf record -o x -a");
    }

    #[test]
    fn refusals_name_the_setting_and_its_remedy() {
        let error = paranoid("4");
        assert!(error.to_string().contains("/proc/sys/kernel/perf_event_paranoid is 4"));
        assert!(error.remedy().unwrap().contains("sysctl kernel.perf_event_paranoid"));
    }
}
