//! The errors of the library. Each says what was being done, and where in the input it failed.
//!
//! A variant is a diagnosis, not a place in the code: "no samples" and "no call chains" are
//! different mistakes with different remedies. Binaries print the chain of causes, and then
//! [`Error::remedy`].

use std::io;
use std::process::ExitStatus;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with its diagnosis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error. `doing` is a whole phrase such as `cannot read
    /// perf.txt`.
    #[error("{doing}")]
    Io {
        /// What was being done, with the name of the file.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The input is empty.
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
        /// The formats that would be accepted, as a phrase: `perf-script text or a perf.data file`.
        expected: String,
    },
    /// The input has a known format, but is broken at one place.
    #[error("{input}, {at}: {problem}")]
    Corrupt {
        /// The input's name.
        input: String,
        /// Where: `line 12`, `byte 4096`.
        at: String,
        /// What is wrong there.
        problem: String,
    },
    /// The input was read to its end and has no samples.
    #[error("{input} has no samples{why}")]
    NoSamples {
        /// The input's name.
        input: String,
        /// Empty, or why there are none, starting with a separator: `: all 12 were dropped by …`.
        why: String,
    },
    /// There are samples, but none has a call chain.
    #[error("{input} has {samples} samples but no call chains")]
    NoCallChains {
        /// The input's name.
        input: String,
        /// How many samples there were.
        samples: u64,
    },
    /// A program that is needed could not be started.
    #[error("cannot run {program}")]
    Spawn {
        /// The program as it was called.
        program: String,
        /// What the system said.
        source: io::Error,
        /// What the user can do about it.
        remedy: String,
    },
    /// A program that was run reported a failure.
    #[error("{program} failed ({status}){said}")]
    Child {
        /// The program as it was called.
        program: String,
        /// Its status.
        status: ExitStatus,
        /// The last lines of its stderr; empty, or starting with a separator.
        said: String,
    },
    /// cargo failed, and has said why.
    #[error("{program} failed ({status}){said}")]
    Build {
        /// The subcommand: `cargo build`.
        program: String,
        /// Its status.
        status: ExitStatus,
        /// Its last words, unless they went to stderr.
        said: String,
    },
    /// An expression of the filter language has an error.
    #[error("expected {expected}\n  {}\n  {:at$}^", shown(text), "")]
    Expression {
        /// The expression.
        text: String,
        /// The index of the wrong character.
        at: usize,
        /// What would be right there, as a phrase.
        expected: String,
    },
    /// The options make no sense, alone or together.
    #[error("{what}")]
    Usage {
        /// What is wrong, as a sentence.
        what: String,
        /// What to do instead; may be empty.
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
    /// The system cannot record this, because rights or hardware are missing.
    #[error("{what}")]
    Refused {
        /// What cannot be recorded, and why, as a sentence.
        what: String,
        /// What would allow it, or what to do instead; may be empty.
        remedy: String,
    },
    /// Only the perf program can record or read this. Nothing was pushed yet, so the caller can
    /// start again with perf.
    #[error("{what}")]
    NeedsPerf {
        /// What cannot be done without perf, as a sentence.
        what: String,
        /// How to use perf for it.
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
        /// How to turn it into something that can be read.
        remedy: String,
    },
    /// The input lacks a field that a condition or a graph needs.
    #[error("{items} have no {field}")]
    NoField {
        /// The items: `the samples`.
        items: String,
        /// The missing field: `CPU`.
        field: String,
        /// How to get it.
        remedy: String,
    },
    /// A sum does not fit into its number.
    #[error("the weights of {of} add up to more than {most}")]
    Overflow {
        /// Whose weights.
        of: String,
        /// The largest sum.
        most: u64,
    },
    /// A regular expression has an error or is too large.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// The request does not name exactly one thing.
    #[error("{what}{}", listed(candidates))]
    Choice {
        /// What is wrong, as a phrase: `several targets could be meant`.
        what: String,
        /// The candidates; may be empty.
        candidates: Vec<String>,
        /// How to name one of them.
        remedy: String,
    },
    /// The renderer could not draw.
    #[error("cannot render the graph: {0}")]
    Render(String),
}

impl Error {
    /// Makes an [`Error::Io`] for `map_err`: `file.read(..).map_err(Error::io(|| format!("cannot
    /// read {name}")))`.
    pub(crate) fn io<S: Into<String>>(
        doing: impl FnOnce() -> S,
    ) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing: doing().into(), source }
    }

    /// The [`Error::NeedsPerf`] of a recording called `input`. `why` continues the sentence after
    /// its name.
    pub(crate) fn needs_perf(input: &str, why: &str) -> Error {
        let remedy = "read it with perf script (--backend perf)".into();
        Error::NeedsPerf { what: format!("{input} {why}"), remedy }
    }

    /// What the user can do about it, as a sentence, if there is anything.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Empty { input } if input == "standard input" => Some(
                "the program before this one in the pipeline wrote nothing: see its messages on stderr",
            ),
            Error::Format { .. } => Some("name the format with --format, or check the file"),
            // If samples were lost, `why` already says what to look at.
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

/// The text in one line, so that a caret can stand below a character.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `: a, b`, or nothing. Many candidates are cut: more than a screen of them helps nobody.
fn listed(candidates: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = candidates.get(..SHOWN).unwrap_or(candidates).join(", ");
    match candidates.len() {
        0 => String::new(),
        number if number > SHOWN => format!(": {shown} and {} more", number - SHOWN),
        _ => format!(": {shown}"),
    }
}
