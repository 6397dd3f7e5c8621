//! Running a workload under a profiler: [`Workload`], [`Recorder`] and the recorders of each system.
//!
//! A recorder runs the workload, or attaches to it, and leaves a *recording* in a [`Destination`]: perf.data from perf,
//! an exported trace from xctrace, stacks from dtrace and blondie. `fg-fold` tells them apart by their first bytes, so
//! nobody else has to. Each recorder is a leaf of two halves: a pure function that builds its command line, compiled and
//! tested on every system, and a short one that runs it.
//!
//! [`Recorder::record`] takes over SIGINT and SIGTERM while it runs: the first one ends the recording, which is complete
//! all the same; the next ones kill. Afterwards they do nothing until the caller handles them again.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backend::Backend;
use crate::error::{Error, Result};

mod blondie;
mod child;
mod dtrace;
#[cfg(target_os = "linux")]
mod held;
#[cfg(target_os = "linux")]
mod linux;
mod lookup;
#[cfg(target_os = "linux")]
pub mod native;
pub mod perf;
mod signals;
mod xctrace;

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A program and its arguments, which the recorder starts. Its end ends the recording.
    Command(Vec<OsString>),
    /// Processes that run already, by number. Their end, or an interrupt, ends the recording.
    Pids(Vec<u32>),
    /// Everything on this machine, until an interrupt.
    System,
}

/// How it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who records; Linux only. perf does, too, if `PERF` names it or a custom command is given.
    pub backend: Backend,
    /// Samples a second and processor, in Hz.
    pub frequency: u32,
    /// A sample after so many events, in place of the frequency.
    pub period: Option<u64>,
    /// Events in perf's spelling; none is the recorder's own choice, processor time.
    pub events: Vec<String>,
    /// How stacks are captured, in perf's spelling: `fp`, `lbr`, `dwarf,BYTES`.
    pub call_graph: String,
    /// Record copied stacks as they are, instead of the call chains that are found on them: what perf would write.
    pub raw_stacks: bool,
    /// Name the functions of the kernel in the recording, for readers who may not see its addresses; Linux without perf only.
    pub kernel_symbols: bool,
    /// Record for how long threads are blocked, and where, beside processor time; Linux without perf only.
    pub off_cpu: bool,
    /// Sample the processors instead of the threads, and keep what is of the workload: threads are
    /// seen, too, that end within a sampling interval. Linux without perf only; takes the right to
    /// record the whole machine.
    pub per_cpu: bool,
    /// Begin to record so long after the workload.
    pub delay: Option<Duration>,
    /// End the recording, and a command with it, after so long.
    pub duration: Option<Duration>,
    /// Two FIFOs by which another process guides the recorder, as perf's `--control=fifo:COMMANDS,ANSWERS`.
    pub control: Option<(PathBuf, PathBuf)>,
    /// Compress the recording at this zstd level (1 to 22); perf only.
    pub compression: Option<u8>,
    /// In place of all of the above: perf's arguments as one line of shell words, or a dtrace script.
    pub custom: Option<String>,
    /// Run the recorder through `sudo`, with these flags of sudo's.
    pub root: Option<Vec<String>>,
    /// Variables that the command gets on top of ours.
    pub env: Vec<(OsString, OsString)>,
    /// Where the command runs, if not here. Paths of recordings must then be absolute.
    pub cwd: Option<PathBuf>,
}

impl Default for Config {
    /// As flamegraph 0.6.15 records.
    fn default() -> Config {
        Config {
            backend: Backend::Native,
            frequency: 997,
            period: None,
            events: Vec::new(),
            call_graph: "dwarf,64000".into(),
            raw_stacks: false,
            kernel_symbols: false,
            off_cpu: false,
            per_cpu: false,
            delay: None,
            duration: None,
            control: None,
            compression: None,
            custom: None,
            root: None,
            env: Vec::new(),
            cwd: None,
        }
    }
}

