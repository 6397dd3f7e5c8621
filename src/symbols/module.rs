//! A module: its mapped file, its debug files, and the functions at its addresses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bstr::{BStr, ByteSlice};
use gimli::{EndianSlice, RunTimeEndian, SectionId};
use rayon::prelude::*;

use super::chain::Chain;
use super::demangle;
use super::dwarf::{Dwarf, Found};
use super::elf::{Elf, Segment, unxz};
use super::identity::Stamp;
use crate::mapped::Bytes;

use super::plt;
use super::split::Split;
use super::table::{Search, Symbol};
use super::units::Sections;
use super::{extent, gopclntab, part};
use crate::error::{Error, Result};
use crate::intern::Interner;
use crate::sample::is_start;

/// Unpacked sections are kept for the next query if they have at most this many bytes.
const KEPT: usize = 64 << 20;

/// How the functions at an address are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Include the functions that were inlined.
    pub inlines: bool,
    /// Name as `perf script` 6.1 does. With inlined functions, all names are those of addr2line,
    /// also the outermost. Only a function with the name of the symbol itself is not marked as
    /// inlined. Stubs are counted, and their code is not read.
    pub as_perf: bool,
    /// Recognise `_start` and `clone` by their code if they have lost their names:
    /// `symbols/code.rs`.
    pub starts: bool,
}

impl Naming {
    /// Only the function of the symbol.
    pub const SYMBOLS: Naming = Naming { inlines: false, as_perf: false, starts: false };
    /// All functions.
    pub const INLINES: Naming = Naming { inlines: true, ..Naming::SYMBOLS };
}

/// A mapped ELF file and the files that belong to it.
pub struct Module {
    path: PathBuf,
    main: Bytes,
    /// Holds `.symtab` and `.debug_info` if the module itself does not.
    pub(super) debug: Option<Bytes>,
    /// The file that several debug files share (`.gnu_debugaltlink`).
    pub(super) shared: Option<Bytes>,
    /// The module's split units (`.dwp`).
    pub(super) package: Option<Bytes>,
    /// `debug` and `shared`, if they were downloaded.
    pub(super) fetched: OnceLock<(Option<Bytes>, Option<Bytes>)>,
    /// `.gnu_debugdata`, unpacked: the symbols that a distribution leaves in a stripped module.
    mini: OnceLock<Option<Vec<u8>>>,
    /// Its compressed sections of DWARF, unpacked.
    unpacked: OnceLock<Unpacked>,
    /// Whether its DWARF was asked for names.
    was_asked: AtomicBool,
    /// Where the table of Go's functions is, if this is a program of Go.
    go: OnceLock<Option<gopclntab::Place>>,
    build_id: Option<Vec<u8>>,
    /// The state of the file when it was opened, if it is a file.
    pub(super) stamp: Option<Stamp>,
    segments: Vec<Segment>,
    /// `EM_X86_64` and the like.
    pub(super) machine: u16,
    /// The address of the entry point.
    pub(super) entry: u64,
}

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Demangled.
    pub name: &'a BStr,
    /// Whether it was inlined into the next one.
    pub inlined: bool,
    /// Where its symbol starts, in the file's own address space. For an inlined function, this is
    /// the symbol that it is inlined into. `None` if only DWARF knows the function.
    pub start: Option<u64>,
}

/// The functions at each address of a query.
#[derive(Default)]
pub struct Functions {
    names: Interner,
    all: Vec<(u32, bool, Option<u64>)>,
    ends: Vec<usize>,
    /// How many units of DWARF could not be read to their end, or lack their split part, so inlined
    /// functions may be missing.
    pub broken_units: usize,
}

impl Functions {
    /// The functions at the `index`th address, innermost first; none if the address has no name.
    pub fn at(&self, index: usize) -> impl ExactSizeIterator<Item = Function<'_>> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(index).copied().unwrap_or(0);
        let all = self.all.get(start.unwrap_or(0)..end).unwrap_or_default();
        all.iter().map(|&(name, inlined, start)| {
            let name = self.names.get(name).as_bstr();
            Function { name, inlined, start }
        })
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Module {
    /// Maps the file at `path` alone. [`Loader`](super::Loader) also finds its debug files.
    pub fn open(path: &Path) -> Result<Module> {
        let bytes =
            Bytes::open(path).map_err(Error::io(|| format!("cannot read {}", path.display())))?;
        Self::new(path, bytes)
    }

    /// A module that is in memory, such as the vdso; `name` is for messages.
    pub fn from_bytes(name: &Path, bytes: Vec<u8>) -> Result<Module> {
        Self::new(name, Bytes::Owned(bytes))
    }

    fn new(path: &Path, main: Bytes) -> Result<Module> {
        let Some(elf) = Elf::parse(&main) else {
            let input = path.display().to_string();
            return Err(Error::Format { input, expected: "an ELF file".into() });
        };
        let Elf { machine, entry, .. } = elf;
        let build_id = elf.build_id().map(<[u8]>::to_vec);
        let segments = elf.segments.clone();
        drop(elf);
        Ok(Module {
            path: path.to_owned(),
            main,
            debug: None,
            shared: None,
            package: None,
            fetched: OnceLock::new(),
            mini: OnceLock::new(),
            unpacked: OnceLock::new(),
            was_asked: AtomicBool::new(false),
            go: OnceLock::new(),
            build_id,
            stamp: None,
            segments,
            machine,
            entry,
        })
    }

    /// The path where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.main
    }

