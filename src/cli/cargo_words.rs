//! The words of `cargo flamegraph` that are no options of ours: `run`, `test` and `bench` with a
//! filter, and options of cargo that have no meaning here or mean something else.

use std::ffi::OsString;

use clap::Args;

use super::program::Failure;

/// The subcommand of cargo that is typed before the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    Test,
    Bench,
}

/// Reads the words before `--`: a verb, and after `test` and `bench` a filter.
///
/// # Errors
/// Any other word, with what to write instead.
pub(crate) fn verb(words: &[String]) -> Result<(Option<Verb>, Option<&str>), Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok((None, None)) };
    let verb = match first.as_str() {
        "run" | "r" => Verb::Run,
        "test" | "t" => Verb::Test,
        "bench" => Verb::Bench,
        typed => {
            let close = |verb: &&str| strsim::damerau_levenshtein(verb, typed) <= 1;
            if let Some(verb) = ["run", "test", "bench"].into_iter().find(close) {
                let what = format!("unexpected argument {typed}: did you mean `{verb}`?");
                return Err(Failure::Usage(what));
            }
            return Err(unexpected(words, "--bin, --example, --test or --bench"));
        }
    };
    match rest {
        [] => Ok((Some(verb), None)),
        [filter] if verb != Verb::Run => Ok((Some(verb), Some(filter))),
        _ => {
            let rest = if verb == Verb::Run { rest } else { rest.get(1..).unwrap_or_default() };
            Err(unexpected(rest, "--bin or --example"))
        }
    }
}

fn unexpected(words: &[String], options: &str) -> Failure {
    let line =
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "));
    Failure::Usage(format!(
        "unexpected argument {line}: arguments of the program follow `--`, as in \
         `cargo flamegraph -- {line}`; to name a target, use {options}"
    ))
}

/// Options of cargo that cannot be meant here: exactly one program is recorded.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Refused {
    #[arg(long, hide = true)]
    all_targets: bool,
    #[arg(long, hide = true)]
    tests: bool,
    #[arg(long, hide = true)]
    benches: bool,
    #[arg(long, hide = true)]
    examples: bool,
    #[arg(long, hide = true)]
    doc: bool,
    #[arg(long, hide = true, value_name = "FORMAT", num_args = 0..=1)]
    message_format: Option<Option<String>>,
    #[arg(long, hide = true, value_name = "SPEC")]
    exclude: Vec<String>,
}

impl Refused {
    /// # Errors
    /// Names the option to use instead of the first of these.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let name_one = "one program is recorded at a time: name it with";
        let typed = [
            (self.all_targets, "--all-targets", "--bin, --example, --test or --bench"),
            (self.tests, "--tests", "--test NAME or --unit-test"),
            (self.benches, "--benches", "--bench NAME"),
            (self.examples, "--examples", "--example NAME"),
            (!self.exclude.is_empty(), "--exclude", "--package"),
        ];
        let usage = |problem: String| Err(Failure::Usage(problem));
        if let Some((_, option, instead)) = typed.iter().find(|(typed, ..)| *typed) {
            return usage(format!("{option} names several targets, but {name_one} {instead}"));
        }
        if self.doc {
            return usage(
                "documentation tests cannot be recorded: move the code into an example, and name \
                 it with --example"
                    .into(),
            );
        }
        if self.message_format.is_some() {
            return usage(
                "cargo flamegraph reads the messages of cargo itself: omit --message-format".into(),
            );
        }
        Ok(())
    }
}

/// cargo's `-F FEATURES` as `--features FEATURES`. Ours is the frequency, and a number.
///
/// Returns what was taken for features.
pub(crate) fn features_for_frequency(arguments: &mut [OsString]) -> Vec<String> {
    let mut features = Vec::new();
    let mut words = arguments.iter_mut().take_while(|word| *word != "--").peekable();
    while let Some(word) = words.next() {
        let Some(attached) = word.to_str().and_then(|word| word.strip_prefix("-F")) else {
            continue;
        };
        let value = attached.strip_prefix('=').unwrap_or(attached).to_owned();
        if !value.is_empty() {
            if !is_number(&value) {
                *word = format!("--features={value}").into();
                features.push(value);
            }
            continue;
        }
        let next = words.next_if(|next| next.to_str().is_some_and(|next| !next.starts_with('-')));
        if let Some(value) = next.and_then(|next| next.to_str()).filter(|value| !is_number(value)) {
            *word = "--features".into();
            features.push(value.to_owned());
        }
    }
    features
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_cargos() {
        let verb = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let read = super::verb(&words);
            read.map(|(verb, filter)| (verb, filter.map(str::to_owned))).map_err(|e| e.to_string())
        };
        assert_eq!(verb(""), Ok((None, None)));
        assert_eq!(verb("run"), Ok((Some(Verb::Run), None)));
        assert_eq!(verb("test"), Ok((Some(Verb::Test), None)));
        assert_eq!(verb("bench lex"), Ok((Some(Verb::Bench), Some("lex".into()))));
        for (line, instead) in [
            ("run x", "`cargo flamegraph -- x`"),
            ("server --port", "`cargo flamegraph -- server --port`"),
            ("test a b", "`cargo flamegraph -- b`"),
            ("tset", "did you mean `test`?"),
            ("benhc lex", "did you mean `bench`?"),
        ] {
            assert!(verb(line).is_err_and(|error| error.contains(instead)), "{line}");
        }
    }

    #[test]
    fn features_are_no_frequency() {
        for (line, want) in [
            ("x -F 99", "x -F 99"),
            ("x -F99 -F=99", "x -F99 -F=99"),
            ("x -F a,b", "x --features a,b"),
            ("x -Fa -F=b", "x --features=a --features=b"),
            ("x -F a -F 99 -F b", "x --features a -F 99 --features b"),
            ("x -- -F a", "x -- -F a"),
            ("x -F", "x -F"),
            ("x -F -F", "x -F -F"),
        ] {
            let mut words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            features_for_frequency(&mut words);
            assert_eq!(words.join(std::ffi::OsStr::new(" ")), want, "{line}");
        }
    }
}
