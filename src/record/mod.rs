//! Runs a workload under a profiler: [`Workload`], [`Recorder`] and the recorders of each system.
//!
//! A recorder runs the workload, or attaches to it, and leaves a *recording* in a [`Destination`]:
//! perf.data from perf, an exported trace from xctrace, stacks from dtrace and blondie. `fg-fold`
//! recognises them by their first bytes. Each recorder has two halves: a pure function that builds
//! its command line, compiled and tested on every system, and a short one that runs it.
//!
//! [`Recorder::record`] takes over SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 while it
//! runs. The first one ends the recording, which is still complete. The next ones kill the
//! workload. Afterwards the signals do nothing until the caller handles them again.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backend::Backend;
use crate::error::{Error, Result};

mod blondie;
// This is compiled and tested on all systems, but only used on Linux.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod child;
mod dtrace;
#[cfg(target_os = "linux")]
mod held_child;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) mod native;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) mod perf;
mod signals;
mod xctrace;

#[cfg(unix)]
pub(crate) use signals::ending;

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A program and its arguments, which the recorder starts. Its end ends the recording.
    Command(Vec<OsString>),
    /// Processes that run already, by number. Their end or an interrupt ends the recording.
    Pids(Vec<u32>),
    /// Everything on this machine, until an interrupt.
    System,
}

/// How it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The recorder; Linux only. perf also records if `PERF` names it or a custom command is given.
    pub backend: Backend,
    /// Samples a second and processor, in Hz.
    pub frequency: u32,
    /// Take a sample every this many events, instead of at a frequency.
    pub period: Option<u64>,
    /// Events in perf's spelling. If it is empty, the recorder samples processor time.
    pub events: Vec<String>,
    /// How stacks are captured, in perf's spelling: `fp`, `lbr`, `dwarf,BYTES`.
    pub call_graph: String,
    /// Record copied stacks as they are, as perf does, instead of the call chains found on them.
    pub raw_stacks: bool,
    /// Name the functions of the kernel in the recording, for readers who may not see the kernel's
    /// addresses; Linux without perf only.
    pub kernel_symbols: bool,
    /// Also record where threads are blocked, and for how long; Linux without perf only.
    pub off_cpu: bool,
    /// Sample the processors instead of the threads, and keep the workload's samples. This also
    /// sees threads that end within a sampling interval. Linux without perf only; needs permission
    /// to record the whole machine.
    pub per_cpu: bool,
    /// Begin to record this long after the workload.
    pub delay: Option<Duration>,
    /// End the recording, and a command with it, after this time.
    pub duration: Option<Duration>,
    /// Have perf print only errors.
    pub quiet: bool,
    /// Two FIFOs by which another process guides the recorder, as with perf's
    /// `--control=fifo:COMMANDS,ANSWERS`.
    pub control: Option<(PathBuf, PathBuf)>,
    /// Compress the recording at this zstd level (1 to 22); perf only.
    pub compression: Option<u8>,
    /// Replaces all of the above: perf's arguments as one line of shell words, or a dtrace script.
    pub custom: Option<String>,
    /// Run the recorder through `sudo`, with these flags for sudo.
    pub root: Option<Vec<String>>,
    /// Environment variables that the command gets in addition to ours.
    pub env: Vec<(OsString, OsString)>,
    /// The folder where the command runs, if not here. Paths of recordings must then be absolute.
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
            quiet: false,
            control: None,
            compression: None,
            custom: None,
            root: None,
            env: Vec::new(),
            cwd: None,
        }
    }
}

/// The messages of a recorder, before and while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A command line that is run.
    Line(&'a str),
    /// A difference from the request or from the usual, and why.
    Change(&'a str),
}

/// The destination of a recording.
pub enum Destination<'a> {
    /// A stream that has our standard output. The workload's standard output goes to stderr
    /// instead.
    Stdout(&'a mut (dyn Write + Send)),
    /// A stream that is not our standard output, which stays the workload's, unless perf records:
    /// it sends the workload's standard output to stderr.
    Stream(&'a mut (dyn Write + Send)),
    /// An empty file that exists and stays the caller's even if the recorder is privileged. The
    /// workload's standard streams are its own.
    File(&'a Path),
}

/// How a recording ended. The recording is complete, whatever became of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The workload's exit status; 128 + n if signal n killed it; 0 if it runs on or was ended
    /// after [`Config::duration`].
    pub status: u8,
    /// Whether we were asked to end it, by a signal.
    pub interrupted: bool,
    /// Whether the disk was full before the end. The recording has what came before.
    pub is_short: bool,
    /// The path of the recording, if [`Config::custom`] named a file. Then the [`Destination`] is
    /// empty.
    pub elsewhere: Option<PathBuf>,
}

/// A profiler.
pub trait Recorder {
    /// Records `workload` to its end, or until an interrupt.
    ///
    /// # Errors
    /// The workload or the profiler cannot be run; the profiler fails before it has recorded
    /// anything; or the destination cannot be written to (if it is a closed pipe, the workload is
    /// ended first). A workload that fails is not an error.
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

/// This system's recorder. `PERF`, `XCTRACE` and `DTRACE` name its program, if it is one.
pub fn recorder() -> Box<dyn Recorder> {
    #[cfg(target_os = "linux")]
    let linux = Some(linux::Linux);
    #[cfg(not(target_os = "linux"))]
    let linux = None::<dtrace::Dtrace>;
    match linux {
        Some(linux) => Box::new(linux),
        // Like flamegraph: macOS gets dtrace only if DTRACE names it.
        None if cfg!(target_os = "macos") && std::env::var_os("DTRACE").is_none() => {
            Box::new(xctrace::Xctrace::from_env())
        }
        None => dtrace_or_blondie(),
    }
}

/// Records a program that ends at once, to see whether recording works.
///
/// # Errors
/// As with [`Recorder::record`], or if there is no place for a temporary file.
pub(crate) fn try_out(config: &Config, tell: &mut dyn FnMut(Notice<'_>)) -> Result<()> {
    let file = tempfile::NamedTempFile::new()
        .map_err(Error::io(|| "cannot create a temporary file; name a folder in TMPDIR"))?;
    let program = if cfg!(windows) { "whoami" } else { "true" };
    let workload = Workload::Command(vec![program.into()]);
    recorder().record(&workload, config, Destination::File(file.path()), tell)?;
    Ok(())
}

/// Like flamegraph: blondie only if Windows has no dtrace.
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

/// Refuses the first option that only the recorders of Linux support.
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

/// `line`, through sudo if `config` asks for it. No other code knows of sudo.
fn privileged(line: Vec<OsString>, config: &Config) -> Vec<OsString> {
    let Some(flags) = &config.root else { return line };
    let sudo = std::iter::once(OsString::from("sudo"));
    sudo.chain(flags.iter().map(OsString::from)).chain(line).collect()
}

/// Copies the file that a profiler wrote to the destination of the recording.
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

/// A folder of our own for the files of a profiler.
fn scratch() -> Result<tempfile::TempDir> {
    scratch_in(&std::env::temp_dir())
}

fn scratch_in(folder: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("flamepipe-")
        .tempdir_in(folder)
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
        let from = folder.path().join("from");
        let path = folder.path().join("to");
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
