//! Opens files and standard streams for the programs. No other code does.
//!
//! Outputs are atomic: a file is written beside its target, and renamed when it is complete, so a
//! failure never destroys the old file. Inputs refuse a terminal, because nobody types a profile.

use std::fmt::{Arguments, Display};
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempPath;

use super::pack::Packed;
use super::program::Failure;
use super::{progress, signals};
use crate::input::unpack;

/// Prints a message on stderr, as `name: message`.
pub(crate) fn say(name: &str, message: Arguments<'_>) {
    // If stderr is closed there is nobody to tell.
    let (_line, mut stderr) = progress::stderr();
    let _ = writeln!(stderr, "{name}: {}", plain(message));
}

/// Prints one more line on stderr.
pub(crate) fn say_more(line: Arguments<'_>) {
    let (_line, mut stderr) = progress::stderr();
    let _ = writeln!(stderr, "{}", plain(line));
}

/// `text` with a `?` for each control character except the ends of lines. Names may come from any
/// program, and a terminal would obey them.
fn plain(text: Arguments<'_>) -> String {
    let keep = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.to_string().chars().map(keep).collect()
}

/// Prints a stage's quality line unless `quiet`.
pub(crate) fn report(name: &str, quiet: bool, tally: &dyn Display) {
    if !quiet {
        say(name, format_args!("{tally}"));
    }
}

/// An open input and its name.
///
/// gzip, zstd and xz are decompressed and UTF-16 becomes plain text, unless the file is opened as
/// it is.
pub(crate) struct Input {
    /// A path as it was typed, or `standard input`.
    pub(crate) name: String,
    pub(crate) reader: Box<dyn Read + Send>,
    /// The same bytes as a file, if it is a regular one, which can be mapped, split and read twice.
    pub(crate) file: Option<File>,
    /// The exact path of that file, which the name may not have, or of the directory of a
    /// recording's parts.
    pub(crate) path: Option<PathBuf>,
}

impl Input {
    /// Opens `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Input> {
        Input::open_as_it_is(path)?.plain()
    }

    /// Standard input.
    pub(crate) fn stdin() -> Result<Input> {
        Input::stdin_as_it_is()?.plain()
    }

    /// Decompresses the input if it is compressed.
    fn plain(mut self) -> Result<Input> {
        if let Some(file) = &self.file {
            // A plain file can still be mapped, split and read twice.
            let mut start = [0; 6];
            let read = read_at_start(file, &mut start);
            let is_plain = read.is_ok_and(|read| !unpack::is_coded(&start[..read]));
            if is_plain {
                return Ok(self);
            }
        } else if self.path.is_some() {
            // A directory of parts.
            return Ok(self);
        }
        let (reader, is_other) = unpack::plain(&self.name, self.reader)?;
        self.reader = reader;
        if is_other {
            self.file = None;
            self.path = None;
        }
        Ok(self)
    }

    /// Opens `path` without looking at its content; `-` is standard input.
    ///
    /// A stage that reads from a pipe survives the first Ctrl-C, because the recorder ends, and its
    /// output with it.
    pub(crate) fn open_as_it_is(path: &Path) -> Result<Input> {
        if path == Path::new("-") {
            return Input::stdin_as_it_is();
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let kind = file.metadata().with_context(|| format!("cannot read {name}"))?;
        let part = path.join("data");
        if kind.is_dir() && part.is_file() {
            // A directory of `perf record --threads`. Its reader needs all of its files.
            let reader = File::open(part).with_context(|| format!("cannot read {name}"))?;
            signals::end_on_interrupt();
            return Ok(Input {
                name,
                reader: Box::new(reader),
                file: None,
                path: Some(path.into()),
            });
        }
        if kind.is_dir() {
            anyhow::bail!("cannot read {name}: it is a directory");
        }
        signals::end_on_interrupt();
        let twin = if kind.is_file() { file.try_clone().ok() } else { None };
        let path = twin.is_some().then(|| path.to_owned());
        Ok(Input { name, reader: Box::new(file), file: twin, path })
    }

    /// Standard input, without looking at its content.
    pub(crate) fn stdin_as_it_is() -> Result<Input> {
        if io::stdin().is_terminal() {
            let hint = "standard input is a terminal: name a file, or pipe data in";
            return Err(Failure::Usage(hint.into()).into());
        }
        signals::outlive_interrupt();
        let file = stdin_file();
        let path = file.as_ref().and_then(|_| stdin_path());
        Ok(Input { name: "standard input".into(), reader: Box::new(raw_stdin()), file, path })
    }
}

