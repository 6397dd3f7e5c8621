//! The machine: whether recording works, and the settings of the kernel that it depends on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Finding, Severity};
use crate::lookup;
use crate::record::{Config, Notice, try_out};

const PARANOID: &str = "kernel.perf_event_paranoid";
const KPTR: &str = "kernel.kptr_restrict";
const MLOCK: &str = "kernel.perf_event_mlock_kb";

/// The bits of `CapEff` in /proc/self/status that matter for recording.
const CAPABILITIES: [(u32, &str); 4] =
    [(19, "SYS_PTRACE"), (21, "SYS_ADMIN"), (34, "SYSLOG"), (38, "PERFMON")];

/// Less room than this is soon filled by a recording of perf, which writes 64 KB per sample.
const LITTLE_ROOM_MB: u64 = 1024;

pub(super) fn examine() -> Vec<Finding> {
    let recording = recording();
    let works = recording.severity == Severity::Ok;
    let mut findings = vec![recording];
    if cfg!(target_os = "linux") {
        let setting = |name: &str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::read_to_string(path).ok()?.trim().parse::<i64>().ok()
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let held = capabilities(&status);
        findings.extend(setting(PARANOID).map(|value| paranoid(value, &held)));
        findings.extend(setting(KPTR).map(|value| kernel_names(value, &held)));
        findings.extend(setting(MLOCK).map(|kb| {
            Finding::ok(MLOCK, format!("{kb} KB of ring buffers per CPU may be locked in memory"))
        }));
        findings.push(privileges(&held));
        findings.extend(container(&status, works));
        findings.push(perf());
    }
    findings.extend(room());
    findings
}

/// Records a program that ends at once.
fn recording() -> Finding {
    let subject = "recording";
    let mut changes = Vec::new();
    let mut tell = |notice: Notice<'_>| {
        if let Notice::Change(change) = notice {
            changes.push(change.to_owned());
        }
    };
    match try_out(&Config::default(), &mut tell) {
        Err(error) => {
            Finding::error(subject, error.to_string(), error.remedy().unwrap_or_default())
        }
        Ok(()) if changes.is_empty() => Finding::ok(subject, "works"),
        Ok(()) => Finding::ok(subject, format!("works, with a change: {}", changes.join("; "))),
    }
}

/// The capabilities that matter and that we have.
fn capabilities(status: &str) -> Vec<&'static str> {
    let effective = field(status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let effective = effective.unwrap_or(0);
    let held = CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) != 0);
    held.map(|(_, name)| *name).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn may_do_all(held: &[&str]) -> bool {
    held.contains(&"SYS_ADMIN") || held.contains(&"PERFMON")
}

fn paranoid(value: i64, held: &[&str]) -> Finding {
    let set = "sudo sysctl kernel.perf_event_paranoid=1";
    if may_do_all(held) {
        return Finding::ok(PARANOID, format!("{value}, which does not apply to you"));
    }
    match value {
        ..=-1 => Finding::ok(PARANOID, format!("{value}: everything may be recorded")),
        0 | 1 => Finding::ok(PARANOID, format!("{value}: your programs and the kernel below them")),
        2 => {
            let what =
                "2: functions of the kernel are not recorded, and -a and --off-cpu are refused";
            Finding::note(PARANOID, what, set)
        }
        _ => Finding::note(PARANOID, format!("{value}: only root may record"), set),
    }
}

fn kernel_names(value: i64, held: &[&str]) -> Finding {
    let is_hidden = value >= 2 || (value == 1 && !held.contains(&"SYSLOG"));
    if !is_hidden {
        return Finding::ok(KPTR, format!("{value}: functions of the kernel have names"));
    }
    let what = format!("{value}: functions of the kernel have no names");
    Finding::note(KPTR, what, "sudo sysctl kernel.kptr_restrict=0")
}

