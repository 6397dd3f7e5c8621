//! Runs a program between two stages: `--post-process`.

use std::io::{BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdin, Stdio};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::folded::{self, Folded, FoldedSink, Writer};
use crate::lookup::check_runnable;
use crate::sample::FrameTable;
use crate::tally::{Count, Tally};

/// A sink of folded stacks that writes them to a program and pushes what the program writes into
/// `S`.
///
/// Memory: what the program writes.
pub(crate) struct Command<S> {
    name: String,
    words: Vec<String>,
    program: Option<Running>,
    /// The program has closed its input, as `head -1` does.
    closed: bool,
    /// Nobody reads the program's errors.
    quiet: bool,
    next: S,
}

/// The command as a shell takes it.
pub(super) fn name(words: &[String]) -> String {
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

const REMEDY: &str = "--post-process runs a program with arguments, without a shell: use `sh -c '…'` \
                      for a shell command";

/// Fails if there is no such program, which is better known before the recording than after it.
pub(crate) fn check_command(words: &[String]) -> Result<()> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    check_runnable(program.as_ref(), REMEDY)
}

/// The name of the command's output in errors.
pub(super) fn output_of(name: &str) -> String {
    format!("the output of `{name}`")
}

/// The running program, and the thread that reads its output.
struct Running {
    child: Child,
    to: Option<Writer<ChildStdin>>,
    from: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
}

impl<S: FoldedSink> Command<S> {
    /// The first of `words` is the program, the others are its arguments. It starts with the first
    /// stack, so that the Ctrl-C that ends a recording does not end it.
    pub(crate) fn new(words: Vec<String>, next: S) -> Self {
        Command { name: name(&words), words, program: None, closed: false, quiet: false, next }
    }

    /// The same, without the program's errors.
    pub(super) fn quiet(self) -> Self {
        Command { quiet: true, ..self }
    }

    /// The program. Starts it if necessary.
    fn program(&mut self) -> Result<&mut Running> {
        let program = match self.program.take() {
            Some(program) => program,
            None => self.start()?,
        };
        Ok(self.program.insert(program))
    }

    fn start(&self) -> Result<Running> {
        let Command { name, words, .. } = self;
        let spawn = |source| Error::Spawn { program: name.clone(), source, remedy: REMEDY.into() };
        let Some((program, arguments)) = words.split_first() else {
            return Err(spawn(ErrorKind::InvalidInput.into()));
        };
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        if self.quiet {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().map_err(spawn)?;
        let to = child.stdin.take().map(|stdin| Writer::new(stdin, name.clone()));
        let from = child.stdout.take().map(|mut stdout| {
            std::thread::Builder::new().spawn(move || {
                let mut text = Vec::new();
                stdout.read_to_end(&mut text).map(|_| text)
            })
        });
        let from = from.transpose().map_err(Error::io(|| "cannot start a thread"))?;
        Ok(Running { child, to, from })
    }

    pub(crate) fn into_next(self) -> S {
        self.next
    }

    /// Ignores a closed pipe, because the program's status decides.
    fn forgive(&mut self, written: Result<()>) -> Result<()> {
        match written {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written,
        }
    }
}

impl<S: FoldedSink> FoldedSink for Command<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let to = self.program()?.to.as_mut();
        let written = to.map_or(Ok(()), |to| to.folded(frames, folded));
        self.forgive(written)
    }

    /// The unit bypasses the program, which may not expect comments.
    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.next.text(line)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let to = self.program()?.to.take();
        let written = to.map_or(Ok(()), |mut to| to.finish(frames, tally));
        self.forgive(written)?;
        let name = self.name.clone();
        let program = self.program()?;
        let reading = || format!("cannot read the output of {name}");
        let mut text = match program.from.take().map(JoinHandle::join) {
            Some(Ok(text)) => text.map_err(Error::io(reading))?,
            _ => Vec::new(),
        };
        let status =
            program.child.wait().map_err(Error::io(|| format!("cannot wait for {name}")))?;
        if !status.success() {
            let program = format!("the post-process command `{}`", self.name);
            return Err(Error::Child { program, status, said: String::new() });
        }
        let name = output_of(&self.name);
        if !text.ends_with(b"\n") {
            // The program has ended well, so its text is whole.
            text.push(b'\n');
        }
        if text.trim_ascii().is_empty() {
            return Err(Error::Empty { input: name });
        }
        // The samples are counted already.
        let mut lines = Tally::default();
        folded::read(BufReader::new(&text[..]), &name, frames, &mut self.next, &mut lines)?;
        lines.read = Count::default();
        tally.absorb(lines);
        self.next.finish(frames, tally)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failure elsewhere nobody waits for the program. Closing its input ends it, and
        // the kill makes sure.
        self.to = None;
        if self.from.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