/// What a recorder tells before and while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A command line that is run.
    Line(&'a str),
    /// What is done otherwise than asked for or usual, and why.
    Change(&'a str),
}

/// Where the recording goes.
pub enum Destination<'a> {
    /// A stream that has our standard output; what the workload prints there goes to stderr instead.
    Stdout(&'a mut (dyn Write + Send)),
    /// A stream beside our standard output, which stays the workload's: for recorders that can, see [`Recorder::streams`].
    Stream(&'a mut (dyn Write + Send)),
    /// A file that exists, is empty and stays the caller's even if the recorder is privileged. The workload's standard
    /// streams are its own.
    File(&'a Path),
}

/// How a recording ended. It is complete, whatever became of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The workload's exit status, 128 + n if signal n killed it; 0 if it runs on, or was ended after [`Config::duration`].
    pub status: u8,
    /// Whether we were asked to end it, by SIGINT or SIGTERM.
    pub interrupted: bool,
    /// Where the recording is, if [`Config::custom`] named a file: then nothing is in the [`Destination`].
    pub elsewhere: Option<PathBuf>,
}

/// A profiler.
pub trait Recorder {
    /// Records `workload` to its end, or until an interrupt.
    ///
    /// # Errors
    /// The workload or the profiler cannot be run, the profiler fails before it has recorded anything, the destination
    /// cannot be written to (when a pipe is closed, after the workload was ended). A workload that fails is no error.
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended>;

    /// Whether it can write to a [`Destination::Stream`] while it records.
    fn streams(&self, workload: &Workload, config: &Config) -> bool {
        let _ = (workload, config);
        false
    }
}

/// This system's recorder; `PERF`, `XCTRACE` and `DTRACE` name its program, where it is one.
pub fn recorder() -> Box<dyn Recorder> {
    #[cfg(target_os = "linux")]
    let linux = Some(linux::Linux);
    #[cfg(not(target_os = "linux"))]
    let linux = None::<dtrace::Dtrace>;
    match linux {
        Some(linux) => Box::new(linux),
        // As flamegraph does: dtrace there only for whoever names it.
        None if cfg!(target_os = "macos") && std::env::var_os("DTRACE").is_none() => {
            Box::new(xctrace::Xctrace::from_env())
        }
        None => dtrace_or_blondie(),
    }
}

/// As flamegraph does: blondie only where Windows has no dtrace.
fn dtrace_or_blondie() -> Box<dyn Recorder> {
    let dtrace = dtrace::Dtrace::from_env();
    #[cfg(windows)]
    if !dtrace.is_there() {
        return Box::new(blondie::Blondie);
    }
    Box::new(dtrace)
}

/// The program that the variable names, or the usual one.
fn program(variable: &str, usual: &str) -> OsString {
    std::env::var_os(variable).filter(|name| !name.is_empty()).unwrap_or_else(|| usual.into())
}

/// Refuses what `recorder` cannot do because only those of Linux can, by the first option that asks for it.
fn refuse_linux_only(recorder: &str, config: &Config) -> Result<()> {
    let usual = Config::default();
    let asked = [
        ("--period", config.period != usual.period),
        ("--call-graph", config.call_graph != usual.call_graph),
        ("--raw-stacks", config.raw_stacks != usual.raw_stacks),
        ("--kernel-symbols", config.kernel_symbols != usual.kernel_symbols),
        ("--per-cpu", config.per_cpu != usual.per_cpu),
        ("--delay", config.delay != usual.delay),
        ("--duration", config.duration != usual.duration),
        ("--control", config.control != usual.control),
        ("--compression-level", config.compression != usual.compression),
    ];
    let Some((option, _)) = asked.iter().find(|(_, asked)| *asked) else { return Ok(()) };
    Err(Error::Unsupported {
        what: format!("{recorder} does not support {option}"),
        remedy: format!("omit {option}"),
    })
}

/// `line` as `config` wants it run: the one place that knows of sudo.
fn privileged(line: Vec<OsString>, config: &Config) -> Vec<OsString> {
    let Some(flags) = &config.root else { return line };
    let sudo = std::iter::once(OsString::from("sudo"));
    sudo.chain(flags.iter().map(OsString::from)).chain(line).collect()
}

/// Moves what a profiler left in a file of its own to where the recording goes.
fn deposit(from: &Path, to: Destination<'_>) -> Result<u64> {
    let mut from_file =
        File::open(from).map_err(Error::io(|| format!("cannot read {}", from.display())))?;
    match to {
        Destination::Stdout(stream) | Destination::Stream(stream) => {
            std::io::copy(&mut from_file, stream)
                .map_err(Error::io(|| "cannot write to standard output"))
        }
        Destination::File(path) => {
            let copied =
                File::create(path).and_then(|mut to| std::io::copy(&mut from_file, &mut to));
            copied.map_err(Error::io(|| format!("cannot write {}", path.display())))
        }
    }
}

/// A folder of our own for what a profiler leaves behind.
fn scratch() -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("flamepipe-")
        .tempdir()
        .map_err(Error::io(|| "cannot create a temporary directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_comes_first_with_its_flags() {
        let line = || vec![OsString::from("perf"), "record".into()];
        assert_eq!(privileged(line(), &Config::default()), line());
        let root = Config { root: Some(vec!["-E".into(), "-n".into()]), ..Config::default() };
        assert_eq!(privileged(line(), &root), ["sudo", "-E", "-n", "perf", "record"]);
    }

    #[test]
    fn what_only_linux_can_do_is_refused_by_name() {
        assert!(refuse_linux_only("dtrace", &Config::default()).is_ok());
        let late = Config { delay: Some(Duration::from_millis(1)), ..Config::default() };
        let refused = refuse_linux_only("dtrace", &late).unwrap_err().to_string();
        assert!(refused.contains("dtrace does not support --delay"), "{refused}");
    }

    #[test]
    fn a_deposit_is_a_copy() {
        let folder = scratch().unwrap();
        let (from, path) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, b"stacks").unwrap();
        let mut stream = Vec::new();
        assert_eq!(deposit(&from, Destination::Stdout(&mut stream)).unwrap(), 6);
        assert_eq!(deposit(&from, Destination::File(&path)).unwrap(), 6);
        assert_eq!(
            (stream, std::fs::read(&path).unwrap()),
            (b"stacks".to_vec(), b"stacks".to_vec())
        );
    }
}
