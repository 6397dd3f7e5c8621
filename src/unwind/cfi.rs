//! Looks up an address in a module's call frame information, which says how to find the caller's
//! registers. `exits.rs` helps if it says nothing about an address.
//!
//! `.eh_frame` comes first, then `.debug_frame`, the only section that Go has. A recording has few
//! distinct addresses and many stacks, so each answer is kept for all processes that map the
//! module. Format: the Linux Standard Base, "Exception Frames", and DWARF 5, section 6.4.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EndianSlice, LittleEndian,
    UnwindContext, UnwindSection, Vendor,
};
use hashbrown::HashMap as FastMap;

use crate::lock::lock;
use crate::symbols::{Module, loads_stack_pointer};

use super::exits::ExitFinder;
use super::memory::padded;
use super::row::{Cfa, Row};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The call frame information of one module.
pub(super) struct Cfi {
    file: Arc<Module>,
    bases: BaseAddresses,
    eh_frame: Table,
    /// Read once `.eh_frame` has no answer.
    debug_frame: Option<Table>,
    /// It takes more room than the tables of a small program, so all modules share it.
    context: Shared,
    rows: Vec<Row>,
    /// By address; `None` if the tables do not describe it.
    known: FastMap<u64, Option<u32>>,
    /// The rows of exits, by the address of an instruction.
    exits: FastMap<u64, Range<u32>>,
    finder: ExitFinder,
    /// Whether functions that `.debug_frame` describes continue on another stack, by their start.
    switches: FastMap<u64, bool>,
    /// The answers of [`Cfi::is_entry`], by address.
    entries: FastMap<u64, bool>,
}

/// The working memory of the unwinder.
pub(super) type Shared = Arc<Mutex<UnwindContext<usize>>>;

/// A section, and how to find a function in it.
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
    /// By our own: the start of each function and the offset of its description, in order.
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
    pub(super) fn new(file: &Arc<Module>, context: &Shared) -> Cfi {
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
            context: context.clone(),
            rows: Vec::new(),
            known: FastMap::default(),
            exits: FastMap::default(),
            finder: ExitFinder::default(),
            switches: FastMap::default(),
            entries: FastMap::default(),
        }
    }

    /// How many addresses it remembers.
    pub(super) fn len(&self) -> usize {
        self.known.len() + self.exits.len() + self.entries.len()
    }

    /// The module's file.
    pub(super) fn file(&self) -> &Module {
        &self.file
    }

    /// The number of the row of `address`, in the file's own address space. `None` if the tables do
    /// not describe it.
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

    /// The numbers of the rows for the exits of the code from `address` on.
    pub(super) fn exits(&mut self, address: u64) -> Range<u32> {
        let Cfi { file, rows, exits: known, finder, .. } = self;
        let read = || {
            let start = rows.len() as u32;
            let exits = finder.exits(address, |address| padded(file.code_at(address)?));
            rows.extend(exits.iter().map(Row::of_exit));
            start..rows.len() as u32
        };
        known.entry(address).or_insert_with(read).clone()
    }

    /// The row with this number.
    pub(super) fn get(&self, number: u32) -> &Row {
        &self.rows[number as usize]
    }

    fn find(&mut self, address: u64) -> Option<Row> {
        let Cfi { file, bases, eh_frame, debug_frame, context, switches, .. } = self;
        let context = &mut *lock(context);
        let section = eh_frame_of(&eh_frame.bytes, file);
        let found = eh_frame
            .offset(address, file, bases)
            .and_then(|offset| row(&section, bases, offset.into(), address, context));
        if let Some((row, _)) = found {
            return Some(row);
        }
        let table = debug_frame.get_or_insert_with(|| debug_table(file, bases));
        let section = debug_frame_of(&table.bytes, file);
        let offset = table.offset(address, file, bases)?;
        let (mut row, function) = row(&section, bases, offset.into(), address, context)?;
        // Go's assembler describes all functions, but it does not know about other stacks.
        let by_stack = matches!(row.cfa, Cfa::From(gimli::X86_64::RSP, _));
        row.switches = by_stack
            && file.address_size() == 8
            && *switches.entry(function.start).or_insert_with(|| {
                let length = function.end.saturating_sub(function.start);
                let code = file.code_at(function.start).unwrap_or_default();
                loads_stack_pointer(&code[..code.len().min(length as usize)])
            });
        Some(row)
    }

    /// Whether code may put `address` on a stack as a return address, although no call ends there.
    /// It may be the start of a function, or the code that a signal's handler or a coroutine
    /// returns to. Go's `goexit` and glibc's trampoline for signals begin with a `nop`, so that a
    /// debugger that looks one byte before them finds them too.
    pub(super) fn is_entry(&mut self, address: u64) -> bool {
        const NOP: u8 = 0x90;
        const NOPS: u64 = 8;
        if let Some(&known) = self.entries.get(&address) {
            return known;
        }
        let start = self.start(address).or_else(|| self.file.go_start(address));
        let start = start.filter(|start| address - start <= NOPS);
        let file = &self.file;
        let is_start = start.and_then(|start| file.code_at(start)).is_some_and(|code| {
            let before = code.iter().take((address - start.unwrap_or(address)) as usize);
            before.copied().all(|byte| byte == NOP)
        });
        let is_entry =
            is_start || file.returns_from_signal(address) || file.ends_coroutine(address);
        self.entries.insert(address, is_entry);
        is_entry
    }

    /// Where the function at `address` starts, if the tables describe it.
    fn start(&mut self, address: u64) -> Option<u64> {
        let Cfi { file, bases, eh_frame, debug_frame, .. } = self;
        let section = eh_frame_of(&eh_frame.bytes, file);
        let offset = eh_frame.offset(address, file, bases);
        let found = offset.and_then(|offset| range(&section, bases, offset.into(), address));
        if let Some(found) = found {
            return Some(found.start);
        }
        let table = debug_frame.get_or_insert_with(|| debug_table(file, bases));
        let section = debug_frame_of(&table.bytes, file);
        let offset = table.offset(address, file, bases)?;
        Some(range(&section, bases, offset.into(), address)?.start)
    }
}