/// Inputs that are opened one after another, because there may be more than may be open at once.
pub(crate) struct Inputs {
    paths: std::vec::IntoIter<PathBuf>,
    failed: Option<anyhow::Error>,
}

impl Inputs {
    /// Those at `paths`, or standard input if there are none.
    ///
    /// # Errors
    /// A file cannot be read: that is better known before others are read for a while.
    pub(crate) fn new(mut paths: Vec<PathBuf>) -> Result<Inputs> {
        for path in &paths {
            // A pipe can be opened only once.
            let is_pipe = fs::metadata(path).is_ok_and(|kind| !kind.is_file());
            if !is_pipe && path != Path::new("-") {
                Input::open(path)?;
            }
        }
        if paths.is_empty() {
            paths.push("-".into());
        }
        Ok(Inputs { paths: paths.into_iter(), failed: None })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| match path.to_str() {
            Some("-") => "standard input".into(),
            _ => path.display().to_string(),
        };
        self.paths.as_slice().iter().map(name).collect()
    }

    /// Whether all could be opened, after the last.
    pub(crate) fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Iterator for Inputs {
    type Item = Input;

    fn next(&mut self) -> Option<Input> {
        let opened = Input::open(&self.paths.next()?);
        opened.map_err(|error| self.failed = Some(error)).ok()
    }
}

/// Reads the first bytes of `file`, and leaves its position unchanged.
#[cfg(unix)]
fn read_at_start(file: &File, start: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, start, 0)
}

#[cfg(not(unix))]
fn read_at_start(file: &File, start: &mut [u8]) -> io::Result<usize> {
    use std::io::Seek;
    let mut file = file;
    let read = file.read(start)?;
    file.rewind()?;
    Ok(read)
}

/// Standard input without std's 8 KiB buffer, because stages have their own page-aligned ones.
#[cfg(unix)]
fn raw_stdin() -> impl Read + Send {
    use std::os::fd::AsFd;
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)) as Box<dyn Read + Send>,
        Err(_) => Box::new(io::stdin()),
    }
}

#[cfg(not(unix))]
fn raw_stdin() -> impl Read + Send {
    io::stdin()
}

/// Standard input as a file, if it is one and nothing of it was read: `fg-render < all.folded`.
#[cfg(unix)]
fn stdin_file() -> Option<File> {
    use std::io::Seek;
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let is_whole = file.metadata().ok()?.is_file() && file.stream_position().ok()? == 0;
    is_whole.then_some(file)
}

#[cfg(not(unix))]
fn stdin_file() -> Option<File> {
    None
}

/// A path that opens standard input again, for several threads and other programs. So a file that
/// is redirected is read like one that is named.
#[cfg(target_os = "linux")]
fn stdin_path() -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/{}/fd/0", std::process::id()));
    File::open(&path).is_ok().then_some(path)
}

/// On other systems, a file that is opened like this shares the position of standard input.
#[cfg(not(target_os = "linux"))]
fn stdin_path() -> Option<PathBuf> {
    None
}

/// An output that becomes visible as a whole or not at all.
pub(crate) struct Output {
    /// A path as it was typed, or `standard output`.
    pub(crate) name: String,
    /// Whether it is our standard output.
    pub(crate) is_stdout: bool,
    to: To,
}

enum To {
    /// A stream: standard output, a terminal, a FIFO, `/dev/null`.
    Stream(Packed<BufWriter<Box<dyn Write + Send>>>),
    /// A file beside `target`, which is renamed to it on commit.
    File { file: Packed<BufWriter<File>>, temporary: TempPath, target: PathBuf },
}

/// Who may read a new file. An existing file keeps its mode.
#[derive(Clone, Copy)]
enum Readers {
    /// Everybody whom the umask allows.
    All,
    /// Only its owner, as with perf's recordings.
    Owner,
}

