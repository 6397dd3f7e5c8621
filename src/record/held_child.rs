//! Runs a workload as our own child while its profiler runs as root.
//!
//! `sudo perf record CMD` would run CMD as root, without its environment. So we fork the workload
//! ourselves and hold it before its exec. A privileged perf attaches to it and says through its
//! control FIFO that it is ready; then the workload goes. Only perf is privileged, and we get the
//! workload's status from the workload itself.
//!
//! ```text
//!  fork ─▶ held … exec ───── workload ───── exit
//!  sudo perf -p PID ──▶ ack ┘                └──▶ stop
//! ```
#![expect(unsafe_code, reason = "the moment between fork and exec; mkfifo(3)")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::child::{self, Exit, Stdout};
use super::native::Helper;
use super::signals::{self, Signals, Whom};
use super::{Config, scratch, scratch_in};
use crate::error::{Error, Result};

/// A process that is forked and waits to become its program.
pub(super) struct HeldChild {
    pid: u32,
    gate: PipeWriter,
    /// `spawn` returns when the program has begun.
    spawning: JoinHandle<io::Result<Child>>,
    spawner: Arc<Helper>,
}

impl HeldChild {
    pub(super) fn new(mut command: Command) -> io::Result<HeldChild> {
        let (gate_reader, gate) = io::pipe()?;
        let (mut pid_reader, pid_writer) = io::pipe()?;
        let gate_fd = gate.as_raw_fd();
        let ignore_again = signals::ignore_again();
        let wait = move || {
            // SAFETY: the fork's own copy of a descriptor that only its parent uses. Left open, it
            // would hide the parent's end from the fork.
            unsafe { libc::close(gate_fd) };
            ignore_again();
            wait_at(&gate_reader, &pid_writer)
        };
        // SAFETY: it closes, ignores signals, asks for its number, writes and reads: all allowed
        // between fork and exec.
        unsafe { command.pre_exec(wait) };
        let spawner = Arc::new(Helper::default());
        let entering = spawner.clone();
        let spawning = thread::Builder::new().spawn(move || {
            entering.enter();
            command.spawn()
        })?;
        let mut pid = [0; 4];
        if let Err(error) = pid_reader.read_exact(&mut pid) {
            // Otherwise the fork, if there is one, waits for ever, and the spawner for it.
            drop(gate);
            let failed = spawning.join().ok().and_then(Result::err);
            return Err(failed.unwrap_or(error));
        }
        Ok(HeldChild { pid: u32::from_ne_bytes(pid), gate, spawning, spawner })
    }

    /// Its number, which it keeps as the program.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it go. Dropping it instead ends it.
    pub(super) fn release(mut self) -> io::Result<Child> {
        // A real-time program could keep the spawner from saying that it has begun.
        self.spawner.put_first(true);
        self.gate.write_all(b"!")?;
        self.spawning.join().map_err(|_| io::ErrorKind::Other)?
    }
}

/// Writes the number of the fork, in which it runs, and then waits for one byte. The end of the
/// pipe ends the fork silently, because nobody listens any more.
fn wait_at(mut gate: &PipeReader, mut number: &PipeWriter) -> io::Result<()> {
    number.write_all(&std::process::id().to_ne_bytes())?;
    if gate.read_exact(&mut [0]).is_err() {
        // SAFETY: it ends the fork and nothing else, which is allowed here.
        unsafe { libc::_exit(1) };
    }
    Ok(())
}

/// Runs `command` under the profiler whose command line is `line(PID, FIFOs)`. It gets `FIFOs` as
/// perf's `--control=fifo:`.
pub(super) fn run(
    command: &[OsString],
    config: &Config,
    stdout: Stdout<'_>,
    remedy: &str,
    line: impl FnOnce(u32, &str) -> Result<Vec<OsString>>,
) -> Result<Exit> {
    let workload = child::command(command, config, stdout.for_workload())?;
    let name = command.first().cloned().unwrap_or_default();
    let cannot = |source| Error::Spawn {
        program: name.to_string_lossy().into_owned(),
        source,
        remedy: String::new(),
    };
    let mut signals = Signals::catch();
    let held = HeldChild::new(workload).map_err(cannot)?;
    let pid = held.pid;
    // A comma parts the names of the FIFOs.
    let has_comma = std::env::temp_dir().as_os_str().as_bytes().contains(&b',');
    let folder = if has_comma { scratch_in(Path::new("/tmp"))? } else { scratch()? };
    let control = folder.path().join("control");
    let ack = folder.path().join("ack");
    let fifos = fifo(&control).and_then(|control| Ok((control, fifo(&ack)?)));
    let (control_file, ack_file) = fifos.map_err(Error::io(|| "cannot create a FIFO"))?;
    let line = line(pid, &format!("{},{}", control.display(), ack.display()))?;
    let mut profiler = child::spawn(&line, &Config::default(), &stdout, remedy)?;
    signals.forward_to(pid, Whom::Workload);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = || guide(held, control_file, ack_file, &over);
        let guide = match thread::Builder::new().spawn_scoped(scope, work) {
            Ok(guide) => guide,
            Err(error) => {
                signals::end(profiler.id());
                let _ = profiler.wait();
                return Err(Error::io(|| "cannot start a thread")(error));
            }
        };
        let copied = child::drain(&mut profiler, stdout, || signals::end(pid));
        let status = profiler.wait();
        over.store(true, Ordering::SeqCst);
        let workload = guide.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        let status = status.map_err(Error::io(|| "cannot wait for the recorder"))?;
        let workload = workload.map_err(cannot)?;
        let streamed = copied.map_err(Error::io(|| "cannot write the recording"))?;
        Ok(Exit { status, workload, signal: signals.seen(), streamed })
    })
}

/// Releases the workload when the profiler is ready, and stops the profiler when the workload has
/// ended. `None` if the profiler ended before it was ready: then the workload has not begun.
fn guide(
    held: HeldChild,
    mut control: File,
    mut ack: File,
    over: &AtomicBool,
) -> io::Result<Option<ExitStatus>> {
    control.write_all(b"ping\n")?;
    // perf answers `ack\n` and a zero byte.
    while !ack.read(&mut [0; 16]).is_ok_and(|read| read > 0) {
        if over.load(Ordering::SeqCst) {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
    let begun = held.release();
    let ended = begun.and_then(|mut child| child.wait());
    // Like perf, we do not record what the workload leaves in the background.
    control.write_all(b"stop\n")?;
    ended.map(Some)
}

/// A FIFO that is open at both ends, so that neither side waits for the other or sees its end.
fn fifo(path: &Path) -> io::Result<File> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a string that ends in zero, and a number.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> HeldChild {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        HeldChild::new(command).unwrap()
    }

    #[test]
    fn it_waits_for_its_release() {
        let folder = scratch().unwrap();
        let path = folder.path().join("begun");
        let held = shell(&format!("echo $$ > {}; exit 5", path.display()));
        let pid = held.pid;
        // It sleeps, and is still a copy of us.
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        while !state().contains(") S ") {
            thread::yield_now();
        }
        let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(program(&pid.to_string()), program("self"));
        assert!(!path.exists());
        let status = held.release().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(5));
        assert_eq!(std::fs::read_to_string(path).unwrap().trim(), pid.to_string());
    }

    #[test]
    fn it_ends_if_it_is_dropped() {
        let HeldChild { gate, spawning, .. } = shell("exit 0");
        drop(gate);
        assert_eq!(spawning.join().unwrap().unwrap().wait().unwrap().code(), Some(1));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let held = HeldChild::new(Command::new("./no-such-program")).unwrap();
        assert_eq!(held.release().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
