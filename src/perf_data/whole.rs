//! Holds the bytes of a whole recording: mapped if the system can do that, read otherwise.
#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Deref;

use memmap2::Mmap;

/// The bytes of a recording.
pub(super) enum Whole {
    Map(Mmap),
    Read(Vec<u8>),
}

impl Whole {
    /// Maps `file`, or reads it from its start.
    pub(super) fn new(mut file: &File) -> io::Result<Whole> {
        // SAFETY: the bytes are only read as integers and byte strings, for which every value is
        // valid. No code relies on reading the same byte twice. If somebody shortens the file
        // meanwhile, the system ends us with SIGBUS; nobody shortens a finished recording.
        if let Ok(map) = unsafe { Mmap::map(file) } {
            #[cfg(unix)]
            let _ = map.advise(memmap2::Advice::Sequential);
            return Ok(Whole::Map(map));
        }
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Whole::Read(bytes))
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Whole::Map(map) => map,
            Whole::Read(bytes) => bytes,
        }
    }
}
