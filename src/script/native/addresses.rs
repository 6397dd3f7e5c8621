//! Keeps each distinct address of a recording once, and resolves it to frames.

use bstr::{BStr, ByteSlice};
use hashbrown::HashMap as FastMap;
use rayon::prelude::*;

use crate::error::Result;
use crate::sample::{Frame, FrameId, FrameTable, Kind, Place};
use crate::symbols::{Functions, Loader, Naming};

use super::naming::{Jit, KernelNames, OwnerNames, unpadded};
use crate::sample::printable;
use crate::script::Config;
use crate::unwind::{At, Found, ModuleId, Spaces};

/// A frame and its place.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) frame: FrameId,
    pub(super) place: Place,
}

/// A range of the frames that have names.
pub(super) type Range = (u32, u32);

/// The table of addresses. Their ids are indices.
pub(super) struct Addresses {
    pub(super) keys: Vec<Key>,
    pub(super) ids: FastMap<Key, u32>,
    /// The frames of each address in `named`. New addresses have none yet.
    pub(super) ranges: Vec<Range>,
    pub(super) named: Vec<Named>,
    /// The frames of addresses whose code changed, each with the time from which they hold.
    pub(super) then: FastMap<u32, Vec<(u64, Range)>>,
    no_inline: bool,
    naming: Naming,
    addresses: bool,
    live: bool,
    /// Which addresses are in code without a file.
    pub(super) is_code: Vec<bool>,
    /// Addresses that have a placeholder until their names are known.
    pub(super) unsettled: Vec<u32>,
    /// Addresses that a jitdump names. The JIT may still place other code there.
    pub(super) dumped: Vec<u32>,
    /// How many names had control characters.
    replaced: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) owner: Owner,
    /// The address that is looked up: in the module's own address space, or the sampled one if
    /// there is no file.
    lookup: u64,
    /// The address that is shown.
    shown: u64,
    /// How far the lookup is before the shown address: 1 for return addresses.
    back: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Owner {
    Truncated,
    Kernel,
    Module(ModuleId),
    /// The recording has no map there.
    Nowhere(u32),
}

impl Addresses {
    /// The id that marks a stack whose rest was not captured.
    pub(super) const TRUNCATED: u32 = 0;

    pub(super) fn new(config: &Config) -> Self {
        let mut table = Addresses {
            keys: Vec::new(),
            ids: FastMap::default(),
            ranges: Vec::new(),
            named: Vec::new(),
            then: FastMap::default(),
            no_inline: config.no_inline,
            // perf expands no inlines of recorded call chains: see `expand_as_perf`.
            naming: Naming {
                inlines: !config.no_inline && !config.perf_compat,
                as_perf: config.perf_compat,
                starts: !config.perf_compat,
                lines: config.lines,
            },
            addresses: config.addresses,
            live: config.live,
            is_code: Vec::new(),
            unsettled: Vec::new(),
            dumped: Vec::new(),
            replaced: 0,
        };
        table.id(Key { owner: Owner::Truncated, lookup: 0, shown: 0, back: 0 });
        table
    }

    /// Expands inlined functions as perf does for stacks that it unwinds.
    pub(super) fn expand_as_perf(&mut self) {
        self.naming.inlines = !self.no_inline;
    }

    pub(super) fn kernel(&mut self, at: At) -> u32 {
        let lookup = at.lookup();
        let back = at.address - lookup;
        self.id(Key { owner: Owner::Kernel, lookup, shown: at.address, back })
    }

    /// The id of an address of process `pid` in the map `found`. For a return address, `is_called`
    /// says whether a call ends there, because a coroutine and a signal's handler return to the
    /// start of a function.
    pub(super) fn user(
        &mut self,
        pid: u32,
        at: At,
        found: Option<Found>,
        is_called: impl FnOnce() -> bool,
    ) -> u32 {
        let lookup = at.lookup();
        let back = at.address - at.lookup();
        let key = match found {
            Some(found) => Key {
                owner: Owner::Module(found.hit.module),
                lookup: lookup_in(Some(found), lookup),
                shown: found.in_file.wrapping_add(back),
                back,
            },
            None => Key { owner: Owner::Nowhere(pid), lookup, shown: at.address, back },
        };
        let next = self.keys.len();
        let id = self.id(key);
        if back > 0 && id as usize == next && !is_called() {
            let key = &mut self.keys[next];
            key.lookup = lookup_in(found, at.address);
            key.back = 0;
        }
        id
    }

