//! Lets cargo build a target, and says how to run it.
//!
//! ```text
//!  cargo metadata ──▶ choose ──▶ cargo build --message-format=json ──▶ executable ──▶ Launch
//!                    target.rs       build.rs, debuginfo.rs      environment.rs, settings.rs
//! ```
//!
//! The target is the one that `cargo run`, `cargo test` or `cargo bench` would take, and it runs as
//! they would run it: with the same arguments, environment, working directory and target runner.
//! The choices are pure functions over cargo's output. [`prepare`] starts cargo and, through
//! [`settings`], asks it and the compiler how programs are run.
//!
//! Debug information that the profile lacks is set for this build alone (`debuginfo.rs`).
//!
//! Why we are not cargo's target runner (`cargo run --config target.X.runner=…`), which would set
//! the environment for us: the user's own runner would have to be found and chained, so
//! `settings.rs` would stay. A runner for `cfg(all())` is an error of cargo beside one of the user
//! for any other `cfg(…)`. `cargo test` turns a signal into status 101. And the library path of the
//! program would also be that of the recorder. About 200 lines of `environment.rs` would go, and
//! about as many would come, to start ourselves and to hand over all options.
//!
//! Packages outside the workspace in `--package`, and patterns in names of targets, are not
//! supported.

mod build;
mod debuginfo;
mod environment;
mod harness;
mod refusal;
mod rerun;
mod settings;
mod spec;
mod target;
mod wanted;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{Metadata, MetadataCommand};

use crate::error::{Error, Result};
use crate::filter::Preset;
use debuginfo::Lacks;
use environment::Surroundings;
use settings::{Settings, Toolchain};

pub(crate) use build::Stripped;
pub use build::{Build, Built, Profile};
pub use rerun::Sensitive;
pub use target::{Chosen, Target, choose};
pub use wanted::{Kind, Request, UnitKind, Wanted};

/// What to build and run. The default is that of `cargo run --release`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Which target.
    pub request: Request,
    /// How it is built.
    pub build: Build,
}

/// A command that is ready to be profiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The executable, or the target runner, which gets its path.
    pub program: OsString,
    /// All arguments, including those of the user.
    pub args: Vec<OsString>,
    /// Variables to set in addition to the inherited ones.
    pub env: Vec<(OsString, OsString)>,
    /// Where to run it.
    pub cwd: PathBuf,
    /// The name for the title: `app: test api · creates_user`.
    pub about: String,
    /// The names of the tests that a harness runs, if it lists them.
    pub tests: Vec<String>,
    /// The libraries whose frames stand between the start of the program and the tests or
    /// benchmarks.
    pub presets: Vec<Preset>,
    /// Packages that our files must not make cargo build again.
    pub sensitive: Sensitive,
}

impl Launch {
    /// The program and its arguments.
    pub fn command(&self) -> Vec<OsString> {
        std::iter::once(&self.program).chain(&self.args).cloned().collect()
    }

    /// The name without the filter: `app: test api`.
    pub(crate) fn target(&self) -> &str {
        self.about.split(FILTER).next().unwrap_or_default()
    }

    /// The launch of one of its `tests` alone, with the same options. As for cargo, the filters
    /// come first.
    pub(crate) fn alone(&self, test: &str) -> Launch {
        let is_option = |word: &OsStr| word.as_encoded_bytes().starts_with(b"-");
        let options = self.args.iter().skip_while(|word| !is_option(word));
        let options = options.filter(|word| *word != "--exact").cloned();
        let target = self.target();
        Launch {
            args: [test.into(), "--exact".into()].into_iter().chain(options).collect(),
            about: format!("{target}{FILTER}{test}"),
            tests: vec![test.to_owned()],
            ..self.clone()
        }
    }
}

