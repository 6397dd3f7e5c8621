//! `flamegraph --doctor`: prints what was found, for people or as JSON.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::io::Output;
use super::program::{Done, Failure};
use crate::doctor::{Finding, Severity, examine};

/// The options with which flamegraph and cargo flamegraph examine a machine.
#[derive(Args, Clone, Debug)]
pub(super) struct DoctorArgs {
    /// Examine this machine, and the program BIN if it is named: whether it can be recorded, what
    /// the graph will lack, and what to do. Exits with 1 if recording would fail
    #[arg(long, value_name = "BIN", num_args = 0..=1)]
    doctor: Option<Option<PathBuf>>,

    /// Print what --doctor finds as JSON
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    /// Examines what was asked for, or else `named`; `None` if nothing is to be examined.
    ///
    /// # Errors
    /// The errors of [`run`], or `--json` was typed alone.
    pub(super) fn run(self, named: Option<&OsString>) -> anyhow::Result<Option<Done>> {
        match self.doctor {
            Some(program) => {
                let program = program.or_else(|| named.map(PathBuf::from));
                run(program.as_deref(), self.json).map(Some)
            }
            None if self.json => {
                let problem = "--json is for --doctor alone: add --doctor";
                Err(Failure::Usage(problem.into()).into())
            }
            None => Ok(None),
        }
    }
}

/// Examines the machine, and `program` if there is one.
///
/// # Errors
/// Standard output cannot be written to, or recording would fail.
fn run(program: Option<&Path>, as_json: bool) -> anyhow::Result<Done> {
    let findings = examine(program);
    let fails = findings.iter().any(|finding| finding.severity == Severity::Error);
    let text = if as_json { json_of(&findings, fails) } else { text_of(&findings) };
    let mut output = Output::create(None)?;
    output.write_all(text.as_bytes())?;
    output.commit()?;
    if fails {
        anyhow::bail!("recording would fail: see what is marked as an error");
    }
    Ok(Done::Ok)
}

fn text_of(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { subject, severity, what, remedy } in findings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<6}{subject}: {what}", severity.word());
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "      → {remedy}");
        }
    }
    text
}

fn json_of(findings: &[Finding], fails: bool) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|Finding { subject, severity, what, remedy }| {
            json!({"subject": subject, "severity": severity.word(), "what": what, "remedy": remedy})
        })
        .collect();
    format!("{:#}\n", json!({"records": !fails, "findings": findings}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_stand_below_what_they_mend() {
        let finding = Finding {
            subject: "perf".into(),
            severity: Severity::Note,
            what: "not installed".into(),
            remedy: Some("install it".into()),
        };
        let findings = [finding];
        assert_eq!(text_of(&findings), "note  perf: not installed\n      → install it\n");
        let json: serde_json::Value = serde_json::from_str(&json_of(&findings, true)).unwrap();
        assert_eq!(json["records"], false);
        assert_eq!(json["findings"][0]["severity"], "note");
    }
}
