//! The bytes of a whole recording: mapped where the system can, read where it cannot.
#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Deref;

use memmap2::Mmap;

/// A file's bytes.
pub(super) enum Whole {
    Map(Mmap),
    Read(Vec<u8>),
}

impl Whole {
    /// Maps `file`, or reads it from its start.
    pub(super) fn new(mut file: &File) -> io::Result<Whole> {
        // SAFETY: the bytes are only ever read as integers and byte strings, of which every value is valid; each is checked
        // on its own, no decision rests on a byte being the same when it is read again. If the file is made
        // shorter meanwhile, the system ends us with SIGBUS: nobody shortens a finished recording.
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
