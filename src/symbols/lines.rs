//! Finds the source lines of addresses in a unit's line table (`.debug_line`).

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, LineProgramHeader, constants};

use super::chain::Chain;
use super::units::{Sections, Slice, Unit, held};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The path.
    pub file: Arc<[u8]>,
    /// 0 if only the file is known.
    pub line: u32,
}

/// Gives the functions of `chains` their lines: the innermost one that of its address, the others
/// those of their calls. Without a readable table, some or all have none. A split unit has the line
/// table of its skeleton `unit`.
pub(super) fn find<'d>(
    sections: &Sections<'d>,
    unit: &Unit<'d>,
    addresses: &[u64],
    chains: &mut [Chain],
) {
    let Some(program) = program(sections, unit) else { return };
    let mut rows = program.rows();
    let mut places: Vec<Option<(u64, u32)>> = vec![None; addresses.len()];
    let mut last = None;
    // The linker puts removed code at 0.
    let mut is_removed = false;
    while let Ok(Some((_, row))) = rows.next_row() {
        match last.take() {
            Some((start, place)) if !is_removed => {
                let range = start..row.address();
                held(addresses, &range).for_each(|at| {
                    places[at].get_or_insert(place);
                });
            }
            Some(_) => {}
            None => is_removed = row.address() == 0,
        }
        let line = row.line().map_or(0, |line| line.get().try_into().unwrap_or(0));
        last = (!row.end_sequence()).then_some((row.address(), (row.file_index(), line)));
    }
    let mut files = Files { sections, unit, header: rows.header(), paths: HashMap::new() };
    for (chain, place) in chains.iter_mut().zip(places) {
        let calls = chain.iter().skip(1).map(|call| Some(call.from));
        chain.lines = calls.chain([place]).map(|place| files.line(place?)).collect();
    }
}

fn program<'d>(
    sections: &Sections<'d>,
    unit: &Unit<'d>,
) -> Option<gimli::IncompleteLineProgram<Slice<'d>>> {
    let root = unit.entry(unit.header.root_offset()).ok()?;
    let AttributeValue::DebugLineRef(offset) = root.attr_value(constants::DW_AT_stmt_list)? else {
        return None;
    };
    let size = unit.header.encoding().address_size;
    sections.debug_line.program(offset, size, unit.comp_dir, None).ok()
}

/// The paths of a unit's files.
struct Files<'a, 'd> {
    sections: &'a Sections<'d>,
    unit: &'a Unit<'d>,
    header: &'a LineProgramHeader<Slice<'d>>,
    paths: HashMap<u64, Option<Arc<[u8]>>>,
}

impl Files<'_, '_> {
    fn line(&mut self, (file, line): (u64, u32)) -> Option<Line> {
        let path = match self.paths.get(&file) {
            Some(path) => path.clone(),
            None => {
                let path = self.path(file);
                self.paths.insert(file, path.clone());
                path
            }
        };
        Some(Line { file: path?, line })
    }

    /// The directory of the compilation, that of the file, and its name, as far as each is
    /// relative.
    fn path(&self, file: u64) -> Option<Arc<[u8]>> {
        let file = self.header.file(file)?;
        let text = |value| Some(self.sections.attr_string(self.unit, value).ok()?.slice());
        // Directory 0 is that of the compilation.
        let directory = file.directory(self.header).filter(|_| file.directory_index() != 0);
        let directory = directory.and_then(text);
        let mut path = Vec::new();
        for part in [self.unit.comp_dir.map(|it| it.slice()), directory, text(file.path_name())] {
            let part = part.unwrap_or_default();
            if part.starts_with(b"/") {
                path.clear();
            } else if !path.is_empty() && !part.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Some(path.into())
    }
}
