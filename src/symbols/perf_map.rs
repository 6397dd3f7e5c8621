//! Reads `/tmp/perf-PID.map`, the names of code that a JIT generated.
//!
//! A map is text without times, so the last line about an address counts. Source: the kernel's
//! tools/perf/Documentation/jit-interface.txt.

use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::{BStr, ByteSlice};

/// Code that starts at the key of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    end: u64,
    /// Shared by all parts, if other code was placed into this one: a hostile map may have one long
    /// name in a million parts.
    name: Arc<[u8]>,
}

/// The names in one map.
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

/// Places code over the old one, whose uncovered ends stay.
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
        // The old code surrounds the new one, so its tail is still there.
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

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            PerfMap::read(&bytes);
        }

        #[test]
        fn a_map_equals_painting(lines in proptest::collection::vec((0u64..40, 0u64..12), 0..20)) {
            let mut text = String::new();
            let mut painted = [None; 60];
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
