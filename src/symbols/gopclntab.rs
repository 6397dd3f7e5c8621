//! Names Go's functions by the table that its runtime needs for tracebacks, the only one that `go
//! build -ldflags='-s -w'` leaves.
//!
//! ```text
//!  header      magic, sizes, the number of functions, the offsets of the parts
//!  names       zero-terminated names
//!  functions   [start, offset of the entry] in order, then the end of the last
//!  entries     the start of a function again, then the offset of its name
//! ```
//!
//! Format: `src/debug/gosym/pclntab.go` and `src/runtime/symtab.go` of Go; the layouts are those of
//! Go 1.2, 1.16, 1.18 and 1.20. Since 1.18, starts are relative to the beginning of Go's code.
//! Before, they are addresses, which are relocations in a program that can be loaded anywhere.
//! Inlined functions are not read, because their table is found through a structure that every Go
//! version changes.

use std::ops::Range;

use bstr::ByteSlice;
use object::elf::{EM_AARCH64, EM_X86_64};

use super::elf::{Elf, number};

/// The most bytes of a name. Longer ones are hostile.
const LONGEST_NAME: usize = 1 << 16;

/// Where the table is: in its own section, in one that the linker merged, or in a segment if the
/// file has lost its section headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableRange {
    /// Its bytes in the file.
    bytes: Range<usize>,
    /// Its address in the file's own address space.
    address: u64,
}

/// A table that was found.
#[derive(Clone, Copy)]
pub(super) struct GoTable<'d> {
    layout: Layout,
    big: bool,
    /// The size of an address in bytes.
    wide: usize,
    functions: u64,
    /// Starts are relative to this address.
    text: u64,
    names: &'d [u8],
    entries: &'d [u8],
    /// The starts, each with the offset of its entry.
    starts: &'d [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layout {
    Go2,
    Go116,
    Go118,
}

impl TableRange {
    /// Looks for the table of a module. `None` if it is not a program of Go.
    pub(super) fn find(elf: &Elf<'_>, file: &[u8]) -> Option<TableRange> {
        let place = |data: &[u8], address| {
            let start = (data.as_ptr() as usize).checked_sub(file.as_ptr() as usize)?;
            Some(TableRange { bytes: start..start.checked_add(data.len())?, address })
        };
        let parts = |names: &[&[u8]]| {
            let named = elf.sections.iter().filter(|section| names.contains(&section.name));
            named.map(|section| (section.data, section.address)).collect::<Vec<_>>()
        };
        let own = parts(&[b".gopclntab", b".data.rel.ro.gopclntab"]);
        if let Some(&(data, address)) = own.iter().find(|(data, _)| !data.is_empty()) {
            return place(data, address).filter(|place| place.table(elf, file).is_some());
        }
        let is_go = |name: &[u8]| name == b".go.buildinfo" || name == b".note.go.buildid";
        let candidates = if elf.sections.iter().any(|section| is_go(section.name)) {
            parts(&[b".data.rel.ro", b".rodata"])
        } else if elf.sections.is_empty() {
            let bytes = |at: u64, len: u64| {
                let start = usize::try_from(at).ok()?;
                file.get(start..start.saturating_add(usize::try_from(len).ok()?).min(file.len()))
            };
            let segments = elf.segments.iter().filter(|segment| !segment.executable);
            let of = segments.filter_map(|it| Some((bytes(it.offset, it.file_size)?, it.address)));
            of.collect()
        } else {
            return None;
        };
        candidates.into_iter().find_map(|(data, address)| {
            // The end of the magic number and the two zeros behind it, with the lowest byte first.
            let marks = data.find_iter(b"\xff\xff\xff\0\0").filter_map(|at| at.checked_sub(1));
            // Linkers align the table. Unaligned marks are skipped, because there may be many.
            marks.filter(|at| at.is_multiple_of(8)).take(1 << 12).find_map(|at| {
                let place = place(data.get(at..)?, address.checked_add(at as u64)?)?;
                place.table(elf, file)?.is_plausible(elf).then_some(place)
            })
        })
    }

