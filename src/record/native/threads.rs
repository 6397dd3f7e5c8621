//! Reads threads, names and maps that were there before the recording from /proc.

use std::fs;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};

use crate::error::{Error, Result};
use crate::perf_data::{FileId, Mmap};

/// The threads of a process, in order; none if it is gone.
pub(super) fn of(pid: u32) -> Vec<u32> {
    numbers(&PathBuf::from(format!("/proc/{pid}/task")))
}

/// The threads of a process and their names.
pub(super) fn named(pid: u32) -> impl Iterator<Item = Thread> {
    of(pid).into_iter().filter_map(move |tid| Thread::now(pid, tid))
}

pub(super) fn processes() -> Vec<u32> {
    numbers(Path::new("/proc"))
}

fn numbers(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| name(entry.ok()?)).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether a process has ended: it is gone, or its parent has not waited for it yet. A process
/// whose first thread has ended goes on as long as it has another one.
pub(super) fn has_ended(pid: u32) -> bool {
    is_over(&format!("/proc/{pid}/stat")) && running(pid).is_none()
}

/// A thread of `pid` that has not ended: the first one may have.
fn running(pid: u32) -> Option<u32> {
    of(pid).into_iter().find(|tid| !is_over(&format!("/proc/{pid}/task/{tid}/stat")))
}

fn is_over(stat: &str) -> bool {
    // `4711 (a name) Z 1 …`: the name may hold anything, parentheses too.
    let stat = fs::read(stat).unwrap_or_default();
    let state = stat.rsplit_once_str(") ").and_then(|(_, rest)| rest.first().copied());
    matches!(state, None | Some(b'Z' | b'X'))
}

/// The process that a thread belongs to: its own number, if the thread is the first one. `None` if
/// there is no such thread.
pub(super) fn process_of(tid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(b"Tgid:"))?;
    line.trim().to_str().ok()?.parse().ok()
}

/// A field of `/proc/PID/stat` behind the name: 1 is the parent, 3 the session.
fn field(pid: u32, at: usize) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once_str(") ")?;
    rest.split_str(" ").nth(at)?.to_str().ok()?.parse().ok()
}

/// The processes in the sessions that `leaders` began. A program that goes to the background begins
/// one.
pub(super) fn in_sessions(leaders: &[u32]) -> Vec<u32> {
    let is_in = |pid: &u32| field(*pid, 3).is_some_and(|id| id > 0 && leaders.contains(&id));
    processes().into_iter().filter(is_in).collect()
}

/// The running children of `pids`, their children, and so on, without `pids` themselves.
pub(super) fn descendants(pids: &[u32]) -> Vec<u32> {
    let parent = |pid: &u32| field(*pid, 1);
    let all: Vec<(u32, u32)> =
        processes().into_iter().filter_map(|pid| Some((pid, parent(&pid)?))).collect();
    let mut found: Vec<u32> = Vec::new();
    // A child can have a lower number than its parent, so we look again until nothing is new.
    loop {
        let is_known = |pid: &u32| pids.contains(pid) || found.contains(pid);
        let new: Vec<u32> = all
            .iter()
            .filter(|(pid, parent)| is_known(parent) && !is_known(pid))
            .map(|&(pid, _)| pid)
            .collect();
        if new.is_empty() {
            found.sort_unstable();
            return found;
        }
        found.extend(new);
    }
}

/// Checks that there is such a process.
pub(super) fn check(pid: u32) -> Result<()> {
    if has_ended(pid) {
        return Err(Error::NoProcess(pid));
    }
    Ok(())
}

pub(super) struct Thread {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) comm: Vec<u8>,
    /// Just after the FORK record that gives it its creator's name, in nanoseconds; 0 if there is
    /// none.
    pub(super) forked: u64,
}

