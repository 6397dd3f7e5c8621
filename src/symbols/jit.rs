//! Names of code that was made while the program ran: `/tmp/perf-PID.map` and jitdump.
//!
//! A map is text without times: what was written last about an address holds. A jitdump is binary and says when code was
//! placed and moved, so an address is named as of the time of its sample.
//! Sources: the kernel's tools/perf/Documentation/jit-interface.txt and jitdump-specification.txt.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

/// Code at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    end: u64,
    /// Shared by the parts of what other code was placed into: a hostile map has one long name in a
    /// million parts.
    name: Arc<[u8]>,
}

/// What one map says: which names lie where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerfMap {
    codes: BTreeMap<u64, Code>,
    /// Lines that are not `START SIZE name`.
    pub odd: u64,
}

impl PerfMap {
    /// Reads the text of a map: `7f10a8000000 40 LazyCompile:~foo /x.js:1`, numbers in hex.
    pub fn read(text: &[u8]) -> PerfMap {
        let mut map = PerfMap::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.splitn_str(3, " ");
            let mut number = || hex(words.next()?);
            match (number(), number(), words.next()) {
                (Some(start), Some(size), Some(name)) if !name.is_empty() => {
                    place(&mut map.codes, start, size, name.into());
                }
                _ => map.odd += 1,
            }
        }
        map
    }

    /// The name at `address` and where its code starts.
    pub fn find(&self, address: u64) -> Option<(&BStr, u64)> {
        let (&start, code) = self.codes.range(..=address).next_back()?;
        (address < code.end).then(|| (BStr::new(&*code.name), start))
    }
}

fn hex(word: &[u8]) -> Option<u64> {
    let word = word.strip_prefix(b"0x").unwrap_or(word);
    u64::from_str_radix(word.to_str().ok()?, 16).ok()
}

/// Puts code over what was there before, of which the uncovered ends stay.
fn place(codes: &mut BTreeMap<u64, Code>, start: u64, size: u64, name: Arc<[u8]>) {
    let end = start.saturating_add(size);
    if start == end {
        return;
    }
    if let Some((_, code)) = codes.range_mut(..start).next_back()
        && code.end > start
    {
        let rest = Code { end: code.end, name: code.name.clone() };
        code.end = start;
        // Old code around new code: its tail is no function, but it is still what lies there.
        if rest.end > end {
            codes.insert(end, rest);
        }
    }
    while let Some((&covered, code)) = codes.range(start..end).next() {
        let rest = Code { end: code.end, name: code.name.clone() };
        codes.remove(&covered);
        if rest.end > end {
            codes.insert(end, rest);
        }
    }
    codes.insert(start, Code { end, name });
}

/// Code as of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dumped {
    time: u64,
    start: u64,
    size: u64,
    name: u32,
}

/// What one jitdump says: which names lay where, when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jitdump {
    /// The process that wrote it.
    pub pid: u32,
    /// By start of the code, then by time.
    codes: Vec<Dumped>,
    names: Vec<BString>,
    /// The longest code: how far before an address its code can start.
    longest: u64,
    /// Records that could not be read, or a dump that ends in the middle of one.
    pub odd: u64,
}

impl Jitdump {
    /// Reads a dump; `None` if these bytes are none.
    pub fn read(bytes: &[u8]) -> Option<Jitdump> {
        // `JiTD` as a number of the writer's byte order.
        let big = match bytes.first_chunk::<4>()? {
            b"DTiJ" => false,
            b"JiTD" => true,
            _ => return None,
        };
        let record = Fields { bytes, big };
        let header = record.u32(8)? as usize;
        let mut dump = Jitdump { pid: record.u32(20)?, ..Jitdump::default() };
        // The place of each code by its index, for records that move it.
        let mut known: HashMap<u64, (u64, u32)> = Default::default();
        let mut rest = bytes.get(header.max(40)..).unwrap_or_default();
        while !rest.is_empty() {
            let fields = Fields { bytes: rest, big };
            let (Some(kind), Some(size)) = (fields.u32(0), fields.u32(4)) else {
                dump.odd += 1;
                break;
            };
            let whole = rest.get(..size as usize).filter(|whole| whole.len() >= 16);
            let Some(whole) = whole else {
                dump.odd += 1;
                break;
            };
            rest = &rest[whole.len()..];
            if dump.record(kind, Fields { bytes: whole, big }, &mut known).is_none() {
                dump.odd += 1;
            }
        }
        dump.longest = dump.codes.iter().map(|code| code.size).max().unwrap_or(0);
        // The sort is stable: of two codes at one time the later record is the later one.
        dump.codes.sort_by_key(|code| (code.start, code.time));
        Some(dump)
    }

    /// Takes one record; `None` if it is broken.
    fn record(
        &mut self,
        kind: u32,
        fields: Fields<'_>,
        known: &mut HashMap<u64, (u64, u32)>,
    ) -> Option<()> {
        let time = fields.u64(8)?;
        match kind {
            // JIT_CODE_LOAD: pid, tid, vma, address, size, index, name.
            0 => {
                let (start, size, index) = (fields.u64(32)?, fields.u64(40)?, fields.u64(48)?);
                let name = fields.bytes.get(56..)?;
                let name = name.get(..name.find_byte(0)?)?;
                let id = u32::try_from(self.names.len()).ok()?;
                self.names.push(name.into());
                known.insert(index, (size, id));
                self.codes.push(Dumped { time, start, size, name: id });
            }
            // JIT_CODE_MOVE: pid, tid, vma, old address, new address, size, index.
            1 => {
                let (start, index) = (fields.u64(40)?, fields.u64(56)?);
                let &(size, name) = known.get(&index)?;
                self.codes.push(Dumped { time, start, size, name });
            }
            // Debug information, unwinding information and the end name nothing.
            _ => {}
        }
        Some(())
    }