    /// The table that is here.
    pub(super) fn table<'d>(&self, elf: &Elf<'d>, file: &'d [u8]) -> Option<GoTable<'d>> {
        let data = file.get(self.bytes.clone())?;
        let magic = *data.first_chunk::<4>()?;
        let big = magic[0] == 0xff;
        let layout = match number(&magic, big) {
            0xffff_fffb => Layout::Go2,
            0xffff_fffa => Layout::Go116,
            0xffff_fff0 | 0xffff_fff1 => Layout::Go118,
            _ => return None,
        };
        let &[0, 0, 1 | 2 | 4, wide @ (4 | 8)] = data.get(4..8)?.first_chunk::<4>()? else {
            return None;
        };
        let wide = usize::from(wide);
        let mut table = GoTable {
            layout,
            big,
            wide,
            functions: 0,
            text: 0,
            names: data,
            entries: data,
            starts: data,
        };
        let word = |at: usize| {
            let at = 8 + at * wide;
            Some(number(data.get(at..at + wide)?, big))
        };
        let part = |at: usize| data.get(usize::try_from(word(at)?).ok()?..);
        let functions = word(0)?;
        match layout {
            Layout::Go2 => table.starts = data.get(8 + wide..)?,
            Layout::Go116 => {
                table.names = part(2)?;
                table.entries = part(6)?;
                table.starts = part(6)?;
            }
            Layout::Go118 => {
                let stated = word(2)?;
                table.names = part(3)?;
                table.entries = part(7)?;
                table.starts = part(7)?;
                table.text = text(elf, self.address + 8 + 2 * wide as u64, stated)?;
            }
        }
        // There are two fields for each function, and the end of the last one.
        let most = table.starts.len() / table.field();
        if functions == 0 || functions.checked_mul(2)?.checked_add(1)? > most as u64 {
            return None;
        }
        table.functions = functions;
        Some(table)
    }
}

/// Where Go's code begins: the address in the header, or its relocation. Newer versions have
/// neither; then Go's code begins where all code does.
fn text(elf: &Elf<'_>, place: u64, stated: u64) -> Option<u64> {
    let is_code = |address: u64| {
        let mut code = elf.segments.iter().filter(|segment| segment.executable);
        code.any(|it| address.checked_sub(it.address).is_some_and(|at| at < it.file_size))
    };
    let relocated = || relocation(elf, place).filter(|&address| is_code(address));
    let section = || elf.section(b".text").map(|section| section.address);
    let segment = || elf.segments.iter().find(|segment| segment.executable).map(|it| it.address);
    let stated = Some(stated).filter(|&address| is_code(address));
    stated.or_else(relocated).or_else(section).or_else(segment)
}

/// The address that the loader writes to `place`, relative to where the module is loaded.
/// Format: the System V ABI, "Relocation", `R_X86_64_RELATIVE` and `R_AARCH64_RELATIVE`.
fn relocation(elf: &Elf<'_>, place: u64) -> Option<u64> {
    let kind = match elf.machine {
        machine if machine == EM_X86_64.0 => 8,
        machine if machine == EM_AARCH64.0 => 1027,
        _ => return None,
    };
    const SHT_RELA: u32 = 4;
    let tables = elf.sections.iter().filter(|section| section.kind == SHT_RELA && !elf.big);
    tables.filter_map(|section| find_relocation(section.data, place, kind)).next()
}

fn find_relocation(table: &[u8], place: u64, kind: u64) -> Option<u64> {
    table.as_chunks::<24>().0.iter().find_map(|entry| {
        let word = |at: usize| entry[at..].first_chunk().map(|word| u64::from_le_bytes(*word));
        (word(0)? == place && word(8)? == kind).then(|| word(16))?
    })
}

