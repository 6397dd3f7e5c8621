//! The modules that were hit: the file of each, and how far it was moved from its own addresses.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;
use hashbrown::HashMap as FastMap;

use crate::symbols::{Identity, Loader, Module, Segment, is_anonymous};

use super::cfi::{Cfi, Shared};

/// The number of a module: [`Modules::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleId(u32);

/// A module that was hit.
pub(crate) struct Mapped {
    pub(crate) path: BString,
    pub(crate) file: Option<Arc<Module>>,
    /// The process of a module without a file. Its JIT may have named the code.
    pub(crate) pid: u32,
    /// Read when a stack first leads there.
    cfi: Option<Box<Cfi>>,
    /// Copied by each map that shows the module.
    shown: Shown,
    /// It was hit since [`Modules::release`] last looked.
    is_recent: bool,
}

/// Counts the maps that show a module.
pub(crate) type Shown = Arc<()>;

impl Mapped {
    /// Whether it is a file that is missing, or was replaced since.
    pub(super) fn is_missing(&self) -> bool {
        self.file.is_none() && !is_anonymous(&self.path)
    }

    /// The bytes of the file up to the one at `in_file`, including it.
    pub(super) fn code_until(&self, in_file: u64) -> Option<&[u8]> {
        let end = usize::try_from(in_file.wrapping_add(1)).ok()?;
        self.file.as_ref()?.bytes().get(..end)
    }
}

/// A map whose module was looked up.
#[derive(Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) module: ModuleId,
    /// The distance from the module's own addresses to those in the process; `None` without a file.
    pub(crate) bias: Option<u64>,
    /// The map shows parts of several executable segments, so the bias depends on the byte in the
    /// file.
    pub(crate) is_shared: bool,
}

/// All modules.
#[derive(Default)]
pub(crate) struct Modules {
    list: FastMap<ModuleId, Mapped>,
    known: HashMap<(BString, usize), ModuleId>,
    /// The number of the last new module. None is used again.
    next: u32,
    /// How many modules came since [`Modules::release`] last looked.
    fresh: usize,
    context: Shared,
}

/// After how many new modules those that are not needed are looked for.
pub(super) const MANY: usize = 64;
/// How many addresses may have tables in memory, about half a kilobyte each.
const MOST_ADDRESSES: usize = 1 << 16;
/// A module with more than this is large.
const LARGE: usize = MOST_ADDRESSES / 16;

impl Modules {
    pub(crate) fn get(&self, id: ModuleId) -> &Mapped {
        &self.list[&id]
    }

    /// Forgets modules that no map shows any more. A build runs its compiler a thousand times, so
    /// those that were hit lately stay, and so does code without a file, which may still get names,
    /// while its process `is_known`. Looks only once many modules are new, and returns whether it
    /// did.
    pub(super) fn release(&mut self, is_known: impl Fn(u32) -> bool) -> bool {
        if self.fresh < MANY {
            return false;
        }
        self.fresh = 0;
        self.list.retain(|_, module| {
            Arc::strong_count(&module.shown) > 1
                || std::mem::take(&mut module.is_recent)
                || module.file.is_none() && is_known(module.pid)
        });
        self.known.retain(|_, id| self.list.contains_key(id));
        true
    }

    /// Forgets the tables of large modules if there are too many. Must not be called while a stack
    /// is being unwound.
    pub(super) fn trim(&mut self) {
        let all = self.list.values().filter_map(|module| module.cfi.as_ref());
        if all.map(|cfi| cfi.len()).sum::<usize>() > MOST_ADDRESSES {
            for module in self.list.values_mut() {
                module.cfi.take_if(|cfi| cfi.len() > LARGE);
            }
        }
    }

    /// Whether it was not forgotten.
    pub(super) fn has(&self, id: ModuleId) -> bool {
        self.list.contains_key(&id)
    }

    /// How many modules are held.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The tables of a module; `None` without a file.
    pub(super) fn cfi(&mut self, id: ModuleId) -> Option<&mut Cfi> {
        let Mapped { file, cfi, .. } = self.list.get_mut(&id)?;
        let file = file.as_ref()?;
        Some(cfi.get_or_insert_with(|| Box::new(Cfi::new(file, &self.context))))
    }