    /// Whether the file was overwritten in place since it was opened, so its bytes are now those of
    /// another build.
    pub(crate) fn is_overwritten(&self) -> bool {
        let was = self.stamp.filter(|_| matches!(self.main, Bytes::Mapped(_)));
        was.is_some_and(|was| Stamp::of(&self.path).is_some_and(|now| now.overwrites(&was)))
    }

    /// Whether it has names that its build id does not cover. GNU ld leaves out `.symtab`.
    pub(super) fn has_names_beside_build_id(&self) -> bool {
        let Some(elf) = Elf::parse(&self.main) else { return false };
        elf.section(b".symtab").is_some() && !elf.has_dwarf()
    }

    /// The identity of this build, if it has one.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    /// Its loaded segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The address of an uncompressed section, in the file's own address space, and its range in
    /// [`bytes`](Module::bytes). `None` if there is none of that name.
    pub(crate) fn section(&self, name: &[u8]) -> Option<(u64, std::ops::Range<usize>)> {
        let elf = Elf::parse(&self.main)?;
        let section = elf.section(name).filter(|section| !section.data.is_empty())?;
        let start = (section.data.as_ptr() as usize).checked_sub(self.main.as_ptr() as usize)?;
        Some((section.address, start..start + section.data.len()))
    }

