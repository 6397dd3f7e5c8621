//! Lets the perf program turn perf.data into perf-script text.

use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use bstr::ByteSlice;

use super::Config;
use crate::error::{Error, Result};
use crate::tally::{Loss, Tally};

pub(crate) enum Recording<'a> {
    /// A perf.data file.
    File(PathBuf),
    /// The same bytes from anywhere else.
    Stream(Box<dyn Read + Send + 'a>),
}

/// Scripts `recording`, called `name` in errors, and passes the text to `read`, which must read it
/// to its end.
///
/// perf runs in parallel and streams its text. Only a perf.data *file* that arrives as a stream is
/// copied to a temporary file, because perf seeks in it. The losses that perf reports go into
/// `tally`.
pub(crate) fn script(
    config: &Config,
    recording: Recording<'_>,
    name: &str,
    tally: &mut Tally,
    read: impl FnOnce(&mut dyn Read, &mut Tally) -> Result<()>,
) -> Result<()> {
    let (path, stream, _spool) = place(recording, name)?;
    let file = stream.is_none().then(|| path.clone());
    let mut command = command(config);
    command.arg("-i").arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stream.is_some() { Stdio::piped() } else { Stdio::null() });
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|source| Error::Spawn {
        program: program.clone(),
        source,
        remedy: "install perf (package linux-perf or linux-tools), or set PERF to its path".into(),
    })?;
    let (outcome, said) = thread::scope(|scope| {
        if let (Some(mut stream), Some(mut stdin)) = (stream, child.stdin.take()) {
            // If perf stops reading, its status says why, so the broken pipe is ignored.
            let feed = move || io::copy(&mut stream, &mut stdin).is_ok();
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, feed) {
                // perf sees the end of its input.
                return (Err(no_thread(error)), Vec::new());
            }
        }
        let stderr = child.stderr.take();
        let listen = move || stderr.map(last_words).unwrap_or_default();
        let listener = match thread::Builder::new().spawn_scoped(scope, listen) {
            Ok(listener) => listener,
            Err(error) => {
                let _ = child.kill();
                return (Err(no_thread(error)), Vec::new());
            }
        };
        let outcome = match child.stdout.take() {
            Some(mut stdout) => read(&mut stdout, tally),
            None => {
                Err(Error::io(|| "cannot read from perf script")(io::ErrorKind::NotFound.into()))
            }
        };
        if outcome.is_err() {
            // Nobody reads its text now.
            let _ = child.kill();
        }
        (outcome, listener.join().unwrap_or_default())
    });
    outcome?;
    end(child, &program, &said).map_err(|error| match file.and_then(|file| cut_short(&file)) {
        // perf crashes on such files, or its message does not help.
        Some((at, problem)) => Error::Corrupt { input: name.into(), at, problem },
        None => error,
    })?;
    tally.lose(Loss::Lost, lost_samples(&said), 0);
    // This is perf's only message if a stream ends in the middle of a record.
    tally.lose(Loss::CutShort, u64::from(said.contains_str("unexpected end of event stream")), 0);
    Ok(())
}

fn command(config: &Config) -> Command {
    let program = std::env::var_os("PERF").unwrap_or_else(|| "perf".into());
    let mut command = Command::new(program);
    // --force reads recordings of another user, such as those made with --root. By default, perf
    // leaves out the root of chains with more than 127 frames.
    command.args(["script", "--force", "--max-stack", "8192"]);
    if config.no_inline {
        command.arg("--no-inline");
    }
    if config.pids {
        // If a field is added, tracepoints lose their default fields.
        command.args(["-F", "+pid,+ip,+sym,+symoff,+dso"]);
    }
    if config.header {
        command.arg("--header");
    }
    command
}

fn no_thread(error: io::Error) -> Error {
    Error::io(|| "cannot start a thread")(error)
}

type Placed<'a> = (PathBuf, Option<Box<dyn Read + Send + 'a>>, Option<tempfile::NamedTempFile>);

