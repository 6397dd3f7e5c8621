//! Why the kernel refuses an event, and what would help.

use std::io;
use std::path::Path;

use crate::error::Error;

pub(super) const PARANOID: &str = "kernel.perf_event_paranoid";

/// The value of a kernel setting.
pub(super) fn setting(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    Some(text.trim().to_owned())
}

pub(super) fn paranoid() -> Option<String> {
    setting("kernel/perf_event_paranoid")
}

/// What cannot be opened: the setting as it is, what it costs, and the least that would do.
pub(super) fn refused(event: &str, error: io::Error) -> Error {
    let unsupported =
        |what: String, remedy: &str| Error::Unsupported { what, remedy: remedy.into() };
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let level = paranoid().unwrap_or_else(|| "unreadable".into());
            let number: i32 = level.parse().unwrap_or(2);
            if number > 2 {
                unsupported(
                    format!("only root may record, because {PARANOID} is {level}"),
                    "allow your own programs with `sudo sysctl kernel.perf_event_paranoid=2` (1 adds the kernel, -1 \
                     everything), or record with --root",
                )
            } else {
                unsupported(
                    format!("the kernel refuses to record {event}: {PARANOID} is {level}"),
                    "other users' processes, whole machines and tracepoints need --root or `sudo sysctl \
                     kernel.perf_event_paranoid=-1`; a container needs the capability PERFMON and a seccomp profile that \
                     allows perf_event_open",
                )
            }
        }
        Some(libc::EMFILE | libc::ENFILE) => unsupported(
            "too many open files: each thread needs one for each CPU and event".into(),
            "raise the limit with `ulimit -n` as root, or record fewer processes",
        ),
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => unsupported(
            format!("this machine cannot count {event}"),
            "virtual machines often have no hardware events; cpu-clock always works",
        ),
        Some(libc::ENOSYS) => unsupported(
            "this kernel has no perf_event_open".into(),
            "use a kernel with CONFIG_PERF_EVENTS",
        ),
        _ => Error::Io { doing: format!("cannot record {event}"), source: error },
    }
}

/// A switch happens in the kernel: events that leave it out count none, so that nothing would be recorded.
pub(super) fn without_switches() -> Error {
    Error::Unsupported {
        what: format!("--off-cpu needs kernel events, which {PARANOID}=2 forbids"),
        remedy: "allow it with `sudo sysctl kernel.perf_event_paranoid=1`, or record with --root"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_their_remedy() {
        let remedy = |errno| {
            let error = refused("cycles", io::Error::from_raw_os_error(errno));
            error.remedy().map(str::to_owned).unwrap_or_default()
        };
        assert!(remedy(libc::EACCES).contains("sysctl kernel.perf_event_paranoid"));
        assert!(remedy(libc::EMFILE).contains("ulimit -n"));
        assert!(remedy(libc::ENOENT).contains("cpu-clock"));
    }
}