    /// The frames of a resolved address, leaf first, at a `time` on the clock of jitdumps if that
    /// is known.
    pub(super) fn frames(&self, id: u32, time: Option<u64>) -> &[Named] {
        let then = || {
            let time = time?;
            let frames = self.then.get(&id)?;
            let after = frames.partition_point(|&(from, _)| from <= time);
            Some(frames.get(after.saturating_sub(1))?.1)
        };
        let then = if self.then.is_empty() { None } else { then() };
        match then.or_else(|| self.ranges.get(id as usize).copied()) {
            Some((start, end)) => &self.named[start as usize..end as usize],
            None => &[],
        }
    }

    /// Whether a resolved address is in code without a file, which is mostly generated.
    pub(super) fn is_code(&self, id: u32) -> bool {
        self.is_code.get(id as usize).copied().unwrap_or(false)
    }

    /// The process that has the code at an address without a file.
    pub(super) fn process(&self, id: u32, spaces: &Spaces) -> Option<u32> {
        match self.keys.get(id as usize)?.owner {
            Owner::Nowhere(pid) => Some(pid),
            Owner::Module(module) => Some(spaces.module(module).pid),
            Owner::Truncated | Owner::Kernel => None,
        }
    }

    fn id(&mut self, key: Key) -> u32 {
        let next = self.keys.len() as u32;
        *self.ids.entry(key).or_insert_with(|| {
            self.keys.push(key);
            next
        })
    }

    /// Lets owners do what takes longest and is done once: unpack sections, read the kernel's list.
    pub(super) fn prepare(&self, spaces: &Spaces, loader: &Loader) {
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        keys.sort_unstable_by_key(|key| key.owner);
        keys.dedup_by_key(|key| key.owner);
        keys.into_par_iter().for_each(|key| match key.owner {
            Owner::Module(id) if self.naming.inlines => {
                spaces.module(id).file.iter().for_each(|file| file.prepare(self.naming.lines));
            }
            // An error will occur again when all addresses are resolved.
            Owner::Kernel => drop(KernelNames::ask(vec![key.lookup], false, spaces, loader)),
            _ => {}
        });
    }

    /// Names all addresses that have no frames yet, or may have other frames now.
    pub(super) fn resolve(
        &mut self,
        spaces: &Spaces,
        loader: &Loader,
        frames: &mut FrameTable,
    ) -> Result<()> {
        let first = self.ranges.len();
        let mut fresh: Vec<u32> = (first as u32..self.keys.len() as u32).collect();
        fresh.append(&mut self.dumped);
        self.ranges.resize(self.keys.len(), (0, 0));
        // Group the addresses of a module, in order.
        fresh.sort_unstable_by_key(|&id| {
            (self.keys[id as usize].owner, self.keys[id as usize].lookup)
        });
        let keys = std::mem::take(&mut self.keys);
        let same = |a: &u32, b: &u32| keys[*a as usize].owner == keys[*b as usize].owner;
        let groups: Vec<&[u32]> = fresh.chunk_by(same).collect();
        // In parallel: most addresses are in few modules, and the kernel's list takes a while.
        let ask = |group: &&[u32]| self.ask(group, &keys, spaces, loader);
        let answers: Vec<Result<OwnerNames>> = groups.par_iter().map(ask).collect();
        self.is_code.resize(keys.len(), false);
        for (group, answer) in groups.into_iter().zip(answers) {
            let answer = answer?;
            if let OwnerNames::Code(path, _) = &answer
                && is_memory(path)
            {
                group.iter().for_each(|&id| self.is_code[id as usize] = true);
            }
            match answer {
                OwnerNames::Truncated => {
                    let frame = Frame {
                        symbol: Kind::TRUNCATED.into(),
                        module: "[unknown]".into(),
                        kind: Kind::Truncated,
                        ..Frame::default()
                    };
                    for &id in group {
                        self.name(id, &keys, [(frame, None)].into_iter(), frames);
                    }
                }
                OwnerNames::Code(path, jit) => self.name_by(group, &keys, path, &jit, frames),
                OwnerNames::Kernel(names) => self.name_kernel(group, &keys, spaces, &names, frames),
                OwnerNames::Module(path, addresses, functions) => {
                    self.name_module(group, &keys, path, (&addresses, &functions), frames);
                }
            }
        }
        self.keys = keys;
        Ok(())
    }

