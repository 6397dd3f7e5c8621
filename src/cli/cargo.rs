//! The cargo options of `cargo flamegraph`: the target, and how to build it.
//!
//! These are all the options of flamegraph 0.6.15, and those of `cargo run`, `cargo test` and
//! `cargo bench` that it lacks. `-F` with a number is the frequency, and `-v` first our own
//! verbosity; both belong to the graph.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::cargo_words::{Refused, Verb};
use super::program::Failure;
use crate::cargo::{Build, Config, Profile, Request, UnitKind, Wanted};

/// What to profile and how to build it.
#[derive(Args, Clone, Debug)]
pub(crate) struct CargoOptions {
    /// Package of the target to run
    #[arg(short, long, value_name = "SPEC")]
    pub(crate) package: Option<String>,

    /// Look for the target in all packages of the workspace
    #[arg(long, alias = "all", conflicts_with = "package")]
    pub(crate) workspace: bool,

    /// Binary to run
    #[arg(short, long, value_name = "NAME", group = "exec-args")]
    pub(crate) bin: Option<String>,

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

    /// The tests of the library, or with `bench` its benchmarks
    #[arg(long, group = "exec-args")]
    pub(crate) lib: bool,

    /// A binary, or with `test` its unit tests
    #[arg(long, group = "exec-args")]
    pub(crate) bins: bool,

    /// Build with the dev profile
    #[arg(long)]
    pub(crate) dev: bool,

    /// Build with this profile
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,

    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE")]
    pub(crate) target: Option<String>,

    /// Build, and print how to record, but do not run
    #[arg(long)]
    pub(crate) no_run: bool,

    /// Do not add debug information that the profile lacks
    ///
    /// Without this option, `debug = 1` and `strip = "none"` are set for this build if the profile
    /// has less. Builds of the profile as it is stay up to date beside it.
    #[arg(long)]
    pub(crate) no_debuginfo: bool,

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

    /// Colour the messages of cargo: auto, always or never
    #[arg(long, value_name = "WHEN")]
    color: Option<String>,

    /// Write a report of how long the build of each crate took
    #[arg(long)]
    timings: bool,

    /// Build as much as possible if something fails
    #[arg(long)]
    keep_going: bool,

    /// Report code that a future compiler will refuse
    #[arg(long, hide = true)]
    future_incompat_report: bool,

    /// Has no effect, because one program is run
    #[arg(long, hide = true)]
    no_fail_fast: bool,

    /// Draw a graph of each test, run alone, and a page that lists them with their heaviest
    /// functions. -o names the folder [default: flamegraphs]
    #[arg(long)]
    pub(crate) per_test: bool,

    /// Draw a graph of each benchmark, as --per-test does of each test
    #[arg(long, conflicts_with = "per_test")]
    pub(crate) per_bench: bool,

    /// Keep the frames of the test and benchmark harness, from the start of the program to the code
    /// under test
    #[arg(long)]
    pub(crate) keep_harness: bool,

    #[command(flatten)]
    refused: Refused,
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
    /// Reads the options together with `verb`. `verbose` counts the graph's `-v`: from one on, the
    /// build's command line is shown.
    ///
    /// # Errors
    /// An option has no meaning here. The error says which one to write instead.
    pub(crate) fn config(
        &self,
        verb: Option<Verb>,
        verbose: u8,
        quiet: bool,
    ) -> Result<Config, Failure> {
        self.refused.check()?;
        let profile = match &self.profile {
            Some(name) => Profile::Named(name.clone()),
            None if self.dev => Profile::Dev,
            None => Profile::Optimised,
        };
        let request = Request {
            wanted: self.wanted(verb)?,
            package: self.package.clone(),
            workspace: self.workspace,
        };
        let build = Build {
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
            workspace: self.workspace,
            no_debuginfo: self.no_debuginfo,
            passed_on: self.passed_on(verbose),
            quiet,
            verbose: verbose > 0,
        };
        Ok(Config { request, build })
    }

    /// The target that the options and the `verb` name together. At most one option is given,
    /// because they are one group.
    fn wanted(&self, verb: Option<Verb>) -> Result<Wanted, Failure> {
        let kind = self.unit_test_kind.map(|kind| match kind {
            UnitTestKind::Bin => UnitKind::Bin,
            UnitTestKind::Lib => UnitKind::Lib,
        });
        let wanted = if let Some(name) = &self.bin {
            match verb {
                Some(Verb::Test) => Wanted::UnitTest(Some(name.clone()), Some(UnitKind::Bin)),
                Some(Verb::Bench) => Wanted::UnitBench(Some(name.clone()), Some(UnitKind::Bin)),
                Some(Verb::Run) | None => Wanted::Bin(name.clone()),
            }
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
        } else if self.lib || self.bins {
            let kind = Some(if self.lib { UnitKind::Lib } else { UnitKind::Bin });
            match verb {
                Some(Verb::Bench) => Wanted::UnitBench(None, kind),
                Some(Verb::Test) => Wanted::UnitTest(None, kind),
                _ if self.lib => Wanted::UnitTest(None, kind),
                _ => Wanted::Run,
            }
        } else {
            match verb {
                Some(Verb::Test) => Wanted::AnyTest,
                Some(Verb::Bench) => Wanted::AnyBench,
                None if self.per_test => Wanted::AnyTest,
                None if self.per_bench => Wanted::AnyBench,
                Some(Verb::Run) | None => Wanted::Run,
            }
        };
        let runs = matches!(wanted, Wanted::Run | Wanted::Bin(_) | Wanted::Example(_));
        let benches = matches!(wanted, Wanted::Bench(_) | Wanted::UnitBench(..) | Wanted::AnyBench);
        let (typed, fits, instead) = match verb {
            Some(Verb::Run) => ("run", runs, if benches { "bench" } else { "test" }),
            Some(Verb::Test) => ("test", !runs && !benches, if runs { "run" } else { "bench" }),
            Some(Verb::Bench) => ("bench", benches, if runs { "run" } else { "test" }),
            None => return Ok(wanted),
        };
        if fits {
            return Ok(wanted);
        }
        Err(Failure::Usage(format!(
            "`{typed}` does not run the target that is named: write `{instead}`, or omit `{typed}`"
        )))
    }

