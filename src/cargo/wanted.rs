//! Which kind of target is asked for, and the targets that it could mean.

use cargo_metadata::{Package, TargetKind};

/// Which target is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its kind, and its name if given.
    pub wanted: Wanted,
    /// The package it is in: a name, `name@version`, or a package id.
    pub package: Option<String>,
}

/// A kind of target, and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// What plain `cargo run` runs.
    #[default]
    Run,
    /// `--bin`
    Bin(String),
    /// `--example`
    Example(String),
    /// `--test`: an integration test.
    Test(String),
    /// `--bench`: a file of benches/.
    Bench(String),
    /// `--unit-test`: the test harness of a library or a binary.
    UnitTest(Option<String>, Option<UnitKind>),
    /// `--unit-bench`: the same harness, running benchmarks.
    UnitBench(Option<String>, Option<UnitKind>),
}

/// Tells a binary from a library of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A binary.
    Bin,
    /// The library.
    Lib,
}

/// What kind of executable is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A binary.
    Bin,
    /// An example.
    Example,
    /// An integration test.
    Test,
    /// A benchmark of benches/.
    Bench,
    /// The unit tests of a binary or library.
    UnitTest(UnitKind),
    /// The benchmarks within a binary or library.
    UnitBench(UnitKind),
}

impl Kind {
    /// Whether `cargo bench` would run it, which passes `--bench`.
    pub fn is_benchmarked(self) -> bool {
        matches!(self, Kind::Bench | Kind::UnitBench(_))
    }

    /// What such a target is called.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Bin | Kind::UnitTest(UnitKind::Bin) | Kind::UnitBench(UnitKind::Bin) => "bin",
            Kind::UnitTest(UnitKind::Lib) | Kind::UnitBench(UnitKind::Lib) => "lib",
            Kind::Example => "example",
            Kind::Test => "test",
            Kind::Bench => "bench",
        }
    }
}

impl Wanted {
    /// The name that was given.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Wanted::Run => None,
            Wanted::Bin(name)
            | Wanted::Example(name)
            | Wanted::Test(name)
            | Wanted::Bench(name) => Some(name),
            Wanted::UnitTest(name, _) | Wanted::UnitBench(name, _) => name.as_deref(),
        }
    }

    /// What becomes of `target`, if it is of a kind that is wanted.
    fn kind_of(&self, target: &cargo_metadata::Target) -> Option<Kind> {
        let is = |kind| target.kind.contains(&kind);
        let unit = |wanted: &Option<UnitKind>| {
            let kind = if is(TargetKind::Bin) {
                UnitKind::Bin
            } else if is_library(&target.kind) {
                UnitKind::Lib
            } else {
                return None;
            };
            wanted.is_none_or(|wanted| wanted == kind).then_some(kind)
        };
        match self {
            Wanted::Run | Wanted::Bin(_) => is(TargetKind::Bin).then_some(Kind::Bin),
            Wanted::Example(_) => is(TargetKind::Example).then_some(Kind::Example),
            Wanted::Test(_) => is(TargetKind::Test).then_some(Kind::Test),
            Wanted::Bench(_) => is(TargetKind::Bench).then_some(Kind::Bench),
            Wanted::UnitTest(_, wanted) => unit(wanted).map(Kind::UnitTest),
            Wanted::UnitBench(_, wanted) => unit(wanted).map(Kind::UnitBench),
        }
    }

    /// What was looked for, as it would be said.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Wanted::Run | Wanted::Bin(_) => "bin",
            Wanted::Example(_) => "example",
            Wanted::Test(_) => "test",
            Wanted::Bench(_) => "bench",
            Wanted::UnitTest(_, kind) | Wanted::UnitBench(_, kind) => match kind {
                None => "lib or bin",
                Some(UnitKind::Bin) => "bin",
                Some(UnitKind::Lib) => "lib",
            },
        }
    }
}

/// Whether it is what `--lib` means: `lib`, `proc-macro` and any of the crate types.
pub(super) fn is_library(kinds: &[TargetKind]) -> bool {
    use TargetKind::{CDyLib, DyLib, Lib, ProcMacro, RLib, StaticLib};
    kinds.iter().any(|kind| matches!(kind, Lib | RLib | DyLib | CDyLib | StaticLib | ProcMacro))
}

/// A target that could be meant.
pub(super) struct Candidate<'a> {
    pub(super) package: &'a Package,
    pub(super) target: &'a cargo_metadata::Target,
    pub(super) kind: Kind,
}

impl Candidate<'_> {
    /// Whether it is what `cargo run` runs without a name, by the manifest.
    pub(super) fn is_default_run(&self) -> bool {
        self.kind.noun() == "bin" && self.package.default_run.as_ref() == Some(&self.target.name)
    }
}

/// Everything of the kind that is wanted, whatever its name.
pub(super) fn of_kind<'a>(packages: &[&'a Package], wanted: &Wanted) -> Vec<Candidate<'a>> {
    let targets = packages.iter().flat_map(|package| {
        package.targets.iter().filter_map(|target| {
            let kind = wanted.kind_of(target)?;
            Some(Candidate { package, target, kind })
        })
    });
    targets.collect()
}

/// What `wanted` could mean among `packages`.
pub(super) fn candidates<'a>(packages: &[&'a Package], wanted: &Wanted) -> Vec<Candidate<'a>> {
    let mut found = of_kind(packages, wanted);
    found.retain(|candidate| match (wanted.name(), wanted) {
        (Some(name), _) => candidate.target.name == name,
        // `test = false` in the manifest: cargo runs it only when named.
        (None, Wanted::UnitTest(..)) => candidate.target.test,
        (None, _) => true,
    });
    found
}