    /// Finds the module of a map at `start` that shows a file from `offset` on.
    ///
    /// A module is identified by its name and its file, so a library of a thousand processes is one
    /// module. Without a file, it is identified by the process.
    pub(crate) fn hit(
        &mut self,
        identity: &Identity,
        start: u64,
        offset: u64,
        pid: u32,
        loader: &Loader,
    ) -> (Hit, Shown) {
        let path = &identity.path;
        // The vdso of a 32-bit program differs from ours.
        let is_narrow = path == "[vdso]" && start < 1 << 32;
        let file = if is_narrow { None } else { loader.module(identity, Some(pid)) };
        let which = file.as_ref().map_or(pid as usize, |file| Arc::as_ptr(file) as usize);
        let segments = file.as_ref().map_or(&[][..], |file| file.segments());
        let bias = bias(segments, start, offset, offset);
        let is_shared = segments.iter().filter(|segment| shows(segment, offset)).count() > 1;
        let Modules { list, known, next, fresh, .. } = self;
        let id = *known.entry((path.clone(), which)).or_insert_with(|| {
            *next += 1;
            *fresh += 1;
            ModuleId(*next)
        });
        let module = list.entry(id).or_insert_with(|| Mapped {
            path: path.clone(),
            file,
            pid,
            cfi: None,
            shown: Shown::default(),
            is_recent: false,
        });
        module.is_recent = true;
        (Hit { module: id, bias, is_shared }, module.shown.clone())
    }

    /// The bias of the byte at `in_file` of `module`, in a map at `start` that begins at `offset`
    /// of the file.
    pub(crate) fn bias_at(
        &self,
        module: ModuleId,
        start: u64,
        offset: u64,
        in_file: u64,
    ) -> Option<u64> {
        bias(self.get(module).file.as_ref()?.segments(), start, offset, in_file)
    }
}

/// How far the byte at `in_file` was moved from its module's own addresses, by a map at `start`
/// that begins at `offset` of the file.
///
/// Linkers put the end of one segment and the beginning of the next on one page of the file, so a
/// map may show bytes of both. The segment that holds the byte decides, because nothing else is
/// recorded. Bytes between segments belong to the first executable one.
fn bias(segments: &[Segment], start: u64, offset: u64, in_file: u64) -> Option<u64> {
    let holds = |segment: &&Segment| {
        let into = in_file.checked_sub(segment.offset);
        segment.executable && into.is_some_and(|into| into < segment.file_size)
    };
    let shown = |segment: &&Segment| shows(segment, offset);
    let executable = || segments.iter().filter(|segment| segment.executable).find(shown);
    let segment = segments.iter().find(holds).or_else(executable);
    let segment = segment.or_else(|| segments.iter().find(shown))?;
    let address = segment.address.wrapping_sub(segment.offset).wrapping_add(offset);
    Some(start.wrapping_sub(address))
}

/// Whether a map that begins at `offset` of the file may show a part of `segment`.
fn shows(segment: &Segment, offset: u64) -> bool {
    const PAGE: u64 = 0xfff;
    offset >= segment.offset & !PAGE && offset < segment.offset.saturating_add(segment.file_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, file_size: u64, address: u64, executable: bool) -> Segment {
        Segment { offset, file_size, address, executable }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tables_of_many_addresses_are_forgotten() {
        let program = std::env::current_exe().unwrap();
        let identity = Identity::of_path(program.to_str().unwrap().as_bytes());
        let loader = Loader::new(crate::symbols::Config::default());
        let mut modules = Modules::default();
        let (hit, _) = modules.hit(&identity, 0, 0, 1, &loader);
        for _ in 0..2 {
            for address in 0..=MOST_ADDRESSES as u64 {
                modules.cfi(hit.module).unwrap().row(address);
            }
            modules.trim();
            assert_eq!(modules.cfi(hit.module).unwrap().len(), 0);
        }
        modules.cfi(hit.module).unwrap().row(0);
        modules.trim();
        assert_eq!(modules.cfi(hit.module).unwrap().len(), 1);
    }

    #[test]
    fn the_executable_segment_of_a_shared_page_decides() {
        let segments = [segment(0, 0x1080, 0, false), segment(0x1080, 0x500, 0x2080, true)];
        let bias = |start, offset| bias(&segments, start, offset, offset);
        assert_eq!(bias(0x7000_2000, 0x1000), Some(0x7000_0000));
        assert_eq!(bias(0x7000_0000, 0), Some(0x7000_0000));
        assert_eq!(bias(0x7000_0000, 0x9000), None);
    }

    #[test]
    fn the_segment_that_holds_the_byte_decides_if_a_page_has_two() {
        let segments = [
            segment(0, 0x800, 0, false),
            segment(0x800, 0x700, 0x1800, true),
            segment(0xf00, 0x80, 0x900_0f00, true),
        ];
        // Each segment has a map of its own, and all three show the first page of the file.
        assert_eq!(bias(&segments, 0x1000, 0, 0x900), Some(0));
        assert_eq!(bias(&segments, 0x900_0000, 0, 0xf10), Some(0));
        assert_eq!(bias(&segments, 0x5555_0900_0000, 0, 0xf10), Some(0x5555_0000_0000));
    }
}