impl Output {
    /// Opens `path` for writing. `None`, `-` and `/dev/stdout` are standard output, which is never
    /// replaced, even if it is a file. The content is packed if the name ends in `.gz` or `.zst`.
    pub(crate) fn create(path: Option<&Path>) -> Result<Output> {
        let mut output = Output::as_it_is(path, Readers::All)?;
        let Some(path) = path.filter(|_| !output.is_stdout) else { return Ok(output) };
        let packing = || format!("cannot pack {}", path.display());
        output.to = match output.to {
            To::Stream(out) => {
                To::Stream(Packed::by_name(path, out.finish()?).with_context(packing)?)
            }
            To::File { file, temporary, target } => {
                let file = Packed::by_name(path, file.finish()?).with_context(packing)?;
                To::File { file, temporary, target }
            }
        };
        Ok(output)
    }

    /// Like [`Output::create`], for a file that may hold a program's memory or kernel addresses:
    /// only its owner may read a new file.
    pub(crate) fn create_private(path: Option<&Path>) -> Result<Output> {
        Output::as_it_is(path, Readers::Owner)
    }

    /// Opens an output whose bytes are written as they are.
    fn as_it_is(path: Option<&Path>, readers: Readers) -> Result<Output> {
        match path {
            Some(path) if !["-", "/dev/stdout", "/dev/fd/1"].map(Path::new).contains(&path) => {
                let name = path.display().to_string();
                let to = open(path, readers).with_context(|| format!("cannot write {name}"))?;
                Ok(Output { name, is_stdout: false, to })
            }
            _ => {
                let stdout: Box<dyn Write + Send> = Box::new(io::stdout());
                let to = To::Stream(Packed::Plain(BufWriter::with_capacity(1 << 16, stdout)));
                Ok(Output { name: "standard output".into(), is_stdout: true, to })
            }
        }
    }

    /// Like [`Output::create_private`], but refuses a terminal, which binary bytes would harm.
    pub(crate) fn create_recording(path: Option<&Path>) -> Result<Output> {
        Output::create_private(path)?.binary("the recording")
    }

    /// Opens an output of binary bytes, which are written as they are, but not to a terminal.
    pub(crate) fn create_binary(path: Option<&Path>) -> Result<Output> {
        Output::as_it_is(path, Readers::All)?.binary("the profile")
    }

    fn binary(self, what: &str) -> Result<Output> {
        if self.is_stdout && io::stdout().is_terminal() {
            let hint = format!(
                "{what} is binary, but standard output is a terminal: pipe it to a program, or name a file with -o"
            );
            return Err(Failure::Usage(hint).into());
        }
        Ok(self)
    }

    /// The temporary file, for another program that writes it; `None` for a stream.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.to {
            To::Stream(_) => None,
            To::File { temporary, .. } => Some(temporary),
        }
    }

    /// Whether both outputs replace the same file.
    pub(crate) fn is_same_file(&self, other: &Output) -> bool {
        let place = |output: &Output| {
            let To::File { temporary, target, .. } = &output.to else { return None };
            let folder = fs::canonicalize(temporary.parent()?).ok()?;
            Some(folder.join(target.file_name()?))
        };
        place(self).is_some_and(|path| place(other) == Some(path))
    }

    /// The file that [`Output::commit`] replaces; `None` for a stream.
    pub(crate) fn target(&self) -> Option<&Path> {
        match &self.to {
            To::Stream(_) => None,
            To::File { target, .. } => Some(target),
        }
    }

    /// Refuses to stream `input` into itself, as `fg-filter x >> x` would: it would never end.
    pub(crate) fn refuse(&self, input: &Input) -> Result<()> {
        match &input.file {
            Some(file) if self.is_stdout && is_stdout(file) => {
                anyhow::bail!("{} is also standard output", input.name)
            }
            _ => Ok(()),
        }
    }

    /// Renames the file that would be replaced. The answer is its new name, if there is such a
    /// file.
    pub(crate) fn keep_old(&self) -> Result<Option<PathBuf>> {
        let To::File { target, .. } = &self.to else { return Ok(None) };
        let mut old = target.clone().into_os_string();
        old.push(".old");
        match fs::rename(target, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            renamed => {
                renamed.with_context(|| format!("cannot rename {}", self.name))?;
                Ok(Some(old.into()))
            }
        }
    }

    /// Writes everything, and moves the file to its target.
    pub(crate) fn commit(self) -> Result<()> {
        let name = self.name;
        commit(self.to).with_context(|| format!("cannot write {name}"))
    }
}

