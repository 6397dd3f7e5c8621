//! The paths of mapped files: from recorded names, and in running processes.

use std::path::{Component, Path, PathBuf};

use bstr::ByteSlice;

/// Whether this is the name of a mapping without a file.
pub(crate) fn is_anonymous(path: &[u8]) -> bool {
    let prefixes: [&[u8]; 5] = [b"//", b"/memfd:", b"/SYSV", b"/anon_hugepage", b"/dev/"];
    !path.starts_with(b"/") || prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Whether the file was deleted while it was mapped.
pub(super) fn is_deleted(path: &[u8]) -> bool {
    path.ends_with(b" (deleted)")
}

/// A recorded name as a path of this machine.
pub(super) fn file_path(name: &[u8]) -> PathBuf {
    name.to_path().map_or_else(|_| name.to_str_lossy().into_owned().into(), Path::to_owned)
}

/// `path` without its root, to be put under another one.
pub(super) fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Where to open the file that a running process calls `path`; the most certain place comes first.
/// The places are lazy, because programs that start many processes map many files.
pub(super) fn running(pid: u32, path: &Path, range: (u64, u64)) -> impl Iterator<Item = PathBuf> {
    let process = process(pid);
    let (start, end) = range;
    // The mapped file itself, whatever its name is by now. Only root may open it.
    let mapped = (end > start).then(|| process.join(format!("map_files/{start:x}-{end:x}")));
    // The running program, even if it lost its name or never had one: `/memfd:prog (deleted)`.
    let program = move || {
        let exe = process.join("exe");
        std::fs::read_link(&exe).is_ok_and(|its| its == path).then_some(exe)
    };
    mapped.into_iter().chain(std::iter::once_with(program).flatten())
}

/// The folder of a process in /proc.
pub(super) fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}
