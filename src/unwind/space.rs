//! The address space of one process. Each map shows a part of a file, or memory without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::BString;

use super::gone::KEPT_MAPS;
use super::modules::{Hit, Modules, Shown};
use crate::symbols::{Identity, Loader};

/// The address space of one process.
#[derive(Default)]
pub(crate) struct Space {
    pub(super) maps: BTreeMap<u64, Map>,
    /// The maps of the program before the last exec. Samples inside execve still have its
    /// addresses.
    pub(super) before: BTreeMap<u64, Map>,
    /// The jitdump of the process. Its JIT maps it so that recorders notice it.
    pub(crate) jitdump: Option<BString>,
    /// The program itself, which was mapped first.
    pub(super) program: Option<Arc<Identity>>,
    /// Code without a file was found here. Its names are looked for at the end of the recording.
    pub(super) has_code: bool,
}

/// A mapped part of a module.
#[derive(Clone)]
pub(super) struct Map {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) file: Arc<Identity>,
    /// Set by the first hit.
    pub(super) hit: Option<(Hit, Shown)>,
}

impl Map {
    /// The module that it shows.
    fn hit(&mut self, pid: u32, modules: &mut Modules, loader: &Loader) -> Hit {
        let hit = || modules.hit(&self.file, self.start, self.offset, pid, loader);
        self.hit.get_or_insert_with(hit).0
    }
}

/// The map at an address.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) hit: Hit,
    /// The byte in the file, which perf shows as the address.
    pub(crate) in_file: u64,
    /// The map belongs to the program before the last exec.
    pub(crate) is_gone: bool,
}

impl Space {
    /// How many maps it keeps.
    pub(super) fn size(&self) -> usize {
        self.maps.len() + self.before.len()
    }

    /// Whether the recording has maps of this process.
    pub(crate) fn has_maps(&self) -> bool {
        !self.maps.is_empty()
    }

    /// The map at `address`. After an exec, this may be a map of the old program until a new one
    /// covers it.
    pub(crate) fn find(
        &mut self,
        pid: u32,
        address: u64,
        modules: &mut Modules,
        loader: &Loader,
    ) -> Option<Found> {
        let map = lookup(&mut self.maps, address);
        let is_gone = map.is_none();
        let map = map.or_else(|| lookup(&mut self.before, address))?;
        let in_file = (address - map.start).wrapping_add(map.offset);
        let mut hit = map.hit(pid, modules, loader);
        if hit.is_shared {
            hit.bias = modules.bias_at(hit.module, map.start, map.offset, in_file);
        }
        Some(Found { hit, in_file, is_gone })
    }

    /// Adds a map as it was recorded.
    ///
    /// To get huge pages, node's --use-largepages and BOLT's programs move their code into
    /// anonymous memory at the same addresses. There the map of the file stays, because it still
    /// says what is where.
    pub(super) fn add(&mut self, map: Map) {
        if self.maps.is_empty() {
            self.program = Some(map.file.clone());
        }
        if !is_anonymous(&map.file.path) {
            let start = map.start;
            self.put(map);
            return self.bridge(start);
        }
        let mut rest = map.start;
        for (start, end) in self.moved(&map) {
            self.put_part(&map, rest, start);
            rest = end;
        }
        self.put_part(&map, rest, map.end);
    }

    /// The parts of an anonymous map that hold code which was moved there. A program is never
    /// unmapped, so nothing else can be at its addresses. Another module may have been unmapped,
    /// but then its successor does not consist of whole huge pages inside that module.
    fn moved(&self, map: &Map) -> Vec<(u64, u64)> {
        const HUGE: u64 = 2 << 20;
        let is_huge = map.start.is_multiple_of(HUGE) && map.end.is_multiple_of(HUGE);
        let mut parts = Vec::new();
        for old in self.maps.range(..map.end).rev().map(|(_, old)| old) {
            if old.end <= map.start {
                break;
            }
            let is_program =
                self.program.as_ref().is_some_and(|program| program.path == old.file.path);
            let is_inside = old.start <= map.start && map.end <= old.end;
            if !is_anonymous(&old.file.path) && (is_program || is_huge && is_inside) {
                parts.push((old.start.max(map.start), old.end.min(map.end)));
            }
        }
        parts.reverse();
        parts
    }

    /// Adds the part `start..end` of `map`, unless it is empty.
    fn put_part(&mut self, map: &Map, start: u64, end: u64) {
        if start < end {
            let offset = map.offset.wrapping_add(start - map.start);
            self.put(Map { start, end, offset, ..map.clone() });
        }
    }

    /// Finds code that was moved before the recording. Anonymous memory between two parts of a file
    /// is such code if it has exactly the size of the missing part. The second part is at `start`.
    fn bridge(&mut self, start: u64) {
        let mut before = self.maps.range(..=start).rev().map(|(_, map)| map);
        let (Some(after), Some(moved), Some(first)) = (before.next(), before.next(), before.next())
        else {
            return;
        };
        let is_next = first.end == moved.start && moved.end == after.start;
        let is_one_file = first.file.path == after.file.path && !is_anonymous(&first.file.path);
        let is_missing = after.offset.checked_sub(first.offset) == Some(after.start - first.start);
        if is_next && is_one_file && is_missing && is_anonymous(&moved.file.path) {
            let end = after.start;
            let whole = Map { end, hit: None, ..first.clone() };
            self.put(whole);
        }
    }

