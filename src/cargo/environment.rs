//! Sets the variables that `cargo run`, `cargo test` and `cargo bench` set.
//!
//! Programs find their files through `CARGO_MANIFEST_DIR` and their shared libraries through the
//! library path, and fail without them. The list is in
//! <https://doc.rust-lang.org/cargo/reference/environment-variables.html>; a test compares with a
//! real `cargo run`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cargo_metadata::{Artifact, BuildScript, Metadata, Package, TargetKind};

use super::build::Built;
use super::settings::{Settings, Toolchain};
use super::target::Target;
use super::wanted::Kind;

/// The variable with the folders in which the system's loader looks for shared libraries.
pub(crate) const LIBRARY_PATH: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_os = "macos") {
    "DYLD_FALLBACK_LIBRARY_PATH"
} else if cfg!(target_os = "aix") {
    "LIBPATH"
} else {
    "LD_LIBRARY_PATH"
};

/// The facts that decide the variables.
pub(crate) struct Surroundings<'a> {
    /// The workspace.
    pub metadata: &'a Metadata,
    /// The target that runs.
    pub target: &'a Target,
    /// The messages of the build.
    pub built: &'a Built,
    /// The artifact that runs.
    pub artifact: &'a Artifact,
    /// The compiler's facts.
    pub toolchain: &'a Toolchain,
    /// cargo's configuration.
    pub settings: &'a Settings,
    /// The environment that is inherited.
    pub inherited: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The variables to set in addition to the inherited ones. If two have one name, the later one
/// counts.
pub(crate) fn variables(around: &Surroundings<'_>) -> Vec<(OsString, OsString)> {
    let mut variables = Variables::default();
    if let Some(path) = library_path(around) {
        variables.set(LIBRARY_PATH, path);
    }
    for script in own_scripts(around) {
        for (key, value) in &script.env {
            variables.set(key, value);
        }
        if !script.out_dir.as_str().is_empty() {
            variables.set("OUT_DIR", script.out_dir.as_os_str());
        }
    }
    if let Some(cargo) = around.toolchain.cargo(around.inherited) {
        variables.set("CARGO", cargo);
    }
    if let Some(package) = package(around.metadata, around.target) {
        of_package(&mut variables, package);
    }
    if matches!(around.target.kind, Kind::Test | Kind::Bench) {
        for (name, path) in binaries(around) {
            variables.set(format!("CARGO_BIN_EXE_{name}"), path);
        }
    }
    for variable in &around.settings.env {
        // The configuration cannot change the variables of cargo, and those of the caller only by
        // force.
        let ours = variables.0.iter().any(|(name, _)| *name == *variable.name);
        if !ours && (variable.force || (around.inherited)(&variable.name).is_none()) {
            variables.set(&variable.name, &variable.value);
        }
    }
    variables.0
}

/// The folder of `target`'s package.
pub(crate) fn package_root<'a>(metadata: &'a Metadata, target: &Target) -> Option<&'a Path> {
    let root = package(metadata, target)?.manifest_path.parent()?;
    Some(root.as_std_path())
}

fn package<'a>(metadata: &'a Metadata, target: &Target) -> Option<&'a Package> {
    metadata.packages.iter().find(|package| package.id == target.package)
}

/// The package's binaries, which its integration tests and benchmarks may run. A binary that lacks
/// a required feature is included, although it is not built.
fn binaries<'a>(around: &Surroundings<'a>) -> Vec<(&'a str, PathBuf)> {
    let executable = around.artifact.executable.as_ref().map(|path| path.as_std_path());
    let (Some(package), Some(executable)) = (package(around.metadata, around.target), executable)
    else {
        return Vec::new();
    };
    let (root, _) = output_folders(executable, around.metadata);
    let suffix = executable.extension().map(|suffix| format!(".{}", suffix.display()));
    let suffix = suffix.unwrap_or_default();
    let binaries = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bin));
    binaries
        .map(|target| (target.name.as_str(), root.join(format!("{}{suffix}", target.name))))
        .collect()
}

fn own_scripts<'a>(around: &Surroundings<'a>) -> impl Iterator<Item = &'a BuildScript> {
    let package = &around.target.package;
    around.built.scripts.iter().filter(move |script| script.package_id == *package)
}

#[derive(Default)]
struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    fn set(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.0.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
    }
}