    /// The unpacked content of the section called `name`, in the module or in its debug file. Empty
    /// if there is none.
    pub(crate) fn content(&self, name: &str) -> Cow<'_, [u8]> {
        let files = [Some(&*self.main), self.debug.as_deref()];
        let mut contents =
            files.into_iter().flatten().filter_map(Elf::parse).map(|elf| elf.content(name));
        contents.find(|content| !content.is_empty()).unwrap_or_default()
    }

    /// The functions at each of `addresses`, which are sorted, distinct, and in the file's own
    /// address space.
    ///
    /// The outermost function has the name of the symbol table, with perf's choice among aliases,
    /// or else that of DWARF. Inlined functions have the names of DWARF. Damaged files yield fewer
    /// names, never an error.
    pub fn functions(&self, addresses: &[u64], naming: Naming) -> Functions {
        let main = Elf::parse(&self.main);
        let fetched = self.fetched.get().and_then(|(debug, _)| debug.as_ref());
        let debug = self.debug.as_ref().or(fetched).and_then(|debug| Elf::parse(debug));
        let main = main.as_ref();
        let debug = debug.as_ref();
        let has_table = |elf: &&Elf<'_>| elf.has(b".symtab");
        // A full table holds everything that the others have.
        let full = main.filter(has_table).or(debug.filter(has_table));
        let mini = if full.is_none() { self.mini(main) } else { None };
        let mini = mini.and_then(Elf::parse);
        let (symbols, found) = rayon::join(
            || {
                let mut search = Search::new(addresses);
                match full {
                    Some(elf) => search.table(elf, b".symtab"),
                    None => {
                        main.into_iter().for_each(|elf| search.table(elf, b".dynsym"));
                        mini.iter().for_each(|elf| search.table(elf, b".symtab"));
                    }
                }
                search.finish(naming.as_perf)
            },
            || {
                if naming.inlines { self.inlines(main, debug, addresses) } else { Found::default() }
            },
        );
        let mut out = Functions { broken_units: found.broken, ..Functions::default() };
        let mut chains = found.chains.into_iter();
        let mut interned: HashMap<Cow<'_, [u8]>, u32> = HashMap::new();
        // `.gnu_debugdata` has everything that `.dynsym` lacks.
        let has_all = full.is_some() || mini.is_some();
        let mut extents: HashMap<u64, u64> = HashMap::new();
        let mut go = None;
        // Few profiles have a sample in a stub. The first one reads the relocations.
        let mut stubs = None;
        for (&address, symbol) in addresses.iter().zip(symbols) {
            // In a stripped file, the next symbol does not show where one without a size ends.
            let symbol = symbol.filter(|symbol| {
                let is_known = symbol.size > 0 || has_all || naming.as_perf;
                let end = || main.map_or(u64::MAX, |elf| extent::end_of(elf, symbol.start));
                is_known || address < *extents.entry(symbol.start).or_insert_with(end)
            });
            let named_by_go = match symbol {
                Some(symbol) if symbol.size > 0 || full.is_some() => None,
                _ => go.get_or_insert_with(|| self.go(main?)).and_then(|go| go.at(address)),
            };
            let chain: Chain = chains.next().unwrap_or_default();
            let mut stub = || {
                let elf = main.filter(|elf| plt::section(elf, address).is_some())?;
                let stubs = stubs.get_or_insert_with(|| plt::Stubs::new(elf));
                let stub = if naming.as_perf { stubs.counted(address) } else { stubs.at(address) };
                stub.map(|stub| (Cow::Owned(stub.name), Some(stub.start)))
            };
            let named = symbol.map(|symbol| (Cow::Borrowed(symbol.name), Some(symbol.start)));
            let start = || {
                let is_start = symbol.is_some_and(|symbol| is_start(symbol.name.into()));
                let start = if naming.starts && !is_start { self.start_at(address) } else { None };
                start.map(|(name, start)| (Cow::Borrowed(name), start))
            };
            let outermost = if naming.as_perf {
                // `_init` has no size there, so it extends over the header of `.plt` to its first
                // stub.
                stub().or(named.filter(|_| {
                    let stubs = main.and_then(|elf| plt::section(elf, address));
                    stubs.is_none_or(|section| section.name == b".plt")
                }))
            } else if symbol.is_none_or(|symbol| symbol.size == 0) {
                // A symbol without a size extends over everything that follows.
                start().or(named).or_else(stub)
            } else {
                named
            };
            let named_by_go = named_by_go.map(|(name, start)| (Cow::Borrowed(name), Some(start)));
            let outermost = named_by_go.or(outermost);
            let outermost =
                outermost.or_else(|| chain.first()?.as_ref().map(|name| (owned(name), None)));
            let start = outermost.as_ref().and_then(|(_, start)| *start);
            let mut intern = |name: Option<Cow<'_, [u8]>>| {
                let name = name.unwrap_or(Cow::Borrowed(b"[unknown]"));
                interned.get(&name).copied().unwrap_or_else(|| {
                    let id = out.names.intern(&demangle(&name));
                    interned.insert(Cow::Owned(name.into_owned()), id);
                    id
                })
            };
            let by_addr2line = naming.as_perf && is_by_addr2line(&chain, symbol.as_ref());
            let names = chain.iter().map(|name| chain.alias.as_ref().or(name.as_ref()).map(owned));
            if by_addr2line {
                let base = intern(outermost.map(|(name, _)| name));
                for name in names.rev() {
                    let id = intern(name);
                    out.all.push((id, id != base, start));
                }
            } else {
                let is_known = outermost.is_some() || names.len() > 0;
                for name in names.skip(1).rev() {
                    out.all.push((intern(name), true, start));
                }
                if is_known {
                    out.all.push((intern(outermost.map(|(name, _)| name)), false, start));
                }
            }
            out.ends.push(out.all.len());
        }
        out
    }

    /// The table of functions that Go leaves in a stripped program.
    fn go<'a>(&'a self, elf: &Elf<'a>) -> Option<gopclntab::GoTable<'a>> {
        let place = self.go.get_or_init(|| gopclntab::Place::find(elf, &self.main));
        place.as_ref()?.table(elf, &self.main)
    }

    /// Where the function at `address` starts, by that table.
    pub(crate) fn go_start(&self, address: u64) -> Option<u64> {
        let elf = Elf::parse(&self.main)?;
        let (_, start) = self.go(&elf)?.at(address)?;
        Some(start)
    }

    /// The unpacked `.gnu_debugdata` of the module, if it has one.
    fn mini(&self, main: Option<&Elf<'_>>) -> Option<&[u8]> {
        let unpack = || unxz(main?.section(b".gnu_debugdata")?.data);
        self.mini.get_or_init(unpack).as_deref()
    }

    /// Keeps unpacked sections, or returns them if they are large.
    fn keep(&self, unpacked: Unpacked) -> Option<Unpacked> {
        let is_small = unpacked.values().map(Vec::len).sum::<usize>() <= KEPT;
        if is_small { self.unpacked.set(unpacked).err() } else { Some(unpacked) }
    }

    /// Unpacks the sections of its DWARF ahead of the first query, if they will be kept.
    pub(crate) fn prepare(&self) {
        let main = Elf::parse(&self.main);
        let debug = self.debug.as_ref().and_then(|debug| Elf::parse(debug));
        if let Some(elf) = with_dwarf(main.as_ref(), debug.as_ref())
            && self.unpacked.get().is_none()
            && elf.packed_size() <= KEPT as u64
        {
            self.keep(unpack(elf));
        }
    }

    /// The chains that DWARF gives.
    fn inlines(&self, main: Option<&Elf<'_>>, debug: Option<&Elf<'_>>, addresses: &[u64]) -> Found {
        let Some(elf) = with_dwarf(main, debug) else { return Found::default() };
        let endian = if elf.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let fetched = self.fetched.get().and_then(|(_, shared)| shared.as_ref());
        let shared = self.shared.as_ref().or(fetched).and_then(|shared| Elf::parse(shared));
        let shared_unpacked = shared.as_ref().map(unpack);
        let shared = shared.as_ref().zip(shared_unpacked.as_ref());
        let package = self.package.as_deref().and_then(Elf::parse);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let find = |unpacked: &Unpacked| {
            let split = Split::new(package.as_ref(), endian, directory);
            let shared = shared.map(|(elf, unpacked)| load(elf, unpacked));
            let mut found = Dwarf::new(load(elf, unpacked), shared).find(addresses, &split);
            found.broken += split.missing();
            found
        };

        // The first query is mostly the only one. Another one would unpack the same again.
        let is_first = !self.was_asked.swap(true, Ordering::Relaxed);
        if is_first
            && self.unpacked.get().is_none()
            && let Some(part) = unpack_part(elf, endian, addresses)
        {
            let found = find(&part);
            if found.is_whole() {
                return found;
            }
        }
        let fresh = self.unpacked.get().is_none().then(|| unpack(elf));
        let not_kept = fresh.and_then(|fresh| self.keep(fresh)).unwrap_or_default();
        find(self.unpacked.get().unwrap_or(&not_kept))
    }
}

