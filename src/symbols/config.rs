//! The settings of a [`Loader`](super::Loader): where to look for files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::path::relative;

/// Where a [`Loader`](super::Loader) looks for files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The root of another system's files, to which all paths are relative (`--symfs`).
    pub symfs: Option<PathBuf>,
    /// The kernel's symbols instead of `/proc/kallsyms` (`--kallsyms`).
    pub kallsyms: Option<PathBuf>,
    /// The kernel's own file, which has its inlined functions (`--vmlinux`).
    pub vmlinux: Option<PathBuf>,
    /// Directories with debug files, `/usr/lib/debug` by default (`--debug-dir`).
    pub debug_dirs: Vec<PathBuf>,
    /// perf's cache of recorded modules: `~/.debug`.
    pub build_id_cache: Option<PathBuf>,
    /// Ask debuginfod servers for files that are not here, and wait no longer than this in total
    /// (`--debuginfod`).
    pub debuginfod: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            symfs: None,
            kallsyms: None,
            vmlinux: None,
            debug_dirs: vec!["/usr/lib/debug".into()],
            build_id_cache: std::env::var_os("HOME").map(|home| Path::new(&home).join(".debug")),
            debuginfod: None,
        }
    }
}

impl Config {
    /// The debug directories, under the other root if there is one.
    pub(super) fn debug_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.debug_dirs.iter().flat_map(|directory| {
            // A directory that the user named may be outside the other root.
            let under = self.symfs.as_ref().map(|root| root.join(relative(directory)));
            under.into_iter().chain([directory.clone()])
        })
    }
}

/// `path` under the other root, if there is one.
pub(super) fn rooted(config: &Config, path: &Path) -> PathBuf {
    config.symfs.as_ref().map_or_else(|| path.to_owned(), |root| root.join(relative(path)))
}
