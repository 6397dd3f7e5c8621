//! The code that a jitdump holds, and what it says of how the code's functions are left.
//!
//! Source: the kernel's tools/perf/Documentation/jitdump-specification.txt, and
//! tools/perf/util/genelf.c for what the unwinding record holds: the bytes of `.eh_frame`, then
//! those of `.eh_frame_hdr`. It belongs to the code that comes next.

use std::collections::HashMap;
use std::ops::Range;

use super::config::rooted;
use super::jit::Fields;
use super::loader::Loader;
use super::map::Bytes;
use super::path::file_path;

impl Loader {
    /// The code in the jitdump that was recorded as `path`; `None` if the dump is gone or is none.
    pub(crate) fn jit_code(&self, path: &[u8]) -> Option<JitCode> {
        JitCode::read(Bytes::open(&rooted(self.config(), &file_path(path))).ok()?)
    }
}

/// One piece of code, as of a time.
#[derive(Clone)]
struct Piece {
    time: u64,
    start: u64,
    size: u64,
    code: Range<usize>,
    eh_frame: Option<Range<usize>>,
}

/// The code of one jitdump.
pub(crate) struct JitCode {
    bytes: Bytes,
    /// By start, then by time.
    pieces: Vec<Piece>,
    /// The size of the largest piece.
    longest: u64,
}

const LOAD: u32 = 0;
const MOVE: u32 = 1;
const UNWINDING: u32 = 4;

impl JitCode {
    /// Reads a dump as far as it is whole; `None` if these bytes are none.
    pub(super) fn read(bytes: Bytes) -> Option<JitCode> {
        let big = match bytes.first_chunk::<4>()? {
            b"DTiJ" => false,
            b"JiTD" => true,
            _ => return None,
        };
        let header = Fields { bytes: &bytes, big }.u32(8)? as usize;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut known: HashMap<u64, Piece> = HashMap::new();
        let mut eh_frame = None;
        let mut at = header.max(40);
        while let Some(rest) = bytes.get(at..) {
            let fields = Fields { bytes: rest, big };
            let (Some(kind), Some(size)) = (fields.u32(0), fields.u32(4)) else { break };
            let size = size as usize;
            let Some(record) = rest.get(..size).filter(|record| record.len() >= 16) else { break };
            let fields = Fields { bytes: record, big };
            match kind {
                LOAD => {
                    if let Some((index, mut piece)) = load(&fields, at) {
                        piece.eh_frame = eh_frame.take();
                        known.insert(index, piece.clone());
                        pieces.push(piece);
                    }
                }
                MOVE => {
                    let moved = fields.u64(56).and_then(|index| known.get(&index));
                    if let (Some(old), Some(start), Some(time)) =
                        (moved, fields.u64(40), fields.u64(8))
                    {
                        pieces.push(Piece { time, start, ..old.clone() });
                    }
                }
                UNWINDING => eh_frame = unwinding(&fields, at),
                _ => {}
            }
            at += size;
        }
        pieces.sort_by_key(|piece| (piece.start, piece.time));
        let longest = pieces.iter().map(|piece| piece.size).max().unwrap_or(0);
        Some(JitCode { bytes, pieces, longest })
    }

    /// The number of the code at `address` as of `time`: the latest before it, or else the first;
    /// without a time the last.
    pub(crate) fn find(&self, address: u64, time: Option<u64>) -> Option<usize> {
        let from = address.saturating_sub(self.longest);
        let from = self.pieces.partition_point(|piece| piece.start < from);
        let until = self.pieces.partition_point(|piece| piece.start <= address);
        let there = (from..until).filter(|&number| {
            let piece = &self.pieces[number];
            address - piece.start < piece.size
        });
        let is_then = |&number: &usize| time.is_none_or(|time| self.pieces[number].time <= time);
        let latest = there.clone().filter(is_then).max_by_key(|&number| self.pieces[number].time);
        latest.or_else(|| there.min_by_key(|&number| self.pieces[number].time))
    }