/// Where perf finds the recording: the path for its `-i`, the stream for its stdin, and a temporary
/// file.
fn place<'a>(recording: Recording<'a>, name: &str) -> Result<Placed<'a>> {
    let mut stream = match recording {
        Recording::File(path) => return Ok((path, None, None)),
        Recording::Stream(stream) => stream,
    };
    let mut start = Vec::new();
    let reading = || format!("cannot read {name}");
    (&mut stream).take(16).read_to_end(&mut start).map_err(Error::io(reading))?;
    let rest = io::Cursor::new(start.clone()).chain(stream);
    // The header of a stream is its magic and its own size, 16. That of a file is longer.
    if start
        .get(8..16)
        .is_some_and(|size| size == 16u64.to_le_bytes() || size == 16u64.to_be_bytes())
    {
        return Ok(("-".into(), Some(Box::new(rest)), None));
    }
    let spool = || "cannot copy the recording to a temporary file";
    let mut file = tempfile::NamedTempFile::new().map_err(Error::io(spool))?;
    let mut rest = rest;
    io::copy(&mut rest, &mut file).map_err(Error::io(spool))?;
    file.flush().and_then(|()| file.rewind()).map_err(Error::io(spool))?;
    Ok((file.path().to_owned(), None, Some(file)))
}

fn end(mut child: Child, program: &str, said: &[u8]) -> Result<()> {
    let status = child.wait().map_err(Error::io(|| format!("cannot wait for {program}")))?;
    if status.success() {
        return Ok(());
    }
    let said = said.trim().to_str_lossy();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    Err(Error::Child { program: format!("{program} script"), status, said })
}

/// Where a perf.data file ends, and the problem, if its header states a larger size.
///
/// The header has a magic number, its own size, the size of an attribute, and three sections, each
/// with an offset and a size. The second section is the data (perf.data-file-format.txt).
fn cut_short(file: &Path) -> Option<(String, String)> {
    let mut file = std::fs::File::open(file).ok()?;
    let len = file.metadata().ok()?.len();
    let mut header = [0; 72];
    let end = match file.read_exact(&mut header) {
        Ok(()) => {
            let field = |at: usize| {
                let bytes = header.get(at..)?.first_chunk()?;
                let little = header.starts_with(b"PERFILE2");
                Some(if little { u64::from_le_bytes(*bytes) } else { u64::from_be_bytes(*bytes) })
            };
            field(40)?.checked_add(field(48)?)?
        }
        Err(_) => header.len() as u64,
    };
    let problem = format!("it is cut short: it should have {end} bytes or more");
    (end > len).then_some((format!("byte {len}"), problem))
}

/// The end of perf's messages. perf may print one for each address.
fn last_words(mut stderr: impl Read) -> Vec<u8> {
    const KEPT: usize = 2048;
    let mut words = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        words.extend_from_slice(&buffer[..n]);
        words.drain(..words.len().saturating_sub(KEPT));
    }
    words
}

/// The losses in `Processed 1195 samples and lost 49.46%!`, or in `Processed 11270 events and lost
/// 3 chunks!` if there were fewer. A chunk has at least one sample.
fn lost_samples(said: &[u8]) -> u64 {
    let between = |start: &str, end: &str| {
        let (_, rest) = said.split_once_str(start)?;
        rest.split_once_str(end)?.0.to_str().ok()
    };
    let share = || {
        let (all, percent) = between("Processed ", "%!")?.split_once(" samples and lost ")?;
        Some((all.parse::<f64>().ok()? * percent.parse::<f64>().ok()? / 100.0).round() as u64)
    };
    let chunks = || between(" and lost ", " chunks")?.parse().ok();
    share().or_else(chunks).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_heard() {
        for (said, lost) in [
            ("Processed 11270 events and lost 3 chunks!\n\nCheck IO/CPU overload!\n", 3),
            ("Warning:\nProcessed 1195 samples and lost 49.46%!\n\n", 591),
            ("Processed many samples and lost all%!", 0),
            ("nothing", 0),
        ] {
            assert_eq!(lost_samples(said.as_bytes()), lost, "{said}");
        }
    }

    #[test]
    fn only_the_last_words_are_kept() {
        let mut long = vec![b'x'; 100_000];
        long.extend_from_slice(b"the end");
        let words = last_words(&long[..]);
        assert!(words.len() <= 2048 && words.ends_with(b"the end"));
    }
}
