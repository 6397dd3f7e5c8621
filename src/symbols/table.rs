//! Looks up addresses in symbol tables, which it reads once and does not sort.
//!
//! A table has hundreds of thousands of symbols, but a profile has a few hundred addresses. So each
//! symbol looks for the sorted addresses that it could name, and most find none. perf's rules
//! choose among several symbols.
//!
//! ```text
//!  symbol    [start ─────── end)         a symbol without a size ends where the next one starts
//!  addresses ─────a₁────a₂──────a₃──▶    it holds a₁ and a₂, and is the nearest one before a₃
//! ```

use std::cmp::Reverse;

use bstr::ByteSlice;
use object::elf;

use super::demangle;
use super::elf::Elf;

/// The most comparisons. In a hostile table every symbol may hold every address; after this many,
/// only nearest symbols count.
const MOST_VISITS: u64 = 100_000_000;

/// A symbol of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol<'d> {
    /// Still mangled.
    pub name: &'d [u8],
    /// Where it starts, in the file's own address space.
    pub start: u64,
    /// Zero if it is not known.
    pub size: u64,
    pub function: bool,
    pub weak: bool,
    pub global: bool,
}

impl Symbol<'_> {
    /// perf's choice among symbols that start at one address: the greatest rank wins, and the first
    /// of equals.
    fn rank(&self) -> impl Ord + use<> {
        let name = demangle(self.name);
        let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
        let size = self.size > 0;
        (size, self.function, !self.weak, self.global, Reverse(underscores), name.len())
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|into| into < self.size)
    }
}

/// Calls `each` with every symbol of the table called `name` (`.symtab`, `.dynsym`) that can name
/// code. Format: the System V ABI, "Symbol Table".
pub(super) fn symbols<'d>(elf: &Elf<'d>, name: &[u8], mut each: impl FnMut(Symbol<'d>, u16)) {
    let Some(table) = elf.section(name) else { return };
    let strings = elf.sections.get(table.link as usize).map_or(b"".as_slice(), |names| names.data);
    let size = if elf.wide { 24 } else { 16 };
    for entry in table.data.chunks_exact(size) {
        let Raw { name, info, other, section, value, size } = Raw::read(entry, elf.wide, elf.big);
        let kind = info & 15;
        // These are perf's elf_sym__is_function and elf_sym__is_label. Section 0 means undefined,
        // 0xfff1 absolute.
        let function = kind == 2 || kind == 10;
        let label = kind == 0 && section != 0xfff1 && !matches!(other & 3, 1 | 2);
        if section == 0 || name == 0 || !(function || label) {
            continue;
        }
        // The name is read only if the symbol is near an address, so most pages of the strings stay
        // untouched.
        let is_thumb = elf.machine == elf::EM_ARM.0 && function;
        let start = if is_thumb { value & !1 } else { value };
        let name = strings.get(name as usize..).unwrap_or_default();
        let global = info >> 4 == 1;
        let weak = info >> 4 == 2;
        each(Symbol { name, start, size, function, weak, global }, section);
    }
}