    /// cargo's options that change nothing for us.
    fn passed_on(&self, verbose: u8) -> Vec<String> {
        let color = self.color.iter().flat_map(|when| ["--color".to_owned(), when.clone()]);
        let flags = [
            (self.timings, "--timings"),
            (self.keep_going, "--keep-going"),
            (self.future_incompat_report, "--future-incompat-report"),
            (verbose > 1, "--verbose"),
            (verbose > 2, "--verbose"),
        ];
        let flags = flags.iter().filter(|(typed, _)| *typed).map(|(_, flag)| (*flag).to_owned());
        color.chain(flags).collect()
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

    use super::super::cargo_words;
    use super::*;

    #[derive(Parser)]
    struct Cli {
        words: Vec<String>,
        #[arg(last = true)]
        trailing: Vec<OsString>,
        #[command(flatten)]
        cargo: CargoOptions,
    }

    fn parse(line: &str) -> Cli {
        let words = line.split_whitespace().map(OsString::from);
        let words =
            without_subcommand(std::iter::once("cargo-flamegraph".into()).chain(words).collect());
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The configuration and the filter.
    fn read(line: &str) -> Result<(Config, Option<String>), Failure> {
        let Cli { words, cargo, .. } = parse(line);
        let (verb, filter) = cargo_words::verb(&words)?;
        Ok((cargo.config(verb, 0, false)?, filter.map(str::to_owned)))
    }

    fn config(line: &str) -> Config {
        read(line).unwrap_or_else(|error| panic!("{line}: {error}")).0
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

    #[test]
    fn the_habits_of_cargo() {
        let lib = Some(UnitKind::Lib);
        let bin = Some(UnitKind::Bin);
        let x = || Some("x".to_owned());
        for (line, wanted, filter) in [
            ("run", Wanted::Run, None),
            ("run --bin x", Wanted::Bin("x".into()), None),
            ("run --example x -- y", Wanted::Example("x".into()), None),
            ("test", Wanted::AnyTest, None),
            ("--release test lex", Wanted::AnyTest, Some("lex")),
            ("test lex --lib", Wanted::UnitTest(None, lib), Some("lex")),
            ("test --bin x", Wanted::UnitTest(x(), bin), None),
            ("test --bins", Wanted::UnitTest(None, bin), None),
            ("test --test x lex -- --exact", Wanted::Test("x".into()), Some("lex")),
            ("bench", Wanted::AnyBench, None),
            ("bench --bench x lex", Wanted::Bench("x".into()), Some("lex")),
            ("bench --lib", Wanted::UnitBench(None, lib), None),
            ("bench --bin x", Wanted::UnitBench(x(), bin), None),
            ("--lib", Wanted::UnitTest(None, lib), None),
            ("--bins", Wanted::Run, None),
        ] {
            let (config, found) = read(line).unwrap();
            assert_eq!((config.request.wanted, found.as_deref()), (wanted, filter), "{line}");
        }
        let build = config("--workspace --color never --timings --keep-going").build;
        assert!(build.workspace);
        assert_eq!(build.passed_on, ["--color", "never", "--timings", "--keep-going"]);
        let verbose = |times| parse("").cargo.config(None, times, false).unwrap().build;
        assert!(verbose(1).verbose && verbose(1).passed_on.is_empty());
        assert_eq!(verbose(3).passed_on, ["--verbose", "--verbose"]);
    }

    #[test]
    fn what_has_no_meaning_says_what_to_write() {
        for (line, instead) in [
            ("run --test x", "write `test`, or omit `run`"),
            ("test --bench x", "write `bench`, or omit `test`"),
            ("bench --example x", "write `run`, or omit `bench`"),
            ("run lex", "`cargo flamegraph -- lex`"),
            ("lex", "`cargo flamegraph -- lex`"),
            ("--all-targets", "name it with --bin"),
            ("--tests", "--test NAME"),
            ("--benches", "--bench NAME"),
            ("--examples", "--example NAME"),
            ("--exclude x", "--package"),
            ("--doc", "--example"),
            ("--message-format json", "omit --message-format"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(instead), "{line}: {error}");
        }
    }

    /// The options of flamegraph 0.6.15 that are not cargo's, under their names.
    #[derive(Args)]
    #[rustfmt::skip]
    struct Graph {
        #[arg(short)] v: bool,
        #[arg(short, long)] quiet: bool,
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
        let Graph { v, quiet, o, f, z, c, i, root } = both.graph;
        assert!(v && quiet && o && f && z && c && i && root && both.cargo.features == ["a"]);
    }
}
