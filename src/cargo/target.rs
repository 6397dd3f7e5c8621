//! Which target is meant: what `cargo run`, `cargo test` or `cargo bench` would take, as a pure function over metadata.
//!
//! Cargo looks at the default members of the workspace, which `cargo metadata` has worked out for the working
//! directory: the package one stands in, or at a root its `default-members`, the root package, or all of a virtual
//! workspace. We do the same; only if there is nothing of the kind do we look at the rest of the workspace, where
//! cargo would give up.

use cargo_metadata::{Metadata, Package, PackageId, TargetKind};

use super::refusal;
use crate::error::{Error, Result};

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

/// One target of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is made of it.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its package.
    pub package: PackageId,
    /// The package's name and version as `--package` takes them.
    pub spec: String,
    /// Whether cargo must be told the package. If it need not be, it is not, as features would be unified differently.
    pub needs_spec: bool,
    /// Why it was chosen, if it was not named.
    pub chosen: Chosen,
}

/// What singled a target out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The user.
    Named,
    /// The manifest's `default-run`.
    Default,
    /// There was no other.
    Only,
    /// There was none where cargo looks, but one elsewhere in the workspace.
    Elsewhere,
}

impl Target {
    /// What to tell the user about a choice that nobody made.
    pub fn announcement(&self) -> Option<String> {
        let why = match self.chosen {
            Chosen::Named | Chosen::Default => return None,
            Chosen::Only => "it is the only valid target",
            Chosen::Elsewhere => "there is none in the current package",
        };
        let Target { kind, name, spec, .. } = self;
        Some(format!(
            "automatically selected {} target {name} in package {spec} because {why}",
            kind.noun()
        ))
    }
}

/// The one target that is meant.
///
/// # Errors
/// [`Error::Choice`] if it is none or several, with the candidates.
pub fn choose(metadata: &Metadata, request: &Request) -> Result<Target> {
    let all = metadata.workspace_packages();
    let (home, others) = match &request.package {
        Some(spec) => (named(&all, spec)?, Vec::new()),
        None => {
            // Cargo before 1.71 does not say which they are.
            let known = metadata.workspace_default_members.is_available();
            let home = if known { metadata.workspace_default_packages() } else { all.clone() };
            let rest = all.iter().copied().filter(|p| !home.iter().any(|h| h.id == p.id));
            let rest = rest.collect();
            (home, rest)
        }
    };
    let mut found = candidates(&home, &request.wanted);
    let at_home = !found.is_empty();
    if !at_home {
        found = candidates(&others, &request.wanted);
    }
    let chosen = if request.wanted.name().is_some() { Chosen::Named } else { Chosen::Only };
    let (chosen, found) = match default_run(&found) {
        Some(default) if chosen == Chosen::Only => (Chosen::Default, vec![default]),
        _ => (chosen, found),
    };
    match found.as_slice() {
        [one] => {
            let lib_of_many = one.kind.noun() == "lib" && home.len() > 1;
            Ok(Target {
                kind: one.kind,
                name: one.target.name.clone(),
                package: one.package.id.clone(),
                spec: format!("{}@{}", one.package.name, one.package.version),
                needs_spec: request.package.is_some() || !at_home || lib_of_many,
                chosen: if at_home { chosen } else { Chosen::Elsewhere },
            })
        }
        [] => Err(refusal::nothing(&all, &home, &request.wanted)),
        several => Err(refusal::several(several, &request.wanted)),
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
    fn is_default_run(&self) -> bool {
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

/// The `default-run` among them, if it is one.
fn default_run<'a>(found: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    let mut defaults = found.iter().filter(|candidate| candidate.is_default_run());
    let (first, second) = (defaults.next()?, defaults.next());
    let Candidate { package, target, kind } = *first;
    second.is_none().then_some(Candidate { package, target, kind })
}

/// The workspace's packages that `spec` names.
fn named<'a>(all: &[&'a Package], spec: &str) -> Result<Vec<&'a Package>> {
    let is = |package: &&&Package| {
        let name: &str = package.name.as_ref();
        package.id.repr == spec
            || match spec.split_once('@') {
                None => name == spec,
                Some((wanted, version)) => name == wanted && package.version.to_string() == version,
            }
    };
    let found: Vec<&Package> = all.iter().filter(is).copied().collect();
    if found.is_empty() {
        return Err(Error::Choice {
            what: format!("the workspace has no package `{spec}`; it has"),
            candidates: all.iter().map(|package| package.name.to_string()).collect(),
            remedy: "name one of them with --package".into(),
        });
    }
    Ok(found)
}