/// One entry of a table.
#[derive(Debug, PartialEq, Eq)]
struct Raw {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

impl Raw {
    #[inline(always)]
    fn read(entry: &[u8], wide: bool, big: bool) -> Raw {
        let two = |at: usize| {
            let bytes = [entry[at], entry[at + 1]];
            if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let four = |at: usize| {
            let bytes = [entry[at], entry[at + 1], entry[at + 2], entry[at + 3]];
            if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let eight = |at: usize| {
            let first = u64::from(four(at));
            let second = u64::from(four(at + 4));
            if big { first << 32 | second } else { second << 32 | first }
        };
        if wide {
            let info = entry[4];
            let other = entry[5];
            let name = four(0);
            let section = two(6);
            return Raw { name, info, other, section, value: eight(8), size: eight(16) };
        }
        let info = entry[12];
        let other = entry[13];
        let value = four(4).into();
        let size = four(8).into();
        Raw { name: four(0), info, other, section: two(14), value, size }
    }
}

/// The best symbol for each address so far.
pub(super) struct Search<'a, 'd> {
    addresses: &'a [u64],
    /// The symbol with a size that holds the address and starts last.
    within: Vec<Option<Symbol<'d>>>,
    /// The symbol that starts last between the previous address and this one, and where its section
    /// ends.
    nearest: Vec<Option<(Symbol<'d>, u64)>>,
    visits: u64,
}

impl<'a, 'd> Search<'a, 'd> {
    /// A search for `addresses`, which are sorted and distinct.
    pub(super) fn new(addresses: &'a [u64]) -> Self {
        let none = addresses.len();
        Search { addresses, within: vec![None; none], nearest: vec![None; none], visits: 0 }
    }

    /// Looks through one table of `elf`.
    pub(super) fn table(&mut self, elf: &Elf<'d>, name: &[u8]) {
        let ends: Vec<u64> = elf
            .sections
            .iter()
            .map(|section| section.address.saturating_add(section.size))
            .collect();
        symbols(elf, name, |symbol, section| {
            let end = ends.get(usize::from(section)).copied().unwrap_or(u64::MAX);
            self.symbol(symbol, end);
        });
    }

    /// Offers one symbol. Its name may still extend to the end of the string table.
    #[inline(always)]
    fn symbol(&mut self, symbol: Symbol<'d>, end: u64) {
        let from = self.addresses.partition_point(|&address| address < symbol.start);
        let Some(&next) = self.addresses.get(from) else { return };
        let is_nearer = match &self.nearest[from] {
            Some((nearest, _)) => symbol.start >= nearest.start,
            None => true,
        };
        if is_nearer || symbol.holds(next) {
            self.candidate(symbol, end, from);
        }
    }

    #[inline(never)]
    fn candidate(&mut self, mut symbol: Symbol<'d>, end: u64, from: usize) {
        symbol.name = &symbol.name[..symbol.name.find_byte(0).unwrap_or(symbol.name.len())];
        if symbol.name.is_empty() || is_mark(symbol.name) {
            return;
        }
        if better(&symbol, self.nearest[from].as_ref().map(|(nearest, _)| nearest)) {
            self.nearest[from] = Some((symbol, end));
        }
        for at in from..self.addresses.len() {
            if !symbol.holds(self.addresses[at]) || self.visits > MOST_VISITS {
                break;
            }
            self.visits += 1;
            if better(&symbol, self.within[at].as_ref()) {
                self.within[at] = Some(symbol);
            }
        }
    }

    /// The symbol of each address. For perf, symbols without a size do not end with their section.
    pub(super) fn finish(self, as_perf: bool) -> Vec<Option<Symbol<'d>>> {
        let mut before: Option<(Symbol<'d>, u64)> = None;
        let pairs = self.addresses.iter().zip(self.within.into_iter().zip(self.nearest));
        pairs
            .map(|(&address, (within, nearest))| {
                before = nearest.or(before);
                // A symbol without a size names everything up to the next symbol or the end of its
                // section.
                let label =
                    before.filter(|(symbol, end)| symbol.size == 0 && (as_perf || address < *end));
                within.or(label.map(|(symbol, _)| symbol))
            })
            .collect()
    }
}

fn better(symbol: &Symbol<'_>, than: Option<&Symbol<'_>>) -> bool {
    than.is_none_or(|than| {
        symbol.start > than.start || symbol.start == than.start && symbol.rank() > than.rank()
    })
}

/// Whether this is an assembler's mark and not a name: `$x` and `$d.7` separate code from data,
/// `.L0 ` is a local label.
fn is_mark(name: &[u8]) -> bool {
    name.starts_with(b".L")
        || name.strip_prefix(b"$").is_some_and(|rest| {
            matches!(rest.first(), Some(b'a' | b'd' | b't' | b'x'))
                && matches!(rest.get(1), None | Some(b'.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read_in_both_orders() {
        let wanted = Raw { name: 1, info: 0x12, other: 3, section: 4, value: 5, size: 6 };
        // The fields at their last or first bytes, in the order of the layout.
        let wide_little = [(0, 1), (4, 0x12), (5, 3), (6, 4), (8, 5), (16, 6)];
        let wide_big = [(3, 1), (4, 0x12), (5, 3), (7, 4), (15, 5), (23, 6)];
        let narrow_little = [(0, 1), (4, 5), (8, 6), (12, 0x12), (13, 3), (14, 4)];
        let narrow_big = [(3, 1), (7, 5), (11, 6), (12, 0x12), (13, 3), (15, 4)];
        assert_eq!(Raw::read(&raw::<24>(wide_little), true, false), wanted);
        assert_eq!(Raw::read(&raw::<24>(wide_big), true, true), wanted);
        assert_eq!(Raw::read(&raw::<16>(narrow_little), false, false), wanted);
        assert_eq!(Raw::read(&raw::<16>(narrow_big), false, true), wanted);
    }

    fn raw<const SIZE: usize>(bytes: [(usize, u8); 6]) -> [u8; SIZE] {
        let mut raw = [0; SIZE];
        for (at, byte) in bytes {
            raw[at] = byte;
        }
        raw
    }

    fn chosen(symbols: &[(&'static str, u64, u64, &str)], address: u64) -> Option<&'static str> {
        let addresses = [address];
        let mut search = Search::new(&addresses);
        for &(name, start, size, flags) in symbols {
            let has = |flag| flags.contains(flag);
            let function = !has('n');
            let weak = has('w');
            let global = has('g');
            let name = name.as_bytes();
            search.symbol(Symbol { name, start, size, function, weak, global }, 0x1000);
        }
        search.finish(false)[0].and_then(|symbol| std::str::from_utf8(symbol.name).ok())
    }

    #[test]
    fn aliases_are_chosen_as_perf_does() {
        for (a, b) in [
            (("a", 0x10, 8, ""), ("b", 0x10, 0, "g")),
            (("a", 0x10, 8, ""), ("b", 0x10, 8, "gn")),
            (("a", 0x10, 8, ""), ("b", 0x10, 8, "w")),
            (("a", 0x10, 8, "g"), ("bb", 0x10, 8, "")),
            (("malloc", 0x10, 8, "g"), ("__libc_malloc", 0x10, 8, "g")),
            (("longer", 0x10, 8, "g"), ("short", 0x10, 8, "g")),
            // The inner one of two always wins.
            (("inner", 0x11, 4, "w"), ("outer", 0x10, 8, "g")),
        ] {
            assert_eq!(chosen(&[a, b], 0x12), Some(a.0));
            assert_eq!(chosen(&[b, a], 0x12), Some(a.0));
        }
        // The first of equals.
        assert_eq!(chosen(&[("a", 0x10, 8, "g"), ("b", 0x10, 8, "g")], 0x12), Some("a"));
    }

    #[test]
    fn symbols_without_a_size_end_at_the_next_and_at_their_section() {
        let table = [("label", 0x10, 0, "n"), ("f", 0x20, 4, ""), ("$x", 0x12, 0, "n")];
        assert_eq!(chosen(&table, 0x1f), Some("label"));
        assert_eq!(chosen(&table, 0x23), Some("f"));
        assert_eq!(chosen(&table, 0x24), None);
        assert_eq!(chosen(&table[..1], 0xfff), Some("label"));
        assert_eq!(chosen(&table[..1], 0x1000), None);
        assert_eq!(chosen(&table, 0xf), None);
    }
}
