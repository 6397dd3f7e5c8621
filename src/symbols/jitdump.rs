//! Reads jitdumps: the code that a JIT generated, with its names and its call frame information.
//!
//! A jitdump says when code was placed and moved, so an address is looked up as of the time of its
//! sample. Sources: the kernel's tools/perf/Documentation/jitdump-specification.txt, and
//! tools/perf/util/genelf.c for the record with the call frame information. It holds the bytes of
//! `.eh_frame`, then those of `.eh_frame_hdr`, for the code that comes next.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::{BStr, ByteSlice};

use super::config::rooted;
use super::loader::Loader;
use super::path::file_path;
use crate::mapped::Bytes;

impl Loader {
    /// The jitdump that was recorded as `path`, for its code. `None` if it is gone or is none.
    pub(crate) fn jit_code(&self, path: &[u8]) -> Option<Jitdump> {
        Jitdump::read(Bytes::open(&rooted(self.config(), &file_path(path))).ok()?)
    }
}

/// Code as of a time. The ranges are in the dump.
#[derive(Clone)]
struct Code {
    time: u64,
    start: u64,
    size: u64,
    name: Range<usize>,
    /// The instructions. `None` if the record is too short for them.
    bytes: Option<Range<usize>>,
    eh_frame: Option<Range<usize>>,
}

/// A look-up sees all codes that may hold its address. After this many in sum, it sees only those
/// that start nearest to its address.
const MANY: usize = 1 << 27;
const NEAR: usize = 1 << 10;

/// All code in one jitdump.
pub struct Jitdump {
    bytes: Bytes,
    /// By start, then by time.
    codes: Vec<Code>,
    /// The largest size: how far before an address its code can start.
    longest: u64,
    /// How many codes all look-ups have seen.
    seen: AtomicUsize,
    /// Records that could not be read, or a dump that ends in the middle of one.
    pub odd: u64,
}

impl Jitdump {
    /// Reads a dump that is in memory. `None` if these bytes are not a dump.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Jitdump> {
        Jitdump::read(Bytes::Owned(bytes))
    }

    /// Reads the whole records of a dump. `None` if these bytes are not a dump.
    pub(super) fn read(bytes: Bytes) -> Option<Jitdump> {
        // `JiTD` as a number in the writer's byte order.
        let big = match bytes.first_chunk::<4>()? {
            b"DTiJ" => false,
            b"JiTD" => true,
            _ => return None,
        };
        let header = Fields { bytes: &bytes, big }.u32(8)? as usize;
        let mut reading = Reading::default();
        let mut odd = 0;
        let mut at = header.max(40);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let fields = Fields { bytes: rest, big };
            let size = fields.u32(4).map_or(0, |size| size as usize);
            let Some(record) = rest.get(..size).filter(|record| record.len() >= 16) else {
                odd += 1;
                break;
            };
            if reading.record(Fields { bytes: record, big }, at).is_none() {
                odd += 1;
            }
            at += size;
        }
        let mut codes = reading.codes;
        // The sort is stable: if two codes have one time, the later record stays the later one.
        codes.sort_by_key(|code| (code.start, code.time));
        let longest = codes.iter().map(|code| code.size).max().unwrap_or(0);
        Some(Jitdump { bytes, codes, longest, seen: AtomicUsize::new(0), odd })
    }

    /// The name at `address` as of `time`, and where its code starts: the latest code before that
    /// time, or else the first. Without a time, the last.
    pub fn find(&self, address: u64, time: Option<u64>) -> Option<(&BStr, u64)> {
        let code = self.codes.get(self.code_at(address, time)?)?;
        Some((self.name(code), code.start))
    }

    /// The codes that came to lie at `address`, in order of time: the time, the name and the start.
    /// Empty if the code never changed. A hostile dump may change it many thousand times; then
    /// these are the last changes.
    pub fn changes(&self, address: u64) -> Vec<(u64, &BStr, u64)> {
        const MOST: usize = 128;
        // If two codes have one time, the later one counts.
        let key = |(number, code): &(usize, &Code)| (code.time, *number);
        let mut codes: Vec<(usize, &Code)> = self.there(address).collect();
        if let Some(older) = codes.len().checked_sub(MOST).filter(|older| *older > 0) {
            codes.select_nth_unstable_by_key(older, key);
            codes.drain(..older);
        }
        codes.sort_unstable_by_key(key);
        let mut changes: Vec<(u64, &BStr, u64)> = Vec::new();
        for (_, code) in codes {
            let change = (code.time, self.name(code), code.start);
            match changes.last_mut() {
                Some(last) if last.0 == code.time => *last = change,
                // A hostile dump may move code a thousand times to where it already is.
                Some(last) if (last.1, last.2) == (change.1, change.2) => {}
                _ => changes.push(change),
            }
        }
        if changes.len() > 1 { changes } else { Vec::new() }
    }

    /// The number of the code at `address` as of `time`: the latest before that time, or else the
    /// first. Without a time, the last.
    pub(crate) fn code_at(&self, address: u64, time: Option<u64>) -> Option<usize> {
        let there = self.there(address);
        let is_then = |(_, code): &(usize, &Code)| time.is_none_or(|time| code.time <= time);
        let latest = there.clone().filter(is_then).max_by_key(|(_, code)| code.time);
        let (number, _) = latest.or_else(|| there.min_by_key(|(_, code)| code.time))?;
        Some(number)
    }

    /// Where the code of this number starts, and its size.
    pub(crate) fn place(&self, number: usize) -> Option<(u64, u64)> {
        self.codes.get(number).map(|code| (code.start, code.size))
    }

    /// The bytes from `address` to the end of the code of this number.
    pub(crate) fn bytes_at(&self, number: usize, address: u64) -> Option<&[u8]> {
        let code = self.codes.get(number)?;
        let at = usize::try_from(address.checked_sub(code.start)?).ok()?;
        self.bytes.get(code.bytes.clone()?)?.get(at..)
    }

    /// The call frame information of the code of this number.
    pub(crate) fn eh_frame(&self, number: usize) -> Option<&[u8]> {
        self.bytes.get(self.codes.get(number)?.eh_frame.clone()?)
    }

    fn name(&self, code: &Code) -> &BStr {
        self.bytes.get(code.name.clone()).unwrap_or_default().into()
    }

    /// All code that ever was at `address`.
    fn there(&self, address: u64) -> impl Iterator<Item = (usize, &Code)> + Clone {
        let from = address.saturating_sub(self.longest);
        let from = self.codes.partition_point(|code| code.start < from);
        let until = self.codes.partition_point(|code| code.start <= address);
        // A hostile dump has one huge code, so that all others may be before each address.
        let all = until.saturating_sub(from);
        let is_hostile = self.seen.fetch_add(all, Ordering::Relaxed) > MANY;
        let from = if is_hostile { from.max(until.saturating_sub(NEAR)) } else { from };
        let codes = self.codes.get(from..until).unwrap_or_default();
        (from..).zip(codes).filter(move |(_, code)| address - code.start < code.size)
    }
}

