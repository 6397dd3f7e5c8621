//! The modules that were hit: which file each is, and how far it lies from its own address space.

use std::collections::HashMap;
use std::sync::Arc;

use bstr::BString;

use crate::symbols::{Identity, Loader, Module, Segment};

use super::cfi::Cfi;

/// The number of a module: [`Modules::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleId(u32);

/// A module that was hit.
pub(crate) struct Mapped {
    pub(crate) path: BString,
    pub(crate) file: Option<Arc<Module>>,
    /// The process, where there is no file: its JIT may have named the code.
    pub(crate) pid: u32,
    /// Read when a stack leads there first.
    cfi: Option<Box<Cfi>>,
}

/// A map whose module was looked for.
#[derive(Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) module: ModuleId,
    /// What is added to an address of the module's own address space; `None` without a file.
    pub(crate) bias: Option<u64>,
    /// The map shows parts of several executable segments, so that the bias depends on the place in
    /// the file.
    pub(crate) is_shared: bool,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Modules {
    list: Vec<Mapped>,
    known: HashMap<(BString, usize), ModuleId>,
}

impl Modules {
    pub(crate) fn get(&self, id: ModuleId) -> &Mapped {
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
    /// Modules are told apart by their names and their files, so that a library that a thousand
    /// processes use is one; where there is no file, by the process.
    pub(crate) fn hit(
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
        let segments = file.as_ref().map_or(&[][..], |file| file.segments());
        let bias = bias(segments, start, offset, offset);
        let is_shared = segments.iter().filter(|segment| shows(segment, offset)).count() > 1;
        let Modules { list, known } = self;
        let module = *known.entry((path.clone(), which)).or_insert_with(|| {
            list.push(Mapped { path: path.clone(), file, pid, cfi: None });
            ModuleId(list.len() as u32 - 1)
        });
        Hit { module, bias, is_shared }
    }

    /// The bias of the byte at `in_file`, which the map at `start` shows that begins at `offset` of
    /// the file of `module`.
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

/// How far the byte at `in_file` lies from its module's own address space, if a map at `start`
/// shows it that begins at `offset` of the file.
///
/// Linkers put the end of one segment and the beginning of the next on one page of the file, so
/// that a map shows bytes of both. The segment that holds the byte tells, as nothing else is
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

    #[test]
    fn the_executable_segment_of_a_shared_page_tells() {
        let segment = |offset, file_size, address, executable| Segment {
            offset,
            file_size,
            address,
            executable,
        };
        let segments = [segment(0, 0x1080, 0, false), segment(0x1080, 0x500, 0x2080, true)];
        let bias = |start, offset| bias(&segments, start, offset, offset);
        assert_eq!(bias(0x7000_2000, 0x1000), Some(0x7000_0000));
        assert_eq!(bias(0x7000_0000, 0), Some(0x7000_0000));
        assert_eq!(bias(0x7000_0000, 0x9000), None);
    }

    #[test]
    fn of_two_executable_segments_on_a_page_the_one_that_holds_the_byte_tells() {
        let segment = |offset, file_size, address, executable| Segment {
            offset,
            file_size,
            address,
            executable,
        };
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
