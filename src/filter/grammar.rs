//! Parses the filter's language, the text form of a [`Predicate`].
//!
//! ```text
//! any    = all { "or" all }
//! all    = one { "and" one }
//! one    = "not" one | "(" any ")" | "everything" | "nothing"
//!        | ("frame" | "module" | "comm" | "event") name
//!        | "kind" ("user" | "kernel" | "inlined" | "jit" | "truncated")
//!        | ("pid" | "tid") number { "," number }
//!        | "cpu" cpus { "," cpus }            cpus = number [ ".." number ]
//!        | "time" [seconds] ".." [seconds]
//! name   = "/" regex "/" | glob | word | '"' exact '"'
//! ```
//!
//! A word ends at a blank, a parenthesis or a quote. With a `*` or a `?` it is a glob. In a regex
//! `\/` is a slash; in quotes `\"` is a quote and `\\` a backslash. An error points at the
//! character.

use std::ops::RangeInclusive;
use std::str::FromStr;

use regex::bytes::Regex;

use super::pattern::{Pattern, RESERVED, ends_word};
use super::predicate::Predicate;
use crate::error::{Error, Result};
use crate::sample::Kind;
use crate::script::nanoseconds;

/// The deepest nesting of `not` and parentheses. More could overflow the stack.
const DEPTH: usize = 100;

/// The name of each kind of frame.
pub(super) const KINDS: [(&str, Kind); 5] = [
    ("user", Kind::User),
    ("kernel", Kind::Kernel),
    ("inlined", Kind::Inlined),
    ("jit", Kind::Jit),
    ("truncated", Kind::Truncated),
];

const ONE: &str =
    "frame, module, comm, event, kind, pid, tid, cpu, time, not, everything, nothing or (";

impl FromStr for Predicate {
    type Err = Error;

