//! Prints a [`Predicate`] so that the grammar reads the same predicate.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;

use super::grammar::KINDS;
use super::predicate::Predicate;

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Predicate::All(tree) => {
                joined(f, " and ", "everything", tree.iter().map(|one| Inside(one, is_tree(one))))
            }
            Predicate::Any(tree) => {
                let any = |one: &Predicate| is_tree(one) && !matches!(one, Predicate::All(_));
                joined(f, " or ", "nothing", tree.iter().map(|one| Inside(one, any(one))))
            }
            Predicate::Not(one) => write!(f, "not {}", Inside(one, is_tree(one))),
            Predicate::Frame(patterns) => each(f, "frame", patterns),
            Predicate::Module(patterns) => each(f, "module", patterns),
            Predicate::Comm(patterns) => each(f, "comm", patterns),
            Predicate::Event(patterns) => each(f, "event", patterns),
            Predicate::Kind(kinds) => {
                let name =
                    |kind| KINDS.iter().find(|(_, k)| k == kind).map_or("", |(name, _)| name);
                each(f, "kind", kinds.iter().map(name))
            }
            Predicate::Pid(pids) => listed(f, "pid", pids.iter().map(ToString::to_string)),
            Predicate::Tid(tids) => listed(f, "tid", tids.iter().map(ToString::to_string)),
            Predicate::Cpu(ranges) => listed(f, "cpu", ranges.iter().map(cpus)),
            Predicate::Time(ranges) => each(f, "time", ranges.iter().map(time)),
        }
    }
}

/// A part of a tree, perhaps in parentheses.
struct Inside<'a>(&'a Predicate, bool);

impl Display for Inside<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Inside(one, parentheses) = self;
        if *parentheses { write!(f, "({one})") } else { write!(f, "{one}") }
    }
}

/// Whether it is printed as several parts.
fn is_tree(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(tree) | Predicate::Any(tree) => !tree.is_empty(),
        Predicate::Frame(list)
        | Predicate::Module(list)
        | Predicate::Comm(list)
        | Predicate::Event(list) => list.len() > 1,
        Predicate::Kind(list) => list.len() > 1,
        Predicate::Time(list) => list.len() > 1,
        _ => false,
    }
}

fn joined(
    f: &mut Formatter<'_>,
    between: &str,
    none: &str,
    items: impl IntoIterator<Item = impl Display>,
) -> fmt::Result {
    let mut first = true;
    for item in items {
        write!(f, "{}{item}", if first { "" } else { between })?;
        first = false;
    }
    f.write_str(if first { none } else { "" })
}

/// Alternatives: `frame a or frame b`.
fn each(
    f: &mut Formatter<'_>,
    field: &str,
    items: impl IntoIterator<Item = impl Display>,
) -> fmt::Result {
    joined(f, " or ", "nothing", items.into_iter().map(|item| format!("{field} {item}")))
}

/// Alternatives: `pid 7,8`.
fn listed(f: &mut Formatter<'_>, field: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    if items.is_empty() { f.write_str("nothing") } else { write!(f, "{field} {}", items.join(",")) }
}

fn cpus(range: &RangeInclusive<u32>) -> String {
    let first = range.start();
    let last = range.end();
    if first == last { first.to_string() } else { format!("{first}..{last}") }
}

fn time(range: &RangeInclusive<u64>) -> String {
    let end = |at: &u64, open| {
        let whole = at / 1_000_000_000;
        let fraction = at % 1_000_000_000;
        if *at == open { String::new() } else { format!("{whole}.{fraction:09}") }
    };
    format!("{}..{}", end(range.start(), 0), end(range.end(), u64::MAX))
}
