//! Tracks processes: when they began, and who runs them while they are there.
//!
//! A JIT's map is a file in `/tmp`, which anybody may leave there. [`JitProcess`] uses these facts
//! to recognise the right one.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::perf_data::Reader;
use crate::symbols::{Folders, JitProcess};

/// Every process that was seen.
#[derive(Default)]
pub(crate) struct Processes {
    known: HashMap<u32, Known>,
    /// When the recording began, on its own clock.
    first: Option<u64>,
    wall: Option<Wall>,
    /// The processes are being recorded, so they still run.
    live: bool,
    folders: Folders,
}

#[derive(Default)]
struct Known {
    /// When it executed its program or was forked, on the recording's clock, if that was recorded.
    began: Option<u64>,
    seen: JitProcess,
}

impl Processes {
    pub(crate) fn new(live: bool) -> Processes {
        Processes { live, ..Processes::default() }
    }

    /// Notes that process `pid` has a record of this `time`.
    pub(crate) fn see(&mut self, pid: u32, time: Option<u64>) {
        if self.first.is_none() {
            self.first = time.filter(|&time| time > 0);
        }
        if !self.known.contains_key(&pid) {
            self.look(pid);
        }
    }

    /// Notes that process `pid` started, or started another program, at `time`.
    pub(crate) fn begins(&mut self, pid: u32, time: Option<u64>) {
        self.look(pid);
        if let Some(known) = self.known.get_mut(&pid) {
            known.began = time.filter(|&time| time > 0);
        }
    }

    /// Notes the number that process `pid` has in its own PID namespace.
    pub(super) fn call(&mut self, pid: u32, inner: u32) {
        let known = self.known.entry(pid).or_default();
        known.seen.pid = pid;
        known.seen.inner = Some(inner);
    }

    /// Forgets a process that is gone.
    pub(super) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// How many processes are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn look(&mut self, pid: u32) {
        let known = self.known.entry(pid).or_default();
        known.seen.pid = pid;
        known.seen.inner = None;
        if self.live {
            known.seen.observe(&mut self.folders);
        }
    }

    /// Notes the clock of the recording once it is known.
    pub(crate) fn learn(&mut self, reader: &Reader) {
        if self.wall.is_none() {
            self.wall = Wall::of(reader);
        }
    }

    /// The facts about `pid` that are known.
    pub(crate) fn get(&self, pid: u32) -> JitProcess {
        let known = self.known.get(&pid);
        let mut process = known.map_or_else(|| JitProcess::new(pid), |known| known.seen.clone());
        let began = known.and_then(|known| known.began);
        let wall = self.wall.as_ref();
        process.began = began.zip(wall).and_then(|(began, wall)| wall.earliest(began));
        // It may still run, and can be observed now if it was not while it was recorded.
        let was_there = began.or(self.first).zip(wall).and_then(|(at, wall)| wall.latest(at));
        if process.user.is_none()
            && let Some(start) = started(pid)
            && let Some(then) = was_there
        {
            if start <= then {
                process.observe(&mut Folders::default());
            } else {
                process.ended = start.checked_add(Duration::from_secs(1));
            }
        }
        process
    }
}

/// Converts times of the recording to the wall clock, which files use.
struct Wall {
    /// The wall clock's nanoseconds since 1970 minus those of the recording.
    offset: i128,
    /// How far the result may be off.
    slack: Duration,
}

impl Wall {
    fn of(reader: &Reader) -> Option<Wall> {
        /// Times of files are those of the kernel's last tick.
        const TICK: Duration = Duration::from_millis(20);
        /// The machine's start is known in seconds, and its clocks drift.
        const ABOUT: Duration = Duration::from_secs(2);
        const REALTIME: i32 = 0;
        /// CLOCK_MONOTONIC, _RAW and _BOOTTIME begin when the machine does.
        const SINCE_BOOT: [i32; 3] = [1, 4, 7];
        if let Some(clock) = reader.features().clock {
            let offset = i128::from(clock.wall) - i128::from(clock.time);
            return Some(Wall { offset, slack: TICK });
        }
        let attr = &reader.events().first()?.attr;
        if attr.use_clockid() && attr.clockid == REALTIME {
            return Some(Wall { offset: 0, slack: TICK });
        }
        // The default is the scheduler's clock, which also begins when the machine does.
        let is_since_boot = !attr.use_clockid() || SINCE_BOOT.contains(&attr.clockid);
        let boot = boot_time()?;
        let since = boot.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
        let after_boot = reader.written().is_none_or(|written| u128::from(written) >= since);
        let offset = i128::try_from(since).ok()?;
        (is_since_boot && after_boot && is_of_this_machine(reader))
            .then_some(Wall { offset, slack: ABOUT })
    }

    fn at(&self, time: u64) -> Option<SystemTime> {
        let nanoseconds = u64::try_from(i128::from(time) + self.offset).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
    }

    fn earliest(&self, time: u64) -> Option<SystemTime> {
        self.at(time)?.checked_sub(self.slack)
    }

    fn latest(&self, time: u64) -> Option<SystemTime> {
        self.at(time)?.checked_add(self.slack)
    }
}

fn is_of_this_machine(reader: &Reader) -> bool {
    let Some(name) = &reader.features().hostname else { return false };
    let ours = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    name.as_slice() == ours.trim_ascii()
}

/// When this machine started, to the second.
fn boot_time() -> Option<SystemTime> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// When the process that now has this number started, to the second; `None` if there is none.
fn started(pid: u32) -> Option<SystemTime> {
    /// `USER_HZ` on all architectures that we know.
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let stat = stat.ok()?;
    // `4711 (a name) S 1 …`: the start is the 22nd field, and the name may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    boot_time()?.checked_add(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_A_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_no_older_than_its_last_program() {
        let mut processes = Processes::new(false);
        processes.wall = Some(Wall { offset: 1_000_000_000_000, slack: Duration::from_secs(1) });
        processes.see(7, Some(0));
        assert_eq!(processes.get(7).began, None);
        processes.begins(7, Some(5_000_000_000));
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1004);
        assert_eq!(processes.get(7).began, Some(began));
        assert_eq!((processes.get(8).pid, processes.get(8).began), (8, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_process_tells_when_it_was_started() {
        let boot = boot_time().unwrap();
        let start = started(std::process::id()).unwrap();
        assert!(boot <= start && start <= SystemTime::now() + Duration::from_secs(2));
    }
}
