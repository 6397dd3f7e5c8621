//! Reads whole lines of a part of a file, one window at a time, without holding the whole file.
//!
//! The file is read, not mapped. That costs a tenth more than mapping it, which is 1 % of folding,
//! and if somebody shortens the file meanwhile, it just ends early.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bstr::ByteSlice;

/// The size of a window. A larger one leaves the processor's cache, and a smaller one costs more
/// calls.
const WINDOW: usize = 1 << 20;

/// Cuts a part of a file into windows of whole lines.
pub(crate) struct Windows {
    file: io::Take<File>,
    buffer: Vec<u8>,
    /// The bytes in the buffer that were not returned yet.
    rest: Range<usize>,
}

impl Windows {
    /// Windows of a `part` of `file` that starts at the start of a line.
    pub(crate) fn new(file: File, part: Range<u64>) -> io::Result<Windows> {
        Windows::of_size(WINDOW, file, part)
    }

    fn of_size(size: usize, mut file: File, part: Range<u64>) -> io::Result<Windows> {
        file.seek(SeekFrom::Start(part.start))?;
        let file = file.take(part.end.saturating_sub(part.start));
        Ok(Windows { file, buffer: vec![0; size], rest: 0..0 })
    }

    /// The next window of whole lines. Only the last line of the part may lack its newline. `None`
    /// at the end.
    ///
    /// Memory: one window, or the longest line.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.copy_within(self.rest.clone(), 0);
        let mut filled = self.rest.len();
        // The rest of a window has no newline.
        let mut searched = filled;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = match self.file.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            filled += read;
            let newline = self.buffer[searched..filled].rfind_byte(b'\n');
            let whole = match newline {
                Some(newline) => searched + newline + 1,
                None if read == 0 => filled,
                None => {
                    searched = filled;
                    continue;
                }
            };
            self.rest = whole..filled;
            return Ok(self.buffer.get(..whole).filter(|chunk| !chunk.is_empty()));
        }
    }

    /// Whether the file ended before its part did: somebody has shortened it.
    pub(crate) fn is_cut(&self) -> bool {
        self.file.limit() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn windows_are_whole_lines_and_add_up(
            lines in prop::collection::vec(0usize..60_000, 0..12), start in 0usize..12, size in 1usize..200_000,
        ) {
            let text: Vec<u8> = lines.iter().flat_map(|&len| [vec![b'x'; len], vec![b'\n']].concat()).collect();
            let start = lines.iter().take(start).map(|len| len + 1).sum::<usize>();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let mut windows = Windows::of_size(size, file, start as u64..text.len() as u64).unwrap();
            let mut all = Vec::new();
            while let Some(chunk) = windows.next_chunk().unwrap() {
                prop_assert!(chunk.ends_with(b"\n"));
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(all.as_bstr(), text[start..].as_bstr());
            prop_assert!(!windows.is_cut());
        }
    }

    #[test]
    fn a_file_that_is_shortened_ends_early() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&b"line\n".repeat(1000)).unwrap();
        let mut windows = Windows::of_size(50, file.try_clone().unwrap(), 0..5000).unwrap();
        assert_eq!(windows.next_chunk().unwrap().map(<[u8]>::len), Some(50));
        file.set_len(102).unwrap();
        let rest = std::iter::from_fn(|| Some(windows.next_chunk().unwrap()?.to_vec()));
        assert_eq!(rest.collect::<Vec<_>>().concat().len(), 52);
        assert!(windows.is_cut());
    }
}
