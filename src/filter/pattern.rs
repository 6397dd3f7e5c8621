//! Matches names against a regular expression, a glob, or an exact name.

use std::fmt::{self, Display, Formatter, Write};

use regex::bytes::Regex;

/// A condition on one name: a symbol, a module, a comm, an event.
///
/// [`Display`] writes it as the filter's language reads it.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The expression is found somewhere in the name: `/^tokio::/`.
    Regex(Regex),
    /// The whole name matches. `*` stands for anything and `?` for one character: `*/libc.so*`.
    Glob(String, Regex),
    /// The name is this: `main`, `"operator new"`.
    Exact(String),
}

impl Pattern {
    /// The glob of `text`. Fails if it is too large.
    pub fn glob(text: &str) -> Result<Pattern, regex::Error> {
        let mut regex = String::from(r"(?s)\A");
        for c in text.chars() {
            match c {
                // Names are bytes, not always UTF-8.
                '*' => regex.push_str("(?-u:.)*"),
                '?' => regex.push('.'),
                _ => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        Ok(Pattern::Glob(text.into(), Regex::new(&(regex + r"\z"))?))
    }

    /// Whether `name` matches.
    pub fn is_match(&self, name: &[u8]) -> bool {
        match self {
            Pattern::Regex(regex) | Pattern::Glob(_, regex) => regex.is_match(name),
            Pattern::Exact(exact) => exact.as_bytes() == name,
        }
    }
}

impl From<Regex> for Pattern {
    fn from(regex: Regex) -> Pattern {
        Pattern::Regex(regex)
    }
}

/// Whether one of `patterns` matches `name`.
pub(super) fn matches(patterns: &[Pattern], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(name))
}

/// Whether `c` ends a word that is not quoted.
pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

/// The words that cannot be names unless they are quoted.
pub(super) const RESERVED: [&str; 3] = ["and", "or", "not"];

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Regex(regex) => {
                f.write_char('/')?;
                let mut escaped = false;
                for c in regex.as_str().chars() {
                    // In an expression `\/` is `/`.
                    f.write_str(if c == '/' && !escaped { "\\" } else { "" })?;
                    f.write_char(c)?;
                    escaped = c == '\\' && !escaped;
                }
                f.write_char('/')
            }
            Pattern::Glob(text, _) => f.write_str(text),
            Pattern::Exact(text) => {
                let plain = !text.is_empty()
                    && !text.starts_with('/')
                    && !RESERVED.contains(&text.as_str())
                    && !text.contains(|c| ends_word(c) || matches!(c, '*' | '?'));
                if plain {
                    return f.write_str(text);
                }
                write!(f, "\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_whole_names() {
        for (glob, name, want) in [
            ("std::*", "std::io", true),
            ("std::*", "xstd::io", false),
            ("*std*", "xstd\n", true),
            ("a.?", "a.b", true),
            ("a.?", "axb", false),
            ("a?", "a\u{e9}", true),
            ("a?", "a", false),
            ("{{closure}}*", "{{closure}}", true),
        ] {
            assert_eq!(Pattern::glob(glob).unwrap().is_match(name.as_bytes()), want, "{glob}");
        }
        assert!(Pattern::glob("a*b").unwrap().is_match(b"a\xff\xc3b"));
    }

    #[test]
    fn they_are_shown_as_they_are_typed() {
        let regex = |text| Pattern::Regex(Regex::new(text).unwrap()).to_string();
        assert_eq!(regex("^a/b"), r"/^a\/b/");
        assert_eq!(regex(r"a\/b\\/"), r"/a\/b\\\//");
        let exact = |text: &str| Pattern::Exact(text.into()).to_string();
        assert_eq!(exact("core::fmt<u8>"), "core::fmt<u8>");
        for text in ["", "a b", "/bin/x", "f()", "a*", "not"] {
            assert_eq!(exact(text), format!("\"{text}\""));
        }
        assert_eq!(exact("a\"\\ b"), r#""a\"\\ b""#);
    }
}
