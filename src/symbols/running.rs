//! Files of running processes, as /proc shows them.

use std::path::{Path, PathBuf};

/// Where the file of a running process can be opened that it calls `path`, surest first. Each place
/// is looked for when it is asked for: programs that start many processes map many files.
pub(super) fn running(pid: u32, path: &Path, range: (u64, u64)) -> impl Iterator<Item = PathBuf> {
    let process = process(pid);
    let (start, end) = range;
    // Root alone may open it. It is the mapped file itself, whatever its name is by now.
    let mapped = (end > start).then(|| process.join(format!("map_files/{start:x}-{end:x}")));
    // The running program, even if its name is gone or it never had one: `/memfd:prog (deleted)`.
    let program = move || {
        let exe = process.join("exe");
        std::fs::read_link(&exe).is_ok_and(|its| its == path).then_some(exe)
    };
    mapped.into_iter().chain(std::iter::once_with(program).flatten())
}

pub(super) fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}
