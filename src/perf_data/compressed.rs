//! Unpacks COMPRESSED records, which `perf record -z` packs with zstd.
//!
//! All COMPRESSED and COMPRESSED2 records of a recording are pieces of one zstd stream. A piece may
//! end in the middle of a record, which the next piece completes. So there is one decompressor with
//! one window, and nothing after a broken piece can be read.

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::bytes::Endian;
use super::window::{Front, Window};

/// The most bytes of one record if the recording does not say how large the recorder's buffer was;
/// perf packs at most one buffer into a record. Without a limit, 64 KB of hostile input could yield
/// gigabytes.
const UNTOLD_LIMIT: u64 = 16 << 20;
/// The largest block of zstd (RFC 8878, 3.1.1.2.4). If a piece ends inside a block, the next piece
/// yields all of it, in addition to its own buffer.
const LARGEST_BLOCK: u64 = 128 << 10;
/// The largest ring buffer.
const LIMIT: u64 = 128 << 20;

/// The decompressor of one recording.
pub(super) struct Inflate {
    decoder: Decoder<'static>,
    window: Window,
}

impl Inflate {
    pub(super) fn new() -> std::io::Result<Inflate> {
        Ok(Inflate { decoder: Decoder::new()?, window: Window::new() })
    }

    /// Unpacks the next piece and passes every whole record to `each`. An error says why the stream
    /// is broken.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        limit: Option<u32>,
        endian: Endian,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let told = limit.map(|buffer| u64::from(buffer) + LARGEST_BLOCK);
        let mut left = told.unwrap_or(UNTOLD_LIMIT).min(LIMIT);
        let mut input = InBuffer::around(piece);
        loop {
            let room = self.window.room();
            let asked = room.len();
            let mut output = OutBuffer::around(room);
            let before = input.pos();
            self.decoder.run(&mut input, &mut output).map_err(|error| error.to_string())?;
            let gained = output.pos();
            self.window.filled(gained);
            loop {
                match self.window.front(endian) {
                    Front::Record(size) => each(self.window.take(size)),
                    Front::Part => break,
                    Front::Broken => return Err("what was compressed are no records".into()),
                }
            }
            left = left
                .checked_sub(gained as u64)
                .ok_or("it holds more than the recorder's buffer could")?;
            if input.pos() == piece.len() && gained < asked {
                return Ok(());
            }
            if gained == 0 && input.pos() == before {
                return Err("it does not end".into());
            }
        }
    }

    /// Whether the last piece ended at the end of a record.
    pub(super) fn is_whole(&self) -> bool {
        self.window.bytes().is_empty()
    }
}