    /// Reads an expression of the filter's language; fails with [`Error::Expression`].
    fn from_str(text: &str) -> Result<Predicate> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let predicate = parser.any()?;
        if parser.rest().is_empty() { Ok(predicate) } else { parser.fail("and, or or the end") }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Where the next token starts, in bytes. Blanks before it may not be skipped yet.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The rest of the text, from its next token on.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    /// The next word, without taking it; empty at the end and before a parenthesis or a quote.
    fn peek(&mut self) -> &'a str {
        let rest = self.rest();
        rest.get(..rest.find(ends_word).unwrap_or(rest.len())).unwrap_or_default()
    }

    /// Takes `word` if it is the next one.
    fn take(&mut self, word: &str) -> bool {
        let is = self.peek() == word;
        self.at += if is { word.len() } else { 0 };
        is
    }

    fn fail<T>(&self, expected: impl Into<String>) -> Result<T> {
        let before = self.text.get(..self.at).unwrap_or_default();
        let at = before.chars().count();
        Err(Error::Expression { text: self.text.into(), at, expected: expected.into() })
    }

    fn any(&mut self) -> Result<Predicate> {
        let mut tree = vec![self.all()?];
        while self.take("or") {
            tree.push(self.all()?);
        }
        Ok(one_or(tree, Predicate::Any))
    }

    fn all(&mut self) -> Result<Predicate> {
        let mut tree = vec![self.one()?];
        while self.take("and") {
            tree.push(self.one()?);
        }
        Ok(one_or(tree, Predicate::All))
    }

    fn one(&mut self) -> Result<Predicate> {
        let start = self.at;
        let word = self.peek();
        if word.is_empty() {
            if !self.rest().starts_with('(') {
                return self.fail(ONE);
            }
            return self.nested(|parser| {
                parser.at += 1;
                let inner = parser.any()?;
                if !parser.rest().starts_with(')') {
                    return parser.fail("and, or or )");
                }
                parser.at += 1;
                Ok(inner)
            });
        }
        self.at += word.len();
        Ok(match word {
            "not" => return self.nested(|parser| Ok(Predicate::Not(Box::new(parser.one()?)))),
            "everything" => Predicate::default(),
            "nothing" => Predicate::Any(Vec::new()),
            "frame" => Predicate::Frame(vec![self.name()?]),
            "module" => Predicate::Module(vec![self.name()?]),
            "comm" => Predicate::Comm(vec![self.name()?]),
            "event" => Predicate::Event(vec![self.name()?]),
            "kind" => Predicate::Kind(vec![
                self.word("user, kernel, inlined, jit or truncated", |word| {
                    KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
                })?,
            ]),
            "pid" => Predicate::Pid(self.word("a number, or several with commas", numbers)?),
            "tid" => Predicate::Tid(self.word("a number, or several with commas", numbers)?),
            "cpu" => Predicate::Cpu(self.word("numbers or ranges: 0..3,5", cpus)?),
            "time" => Predicate::Time(vec![self.word("seconds FROM..TO, FROM.. or ..TO", time)?]),
            _ => {
                self.at = start;
                self.rest();
                return self.fail(ONE);
            }
        })
    }

    /// Calls `read` one level deeper.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Predicate>) -> Result<Predicate> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fail(format!("at most {DEPTH} levels of not and parentheses"));
        }
        let inner = read(self);
        self.depth -= 1;
        inner
    }

    /// Takes the next word, converted by `meaning`.
    fn word<T>(&mut self, expected: &str, meaning: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let word = self.peek();
        let Some(meaning) = meaning(word) else { return self.fail(expected) };
        self.at += word.len();
        Ok(meaning)
    }

    fn name(&mut self) -> Result<Pattern> {
        let rest = self.rest();
        if let Some(inner) = rest.strip_prefix('/') {
            let Some(regex) = until(inner, '/') else {
                return self
                    .fail("a / that ends the regex; put a name that starts with / in quotes");
            };
            let pattern = match Regex::new(regex) {
                Ok(pattern) => pattern,
                Err(error) => return self.fail(format!("a regex, but {}", reason(&error))),
            };
            self.at += regex.len() + 2;
            if !self
                .text
                .get(self.at..)
                .is_some_and(|rest| rest.chars().next().is_none_or(ends_word))
            {
                return self
                    .fail("a blank after the regex; put a name that starts with / in quotes");
            }
            return Ok(pattern.into());
        }
        if let Some(inner) = rest.strip_prefix('"') {
            let Some(exact) = until(inner, '"') else {
                return self.fail("a \" that ends the name");
            };
            self.at += exact.len() + 2;
            return Ok(Pattern::Exact(unescaped(exact)));
        }
        let word = self.peek();
        if word.is_empty() {
            return self.fail("a name: /regex/, a glob with * or ?, a word, or one in \"quotes\"");
        } else if RESERVED.contains(&word) {
            return self.fail(format!("a name; to use \"{word}\" as a name, put it in quotes"));
        } else if !word.contains(['*', '?']) {
            self.at += word.len();
            return Ok(Pattern::Exact(word.into()));
        }
        let Ok(glob) = Pattern::glob(word) else { return self.fail("a shorter glob") };
        self.at += word.len();
        Ok(glob)
    }
}

/// The only predicate of `tree`, or all of them combined.
fn one_or(mut tree: Vec<Predicate>, several: fn(Vec<Predicate>) -> Predicate) -> Predicate {
    match (tree.pop(), tree.is_empty()) {
        (Some(last), true) => last,
        (last, _) => {
            tree.extend(last);
            several(tree)
        }
    }
}

/// The text before the first `end` that is not escaped by a backslash.
fn until(text: &str, end: char) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|c| {
        let found = c == end && !escaped;
        escaped = c == '\\' && !escaped;
        found
    });
    text.get(..end?)
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped =
            if c == '\\' { chars.next_if(|next| matches!(next, '"' | '\\')) } else { None };
        plain.push(escaped.unwrap_or(c));
    }
    plain
}

/// The last line of the regex crate's message, which has the reason.
fn reason(error: &regex::Error) -> String {
    let said = error.to_string();
    let last = said.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_lowercase()
}

fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(number).collect()
}

fn cpus(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |text: &str| {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        Some(number(first)?..=number(last)?).filter(|range| !range.is_empty())
    };
    text.split(',').map(range).collect()
}

fn time(text: &str) -> Option<RangeInclusive<u64>> {
    let (from, to) = text.split_once("..")?;
    let end =
        |text, open| if str::is_empty(text) { Some(open) } else { nanoseconds(text.as_bytes()) };
    Some(end(from, 0)?..=end(to, u64::MAX)?).filter(|range| !range.is_empty())
}
