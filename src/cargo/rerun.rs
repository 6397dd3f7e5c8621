//! Packages that cargo builds again if any of their files changes, such as our graph.
//!
//! Without `rerun-if-changed`, a build script runs again if the newest file of its package is
//! another one than before. So a graph must not be the newest file of such a package.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cargo_metadata::{BuildScript, Metadata};

/// The manifests of such packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitive(Vec<PathBuf>);

impl Sensitive {
    /// The ones in the workspace, according to their build scripts.
    pub(super) fn of(scripts: &[BuildScript], metadata: &Metadata) -> Sensitive {
        let any_file = scripts.iter().filter(|script| {
            // Cargo keeps the output of a script beside the folder for its files.
            let output = script.out_dir.as_std_path().with_file_name("output");
            std::fs::read_to_string(output).is_ok_and(|text| !names_files(&text))
        });
        let manifests = any_file.filter_map(|script| {
            let package = metadata.packages.iter().find(|one| one.id == script.package_id)?;
            Some(package.manifest_path.as_std_path().to_owned())
        });
        Sensitive(manifests.collect())
    }

    /// Makes the file at `path` older than its package, if it is in one of them.
    ///
    /// If that fails, the next build takes longer, and nothing else is wrong.
    pub(crate) fn protect(&self, path: &Path) {
        if let Some(time) = self.harmless_time(path)
            && let Ok(file) = File::options().append(true).open(path)
        {
            let _ = file.set_modified(time);
        }
    }

    /// The time that a new file at `path` may have without a new build: that of the manifest, which
    /// is in the same package. `None` if the file is in no such package.
    fn harmless_time(&self, path: &Path) -> Option<SystemTime> {
        let path = std::path::absolute(path).ok()?;
        let manifest = self
            .0
            .iter()
            .find(|manifest| manifest.parent().is_some_and(|package| path.starts_with(package)))?;
        let time = std::fs::metadata(manifest).ok()?.modified().ok()?;
        // Of two files with the same time, either may count as the newest.
        time.checked_sub(Duration::from_secs(1))
    }
}

/// Whether the output of a build script says when to run it again.
fn names_files(output: &str) -> bool {
    output
        .lines()
        .any(|line| line.starts_with("cargo:rerun-if-") || line.starts_with("cargo::rerun-if-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_older_than_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "").unwrap();
        let sensitive = Sensitive(vec![manifest.clone()]);
        let time = sensitive.harmless_time(&folder.path().join("sub/x.svg")).unwrap();
        assert!(time < std::fs::metadata(&manifest).unwrap().modified().unwrap());
        assert_eq!(sensitive.harmless_time(Path::new("/elsewhere/x.svg")), None);
    }

    #[test]
    fn either_form_of_the_instruction() {
        assert!(names_files("x\ncargo:rerun-if-changed=build.rs\n"));
        assert!(names_files("cargo::rerun-if-env-changed=X"));
        assert!(!names_files("cargo::rustc-env=X=cargo:rerun-if-changed\n"));
    }
}
