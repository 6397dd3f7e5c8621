//! What a module's call frame information says of an address: how its caller's registers are found.
//!
//! Where it says nothing, the code itself does, on x86-64: [`exits`].
//!
//! `.eh_frame` comes first, then `.debug_frame`, which is all that Go has. A recording has few distinct addresses and many stacks:
//! what was found for an address is kept, for all processes that map the module.
//! Format: the Linux Standard Base, "Exception Frames", and DWARF 5, section 6.4.

use std::ops::Range;
use std::sync::Arc;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, Encoding, EndianSlice,
    Evaluation, EvaluationResult, Format, LittleEndian, Location, Register, RegisterRule,
    UnwindContext, UnwindExpression, UnwindSection, Value, Vendor, X86_64,
};
use hashbrown::HashMap as FastMap;

use crate::symbols::Module;

use super::exits::{Exit, exits};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// How the caller's registers are found from those at an address.
pub(super) struct Row {
    pub(super) cfa: CfaRule<usize>,
    /// All that the tables mention.
    pub(super) registers: Box<[(Register, RegisterRule<usize>)]>,
    /// The column of the return address.
    pub(super) return_address: Register,
    /// The kernel called this function, as it does to return from a signal's handler: the caller was interrupted, it did not call.
    pub(super) is_signal: bool,
    encoding: Encoding,
    section: Which,
}

