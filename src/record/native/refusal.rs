//! Explains why the kernel refuses an event, and what would help.

use std::io;

use crate::error::Error;

pub(super) const PARANOID: &str = "kernel.perf_event_paranoid";

/// The error for an event that cannot be opened: why, and the least that would allow it. `paranoid`
/// is the value of the setting.
pub(super) fn refused(event: &str, error: io::Error, paranoid: Option<String>) -> Error {
    let refused = |what: String, remedy: &str| Error::Refused { what, remedy: remedy.into() };
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let level = paranoid.unwrap_or_else(|| "unreadable".into());
            let number: i32 = level.parse().unwrap_or(2);
            if number > 2 {
                refused(
                    format!("only root may record, because {PARANOID} is {level}"),
                    "allow your own programs with `sudo sysctl kernel.perf_event_paranoid=2` (1 \
                     adds the kernel, -1 everything), or record with --root",
                )
            } else {
                refused(
                    format!("the kernel refuses to record {event}: {PARANOID} is {level}"),
                    "other users' processes, whole machines and tracepoints need --root or `sudo \
                     sysctl kernel.perf_event_paranoid=-1`; a container needs the capability \
                     PERFMON and a seccomp profile that allows perf_event_open",
                )
            }
        }
        Some(libc::EMFILE | libc::ENFILE) => refused(
            "too many open files: each thread needs one for each CPU and event".into(),
            "raise the limit with `ulimit -n` as root, or record fewer processes",
        ),
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => refused(
            format!("this machine cannot count {event}"),
            "virtual machines often have no hardware events; cpu-clock always works",
        ),
        Some(libc::ENOSYS) => refused(
            "this kernel has no perf_event_open".into(),
            "use a kernel with CONFIG_PERF_EVENTS",
        ),
        _ => Error::Io { doing: format!("cannot record {event}"), source: error },
    }
}

/// Switches happen in the kernel: an event that leaves it out counts none, so nothing would be
/// recorded.
pub(super) fn without_switches() -> Error {
    Error::Refused {
        what: format!("--off-cpu needs kernel events, which {PARANOID}=2 forbids"),
        remedy: "allow it with `sudo sysctl kernel.perf_event_paranoid=1`, or record with --root"
            .into(),
    }
}
