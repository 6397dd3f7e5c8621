//! Reads the parts of cargo's configuration that say how programs are run: `[env]` and
//! `target.<triple>.runner`.
//!
//! `cargo config get` knows the files and merges them. It is not stable yet, so it needs
//! `RUSTC_BOOTSTRAP`, which affects only this command. If it disappears, only the environment is
//! used.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use cargo_metadata::cargo_platform::{Cfg, Platform};
use serde_json::Value;

use crate::error::{Error, Result};

/// A lookup in an environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The parts of the configuration that say how programs are run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `[env]`
    pub env: Vec<Variable>,
    /// The X and the words of `[target.X] runner`. X is a triple or `cfg(…)`.
    pub runners: Vec<(String, Vec<String>)>,
    /// `build.target`, if there is only one.
    pub triple: Option<String>,
    /// `build.rustc`
    pub rustc: Option<String>,
}

/// A variable of `[env]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it replaces an inherited variable.
    pub force: bool,
}

impl Settings {
    /// Asks cargo for the settings in `cwd` with these `--config` options. `say` gets a message if
    /// that fails.
    pub(crate) fn read(
        cargo: &OsStr,
        options: &[String],
        cwd: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Settings {
        let mut command = Command::new(cargo);
        command.args(["config", "get", "--format", "json", "-Z", "unstable-options"]);
        command.args(options.iter().flat_map(|option| ["--config", option]));
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(cwd).stdin(Stdio::null());
        let answer = command.output().ok().filter(|output| output.status.success());
        match answer.and_then(|output| serde_json::from_slice(&output.stdout).ok()) {
            Some(json) => Settings::from_json(&json, &|value| near(cwd, value)),
            None => {
                say("cannot read cargo's configuration: its [env] and runner are not used");
                Settings::default()
            }
        }
    }

    /// Reads cargo's JSON. `resolve` makes a path absolute that is relative to its configuration
    /// file.
    pub(crate) fn from_json(json: &Value, resolve: &dyn Fn(&str) -> PathBuf) -> Settings {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let resolved = |value: &str| resolve(value).to_string_lossy().into_owned();
        let env = entries(&json["env"]).filter_map(|(name, value)| {
            let plain = value.as_str().or(value["value"].as_str())?;
            let relative = value["relative"] == true;
            let value_text = if relative { resolved(plain) } else { plain.to_owned() };
            Some(Variable { name: name.clone(), value: value_text, force: value["force"] == true })
        });
        let runners = entries(&json["target"]).filter_map(|(platform, table)| {
            let mut words = match &table["runner"] {
                Value::String(line) => line.split_whitespace().map(str::to_owned).collect(),
                Value::Array(words) => words.iter().filter_map(text).collect(),
                _ => Vec::new(),
            };
            let program = words.first_mut()?;
            // `./run.sh` is relative to the configuration, but `qemu` is in PATH.
            if program.contains('/') || (cfg!(windows) && program.contains('\\')) {
                *program = resolved(program);
            }
            Some((platform.clone(), words))
        });
        let triple = match &json["build"]["target"] {
            Value::Array(triples) if triples.len() == 1 => triples.first().and_then(text),
            other => text(other),
        };
        Settings {
            env: env.collect(),
            runners: runners.collect(),
            triple,
            rustc: text(&json["build"]["rustc"]),
        }
    }

    /// The words of the target runner; none if there is no runner.
    ///
    /// # Errors
    /// [`Error::Choice`] if several `cfg(…)` match, as in cargo.
    pub(crate) fn runner(
        &self,
        toolchain: &Toolchain,
        environment: Lookup<'_>,
    ) -> Result<Vec<OsString>> {
        let Some(triple) = &toolchain.triple else { return Ok(Vec::new()) };
        let variable =
            format!("CARGO_TARGET_{}_RUNNER", triple.to_uppercase().replace(['-', '.'], "_"));
        if let Some(line) = environment(&variable) {
            let line = line.to_string_lossy();
            return Ok(line.split_whitespace().map(OsString::from).collect());
        }
        let words = |words: &[String]| words.iter().map(OsString::from).collect();
        if let Some((_, exact)) = self.runners.iter().find(|(platform, _)| platform == triple) {
            return Ok(words(exact));
        }
        let matching: Vec<_> =
            self.runners.iter().filter(|(platform, _)| toolchain.is(platform)).collect();
        match matching.as_slice() {
            [] => Ok(Vec::new()),
            [(_, one)] => Ok(words(one)),
            several => Err(Error::Choice {
                what: "several target runners match".into(),
                candidates: several.iter().map(|(platform, _)| platform.clone()).collect(),
                remedy: "keep only one of them in the configuration of cargo".into(),
            }),
        }
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The path `value`, relative to the nearest configuration file that mentions it. The JSON does not
/// say which file a value is from.
fn near(cwd: &Path, value: &str) -> PathBuf {
    let mentions = |folder: &&Path| {
        ["config.toml", "config"].iter().any(|name| {
            let text = std::fs::read_to_string(folder.join(".cargo").join(name));
            text.is_ok_and(|text| text.contains(value))
        })
    };
    cwd.ancestors().find(mentions).unwrap_or(cwd).join(value)
}

/// The compiler's facts about the platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct Toolchain {
    /// The platform's name.
    pub triple: Option<String>,
    /// The folder of its standard library.
    pub libdir: Option<PathBuf>,
    /// The conditions that are true on it.
    pub cfgs: Vec<Cfg>,
}

impl Toolchain {
    /// Asks the compiler that cargo would use. `say` gets a message if that fails.
    pub(crate) fn ask(
        settings: &Settings,
        triple: Option<&str>,
        cwd: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Toolchain {
        let variable = |name| std::env::var_os(name);
        let rustc = variable("RUSTC").or_else(|| variable("CARGO_BUILD_RUSTC"));
        let rustc = rustc.or_else(|| settings.rustc.as_ref().map(OsString::from));
        let rustc = rustc.unwrap_or_else(|| "rustc".into());
        let triple = triple.map(OsString::from);
        let triple = triple.or_else(|| variable("CARGO_BUILD_TARGET"));
        let triple = triple.or_else(|| settings.triple.as_ref().map(OsString::from));
        let mut command = Command::new(rustc);
        command.args(["--print", "target-libdir", "--print", "cfg"]);
        // `host-tuple` means no cross-compilation.
        if let Some(triple) = triple.filter(|triple| triple != "host-tuple") {
            command.arg("--target").arg(triple);
        }
        match command.current_dir(cwd).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                Toolchain::parse(&String::from_utf8_lossy(&output.stdout))
            }
            _ => {
                say("cannot ask rustc for its libraries: the library path may lack them");
                Toolchain::default()
            }
        }
    }

    /// Reads the compiler's output: a line with the folder, then one for each condition.
    pub(crate) fn parse(answer: &str) -> Toolchain {
        let mut lines = answer.lines();
        let libdir = lines.next().filter(|line| !line.is_empty()).map(PathBuf::from);
        // …/lib/rustlib/x86_64-unknown-linux-gnu/lib
        let triple = libdir.as_deref().and_then(Path::parent).and_then(Path::file_name);
        let triple = triple.map(|triple| triple.to_string_lossy().into_owned());
        let cfgs = lines.filter_map(|line| Cfg::from_str(line).ok()).collect();
        Toolchain { triple, libdir, cfgs }
    }

    /// Whether `platform`, a triple or `cfg(…)`, is this one.
    fn is(&self, platform: &str) -> bool {
        let name = self.triple.as_deref().unwrap_or_default();
        Platform::from_str(platform).is_ok_and(|platform| platform.matches(name, &self.cfgs))
    }

    /// The cargo binary itself, not rustup's proxy. Cargo passes it to the programs that it runs.
    pub(crate) fn cargo(&self, environment: Lookup<'_>) -> Option<OsString> {
        environment("CARGO").or_else(|| {
            // <sysroot>/lib/rustlib/<triple>/lib
            let sysroot = self.libdir.as_deref()?.ancestors().nth(4)?;
            let cargo = sysroot.join("bin").join(format!("cargo{}", std::env::consts::EXE_SUFFIX));
            cargo.is_file().then(|| cargo.into_os_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str =
        "/up/lib/rustlib/x86_64-unknown-linux-gnu/lib\ntarget_os=\"linux\"\nunix\nodd line\n";

    fn settings(json: &str) -> Settings {
        let json = serde_json::from_str(json).unwrap();
        Settings::from_json(&json, &|value| Path::new("/base").join(value))
    }

    #[test]
    fn the_answer_is_read() {
        let settings = settings(
            r#"{"env":{"A":{"force":true,"relative":true,"value":"x"},"B":"b","C":7},
            "build":{"target":["t"],"rustc":"r"},"target":{"t":{"runner":"qemu -L /x"},"u":{"linker":"l"},
            "cfg(unix)":{"runner":["./run.sh","a b"]}}}"#,
        );
        let variable = |name: &str, value: &str, force| Variable {
            name: name.into(),
            value: value.into(),
            force,
        };
        let x = Path::new("/base").join("x").display().to_string();
        assert_eq!(settings.env, [variable("A", &x, true), variable("B", "b", false)]);
        let run = Path::new("/base").join("./run.sh").display().to_string();
        let runners = [
            ("cfg(unix)".to_owned(), vec![run, "a b".to_owned()]),
            ("t".to_owned(), vec!["qemu".to_owned(), "-L".to_owned(), "/x".to_owned()]),
        ];
        assert_eq!(settings.runners, runners);
        assert_eq!((settings.triple.as_deref(), settings.rustc.as_deref()), (Some("t"), Some("r")));
        assert_eq!(super::tests::settings("[]"), Settings::default());
    }

    #[test]
    fn the_runner_of_this_platform() {
        let toolchain = Toolchain::parse(LINUX);
        assert_eq!(toolchain.triple.as_deref(), Some("x86_64-unknown-linux-gnu"));
        let runner = |json: &str, variable: Option<&str>| {
            let lookup = |name: &str| {
                assert_eq!(name, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
                variable.map(OsString::from)
            };
            let words = settings(json).runner(&toolchain, &lookup).map_err(|e| e.to_string())?;
            Ok::<_, String>(words.join(OsStr::new(" ")))
        };
        let is = |words: &str| Ok::<_, String>(OsString::from(words));
        let both = r#"{"target":{"x86_64-unknown-linux-gnu":{"runner":"exact"},"cfg(unix)":{"runner":"some"}}}"#;
        assert_eq!(runner("{}", None), is(""));
        assert_eq!(runner(both, None), is("exact"));
        assert_eq!(runner(both, Some("from env")), is("from env"));
        assert_eq!(runner(r#"{"target":{"cfg(windows)":{"runner":"w"}}}"#, None), is(""));
        assert_eq!(runner(r#"{"target":{"cfg(unix)":{"runner":"u"}}}"#, None), is("u"));
        let two =
            r#"{"target":{"cfg(unix)":{"runner":"u"},"cfg(target_os=\"linux\")":{"runner":"l"}}}"#;
        assert!(runner(two, None).is_err_and(|error| error.starts_with("several target runners")));
        assert!(settings(both).runner(&Toolchain::parse(""), &|_| None).unwrap().is_empty());
    }
}
