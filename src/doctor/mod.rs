//! Examines a machine, and a program if one is named: what will be recorded, what will be missing,
//! and what to do about it.
//!
//! Whether recording works is not guessed from settings: something short is recorded. The settings
//! say why it does not, or what would be better. Parsers are pure functions over the files of the
//! kernel, so they are tested everywhere.

mod binary;
mod machine;

use std::path::Path;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// All is well.
    Ok,
    /// A graph will lack something, or something would be better.
    Note,
    /// Recording fails.
    Error,
}

impl Severity {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Error => "error",
        }
    }
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was examined, such as `kernel.kptr_restrict`.
    pub(crate) subject: String,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What was found, and what it means.
    pub(crate) what: String,
    /// What to do, if there is something to do.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &str, what: impl Into<String>) -> Finding {
        Finding { subject: subject.into(), severity: Severity::Ok, what: what.into(), remedy: None }
    }

    fn note(subject: &str, what: impl Into<String>, remedy: &str) -> Finding {
        let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
        Finding { subject: subject.into(), severity: Severity::Note, what: what.into(), remedy }
    }

    fn error(subject: &str, what: impl Into<String>, remedy: &str) -> Finding {
        Finding { severity: Severity::Error, ..Finding::note(subject, what, remedy) }
    }
}

/// Examines the machine, the folder for recordings, and `program` if there is one.
pub(crate) fn examine(program: Option<&Path>) -> Vec<Finding> {
    let mut findings = machine::examine();
    if let Some(program) = program {
        findings.extend(binary::examine(program));
    }
    findings
}
