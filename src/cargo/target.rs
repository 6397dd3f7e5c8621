//! Chooses the target that `cargo run`, `cargo test` or `cargo bench` would take, as a pure
//! function over metadata.
//!
//! Cargo looks at the default members of the workspace, which `cargo metadata` computes for the
//! working directory: the package there, or at a root its `default-members`, the root package, or
//! all members of a virtual workspace. So do we. If they have no target of the kind, cargo gives
//! up, but we look at the rest of the workspace.

use cargo_metadata::{Metadata, Package, PackageId};

use super::wanted::{Candidate, Kind, Request, UnitKind, candidates};
use super::{refusal, spec};
use crate::error::Result;

/// One target of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its package.
    pub package: PackageId,
    /// The package's name and version for `--package`.
    pub spec: String,
    /// Whether cargo needs `--package`. Otherwise it is left out, because it changes how features
    /// are unified.
    pub needs_spec: bool,
    /// Why it was chosen, if it was not named.
    pub chosen: Chosen,
}

/// Why a target was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The user named it.
    Named,
    /// The manifest's `default-run`.
    Default,
    /// There was no other.
    Only,
    /// The library, of several targets that have tests.
    Library,
    /// There was none where cargo looks, but one elsewhere in the workspace.
    Elsewhere,
}

impl Target {
    /// A message about an automatic choice.
    pub fn announcement(&self) -> Option<String> {
        let why = match (self.chosen, self.kind) {
            (Chosen::Named, _) | (Chosen::Default, Kind::Bin) => return None,
            (Chosen::Default, _) => "it is the default-run; name another one with --unit-test=NAME",
            (Chosen::Only, _) => "it is the only valid target",
            (Chosen::Library, Kind::UnitBench(_)) => {
                "the library comes first; name another one with --unit-bench=NAME"
            }
            (Chosen::Library, _) => {
                "the library comes first; name another one with --test NAME or --unit-test=NAME"
            }
            (Chosen::Elsewhere, _) => "there is none in the current package",
        };
        let Target { kind, name, spec, .. } = self;
        Some(format!(
            "automatically selected {} target {name} in package {spec} because {why}",
            kind.noun()
        ))
    }
}

/// Chooses the target.
///
/// # Errors
/// [`Error::Choice`](crate::error::Error::Choice) with the candidates if none or several match.
pub fn choose(metadata: &Metadata, request: &Request) -> Result<Target> {
    let all = metadata.workspace_packages();
    let (home, others) = match &request.package {
        Some(spec) => (named(&all, spec)?, Vec::new()),
        None if request.workspace => (all.clone(), Vec::new()),
        None => {
            // Cargo before 1.71 does not list the default members.
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
    let (chosen, found) = match (chosen, only(&found, is_library_test), default_run(&found)) {
        (Chosen::Only, Some(library), _) if found.len() > 1 => (Chosen::Library, vec![library]),
        (Chosen::Only, _, Some(default)) => (Chosen::Default, vec![default]),
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

/// The `default-run` among the targets, if there is only one.
fn default_run<'a>(found: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    only(found, Candidate::is_default_run)
}

fn is_library_test(candidate: &Candidate<'_>) -> bool {
    matches!(candidate.kind, Kind::UnitTest(UnitKind::Lib) | Kind::UnitBench(UnitKind::Lib))
}

/// The only target that `is` one.
fn only<'a>(found: &[Candidate<'a>], is: impl Fn(&Candidate<'a>) -> bool) -> Option<Candidate<'a>> {
    let mut matching = found.iter().filter(|candidate| is(candidate));
    let first = matching.next().copied();
    if matching.next().is_some() { None } else { first }
}

/// The workspace's packages that `spec` names.
fn named<'a>(all: &[&'a Package], spec: &str) -> Result<Vec<&'a Package>> {
    let found: Vec<&Package> =
        all.iter().filter(|package| spec::names(spec, package)).copied().collect();
    if found.is_empty() { Err(refusal::no_package(all, spec)) } else { Ok(found) }
}
