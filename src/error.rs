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
    /// What was asked for makes no sense, alone or with the rest.
    #[error("{what}")]
    Usage {
        /// What is wrong, as a sentence.
        what: String,
        /// What to ask for instead; may be empty.
        remedy: String,
    },
    /// An option that a recorder or a renderer does not have.
    #[error("{what}")]
    Unsupported {
        /// What cannot be done, as a sentence.
        what: String,
        /// What the user can do instead; may be empty.
        remedy: String,
    },
    /// The system does not record this, for lack of rights or of hardware.
    #[error("{what}")]
    Refused {
        /// What cannot be recorded, and why, as a sentence.
        what: String,
        /// What would allow it, or do instead; may be empty.
        remedy: String,
    },
    /// Only the perf program can record or read this. Nothing was pushed yet: whoever has perf can begin anew with it.
    #[error("{what}")]
    NeedsPerf {
        /// What is beyond us, as a sentence.
        what: String,
        /// How to have perf do it.
        remedy: String,
    },
    /// There is no such process.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// The input is a file of a known kind that no stage reads.
    #[error("{input} {why}")]
    Unreadable {
        /// The input's name.
        input: String,
        /// What it is, as a phrase: `is JSON, which cannot be read`.
        why: String,
        /// How to make something of it that can be read.
        remedy: String,
    },
    /// What a condition, or a graph, needs to know is not in the input.
    #[error("{items} have no {field}")]
    NoField {
        /// What was looked at: `the samples`.
        items: String,
        /// What it lacks: `CPU`.
        field: String,
        /// Where that can be had.
        remedy: String,
    },
    /// A sum became larger than its number can be.
    #[error("the weights of {of} add up to more than {most}")]
    Overflow {
        /// Whose weights.
        of: String,
        /// The largest sum.
        most: u64,
    },
    /// A regular expression that cannot be read, or is too large.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
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
    pub(crate) fn io<S: Into<String>>(
        doing: impl FnOnce() -> S,
    ) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing: doing().into(), source }
    }

    /// The [`Error::NeedsPerf`] of a recording called `input`; `why` goes on after its name.
    pub(crate) fn needs_perf(input: &str, why: &str) -> Error {
        let remedy = "read it with perf script (--backend perf)".into();
        Error::NeedsPerf { what: format!("{input} {why}"), remedy }
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
            Error::NoProcess(_) => Some("`pgrep -l NAME` lists processes"),
            Error::Spawn { remedy, .. }
            | Error::Usage { remedy, .. }
            | Error::Unsupported { remedy, .. }
            | Error::Refused { remedy, .. }
            | Error::NeedsPerf { remedy, .. }
            | Error::Unreadable { remedy, .. }
            | Error::NoField { remedy, .. }
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
