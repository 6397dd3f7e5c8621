//! How much of a compressed `.debug_info` a query needs.
//!
//! The debug file of the C library has 6 MB of it, and unpacking them took more than half of the
//! time of folding a small recording. `.debug_aranges` says in which unit an address is, so what
//! lies behind the last of these units can stay packed. That is about half of it, because most
//! programs spend their time in few places of the library.

use gimli::{DebugAranges, EndianSlice, RunTimeEndian};

use super::units::held;

/// Where the units that hold the sorted `addresses` end in `.debug_info`. `None` if a part is not
/// enough, because no unit claims one of the addresses, or if it would be all.
pub(super) fn end(aranges: &[u8], endian: RunTimeEndian, addresses: &[u64]) -> Option<usize> {
    let aranges = DebugAranges::from(EndianSlice::new(aranges, endian));
    let mut claimed = vec![false; addresses.len()];
    let mut units = Vec::new();
    let mut last = 0;
    let mut headers = aranges.headers();
    while let Some(header) = headers.next().ok()? {
        let unit = header.debug_info_offset().0;
        units.push(unit);
        let mut entries = header.entries();
        while let Some(entry) = entries.next().ok()? {
            let range = entry.range();
            // Ranges of removed code start at 0.
            if range.begin == 0 {
                continue;
            }
            for at in held(addresses, &(range.begin..range.end)) {
                claimed[at] = true;
                last = last.max(unit);
            }
        }
    }
    if claimed.contains(&false) {
        return None;
    }
    units.into_iter().filter(|&unit| unit > last).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of `.debug_aranges`: units with their offset and one range each.
    fn aranges(units: &[(u32, u64, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(offset, begin, len) in units {
            bytes.extend(44u32.to_le_bytes());
            bytes.extend(2u16.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            // The size of addresses, that of segments, and padding to a multiple of two addresses.
            bytes.extend([8, 0, 0, 0, 0, 0]);
            for word in [begin, len, 0, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes
    }

    #[test]
    fn a_query_needs_the_units_up_to_the_last_one_that_it_hits() {
        let table = aranges(&[(0, 0x100, 0x10), (700, 0x300, 0x10), (300, 0x200, 0x10)]);
        let end = |addresses: &[u64]| end(&table, RunTimeEndian::Little, addresses);
        assert_eq!(end(&[0x100, 0x10f]), Some(300));
        assert_eq!(end(&[0x100, 0x201]), Some(700));
        assert_eq!(end(&[0x305]), None, "it is the last one");
        assert_eq!(end(&[0x100, 0x110]), None, "nobody claims the second address");
    }
}
