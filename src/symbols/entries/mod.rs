//! Walks the DIEs of a unit that have code, in order, and skips the others, which are nine in ten.
//!
//! To skip a DIE, its length must be known. The abbreviation gives it, except for parts of varying
//! length. That is computed once for each abbreviation, so most DIEs cost one look-up and one
//! addition. The bounds of most functions are at fixed offsets too, so functions elsewhere need not
//! be read. gimli does the rest. Compared with gimli alone, this saves 17 % of the CPU of fg-script
//! on a program with full debug information.
//!
//! Format: DWARF 5, sections 7.5.2 and 7.5.6.

#[cfg(test)]
mod tests;

use std::ops::Range;

use gimli::{
    AttributeSpecification, Endianity, EntriesRaw, Error, Reader as _, ReaderOffsetId, UnitOffset,
    constants as c,
};

use super::elf::number as fixed_number;
use super::units::{Slice, Unit};

/// Codes from here on are looked up each time. No compiler needs them.
const MOST_CODES: usize = 1 << 16;

/// A walk through the DIEs of a unit.
pub(super) struct Entries<'a, 'd> {
    unit: &'a Unit<'d>,
    /// From the first DIE on.
    bytes: &'d [u8],
    is_big_endian: bool,
    /// The offset of the first DIE in the unit.
    start: usize,
    at: usize,
    depth: isize,
    /// The part of each abbreviation that every DIE needs, by code.
    layouts: Vec<Layout>,
    /// The rest of each abbreviation, by code.
    details: Vec<Details>,
    /// The parts of varying length of all abbreviations.
    parts: Vec<Part>,
    /// The offset and the code of the last DIE that was returned, unless it was read.
    pending: Option<(usize, usize, Layout)>,
}

/// A function or an inlined call that has code.
pub(super) struct Entry {
    pub offset: UnitOffset,
    /// How deep it is in the tree.
    pub depth: isize,
    /// The least depth of all DIEs after the previous entry, including this one.
    pub lowest: isize,
    /// It is a function, not an inlined call.
    pub is_function: bool,
    pub has_children: bool,
    /// Its code and its sibling, if they are known without reading it.
    pub code: Option<(Range<u64>, Option<UnitOffset>)>,
}

#[derive(Clone, Copy, Default)]
struct Layout {
    kind: Kind,
    has_children: bool,
    /// There are no parts of varying length.
    is_fixed: bool,
    /// How many bytes there are before the first part of varying length.
    fixed: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    Function,
    Call,
    Other,
}

#[derive(Clone, Copy, Default)]
struct Details {
    /// The parts of varying length, if the end can be found without gimli.
    parts: Option<(u32, u32)>,
    /// The offsets of the address and the length of the code, and the size of that length.
    code: Option<(u32, u32, usize)>,
    /// The offset of the reference to the sibling.
    sibling: Option<u32>,
}

/// A part of varying length, and the number of bytes between it and the next one.
#[derive(Clone, Copy)]
struct Part {
    length: Length,
    fixed: u32,
}

#[derive(Clone, Copy)]
enum Length {
    /// A number as LEB128.
    Number,
    /// A block after its length, which has this many bytes.
    Block(usize),
    /// A block after its length as LEB128.
    LongBlock,
    /// Text up to a zero.
    Text,
}

impl<'a, 'd> Entries<'a, 'd> {
    /// Walks `unit` from its first DIE.
    pub(super) fn new(unit: &'a Unit<'d>) -> gimli::Result<Self> {
        let start = unit.header.root_offset();
        let reader = unit.header.range_from(start..)?;
        Ok(Entries {
            unit,
            bytes: reader.slice(),
            is_big_endian: reader.endian().is_big_endian(),
            start: start.0,
            at: 0,
            depth: 0,
            layouts: Vec::new(),
            details: Vec::new(),
            parts: Vec::new(),
            pending: None,
        })
    }