/// Whether `file` is the one that standard output goes to.
#[cfg(unix)]
fn is_stdout(file: &File) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let identity = |file: &File| file.metadata().map(|file| (file.dev(), file.ino())).ok();
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from).ok();
    stdout.is_some_and(|stdout| identity(&stdout).is_some_and(|it| identity(file) == Some(it)))
}

#[cfg(not(unix))]
fn is_stdout(_: &File) -> bool {
    false
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Stream(stream) => stream.write(bytes),
            To::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stream(stream) => stream.flush(),
            To::File { file, .. } => file.flush(),
        }
    }
}

/// The width of the terminal that standard output is, in characters.
pub(crate) fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.0.into())
}

fn open(path: &Path, readers: Readers) -> io::Result<To> {
    let old = fs::metadata(path).ok();
    let is_stream = old.as_ref().is_some_and(|old| !old.is_file());
    // Follow links, so that the link stays and its file is replaced.
    let target = match behind_links(path) {
        Some(target) if !is_stream => target,
        _ => {
            // Append, so that what others wrote to an open file stays.
            let stream = File::options().write(true).append(cfg!(unix)).open(path)?;
            let stream: Box<dyn Write + Send> = Box::new(stream);
            return Ok(To::Stream(Packed::Plain(BufWriter::with_capacity(1 << 16, stream))));
        }
    };
    if old.is_some() {
        // The folder may allow us to replace a file that we may not write.
        File::options().write(true).open(&target)?;
    }
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let temporary = signals::removable(|| {
        new_file_mode(tempfile::Builder::new().prefix(".flamepipe-"), readers).tempfile_in(folder)
    });
    let temporary = temporary.map_err(without_path)?;
    if let Some(old) = old {
        fs::set_permissions(temporary.path(), old.permissions())?;
    }
    // Errors of the parts do not have the name of the temporary file.
    let (file, temporary) = temporary.into_parts();
    let file = Packed::Plain(BufWriter::with_capacity(1 << 16, file));
    Ok(To::File { file, temporary, target })
}

/// The file that the links at `path` lead to, even if it does not exist.
///
/// `None` for an open descriptor, such as `/dev/fd/3`, because its reader would not see a new file,
/// and for links in a circle, which the system refuses to open.
fn behind_links(path: &Path) -> Option<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..40 {
        if target.starts_with("/dev/fd") || target.starts_with("/proc") {
            return None;
        }
        match fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Some(target),
        }
    }
    None
}

/// The system's error without the name of the temporary file, which means nothing to the user.
fn without_path(error: io::Error) -> io::Error {
    // tempfile appends the name to the system's message, and hides the cause.
    match error.to_string().split_once(" at path ") {
        Some((said, _)) => io::Error::new(error.kind(), said),
        None => error,
    }
}

/// The umask reduces the mode, as with `open(2)`.
#[cfg(unix)]
fn new_file_mode<'a, 'b>(
    builder: &'a mut tempfile::Builder<'b, 'b>,
    readers: Readers,
) -> &'a mut tempfile::Builder<'b, 'b> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(match readers {
        Readers::All => 0o666,
        Readers::Owner => 0o600,
    }))
}

#[cfg(not(unix))]
fn new_file_mode<'a, 'b>(
    builder: &'a mut tempfile::Builder<'b, 'b>,
    _: Readers,
) -> &'a mut tempfile::Builder<'b, 'b> {
    builder
}

fn commit(to: To) -> io::Result<()> {
    match to {
        To::Stream(stream) => stream.finish()?.flush(),
        To::File { file, temporary, target } => {
            file.finish()?.flush()?;
            let path = temporary.to_owned();
            temporary.persist(target).map_err(|error| error.error)?;
            signals::keep_on_interrupt(&path);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_on_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut output = Output::create(Some(&path)).unwrap();
        output.write_all(b"new").unwrap();
        output.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        drop(Output::create(Some(&path)).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let link = folder.path().join("link");
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut output = Output::create(Some(&link)).unwrap();
        output.write_all(b"new").unwrap();
        output.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        let mut null = Output::create(Some(Path::new("/dev/null"))).unwrap();
        null.write_all(b"gone").unwrap();
        null.commit().unwrap();
    }
}