/// The state of a reader.
#[derive(Default)]
struct Reading {
    codes: Vec<Code>,
    /// The last code of each index, for records that move it.
    known: HashMap<u64, Code>,
    /// The call frame information of the next code.
    eh_frame: Option<Range<usize>>,
}

impl Reading {
    /// Takes one record, which starts at byte `at`. `None` if it is broken.
    fn record(&mut self, fields: Fields<'_>, at: usize) -> Option<()> {
        const LOAD: u32 = 0;
        const MOVE: u32 = 1;
        const UNWINDING: u32 = 4;
        let time = fields.u64(8)?;
        match fields.u32(0)? {
            // pid, tid, vma, address, size, index, name, code.
            LOAD => {
                const NAME: usize = 56;
                let size = fields.u64(40)?;
                let name = NAME..NAME + fields.bytes.get(NAME..)?.find_byte(0)?;
                // The record ends with the code.
                let length = fields.bytes.len();
                let code = usize::try_from(size).ok().and_then(|size| length.checked_sub(size));
                let code = code.filter(|&code| code > NAME);
                let code = Code {
                    time,
                    start: fields.u64(32)?,
                    size,
                    name: at + name.start..at + name.end,
                    bytes: code.map(|code| at + code..at + length),
                    eh_frame: self.eh_frame.take(),
                };
                self.known.insert(fields.u64(48)?, code.clone());
                self.codes.push(code);
            }
            // pid, tid, vma, old address, new address, size, index.
            MOVE => {
                let start = fields.u64(40)?;
                let old = self.known.get(&fields.u64(56)?)?;
                self.codes.push(Code { time, start, ..old.clone() });
            }
            UNWINDING => self.eh_frame = unwinding(&fields, at),
            _ => {}
        }
        Some(())
    }
}

/// Finds `.eh_frame` in a record that starts at byte `at`: the size of both sections, that of
/// `.eh_frame_hdr`, how much is mapped, the sections.
fn unwinding(fields: &Fields<'_>, at: usize) -> Option<Range<usize>> {
    const DATA: usize = 40;
    let all = usize::try_from(fields.u64(16)?).ok()?;
    let header = usize::try_from(fields.u64(24)?).ok()?;
    let length = all.checked_sub(header).filter(|&length| length > 0)?;
    fields.bytes.get(DATA..DATA.checked_add(length)?)?;
    Some(at + DATA..at + DATA + length)
}

