//! Signals that end a recording, on their way to a child.
//!
//! A terminal's Ctrl-C reaches us, the profiler and the workload at once, because all are in its
//! foreground process group. `kill` reaches us alone. A profiler takes SIGINT for the end of the
//! recording, so we forward every signal to it as SIGINT. If that does not end it, a second one
//! kills the workload, whose end the profiler still records; a third kills the profiler.
//!
//! A closed terminal (SIGHUP), Ctrl-\ (SIGQUIT) and the signals of users end a recording as SIGTERM
//! does. `nohup` has us ignore SIGHUP, and a shell without job control has what it starts in the
//! background ignore SIGINT and SIGQUIT. We catch SIGINT and SIGTERM all the same, because scripts
//! end recordings by them, but the workload ignores what it would ignore without us.

#[cfg(not(unix))]
pub(super) use elsewhere::{Signals, end};
#[cfg(unix)]
pub(crate) use unix::ending;
#[cfg(unix)]
pub(super) use unix::{Signals, end};
#[cfg(target_os = "linux")]
pub(super) use unix::{ignore_again, ignoring_shell, note, noted, send};

/// The process that signals are forwarded to.
#[derive(Clone, Copy)]
pub(super) enum Whom {
    /// A profiler, whose child is the workload.
    Profiler,
    /// The workload, whose end ends the profiler.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "perf's alone"))]
    Workload,
}

#[cfg(unix)]
mod unix {
    #![expect(unsafe_code, reason = "kill(2), sigaction(2), signal(2)")]

    #[cfg(target_os = "linux")]
    use std::ffi::OsString;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::{SigId, flag, iterator, low_level};

    use super::Whom;

    /// These are caught even if we were started with them ignored.
    const ALWAYS: [i32; 2] = [SIGINT, SIGTERM];

    /// The signals that end a recording, or any other work.
    ///
    /// It must be called before the first of them is caught.
    pub(crate) fn ending() -> Vec<i32> {
        let others = [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];
        let others = others.into_iter().filter(|signal| !ignored().contains(signal));
        ALWAYS.into_iter().chain(others).collect()
    }

    /// The signals that we were started with to ignore.
    fn ignored() -> &'static [i32] {
        static IGNORED: OnceLock<Vec<i32>> = OnceLock::new();
        IGNORED.get_or_init(|| {
            let mut signals = vec![SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];
            signals.retain(|&signal| is_ignored(signal));
            signals
        })
    }

    /// A shell's command line that runs the words behind it, and ignores the signals that we were
    /// started with to ignore. Empty if there are none.
    ///
    /// perf catches some signals, and so its workload would get the usual ones.
    #[cfg(target_os = "linux")]
    pub(in super::super) fn ignoring_shell() -> Vec<OsString> {
        let numbers: Vec<String> = ignored().iter().map(i32::to_string).collect();
        if numbers.is_empty() {
            return Vec::new();
        }
        let script = format!("trap '' {}; exec \"$@\"", numbers.join(" "));
        ["sh", "-c", &script, "sh"].map(OsString::from).into()
    }

    fn is_ignored(signal: i32) -> bool {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action the call only fills in the struct, for which zeros are
        // valid.
        let action = unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        action.sa_sigaction == libc::SIG_IGN
    }

    /// Makes a workload ignore what it would ignore without us: at an exec, signals that are caught
    /// become usual ones. The answer is to be called between fork and exec.
    #[cfg(target_os = "linux")]
    pub(in super::super) fn ignore_again() -> impl Fn() {
        let ignored = ignored();
        move || {
            for &signal in ignored {
                // SAFETY: two numbers; allowed between fork and exec.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
        }
    }

    /// Catches signals, and forwards them once there is a process to forward them to.
    pub(in super::super) struct Signals {
        caught: Option<iterator::Signals>,
        handle: Option<iterator::Handle>,
        /// The signal that came, or 0. The handler itself sets it, so it is set before the child
        /// that got the same signal has ended.
        seen: Arc<AtomicUsize>,
        flags: Vec<SigId>,
    }

    impl Signals {
        /// Catches signals from now on. If the system refuses, they act on us as usual.
        pub(in super::super) fn catch() -> Signals {
            let seen = Arc::default();
            let flag = |signal| note(signal, &seen).ok();
            let flags = ending().into_iter().filter_map(flag).collect();
            let caught = iterator::Signals::new(ending()).ok();
            Signals { caught, handle: None, seen, flags }
        }

        /// Forwards signals to `pid`, also those that were caught before.
        pub(in super::super) fn forward_to(&mut self, pid: u32, whom: Whom) {
            let Some(mut caught) = self.caught.take() else { return };
            let handle = caught.handle();
            let forward = move || {
                for (nth, _) in caught.forever().enumerate() {
                    match (nth, whom) {
                        (0, _) => end(pid),
                        (1, Whom::Profiler) => kill_workload(pid),
                        _ => send(pid, SIGKILL),
                    }
                }
            };
            let thread = std::thread::Builder::new().name("recorder".into()).spawn(forward);
            self.handle = thread.is_ok().then_some(handle);
        }

        /// The last signal that has come.
        pub(in super::super) fn seen(&self) -> Option<i32> {
            noted(&self.seen)
        }
    }

    impl Drop for Signals {
        fn drop(&mut self) {
            if let Some(handle) = &self.handle {
                handle.close();
            }
            for flag in self.flags.drain(..) {
                low_level::unregister(flag);
            }
        }
    }

    /// Writes `signal` into `seen` whenever it comes.
    pub(in super::super) fn note(signal: i32, seen: &Arc<AtomicUsize>) -> io::Result<SigId> {
        flag::register_usize(signal, Arc::clone(seen), usize::try_from(signal).unwrap_or(0))
    }

    /// The last signal that was noted.
    pub(in super::super) fn noted(seen: &AtomicUsize) -> Option<i32> {
        i32::try_from(seen.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }

    /// Asks a process to end.
    pub(in super::super) fn end(pid: u32) {
        send(pid, SIGINT);
    }

    /// Kills the workload of the profiler `pid`, or the profiler itself if it has none.
    fn kill_workload(pid: u32) {
        // The main thread is the one that forks.
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let list = list.unwrap_or_default();
        let children: Vec<u32> =
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if children.is_empty() {
            send(pid, SIGKILL);
        }
        children.into_iter().for_each(|child| send(child, SIGKILL));
    }

    /// Sends a signal, which does nothing if the process is gone.
    pub(in super::super) fn send(pid: u32, signal: i32) {
        if let Ok(pid @ 1..) = libc::pid_t::try_from(pid) {
            // SAFETY: kill takes two numbers. It does no harm if the process is gone.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

/// Without signals, Ctrl-C ends all processes, and a child notices that its stream was closed.
#[cfg(not(unix))]
mod elsewhere {
    pub(in super::super) struct Signals;

    impl Signals {
        pub(in super::super) fn catch() -> Signals {
            Signals
        }

        pub(in super::super) fn forward_to(&mut self, _: u32, _: super::Whom) {}

        pub(in super::super) fn seen(&self) -> Option<i32> {
            None
        }
    }

    pub(in super::super) fn end(_: u32) {}
}
