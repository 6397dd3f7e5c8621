//! Opens the units of a file's DWARF on demand, and finds them by the addresses of their code.
//!
//! gimli's own `Unit::new` needs a readable `.debug_line`; otherwise inlined functions would
//! silently disappear. Only `lines.rs` reads it, on demand, so [`open()`] ignores it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use gimli::{
    AbbreviationsCacheStrategy, AttributeValue, DebugAddrBase, DebugInfoOffset, DebugLocListsBase,
    DebugRngListsBase, DebugStrOffsetsBase, EndianSlice, RunTimeEndian, UnitHeader, UnitType,
    constants,
};
use rayon::prelude::*;

pub(super) type Slice<'d> = EndianSlice<'d, RunTimeEndian>;
pub(super) type Sections<'d> = gimli::Dwarf<Slice<'d>>;
pub(super) type Unit<'d> = gimli::Unit<Slice<'d>>;
pub(super) type Value<'d> = AttributeValue<Slice<'d>>;

/// The most ranges of a unit. Range lists are shared by reference, so a small hostile file may have
/// endlessly many.
const MOST_RANGES: u64 = 4_000_000;

/// The attributes that say which code a DIE describes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds<'d> {
    low: Option<Value<'d>>,
    high: Option<Value<'d>>,
    ranges: Option<Value<'d>>,
}

impl<'d> Bounds<'d> {
    /// Takes `value` if `name` is one of the three.
    #[inline]
    pub(super) fn take(&mut self, name: gimli::DwAt, value: impl FnOnce() -> Value<'d>) {
        match name {
            constants::DW_AT_low_pc => self.low = Some(value()),
            constants::DW_AT_high_pc => self.high = Some(value()),
            constants::DW_AT_ranges => self.ranges = Some(value()),
            _ => {}
        }
    }

    /// Calls `each` with every range of addresses.
    pub(super) fn each(
        &self,
        sections: &Sections<'d>,
        unit: &Unit<'d>,
        budget: &mut u64,
        mut each: impl FnMut(Range<u64>),
    ) -> gimli::Result<()> {
        let mut range = |begin: u64, end: u64| {
            if begin < end {
                each(begin..end);
            }
        };
        let list = match self.ranges {
            Some(value) => sections.attr_ranges_offset(unit, value)?,
            None => None,
        };
        if let Some(list) = list {
            let mut list = sections.ranges(unit, list)?;
            while let Some(next) = list.next()? {
                *budget = budget.checked_sub(1).ok_or(gimli::Error::AddressOverflow)?;
                range(next.begin, next.end);
            }
        } else if let Some(low) = self.low
            && let Some(high) = self.high
            && let Some(begin) = sections.attr_address(unit, low)?
        {
            match high {
                // A tombstone as the begin wraps around, which gives no range.
                AttributeValue::Udata(size) => range(begin, begin.wrapping_add(size)),
                _ => {
                    if let Some(end) = sections.attr_address(unit, high)? {
                        range(begin, end);
                    }
                }
            }
        }
        Ok(())
    }

    /// The budget of a unit for [`each`](Self::each).
    pub(super) fn budget() -> u64 {
        MOST_RANGES
    }
}

/// The indices of the sorted `addresses` that are in `range`.
#[inline]
pub(super) fn held(addresses: &[u64], range: &Range<u64>) -> Range<usize> {
    let from = addresses.partition_point(|&address| address < range.start);
    let rest = addresses.get(from..).unwrap_or_default();
    // Mostly there are none, which needs no second search.
    match rest.first() {
        Some(&first) if first < range.end => {
            from..from + rest.partition_point(|&address| address < range.end)
        }
        _ => from..from,
    }
}

/// Opens a unit. Also returns the bounds that its root states.
pub(super) fn open<'d>(
    sections: &Sections<'d>,
    header: UnitHeader<Slice<'d>>,
) -> gimli::Result<(Unit<'d>, Bounds<'d>)> {
    let encoding = header.encoding();
    let file = sections.file_type;
    let mut unit = gimli::Unit {
        abbreviations: sections.abbreviations(&header)?,
        name: None,
        comp_dir: None,
        low_pc: 0,
        str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, file),
        addr_base: DebugAddrBase(0),
        loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file),
        rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, file),
        line_program: None,
        dwo_id: match header.type_() {
            UnitType::Skeleton(id) | UnitType::SplitCompilation(id) => Some(id),
            _ => None,
        },
        header,
    };
    let abbreviations = unit.abbreviations.clone();
    let mut entries = unit.header.entries_raw(&abbreviations, None)?;
    let root = entries.read_abbreviation()?.ok_or(gimli::Error::MissingUnitDie)?;
    let mut bounds = Bounds::default();
    let mut directory = None;
    for spec in root.attributes() {
        let attribute = entries.read_attribute(*spec)?;
        bounds.take(attribute.name(), || attribute.value());
        match (attribute.name(), attribute.value()) {
            (constants::DW_AT_comp_dir, value) => directory = Some(value),
            (_, AttributeValue::DebugStrOffsetsBase(base)) => unit.str_offsets_base = base,
            (_, AttributeValue::DebugAddrBase(base)) => unit.addr_base = base,
            (_, AttributeValue::DebugLocListsBase(base)) => unit.loclists_base = base,
            (_, AttributeValue::DebugRngListsBase(base)) => unit.rnglists_base = base,
            (constants::DW_AT_GNU_dwo_id, AttributeValue::DwoId(id)) => unit.dwo_id = Some(id),
            _ => {}
        }
    }
    // These may be indices into tables whose bases come later, so they are read last.
    unit.comp_dir = directory.and_then(|value| sections.attr_string(&unit, value).ok());
    if let Some(low) = bounds.low
        && let Some(address) = sections.attr_address(&unit, low)?
    {
        unit.low_pc = address;
    }
    Ok((unit, bounds))
}

