//! Finds the functions and inlined calls of one unit at given addresses, by one walk through its
//! DIEs.
//!
//! Variables and types are never decoded. A name is the linkage name, or else the plain name, of
//! the DIE or of its origin. A test compares them with the addr2line crate.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use gimli::{AttributeValue, UnitOffset, constants};

use super::entries::{Entries, Entry};
use super::lines::Line;
use super::units::{Bounds, Sections, Unit, Units, Value, held};

/// The deepest nesting of inlined calls. A few dozen are common; more than this is hostile.
const LONGEST_CHAIN: usize = 1000;

/// The most bytes of a name. A longer one is hostile.
const LONGEST_NAME: usize = 64 << 10;

/// The functions at an address, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    calls: Vec<Call>,
    /// The place in each function, if line tables were read. An address may have one without a
    /// function.
    pub lines: Vec<Option<Line>>,
    /// The outermost function says where its variables are. Compilers do that, assemblers do not.
    pub is_compiled: bool,
    /// The last name of the unit for the same code, if an assembler gives it several.
    pub alias: Option<Arc<[u8]>>,
}

/// A function, and where it was inlined.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// Still mangled; `None` for one without a name.
    pub name: Option<Arc<[u8]>>,
    /// The number of the file and the line of the call; 0 if they are not known.
    pub from: (u64, u32),
}

impl Deref for Chain {
    type Target = Vec<Call>;

    fn deref(&self) -> &Self::Target {
        &self.calls
    }
}

/// The chains `unit` of `file` has for `addresses`, and whether it could be read to its end.
pub(super) fn find<'d>(
    file: File<'_, 'd>,
    shared: Option<File<'_, 'd>>,
    unit: &Unit<'d>,
    addresses: &[u64],
) -> (Vec<Chain>, bool) {
    let names = HashMap::new();
    let chains = vec![Chain::default(); addresses.len()];
    let mut walk =
        Walk { file, shared, unit, addresses, chains, names, passed_over_something: false };
    let mut ok = walk.walk(true).is_ok();
    // Some languages nest functions. The one that is missing may be inside one that was skipped.
    if ok && walk.passed_over_something && walk.chains.iter().any(|chain| chain.is_empty()) {
        ok = walk.walk(false).is_ok();
    }
    (walk.chains, ok)
}

/// Sections and the units in them.
#[derive(Clone, Copy)]
pub(super) struct File<'a, 'd> {
    pub sections: &'a Sections<'d>,
    /// `None` if there are no references to other units.
    pub units: Option<&'a Units<'d>>,
}

/// One unit being walked.
struct Walk<'a, 'd> {
    file: File<'a, 'd>,
    shared: Option<File<'a, 'd>>,
    unit: &'a Unit<'d>,
    addresses: &'a [u64],
    chains: Vec<Chain>,
    /// The names of DIEs that were looked up, by offset.
    names: HashMap<usize, Option<Arc<[u8]>>>,
    passed_over_something: bool,
}

/// The attributes of a DIE that a walk decodes.
#[derive(Default)]
struct Die<'d> {
    bounds: Bounds<'d>,
    sibling: Option<UnitOffset>,
    has_frame: bool,
}