/// Numbers at offsets of a record.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Fields<'_> {
    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOAD: u32 = 0;
    const MOVE: u32 = 1;
    const UNWINDING: u32 = 4;

    fn dump(records: &[(u32, u64, &[u64], &str)]) -> Vec<u8> {
        let mut bytes = b"DTiJ".to_vec();
        for word in [1u32, 40, 62, 0, 77] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 16]);
        for (kind, time, numbers, name) in records {
            let tail: &[u8] = if name.is_empty() { b"" } else { b"\0\x90\x90" };
            let size = 16 + 8 + numbers.len() * 8 + name.len() + tail.len();
            bytes.extend(kind.to_le_bytes());
            bytes.extend((size as u32).to_le_bytes());
            bytes.extend(time.to_le_bytes());
            bytes.extend([77, 0, 0, 0, 77, 0, 0, 0]);
            numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            bytes.extend(name.as_bytes());
            bytes.extend(tail);
        }
        bytes
    }

    #[test]
    fn dumps_name_addresses_as_of_a_time() {
        let bytes = dump(&[
            (0, 10, &[0x1000, 0x1000, 0x20, 1], "first"),
            (0, 20, &[0x1000, 0x1000, 0x10, 2], "second"),
            (1, 30, &[0x3000, 0x1000, 0x3000, 0x20, 1], ""),
            (3, 40, &[], ""),
            (1, 50, &[0x3000, 0x1000, 0x3000, 0x20, 99], ""),
        ]);
        let read = Jitdump::read(Bytes::Owned(bytes.clone())).unwrap();
        assert_eq!(read.odd, 1);
        for (address, time, name) in [
            (0x1004, Some(15), Some("first")),
            (0x1004, Some(25), Some("second")),
            (0x1004, None, Some("second")),
            (0x1004, Some(1), Some("first")),
            (0x1014, Some(25), Some("first")),
            (0x3004, Some(35), Some("first")),
            (0x3020, Some(35), None),
            (0xfff, None, None),
        ] {
            let found = read.find(address, time).map(|(name, _)| name);
            assert_eq!(found, name.map(BStr::new), "{address:x} at {time:?}");
        }
        let changes = [(10, "first".into(), 0x1000), (20, "second".into(), 0x1000)];
        assert_eq!(read.changes(0x1004), changes);
        assert!(read.changes(0x1014).is_empty() && read.changes(0xfff).is_empty());
        assert!(Jitdump::read(Bytes::Owned(b"ELF".to_vec())).is_none());
        let cut = bytes[..bytes.len() - 3].to_vec();
        assert_eq!(Jitdump::read(Bytes::Owned(cut)).unwrap().odd, 1);
    }

    #[test]
    fn the_last_of_very_many_changes_count() {
        let place = [0x1000, 0x1000, 0x1000, 0x20];
        let moves: Vec<[u64; 5]> =
            (0..20_000).map(|nth| [place[0], place[1], place[2], place[3], 1 + nth % 2]).collect();
        let mut records: Vec<(u32, u64, &[u64], &str)> = vec![
            (LOAD, 10, &[0x1000, 0x1000, 0x20, 1], "one"),
            (LOAD, 20, &[0x1000, 0x1000, 0x20, 2], "two"),
        ];
        records.extend(moves.iter().zip(30..).map(|(it, time)| (MOVE, time, &it[..], "")));
        let read = Jitdump::read(Bytes::Owned(dump(&records))).unwrap();
        let changes = read.changes(0x1004);
        assert_eq!(changes.len(), 128);
        assert_eq!(changes[127], (20_029, "two".into(), 0x1000));
        assert!(changes.is_sorted_by_key(|change| change.0));
        // Code that is moved to where it already is does not change.
        records
            .iter_mut()
            .for_each(|record| record.2 = if record.0 == MOVE { &moves[0] } else { record.2 });
        records.push((LOAD, 50_000, &[0x1000, 0x1000, 0x20, 2], "last"));
        let read = Jitdump::read(Bytes::Owned(dump(&records))).unwrap();
        let names: Vec<_> = read.changes(0x1004).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["one", "last"]);
    }

    #[test]
    fn look_ups_in_a_hostile_dump_become_short() {
        let codes: Vec<[u64; 4]> = (1..20_000).map(|at| [at, at, u64::MAX / 2, at]).collect();
        let records: Vec<_> = codes.iter().map(|code| (LOAD, code[0], &code[..], "f")).collect();
        let read = Jitdump::read(Bytes::Owned(dump(&records))).unwrap();
        assert_eq!(read.there(30_000).count(), codes.len());
        read.seen.store(MANY + 1, Ordering::Relaxed);
        assert_eq!(read.there(30_000).count(), NEAR);
        assert_eq!(read.find(30_000, None), Some(("f".into(), 19_999)));
    }

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
        let code = Jitdump::read(Bytes::Owned(dump)).unwrap();
        let at = |address, time| {
            let number = code.code_at(address, time)?;
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
            Jitdump::from_bytes([b"DTiJ".as_slice(), &bytes].concat());
        }
    }
}
