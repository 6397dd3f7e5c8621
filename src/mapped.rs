//! Holds the bytes of a file, mapped if the system can do that, so that only the pages that are
//! used are read.
#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The content of a file.
pub(crate) enum Bytes {
    /// The mapped file.
    Mapped(Mmap),
    /// A copy: the file was read or unpacked, or came from a process.
    Owned(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Owned(Vec::new())
    }
}

/// Files up to this size are read. That costs little, and protects from programs such as `cp`,
/// which overwrite a file in place.
const SMALL: u64 = 1 << 20;

impl Bytes {
    /// Reads or maps the file at `path`, for use over a long time.
    pub(crate) fn open(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        let size = file.metadata()?.len();
        if size > SMALL {
            return Ok(Bytes::Mapped(map(&file)?));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(SMALL).read_to_end(&mut bytes)?;
        Ok(Bytes::Owned(bytes))
    }

    /// Maps the file at `path`, for a short look at a few of its pages.
    #[cfg(target_os = "linux")]
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::Owned(Vec::new()));
        }
        Ok(Bytes::Mapped(map(&file)?))
    }

    /// Maps a recording, which is read once from its start to its end.
    pub(crate) fn of_recording(mut file: &File) -> io::Result<Bytes> {
        if let Ok(map) = map(file) {
            #[cfg(unix)]
            let _ = map.advise(memmap2::Advice::Sequential);
            return Ok(Bytes::Mapped(map));
        }
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Bytes::Owned(bytes))
    }
}

/// Opens only regular files: the name of a module may be that of a device or a pipe.
fn regular(path: &Path) -> io::Result<File> {
    // The check comes before opening, because opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only. If the file is overwritten in place meanwhile,
    // its bytes may change. Readers check every bound and never rely on reading the same byte
    // twice. If it is cut short, the system ends us with SIGBUS. Nobody cuts a finished recording,
    // and compilers and package managers replace modules by renaming, which leaves the mapped file
    // as it was.
    unsafe { Mmap::map(file) }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
