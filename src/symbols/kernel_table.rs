//! The functions of a kernel, from its list of symbols.
//!
//! A line of `/proc/kallsyms` has an address, a letter for the kind, a name, and the kernel module
//! if the symbol belongs to one. Symbols have no sizes, so one ends where the next begins. perf
//! chooses the last of several aliases in the file, and so do we.

use bstr::{BStr, BString, ByteSlice};

use crate::mapped::Bytes;

/// A symbol of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelSymbol {
    /// The name in the file.
    pub name: BString,
    /// Where it starts, in the addresses of the recorded kernel.
    pub start: u64,
    /// Where the next one starts.
    pub end: u64,
    /// The kernel module that it belongs to, without brackets; empty for the kernel itself.
    pub module: BString,
}

/// The symbols at some addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelSymbols {
    /// The symbol of each address.
    pub symbols: Vec<Option<KernelSymbol>>,
    /// All addresses in the file are zero, because `/proc/sys/kernel/kptr_restrict` hides them from
    /// this user.
    pub hidden: bool,
}

/// A symbol whose recorded address says where the kernel was: `_text` or `_stext`, from perf.data's
/// map of `[kernel.kallsyms]_text`. The kernel moves at every boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Its address in the recording.
    pub address: u64,
}

/// All symbols of a kernel in order of their addresses: the text and 16 bytes for each symbol,
/// about 10 MB in all.
#[derive(Default)]
pub(crate) struct KernelTable {
    rows: Vec<Row>,
    text: Bytes,
}

/// One symbol.
struct Row {
    address: u64,
    /// Where its name starts in the text. After the name, a tab and the module in brackets may
    /// follow.
    name: u32,
    /// In lower case.
    kind: u8,
}

impl KernelTable {
    /// Reads the text of a list. The table is empty if all addresses are zero, because
    /// `kptr_restrict` hides them.
    pub(super) fn read(text: Bytes) -> KernelTable {
        // A line has about 40 bytes.
        let mut rows = Vec::with_capacity(text.len() / 32);
        let mut start = 0;
        for line in text.lines_with_terminator() {
            // Symbols of text, of data, or weak, as perf selects them.
            if let Some((address, digits)) = address(line)
                && let Some([b' ', kind, b' ', ..]) = line.get(digits..)
                && matches!(kind, b't' | b'T' | b'w' | b'W' | b'd' | b'D' | b'b' | b'B')
            {
                let name = (start + digits + 3) as u32;
                rows.push(Row { address, name, kind: kind.to_ascii_lowercase() });
            }
            start += line.len();
        }
        if rows.iter().all(|row| row.address == 0) {
            rows.clear();
        }
        // The sort is stable: aliases stay in their order.
        rows.sort_by_key(|row| row.address);
        KernelTable { rows, text }
    }

    /// The function at `address`.
    pub(crate) fn at(&self, address: u64) -> Option<KernelSymbol> {
        let behind = self.rows.partition_point(|row| row.address <= address);
        let row = self.rows.get(behind.checked_sub(1)?)?;
        let (name, module) = self.name(row);
        let end = match self.rows.get(behind) {
            Some(next) if self.name(next).1.is_empty() == module.is_empty() => next.address,
            // The last symbol of the kernel does not extend to the first module, nor to the end of
            // memory.
            _ => (row.address | 0xfff).saturating_add(1).saturating_add(0x1000),
        };
        (matches!(row.kind, b't' | b'w') && address < end).then(|| KernelSymbol {
            name: name.into(),
            start: row.address,
            end,
            module: module.into(),
        })
    }

    /// The function at each of `addresses`. The kernel moves at every boot; `reference` says where
    /// it was when it was recorded.
    pub(super) fn symbols(
        &self,
        addresses: &[u64],
        reference: Option<Reference<'_>>,
    ) -> KernelSymbols {
        let moved = reference.and_then(|reference| {
            Some(reference.address.wrapping_sub(self.address_of(reference.name)?))
        });
        let moved = moved.unwrap_or(0);
        let symbol = |address: &u64| {
            let mut symbol = self.at(address.wrapping_sub(moved))?;
            symbol.start = symbol.start.wrapping_add(moved);
            symbol.end = symbol.end.wrapping_add(moved);
            Some(symbol)
        };
        let symbols = addresses.iter().map(symbol).collect();
        KernelSymbols { symbols, hidden: self.rows.is_empty() }
    }

    /// The address of the first symbol called `name`.
    pub(super) fn address_of(&self, name: &BStr) -> Option<u64> {
        let row = self.rows.iter().find(|row| self.name(row).0 == name)?;
        (row.address != 0).then_some(row.address)
    }

    /// The name of a symbol, and the kernel module that it belongs to.
    fn name(&self, row: &Row) -> (&[u8], &[u8]) {
        let rest = self.text.get(row.name as usize..).unwrap_or_default();
        let name = rest.lines().next().unwrap_or_default();
        match name.split_once_str("\t[") {
            Some((name, module)) => (name, module.strip_suffix(b"]").unwrap_or(module)),
            None => (name, b""),
        }
    }
}

