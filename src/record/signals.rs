//! SIGINT and SIGTERM on their way to a child.
//!
//! A terminal's Ctrl-C reaches us, the profiler and the workload at once, because all are in its
//! foreground process group. `kill` reaches us alone. A profiler takes SIGINT for the end of the
//! recording, so we forward every SIGINT and SIGTERM to it as SIGINT. If that does not end it, a
//! second one kills the workload, whose end the profiler still records; a third kills the profiler.

#[cfg(not(unix))]
pub(super) use elsewhere::{Signals, end};
#[cfg(unix)]
#[cfg(target_os = "linux")]
pub(super) use unix::send;
#[cfg(unix)]
pub(super) use unix::{Signals, end};

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
    #![expect(unsafe_code, reason = "kill(2)")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};
    use signal_hook::{SigId, flag, iterator, low_level};

    use super::Whom;

    /// Signals that are caught, and forwarded once there is somebody to forward them to.
    pub(in super::super) struct Signals {
        caught: Option<iterator::Signals>,
        handle: Option<iterator::Handle>,
        /// The handler itself sets it, so it is true before the child that got the same signal has
        /// ended.
        seen: Arc<AtomicBool>,
        flags: Vec<SigId>,
    }

    impl Signals {
        /// Catches signals from now on. If the system refuses, they act on us as usual.
        pub(in super::super) fn catch() -> Signals {
            let seen = Arc::new(AtomicBool::new(false));
            let flag = |signal| flag::register(signal, Arc::clone(&seen)).ok();
            let flags = [SIGINT, SIGTERM].into_iter().filter_map(flag).collect();
            let caught = iterator::Signals::new([SIGINT, SIGTERM]).ok();
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

        /// Whether a signal has come.
        pub(in super::super) fn seen(&self) -> bool {
            self.seen.load(Ordering::SeqCst)
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

        pub(in super::super) fn seen(&self) -> bool {
            false
        }
    }

    pub(in super::super) fn end(_: u32) {}
}