/// Builds the target of `config` in `cwd`, and returns how cargo would run it with `trailing`
/// arguments.
///
/// `say` gets the choices that were made automatically, and a warning if the executable has no
/// debug information. Diagnostics of the build go to stderr as cargo writes them.
///
/// # Errors
/// [`Error::Choice`] if no target matches, or more than one, or if no test does; [`Error::Build`]
/// if the build fails.
pub fn prepare(
    config: &Config,
    cwd: &Path,
    trailing: &[OsString],
    say: &mut dyn FnMut(&str),
) -> Result<Launch> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = metadata(&cargo, &config.build, cwd)?;
    let target = choose(&metadata, &config.request)?;
    if let Some(choice) = target.announcement() {
        say(&choice);
    }
    let lacks = if config.build.no_debuginfo {
        None
    } else {
        Lacks::ask(&cargo, &config.build, &target, cwd)
    };
    let settings = lacks.unwrap_or_default().settings(config.build.profile_name(&target));
    if !settings.is_empty() {
        say(&format!(
            "building with {} for names of all functions (--no-debuginfo leaves the profile as it is)",
            settings.join(" and ")
        ));
    }
    let built = built(&cargo, &config.build, &target, &settings, cwd, say)?;
    let artifact = built.artifact(&target)?;
    let stripped = artifact
        .executable
        .as_ref()
        .map_or_else(Stripped::default, |path| Stripped::of(path.as_std_path()));
    if let Some(advice) = build::advice(&config.build, &target, artifact, stripped, lacks.is_some())
    {
        say(&advice);
    }
    let settings = Settings::read(&cargo, &config.build.config, cwd, say);
    let toolchain = Toolchain::ask(&settings, config.build.triple.as_deref(), cwd, say);
    let env = environment::variables(&Surroundings {
        metadata: &metadata,
        target: &target,
        built: &built,
        artifact,
        toolchain: &toolchain,
        settings: &settings,
        inherited: &|name| std::env::var_os(name),
    });

    let executable = build::executable(artifact, &target)?.as_os_str().to_owned();
    let runner = settings.runner(&toolchain, &|name| std::env::var_os(name))?;
    let (program, mut args) = match runner.split_first() {
        None => (executable, Vec::new()),
        Some((runner, words)) => {
            say(&format!("running it through the target runner {}", runner.display()));
            (runner.clone(), [words, &[executable]].concat())
        }
    };
    args.extend_from_slice(trailing);
    // `cargo bench` appends --bench. Without it, criterion and the harness only test each benchmark
    // once. Many READMEs also write it by hand, and no harness accepts it twice.
    let has_bench = trailing.iter().any(|argument| argument == "--bench");
    if target.kind.is_benchmarked() && !has_bench {
        args.push("--bench".into());
    }
    let cwd = match target.kind {
        // `cargo run` stays in the directory; `cargo test` and `cargo bench` change to the package.
        Kind::Bin | Kind::Example => cwd.to_owned(),
        _ => environment::package_root(&metadata, &target).unwrap_or(cwd).to_owned(),
    };
    let sensitive = Sensitive::of(&built.scripts, &metadata);
    let about = about(&target, trailing);
    let tests = Vec::new();
    let presets = Vec::new();
    let mut launch = Launch { program, args, env, cwd, about, tests, presets, sensitive };
    if !matches!(target.kind, Kind::Bin | Kind::Example) {
        launch.presets = harness::PRESETS.to_vec();
        // A runner may be slow to start, or on another machine.
        if runner.is_empty() {
            launch.tests = harness::work(&launch, &target)?;
        }
    }
    Ok(launch)
}

/// Stands before the name of a test in a title.
const FILTER: &str = " · ";

/// The package, the target, and the filter of a harness: `app: test api · creates_user`.
fn about(target: &Target, trailing: &[OsString]) -> String {
    let package = target.spec.split('@').next().unwrap_or_default();
    let what = match target.kind {
        Kind::UnitTest(_) => "unit tests of ",
        Kind::UnitBench(_) => "benchmarks of ",
        _ => "",
    };
    let mut about = format!("{package}: {what}{} {}", target.kind.noun(), target.name);
    let is_harness = !matches!(target.kind, Kind::Bin | Kind::Example);
    let filters = trailing.iter().map(|argument| argument.to_string_lossy());
    let filters = filters.take_while(|argument| is_harness && !argument.starts_with('-'));
    for filter in filters {
        about += FILTER;
        about += &filter;
    }
    about
}

/// `cargo metadata` without dependencies. Its `workspace_default_members` are those of `cwd` or the
/// manifest path.
///
/// # Errors
/// [`Error::Build`] with cargo's own message, for example if there is no Cargo.toml.
pub fn metadata(cargo: &OsStr, build: &Build, cwd: &Path) -> Result<Metadata> {
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(cwd);
    command.args(build.shared_arguments());
    if let Some(folder) = &build.target_dir {
        // `cargo metadata` has no --target-dir.
        command.env("CARGO_TARGET_DIR", folder);
    }
    let output = command.stdin(Stdio::null()).output().map_err(no_cargo(cargo))?;
    if !output.status.success() {
        return Err(Error::Build {
            program: "cargo metadata".into(),
            status: output.status,
            said: format!("\n{}", String::from_utf8_lossy(&output.stderr).trim_end()),
        });
    }
    MetadataCommand::parse(String::from_utf8_lossy(&output.stdout)).map_err(|error| {
        Error::Corrupt {
            input: "the output of cargo metadata".into(),
            at: "JSON".into(),
            problem: error.to_string(),
        }
    })
}

/// Runs the build with these settings of its profile, and reads its messages.
fn built(
    cargo: &OsStr,
    build: &Build,
    target: &Target,
    settings: &[String],
    cwd: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Built> {
    let mut arguments = build.arguments(target);
    for setting in settings {
        arguments.extend(["--config".into(), setting.into()]);
    }
    arguments.extend(["--message-format", "json-render-diagnostics"].map(OsString::from));
    if build.verbose {
        say(&format!("building with {}", build::shown(cargo, &arguments)));
    }
    let verb = arguments.first().map(|verb| verb.to_string_lossy().into_owned());
    let output = Command::new(cargo)
        .args(&arguments)
        .current_dir(cwd)
        .stderr(Stdio::inherit())
        .output()
        .map_err(no_cargo(cargo))?;
    if !output.status.success() {
        return Err(Error::Build {
            program: format!("cargo {}", verb.unwrap_or_default()),
            status: output.status,
            said: String::new(),
        });
    }
    let built = Built::read(&output.stdout);
    built.talk.iter().for_each(|line| say(line));
    Ok(built)
}

fn no_cargo(cargo: &OsStr) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let program = cargo.to_string_lossy().into_owned();
    move |source| Error::Spawn {
        program,
        source,
        remedy: "install Rust from https://rustup.rs, or set CARGO to the path of cargo".into(),
    }
}