    /// Where the code of this number lies, and its size.
    pub(crate) fn place(&self, number: usize) -> Option<(u64, u64)> {
        self.pieces.get(number).map(|piece| (piece.start, piece.size))
    }

    /// The bytes from `address` to the end of the code of this number.
    pub(crate) fn bytes_at(&self, number: usize, address: u64) -> Option<&[u8]> {
        let piece = self.pieces.get(number)?;
        let at = usize::try_from(address.checked_sub(piece.start)?).ok()?;
        self.bytes.get(piece.code.clone())?.get(at..)
    }

    /// The call frame information of the code of this number.
    pub(crate) fn eh_frame(&self, number: usize) -> Option<&[u8]> {
        self.bytes.get(self.pieces.get(number)?.eh_frame.clone()?)
    }
}

/// `JIT_CODE_LOAD`: pid, tid, vma, address, size, index, name, code. The record begins at `at`.
fn load(fields: &Fields<'_>, at: usize) -> Option<(u64, Piece)> {
    let (start, size, index) = (fields.u64(32)?, fields.u64(40)?, fields.u64(48)?);
    // The code is what ends the record.
    let length = usize::try_from(size).ok()?;
    let code = fields.bytes.len().checked_sub(length).filter(|&code| code > 56)?;
    let time = fields.u64(8)?;
    let code = at + code..at + fields.bytes.len();
    Some((index, Piece { time, start, size, code, eh_frame: None }))
}

/// `JIT_CODE_UNWINDING_INFO`: the size of all, that of `.eh_frame_hdr`, what is mapped. The record
/// begins at `at`.
fn unwinding(fields: &Fields<'_>, at: usize) -> Option<Range<usize>> {
    const DATA: usize = 40;
    let all = usize::try_from(fields.u64(16)?).ok()?;
    let header = usize::try_from(fields.u64(24)?).ok()?;
    let length = all.checked_sub(header).filter(|&length| length > 0)?;
    fields.bytes.get(DATA..DATA.checked_add(length)?)?;
    Some(at + DATA..at + DATA + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn code_is_that_of_its_time_and_tables_belong_to_the_next() {
        let mut dump = [b"DTiJ".as_slice(), &[1, 0, 0, 0, 40, 0, 0, 0], &[0; 28]].concat();
        let mut record = |kind: u32, time: u64, words: &[u64], tail: &[u8]| {
            let size = (16 + words.len() * 8 + tail.len()) as u32;
            dump.extend([kind, size].iter().flat_map(|word| word.to_le_bytes()));
            dump.extend([time].iter().chain(words).flat_map(|word| word.to_le_bytes()));
            dump.extend(tail);
        };
        record(LOAD, 10, &[0, 0x1000, 0x1000, 3, 1], b"first\0abc");
        record(UNWINDING, 20, &[6, 2, 6], b"tabletab");
        record(LOAD, 20, &[0, 0x1000, 0x1000, 3, 2], b"second\0xyz");
        record(MOVE, 30, &[0, 0x1000, 0x1000, 0x5000, 3, 2], b"");
        let code = JitCode::read(Bytes::Owned(dump)).unwrap();
        let at = |address, time| {
            let number = code.find(address, time)?;
            Some((code.bytes_at(number, address)?, code.eh_frame(number)))
        };
        assert_eq!(at(0x1001, Some(15)), Some((&b"bc"[..], None)));
        assert_eq!(at(0x1001, Some(25)), Some((&b"yz"[..], Some(&b"tabl"[..]))));
        assert_eq!(at(0x1001, None), at(0x1001, Some(25)));
        assert_eq!(at(0x5000, None).unwrap().0, b"xyz");
        assert_eq!(at(0x1003, None), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            JitCode::read(Bytes::Owned([b"DTiJ".as_slice(), &bytes].concat()));
        }
    }
}