    /// Adds a map that replaces all others at its addresses.
    pub(super) fn put(&mut self, map: Map) {
        // The recording does not say what was unmapped. This is more than the kernel allows at one
        // time, so most of them are gone.
        if self.maps.len() > KEPT_MAPS {
            self.maps.clear();
        }
        let covered: Vec<u64> = self
            .maps
            .range(..map.end)
            .rev()
            .take_while(|(_, old)| old.end > map.start)
            .map(|(&start, _)| start)
            .collect();
        for start in covered {
            let Some(old) = self.maps.remove(&start) else { continue };
            if old.start < map.start {
                self.maps.insert(old.start, Map { end: map.start, ..old.clone() });
            }
            if old.end > map.end {
                let offset = old.offset.wrapping_add(map.end - old.start);
                self.maps.insert(map.end, Map { start: map.end, offset, ..old });
            }
        }
        self.maps.insert(map.start, map);
    }
}

/// Whether the kernel uses this path for memory without a file.
fn is_anonymous(path: &[u8]) -> bool {
    matches!(path, b"//anon" | b"/anon_hugepage (deleted)" | b"")
}

pub(super) fn lookup(maps: &mut BTreeMap<u64, Map>, address: u64) -> Option<&mut Map> {
    let (_, map) = maps.range_mut(..=address).next_back()?;
    (address < map.end).then_some(map)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The paths and the bytes in the file at some addresses, after these maps.
    fn found(maps: &[(&str, u64, u64, u64)], addresses: &[u64]) -> Vec<(String, u64)> {
        let mut space = Space::default();
        for &(path, start, end, offset) in maps {
            let file = Arc::new(Identity::of_path(path.as_bytes()));
            space.add(Map { start, end, offset, file, hit: None });
        }
        let mut at = |&address: &u64| {
            let map = lookup(&mut space.maps, address)?;
            Some((map.file.path.to_string(), address - map.start + map.offset))
        };
        addresses.iter().map(|address| at(address).unwrap_or_default()).collect()
    }

    fn owned(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|&(path, at)| (path.to_owned(), at)).collect()
    }

    #[test]
    fn text_that_was_moved_to_anonymous_memory_is_still_the_file_s() {
        let program = ("/bin/x", 0x40_0000, 0x90_0000, 0x1000);
        let at = [0x40_0000, 0x61_0000, 0x90_0000];
        let expected = [("/bin/x", 0x1000), ("/bin/x", 0x21_1000), ("//anon", 0)];
        let anon = ("//anon", 0x60_0000, 0xa0_0000, 0);
        let found_at = |maps: &[_]| found(maps, &at);
        assert_eq!(found_at(&[program, anon])[..2], owned(&expected)[..2]);
        assert_eq!(found_at(&[program, anon])[2].0, "//anon");
        // A library's code counts only if the memory consists of whole huge pages inside it.
        let library = ("/lib/y.so", 0x40_0000, 0x90_0000, 0x1000);
        let first = ("/bin/x", 0x1000, 0x2000, 0);
        assert_eq!(found_at(&[first, library, anon])[1].0, "//anon");
        let inside = ("//anon", 0x60_0000, 0x80_0000, 0);
        assert_eq!(found_at(&[first, library, inside])[1], ("/lib/y.so".to_owned(), 0x21_1000));
    }

    #[test]
    fn text_that_was_moved_before_the_recording_lies_between_two_parts_of_its_file() {
        let maps = [
            ("/bin/x", 0x40_0000, 0x60_0000, 0x1000),
            ("//anon", 0x60_0000, 0x80_0000, 0),
            ("/bin/x", 0x80_0000, 0x81_0000, 0x40_1000),
        ];
        let at = [0x60_1234, 0x80_0000];
        assert_eq!(found(&maps, &at), owned(&[("/bin/x", 0x20_2234), ("/bin/x", 0x40_1000)]));
        let other = [maps[0], maps[1], ("/bin/x", 0x80_0000, 0x81_0000, 0x50_1000)];
        assert_eq!(found(&other, &at)[0].0, "//anon");
    }

    pub(in super::super) fn map(start: u64, len: u64, name: usize) -> Map {
        let file = Arc::new(Identity::of_path(name.to_string().as_bytes()));
        // The offset shows which part of its file a map is after a split.
        Map { start, end: start + len, offset: 1000 * name as u64, file, hit: None }
    }

    proptest! {
        /// The twin has an entry for each address: the last map and the byte in its file.
        #[test]
        fn later_maps_lie_over_earlier_ones(maps in proptest::collection::vec((0u64..60, 1u64..30), 1..20)) {
            let mut space = Space::default();
            let mut twin = [None; 100];
            for (name, (start, len)) in maps.into_iter().enumerate() {
                space.put(map(start, len, name));
                for at in start..start + len {
                    twin[at as usize] = Some((name, 1000 * name as u64 + at - start));
                }
            }
            for at in 0..100 {
                let found = lookup(&mut space.maps, at).map(|map| {
                    let name = map.file.path.to_string().parse::<usize>().unwrap();
                    (name, map.offset + at - map.start)
                });
                prop_assert_eq!(found, twin[at as usize], "{}", at);
            }
        }
    }
}