    /// Gets the names of `group`, which has one owner.
    fn ask<'a>(
        &self,
        group: &[u32],
        keys: &[Key],
        spaces: &'a Spaces,
        loader: &Loader,
    ) -> Result<OwnerNames<'a>> {
        let owner = group.first().map_or(Owner::Truncated, |&id| keys[id as usize].owner);
        Ok(match owner {
            Owner::Truncated => OwnerNames::Truncated,
            Owner::Nowhere(pid) => {
                OwnerNames::Code("[unknown]".into(), Jit::of(pid, spaces, loader))
            }
            Owner::Kernel => {
                let inlines = !self.no_inline && !self.naming.as_perf;
                OwnerNames::Kernel(KernelNames::ask(
                    distinct(group, keys),
                    inlines,
                    spaces,
                    loader,
                )?)
            }
            Owner::Module(id) => {
                let mapped = spaces.module(id);
                let path = mapped.path.as_bstr();
                let Some(file) = &mapped.file else {
                    return Ok(OwnerNames::Code(path, Jit::of(mapped.pid, spaces, loader)));
                };
                let addresses = distinct(group, keys);
                if file.is_overwritten() {
                    loader.warn_overwritten(path);
                    return Ok(OwnerNames::Module(path, addresses, Functions::default()));
                }
                loader.complete(file);
                let functions = file.functions(&addresses, self.naming);
                OwnerNames::Module(path, addresses, functions)
            }
        })
    }

    fn name_kernel(
        &mut self,
        group: &[u32],
        keys: &[Key],
        spaces: &Spaces,
        names: &KernelNames,
        frames: &mut FrameTable,
    ) {
        for &id in group {
            let key = keys[id as usize];
            if let Some(functions) = names.functions(key.lookup) {
                let named = functions.map(|(function, start)| {
                    let (module, kind) = if function.inlined {
                        ("inlined".into(), Kind::Inlined)
                    } else {
                        ("[kernel.kallsyms]".into(), Kind::Kernel)
                    };
                    (Frame { symbol: function.name, module, kind, ..Frame::default() }, start)
                });
                self.name(id, keys, named, frames);
                continue;
            }
            let symbol = spaces.kernel.recorded(key.lookup).or_else(|| names.listed(key.lookup));
            let named = symbol.map(|symbol| unpadded(symbol, (key.lookup, key.shown)));
            let module = symbol
                .filter(|symbol| !symbol.module.is_empty())
                .map(|symbol| [b"[", symbol.module.as_slice(), b"]"].concat());
            let frame = Frame {
                symbol: named.map_or("[unknown]".into(), |(name, _)| name),
                module: module
                    .as_ref()
                    .map_or("[kernel.kallsyms]".into(), |module| module.as_bstr()),
                kind: Kind::Kernel,
                ..Frame::default()
            };
            self.name(id, keys, [(frame, named.map(|(_, start)| start))].into_iter(), frames);
        }
    }

    fn name_module(
        &mut self,
        group: &[u32],
        keys: &[Key],
        path: &BStr,
        (addresses, functions): (&[u64], &Functions),
        frames: &mut FrameTable,
    ) {
        let kind = Kind::of_module(path);
        for &id in group {
            let key = keys[id as usize];
            let at = addresses.partition_point(|&address| address < key.lookup);
            let here = functions.at(at);
            if here.len() == 0 {
                let frame =
                    Frame { symbol: "[unknown]".into(), module: path, kind, ..Frame::default() };
                self.name(id, keys, [(frame, None)].into_iter(), frames);
                continue;
            }
            let named = here.map(|function| {
                let (module, kind) =
                    if function.inlined { ("inlined".into(), Kind::Inlined) } else { (path, kind) };
                let line = function.line;
                let frame = Frame { symbol: function.name, module, kind, address: None, line };
                // The start is in the module's own address space, but the shown address is in the
                // file.
                let start = function.start.map(|start| {
                    let offset = key.lookup.wrapping_sub(start).wrapping_add(key.back);
                    key.shown.wrapping_sub(offset)
                });
                (frame, start)
            });
            self.name(id, keys, named, frames);
        }
    }

    /// Names addresses of code without a file.
    fn name_by(
        &mut self,
        group: &[u32],
        keys: &[Key],
        path: &BStr,
        jit: &Jit,
        frames: &mut FrameTable,
    ) {
        for &id in group {
            let key = keys[id as usize];
            let at = (key.lookup, key.shown);
            let mut then = Vec::new();
            for (time, named) in jit.changes(at) {
                self.name(id, keys, [named].into_iter(), frames);
                then.push((time, self.ranges[id as usize]));
            }
            if !then.is_empty() {
                self.then.insert(id, then);
            }
            let (mut last, start) = jit.frame(path, at);
            // The process is gone and its names with it, so the earlier ones stay.
            if last.symbol == "[unknown]" && self.ranges[id as usize].1 > 0 {
                continue;
            }
            // The process may still write its names. No other frame has this placeholder.
            let stand_in = format!("\0{}", frames.len());
            if self.live && last.symbol == "[unknown]" {
                last.symbol = stand_in.as_bytes().into();
                self.unsettled.push(id);
            } else if self.live && jit.has_dump() {
                self.dumped.push(id);
            }
            self.name(id, keys, [(last, start)].into_iter(), frames);
        }
    }

    /// Looks up addresses again, of the processes that are meant, that had no names while the
    /// recording went on. JITs write their maps late, Java at its end.
    pub(super) fn settle(
        &mut self,
        is_meant: impl Fn(u32) -> bool,
        spaces: &Spaces,
        loader: &Loader,
        frames: &mut FrameTable,
    ) {
        let (mut ids, others): (Vec<u32>, Vec<u32>) = std::mem::take(&mut self.unsettled)
            .into_iter()
            .partition(|&id| self.process(id, spaces).is_none_or(&is_meant));
        self.unsettled = others;
        let keys = std::mem::take(&mut self.keys);
        ids.sort_by_key(|&id| keys[id as usize].owner);
        for group in ids.chunk_by(|&a, &b| keys[a as usize].owner == keys[b as usize].owner) {
            let Ok(OwnerNames::Code(path, jit)) = self.ask(group, &keys, spaces, loader) else {
                continue;
            };
            for &id in group {
                let Key { lookup, shown, .. } = keys[id as usize];
                let (mut frame, _) = jit.frame(path, (lookup, shown));
                if self.addresses && frame.symbol == "[unknown]" {
                    frame.address = Some(shown);
                }
                let (start, _) = self.ranges[id as usize];
                let stand_in = self.named[start as usize].frame;
                self.printable(frame, |frame| frames.replace(stand_in, frame));
            }
        }
        self.keys = keys;
    }

    fn name<'a>(
        &mut self,
        id: u32,
        keys: &[Key],
        named: impl Iterator<Item = (Frame<'a>, Option<u64>)>,
        frames: &mut FrameTable,
    ) {
        let shown = keys[id as usize].shown;
        let start = self.named.len() as u32;
        for (mut frame, symbol_start) in named {
            if self.addresses && frame.symbol == "[unknown]" {
                frame.address = Some(shown);
            }
            let offset = symbol_start.map(|start| shown.wrapping_sub(start));
            let frame = self.printable(frame, |frame| frames.intern(frame));
            self.named.push(Named { frame, place: Place { address: shown, offset } });
        }
        self.ranges[id as usize] = (start, self.named.len() as u32);
    }
}

