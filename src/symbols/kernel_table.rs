//! All functions of the running kernel, sorted: for a recorder, which meets them one after the other.

use std::io;
use std::ops::Range;

use super::kallsyms::{RUNNING, read};
use super::kernel_line::{KernelSymbol, Line, lines};

/// The table. Memory: 16 bytes a symbol and their names, some 8 MB.
#[derive(Default)]
pub(crate) struct KernelTable {
    rows: Vec<Row>,
    names: Vec<u8>,
}

/// A line, its name apart.
struct Row {
    address: u64,
    name: Range<u32>,
    kind: u8,
}

impl KernelTable {
    /// Of the kernel that runs. Empty for whom `kptr_restrict` keeps the addresses from.
    pub(crate) fn running() -> io::Result<KernelTable> {
        Ok(KernelTable::of(&read(RUNNING.as_ref())?))
    }

    fn of(text: &[u8]) -> KernelTable {
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        lines(text, |line| {
            let start = names.len() as u32;
            names.extend_from_slice(line.rest);
            let name = start..names.len() as u32;
            rows.push(Row { address: line.address, name, kind: line.kind });
        });
        if rows.iter().all(|row| row.address == 0) {
            rows.clear();
        }
        // Those at one address stay in their order.
        rows.sort_by_key(|row| row.address);
        KernelTable { rows, names }
    }

    /// The function at `address`.
    pub(crate) fn at(&self, address: u64) -> Option<KernelSymbol> {
        let behind = self.rows.partition_point(|row| row.address <= address);
        let line = self.line(behind.checked_sub(1)?)?;
        line.symbol_at(address, self.line(behind))
    }

    fn line(&self, at: usize) -> Option<Line<'_>> {
        let Row { address, name, kind } = self.rows.get(at)?;
        let rest = self.names.get(name.start as usize..name.end as usize)?;
        Some(Line { address: *address, kind: *kind, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kallsyms::find;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Scanning the text for given addresses, as readers do, finds the same.
        #[test]
        fn searching_equals_scanning(
            rows in proptest::collection::vec((0u64..60, prop::sample::select(&b"tTwdA"[..]), any::<bool>()), 1..40),
            mut addresses in proptest::collection::vec(0u64..70, 0..20),
        ) {
            addresses.sort_unstable();
            addresses.dedup();
            let mut text = String::new();
            for (at, (address, kind, module)) in rows.into_iter().enumerate() {
                let (address, kind) = (address * 0x400, char::from(kind));
                text += &format!("{address:016x} {kind} f{at}{}\n", if module { "\t[m]" } else { "" });
            }
            let addresses: Vec<u64> = addresses.into_iter().map(|address| address * 0x400 + 7).collect();
            let table = KernelTable::of(text.as_bytes());
            let searched: Vec<_> = addresses.iter().map(|&address| table.at(address)).collect();
            prop_assert_eq!(searched, find(text.as_bytes(), &addresses, None).symbols);
        }
    }

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let table = KernelTable::of(b"0000000000001000 t a\n0000000000001010 d b\n");
        let end = |address| table.at(address).map(|symbol| symbol.end);
        assert_eq!((end(0xfff), end(0x1000), end(0x1010)), (None, Some(0x1010), None));
        assert_eq!(KernelTable::of(b"0000000000000000 t a\n").at(1), None, "hidden");
    }
}
