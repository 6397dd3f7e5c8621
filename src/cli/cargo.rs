//! The cargo options of `cargo flamegraph`: the target, and how to build it.
//!
//! These are all the options of flamegraph 0.6.15, and those of `cargo run` that it lacks, except
//! `-F` (the frequency) and `-v` (our own verbosity), which belong to the graph.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cargo::{Build, Config, Launch, Profile, Request, UnitKind, Wanted, prepare};
use crate::error::{Error, Result};

/// What to profile and how to build it. Must be flattened last, because its heading holds for all
/// that follows.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cargo options")]
pub(crate) struct CargoOptions {
    /// Build with the dev profile
    #[arg(long)]
    pub(crate) dev: bool,

    /// Build with this profile
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,

    /// Package of the target to run
    #[arg(short, long, value_name = "SPEC")]
    pub(crate) package: Option<String>,

    /// Binary to run
    #[arg(short, long, value_name = "NAME", group = "exec-args")]
    pub(crate) bin: Option<String>,

    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub(crate) target: Option<String>,

    /// Example to run
    #[arg(long, value_name = "NAME", group = "exec-args")]
    pub(crate) example: Option<String>,

    /// Integration test to run; arguments after `--` select some of its tests
    #[arg(long, value_name = "NAME", group = "exec-args")]
    pub(crate) test: Option<String>,

    /// Library or binary whose unit tests to run; NAME may be omitted if there is only one
    ///
    /// Arguments after `--` select tests.
    #[arg(long, value_name = "NAME", group = "exec-args")]
    pub(crate) unit_test: Option<Option<String>>,

    /// Choose the binary or the library if --unit-test or --unit-bench names both
    #[arg(long, value_name = "KIND")]
    pub(crate) unit_test_kind: Option<UnitTestKind>,

    /// Library or binary whose unit benchmarks to run; NAME may be omitted if there is only one
    #[arg(long, value_name = "NAME", group = "exec-args")]
    pub(crate) unit_bench: Option<Option<String>>,

    /// Benchmark to run
    #[arg(long, value_name = "NAME", group = "exec-args")]
    pub(crate) bench: Option<String>,

    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH")]
    pub(crate) manifest_path: Option<PathBuf>,

    /// Features to enable, separated by spaces or commas; may be repeated
    #[arg(short, long, value_name = "FEATURES")]
    pub(crate) features: Vec<String>,

    /// Enable all features
    #[arg(long)]
    pub(crate) all_features: bool,

    /// Do not enable the `default` feature
    #[arg(long)]
    pub(crate) no_default_features: bool,

    /// Has no effect, because optimised builds are the default; accepted as in `cargo run
    /// --release`
    #[arg(short, long)]
    pub(crate) release: bool,

    /// Directory for build artifacts
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) target_dir: Option<PathBuf>,

    /// Number of parallel build jobs
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) jobs: Option<String>,

    /// Fail if Cargo.lock would change
    #[arg(long)]
    pub(crate) locked: bool,

    /// Build without the network
    #[arg(long)]
    pub(crate) offline: bool,

    /// Both --locked and --offline
    #[arg(long)]
    pub(crate) frozen: bool,

    /// Override a value in the configuration of cargo
    #[arg(long, value_name = "KEY=VALUE|PATH")]
    pub(crate) config: Vec<String>,

    /// Unstable flags for cargo
    #[arg(short = 'Z', value_name = "FLAG")]
    pub(crate) unstable: Vec<String>,

    /// Ignore the `rust-version` of packages
    #[arg(long)]
    pub(crate) ignore_rust_version: bool,

    /// Hide the progress of cargo
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What `--unit-test-kind` may be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum UnitTestKind {
    /// A binary
    Bin,
    /// The library
    Lib,
}

impl CargoOptions {
    /// The configuration. `verbose` is the graph's `-v`, which also shows the command line of the
    /// build.
    pub(crate) fn config(&self, verbose: bool) -> Config {
        let kind = self.unit_test_kind.map(|kind| match kind {
            UnitTestKind::Bin => UnitKind::Bin,
            UnitTestKind::Lib => UnitKind::Lib,
        });
        // clap accepts at most one of them, because they are one group.
        let wanted = if let Some(name) = &self.bin {
            Wanted::Bin(name.clone())
        } else if let Some(name) = &self.example {
            Wanted::Example(name.clone())
        } else if let Some(name) = &self.test {
            Wanted::Test(name.clone())
        } else if let Some(name) = &self.bench {
            Wanted::Bench(name.clone())
        } else if let Some(name) = &self.unit_test {
            Wanted::UnitTest(name.clone(), kind)
        } else if let Some(name) = &self.unit_bench {
            Wanted::UnitBench(name.clone(), kind)
        } else {
            Wanted::Run
        };
        let profile = match &self.profile {
            Some(name) => Profile::Named(name.clone()),
            None if self.dev => Profile::Dev,
            None => Profile::Optimised,
        };
        Config {
            request: Request { wanted, package: self.package.clone() },
            build: Build {
                profile,
                triple: self.target.clone(),
                features: self.features.clone(),
                all_features: self.all_features,
                no_default_features: self.no_default_features,
                manifest_path: self.manifest_path.clone(),
                target_dir: self.target_dir.clone(),
                jobs: self.jobs.clone(),
                locked: self.locked,
                offline: self.offline,
                frozen: self.frozen,
                config: self.config.clone(),
                unstable: self.unstable.clone(),
                ignore_rust_version: self.ignore_rust_version,
                quiet: self.quiet,
                verbose,
            },
        }
    }

