//! Advises users whose graph will show little of their workload, one line each.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::{frame_pointers, sys, threads};

/// The kernel stops recording a process when it becomes a program that its user may not look into.
pub(super) fn of_program(program: &OsStr) -> Option<String> {
    let path = frame_pointers::find(program)?;
    let user = sys::user();
    if user == 0 {
        return None;
    }
    let why = hidden(&path, user)?;
    Some(format!(
        "{} {why}, so the kernel does not let you record it, and the graph will lack it: use \
         --root --per-cpu",
        path.display()
    ))
}

/// Why `user`, who is not root, cannot record the program at `path`.
fn hidden(path: &Path, user: u32) -> Option<&'static str> {
    const SET_USER: u32 = 0o4000;
    // Without the group's right to execute, the bit means something else.
    const SET_GROUP: u32 = 0o2010;
    let file = path.metadata().ok()?;
    if file.mode() & SET_USER != 0 && file.uid() != user {
        Some("runs as another user (set-user-ID)")
    } else if file.mode() & SET_GROUP == SET_GROUP && file.gid() != sys::group() {
        Some("runs as another group (set-group-ID)")
    } else if sys::has_capabilities(path) {
        Some("has capabilities that you do not have")
    } else if std::fs::File::open(path).is_err() {
        Some("is a program that you may run but not read")
    } else {
        None
    }
}

/// The command has ended, but not all that it started. Programs that go to the background are
/// recorded only up to that point.
pub(super) fn of_rest(started: impl IntoIterator<Item = u32>) -> Option<String> {
    let started: Vec<u32> = started.into_iter().collect();
    let mut running = started.clone();
    // The record of its last fork may have come too late.
    running.extend(threads::in_sessions(&started));
    running.sort_unstable();
    running.dedup();
    running.retain(|&pid| !threads::has_ended(pid));
    let &first = running.first()?;
    let name = threads::Thread::now(first, first)?.comm;
    let name = String::from_utf8_lossy(&name).into_owned();
    let (who, verb) = match running.len() {
        1 => (format!("process {first} ({name})"), "runs"),
        more => (format!("{more} processes, such as {first} ({name}),"), "run"),
    };
    let pids: Vec<String> = running.iter().take(20).map(u32::to_string).collect();
    Some(format!(
        "the command has ended, but {who} that it started still {verb}: the graph shows only what \
         came before; record the rest with -p {}",
        pids.join(",")
    ))
}

/// A workload that hardly ran was waiting for something, which processor time does not show.
pub(super) fn of_idle(used: Duration, recorded: Duration) -> Option<String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    if recorded < SHORTEST || used * 20 > recorded {
        return None;
    }
    Some(format!(
        "the workload ran for {:.2} of {:.1} seconds and waited the rest of the time, which the \
         graph does not show: use --off-cpu to record where",
        used.as_secs_f64(),
        recorded.as_secs_f64()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_that_nobody_may_look_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "").unwrap();
        let owner = path.metadata().unwrap().uid();
        for (mode, user, expected) in [
            (0o4755, owner + 1, Some("set-user-ID")),
            (0o4755, owner, None),
            (0o755, owner + 1, None),
        ] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let why = hidden(&path, user);
            assert_eq!(why.is_some(), expected.is_some(), "{mode:o}: {why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
        assert_eq!(hidden(&folder.path().join("none"), owner), None);
    }

    #[test]
    fn idle_workloads_are_those_that_hardly_run() {
        let of =
            |used, recorded| of_idle(Duration::from_millis(used), Duration::from_millis(recorded));
        assert!(of(0, 900).is_none() && of(600, 10_000).is_none());
        let said = of(20, 10_000).unwrap();
        assert!(
            said.contains("ran for 0.02 of 10.0 seconds") && said.contains("--off-cpu"),
            "{said}"
        );
    }

    #[test]
    fn who_runs_on_is_named() {
        let us = std::process::id();
        let said = of_rest([us, 0]).unwrap();
        assert!(said.contains(&format!("process {us} (")) && said.ends_with(&format!("-p {us}")));
        assert_eq!(of_rest([0]), None);
    }
}