impl Row {
    /// What the table of a function that is left like this would say.
    fn of(exit: Exit) -> Row {
        let ip = X86_64::RA;
        let saved = exit.saved.into_iter().chain([(ip, -8)]);
        Row {
            cfa: CfaRule::RegisterAndOffset { register: exit.cfa.base, offset: exit.cfa.offset },
            registers: saved.map(|(register, at)| (register, RegisterRule::Offset(at))).collect(),
            return_address: ip,
            is_signal: false,
            encoding: Encoding { format: Format::Dwarf32, version: 4, address_size: 8 },
            section: Which::EhFrame,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    EhFrame,
    DebugFrame,
}

/// The call frame information of one module.
pub(super) struct Cfi {
    file: Arc<Module>,
    bases: BaseAddresses,
    eh_frame: Table,
    /// Looked for when `.eh_frame` has no answer first.
    debug_frame: Option<Table>,
    context: UnwindContext<usize>,
    rows: Vec<Row>,
    /// By address; `None` where nothing is said.
    known: FastMap<u64, Option<u32>>,
    /// The rows of exits, by the address of an instruction.
    exits: FastMap<u64, Range<u32>>,
}

/// A section, and how a function is found in it.
struct Table {
    bytes: Section,
    find: Find,
}

/// Where a section is: in the module's file, or unpacked.
enum Section {
    Mapped(Range<usize>),
    Unpacked(Vec<u8>),
}

enum Find {
    /// By the linker's table, `.eh_frame_hdr`.
    Header(Range<usize>),
    /// By ours: where functions start and where they are described, in order.
    Index(Vec<(u64, usize)>),
}

impl Section {
    fn get<'a>(&'a self, file: &'a Module) -> Bytes<'a> {
        let bytes = match self {
            Section::Mapped(range) => file.bytes().get(range.clone()).unwrap_or_default(),
            Section::Unpacked(bytes) => bytes,
        };
        EndianSlice::new(bytes, LittleEndian)
    }
}

impl Cfi {
    pub(super) fn new(file: &Arc<Module>) -> Cfi {
        let section = |name: &[u8]| file.section(name).unwrap_or_default();
        let (eh_frame, bytes) = section(b".eh_frame");
        let (header, table) = section(b".eh_frame_hdr");
        let bases = BaseAddresses::default()
            .set_eh_frame(eh_frame)
            .set_eh_frame_hdr(header)
            .set_text(section(b".text").0)
            .set_got(section(b".got").0);
        let bytes = Section::Mapped(bytes);
        let header =
            EhFrameHdr::new(file.bytes().get(table.clone()).unwrap_or_default(), LittleEndian);
        let parsed = header.parse(&bases, file.address_size());
        let find = if parsed.is_ok_and(|header| header.table().is_some()) {
            Find::Header(table)
        } else {
            Find::Index(index(&eh_frame_of(&bytes, file), &bases))
        };
        Cfi {
            file: file.clone(),
            bases,
            eh_frame: Table { bytes, find },
            debug_frame: None,
            context: UnwindContext::new(),
            rows: Vec::new(),
            known: FastMap::default(),
            exits: FastMap::default(),
        }
    }

    /// The module's file.
    pub(super) fn file(&self) -> &Module {
        &self.file
    }

    /// The number of what is said of `address`, of the file's own address space; `None` if nothing is.
    pub(super) fn row(&mut self, address: u64) -> Option<u32> {
        if let Some(&known) = self.known.get(&address) {
            return known;
        }
        let number = self.find(address).map(|row| {
            self.rows.push(row);
            self.rows.len() as u32 - 1
        });
        self.known.insert(address, number);
        number
    }

    /// The numbers of what the code itself says, from the instruction at `address` on.
    pub(super) fn exits(&mut self, address: u64) -> Range<u32> {
        let Cfi { file, rows, exits: known, .. } = self;
        let read = || {
            let start = rows.len() as u32;
            rows.extend(exits(file, address).into_iter().map(Row::of));
            start..rows.len() as u32
        };
        known.entry(address).or_insert_with(read).clone()
    }

    /// What has this number.
    pub(super) fn get(&self, number: u32) -> &Row {
        &self.rows[number as usize]
    }

    fn find(&mut self, address: u64) -> Option<Row> {
        let Cfi { file, bases, eh_frame, debug_frame, context, .. } = self;
        let section = eh_frame_of(&eh_frame.bytes, file);
        let found = eh_frame.offset(address, file, bases).and_then(|offset| {
            row(&section, bases, offset.into(), address, context, Which::EhFrame)
        });
        if found.is_some() {
            return found;
        }
        let table = debug_frame.get_or_insert_with(|| {
            let bytes = Section::Unpacked(file.content(".debug_frame").into_owned());
            let find = Find::Index(index(&debug_frame_of(&bytes, file), bases));
            Table { bytes, find }
        });
        let section = debug_frame_of(&table.bytes, file);
        let offset = table.offset(address, file, bases)?;
        row(&section, bases, offset.into(), address, context, Which::DebugFrame)
    }

    /// What `expression` of `row` makes of the registers, the memory, and the value it starts with.
    pub(super) fn evaluate(
        &self,
        row: &Row,
        expression: &UnwindExpression<usize>,
        initial: Option<u64>,
        register: impl Fn(Register) -> Option<u64>,
        memory: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        // A loop in a hostile file.
        const MOST_STEPS: u32 = 10_000;
        let size = self.file.address_size();
        let code = match row.section {
            Which::EhFrame => expression.get(&eh_frame_of(&self.eh_frame.bytes, &self.file)),
            Which::DebugFrame => {
                expression.get(&debug_frame_of(&self.debug_frame.as_ref()?.bytes, &self.file))
            }
        };
        let mut evaluation: Evaluation<Bytes<'_>> = code.ok()?.evaluation(row.encoding);
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register: number, .. } => {
                    evaluation.resume_with_register(Value::Generic(register(number)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: read, .. } if read == size => {
                    evaluation.resume_with_memory(Value::Generic(memory(address)?)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result().first()?.location {
            Location::Address { address } => Some(address),
            _ => None,
        }
    }
}

impl Table {
    /// Where the function at `address` may be described.
    fn offset(&self, address: u64, file: &Module, bases: &BaseAddresses) -> Option<usize> {
        match &self.find {
            Find::Header(header) => {
                let bytes = file.bytes().get(header.clone())?;
                let header = EhFrameHdr::new(bytes, LittleEndian);
                let header = header.parse(bases, file.address_size()).ok()?;
                let table = header.table()?;
                // Not by gimli's `pointer_to_offset`, which subtracts what a damaged table says without looking.
                let place = table.lookup(address, bases).ok()?.direct().ok()?;
                usize::try_from(place.checked_sub(bases.eh_frame.section?)?).ok()
            }
            Find::Index(index) => {
                let past = index.partition_point(|&(start, _)| start <= address);
                Some(index.get(past.checked_sub(1)?)?.1)
            }
        }
    }
}

fn eh_frame_of<'a>(bytes: &'a Section, file: &'a Module) -> EhFrame<Bytes<'a>> {
    let mut section = EhFrame::from(bytes.get(file));
    section.set_address_size(file.address_size());
    section.set_vendor(Vendor::AArch64);
    section
}

fn debug_frame_of<'a>(bytes: &'a Section, file: &'a Module) -> DebugFrame<Bytes<'a>> {
    let mut section = DebugFrame::from(bytes.get(file));
    section.set_address_size(file.address_size());
    section.set_vendor(Vendor::AArch64);
    section
}

/// Where functions start and where the section describes them, in order.
fn index<'a, S: UnwindSection<Bytes<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<(u64, usize)> {
    let mut index = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(function) = partial.parse(S::cie_from_offset)
        {
            index.push((function.initial_address(), function.offset()));
        }
    }
    index.sort_unstable();
    index
}

fn row<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
    address: u64,
    context: &mut UnwindContext<usize>,
    which: Which,
) -> Option<Row> {
    let function = section.fde_from_offset(bases, offset, S::cie_from_offset).ok()?;
    let row = function.unwind_info_for_address(section, bases, context, address).ok()?;
    Some(Row {
        cfa: row.cfa().clone(),
        registers: row.registers().cloned().collect(),
        return_address: function.cie().return_address_register(),
        is_signal: function.is_signal_trampoline(),
        encoding: function.cie().encoding(),
        section: which,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn damaged_tables_say_less_and_nothing_worse() {
        let path = Path::new("/bin/sh");
        let Ok(whole) = std::fs::read(path) else { return };
        let module = Module::from_bytes(path, whole.clone()).unwrap();
        let code = module.segments().iter().find(|segment| segment.executable).unwrap();
        let addresses = (code.address..code.address + code.file_size).step_by(97).take(400);
        let mut told = Vec::new();
        for round in 0..100_usize {
            let mut bytes = whole.clone();
            for (name, turns) in [(&b".eh_frame"[..], round % 300), (b".eh_frame_hdr", round % 17)]
            {
                let Some((_, range)) = module.section(name) else { continue };
                for turn in 0..turns {
                    let place = (turn * 7919 + round * 104_729).wrapping_mul(0x9e37_79b9) >> 3;
                    bytes[range.start + place % range.len()] ^= 1 << (turn % 8);
                }
            }
            let damaged = Arc::new(Module::from_bytes(path, bytes).unwrap());
            let mut cfi = Cfi::new(&damaged);
            told.push(addresses.clone().filter(|&address| cfi.row(address).is_some()).count());
            for row in &cfi.rows {
                for (_, rule) in &row.registers {
                    if let gimli::RegisterRule::ValExpression(code) = rule {
                        cfi.evaluate(row, code, Some(8), |_| Some(64), Some);
                    }
                }
            }
        }
        assert!(told[0] > 300 && told.iter().all(|&told| told <= 400), "{told:?}");
    }
}
