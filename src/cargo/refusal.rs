//! Explains why no target was chosen: lists the existing ones, and the option that names one.

use cargo_metadata::{Package, PackageId};

use super::wanted::{Candidate, Wanted, candidates, of_kind};
use crate::error::Error;

/// No target in `home` or elsewhere has the kind or the name.
pub(super) fn nothing(all: &[&Package], home: &[&Package], wanted: &Wanted) -> Error {
    let within = match home {
        [one] => format!("package {}", one.name),
        _ => "the workspace".into(),
    };
    let noun = wanted.noun();
    let Some(name) = wanted.name() else {
        let others = of_kind(all, &Wanted::Example(String::new()));
        let has = if others.is_empty() { "" } else { "; the workspace has the examples" };
        return Error::Choice {
            what: format!("{within} has no {noun} target to run{has}"),
            candidates: shown(&others, false),
            remedy: "name a target with --example, --test, --bench or --unit-test, or a package \
                     with --package"
                .into(),
        };
    };
    let others = of_kind(all, wanted);
    let similar = similar(name, others.iter().map(|other| other.target.name.as_str()));
    let remedy = match (namesake(all, name), similar) {
        (Some(flag), _) => format!("a target of another kind has this name: use {flag} {name}"),
        (_, Some(similar)) => format!("a target with a similar name exists: {similar}"),
        _ if others.is_empty() => String::new(),
        _ => "name one of them, and its package with --package if needed".into(),
    };
    let has = if others.is_empty() { "" } else { "; the workspace has" };
    Error::Choice {
        what: format!("{within} has no {noun} target `{name}`{has}"),
        candidates: shown(&others, false),
        remedy,
    }
}

/// No package of the workspace is called `spec`.
pub(super) fn no_package(all: &[&Package], spec: &str) -> Error {
    let names = all.iter().map(|package| package.name.as_str());
    let remedy = match similar(spec, names) {
        Some(name) => format!("a package with a similar name exists: {name}"),
        None => "name one of them with --package".into(),
    };
    Error::Choice {
        what: format!("the workspace has no package `{spec}`; it has"),
        candidates: all.iter().map(|package| package.name.to_string()).collect(),
        remedy,
    }
}

/// The name that is `wanted` with at most three letters wrong, as cargo counts them.
fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = |name: &&str| strsim::levenshtein(&name.to_lowercase(), &wanted.to_lowercase());
    let close = names.filter(|name| far(name) <= 3 && far(name) < wanted.chars().count());
    close.min_by_key(far)
}

/// Several targets match. Lists them, and the option that distinguishes them.
pub(super) fn several(found: &[Candidate<'_>], wanted: &Wanted) -> Error {
    let (flag, unit) = match wanted {
        Wanted::AnyTest => ("--test NAME or --unit-test", true),
        Wanted::UnitTest(..) => ("--unit-test", true),
        Wanted::UnitBench(..) => ("--unit-bench", true),
        Wanted::AnyBench => ("--bench", false),
        _ => ("--bin", false),
    };
    let differ = |same: fn(&Candidate<'_>, &Candidate<'_>) -> bool| {
        found.windows(2).any(|pair| matches!(pair, [a, b] if !same(a, b)))
    };
    let remedy = if differ(|a, b| a.target.name == b.target.name) {
        if unit {
            format!("name one with {flag}=NAME")
        } else if flag == "--bin" {
            format!("name one with {flag}, or set default-run in Cargo.toml")
        } else {
            format!("name one with {flag} NAME")
        }
    } else if differ(|a, b| a.package.id == b.package.id) {
        "name the package with --package".into()
    } else {
        "choose with --unit-test-kind bin or --unit-test-kind lib".into()
    };
    Error::Choice { what: "several targets match".into(), candidates: shown(found, unit), remedy }
}

/// The option for a target of another kind called `name`.
fn namesake(all: &[&Package], name: &str) -> Option<&'static str> {
    let name = || name.to_owned();
    let kinds = [
        ("--bin", Wanted::Bin(name())),
        ("--example", Wanted::Example(name())),
        ("--test", Wanted::Test(name())),
        ("--bench", Wanted::Bench(name())),
    ];
    let found = kinds.iter().find(|(_, wanted)| !candidates(all, wanted).is_empty());
    found.map(|(flag, _)| *flag)
}

/// The targets for people: `alpha`; `lib alpha` with `kinds`; `alpha in one` if there are several
/// packages.
fn shown(found: &[Candidate<'_>], kinds: bool) -> Vec<String> {
    let first: Option<&PackageId> = found.first().map(|candidate| &candidate.package.id);
    let many = found.iter().any(|candidate| Some(&candidate.package.id) != first);
    let show = |candidate: &Candidate<'_>| {
        let kind = if kinds { format!("{} ", candidate.kind.noun()) } else { String::new() };
        let within = if many { format!(" in {}", candidate.package.name) } else { String::new() };
        format!("{kind}{}{within}", candidate.target.name)
    };
    found.iter().map(show).collect()
}