/// All units of a file, by offset.
pub(super) struct Units<'d> {
    all: Vec<Lazy<'d>>,
    /// Whether the list of units broke off.
    pub broken: bool,
}

struct Lazy<'d> {
    offset: usize,
    header: UnitHeader<Slice<'d>>,
    /// Boxed, because few are opened and a unit has half a kilobyte.
    opened: OnceLock<Option<Box<(Unit<'d>, Bounds<'d>)>>>,
}

impl<'d> Units<'d> {
    /// Lists the units of `sections` without opening them.
    pub(super) fn list(sections: &mut Sections<'d>) -> Units<'d> {
        // Abbreviations that units share are parsed once.
        sections.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        let mut all = Vec::new();
        let mut headers = sections.units();
        let mut broken = false;
        loop {
            match headers.next() {
                Ok(Some(header)) => {
                    if let Some(offset) = header.debug_info_offset() {
                        all.push(Lazy { offset: offset.0, header, opened: OnceLock::new() });
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Units { all, broken }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The unit at `index`, opened; `None` if it is broken.
    pub(super) fn get(
        &self,
        sections: &Sections<'d>,
        index: usize,
    ) -> Option<&(Unit<'d>, Bounds<'d>)> {
        let lazy = self.all.get(index)?;
        lazy.opened.get_or_init(|| open(sections, lazy.header).ok().map(Box::new)).as_deref()
    }

    /// The unit that the DIE at `offset` belongs to.
    pub(super) fn around(
        &self,
        sections: &Sections<'d>,
        offset: DebugInfoOffset,
    ) -> Option<(&Unit<'d>, gimli::UnitOffset)> {
        let index = self.all.partition_point(|unit| unit.offset <= offset.0).checked_sub(1)?;
        let (unit, _) = self.get(sections, index)?;
        Some((unit, offset.to_unit_offset(&unit.header)?))
    }

    /// The units that `.debug_aranges` names for `addresses`, and all units that it lists. Ranges
    /// of removed code start at 0 and are ignored.
    pub(super) fn by_aranges(
        &self,
        sections: &Sections<'d>,
        addresses: &[u64],
    ) -> (Vec<Claim>, HashSet<usize>) {
        let mut claims = Vec::new();
        let mut spoken_of = HashSet::new();
        let mut headers = sections.debug_aranges.headers();
        while let Ok(Some(header)) = headers.next() {
            let offset = header.debug_info_offset().0;
            let Ok(unit) = self.all.binary_search_by_key(&offset, |unit| unit.offset) else {
                continue;
            };
            let mut entries = header.entries();
            while let Some(entry) = entries.next().transpose() {
                let Ok(range) = entry.map(|entry| entry.range()) else { continue };
                if range.begin > 0 && range.begin < range.end {
                    spoken_of.insert(unit);
                    let range = range.begin..range.end;
                    claims.extend(held(addresses, &range).map(|at| Claim {
                        at,
                        end: range.end,
                        unit,
                    }));
                }
            }
        }
        (claims, spoken_of)
    }

    /// The `wanted` units whose roots say that they hold one of `addresses`, and those whose roots
    /// say nothing.
    pub(super) fn by_roots(
        &self,
        sections: &Sections<'d>,
        addresses: &[u64],
        wanted: impl Fn(usize) -> bool + Sync,
    ) -> (Vec<Claim>, Vec<usize>) {
        let look = |unit: usize| {
            let header = &self.all.get(unit)?.header;
            let holds_code = matches!(
                header.type_(),
                UnitType::Compilation | UnitType::Skeleton(_) | UnitType::SplitCompilation(_)
            );
            let (opened, bounds) = self.get(sections, unit).filter(|_| holds_code)?;
            let mut claims = Vec::new();
            let mut budget = Bounds::budget();
            let read = bounds.each(sections, opened, &mut budget, |range| {
                claims.extend(held(addresses, &range).map(|at| Claim { at, end: range.end, unit }));
            });
            // Empty or broken ranges also mean something: the unit holds no address.
            let silent = bounds.ranges.is_none() && bounds.high.is_none() && read.is_ok();
            Some((claims, silent.then_some(unit)))
        };
        let found = (0..self.len()).into_par_iter().filter(|&unit| wanted(unit)).filter_map(look);
        let (claims, silent): (Vec<_>, Vec<_>) = found.unzip();
        (claims.concat(), silent.into_iter().flatten().collect())
    }
}

/// A unit that says it holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// The address, by its index.
    pub at: usize,
    /// Where the range that holds it ends.
    pub end: u64,
    /// The unit, by its index.
    pub unit: usize,
}