impl<'d> GoTable<'d> {
    /// The name of the function at `address`, of the file's own address space, and where it starts.
    pub(super) fn at(&self, address: u64) -> Option<(&'d [u8], u64)> {
        let mut low = 0;
        let mut high = self.functions;
        // A damaged table may yield the wrong function, but never one that is not in it.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        let found = low.checked_sub(1)?;
        let start = self.start(found)?;
        if !(start..self.start(found + 1)?).contains(&address) {
            return None;
        }
        let name = self.name(found)?;
        (!name.is_empty()).then_some((name, start))
    }

    /// Where a function starts. The number behind the last function gives its end.
    fn start(&self, function: u64) -> Option<u64> {
        let field = self.field();
        let at = usize::try_from(function).ok()?.checked_mul(2)?.checked_mul(field)?;
        self.number(self.starts, at, field)?.checked_add(self.text)
    }

    fn name(&self, function: u64) -> Option<&'d [u8]> {
        let field = self.field();
        let at = usize::try_from(function).ok()?.checked_mul(2)?.checked_add(1)?;
        let entry = self.number(self.starts, at.checked_mul(field)?, field)?;
        let entry = self.entries.get(usize::try_from(entry).ok()?..)?;
        let name = self.number(entry, field, 4)?;
        let name = self.names.get(usize::try_from(name).ok()?..)?;
        let name = name.get(..LONGEST_NAME).unwrap_or(name);
        name.get(..name.find_byte(0)?)
    }

    /// The size of a start or an offset in bytes.
    fn field(&self) -> usize {
        if self.layout == Layout::Go118 { 4 } else { self.wide }
    }

    fn number(&self, data: &[u8], at: usize, size: usize) -> Option<u64> {
        Some(number(data.get(at..at.checked_add(size)?)?, self.big))
    }

    /// Whether this really is a table: its first functions are in order, in code, and have names.
    fn is_plausible(&self, elf: &Elf<'_>) -> bool {
        let first = self.start(0).unwrap_or(0);
        let in_code = elf.segments.iter().any(|segment| {
            segment.executable
                && first.checked_sub(segment.address).is_some_and(|at| at < segment.file_size)
        });
        in_code
            && (0..self.functions.min(8)).all(|function| {
                let name =
                    self.name(function).is_some_and(|name| name.is_utf8() && !name.is_empty());
                name && self.start(function) <= self.start(function + 1)
            })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Module, Naming};
    use super::*;

    const CODE: u64 = 0x40_1000;
    const TABLE: u64 = 0x50_0010;

    /// A table of two functions, 0x40 and 0x20 bytes long, as Go writes it.
    fn table(magic: u32, wide: usize, text: u64) -> Vec<u8> {
        let names = b"\0main.main\0main.(*T).hot[...]\0";
        let relative = magic == 0xffff_fff0 || magic == 0xffff_fff1;
        let field = if relative { 4 } else { wide };
        let words = match magic {
            0xffff_fffb => 1,
            0xffff_fffa => 7,
            _ => 8,
        };
        let header = 8 + words * wide;
        let functions = header + names.len();
        let base = if relative { 0 } else { CODE };
        let mut bytes = [&magic.to_le_bytes()[..], &[0, 0, 1, wide as u8]].concat();
        let put = |bytes: &mut Vec<u8>, number: u64, size: usize| {
            bytes.extend_from_slice(&number.to_le_bytes()[..size]);
        };
        let name =
            |at: u64| if magic == 0xffff_fffb { at + header as u64 + 5 * wide as u64 } else { at };
        let starts = |bytes: &mut Vec<u8>, entries: u64| {
            for (at, start) in [0, 0x40].into_iter().enumerate() {
                put(bytes, base + start, field);
                put(bytes, entries + at as u64 * 16, field);
            }
            put(bytes, base + 0x60, field);
        };
        let entries = |bytes: &mut Vec<u8>| {
            for (start, at) in [(0, 1), (0x40, 11)] {
                let entry = bytes.len();
                put(bytes, base + start, field);
                put(bytes, name(at), 4);
                bytes.resize(entry + 16, 0);
            }
        };
        put(&mut bytes, 2, wide);
        match magic {
            0xffff_fffb => {
                starts(&mut bytes, header as u64 + 5 * wide as u64 + names.len() as u64);
                bytes.extend_from_slice(names);
                entries(&mut bytes);
                return bytes;
            }
            0xffff_fffa => {
                [0, header, 0, 0, 0, functions].map(|it| put(&mut bytes, it as u64, wide))
            }
            _ => {
                put(&mut bytes, 0, wide);
                [text, header as u64, 0, 0, 0, functions as u64].map(|it| put(&mut bytes, it, wide))
            }
        };
        bytes.extend_from_slice(names);
        starts(&mut bytes, 5 * field as u64);
        entries(&mut bytes);
        bytes
    }

    /// A program without section headers that has this table.
    fn program(table: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = 62;
        file[20] = 1;
        file[32] = 64;
        file[52] = 64;
        file[54] = 56;
        file[56] = 2;
        let size = table.len() as u64;
        for (flags, offset, address, size) in
            [(5u32, 0x200u64, CODE, 0x100u64), (4, 0x300, TABLE - 0x10, 0x10 + size)]
        {
            file.extend_from_slice(&1u32.to_le_bytes());
            file.extend_from_slice(&flags.to_le_bytes());
            for word in [offset, address, address, size, size, 1] {
                file.extend_from_slice(&word.to_le_bytes());
            }
        }
        file.resize(0x310, 0);
        file.extend_from_slice(table);
        file
    }

    fn names(file: Vec<u8>, addresses: &[u64]) -> Vec<Option<(String, u64)>> {
        let module = Module::from_bytes(Path::new("program"), file).unwrap();
        let functions = module.functions(addresses, Naming::INLINES);
        let first = |at| functions.at(at).next().map(|it| (it.name.to_string(), it.start.unwrap()));
        (0..addresses.len()).map(first).collect()
    }

    #[test]
    fn all_layouts_name_functions() {
        let at = [CODE - 1, CODE, CODE + 0x3f, CODE + 0x40, CODE + 0x5f, CODE + 0x60];
        let main = || Some(("main.main".to_owned(), CODE));
        let hot = || Some(("main.(*T).hot[...]".to_owned(), CODE + 0x40));
        for magic in [0xffff_fffb, 0xffff_fffa, 0xffff_fff0, 0xffff_fff1] {
            // A table that says where the code begins, and one that does not.
            for text in [CODE, 0] {
                let table = table(magic, 8, text);
                let found = names(program(&table), &at);
                assert_eq!(found, [None, main(), main(), hot(), hot(), None], "{magic:x}");
            }
        }
    }

    #[test]
    fn the_table_says_where_functions_start() {
        let module = |file| Module::from_bytes(Path::new("program"), file).unwrap();
        let go = module(program(&table(0xffff_fff1, 8, CODE)));
        assert_eq!(go.go_start(CODE + 0x41), Some(CODE + 0x40));
        assert_eq!(go.go_start(CODE + 0x60), None);
        assert_eq!(module(program(&[])).go_start(CODE), None);
    }

    #[test]
    fn damaged_tables_name_less_and_nothing_worse() {
        for magic in [0xffff_fffb, 0xffff_fffa, 0xffff_fff1] {
            let whole = table(magic, 8, CODE);
            for cut in 0..whole.len() {
                names(program(&whole[..cut]), &[CODE, CODE + 0x50]);
            }
            for at in 0..whole.len() {
                for bits in [0x01, 0x80, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= bits;
                    names(program(&damaged), &[0, CODE, CODE + 0x50, u64::MAX]);
                }
            }
        }
    }

    #[test]
    fn relocations_say_where_code_begins() {
        let mut table = Vec::new();
        for (place, info, addend) in [(8u64, 8u64, 1u64), (16, 6, 2), (16, 8, 3)] {
            for word in [place, info, addend] {
                table.extend_from_slice(&word.to_le_bytes());
            }
        }
        assert_eq!(find_relocation(&table, 16, 8), Some(3));
        assert_eq!(find_relocation(&table, 24, 8), None);
        assert_eq!(find_relocation(&table[..30], 16, 8), None);
    }
}
