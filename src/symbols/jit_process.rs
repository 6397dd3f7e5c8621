//! Finds the `/tmp/perf-PID.map` and the jitdump of a process, and decides whether to believe a
//! map.
//!
//! Anybody can write a file of that name, and numbers of processes are reused. So a map must be a
//! plain file, and it must have been written after the process executed its program. Its owner must
//! be the process's user, the reader or root. perf has the same rule of owners
//! (tools/perf/util/symbol.c, "not owned by current user or root").
//!
//! In a PID namespace the process has another number and uses it in the name. In a mount namespace
//! it has its own `/tmp`. Both disappear when the process ends, so [`JitProcess::observe`]
//! remembers them while it runs.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use super::config::rooted;
use super::jitdump::Jitdump;
use super::loader::{Doubt, Loader};
use super::path::file_path;
use super::perf_map::PerfMap;
use crate::mapped::Bytes;

/// Facts about a process that may generate code.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitProcess {
    /// Its number in the recording.
    pub pid: u32,
    /// When it executed its program or was forked. Its map is not older.
    pub began: Option<SystemTime>,
    /// When another process got its number. That one may have written a map since.
    pub ended: Option<SystemTime>,
    /// The user it runs as.
    pub user: Option<u32>,
    /// Its number in its own PID namespace.
    pub inner: Option<u32>,
    /// Its `/tmp`, if it differs from ours.
    pub tmp: Option<Arc<File>>,
}

/// Folders that are open, each once: a container may run thousands of processes.
#[derive(Default)]
pub(crate) struct Folders(HashMap<Option<(u64, u64)>, Weak<File>>);

impl Folders {
    /// The folder, which is closed if it was open already.
    fn share(&mut self, folder: File) -> Arc<File> {
        let number = number_of(&folder);
        if let Some(open) = self.0.get(&number).filter(|_| number.is_some()).and_then(Weak::upgrade)
        {
            return open;
        }
        self.0.retain(|_, folder| folder.strong_count() > 0);
        let folder = Arc::new(folder);
        self.0.insert(number, Arc::downgrade(&folder));
        folder
    }
}

impl JitProcess {
    /// A process with nothing but a number.
    pub(crate) fn new(pid: u32) -> JitProcess {
        JitProcess { pid, ..JitProcess::default() }
    }

    /// Looks at the running process, and remembers the facts that disappear with it.
    pub(crate) fn observe(&mut self, folders: &mut Folders) {
        let proc = PathBuf::from(format!("/proc/{}", self.pid));
        let Some(user) = owner_of(&proc) else { return };
        self.user = Some(user);
        let is_apart = |what| is_apart(&proc, what);
        if is_apart("ns/pid") {
            self.inner = inner_number(&proc);
        }
        if is_apart("ns/mnt") || is_apart("root") {
            self.tmp = File::open(proc.join("root/tmp")).ok().map(|folder| folders.share(folder));
        }
    }

    /// Where the file may be that the process calls `path`, if it has its own `/tmp`; best first.
    pub(super) fn inside(&self, path: &Path) -> Vec<PathBuf> {
        let Some(tmp) = &self.tmp else { return Vec::new() };
        let in_tmp = || Some(open_folder(tmp)?.join(path.strip_prefix("/tmp").ok()?));
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        let in_root = path.strip_prefix("/").map(|path| root.join(path)).ok();
        in_tmp().into_iter().chain(in_root).collect()
    }

    /// Where its map may be, best first.
    fn candidates(&self) -> Vec<PathBuf> {
        let name = |pid: u32| format!("perf-{pid}.map");
        let numbers = || self.inner.into_iter().chain([self.pid]).map(name);
        let mut places = Vec::new();
        if self.tmp.is_some() {
            places.extend(numbers().flat_map(|name| self.inside(&Path::new("/tmp").join(name))));
            // People may have copied the map out of the container, and used the number outside.
            places.push(Path::new("/tmp").join(name(self.pid)));
        } else {
            places.extend(numbers().map(|name| Path::new("/tmp").join(name)));
        }
        places
    }

    /// The map at `path`, or why it is not believed to be that of the process.
    fn open(&self, path: &Path) -> io::Result<Result<Bytes, Doubt>> {
        let kind = std::fs::symlink_metadata(path)?;
        if !kind.is_file() {
            return Ok(Err(Doubt::NoFile));
        }
        let bytes = Bytes::open(path)?;
        let is_stranger = owner(&kind)
            .is_some_and(|owner| owner != 0 && Some(owner) != self.user && Some(owner) != reader());
        if is_stranger {
            return Ok(Err(Doubt::Stranger));
        }
        let written = kind.modified().ok();
        if self.began.zip(written).is_some_and(|(began, written)| written < began) {
            return Ok(Err(Doubt::Older));
        }
        if self.ended.zip(written).is_some_and(|(ended, written)| written > ended) {
            return Ok(Err(Doubt::Newer));
        }
        Ok(Ok(bytes))
    }
}

/// The number by which the running process `pid` names its map in our `/tmp`, if it has another
/// one.
#[cfg(target_os = "linux")]
pub(crate) fn number_in_our_tmp(pid: u32) -> Option<u32> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let tmp = |root: &Path| number_of(&File::open(root.join("tmp")).ok()?);
    let is_ours = || tmp(Path::new("/")).is_some_and(|ours| tmp(&proc.join("root")) == Some(ours));
    let inner = if is_apart(&proc, "ns/pid") { inner_number(&proc) } else { None };
    inner.filter(|&inner| inner != pid && is_ours())
}

