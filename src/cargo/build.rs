//! Builds a target: cargo's command line, its messages, and the executable among them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cargo_metadata::{Artifact, ArtifactDebuginfo, BuildScript, Message, TargetKind};

use super::target::Target;
use super::wanted::{Kind, UnitKind, is_library};
use crate::error::{Error, Result};

/// How a target is built. The default is cargo's, but with optimisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The profile.
    pub profile: Profile,
    /// `--target`
    pub triple: Option<String>,
    /// `--features`, as typed: names with spaces or commas in between.
    pub features: Vec<String>,
    /// `--all-features`
    pub all_features: bool,
    /// `--no-default-features`
    pub no_default_features: bool,
    /// `--manifest-path`
    pub manifest_path: Option<PathBuf>,
    /// `--target-dir`
    pub target_dir: Option<PathBuf>,
    /// `--jobs`
    pub jobs: Option<String>,
    /// `--locked`
    pub locked: bool,
    /// `--offline`
    pub offline: bool,
    /// `--frozen`
    pub frozen: bool,
    /// `--config`
    pub config: Vec<String>,
    /// `-Z`
    pub unstable: Vec<String>,
    /// `--ignore-rust-version`
    pub ignore_rust_version: bool,
    /// `--workspace`: build with the features that all packages of the workspace want.
    pub workspace: bool,
    /// `--no-debuginfo`: leave the debug information as the profile has it.
    pub no_debuginfo: bool,
    /// Options of cargo that change nothing here, as typed.
    pub passed_on: Vec<String>,
    /// `--quiet`: no progress from cargo.
    pub quiet: bool,
    /// Print the command line.
    pub verbose: bool,
}

/// A profile of cargo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `release`, or `bench` for a target of `cargo bench`.
    #[default]
    Optimised,
    /// `dev`, or `test` for a target of `cargo test`.
    Dev,
    /// `--profile`
    Named(String),
}

impl Build {
    /// The name of the profile for `target` in a manifest.
    pub(crate) fn profile_name(&self, target: &Target) -> &str {
        match (&self.profile, target.kind) {
            (Profile::Named(name), _) => name,
            (Profile::Optimised, Kind::Bench | Kind::UnitBench(_)) => "bench",
            (Profile::Optimised, _) => "release",
            (Profile::Dev, Kind::Test | Kind::UnitTest(_)) => "test",
            (Profile::Dev, _) => "dev",
        }
    }

    /// The arguments that `cargo metadata` takes too.
    pub(crate) fn shared_arguments(&self) -> Vec<OsString> {
        let mut line = Line::default();
        line.option("--manifest-path", self.manifest_path.as_deref());
        line.flag("--locked", self.locked);
        line.flag("--offline", self.offline);
        line.flag("--frozen", self.frozen);
        line.options("--config", &self.config);
        line.options("-Z", &self.unstable);
        line.0
    }

    /// cargo's arguments for `target`, starting with the subcommand. `--workspace` is left out
    /// where it would build the libraries of all packages.
    pub(crate) fn arguments(&self, target: &Target) -> Vec<OsString> {
        let mut line = Line::default();
        match target.kind {
            Kind::Bin | Kind::Example => line.words(&["build"]),
            Kind::Test | Kind::UnitTest(_) => line.words(&["test", "--no-run"]),
            Kind::Bench | Kind::UnitBench(_) => line.words(&["bench", "--no-run"]),
        }
        match self.profile_name(target) {
            // The default of each subcommand.
            "dev" if matches!(target.kind, Kind::Bin | Kind::Example) => {}
            "test" if self.profile == Profile::Dev => {}
            "bench" if self.profile == Profile::Optimised => {}
            name => line.option("--profile", Some(name)),
        }
        let name = Some(target.name.as_str());
        match target.kind {
            Kind::Bin | Kind::UnitTest(UnitKind::Bin) | Kind::UnitBench(UnitKind::Bin) => {
                line.option("--bin", name);
            }
            Kind::UnitTest(UnitKind::Lib) | Kind::UnitBench(UnitKind::Lib) => {
                line.words(&["--lib"])
            }
            Kind::Example => line.option("--example", name),
            Kind::Test => line.option("--test", name),
            Kind::Bench => line.option("--bench", name),
        }
        let is_lib = target.kind.noun() == "lib";
        let needs_spec = target.needs_spec || (self.workspace && is_lib);
        line.option("--package", needs_spec.then_some(target.spec.as_str()));
        line.flag("--workspace", self.workspace && !needs_spec);
        line.option("--target", self.triple.as_deref());
        line.options("--features", &self.features);
        line.flag("--all-features", self.all_features);
        line.flag("--no-default-features", self.no_default_features);
        line.option("--target-dir", self.target_dir.as_deref());
        line.option("--jobs", self.jobs.as_deref());
        line.flag("--ignore-rust-version", self.ignore_rust_version);
        line.flag("--quiet", self.quiet);
        line.0.extend(self.passed_on.iter().map(OsString::from));
        line.0.extend(self.shared_arguments());
        line.0
    }
}

