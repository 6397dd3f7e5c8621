//! Compares the walk with gimli's on units of any bytes.

use gimli::{AttributeValue, EndianSlice, RunTimeEndian, SectionId};
use proptest::prelude::*;

use super::*;
use crate::symbols::units::{Sections, open};

const TAGS: [c::DwTag; 4] = [
    c::DW_TAG_subprogram,
    c::DW_TAG_inlined_subroutine,
    c::DW_TAG_structure_type,
    c::DW_TAG_namespace,
];
const NAMES: [c::DwAt; 6] = [
    c::DW_AT_low_pc,
    c::DW_AT_high_pc,
    c::DW_AT_sibling,
    c::DW_AT_name,
    c::DW_AT_frame_base,
    c::DW_AT_ranges,
];
const FORMS: [c::DwForm; 18] = [
    c::DW_FORM_addr,
    c::DW_FORM_data4,
    c::DW_FORM_data8,
    c::DW_FORM_ref4,
    c::DW_FORM_data1,
    c::DW_FORM_udata,
    c::DW_FORM_sdata,
    c::DW_FORM_strp,
    c::DW_FORM_string,
    c::DW_FORM_exprloc,
    c::DW_FORM_block1,
    c::DW_FORM_block2,
    c::DW_FORM_block4,
    c::DW_FORM_flag_present,
    c::DW_FORM_sec_offset,
    c::DW_FORM_indirect,
    c::DW_FORM_implicit_const,
    c::DwForm(0x7f),
];

/// A function or a call: its offset, its depth, its code, its sibling.
type Seen = (usize, isize, Option<Range<u64>>, Option<usize>);

fn by_us(unit: &Unit<'_>) -> (Vec<Seen>, bool) {
    let mut entries = Entries::new(unit).unwrap();
    let mut seen = Vec::new();
    loop {
        match entries.next() {
            Ok(Some(entry)) => {
                let (code, sibling) = entry.code.unzip();
                seen.push((entry.offset.0, entry.depth, code, sibling.flatten().map(|at| at.0)));
            }
            end => return (seen, end.is_ok()),
        }
    }
}

/// The same read by gimli.
fn by_gimli(unit: &Unit<'_>, seen: &mut Vec<Seen>) -> gimli::Result<()> {
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let depth = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        let specs = abbreviation.attributes();
        let has = |name| specs.iter().any(|spec| spec.name() == name);
        let is_seen = TAGS[..2].contains(&abbreviation.tag())
            && (has(c::DW_AT_low_pc) || has(c::DW_AT_ranges));
        if is_seen {
            seen.push((offset.0, depth, None, None));
        }
        let mut low = None;
        let mut high = None;
        let mut sibling = None;
        for spec in specs {
            let attribute = entries.read_attribute(*spec)?;
            match (attribute.name(), attribute.value()) {
                (c::DW_AT_low_pc, AttributeValue::Addr(at)) => low = Some(at),
                (c::DW_AT_high_pc, AttributeValue::Udata(length)) => high = Some(length),
                (c::DW_AT_sibling, AttributeValue::UnitRef(at)) => sibling = Some(at.0),
                _ => {}
            }
        }
        if let (true, Some(low), Some(high)) = (is_seen, low, high) {
            let (_, _, code, its) = seen.last_mut().unwrap();
            *code = Some(low..low.wrapping_add(high));
            *its = sibling;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn gimli_finds_the_same(
        shapes in prop::collection::vec((0usize..4, any::<bool>(), prop::collection::btree_map(0usize..6, 0usize..18, 0..5)), 1..6),
        dies in prop::collection::vec((0u8..7, prop::collection::vec(prop_oneof![0u8..9, any::<u8>()], 0..20)), 0..30),
        is_big in any::<bool>(),
    ) {
        // Code 1 is the root.
        let mut abbreviations = vec![1, 0x11, 1, 0, 0];
        for (code, (tag, children, attributes)) in shapes.iter().enumerate() {
            abbreviations.extend([code as u8 + 2, TAGS[*tag].0 as u8, u8::from(*children)]);
            for (name, form) in attributes {
                abbreviations.extend([NAMES[*name].0 as u8, FORMS[*form].0 as u8]);
                abbreviations.extend((FORMS[*form] == c::DW_FORM_implicit_const).then_some(5));
            }
            abbreviations.extend([0, 0]);
        }
        abbreviations.push(0);
        let mut body = vec![1];
        for (code, bytes) in dies {
            body.push(code);
            body.extend(bytes);
        }
        let wide = |number: usize| if is_big { (number as u32).to_be_bytes() } else { (number as u32).to_le_bytes() };
        let version = if is_big { [0, 4] } else { [4, 0] };
        let info = [&wide(body.len() + 7)[..], &version, &wide(0), &[8], &body].concat();
        let endian = if is_big { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let sections = Sections::load(|id| Ok::<_, gimli::Error>(EndianSlice::new(match id {
            SectionId::DebugAbbrev => &abbreviations[..],
            SectionId::DebugInfo => &info,
            _ => b"",
        }, endian))).unwrap();
        let (unit, _) = open(&sections, sections.units().next().unwrap().unwrap()).unwrap();
        let mut theirs = Vec::new();
        let is_whole = by_gimli(&unit, &mut theirs).is_ok();
        let (ours, ok) = by_us(&unit);
        prop_assert!(ours.len() >= theirs.len() && (ok || !is_whole), "{ours:?} {theirs:?}");
        prop_assert!(!is_whole || ours.len() == theirs.len());
        for (our, their) in ours.iter().zip(&theirs) {
            prop_assert_eq!((our.0, our.1), (their.0, their.1));
            // An entry that gimli could not read to its end has no code there.
            if our.2.is_some() && their.2.is_some() {
                prop_assert_eq!((&our.2, our.3), (&their.2, their.3));
            }
        }
    }
}