impl<'a, 'd> Walk<'a, 'd> {
    /// One pass over the unit. With `jump`, skips functions that hold no address.
    fn walk(&mut self, jump: bool) -> gimli::Result<()> {
        let mut entries = Entries::new(self.unit)?;
        // The functions and inlined calls around this DIE that hold an address: their depth in the
        // tree, and the length of their addresses' chains. Functions nest, because a local class
        // declares its own.
        let mut around: Vec<(isize, usize)> = Vec::new();
        // Below this depth no inlined call holds an address.
        let mut mute = isize::MAX;
        let mut budget = Bounds::budget();
        while let Some(entry) = entries.next()? {
            let Entry { offset, depth, is_function: function, .. } = entry;
            while around.last().is_some_and(|&(open, _)| open >= entry.lowest) {
                around.pop();
            }
            if entry.lowest <= mute {
                mute = isize::MAX;
            }
            if !function && (around.is_empty() || mute < isize::MAX) {
                continue;
            }
            let die = match &entry.code {
                Some((code, sibling)) if held(self.addresses, code).is_empty() => {
                    Die { sibling: *sibling, ..Die::default() }
                }
                _ => Self::read(&mut entries, &entry)?,
            };
            let level = if function { 0 } else { around.last().map_or(0, |&(_, level)| level) };
            let mut spans: Vec<Range<usize>> = Vec::new();
            let addresses = self.addresses;
            die.bounds.each(self.file.sections, self.unit, &mut budget, |range| {
                let span = held(addresses, &range);
                if !span.is_empty() {
                    spans.push(span);
                }
            })?;
            // A list may state a range twice, and a hostile one a million times.
            spans.sort_unstable_by_key(|span| span.start);
            let mut next = 0;
            let mut wanted = Vec::new();
            let mut aliased = Vec::new();
            for span in spans {
                let from = span.start.max(next);
                if level == 0 && !die.has_frame {
                    let is_alias = |chain: &Chain| chain.len() == 1 && !chain.is_compiled;
                    aliased.extend((from..span.end).filter(|&at| is_alias(&self.chains[at])));
                }
                wanted.extend((from..span.end).filter(|&at| self.chains[at].len() == level));
                next = next.max(span.end);
            }
            if !aliased.is_empty() {
                let name = self.name_of(self.file, self.unit, offset, &mut (0, 0), 16);
                for at in aliased {
                    self.chains[at].alias = name.clone();
                }
            }
            if level >= LONGEST_CHAIN {
                wanted.clear();
            }
            if !wanted.is_empty() {
                let mut from = (0, 0);
                let name = self.name_of(self.file, self.unit, offset, &mut from, 16);
                for at in wanted {
                    self.chains[at].calls.push(Call { name: name.clone(), from });
                    self.chains[at].is_compiled |= function && die.has_frame;
                }
                around.push((depth, level + 1));
                mute = isize::MAX;
            } else if entry.has_children {
                mute = mute.min(depth);
                if let Some(sibling) = die.sibling.filter(|_| jump)
                    && entries.jump(&entry, sibling)
                {
                    self.passed_over_something |= function;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn read(entries: &mut Entries<'a, 'd>, entry: &Entry) -> gimli::Result<Die<'d>> {
        let mut die = Die::default();
        entries.read(entry, |attribute| match attribute.name() {
            constants::DW_AT_sibling => {
                if let AttributeValue::UnitRef(offset) = attribute.value() {
                    die.sibling = Some(offset);
                }
            }
            name => {
                die.has_frame |= name == constants::DW_AT_frame_base;
                die.bounds.take(name, || attribute.value());
            }
        })?;
        Ok(die)
    }

    /// The name of the DIE at `offset`: its linkage name, else its own name, else that of its
    /// origin. `from` gets the place of its call. `hops` limits how many origins are followed.
    fn name_of(
        &mut self,
        file: File<'a, 'd>,
        unit: &Unit<'d>,
        offset: UnitOffset,
        from: &mut (u64, u32),
        hops: u8,
    ) -> Option<Arc<[u8]>> {
        let mut entries = unit.entries_raw(Some(offset)).ok()?;
        let abbreviation = entries.read_abbreviation().ok()??;
        let text = |value| {
            let name = file.sections.attr_string(unit, value).ok()?.slice();
            Some(name.get(..LONGEST_NAME).unwrap_or(name))
        };
        let mut name = None;
        let mut origin = None;
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec).ok()?;
            match attribute.name() {
                constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => {
                    if let Some(linkage) = text(attribute.value()) {
                        return Some(linkage.into());
                    }
                }
                constants::DW_AT_name => name = name.or_else(|| text(attribute.value())),
                constants::DW_AT_abstract_origin | constants::DW_AT_specification => {
                    origin = Some(attribute.value());
                }
                constants::DW_AT_call_file => {
                    if let AttributeValue::FileIndex(file) = attribute.value() {
                        from.0 = file;
                    }
                }
                constants::DW_AT_call_line => {
                    let line = attribute.udata_value().and_then(|line| line.try_into().ok());
                    from.1 = line.unwrap_or(0);
                }
                _ => {}
            }
        }
        if let Some(name) = name {
            return Some(name.into());
        }
        self.name_at(file, unit, origin?, hops.checked_sub(1)?)
    }

    /// The name of the DIE that `reference` refers to.
    fn name_at(
        &mut self,
        file: File<'a, 'd>,
        unit: &Unit<'d>,
        reference: Value<'d>,
        hops: u8,
    ) -> Option<Arc<[u8]>> {
        match reference {
            AttributeValue::UnitRef(offset) => {
                // Only this unit's own DIEs are remembered. Most are, and their offsets are
                // unambiguous.
                let own = std::ptr::eq(unit, self.unit);
                if let Some(name) = own.then(|| self.names.get(&offset.0)).flatten() {
                    return name.clone();
                }
                let name = self.name_of(file, unit, offset, &mut (0, 0), hops);
                if own {
                    self.names.insert(offset.0, name.clone());
                }
                name
            }
            AttributeValue::DebugInfoRef(offset) => {
                let (unit, offset) = file.units?.around(file.sections, offset)?;
                self.name_of(file, unit, offset, &mut (0, 0), hops)
            }
            AttributeValue::DebugInfoRefSup(offset) => {
                let shared = self.shared?;
                let (unit, offset) = shared.units?.around(shared.sections, offset)?;
                self.name_of(shared, unit, offset, &mut (0, 0), hops)
            }
            _ => None,
        }
    }
}
