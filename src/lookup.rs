//! Checks that a program can be run before it has to: a profiler's own message about a workload
//! would be about events, and a post-process command runs only after the recording.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Fails with one clear sentence and `remedy` if `program` cannot be run.
pub(crate) fn check_runnable(program: &OsStr, remedy: &str) -> Result<()> {
    let fail = |kind: io::ErrorKind| {
        let problem = match kind {
            io::ErrorKind::NotFound => "there is no such program",
            _ => "it is not an executable program",
        };
        Err(Error::Spawn {
            program: program.to_string_lossy().into_owned(),
            source: io::Error::new(kind, problem),
            remedy: remedy.into(),
        })
    };
    find(program).map(drop).or_else(fail)
}

/// The path of `program`, as a shell would find it.
pub(crate) fn find(program: &OsStr) -> Result<PathBuf, io::ErrorKind> {
    if program.is_empty() {
        return Err(io::ErrorKind::NotFound);
    }
    let folders = match std::env::var_os("PATH") {
        Some(folders) if !has_folder(program) => folders,
        _ => return runnable(Path::new(program)).map(|()| program.into()),
    };
    let mut reason = io::ErrorKind::NotFound;
    for folder in std::env::split_paths(&folders) {
        let path = folder.join(program);
        match runnable(&path) {
            Ok(()) => return Ok(path),
            Err(io::ErrorKind::NotFound) => {}
            Err(kind) => reason = kind,
        }
    }
    Err(reason)
}

fn has_folder(program: &OsStr) -> bool {
    Path::new(program).components().count() > 1
        || Path::new(program).is_absolute()
        || program.to_string_lossy().starts_with('.')
}

#[cfg(unix)]
fn runnable(path: &Path) -> Result<(), io::ErrorKind> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => io::ErrorKind::NotFound,
        kind => kind,
    })?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied)
    }
}

/// Other systems have more spellings of names (`.exe`, `.bat`) than we want to know; there the
/// profiler says what is wrong.
#[cfg(not(unix))]
fn runnable(_: &Path) -> Result<(), io::ErrorKind> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_told_apart() {
        let kind = |program: &str| match check_runnable(OsStr::new(program), "") {
            Ok(()) => None,
            Err(Error::Spawn { source, .. }) => Some(source.kind()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(kind("sh"), None);
        assert_eq!(kind("/bin/sh"), None);
        assert_eq!(kind("no-such-program"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind("./no-such-program"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind("/"), Some(io::ErrorKind::PermissionDenied));
        assert_eq!(kind("/etc/passwd"), Some(io::ErrorKind::PermissionDenied));
        assert_eq!(kind(""), Some(io::ErrorKind::NotFound));
    }
}