impl Thread {
    /// A thread with its present name, if it is still there.
    pub(super) fn now(pid: u32, tid: u32) -> Option<Thread> {
        let comm = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
        Some(Thread { pid, tid, comm: comm.trim_end_with(|c| c == '\n').to_vec(), forked: 0 })
    }
}

/// Calls `each` for every executable map of `pid`, or for every map if `data_maps`. A process that
/// is gone has none.
pub(super) fn maps(
    pid: u32,
    data_maps: bool,
    mut each: impl FnMut(&Mmap<'_>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    // A thread that has ended shows no maps, even if it was the first one of a process that goes
    // on.
    let tid = running(pid).unwrap_or(pid);
    let maps = fs::read(format!("/proc/{pid}/task/{tid}/maps")).unwrap_or_default();
    let maps = maps.lines().filter_map(|line| parse(pid, line));
    maps.filter(|mmap| mmap.executable || data_maps).try_for_each(|mmap| each(&mmap))
}

/// A line of maps: `7f1c2a000000-7f1c2a028000 r-xp 00028000 fe:00 131127   /usr/lib/libc.so.6`.
fn parse(pid: u32, line: &[u8]) -> Option<Mmap<'_>> {
    let mut words = line.splitn_str(6, " ");
    let (start, end) = words.next()?.split_once_str("-")?;
    let start = hex(start)?;
    let end = hex(end)?;
    let access = words.next()?;
    let offset = hex(words.next()?)?;
    let (major, minor) = words.next()?.split_once_str(":")?;
    let inode = words.next()?.to_str().ok()?.parse().ok()?;
    let bit =
        |at: usize, bit: u32| if access.get(at).is_some_and(|c| *c != b'-') { bit } else { 0 };
    let prot = bit(0, 1) | bit(1, 2) | bit(2, 4);
    let path = words.next().unwrap_or_default().trim_start();
    Some(Mmap {
        pid,
        tid: pid,
        start,
        len: end.checked_sub(start)?,
        offset,
        file: FileId::Inode {
            major: hex(major)? as u32,
            minor: hex(minor)? as u32,
            inode,
            generation: 0,
        },
        prot: Some(prot),
        flags: Some(if access.get(3) == Some(&b's') { 1 } else { 2 }),
        executable: prot & 4 != 0,
        mode: crate::perf_data::CpuMode::User,
        // A map without a name is anonymous memory, such as a JIT's.
        path: if path.is_empty() { BStr::new("//anon") } else { path.as_bstr() },
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(digits.to_str().ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let line =
            b"7f00-7f10 r-xp 00001000 fe:01 42                         /usr/lib/a b.so (deleted)";
        let mmap = parse(7, line).unwrap();
        assert_eq!((mmap.start, mmap.len, mmap.offset, mmap.prot), (0x7f00, 0x10, 0x1000, Some(5)));
        assert_eq!(mmap.path, "/usr/lib/a b.so (deleted)");
        let inode = FileId::Inode { major: 0xfe, minor: 1, inode: 42, generation: 0 };
        assert_eq!((mmap.file, mmap.flags), (inode, Some(2)));
        assert_eq!(parse(7, b"7f00-7f10 rwxp 00000000 00:00 0 ").unwrap().path, "//anon");
        assert!(!parse(7, b"7f00-7f10 rw-p 00000000 00:00 0").unwrap().executable);
        assert!(parse(7, b"nonsense").is_none());
    }

    #[test]
    fn we_are_there() {
        let pid = std::process::id();
        assert!(of(pid).contains(&pid) && processes().contains(&pid) && !has_ended(pid));
        assert_eq!((process_of(pid), process_of(0)), (Some(pid), None));
        assert!(has_ended(0) && of(0).is_empty() && check(0).is_err());
        // A session that began outside of our process namespace has the number 0 and does not
        // count.
        let session = field(pid, 3).unwrap();
        assert_eq!(in_sessions(&[session]).contains(&pid), session > 0);
        assert!(in_sessions(&[]).is_empty());
    }
}
