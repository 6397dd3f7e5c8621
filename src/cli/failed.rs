//! Says how the recorded program failed, and keeps the older graph.

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A program that fails within this many samples did not do what the user wanted to see.
const FEW_SAMPLES: u64 = 100;

/// How a program failed. Statuses above 128 are those of shells for signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) u8);

impl Failed {
    /// `None` if the program succeeded.
    pub(crate) fn of(status: u8) -> Option<Failed> {
        (status != 0).then_some(Failed(status))
    }

    /// Says how it ended.
    pub(crate) fn words(self) -> String {
        match self.0.checked_sub(128).and_then(|signal| name_of(signal.into())) {
            Some(signal) => format!("was killed by {signal}"),
            None => format!("exited with {}", self.0),
        }
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program {}", self.words())
    }
}

#[cfg(unix)]
fn name_of(signal: i32) -> Option<&'static str> {
    signal_hook::low_level::signal_name(signal)
}

#[cfg(not(unix))]
fn name_of(_: i32) -> Option<&'static str> {
    None
}

/// Keeps the graph at `path` before the one in `new` replaces it, if the new one has few `samples`
/// and the older one is larger. Returns the name of the older one from then on.
pub(crate) fn set_aside(new: &Path, path: &Path, samples: u64) -> std::io::Result<Option<PathBuf>> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let kept = kept_as(path);
    // The largest graph stays, however often the program fails.
    if samples >= FEW_SAMPLES || size(path) <= size(new) || size(path) <= size(&kept) {
        return Ok(None);
    }
    fs::copy(path, &kept)?;
    let time = fs::metadata(path)?.modified()?;
    File::options().append(true).open(&kept)?.set_modified(time)?;
    Ok(Some(kept))
}

/// `flamegraph.svg` becomes `flamegraph.old.svg`.
fn kept_as(path: &Path) -> PathBuf {
    match path.extension() {
        Some(extension) => path.with_extension(format!("old.{}", extension.display())),
        None => path.with_extension("old"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named() {
        let words = |status| Failed::of(status).map(Failed::words);
        assert_eq!(words(0), None);
        assert_eq!(words(2).unwrap(), "exited with 2");
        assert_eq!(words(128).unwrap(), "exited with 128");
        assert_eq!(words(255).unwrap(), "exited with 255");
        #[cfg(unix)]
        assert_eq!(words(139).unwrap(), "was killed by SIGSEGV");
    }

    #[test]
    fn the_larger_graph_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, size: usize| fs::write(path(name), vec![b'x'; size]).unwrap();
        write("new", 10);
        let aside = |samples| set_aside(&path("new"), &path("a.svg"), samples).unwrap();
        assert_eq!(aside(3), None, "there is no older graph");
        write("a.svg", 10);
        assert_eq!(aside(3), None, "the older graph is no larger");
        write("a.svg", 20);
        assert_eq!(aside(1000), None, "the new graph is worth something");
        assert_eq!(aside(3), Some(path("a.old.svg")));
        write("a.svg", 15);
        assert_eq!(aside(3), None);
        assert_eq!(fs::metadata(path("a.old.svg")).unwrap().len(), 20);
        assert_eq!(kept_as(Path::new("x/graph")), Path::new("x/graph.old"));
    }
}
