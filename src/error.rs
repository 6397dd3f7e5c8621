//! What can go wrong in the library: each error says what was being done and where in the input.
//!
//! A variant is a diagnosis, not a place in the code: "no samples" and "no call chains" are different
//! mistakes with different remedies, so they are different variants. Binaries print the chain of causes and then
//! [`Error::remedy`].

use std::io;
use std::process::ExitStatus;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with its diagnosis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; `doing` is a whole phrase such as `cannot read perf.txt`.
    #[error("{doing}")]
    Io {
        /// What was being done, with the name of the file.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The input has nothing in it at all.
    #[error("{input} is empty")]
    Empty {
        /// The input's name: a path, or `standard input`.
        input: String,
    },
    /// The input is not in a format this stage reads.
    #[error("{input} is not {expected}")]
    Format {
        /// The input's name.
        input: String,
        /// The formats that would have done, as a phrase: `perf-script text or a perf.data file`.
        expected: String,
    },
    /// The input is of a known format but broken at one place.
    #[error("{input}, {at}: {problem}")]
    Corrupt {
        /// The input's name.
        input: String,
        /// Where: `line 12`, `byte 4096`.
        at: String,
        /// What is wrong there.
        problem: String,
    },
    /// The input was read to its end and no sample came out of it.
    #[error("{input} has no samples{why}")]
    NoSamples {
        /// The input's name.
        input: String,
        /// Empty, or what swallowed them, starting with a separator: `: all 12 were dropped by …`.
        why: String,
    },
    /// There are samples, but not one of them has a call chain.
    #[error("{input} has {samples} samples but no call chains")]
    NoCallChains {
        /// The input's name.
        input: String,
        /// How many samples there were.
        samples: u64,
    },
    /// A program we need could not be started.
    #[error("cannot run {program}")]
    Spawn {
        /// The program as it was called.
        program: String,
        /// What the system said.
        source: io::Error,
        /// What the user can do about it.
        remedy: String,
    },
    /// A program we ran reported a failure.
    #[error("{program} failed ({status}){said}")]
    Child {
        /// The program as it was called.
        program: String,
        /// Its status.
        status: ExitStatus,
        /// The last words on its stderr, empty or starting with a separator.
        said: String,
    },
    /// An expression of the filter's language that cannot be read.
    #[error("expected {expected}\n  {}\n  {:at$}^", shown(text), "")]
    Expression {
        /// The expression.
        text: String,
        /// Which of its characters is in the way, counted from 0.
        at: usize,
        /// What could have stood there, as a phrase.
        expected: String,
    },
    /// A request that cannot be met, by its nature or on this machine.
    #[error("{what}")]
    Unsupported {
        /// What cannot be done, as a sentence.
        what: String,
        /// What the user can do instead; may be empty.
        remedy: String,
    },
    /// What was asked for does not name exactly one thing.
    #[error("{what}{}", listed(candidates))]
    Choice {
        /// What is wrong, as a phrase: `several targets could be meant`.
        what: String,
        /// What there is to choose from; may be empty.
        candidates: Vec<String>,
        /// How to name one of them.
        remedy: String,
    },
    /// The renderer could not draw.
    #[error("cannot render the graph: {0}")]
    Render(String),
}

impl Error {
    /// An [`Error::Io`] maker for `map_err`: `file.read(..).map_err(Error::io(|| format!("cannot read {name}")))`.
    pub fn io<S: Into<String>>(doing: impl FnOnce() -> S) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing: doing().into(), source }
    }

    /// What the user can do about it, as a sentence, where there is something to do.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Empty { input } if input == "standard input" => Some(
                "the program before this one in the pipeline wrote nothing: see its messages on stderr",
            ),
            Error::Format { .. } => Some("name the format with --format, or check the file"),
            // What swallowed the samples is what to look at.
            Error::NoSamples { why, .. } => {
                why.is_empty().then_some("record for longer, or at a higher frequency (-F)")
            }
            Error::NoCallChains { .. } => {
                Some("record call graphs: fg-record always does, perf needs `perf record -g`")
            }
            Error::Spawn { remedy, .. }
            | Error::Unsupported { remedy, .. }
            | Error::Choice { remedy, .. } => (!remedy.is_empty()).then_some(remedy),
            _ => None,
        }
    }
}

/// In one line, so that a caret can stand below a character.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `: a, b`, or nothing.
fn listed(candidates: &[String]) -> String {
    if candidates.is_empty() { String::new() } else { format!(": {}", candidates.join(", ")) }
}
