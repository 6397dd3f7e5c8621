//! The bytes of a file, mapped where the system can: of a module of 150 MB only the touched pages are read.

#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

/// A file's content.
pub(super) enum Bytes {
    /// Mapped.
    Mapped(memmap2::Mmap),
    /// In memory: what was unpacked, or copied from a process.
    Owned(Vec<u8>),
}

/// A file of up to this many bytes is read: it costs little, and what overwrites the file in place,
/// as `cp` does, cannot change what was read.
const SMALL: u64 = 1 << 20;

impl Bytes {
    /// Reads or maps the file at `path`, to be used for long.
    pub(super) fn open(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        let size = file.metadata()?.len();
        if size <= SMALL {
            let mut bytes = Vec::with_capacity(size as usize);
            file.take(SMALL).read_to_end(&mut bytes)?;
            return Ok(Bytes::Owned(bytes));
        }
        map(&file)
    }

    /// Maps the file at `path`, for a short look at a few of its pages.
    #[cfg(target_os = "linux")]
    pub(super) fn map(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::Owned(Vec::new()));
        }
        map(&file)
    }
}

/// Opens only regular files: a module's name may be that of a device or a pipe.
fn regular(path: &Path) -> io::Result<File> {
    // Asked before opening, as opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the mapping is private and read-only. A module that is overwritten in place while we
    // read it can change under us or end early; what reads it checks every bound and never trusts
    // what it read before. Compilers and package managers replace modules by renaming, which leaves
    // the mapped file as it was.
    Ok(Bytes::Mapped(unsafe { memmap2::Mmap::map(file)? }))
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
