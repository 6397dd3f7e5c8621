//! The DIEs of a unit that say where code is, in their order; the others, which are nine in ten, are passed over.
//!
//! To pass over a DIE one must know how long it is, which its abbreviation says but for parts of varying length. What it says is worked out
//! once for each abbreviation, so that most DIEs cost a look-up and an addition. Where the code of most functions begins and ends stands at fixed
//! places, too, so that those elsewhere need not be read. The rest is gimli's.
//!
//! Format: DWARF 5, sections 7.5.2 and 7.5.6.

#[cfg(test)]
mod tests;

use std::ops::Range;

use gimli::{
    AttributeSpecification, Endianity, EntriesRaw, Error, Reader as _, ReaderOffsetId, UnitOffset,
    constants as c,
};

use super::units::{Reader, Unit};

/// Codes from here on, which no compiler needs, are looked up each time.
const MOST_CODES: usize = 1 << 16;

/// A walk through the DIEs of a unit.
pub(super) struct Entries<'a, 'd> {
    unit: &'a Unit<'d>,
    /// From the first DIE on.
    bytes: &'d [u8],
    is_big_endian: bool,
    /// Where the first DIE is in the unit.
    start: usize,
    at: usize,
    depth: isize,
    /// What abbreviations say, by code: what is asked of every DIE, and the rest.
    layouts: Vec<Layout>,
    details: Vec<Details>,
    /// The parts of varying length of all of them.
    parts: Vec<Part>,
    /// Where the DIE that was answered last starts, and its code, unless it was read.
    pending: Option<(usize, usize, Layout)>,
}

/// A function or an inlined call that has code.
pub(super) struct Entry {
    pub offset: UnitOffset,
    /// How deep it is in the tree.
    pub depth: isize,
    /// The least depth of all DIEs behind the entry before, this one included.
    pub lowest: isize,
    /// It is a function; otherwise a call that was inlined.
    pub is_function: bool,
    pub has_children: bool,
    /// Its code and its sibling, if they are seen without reading it.
    pub code: Option<(Range<u64>, Option<UnitOffset>)>,
}

#[derive(Clone, Copy, Default)]
struct Layout {
    kind: Kind,
    has_children: bool,
    /// There are no parts of varying length.
    is_fixed: bool,
    /// The bytes before the first of them.
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
    /// Where, before them, the address of the code and its length are, and how wide that is.
    code: Option<(u32, u32, usize)>,
    /// Where the reference to the sibling is.
    sibling: Option<u32>,
}

/// A part of varying length, and how many bytes follow before the next one.
#[derive(Clone, Copy)]
struct Part {
    length: Length,
    fixed: u32,
}

#[derive(Clone, Copy)]
enum Length {
    /// A number as LEB128.
    Number,
    /// A block that follows its length, of so many bytes.
    Block(usize),
    /// A block that follows its length, as LEB128.
    LongBlock,
    /// Text up to a zero.
    Text,
}

impl<'a, 'd> Entries<'a, 'd> {
    /// All of `unit`.
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

    /// Reads the attributes of the entry that was answered last.
    pub(super) fn read(
        &mut self,
        entry: &Entry,
        mut each: impl FnMut(gimli::Attribute<Reader<'d>>),
    ) -> gimli::Result<()> {
        let (mut raw, specs) = self.raw(entry.offset)?;
        for spec in specs {
            each(raw.read_attribute(*spec)?);
        }
        self.pending = None;
        self.at = raw.next_offset().0 - self.start;
        Ok(())
    }

    /// Goes on behind the children of `entry`, the one that was answered last, at its sibling. False if that is no place behind it.
    pub(super) fn jump(&mut self, entry: &Entry, sibling: UnitOffset) -> bool {
        let Some(to) = sibling.0.checked_sub(self.start) else { return false };
        let is_behind = self.at < to && to < self.bytes.len();
        if is_behind {
            (self.at, self.depth, self.pending) = (to, entry.depth, None);
        }
        is_behind
    }

    /// The DIE at `offset`, behind its code, and what its attributes are.
    fn raw(
        &self,
        offset: UnitOffset,
    ) -> gimli::Result<(EntriesRaw<'a, Reader<'d>>, &'a [AttributeSpecification])> {
        let mut raw = self.unit.entries_raw(Some(offset))?;
        let abbreviation = raw.read_abbreviation()?.ok_or(Error::InvalidAbbreviationCode(0))?;
        Ok((raw, abbreviation.attributes()))
    }

    /// Where the code of the DIE is whose attributes are next, and its sibling.
    fn code(&self, code: usize) -> Option<(Range<u64>, Option<UnitOffset>)> {
        let details = self.details.get(code)?;
        let (low, high, wide) = details.code?;
        let number = |place: u32, wide: usize| {
            let from = self.at + place as usize;
            self.bytes.get(from..from + wide).map(|bytes| self.fixed_number(bytes))
        };
        let low = number(low, 8)?;
        let sibling = details.sibling.and_then(|place| number(place, 4));
        let sibling = sibling.and_then(|offset| usize::try_from(offset).ok()).map(UnitOffset);
        // A tombstone as the begin wraps around and is no range.
        Some((low..low.wrapping_add(number(high, wide)?), sibling))
    }

    /// Passes over the attributes of a DIE, of which the code was read.
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
                    self.fixed_number(length)
                }
                Length::LongBlock => self.number()?,
                Length::Text => memchr::memchr(0, rest).ok_or_else(cut)? as u64 + 1,
            };
            let block = usize::try_from(block).map_err(|_| cut())?;
            self.at = self.at.saturating_add(block).saturating_add(fixed as usize);
        }
        Ok(())
    }

    /// A number as LEB128; of one beyond 64 bits, the lowest of them.
    #[inline(always)]
    fn number(&mut self) -> gimli::Result<u64> {
        let first = *self.bytes.get(self.at).ok_or_else(cut)?;
        self.at += 1;
        if first < 0x80 { Ok(first.into()) } else { self.long_number(first) }
    }

    fn long_number(&mut self, first: u8) -> gimli::Result<u64> {
        let (mut number, mut shift) = (u64::from(first & 0x7f), 7);
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

    fn fixed_number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.is_big_endian {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        }
    }

    /// What the abbreviation of a code says.
    #[cold]
    fn learn(&mut self, code: usize) -> gimli::Result<Layout> {
        let unknown = Error::InvalidAbbreviationCode(code as u64);
        let abbreviation = self.unit.abbreviations.get(code as u64).ok_or(unknown)?;
        let mut layout = Layout { has_children: abbreviation.has_children(), ..Layout::default() };
        let mut details = Details::default();
        let (first, mut has_code, mut is_plain, mut is_odd) =
            (self.parts.len(), false, true, code >= MOST_CODES);
        let (mut low, mut high) = (None, None);
        for spec in abbreviation.attributes() {
            let (form, wide) = (spec.form(), spec.size(&self.unit.header));
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
            (self.layouts[code], self.details[code]) = (layout, details);
        }
        Ok(layout)
    }
}

/// How to find the end of a part of this form, if the form alone tells.
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

/// The unit ends inside of a DIE.
#[cold]
fn cut() -> Error {
    Error::UnexpectedEof(ReaderOffsetId(0))
}
