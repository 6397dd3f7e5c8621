//! The names of mappings, and the paths that they stand for.

use std::path::{Component, Path, PathBuf};

use bstr::ByteSlice;

/// Whether a mapping's name is that of no file.
pub(super) fn is_anonymous(path: &[u8]) -> bool {
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

/// `path` without its root, so that it can be put under another one.
pub(super) fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}
