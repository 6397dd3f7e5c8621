//! A fresh directory for each test, our programs as commands, and failures that show everything.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "who uses the rest is of Linux"))]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use bstr::{BString, ByteSlice};

/// A test's own directory, which is removed at its end.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Dir {
        Dir(tempfile::Builder::new().prefix("flamepipe-test-").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> BString {
        std::fs::read(self.path(name)).unwrap().into()
    }

    /// A FIFO through which a program reports its progress. [`read`](Dir::read) waits for that.
    #[cfg(unix)]
    pub fn fifo(&self, name: &str) {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
    }

    /// The names in the directory, sorted: to see that nothing was left behind.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// One of our programs, or any other, to be run in this directory.
    ///
    /// If this system cannot run our programs, `FLAMEPIPE_TEST_RUNNER` is a command that does.
    pub fn cmd(&self, program: &str) -> Cmd {
        let path = bin(program);
        let is_ours = path.starts_with(bin_dir());
        let runner = std::env::var_os("FLAMEPIPE_TEST_RUNNER").filter(|_| is_ours);
        let runner = runner.unwrap_or_default().to_string_lossy().into_owned();
        let mut words = runner.split_whitespace().map(OsStr::new).chain([path.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command.current_dir(self.0.path());
        Cmd { command, stdin: Vec::new() }
    }
}

/// The path of one of our programs as built for this test run; other names stay as they are.
pub fn bin(program: &str) -> PathBuf {
    match program {
        "cargo-flamegraph" => env!("CARGO_BIN_EXE_cargo-flamegraph").into(),
        "fg-diff" => env!("CARGO_BIN_EXE_fg-diff").into(),
        "fg-export" => env!("CARGO_BIN_EXE_fg-export").into(),
        "fg-filter" => env!("CARGO_BIN_EXE_fg-filter").into(),
        "fg-fold" => env!("CARGO_BIN_EXE_fg-fold").into(),
        "fg-record" => env!("CARGO_BIN_EXE_fg-record").into(),
        "fg-render" => env!("CARGO_BIN_EXE_fg-render").into(),
        "fg-script" => env!("CARGO_BIN_EXE_fg-script").into(),
        "fg-top" => env!("CARGO_BIN_EXE_fg-top").into(),
        "flamegraph" => env!("CARGO_BIN_EXE_flamegraph").into(),
        other => other.into(),
    }
}

/// The folder that holds our programs, for a PATH.
pub fn bin_dir() -> PathBuf {
    bin("flamegraph").parent().unwrap().to_owned()
}

/// An example of ours, built as these tests are: `cargo test --test it` alone does not build them.
pub fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repo()).args(["build", "--quiet", "--offline", "--example", name]);
    let folder = bin_dir();
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "cannot build the example {name}");
    folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The path of the repository.
pub fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command and its standard input.
pub struct Cmd {
    pub command: Command,
    stdin: Vec<u8>,
}

impl Cmd {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.command.args(args);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(key, value);
        self
    }

    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Cmd {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{:?}", self.command);
        let mut child =
            self.command.spawn().unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin;
        // A child may close its input early, which is not a failure of the test.
        let writer = std::thread::spawn(move || stdin.write_all(&bytes).is_ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Outcome::of(shown, output)
    }

    /// Runs it and wants success; the answer is its standard output.
    pub fn stdout(self) -> BString {
        self.run().success().stdout
    }
}

/// How a command ended and what it said.
pub struct Outcome {
    shown: String,
    pub status: ExitStatus,
    pub stdout: BString,
    pub stderr: BString,
}

impl Outcome {
    /// That of a command, which is `shown` in failures.
    pub fn of(shown: String, output: std::process::Output) -> Outcome {
        let stdout = output.stdout.into();
        Outcome { shown, status: output.status, stdout, stderr: output.stderr.into() }
    }

    #[track_caller]
    pub fn success(self) -> Outcome {
        self.code(0)
    }

    /// Wants this exit status.
    #[track_caller]
    pub fn code(self, code: i32) -> Outcome {
        assert_eq!(self.status.code(), Some(code), "{}", self.everything());
        self
    }

    /// Wants these words on stderr.
    #[track_caller]
    pub fn says(self, words: &str) -> Outcome {
        assert!(self.stderr.contains_str(words), "stderr lacks {words:?}\n{}", self.everything());
        self
    }

    /// Wants nothing on stderr.
    #[track_caller]
    pub fn says_nothing(self) -> Outcome {
        assert!(self.stderr.is_empty(), "{}", self.everything());
        self
    }

    pub fn everything(&self) -> String {
        let stdout = self.stdout.to_str_lossy();
        let stderr = self.stderr.to_str_lossy();
        let shown: String = stdout.chars().take(4000).collect();
        format!(
            "{} ended with {}\n--- stdout\n{shown}\n--- stderr\n{stderr}\n---",
            self.shown, self.status
        )
    }
}

/// Waits for something that has no event. If it never comes, the test hangs, and libtest names it.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The processor time that this thread has used, in seconds. 0 if no file says it.
pub fn processor_time() -> f64 {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    used.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Says that a test cannot run on a machine like this, and why: nothing that could be installed
/// would change it.
///
/// libtest swallows what a passing test prints, so it also goes into the file of FLAMEPIPE_SKIPPED,
/// which scripts/test shows at the end.
pub fn is_not_for_here(test: &str, why: &str) {
    eprintln!("\n!!! {test} DID NOT RUN: {why}\n");
    if let Some(path) = std::env::var_os("FLAMEPIPE_SKIPPED") {
        let why = why.lines().next().unwrap_or_default();
        let file = std::fs::File::options().append(true).create(true).open(path);
        // Write once, because tests of several threads and processes share the file.
        file.unwrap().write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

/// Says loudly that a test cannot run here, and why. If all tests are required to run, this is a
/// failure.
pub fn cannot_run(test: &str, why: &str) {
    is_not_for_here(test, why);
    assert!(
        std::env::var_os("FLAMEPIPE_TEST_ALL").is_none(),
        "{test} could not run, and FLAMEPIPE_TEST_ALL asks for every test: {why}"
    );
}