    /// The name at `address` as of `time` and where its code starts. Without a time, or with one before all code that
    /// was there, the last, or the first, code counts.
    pub fn find(&self, address: u64, time: Option<u64>) -> Option<(&BStr, u64)> {
        let there = self.there(address);
        let then = |code: &&Dumped| time.is_none_or(|time| code.time <= time);
        let latest = there.clone().filter(then).max_by_key(|code| code.time);
        let code = latest.or_else(|| there.min_by_key(|code| code.time))?;
        Some((self.names.get(code.name as usize)?.as_bstr(), code.start))
    }

    /// What came to lie at `address`, in order of time: from when on, its name, and where it
    /// starts, as [`find`](Jitdump::find) answers from then on. Empty if there was nothing else
    /// ever.
    pub fn changes(&self, address: u64) -> Vec<(u64, &BStr, u64)> {
        let mut codes: Vec<&Dumped> = self.there(address).collect();
        // The sort is stable: of two codes at one time the later one counts.
        codes.sort_by_key(|code| code.time);
        let mut changes: Vec<(u64, &BStr, u64)> = Vec::new();
        for code in codes {
            let Some(name) = self.names.get(code.name as usize) else { continue };
            let change = (code.time, name.as_bstr(), code.start);
            match changes.last_mut() {
                Some(last) if last.0 == code.time => *last = change,
                // Code that is moved to where it was already, a thousand times in a hostile dump.
                Some(last) if (last.1, last.2) == (change.1, change.2) => {}
                _ => changes.push(change),
            }
        }
        if changes.len() > 1 { changes } else { Vec::new() }
    }

    /// All code that ever lay at `address`.
    fn there(&self, address: u64) -> impl Iterator<Item = &Dumped> + Clone {
        let from = address.saturating_sub(self.longest);
        let from = self.codes.partition_point(|code| code.start < from);
        let until = self.codes.partition_point(|code| code.start <= address);
        let codes = self.codes.get(from..until).unwrap_or_default();
        codes.iter().filter(move |code| address - code.start < code.size)
    }
}

/// Numbers at offsets of a record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) big: bool,
}

impl Fields<'_> {
    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn u64(&self, at: usize) -> Option<u64> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn maps_name_addresses_and_later_lines_win() {
        let map = PerfMap::read(
            b"7f0010 20 LazyCompile:~a b /x.js:1\n0x7f0040 0x10 c\nbroken\n7f0018 8 new\n\n7f0100 0 empty\n",
        );
        assert_eq!(map.odd, 1);
        for (address, name) in [
            (0x7f000f, None),
            (0x7f0010, Some(("LazyCompile:~a b /x.js:1", 0x7f0010))),
            (0x7f0018, Some(("new", 0x7f0018))),
            (0x7f0020, Some(("LazyCompile:~a b /x.js:1", 0x7f0020))),
            (0x7f0030, None),
            (0x7f004f, Some(("c", 0x7f0040))),
            (0x7f0100, None),
        ] {
            assert_eq!(
                map.find(address),
                name.map(|(name, at)| (BStr::new(name), at)),
                "{address:x}"
            );
        }
    }

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
        let read = Jitdump::read(&bytes).unwrap();
        assert_eq!((read.pid, read.odd), (77, 1));
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
        assert_eq!(Jitdump::read(b"ELF"), None);
        assert_eq!(Jitdump::read(&bytes[..bytes.len() - 3]).unwrap().odd, 1);
    }

    #[test]
    fn code_that_is_moved_to_where_it_is_does_not_change() {
        let moved: (u32, u64, &[u64], &str) = (1, 30, &[0x1000, 0x1000, 0x1000, 0x20, 1], "");
        let mut records = vec![(0, 10, &[0x1000, 0x1000, 0x20, 1][..], "only")];
        records.extend(std::iter::repeat_n(moved, 20_000).zip(30..).map(|(mut it, time)| {
            it.1 = time;
            it
        }));
        records.push((0, 50_000, &[0x1000, 0x1000, 0x20, 2], "last"));
        let read = Jitdump::read(&dump(&records)).unwrap();
        let changes = [(10, "only".into(), 0x1000), (50_000, "last".into(), 0x1000)];
        assert_eq!(read.changes(0x1004), changes);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            PerfMap::read(&bytes);
            Jitdump::read(&[b"DTiJ".as_slice(), &bytes].concat());
        }

        #[test]
        fn a_map_equals_painting(lines in proptest::collection::vec((0u64..40, 0u64..12), 0..20)) {
            let (mut text, mut painted) = (String::new(), [None; 60]);
            for (at, (start, size)) in lines.iter().enumerate() {
                text += &format!("{start:x} {size:x} f{at}\n");
                painted[*start as usize..(start + size) as usize].fill(Some(at));
            }
            let map = PerfMap::read(text.as_bytes());
            for (address, wanted) in painted.iter().enumerate() {
                let found = map.find(address as u64).map(|(name, _)| name.to_string());
                prop_assert_eq!(found, wanted.map(|at| format!("f{at}")));
            }
        }
    }
}
