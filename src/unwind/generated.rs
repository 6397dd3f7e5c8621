//! Finds the exits of functions that a JIT generated, which no file holds.
//!
//! While the process runs, the code is read from its memory. Later, a jitdump may hold the code and
//! even describe it. A JIT may write new code in the same place. So knowledge from memory is
//! dropped now and then, and knowledge from a dump belongs to one entry of it.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;
use gimli::{BaseAddresses, EhFrame, EndianSlice, LittleEndian, UnwindContext};
use hashbrown::HashMap as FastMap;

use crate::symbols::{Jitdump, Loader};

use super::cfi;
use super::exits::ExitFinder;
use super::memory::{LONGEST, Memory, padded};
use super::row::Row;

/// Where the code of one process can be read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) pid: u32,
    /// The memory of the process, if it still runs.
    pub(super) memory: Option<&'a Memory>,
    /// Its jitdump.
    pub(super) dump: Option<&'a BString>,
    /// When the sample was taken, by the clock of jitdumps, if that is known.
    pub(super) time: Option<u64>,
    pub(super) loader: &'a Loader,
}

/// A way to leave a function.
#[derive(Clone, Debug)]
pub(super) struct GeneratedExit {
    pub(super) row: Row,
    /// The JIT itself described it.
    pub(super) is_described: bool,
}

/// All that is known about code without a file.
#[derive(Default)]
pub(super) struct Generated {
    /// The code in memory, by process.
    running: HashMap<u32, Known>,
    /// By the path of the dump; `None` if there is none.
    dumps: HashMap<BString, Option<Jitdump>>,
    /// By the path of the dump and the number of the code in it.
    dumped: HashMap<(BString, usize), Known>,
    /// The generation of the memory of running processes in which the dumps were read.
    dumps_read: u64,
    context: UnwindContext<usize>,
}

#[derive(Default)]
struct Known {
    finder: ExitFinder,
    exits: FastMap<u64, Arc<[GeneratedExit]>>,
    /// The generation of the memory that was read.
    generation: u64,
}

impl Generated {
    /// The exits of the function that a thread is in at `ip`, or returns to; then `lookup` is
    /// inside the call.
    pub(super) fn exits(&mut self, from: Source<'_>, lookup: u64, ip: u64) -> Arc<[GeneratedExit]> {
        if let Some(memory) = from.memory {
            let known = self.running.entry(from.pid).or_default();
            if known.generation != memory.generation() {
                *known = Known { generation: memory.generation(), ..Known::default() };
            }
            if let Some(exits) = known.exits.get(&ip) {
                return exits.clone();
            }
            let mut exits =
                read_exits(&mut known.finder, ip, |address| memory.code(from.pid, address));
            let described = self.describe(from, lookup, memory.generation());
            exits.extend(described.map(|row| GeneratedExit { row, is_described: true }));
            let exits: Arc<[GeneratedExit]> = exits.into();
            if let Some(known) = self.running.get_mut(&from.pid) {
                known.exits.insert(ip, exits.clone());
            }
            return exits;
        }
        let Some((path, code)) = dump_of(&mut self.dumps, from) else { return Arc::default() };
        let Some(number) = code.code_at(lookup, from.time) else { return Arc::default() };
        let known = self.dumped.entry((path.clone(), number)).or_default();
        if let Some(exits) = known.exits.get(&ip) {
            return exits.clone();
        }
        let exits = match described(code, number, lookup, &mut self.context) {
            Some(row) => vec![GeneratedExit { row, is_described: true }],
            None => read_exits(&mut known.finder, ip, |address| {
                padded(code.bytes_at(code.code_at(address, from.time)?, address)?)
            }),
        };
        let exits: Arc<[GeneratedExit]> = exits.into();
        known.exits.insert(ip, exits.clone());
        exits
    }

    /// The dump's description of `lookup`. The dump is still being written, so each `generation`
    /// reads it again.
    fn describe(&mut self, from: Source<'_>, lookup: u64, generation: u64) -> Option<Row> {
        if self.dumps_read != generation {
            self.dumps.clear();
            self.dumps_read = generation;
        }
        let (_, code) = dump_of(&mut self.dumps, from)?;
        let number = code.code_at(lookup, from.time)?;
        described(code, number, lookup, &mut self.context)
    }

    /// Whether the code around `address` has changed. If so, forgets the code of its process.
    pub(super) fn renew(&mut self, from: Source<'_>, address: u64) -> bool {
        let is_new = from.memory.is_some_and(|memory| memory.has_new_code(from.pid, address));
        if is_new {
            self.running.remove(&from.pid);
        }
        is_new
    }

    /// Forgets the code of a process that is gone, and that in its jitdump.
    pub(super) fn forget(&mut self, pid: u32, dump: Option<BString>) {
        self.running.remove(&pid);
        if let Some(dump) = dump {
            self.dumps.remove(&dump);
            self.dumped.retain(|(path, _), _| *path != dump);
        }
    }

    /// The bytes before `address`, if they are known.
    pub(super) fn before(&mut self, from: Source<'_>, address: u64) -> Option<[u8; 7]> {
        let start = address.checked_sub(7)?;
        let bytes = match from.memory {
            Some(memory) => memory.code(from.pid, start)?,
            None => {
                let (_, code) = dump_of(&mut self.dumps, from)?;
                let number = code.code_at(address - 1, from.time)?;
                padded(code.bytes_at(number, start)?)?
            }
        };
        bytes.first_chunk().copied()
    }
}

fn dump_of<'a>(
    dumps: &'a mut HashMap<BString, Option<Jitdump>>,
    from: Source<'a>,
) -> Option<(&'a BString, &'a Jitdump)> {
    let path = from.dump?;
    if !dumps.contains_key(path) {
        dumps.insert(path.clone(), from.loader.jit_code(path));
    }
    Some((path, dumps.get(path)?.as_ref()?))
}

fn read_exits(
    finder: &mut ExitFinder,
    ip: u64,
    code_at: impl FnMut(u64) -> Option<[u8; LONGEST]>,
) -> Vec<GeneratedExit> {
    let exits = finder.exits(ip, code_at);
    exits
        .iter()
        .map(|exit| GeneratedExit { row: Row::of_exit(exit), is_described: false })
        .collect()
}

/// The JIT's description of `address`, which is in the code of this number.
///
/// The tables assume that they lie behind the code. Most describe a single function, which is the
/// code, whatever address they give: perf writes code and tables into a new file, so it never
/// mattered.
fn described(
    code: &Jitdump,
    number: usize,
    address: u64,
    context: &mut UnwindContext<usize>,
) -> Option<Row> {
    let (start, size) = code.place(number)?;
    let mut section = EhFrame::from(EndianSlice::new(code.eh_frame(number)?, LittleEndian));
    section.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(start + size.next_multiple_of(8));
    let functions = cfi::index(&section, &bases);
    let (first, offset) = match functions[..] {
        [only] => only,
        _ => *functions.iter().rev().find(|function| function.0 <= address)?,
    };
    let address = if functions.len() == 1 { first + (address - start) } else { address };
    Some(cfi::row(&section, &bases, offset.into(), address, context)?.0)
}