fn privileges(held: &[&str]) -> Finding {
    let subject = "capabilities";
    if may_do_all(held) {
        return Finding::ok(subject, held.join(", "));
    }
    let can_raise = lookup::find("sudo".as_ref()).is_ok();
    let how = if can_raise { "sudo is there, for --root" } else { "sudo is not there, for --root" };
    Finding::ok(subject, format!("none that are needed to record other users' processes; {how}"))
}

/// Whether a container or a filter of system calls may forbid recording.
fn container(status: &str, works: bool) -> Option<Finding> {
    let groups = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let is_container = marks.iter().any(|mark| Path::new(mark).exists())
        || ["docker", "kubepods", "lxc", "containerd"].iter().any(|name| groups.contains(name));
    let is_filtered = field(status, "Seccomp") == Some("2");
    if !is_container && !is_filtered {
        return None;
    }
    let place = if is_container { "this is a container" } else { "system calls are filtered" };
    if works {
        return Some(Finding::ok("container", format!("{place}, but recording is allowed")));
    }
    Some(Finding::note(
        "container",
        format!("{place}, which may forbid perf_event_open"),
        "docker run --cap-add PERFMON --security-opt seccomp=unconfined",
    ))
}

fn perf() -> Finding {
    let subject = "perf";
    let adds = "it is needed only for -c, --backend perf and groups of events";
    let Ok(path) = lookup::find("perf".as_ref()) else {
        return Finding::ok(subject, format!("not installed; {adds}"));
    };
    let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Finding::ok(subject, format!("{version}; {adds}"))
        }
        _ => Finding::note(
            subject,
            format!("{} does not run; {adds}", path.display()),
            "install the perf that belongs to this kernel, or do without it",
        ),
    }
}

/// The room for recordings here, as `df` says it.
fn room() -> Option<Finding> {
    let df = Command::new("df").args(["-Pk", "."]).stdin(Stdio::null()).output().ok()?;
    let mb = free_mb(&String::from_utf8_lossy(&df.stdout))?;
    let what = format!("{mb} MB free in this folder");
    Some(if mb < LITTLE_ROOM_MB {
        Finding::note("disk", what, "keep recordings elsewhere: --keep and -o take any path")
    } else {
        Finding::ok("disk", what)
    })
}

fn free_mb(df: &str) -> Option<u64> {
    df.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok().map(|kb| kb / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_mean_what_the_kernel_does() {
        for (value, held, severity) in [
            (4, &[][..], Severity::Note),
            (2, &[], Severity::Note),
            (1, &[], Severity::Ok),
            (-1, &[], Severity::Ok),
            (4, &["PERFMON"], Severity::Ok),
        ] {
            assert_eq!(paranoid(value, held).severity, severity, "{value} {held:?}");
        }
        assert_eq!(kernel_names(1, &["SYSLOG"]).severity, Severity::Ok);
        assert_eq!(kernel_names(1, &[]).severity, Severity::Note);
        assert_eq!(kernel_names(2, &["SYSLOG"]).severity, Severity::Note);
        assert_eq!(kernel_names(0, &[]).severity, Severity::Ok);
    }

    #[test]
    fn capabilities_are_read_from_their_bits() {
        assert_eq!(capabilities("Name:\tx\nCapEff:\t0000004000000000\n"), ["PERFMON"]);
        assert_eq!(capabilities("CapEff:\t000001ffffffffff\n").len(), 4);
        assert_eq!(capabilities(""), [""; 0]);
    }

    #[test]
    fn filtered_system_calls_are_told() {
        let found = |works| container("Seccomp:\t2\n", works).unwrap();
        assert!(found(false).remedy.unwrap().contains("--cap-add PERFMON"));
        assert_eq!(found(true).severity, Severity::Ok);
    }

    #[test]
    fn the_room_is_the_fourth_column() {
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda 4096 1024 2048 34% /\n";
        assert_eq!(free_mb(df), Some(2));
        assert_eq!(free_mb("df: x"), None);
    }
}
