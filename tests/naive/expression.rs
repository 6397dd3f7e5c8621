//! The filter's language as one would evaluate it in an afternoon: over strings, every question
//! asked again.

use regex::bytes::Regex;

pub(crate) const KINDS: [&str; 5] = ["user", "kernel", "inlined", "jit", "truncated"];

/// One sample.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Symbol, module and kind.
    pub(crate) stack: Vec<(&'static str, &'static str, usize)>,
    pub(crate) comm: &'static str,
    pub(crate) event: &'static str,
    pub(crate) pid: Option<u32>,
    pub(crate) tid: Option<u32>,
    pub(crate) cpu: Option<u32>,
    /// Seconds.
    pub(crate) time: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Name(&'static str, Pattern),
    Kind(usize),
    Number(&'static str, Vec<u32>),
    Time(u64, u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Regex(String),
    Glob(String),
    Exact(String),
}

impl Pattern {
    fn is_match(&self, name: &str) -> bool {
        match self {
            Pattern::Regex(regex) => Regex::new(regex).unwrap().is_match(name.as_bytes()),
            Pattern::Glob(glob) => {
                glob_matches(&glob.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
            }
            Pattern::Exact(exact) => exact == name,
        }
    }
}

fn glob_matches(glob: &[char], name: &[char]) -> bool {
    match glob {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|at| glob_matches(rest, &name[at..])),
        ['?', rest @ ..] => !name.is_empty() && glob_matches(rest, &name[1..]),
        [c, rest @ ..] => name.first() == Some(c) && glob_matches(rest, &name[1..]),
    }
}

impl Expr {
    /// With more parentheses and quotes than it needs.
    pub(crate) fn text(&self) -> String {
        let joined = |tree: &[Expr], word: &str| {
            let parts: Vec<String> = tree.iter().map(Expr::text).collect();
            format!("({})", parts.join(word))
        };
        match self {
            Expr::And(tree) => joined(tree, " and "),
            Expr::Or(tree) => joined(tree, "\tor\n"),
            Expr::Not(tree) => format!("not({})", tree.text()),
            Expr::Name(field, Pattern::Regex(regex)) => {
                format!("{field} /{}/", regex.replace('/', r"\/"))
            }
            Expr::Name(field, Pattern::Glob(glob)) if glob.starts_with('/') => {
                // A glob cannot start with a slash: that would be a regex.
                format!(
                    "{field} /^{}$/",
                    glob.replace('/', r"\/").replace('*', ".*").replace('?', ".")
                )
            }
            Expr::Name(field, Pattern::Glob(glob)) => format!("{field} {glob}"),
            Expr::Name(field, Pattern::Exact(name)) => {
                format!("{field}\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))
            }
            Expr::Kind(kind) => format!("kind {}", KINDS[*kind]),
            Expr::Number(field, ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                format!("{field} {}", ids.join(","))
            }
            Expr::Time(from, to) => format!("time {from}..{to}.0"),
        }
    }

    pub(crate) fn holds(&self, seen: &Seen) -> bool {
        match self {
            Expr::And(tree) => tree.iter().all(|expr| expr.holds(seen)),
            Expr::Or(tree) => tree.iter().any(|expr| expr.holds(seen)),
            Expr::Not(tree) => !tree.holds(seen),
            Expr::Name("frame", pattern) => {
                seen.stack.iter().any(|frame| pattern.is_match(frame.0))
            }
            Expr::Name("module", pattern) => {
                seen.stack.iter().any(|frame| !frame.1.is_empty() && pattern.is_match(frame.1))
            }
            Expr::Name(field, pattern) => {
                let name = if *field == "comm" { seen.comm } else { seen.event };
                !name.is_empty() && pattern.is_match(name)
            }
            Expr::Kind(kind) => seen.stack.iter().any(|frame| frame.2 == *kind),
            Expr::Number(field, ids) => {
                let id = match *field {
                    "pid" => seen.pid,
                    "tid" => seen.tid,
                    _ => seen.cpu,
                };
                id.is_some_and(|id| ids.contains(&id))
            }
            Expr::Time(from, to) => seen.time.is_some_and(|time| (*from..=*to).contains(&time)),
        }
    }
}