/// Whether a process has a link of its own, such as `ns/pid`.
fn is_apart(proc: &Path, what: &str) -> bool {
    let link = |of: &Path| std::fs::read_link(of.join(what)).ok();
    link(proc).is_some_and(|its| link(Path::new("/proc/self")) != Some(its))
}

/// The number of a process in its own PID namespace.
fn inner_number(proc: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(proc.join("status")).ok()?;
    // `NSpid: 4711 1`, outermost first.
    let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    inner.split_whitespace().last()?.parse().ok()
}

/// The path of the map of a process that calls itself `inner`. A recorder writes it into the
/// recording as if it were mapped.
#[cfg(target_os = "linux")]
pub(crate) fn map_of(inner: u32) -> String {
    format!("/tmp/perf-{inner}.map")
}

/// The reverse of [`map_of`].
pub(crate) fn inner_of(path: &[u8]) -> Option<u32> {
    let number = path.strip_prefix(b"/tmp/perf-")?.strip_suffix(b".map")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

impl Loader {
    /// The jitdump that was recorded as `path` in `process`. `None` if it is gone or is none.
    pub(crate) fn jitdump(&self, path: &[u8], process: &JitProcess) -> Option<Jitdump> {
        let path = file_path(path);
        let inside = if self.config().symfs.is_none() { process.inside(&path) } else { Vec::new() };
        let places = inside.into_iter().chain([rooted(self.config(), &path)]);
        let bytes = places.into_iter().find_map(|path| Bytes::open(&path).ok())?;
        Jitdump::read(bytes)
    }

    /// The `/tmp/perf-PID.map` of `process`, here or in its container. `None` if there is no such
    /// file, or none that is believed; [`Warnings`](super::Warnings) say why.
    pub(crate) fn perf_map(&self, process: &JitProcess) -> Option<PerfMap> {
        if self.config().symfs.is_some() {
            // The files of another machine are copies, so their owners and times are lost.
            let path = PathBuf::from(format!("/tmp/perf-{}.map", process.pid));
            let bytes = Bytes::open(&rooted(self.config(), &path)).ok()?;
            return Some(PerfMap::read(&bytes));
        }
        let mut doubts = Vec::new();
        for path in process.candidates() {
            match process.open(&path) {
                Ok(Ok(bytes)) => return Some(PerfMap::read(&bytes)),
                Ok(Err(doubt)) => doubts.push((path, doubt)),
                Err(_) => {}
            }
        }
        if let Some((path, doubt)) = doubts.first() {
            self.doubt(path, *doubt);
        }
        None
    }
}

/// The path of an open folder.
#[cfg(unix)]
fn open_folder(folder: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd as _;
    Some(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())))
}

#[cfg(not(unix))]
fn open_folder(_: &File) -> Option<PathBuf> {
    None
}

/// The device and the inode of an open file.
#[cfg(unix)]
fn number_of(file: &File) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let file = file.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn number_of(_: &File) -> Option<(u64, u64)> {
    None
}

/// The user who owns a file.
#[cfg(unix)]
fn owner(file: &std::fs::Metadata) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::uid(file))
}

#[cfg(not(unix))]
fn owner(_: &std::fs::Metadata) -> Option<u32> {
    None
}

fn owner_of(path: &Path) -> Option<u32> {
    owner(&std::fs::metadata(path).ok()?)
}

/// The user who runs us.
fn reader() -> Option<u32> {
    owner_of(Path::new("/proc/self"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_folder_of_many_processes_is_open_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut folders = Folders::default();
        let mut open = || folders.share(File::open(folder.path()).unwrap());
        let [first, second] = [open(), open()];
        assert!(Arc::ptr_eq(&first, &second));
        let other = folders.share(File::open("/").unwrap());
        drop((first, second));
        assert_eq!(folders.0.len(), 2);
        folders.share(File::open(folder.path()).unwrap());
        assert_eq!((folders.0.len(), Arc::strong_count(&other)), (2, 1));
    }

    #[test]
    fn maps_are_believed_only_if_they_are_the_process_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("perf-1.map");
        std::fs::write(&path, "1000 10 f\n").unwrap();
        let doubt = |process: &JitProcess, path: &Path| process.open(path).unwrap().err();
        let mut process = JitProcess::new(1);
        assert_eq!(doubt(&process, &path), None);
        process.began = Some(SystemTime::now() + Duration::from_secs(1));
        assert_eq!(doubt(&process, &path), Some(Doubt::Older));
        process.began = Some(SystemTime::now() - Duration::from_secs(100));
        assert_eq!(doubt(&process, &path), None);
        process.ended = Some(SystemTime::now() - Duration::from_secs(50));
        assert_eq!(doubt(&process, &path), Some(Doubt::Newer));
        process.ended = None;
        let link = folder.path().join("perf-2.map");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(doubt(&process, &link), Some(Doubt::NoFile));
        assert!(process.open(&folder.path().join("none")).is_err());
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() && reader() == Some(0) {
            assert_eq!(doubt(&process, &path), Some(Doubt::Stranger));
            process.user = Some(65534);
            assert_eq!(doubt(&process, &path), None);
        }
    }

    #[test]
    fn a_container_s_own_number_comes_first() {
        let mut process = JitProcess::new(4711);
        assert_eq!(process.candidates(), [Path::new("/tmp/perf-4711.map")]);
        process.inner = Some(1);
        assert_eq!(process.candidates()[0], Path::new("/tmp/perf-1.map"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("perf-1.map"), "1000 10 f\n").unwrap();
        process.tmp = Some(Arc::new(File::open(folder.path()).unwrap()));
        let map = Loader::default().perf_map(&process).unwrap();
        assert_eq!(map.find(0x1004).unwrap().0, "f");
    }
}
