//! The target that the user asks for, and the targets that match.

use cargo_metadata::{Package, TargetKind};

/// The target that the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its kind, and its name if the user gave one.
    pub wanted: Wanted,
    /// Its package: a name, `name@version`, or a package id.
    pub package: Option<String>,
    /// `--workspace`: look in all packages, wherever the working directory is.
    pub workspace: bool,
}

/// A kind of target, and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The target of plain `cargo run`.
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
    /// Any target of plain `cargo test`.
    AnyTest,
    /// Any benchmark of plain `cargo bench`, except those within libraries and binaries.
    AnyBench,
}

/// Distinguishes a binary from a library of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A binary.
    Bin,
    /// The library.
    Lib,
}

/// The kind of executable.
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
    /// Whether `cargo bench` runs it, with `--bench`.
    pub(crate) fn is_benchmarked(self) -> bool {
        matches!(self, Kind::Bench | Kind::UnitBench(_))
    }

    /// The word for such a target.
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
    /// The name, if the user gave one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Wanted::Run | Wanted::AnyTest | Wanted::AnyBench => None,
            Wanted::Bin(name)
            | Wanted::Example(name)
            | Wanted::Test(name)
            | Wanted::Bench(name) => Some(name),
            Wanted::UnitTest(name, _) | Wanted::UnitBench(name, _) => name.as_deref(),
        }
    }

    /// The kind of executable of `target`, if it is of the wanted kind.
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
            Wanted::Bench(_) | Wanted::AnyBench => is(TargetKind::Bench).then_some(Kind::Bench),
            Wanted::AnyTest if is(TargetKind::Test) => Some(Kind::Test),
            Wanted::AnyTest => unit(&None).map(Kind::UnitTest),
            Wanted::UnitTest(_, wanted) => unit(wanted).map(Kind::UnitTest),
            Wanted::UnitBench(_, wanted) => unit(wanted).map(Kind::UnitBench),
        }
    }

    /// The word for the wanted kind.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Wanted::Run | Wanted::Bin(_) => "bin",
            Wanted::Example(_) => "example",
            Wanted::Test(_) | Wanted::AnyTest => "test",
            Wanted::Bench(_) | Wanted::AnyBench => "bench",
            Wanted::UnitTest(_, kind) | Wanted::UnitBench(_, kind) => match kind {
                None => "lib or bin",
                Some(UnitKind::Bin) => "bin",
                Some(UnitKind::Lib) => "lib",
            },
        }
    }
}

/// Whether `--lib` means this target: `lib`, `proc-macro` and any of the crate types.
pub(super) fn is_library(kinds: &[TargetKind]) -> bool {
    use TargetKind::{CDyLib, DyLib, Lib, ProcMacro, RLib, StaticLib};
    kinds.iter().any(|kind| matches!(kind, Lib | RLib | DyLib | CDyLib | StaticLib | ProcMacro))
}

/// A target that matches.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) package: &'a Package,
    pub(super) target: &'a cargo_metadata::Target,
    pub(super) kind: Kind,
}

impl Candidate<'_> {
    /// Whether it is the manifest's `default-run`.
    pub(super) fn is_default_run(&self) -> bool {
        self.kind.noun() == "bin" && self.package.default_run.as_ref() == Some(&self.target.name)
    }
}

/// All targets of the wanted kind, with any name.
pub(super) fn of_kind<'a>(packages: &[&'a Package], wanted: &Wanted) -> Vec<Candidate<'a>> {
    let targets = packages.iter().flat_map(|package| {
        package.targets.iter().filter_map(|target| {
            let kind = wanted.kind_of(target)?;
            Some(Candidate { package, target, kind })
        })
    });
    targets.collect()
}

/// The targets of `packages` that match `wanted`. If none has its name, `-` and `_` are the same.
pub(super) fn candidates<'a>(packages: &[&'a Package], wanted: &Wanted) -> Vec<Candidate<'a>> {
    let mut found = of_kind(packages, wanted);
    match wanted.name() {
        Some(name) => {
            let plain = |name: &str| name.replace('-', "_");
            let is_exact = found.iter().any(|candidate| candidate.target.name == name);
            found.retain(|Candidate { target, .. }| {
                if is_exact { target.name == name } else { plain(&target.name) == plain(name) }
            });
        }
        // If the manifest has `test = false`, cargo runs the target only by its name.
        None if matches!(wanted, Wanted::UnitTest(..) | Wanted::AnyTest) => {
            found.retain(|candidate| candidate.target.test);
        }
        None => {}
    }
    found
}