    /// Builds the target, and returns the command that runs it with the `trailing` arguments in the
    /// working directory.
    ///
    /// # Errors
    /// See [`prepare`].
    pub(crate) fn workload(
        &self,
        verbose: bool,
        trailing: &[OsString],
        say: &mut dyn FnMut(&str),
    ) -> Result<Launch> {
        let cwd =
            std::env::current_dir().map_err(Error::io(|| "cannot find the working directory"))?;
        prepare(&self.config(verbose), &cwd, trailing, say)
    }
}

/// cargo calls `cargo-flamegraph flamegraph …`. Drops that word, so that `cargo-flamegraph …` means
/// the same.
pub(crate) fn without_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first == "flamegraph") {
        arguments.remove(1);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        cargo: CargoOptions,
        #[arg(last = true)]
        trailing: Vec<OsString>,
    }

    fn config(line: &str) -> Config {
        let words = line.split_whitespace().map(OsString::from);
        let words =
            without_subcommand(std::iter::once("cargo-flamegraph".into()).chain(words).collect());
        Cli::try_parse_from(words)
            .unwrap_or_else(|error| panic!("{line}: {error}"))
            .cargo
            .config(false)
    }

    #[test]
    fn no_flags_mean_the_default() {
        assert_eq!(config(""), Config::default());
        assert_eq!(config("flamegraph"), Config::default());
        assert_eq!(config("flamegraph --release"), Config::default());
        assert_eq!(config("-r"), Config::default());
    }

    #[test]
    fn every_option_of_the_peer() {
        Cli::command().debug_assert();
        let wanted = |line| config(line).request.wanted;
        assert_eq!(wanted("-b x"), Wanted::Bin("x".into()));
        assert_eq!(
            wanted("--bin x --target y"),
            Wanted::Bin("x".into()),
            "0.6.15 has them conflict"
        );
        assert_eq!(wanted("--example x"), Wanted::Example("x".into()));
        assert_eq!(wanted("--test x -- --nocapture"), Wanted::Test("x".into()));
        assert_eq!(wanted("--bench x"), Wanted::Bench("x".into()));
        assert_eq!(wanted("--unit-test"), Wanted::UnitTest(None, None));
        assert_eq!(wanted("--unit-test -- name"), Wanted::UnitTest(None, None));
        let named = Wanted::UnitTest(Some("x".into()), Some(UnitKind::Lib));
        assert_eq!(wanted("--unit-test x --unit-test-kind lib"), named);
        assert_eq!(wanted("--unit-test-kind lib --unit-test=x"), named);
        assert_eq!(
            wanted("--unit-bench --unit-test-kind bin"),
            Wanted::UnitBench(None, Some(UnitKind::Bin))
        );
        let build =
            config("-f a,b -f c -p q --manifest-path m --no-default-features --profile p --dev")
                .build;
        assert_eq!(build.features, ["a,b", "c"]);
        assert_eq!(
            build.profile,
            Profile::Named("p".into()),
            "the more specific one wins, as in 0.6.15"
        );
        assert!(build.no_default_features);
        assert!(Cli::try_parse_from(["x", "--bin", "a", "--example", "b"]).is_err());
    }

    /// The options of flamegraph 0.6.15 that are not cargo's, under their names.
    #[derive(Args)]
    #[rustfmt::skip]
    struct Graph {
        #[arg(short)] v: bool,
        #[arg(short)] o: bool,
        #[arg(short = 'F')] f: bool,
        #[arg(short)] z: bool,
        #[arg(short)] c: bool,
        #[arg(short)] i: bool,
        #[arg(long = "root", aliases = [
            "cmd", "compression-level", "deterministic", "flamechart", "freq", "ignore-status", "image-width",
            "inverted", "min-width", "no-inline", "notes", "open", "output", "palette", "pid", "perfdata",
            "post-process", "reverse", "skip-after", "subtitle", "title", "verbose",
        ])]
        root: bool,
    }

    #[test]
    fn no_clash_with_the_options_of_the_graph() {
        #[derive(Parser)]
        struct Both {
            #[command(flatten)]
            cargo: CargoOptions,
            #[command(flatten)]
            graph: Graph,
        }
        // Panics if two options share a name.
        Both::command().debug_assert();
        let both = Both::try_parse_from(["x", "-F", "-f", "a", "-vozci", "--root", "-q"]).unwrap();
        let Graph { v, o, f, z, c, i, root } = both.graph;
        assert!(v && o && f && z && c && i && root && both.cargo.quiet);
    }
}
