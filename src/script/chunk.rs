//! Cuts a stream into large chunks of whole lines, without a copy.
//!
//! The kernel copies fastest into page-aligned memory (0.055 s instead of 0.315 s for 635 MB on a
//! Zen 3). So every read starts at a page border, and the unfinished line of the last chunk is
//! moved to just before it.

use std::io::{self, ErrorKind, Read};

use bstr::ByteSlice;

const PAGE: usize = 4096;

/// Cuts a stream into chunks of whole lines.
pub(crate) struct Chunks<R> {
    source: R,
    buffer: Vec<u8>,
    /// The first page border in `buffer`, plus the whole pages that the longest carried line needed
    /// so far.
    border: usize,
    /// The size of one read.
    size: usize,
    /// The unread bytes are `buffer[start..end]`. The last call lent all but their last line.
    start: usize,
    end: usize,
    finished: bool,
}

impl<R: Read> Chunks<R> {
    /// Chunks of about 64 KiB, which stay in the second-level cache from the kernel's copy to our
    /// reading.
    pub(crate) fn new(source: R) -> Self {
        Chunks::with_size(source, 64 << 10)
    }

    /// Chunks of about `size` bytes. A longer line makes its chunk longer.
    pub(crate) fn with_size(source: R, size: usize) -> Self {
        Chunks {
            source,
            buffer: Vec::new(),
            border: 0,
            size: size.max(1),
            start: 0,
            end: 0,
            finished: false,
        }
    }

    /// The next chunk of whole lines; only the last line of the stream may lack its newline. `None`
    /// at the end.
    ///
    /// Memory: one chunk, or the longest line.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        self.make_room();
        loop {
            if self.buffer.len() < self.end + self.size {
                self.make_room();
            }
            let read = self.read()?;
            if read == 0 {
                self.finished = true;
                let start = self.start;
                let end = self.end;
                return Ok((start < end).then(|| &self.buffer[start..end]));
            }
            let fresh = self.end..self.end + read;
            self.end = fresh.end;
            if let Some(newline) = self.buffer[fresh.clone()].rfind_byte(b'\n') {
                let start = self.start;
                let end = fresh.start + newline + 1;
                self.start = end;
                return Ok(Some(&self.buffer[start..end]));
            }
        }
    }

    /// Moves the unfinished line in front of a page border, with room for one read behind it.
    fn make_room(&mut self) {
        let carried = self.end - self.start;
        // One page is reserved from the start, because nearly every chunk leaves a part of a line,
        // and new memory is expensive.
        let border = carried.next_multiple_of(PAGE).max(PAGE);
        if self.buffer.len() < border + self.size + PAGE {
            let mut larger = vec![0; border * 2 + self.size];
            let aligned = larger.as_ptr().align_offset(PAGE).min(PAGE);
            self.border = aligned + border;
            larger[self.border - carried..self.border]
                .copy_from_slice(&self.buffer[self.start..self.end]);
            self.buffer = larger;
        } else {
            let aligned = self.buffer.as_ptr().align_offset(PAGE).min(PAGE);
            self.border = aligned + border;
            self.buffer.copy_within(self.start..self.end, self.border - carried);
        }
        self.start = self.border - carried;
        self.end = self.border;
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.source.read(&mut self.buffer[self.end..self.end + self.size]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns at most `step` bytes per read, as a slow pipe does.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(n);
            buffer[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    proptest! {
        #[test]
        fn chunks_are_whole_lines_and_add_up(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..3000),
            step in 1usize..2000, size in 1usize..2000,
        ) {
            let mut chunks = Chunks::with_size(Slow(&bytes, step), size);
            let mut all = Vec::new();
            while let Some(chunk) = chunks.next_chunk().unwrap() {
                prop_assert!(chunk.ends_with(b"\n") || all.len() + chunk.len() == bytes.len());
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(all, bytes);
        }
    }
}