    /// The next function or call.
    pub(super) fn next(&mut self) -> gimli::Result<Option<Entry>> {
        if let Some((offset, code, layout)) = self.pending.take() {
            self.pass(offset, code, layout)?;
        }
        let mut lowest = isize::MAX;
        while self.at < self.bytes.len() {
            let offset = self.at;
            let code = self.number()?;
            if code == 0 {
                self.depth -= 1;
                continue;
            }
            let code = usize::try_from(code).map_err(|_| Error::InvalidAbbreviationCode(code))?;
            let layout = match self.layouts.get(code) {
                Some(&layout) if layout.kind != Kind::Unknown => layout,
                _ => self.learn(code)?,
            };
            let depth = self.depth;
            lowest = lowest.min(depth);
            self.depth += isize::from(layout.has_children);
            if layout.kind != Kind::Other {
                self.pending = Some((offset, code, layout));
                return Ok(Some(Entry {
                    offset: UnitOffset(self.start + offset),
                    depth,
                    lowest,
                    is_function: layout.kind == Kind::Function,
                    has_children: layout.has_children,
                    code: self.code(code),
                }));
            }
            self.pass(offset, code, layout)?;
        }
        Ok(None)
    }

    /// Reads the attributes of `entry`, the last one that was returned.
    pub(super) fn read(
        &mut self,
        entry: &Entry,
        mut each: impl FnMut(gimli::Attribute<Slice<'d>>),
    ) -> gimli::Result<()> {
        let (mut raw, specs) = self.raw(entry.offset)?;
        for spec in specs {
            each(raw.read_attribute(*spec)?);
        }
        self.pending = None;
        self.at = raw.next_offset().0 - self.start;
        Ok(())
    }

    /// Continues after the children of `entry`, the last one that was returned, at its sibling.
    /// False if the sibling is not behind it.
    pub(super) fn jump(&mut self, entry: &Entry, sibling: UnitOffset) -> bool {
        let Some(to) = sibling.0.checked_sub(self.start) else { return false };
        let is_behind = self.at < to && to < self.bytes.len();
        if is_behind {
            self.at = to;
            self.depth = entry.depth;
            self.pending = None;
        }
        is_behind
    }

    /// gimli's reader at the attributes of the DIE at `offset`, and the list of these attributes.
    fn raw(
        &self,
        offset: UnitOffset,
    ) -> gimli::Result<(EntriesRaw<'a, Slice<'d>>, &'a [AttributeSpecification])> {
        let mut raw = self.unit.entries_raw(Some(offset))?;
        let abbreviation = raw.read_abbreviation()?.ok_or(Error::InvalidAbbreviationCode(0))?;
        Ok((raw, abbreviation.attributes()))
    }

    /// The code and the sibling of the DIE whose attributes are next.
    fn code(&self, code: usize) -> Option<(Range<u64>, Option<UnitOffset>)> {
        let details = self.details.get(code)?;
        let (low, high, wide) = details.code?;
        let number = |place: u32, wide: usize| {
            let from = self.at + place as usize;
            Some(fixed_number(self.bytes.get(from..from + wide)?, self.is_big_endian))
        };
        let low = number(low, 8)?;
        let sibling = details.sibling.and_then(|place| number(place, 4));
        let sibling = sibling.and_then(|offset| usize::try_from(offset).ok()).map(UnitOffset);
        // A tombstone as the begin wraps around, which gives no range.
        Some((low..low.wrapping_add(number(high, wide)?), sibling))
    }

    /// Skips the attributes of a DIE whose code was read.
    #[inline(always)]
    fn pass(&mut self, offset: usize, code: usize, layout: Layout) -> gimli::Result<()> {
        self.at += layout.fixed as usize;
        if !layout.is_fixed {
            self.pass_parts(offset, code)?;
        }
        if self.at > self.bytes.len() { Err(cut()) } else { Ok(()) }
    }

    fn pass_parts(&mut self, offset: usize, code: usize) -> gimli::Result<()> {
        let Some(parts) = self.details.get(code).and_then(|details| details.parts) else {
            let (mut raw, specs) = self.raw(UnitOffset(self.start + offset))?;
            raw.skip_attributes(specs)?;
            self.at = raw.next_offset().0 - self.start;
            return Ok(());
        };
        for part in parts.0..parts.1 {
            let Part { length, fixed } = self.parts[part as usize];
            let rest = self.bytes.get(self.at..).ok_or_else(cut)?;
            let block = match length {
                Length::Number => {
                    self.number()?;
                    0
                }
                Length::Block(wide) => {
                    let length = rest.get(..wide).ok_or_else(cut)?;
                    self.at += wide;
                    fixed_number(length, self.is_big_endian)
                }
                Length::LongBlock => self.number()?,
                Length::Text => memchr::memchr(0, rest).ok_or_else(cut)? as u64 + 1,
            };
            let block = usize::try_from(block).map_err(|_| cut())?;
            self.at = self.at.saturating_add(block).saturating_add(fixed as usize);
        }
        Ok(())
    }

    /// A number as LEB128, cut to its lowest 64 bits.
    #[inline(always)]
    fn number(&mut self) -> gimli::Result<u64> {
        let first = *self.bytes.get(self.at).ok_or_else(cut)?;
        self.at += 1;
        if first < 0x80 { Ok(first.into()) } else { self.long_number(first) }
    }

    fn long_number(&mut self, first: u8) -> gimli::Result<u64> {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(cut)?;
            self.at += 1;
            if shift < u64::BITS {
                number |= u64::from(byte & 0x7f) << shift;
            }
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    /// Computes the layout of an abbreviation.
    #[cold]
    fn learn(&mut self, code: usize) -> gimli::Result<Layout> {
        let unknown = Error::InvalidAbbreviationCode(code as u64);
        let abbreviation = self.unit.abbreviations.get(code as u64).ok_or(unknown)?;
        let mut layout = Layout { has_children: abbreviation.has_children(), ..Layout::default() };
        let mut details = Details::default();
        let first = self.parts.len();
        let mut has_code = false;
        let mut is_plain = true;
        let mut is_odd = code >= MOST_CODES;
        let mut low = None;
        let mut high = None;
        for spec in abbreviation.attributes() {
            let form = spec.form();
            let wide = spec.size(&self.unit.header);
            let place = (self.parts.len() == first).then_some(layout.fixed);
            match spec.name() {
                c::DW_AT_low_pc => {
                    has_code = true;
                    low = place.filter(|_| form == c::DW_FORM_addr && wide == Some(8));
                }
                c::DW_AT_high_pc => {
                    let is_length = matches!(form, c::DW_FORM_data4 | c::DW_FORM_data8);
                    high = place.filter(|_| is_length).zip(wide);
                }
                c::DW_AT_ranges => (has_code, is_plain) = (true, false),
                c::DW_AT_sibling => {
                    details.sibling = place.filter(|_| form == c::DW_FORM_ref4);
                    is_plain &= details.sibling.is_some();
                }
                _ => {}
            }
            match (wide, length(form)) {
                (Some(wide), _) => {
                    let behind = self.parts[first..].last_mut();
                    *behind.map_or(&mut layout.fixed, |part| &mut part.fixed) += wide as u32;
                }
                (None, Some(length)) => self.parts.push(Part { length, fixed: 0 }),
                (None, None) => is_odd = true,
            }
        }
        layout.kind = match abbreviation.tag() {
            c::DW_TAG_subprogram if has_code => Kind::Function,
            c::DW_TAG_inlined_subroutine if has_code => Kind::Call,
            _ => Kind::Other,
        };
        let last = self.parts.len();
        layout.is_fixed = first == last && !is_odd;
        if is_odd {
            layout.fixed = 0;
        } else {
            details.parts = Some((first as u32, last as u32));
            let code = low.zip(high).map(|(low, (high, wide))| (low, high, wide));
            details.code = code.filter(|_| is_plain);
        }
        if code < MOST_CODES {
            let many = self.layouts.len().max(code + 1);
            self.layouts.resize(many, Layout::default());
            self.details.resize(many, Details::default());
            self.layouts[code] = layout;
            self.details[code] = details;
        }
        Ok(layout)
    }
}

/// How to find the end of a part of this form, if the form alone decides that.
fn length(form: c::DwForm) -> Option<Length> {
    Some(match form {
        c::DW_FORM_udata
        | c::DW_FORM_sdata
        | c::DW_FORM_ref_udata
        | c::DW_FORM_strx
        | c::DW_FORM_addrx
        | c::DW_FORM_loclistx
        | c::DW_FORM_rnglistx
        | c::DW_FORM_GNU_addr_index
        | c::DW_FORM_GNU_str_index => Length::Number,
        c::DW_FORM_block1 => Length::Block(1),
        c::DW_FORM_block2 => Length::Block(2),
        c::DW_FORM_block4 => Length::Block(4),
        c::DW_FORM_block | c::DW_FORM_exprloc => Length::LongBlock,
        c::DW_FORM_string => Length::Text,
        _ => return None,
    })
}

/// The unit ends inside a DIE.
#[cold]
fn cut() -> Error {
    Error::UnexpectedEof(ReaderOffsetId(0))
}