/// A command line that is being built.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn flag(&mut self, flag: &str, set: bool) {
        if set {
            self.words(&[flag]);
        }
    }

    fn option<V: AsRef<OsStr> + ?Sized>(&mut self, flag: &str, value: Option<&V>) {
        if let Some(value) = value {
            self.0.push(flag.into());
            self.0.push(value.as_ref().to_owned());
        }
    }

    fn options(&mut self, flag: &str, values: &[String]) {
        for value in values {
            self.option(flag, Some(value));
        }
    }
}

/// A command line as a shell takes it.
pub(crate) fn shown(program: &OsStr, arguments: &[OsString]) -> String {
    let words = std::iter::once(program).chain(arguments.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let words = words.iter().map(|word| match shlex::try_quote(word) {
        Ok(quoted) => quoted,
        Err(_) => word.clone(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The messages of a build.
#[derive(Debug, Default)]
pub struct Built {
    /// Everything that was compiled, or was up to date.
    pub artifacts: Vec<Artifact>,
    /// The results of the build scripts.
    pub scripts: Vec<BuildScript>,
    /// Lines that are not messages, such as the output of procedural macros.
    pub talk: Vec<String>,
}

impl Built {
    /// Reads cargo's stream of messages, one JSON object per line. Other lines go into
    /// [`Built::talk`].
    pub fn read(messages: &[u8]) -> Built {
        let mut built = Built::default();
        let messages = String::from_utf8_lossy(messages);
        // Reading from memory does not fail, and any other line is a `TextLine`.
        for message in Message::parse_stream(messages.as_bytes()).flatten() {
            match message {
                Message::CompilerArtifact(artifact) => built.artifacts.push(artifact),
                Message::BuildScriptExecuted(script) => built.scripts.push(script),
                Message::TextLine(line) if !line.trim().is_empty() => built.talk.push(line),
                _ => {}
            }
        }
        built
    }

    /// The artifact of `target`.
    ///
    /// # Errors
    /// [`Error::Choice`] if there is none, or one for each of several platforms.
    pub fn artifact(&self, target: &Target) -> Result<&Artifact> {
        let found: Vec<&Artifact> =
            self.artifacts.iter().filter(|artifact| is_of(artifact, target)).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(Error::Choice {
                what: format!("cargo built nothing for {}; it built", target.name),
                candidates: self.artifacts.iter().map(|a| a.target.name.clone()).collect(),
                remedy: "build it with cargo first to see why".into(),
            }),
            several => Err(Error::Choice {
                what: format!("cargo built {} more than once", target.name),
                candidates: several
                    .iter()
                    .filter_map(|artifact| artifact.executable.as_ref().map(ToString::to_string))
                    .collect(),
                remedy: "name one platform with --target".into(),
            }),
        }
    }
}

fn is_of(artifact: &Artifact, target: &Target) -> bool {
    let is = |kind| artifact.target.kind.contains(&kind);
    let (kind, harness) = match target.kind {
        Kind::Bin => (is(TargetKind::Bin), false),
        Kind::Example => (is(TargetKind::Example), false),
        Kind::Test => (is(TargetKind::Test), true),
        Kind::Bench => (is(TargetKind::Bench), true),
        Kind::UnitTest(UnitKind::Bin) | Kind::UnitBench(UnitKind::Bin) => {
            (is(TargetKind::Bin), true)
        }
        Kind::UnitTest(UnitKind::Lib) | Kind::UnitBench(UnitKind::Lib) => {
            (is_library(&artifact.target.kind), true)
        }
    };
    kind && artifact.package_id == target.package
        && artifact.target.name == target.name
        // `cargo test --test x` also builds the binaries, for CARGO_BIN_EXE_*, without the harness.
        && artifact.profile.test == harness
}

/// The path of the executable.
///
/// # Errors
/// [`Error::Choice`] if it is a library, as an example may be.
pub(crate) fn executable<'a>(artifact: &'a Artifact, target: &Target) -> Result<&'a Path> {
    match &artifact.executable {
        Some(path) => Ok(path.as_std_path()),
        None => Err(Error::Choice {
            what: format!("{} is a library, which cannot be run", target.name),
            candidates: Vec::new(),
            remedy: "name a bin, an example, a test or a bench".into(),
        }),
    }
}

/// The parts that are missing in an executable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stripped {
    /// The names of its functions, and with them the debug information.
    pub(crate) symbols: bool,
    /// The debug information, perhaps because it never had any.
    debuginfo: bool,
}

impl Stripped {
    /// The missing parts of an ELF file. For other files, they are not known.
    pub(crate) fn of(executable: &Path) -> Stripped {
        use object::{File, Object, ObjectSection};
        let read = || {
            let file = std::fs::File::open(executable).ok()?;
            let cache = object::ReadCache::new(file);
            let Ok(file @ (File::Elf32(_) | File::Elf64(_))) = File::parse(&cache) else {
                return None;
            };
            let has =
                |name: &str| file.section_by_name(name).is_some_and(|section| section.size() > 0);
            Some(Stripped { symbols: !has(".symtab"), debuginfo: !has(".debug_info") })
        };
        read().unwrap_or_default()
    }
}

/// Advice if an `artifact` has no debug information or is stripped. It names the profile that was
/// used, unless that `strips_nothing`.
pub(crate) fn advice(
    build: &Build,
    target: &Target,
    artifact: &Artifact,
    stripped: Stripped,
    strips_nothing: bool,
) -> Option<String> {
    let has_debug = artifact.profile.debuginfo != ArtifactDebuginfo::None;
    // Otherwise we told cargo that the profile strips nothing.
    if stripped.symbols && strips_nothing {
        let what = "the executable is stripped, though not by its profile, so functions will have \
                    no names: remove -C strip and -C link-arg=-s from RUSTFLAGS and the rustflags \
                    in .cargo/config.toml";
        return Some(what.into());
    }
    let what = if stripped.symbols {
        "the profile strips the executable, so functions will have no names"
    } else if has_debug && stripped.debuginfo {
        "the profile strips debug information, so inlined functions will be missing"
    } else if !has_debug {
        "the profile has no debug information, so inlined functions will be missing"
    } else {
        return None;
    };
    let mut settings = Vec::new();
    // `strip` comes first, because `debug` alone changes nothing.
    if stripped.symbols || has_debug {
        settings.push("strip = \"none\"");
    }
    if !has_debug {
        settings.push("debug = 1");
    }
    let omit = if build.no_debuginfo { "omit --no-debuginfo, or " } else { "" };
    let settings = settings.join(" and ");
    let profile = build.profile_name(target);
    Some(format!("{what}: {omit}set {settings} in [profile.{profile}] of Cargo.toml"))
}

#[cfg(test)]
mod tests {
    use cargo_metadata::PackageId;

    use super::*;
    use crate::cargo::target::Chosen;

    fn target(kind: Kind) -> Target {
        Target {
            kind,
            name: "x".into(),
            package: PackageId { repr: "id".into() },
            spec: "p@1.0.0".into(),
            needs_spec: false,
            chosen: Chosen::Named,
        }
    }

    fn line(build: &Build, target: &Target) -> String {
        build.arguments(target).join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn each_kind_has_its_verb_and_profile() {
        let dev = Build { profile: Profile::Dev, ..Build::default() };
        let mine = Build { profile: Profile::Named("my-own".into()), ..Build::default() };
        let bin = UnitKind::Bin;
        let lib = UnitKind::Lib;
        #[rustfmt::skip]
        let table = [
            (&Build::default(), Kind::Bin, "release", "build --profile release --bin x"),
            (&Build::default(), Kind::Example, "release", "build --profile release --example x"),
            (&Build::default(), Kind::Test, "release", "test --no-run --profile release --test x"),
            (&Build::default(), Kind::UnitTest(lib), "release", "test --no-run --profile release --lib"),
            (&Build::default(), Kind::UnitTest(bin), "release", "test --no-run --profile release --bin x"),
            (&Build::default(), Kind::Bench, "bench", "bench --no-run --bench x"),
            (&Build::default(), Kind::UnitBench(lib), "bench", "bench --no-run --lib"),
            (&dev, Kind::Bin, "dev", "build --bin x"),
            (&dev, Kind::Test, "test", "test --no-run --test x"),
            (&dev, Kind::Bench, "dev", "bench --no-run --profile dev --bench x"),
            (&mine, Kind::Bin, "my-own", "build --profile my-own --bin x"),
            (&mine, Kind::Bench, "my-own", "bench --no-run --profile my-own --bench x"),
        ];
        for (build, kind, profile, wanted) in table {
            let target = target(kind);
            assert_eq!(build.profile_name(&target), profile, "{kind:?}");
            assert_eq!(line(build, &target), wanted, "{kind:?}");
        }
    }

    #[test]
    fn cargos_flags_are_passed_on() {
        let text = |text: &str| Some(text.to_owned());
        let build = Build {
            profile: Profile::Dev,
            triple: text("wasm32-wasip1"),
            features: vec!["a,b".into(), "c d".into()],
            all_features: true,
            no_default_features: true,
            manifest_path: Some("sub/Cargo.toml".into()),
            target_dir: Some("out".into()),
            jobs: text("-1"),
            locked: true,
            offline: true,
            frozen: true,
            config: vec!["build.incremental=false".into()],
            unstable: vec!["build-std".into()],
            ignore_rust_version: true,
            workspace: true,
            no_debuginfo: true,
            passed_on: vec!["--timings".into(), "--color".into(), "never".into()],
            quiet: true,
            verbose: true,
        };
        let target = Target { needs_spec: true, ..target(Kind::Bin) };
        assert_eq!(
            line(&build, &target),
            "build --bin x --package p@1.0.0 --target wasm32-wasip1 --features a,b --features c d \
             --all-features --no-default-features --target-dir out --jobs -1 --ignore-rust-version --quiet \
             --timings --color never --manifest-path sub/Cargo.toml --locked --offline --frozen --config build.incremental=false -Z build-std"
        );
    }

    #[test]
    fn a_workspace_does_not_build_all_its_libraries() {
        let build = Build { workspace: true, ..Build::default() };
        assert_eq!(line(&build, &target(Kind::Bench)), "bench --no-run --bench x --workspace");
        let lib = target(Kind::UnitBench(UnitKind::Lib));
        assert_eq!(line(&build, &lib), "bench --no-run --lib --package p@1.0.0");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_messages_or_talk(lines in proptest::collection::vec("[ -~]{1,20}", 0..9), odd: Vec<u8>) {
            let text = lines.join("\n");
            let wanted: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let built = Built::read(text.as_bytes());
            proptest::prop_assert_eq!(built.talk, wanted);
            proptest::prop_assert!(Built::read(&odd).artifacts.is_empty());
        }
    }
}
