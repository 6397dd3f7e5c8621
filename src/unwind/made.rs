//! Code that no file holds, as JITs make it: how its functions are left.
//!
//! While its process runs, the code is read from there. Later a jitdump may hold it, and may even
//! describe it. Code that is made may be made anew in the same place: what is known of it is
//! forgotten now and then, or holds for one entry of the dump.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;
use gimli::{BaseAddresses, EhFrame, EndianSlice, LittleEndian, UnwindContext};
use hashbrown::HashMap as FastMap;

use crate::symbols::{JitCode, Loader};

use super::cfi;
use super::exits::Reader;
use super::memory::{LONGEST, Memory};
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
pub(super) struct Way {
    pub(super) row: Row,
    /// The JIT itself described it.
    pub(super) is_told: bool,
}

/// All that is known of code without a file.
#[derive(Default)]
pub(super) struct Made {
    /// By process, as read from its memory.
    running: HashMap<u32, Known>,
    /// By the path of the dump; `None` if there is none.
    dumps: HashMap<BString, Option<JitCode>>,
    /// By the path of the dump and the number of the code in it.
    dumped: HashMap<(BString, usize), Known>,
    /// While processes run: which generation of their memory the dumps belong to.
    dumps_read: u64,
    context: UnwindContext<usize>,
}

#[derive(Default)]
struct Known {
    reader: Reader,
    ways: FastMap<u64, Arc<[Way]>>,
    /// Of the memory that was read.
    generation: u64,
}

impl Made {
    /// How the function is left that a thread is in at `ip`, or returns to; then `lookup` is in the
    /// call.
    pub(super) fn ways(&mut self, from: Source<'_>, lookup: u64, ip: u64) -> Arc<[Way]> {
        if let Some(memory) = from.memory {
            let known = self.running.entry(from.pid).or_default();
            if known.generation != memory.generation() {
                *known = Known { generation: memory.generation(), ..Known::default() };
            }
            if let Some(ways) = known.ways.get(&ip) {
                return ways.clone();
            }
            let read = read_ways(&mut known.reader, ip, |address| memory.code(from.pid, address));
            let told = self.told(from, lookup, memory.generation());
            let told = told.map(|row| Way { row, is_told: true });
            let ways: Arc<[Way]> = read.iter().cloned().chain(told).collect();
            if let Some(known) = self.running.get_mut(&from.pid) {
                known.ways.insert(ip, ways.clone());
            }
            return ways;
        }
        let Some((path, code)) = dump_of(&mut self.dumps, from) else { return Arc::default() };
        let Some(number) = code.find(lookup, from.time) else { return Arc::default() };
        let known = self.dumped.entry((path.clone(), number)).or_default();
        if let Some(ways) = known.ways.get(&ip) {
            return ways.clone();
        }
        let told = described(code, number, lookup, &mut self.context);
        let ways: Arc<[Way]> = match told {
            Some(row) => [Way { row, is_told: true }].into(),
            None => read_ways(&mut known.reader, ip, |address| {
                first(code.bytes_at(code.find(address, from.time)?, address)?)
            }),
        };
        known.ways.insert(ip, ways.clone());
        ways
    }

    /// What the dump says of `lookup`. It is still being written: each `generation` reads it anew.
    fn told(&mut self, from: Source<'_>, lookup: u64, generation: u64) -> Option<Row> {
        if self.dumps_read != generation {
            self.dumps.clear();
            self.dumps_read = generation;
        }
        let (_, code) = dump_of(&mut self.dumps, from)?;
        let number = code.find(lookup, from.time)?;
        described(code, number, lookup, &mut self.context)
    }

    /// Whether other code lies around `address` by now. If so, what is known of its process is
    /// forgotten.
    pub(super) fn renew(&mut self, from: Source<'_>, address: u64) -> bool {
        let is_new = from.memory.is_some_and(|memory| memory.has_new_code(from.pid, address));
        if is_new {
            self.running.remove(&from.pid);
        }
        is_new
    }

    /// The bytes before `address`, if they are known.
    pub(super) fn before(&mut self, from: Source<'_>, address: u64) -> Option<[u8; 7]> {
        let start = address.checked_sub(7)?;
        let bytes = match from.memory {
            Some(memory) => memory.code(from.pid, start)?,
            None => {
                let (_, code) = dump_of(&mut self.dumps, from)?;
                let number = code.find(address - 1, from.time)?;
                first(code.bytes_at(number, start)?)?
            }
        };
        bytes.first_chunk().copied()
    }
}

fn dump_of<'a>(
    dumps: &'a mut HashMap<BString, Option<JitCode>>,
    from: Source<'a>,
) -> Option<(&'a BString, &'a JitCode)> {
    let path = from.dump?;
    if !dumps.contains_key(path) {
        dumps.insert(path.clone(), from.loader.jit_code(path));
    }
    Some((path, dumps.get(path)?.as_ref()?))
}

fn read_ways(
    reader: &mut Reader,
    ip: u64,
    code_at: impl FnMut(u64) -> Option<[u8; LONGEST]>,
) -> Arc<[Way]> {
    let exits = reader.exits(ip, code_at);
    exits.iter().map(|exit| Way { row: Row::of_exit(exit), is_told: false }).collect()
}

/// The first bytes, and zeros where there are no more.
fn first(code: &[u8]) -> Option<[u8; LONGEST]> {
    let mut bytes = [0; LONGEST];
    let length = code.len().min(LONGEST);
    bytes[..length].copy_from_slice(&code[..length]);
    (length > 0).then_some(bytes)
}

/// What the JIT itself says of `address`, which is in the code of this number.
///
/// The tables are written as if they lay behind the code. Most describe one function, and it is the
/// code, wherever they say that it lies: perf writes both into a file of its own, so that its
/// offsets never mattered.
fn described(
    code: &JitCode,
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
