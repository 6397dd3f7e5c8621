//! The modules that were hit: which file each is, and how far it lies from its own address space.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;

use crate::symbols::{Identity, Loader, Module, Segment};

use super::cfi::Cfi;

/// The number of a module: [`Modules::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ModuleId(u32);

/// A module that was hit.
pub(super) struct Mapped {
    pub(super) path: BString,
    pub(super) file: Option<Arc<Module>>,
    /// The process, where there is no file: its JIT may have named the code.
    pub(super) pid: u32,
    /// Read when a stack leads there first.
    cfi: Option<Box<Cfi>>,
}

/// A map whose module was looked for.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    pub(super) module: ModuleId,
    /// What is added to an address of the module's own address space; `None` without a file.
    pub(super) bias: Option<u64>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Modules {
    list: Vec<Mapped>,
    known: HashMap<(BString, usize), ModuleId>,
}

impl Modules {
    pub(super) fn get(&self, id: ModuleId) -> &Mapped {
        &self.list[id.0 as usize]
    }

    /// What unwinds the frames of a module; `None` without a file.
    pub(super) fn cfi(&mut self, id: ModuleId) -> Option<&mut Cfi> {
        let Mapped { file, cfi, .. } = &mut self.list[id.0 as usize];
        let file = file.as_ref()?;
        Some(cfi.get_or_insert_with(|| Box::new(Cfi::new(file))))
    }

    /// Looks for the file of a map at `start` that shows `file` from `offset` on.
    ///
    /// Modules are told apart by their names and their files, so that a library that a thousand processes use is one;
    /// where there is no file, by the process.
    pub(super) fn hit(
        &mut self,
        identity: &Identity,
        start: u64,
        offset: u64,
        pid: u32,
        loader: &Loader,
    ) -> Hit {
        let path = &identity.path;
        // A 32-bit program has another vdso than we have.
        let is_narrow = path == "[vdso]" && start < 1 << 32;
        let file = if is_narrow { None } else { loader.module(identity, Some(pid)) };
        let which = file.as_ref().map_or(pid as usize, |file| Arc::as_ptr(file) as usize);
        let bias = file.as_ref().and_then(|file| bias(file.segments(), start, offset));
        let Modules { list, known } = self;
        let module = *known.entry((path.clone(), which)).or_insert_with(|| {
            list.push(Mapped { path: path.clone(), file, pid, cfi: None });
            ModuleId(list.len() as u32 - 1)
        });
        Hit { module, bias }
    }
}

/// How far a module that is mapped at `start` from `offset` of its file lies from its own address space.
///
/// lld puts the end of one segment and the beginning of the next on one page of the file: of all segments that the map
/// shows, the executable one tells, as nothing else is recorded.
fn bias(segments: &[Segment], start: u64, offset: u64) -> Option<u64> {
    const PAGE: u64 = 0xfff;
    let shows = |segment: &&Segment| {
        offset >= segment.offset & !PAGE
            && offset < segment.offset.saturating_add(segment.file_size)
    };
    let executable = segments.iter().filter(|segment| segment.executable).find(shows);
    let segment = executable.or_else(|| segments.iter().find(shows))?;
    let address = segment.address.wrapping_sub(segment.offset).wrapping_add(offset);
    Some(start.wrapping_sub(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_segment_of_a_shared_page_tells() {
        let segment = |offset, file_size, address, executable| Segment {
            offset,
            file_size,
            address,
            executable,
        };
        let segments = [segment(0, 0x1080, 0, false), segment(0x1080, 0x500, 0x2080, true)];
        assert_eq!(bias(&segments, 0x7000_2000, 0x1000), Some(0x7000_0000));
        assert_eq!(bias(&segments, 0x7000_0000, 0), Some(0x7000_0000));
        assert_eq!(bias(&segments, 0x7000_0000, 0x9000), None);
    }
}
