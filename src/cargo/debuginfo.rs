//! Debug information without a change of Cargo.toml: what the profile lacks is set for one build.
//!
//! `cargo build --unit-graph` says what the profile is, with manifests, configuration and
//! environment taken into account. It is not stable yet, so it needs `RUSTC_BOOTSTRAP`, which
//! affects only this command. If it disappears, the build stays as the profile has it.
//!
//! cargo keeps builds of different profiles beside each other in one target directory, so the
//! user's next `cargo build` compiles nothing again.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::build::Build;
use super::target::Target;

/// The names that a profile leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    /// It has no debug information.
    debug: bool,
    /// It strips symbols.
    stripped: bool,
}

impl Lacks {
    /// Asks cargo which names the profile of `target` leaves out. `None` if it does not answer.
    pub(super) fn ask(cargo: &OsStr, build: &Build, target: &Target, cwd: &Path) -> Option<Lacks> {
        let mut command = Command::new(cargo);
        command.args(build.arguments(target)).args(["--unit-graph", "-Z", "unstable-options"]);
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(cwd).stdin(Stdio::null());
        let answer = command.output().ok().filter(|output| output.status.success());
        let graph = answer.and_then(|output| serde_json::from_slice(&output.stdout).ok());
        graph.as_ref().and_then(Lacks::of)
    }

    /// Reads the profile of the first root of a unit graph.
    fn of(graph: &Value) -> Option<Lacks> {
        let root = usize::try_from(graph["roots"].get(0)?.as_u64()?).ok()?;
        let profile = graph["units"].get(root)?.get("profile")?;
        let debug = match &profile["debuginfo"] {
            Value::Number(level) => level.as_u64() == Some(0),
            Value::Null => true,
            _ => false,
        };
        let stripped = profile["strip"].to_string().contains("Named");
        Some(Lacks { debug, stripped })
    }

    /// The settings that make up for it, in the form of `--config`.
    pub(super) fn settings(self, profile: &str) -> Vec<String> {
        let mut settings = Vec::new();
        // With line tables alone, inlined functions would lose their paths.
        if self.debug {
            settings.push(format!("profile.{profile}.debug=1"));
        }
        if self.debug || self.stripped {
            settings.push(format!("profile.{profile}.strip=\"none\""));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_from_the_unit_graph() {
        let strip = |name: &str| format!(r#"{{"resolved":{{"Named":"{name}"}}}}"#);
        let none = r#"{"resolved":"None"}"#.to_owned();
        for (debug, strip, lacks, settings) in [
            ("0", strip("debuginfo"), (true, true), "debug=1 strip=none"),
            ("0", none.clone(), (true, false), "debug=1 strip=none"),
            ("2", strip("symbols"), (false, true), "strip=none"),
            ("1", none.clone(), (false, false), ""),
            ("\"line-tables-only\"", none, (false, false), ""),
        ] {
            let graph = format!(
                r#"{{"units":[{{}},{{"profile":{{"debuginfo":{debug},"strip":{strip}}}}}],"roots":[1]}}"#
            );
            let found = Lacks::of(&serde_json::from_str(&graph).unwrap()).unwrap();
            let (debug, stripped) = lacks;
            assert_eq!(found, Lacks { debug, stripped }, "{graph}");
            let said = found.settings("my-own").join(" ");
            assert_eq!(said.replace("profile.my-own.", "").replace('"', ""), settings);
        }
        assert_eq!(Lacks::of(&Value::Null), None);
    }
}
