//! Reads whole lines of a mapped file, one window at a time, without copying and without holding
//! the whole file.
#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io;
use std::ops::Range;

use bstr::ByteSlice;
use memmap2::{Mmap, MmapOptions};

/// The size of a window. A larger one is not faster, and smaller ones are mapped too often.
const WINDOW: u64 = 2 << 20;

/// Windows begin at multiples of this, as all systems allow.
const GRAIN: u64 = 64 << 10;

/// Cuts a part of a file into windows of whole lines.
pub(crate) struct Windows<'a> {
    file: &'a File,
    /// The part that is still to come. It starts at the start of a line.
    rest: Range<u64>,
    size: u64,
    window: Option<Mmap>,
}

impl<'a> Windows<'a> {
    /// Windows of a `part` of `file` that starts at the start of a line. `None` if the file cannot
    /// be mapped.
    pub(crate) fn new(file: &'a File, part: Range<u64>) -> Option<Windows<'a>> {
        let windows = Windows { file, rest: part, size: WINDOW, window: None };
        windows.map(0..1).is_ok().then_some(windows)
    }

    /// The next window of whole lines. Only the last line of the part may lack its newline. `None`
    /// at the end.
    ///
    /// Memory: one window, or the longest line.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        let mut size = self.size;
        while !self.rest.is_empty() {
            let from = self.rest.start / GRAIN * GRAIN;
            let end = self.rest.end.min(self.rest.start + size);
            self.window = None;
            let map = self.map(from..end)?;
            let start = (self.rest.start - from) as usize;
            let whole = match map[start..].rfind_byte(b'\n') {
                Some(newline) => start + newline + 1,
                None if end == self.rest.end => map.len(),
                None => {
                    size *= 2;
                    continue;
                }
            };
            self.rest.start = from + whole as u64;
            return Ok(Some(&self.window.insert(map)[start..whole]));
        }
        Ok(None)
    }

    fn map(&self, part: Range<u64>) -> io::Result<Mmap> {
        let len = (part.end - part.start) as usize;
        // SAFETY: every value of a byte is valid, and no code relies on reading the same byte
        // twice. If somebody shortens the file meanwhile, the system ends us with SIGBUS; nobody
        // shortens a finished text.
        unsafe { MmapOptions::new().offset(part.start).len(len).populate().map(self.file) }
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
            lines in prop::collection::vec(0usize..60_000, 0..12), start in 0usize..12, size in 1u64..200_000,
        ) {
            let text: Vec<u8> = lines.iter().flat_map(|&len| [vec![b'x'; len], vec![b'\n']].concat()).collect();
            let start = lines.iter().take(start).map(|len| len + 1).sum::<usize>();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let Some(mut windows) = Windows::new(&file, start as u64..text.len() as u64) else {
                prop_assert!(text.is_empty());
                return Ok(());
            };
            windows.size = size;
            let mut all = Vec::new();
            while let Some(chunk) = windows.next_chunk().unwrap() {
                prop_assert!(chunk.ends_with(b"\n"));
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(all.as_bstr(), text[start..].as_bstr());
        }
    }
}