/// The address at the start of a line, and its number of digits: 16 in the kernel's own list,
/// seldom fewer. Compared with `from_str_radix`, this saves 12 to 18 % of the CPU of fg-script on a
/// small recording.
fn address(line: &[u8]) -> Option<(u64, usize)> {
    let digit = |byte: &u8| DIGITS[usize::from(*byte)];
    let whole = |address: u64, byte| address << 4 | u64::from(digit(byte));
    let all = line.first_chunk::<16>();
    if let Some(all) = all.filter(|all| all.iter().fold(0, |any, byte| any | digit(byte)) < 16) {
        let over = line.get(16).is_some_and(|byte| digit(byte) < 16);
        return (!over).then(|| (all.iter().fold(0, whole), 16));
    }
    let digits = line.iter().take_while(|byte| digit(byte) < 16).count();
    (1..16).contains(&digits).then(|| (line[..digits].iter().fold(0, whole), digits))
}

/// The value of each hexadecimal digit. All other bytes have a high bit.
const DIGITS: [u8; 256] = {
    let mut digits = [0x80; 256];
    let mut value = 0;
    while value < 16 {
        let byte = b"0123456789abcdef"[value];
        digits[byte as usize] = value as u8;
        digits[byte.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(text: &[u8], addresses: &[u64], reference: Option<Reference<'_>>) -> KernelSymbols {
        KernelTable::read(Bytes::Owned(text.to_vec())).symbols(addresses, reference)
    }

    const TEXT: &[u8] = b"0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\nffffffff81000000 T _text\n\
        ffffffff81000100 t do_one\nffffffff81000100 T do_one_alias\n\
        what is this\n\
        ffffffff81000200 D data\nffffffff81000300 W weak\n\
        ffffffffc0000000 t init_module\t[loop]\nffffffffc0000010 t loop_add\t[loop]\n\
        ffffffffc0009000 t bpf_prog_1\t[bpf]\n";

    fn names(addresses: &[u64], reference: Option<Reference<'_>>) -> Vec<String> {
        let found = find(TEXT, addresses, reference);
        let show = |symbol: Option<KernelSymbol>| {
            symbol.map_or("-".into(), |symbol| format!("{} {}", symbol.name, symbol.module))
        };
        found.symbols.into_iter().map(show).collect()
    }

    #[test]
    fn the_last_alias_names_what_lies_before_the_next_symbol() {
        let base = 0xffff_ffff_8100_0000;
        assert_eq!(
            names(&[5, base, base + 0xff, base + 0x100, base + 0x250, base + 0x300], None),
            ["-", "_text ", "_text ", "do_one_alias ", "-", "weak "]
        );
        // The end of the kernel, and modules.
        let modules = 0xffff_ffff_c000_0000;
        assert_eq!(
            names(
                &[base + 0x1300, base + 0x10_0000, modules + 1, modules + 0x10, modules + 0x9001],
                None
            ),
            ["weak ", "-", "init_module loop", "loop_add loop", "bpf_prog_1 bpf"]
        );
    }

    #[test]
    fn a_kernel_that_moved_is_followed() {
        let reference = Reference { name: b"_text".into(), address: 0xffff_ffff_9000_0000 };
        assert_eq!(names(&[0xffff_ffff_9000_0104], Some(reference)), ["do_one_alias "]);
        assert_eq!(names(&[0xffff_ffff_8100_0104], Some(reference)), ["-"]);
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        let found = find(b"0000000000000000 T _text\n0000000000000000 t f\n", &[1], None);
        assert_eq!(found, KernelSymbols { symbols: vec![None], hidden: true });
    }

    proptest! {
        /// The twin keeps the whole text of each row.
        #[test]
        fn the_table_equals_its_twin(
            lines in proptest::collection::vec((0u64..60, prop::sample::select(&b"tTwdA"[..]), any::<bool>()), 1..40),
            mut addresses in proptest::collection::vec(0u64..70, 0..20),
        ) {
            addresses.sort_unstable();
            addresses.dedup();
            let mut text = String::new();
            let mut table = Vec::new();
            for (at, (address, kind, module)) in lines.into_iter().enumerate() {
                let address = address * 0x400;
                let kind = char::from(kind);
                let module = if module { "m" } else { "" };
                let tail = if module.is_empty() { String::new() } else { format!("\t[{module}]") };
                text += &format!("{address:016x} {kind} f{at}{tail}\n");
                if kind != 'A' {
                    table.push((address, kind, format!("f{at}"), module));
                }
            }
            table.sort_by_key(|row| row.0);
            let addresses: Vec<u64> = addresses.into_iter().map(|address| address * 0x400 + 7).collect();
            let found = find(text.as_bytes(), &addresses, None);
            for (&address, found) in addresses.iter().zip(&found.symbols) {
                let past = table.partition_point(|row| row.0 <= address);
                let row = past.checked_sub(1).and_then(|at| table.get(at));
                // Among the symbols that come next at one address, the first in the file decides.
                let next = table.get(past);
                let wanted = row.filter(|(start, kind, _, module)| {
                    let end = start / 4096 * 4096 + 8192;
                    matches!(kind, 't' | 'T' | 'w')
                        && (next.is_some_and(|next| next.3.is_empty() == module.is_empty()) || address < end)
                });
                let hidden = table.iter().all(|row| row.0 == 0);
                prop_assert_eq!(
                    found.as_ref().map(|found| found.name.to_string()),
                    wanted.filter(|_| !hidden).map(|(_, _, name, _)| name.clone())
                );
            }
        }
    }
}