/// Whether this is the name of memory without a file: `//anon`, `[heap]`, `/memfd:doublemapper
/// (deleted)`. A missing file is different, and so are a vdso and an unmapped address, to which a
/// broken stack leads.
fn is_memory(path: &[u8]) -> bool {
    let prefixes: [&[u8]; 5] = [b"//", b"/memfd:", b"/SYSV", b"/anon_hugepage", b"/dev/zero"];
    match path {
        b"[unknown]" | b"[vdso]" | b"[vsyscall]" | b"[uprobes]" => false,
        path => !path.starts_with(b"/") || prefixes.iter().any(|prefix| path.starts_with(prefix)),
    }
}

impl Addresses {
    /// How many names had control characters.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Passes the frame with printable names to `take`.
    fn printable<T>(&mut self, frame: Frame<'_>, take: impl FnOnce(Frame<'_>) -> T) -> T {
        // A placeholder is replaced later.
        if frame.symbol.starts_with(b"\0") {
            return take(frame);
        }
        let symbol = printable(frame.symbol);
        let module = printable(frame.module);
        self.replaced += u64::from(*symbol != **frame.symbol || *module != **frame.module);
        take(Frame { symbol: symbol.as_bstr(), module: module.as_bstr(), ..frame })
    }
}

/// The address to look up in the map `found`.
fn lookup_in(found: Option<Found>, address: u64) -> u64 {
    let bias = found.and_then(|found| found.hit.bias);
    bias.map_or(address, |bias| address.wrapping_sub(bias))
}

/// The distinct addresses of a sorted group.
fn distinct(group: &[u32], keys: &[Key]) -> Vec<u64> {
    let mut addresses: Vec<u64> = group.iter().map(|&id| keys[id as usize].lookup).collect();
    addresses.dedup();
    addresses
}