fn debug_table(file: &Module, bases: &BaseAddresses) -> Table {
    let bytes = Section::Unpacked(file.content(".debug_frame").into_owned());
    let find = Find::Index(index(&debug_frame_of(&bytes, file), bases));
    Table { bytes, find }
}

impl Table {
    /// The offset of the description of the function that may hold `address`.
    fn offset(&self, address: u64, file: &Module, bases: &BaseAddresses) -> Option<usize> {
        match &self.find {
            Find::Header(header) => {
                let bytes = file.bytes().get(header.clone())?;
                let header = EhFrameHdr::new(bytes, LittleEndian);
                let header = header.parse(bases, file.address_size()).ok()?;
                let table = header.table()?;
                // gimli's `pointer_to_offset` subtracts without a check, which a damaged table
                // breaks.
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

/// The start of each function and the offset of its description, in order.
pub(super) fn index<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
) -> Vec<(u64, usize)> {
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

/// The row of `address` in the function that is described at `offset`, and that function's range.
pub(super) fn row<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
    address: u64,
    context: &mut UnwindContext<usize>,
) -> Option<(Row, Range<u64>)> {
    let function = section.fde_from_offset(bases, offset, S::cie_from_offset).ok()?;
    let row = function.unwind_info_for_address(section, bases, context, address).ok()?;
    let expression =
        |code: &gimli::UnwindExpression<usize>| Some(code.get(section).ok()?.0.slice().into());
    let row = Row::of(row, function.cie(), function.is_signal_trampoline(), expression)?;
    Some((row, function.initial_address()..function.end_address()))
}

/// The range of the function that is described at `offset`, if `address` is in it.
fn range<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
    address: u64,
) -> Option<Range<u64>> {
    let function = section.fde_from_offset(bases, offset, S::cie_from_offset).ok()?;
    let range = function.initial_address()..function.end_address();
    range.contains(&address).then_some(range)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::unwind::memory::Stack;
    use crate::unwind::registers::{Machine, Registers};

    #[test]
    fn damaged_tables_say_less_and_nothing_worse() {
        let path = Path::new("/bin/sh");
        let Ok(whole) = std::fs::read(path) else { return };
        let module = Module::from_bytes(path, whole.clone()).unwrap();
        let code = module.segments().iter().find(|segment| segment.executable).unwrap();
        let addresses = (code.address..code.address + code.file_size).step_by(97).take(400);
        let mut described = Vec::new();
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
            let mut cfi = Cfi::new(&damaged, &Shared::default());
            described.push(addresses.clone().filter(|&address| cfi.row(address).is_some()).count());
            let registers = Registers::new(Machine::X86_64);
            let stack = Stack { machine: Machine::X86_64, start: 0, bytes: &[0; 64], memory: None };
            for row in &cfi.rows {
                registers.clone().follow(row, true, stack, false);
            }
        }
        assert!(described[0] > 300 && described.iter().all(|&count| count <= 400), "{described:?}");
    }
}