/// Whether addr2line takes the names of all functions of an address from DWARF. A lone function
/// whose symbol is mangled, but which has no linkage name, is named by the symbol.
fn is_by_addr2line(chain: &Chain, symbol: Option<&Symbol<'_>>) -> bool {
    let is_mangled = |name: &[u8]| name.starts_with(b"_Z") || name.starts_with(b"_R");
    match chain.as_slice() {
        [] | [None] => false,
        [Some(name)] => is_mangled(name) || !symbol.is_some_and(|symbol| is_mangled(symbol.name)),
        _ => true,
    }
}

fn owned(name: &Arc<[u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(name.to_vec())
}

/// The sections that the walk reads. It does not need `.debug_line` and locations.
const READ: [SectionId; 9] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// The content of compressed sections.
type Unpacked = HashMap<SectionId, Vec<u8>>;

/// The file with the DWARF, preferably the module itself. A stripped module and its debug file have
/// headers of sections whose content only the other one has.
fn with_dwarf<'e, 'd>(
    main: Option<&'e Elf<'d>>,
    debug: Option<&'e Elf<'d>>,
) -> Option<&'e Elf<'d>> {
    [main, debug].into_iter().flatten().find(|elf| elf.has_dwarf())
}

/// Unpacks the compressed sections in parallel.
fn unpack(elf: &Elf<'_>) -> Unpacked {
    unpack_up_to(elf, None)
}

/// The same, with no more of `.debug_info` than `addresses` need. `None` if they need all of it, or
/// if it is not compressed.
fn unpack_part(elf: &Elf<'_>, endian: RunTimeEndian, addresses: &[u64]) -> Option<Unpacked> {
    elf.section(b".debug_info").filter(|section| section.packed.is_some())?;
    let end = part::end(&elf.content(SectionId::DebugAranges.name()), endian, addresses)?;
    Some(unpack_up_to(elf, Some(end)))
}

fn unpack_up_to(elf: &Elf<'_>, end: Option<usize>) -> Unpacked {
    let unpack = |id: SectionId| {
        let content = match end {
            Some(end) if id == SectionId::DebugInfo => elf.start_of(id.name(), end),
            _ => elf.content(id.name()),
        };
        match content {
            Cow::Owned(bytes) => Some((id, bytes)),
            Cow::Borrowed(_) => None,
        }
    };
    READ.into_par_iter().filter_map(unpack).collect()
}

/// The sections of DWARF. The compressed ones come from `unpacked`.
fn load<'a>(elf: &Elf<'a>, unpacked: &'a Unpacked) -> Sections<'a> {
    let endian = if elf.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let content = |id: SectionId| match unpacked.get(&id) {
        Some(bytes) => bytes,
        None if READ.contains(&id) => elf.plain(id.name()),
        None => b"",
    };
    let load = |id| Ok::<_, gimli::Error>(EndianSlice::new(content(id), endian));
    Sections::load(load).unwrap_or_default()
}