/// Sets `CARGO_MANIFEST_*` and `CARGO_PKG_*`. A field that the manifest lacks is empty, not unset.
fn of_package(variables: &mut Variables, package: &Package) {
    if let Some(root) = package.manifest_path.parent() {
        variables.set("CARGO_MANIFEST_DIR", root.as_os_str());
    }
    variables.set("CARGO_MANIFEST_PATH", package.manifest_path.as_os_str());
    if let Some(links) = &package.links {
        variables.set("CARGO_MANIFEST_LINKS", links);
    }
    let version = &package.version;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = |value: Option<&OsStr>| value.unwrap_or_default().to_owned();
    let mut set = |name: &str, value: OsString| variables.set(format!("CARGO_PKG_{name}"), value);
    set("NAME", package.name.to_string().into());
    set("VERSION", version.to_string().into());
    set("VERSION_MAJOR", version.major.to_string().into());
    set("VERSION_MINOR", version.minor.to_string().into());
    set("VERSION_PATCH", version.patch.to_string().into());
    set("VERSION_PRE", version.pre.as_str().into());
    set("AUTHORS", package.authors.join(":").into());
    set("DESCRIPTION", text(&package.description).into());
    set("HOMEPAGE", text(&package.homepage).into());
    set("REPOSITORY", text(&package.repository).into());
    set("LICENSE", text(&package.license).into());
    set("LICENSE_FILE", path(package.license_file.as_ref().map(|file| file.as_os_str())));
    set("README", path(package.readme.as_ref().map(|file| file.as_os_str())));
    let rust = package.rust_version.as_ref().map(|version| {
        // Metadata has 1.85.0 if the manifest has "1.85". Few manifests write the zero.
        let text = version.to_string();
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    });
    set("RUST_VERSION", text(&rust).into());
}

/// The folders for the loader: those of build scripts, of the built libraries, and of the
/// toolchain.
fn library_path(around: &Surroundings<'_>) -> Option<OsString> {
    let executable = around.artifact.executable.as_ref()?.as_std_path();
    let (root, deps) = output_folders(executable, around.metadata);
    let mut folders: Vec<PathBuf> = Vec::new();
    for script in &around.built.scripts {
        for path in &script.linked_paths {
            // `native=/target/debug/build/x-0f/out`. Cargo leaves out folders outside the target
            // folder.
            let path = path.as_str();
            let kinds = ["native", "dependency", "crate", "framework", "all"];
            let path = match path.split_once('=') {
                Some((kind, path)) if kinds.contains(&kind) => path,
                _ => path,
            };
            if Path::new(path).starts_with(&root) {
                folders.push(path.into());
            }
        }
    }
    folders.sort();
    folders.dedup();
    folders.push(root);
    folders.push(deps);
    folders.extend(around.toolchain.libdir.clone());

    let inherited = (around.inherited)(LIBRARY_PATH).filter(|path| !path.is_empty());
    let mut old: Vec<PathBuf> =
        inherited.iter().flat_map(|path| std::env::split_paths(path)).collect();
    if cfg!(target_os = "macos") && old.is_empty() {
        // dyld's defaults, which apply only if the variable is unset.
        old.extend((around.inherited)("HOME").map(|home| Path::new(&home).join("lib")));
        old.extend(["/usr/local/lib".into(), "/usr/lib".into()]);
    }
    if old.starts_with(&folders) {
        folders = old;
    } else {
        folders.extend(old);
    }
    // A folder with a `:` cannot be in the list. Cargo fails then; we do not set the variable.
    std::env::join_paths(folders).ok()
}

/// The profile's folder (`target/release`) and its `deps`, for an executable in one of them or in
/// `examples`.
///
/// With `build.build-dir`, tests and dependencies are in another tree of the same shape.
fn output_folders(executable: &Path, metadata: &Metadata) -> (PathBuf, PathBuf) {
    let folder = executable.parent().unwrap_or(Path::new(""));
    let inner = folder.ends_with("deps") || folder.ends_with("examples");
    let root = if inner { folder.parent().unwrap_or(folder) } else { folder };
    let target = metadata.target_directory.as_std_path();
    let build = metadata.build_directory.as_ref().map_or(target, |build| build.as_std_path());
    let profile = root.strip_prefix(build).or_else(|_| root.strip_prefix(target));
    match profile {
        Ok(profile) => (target.join(profile), build.join(profile).join("deps")),
        Err(_) => (root.to_owned(), root.join("deps")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_found_in_both_trees() {
        let folders = |executable: &str, build: Option<&str>| {
            let build = build.map_or("null".into(), |build| format!("{build:?}"));
            let json = format!(
                r#"{{"packages":[],"workspace_members":[],"resolve":null,"workspace_root":"/w",
                "target_directory":"/w/target","build_directory":{build},"version":1}}"#
            );
            let metadata = cargo_metadata::MetadataCommand::parse(json).unwrap();
            output_folders(Path::new(executable), &metadata)
        };
        let is = |root: &str, deps: &str| (PathBuf::from(root), PathBuf::from(deps));
        let plain = is("/w/target/release", "/w/target/release/deps");
        assert_eq!(folders("/w/target/release/x", None), plain);
        assert_eq!(folders("/w/target/release/examples/x", None), plain);
        assert_eq!(folders("/w/target/release/deps/x-0f", Some("/w/target")), plain);
        let apart = is("/w/target/T/dev", "/b/T/dev/deps");
        assert_eq!(folders("/w/target/T/dev/x", Some("/b")), apart);
        assert_eq!(folders("/b/T/dev/deps/x-0f", Some("/b")), apart);
        assert_eq!(folders("/elsewhere/x", Some("/b")), is("/elsewhere", "/elsewhere/deps"));
    }
}
