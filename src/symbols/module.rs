//! A module: its mapped file, its debug files, and the functions at its addresses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use gimli::{EndianSlice, RunTimeEndian, SectionId};
use rayon::prelude::*;

use super::dwarf::{Dwarf, Found};
use super::elf::{Elf, Segment, unxz};
use super::identity::Stamp;
use super::split::Split;
use super::units::Sections;
use super::{gopclntab, part};
use crate::error::{Error, Result};
use crate::mapped::Bytes;

/// Unpacked sections are kept for the next query if they have at most this many bytes.
const KEPT: usize = 64 << 20;

/// A mapped ELF file and the files that belong to it.
pub struct Module {
    path: PathBuf,
    pub(super) main: Bytes,
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
    go: OnceLock<Option<gopclntab::TableRange>>,
    build_id: Option<Vec<u8>>,
    /// The state of the file when it was opened, if it is a file.
    pub(super) stamp: Option<Stamp>,
    segments: Vec<Segment>,
    /// `EM_X86_64` and the like.
    pub(super) machine: u16,
    /// The address of the entry point.
    pub(super) entry: u64,
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

    /// The table of functions that Go leaves in a stripped program.
    pub(super) fn go<'a>(&'a self, elf: &Elf<'a>) -> Option<gopclntab::GoTable<'a>> {
        let place = self.go.get_or_init(|| gopclntab::TableRange::find(elf, &self.main));
        place.as_ref()?.table(elf, &self.main)
    }

    /// Where the function at `address` starts, by that table.
    pub(crate) fn go_start(&self, address: u64) -> Option<u64> {
        let elf = Elf::parse(&self.main)?;
        let (_, start) = self.go(&elf)?.at(address)?;
        Some(start)
    }

    /// The unpacked `.gnu_debugdata` of the module, if it has one.
    pub(super) fn mini(&self, main: Option<&Elf<'_>>) -> Option<&[u8]> {
        let unpack = || unxz(main?.section(b".gnu_debugdata")?.data);
        self.mini.get_or_init(unpack).as_deref()
    }

    /// Keeps unpacked sections, or returns them if they are large.
    fn keep(&self, unpacked: Unpacked) -> Option<Unpacked> {
        let is_small = unpacked.values().map(Vec::len).sum::<usize>() <= KEPT;
        if is_small { self.unpacked.set(unpacked).err() } else { Some(unpacked) }
    }

    /// Unpacks the sections of its DWARF ahead of the first query, if they will be kept.
    pub(crate) fn prepare(&self, lines: bool) {
        let main = Elf::parse(&self.main);
        let debug = self.debug.as_ref().and_then(|debug| Elf::parse(debug));
        if let Some(elf) = with_dwarf(main.as_ref(), debug.as_ref())
            && self.unpacked.get().is_none()
            && elf.packed_size() <= KEPT as u64
        {
            self.keep(unpack(elf, lines));
        }
    }

    /// The chains that DWARF gives.
    pub(super) fn inlines(
        &self,
        main: Option<&Elf<'_>>,
        debug: Option<&Elf<'_>>,
        addresses: &[u64],
        lines: bool,
    ) -> Found {
        let Some(elf) = with_dwarf(main, debug) else { return Found::default() };
        let endian = if elf.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let fetched = self.fetched.get().and_then(|(_, shared)| shared.as_ref());
        let shared = self.shared.as_ref().or(fetched).and_then(|shared| Elf::parse(shared));
        let shared_unpacked = shared.as_ref().map(|shared| unpack(shared, false));
        let shared = shared.as_ref().zip(shared_unpacked.as_ref());
        let package = self.package.as_deref().and_then(Elf::parse);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let find = |unpacked: &Unpacked| {
            let split = Split::new(package.as_ref(), endian, directory);
            let shared = shared.map(|(elf, unpacked)| load(elf, unpacked));
            let mut found = Dwarf::new(load(elf, unpacked), shared, lines).find(addresses, &split);
            found.broken += split.missing();
            found
        };

        // The first query is mostly the only one. Another one would unpack the same again.
        let is_first = !self.was_asked.swap(true, Ordering::Relaxed);
        if is_first
            && self.unpacked.get().is_none()
            && let Some(part) = unpack_part(elf, endian, addresses, lines)
        {
            let found = find(&part);
            if found.is_whole() {
                return found;
            }
        }
        let fresh = self.unpacked.get().is_none().then(|| unpack(elf, lines));
        let not_kept = fresh.and_then(|fresh| self.keep(fresh)).unwrap_or_default();
        find(self.unpacked.get().unwrap_or(&not_kept))
    }
}

/// The sections that are read. Only lines need the last one.
const READ: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugLine,
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
fn unpack(elf: &Elf<'_>, lines: bool) -> Unpacked {
    unpack_up_to(elf, None, lines)
}

/// The same, with no more of `.debug_info` than `addresses` need. `None` if they need all of it, or
/// if it is not compressed.
fn unpack_part(
    elf: &Elf<'_>,
    endian: RunTimeEndian,
    addresses: &[u64],
    lines: bool,
) -> Option<Unpacked> {
    elf.section(b".debug_info").filter(|section| section.packed.is_some())?;
    let end = part::end(&elf.content(SectionId::DebugAranges.name()), endian, addresses)?;
    Some(unpack_up_to(elf, Some(end), lines))
}

fn unpack_up_to(elf: &Elf<'_>, end: Option<usize>, lines: bool) -> Unpacked {
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
    let wanted = READ.into_par_iter().filter(|&id| lines || id != SectionId::DebugLine);
    wanted.filter_map(unpack).collect()
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
