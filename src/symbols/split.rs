//! Reads split DWARF: the DIEs of its units are in `.dwo` files, or packed into one `.dwp` file.
//!
//! The module keeps a skeleton of such a unit: its ranges, its id, and the name of the file.
//! Format: DWARF 5, section 7.3.2.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gimli::{AttributeValue, DwarfPackageSections, DwarfSections, EndianSlice, RunTimeEndian};

use super::chain::{Chain, File, find};
use super::elf::Elf;
use super::units::{Sections, Unit, Units, open};
use crate::mapped::Bytes;

/// Where the split units of a module are.
pub(super) struct Split<'a> {
    package: Option<DwarfPackageSections<Cow<'a, [u8]>>>,
    endian: RunTimeEndian,
    /// The module's own directory. If a build was moved, its `.dwo` files are beside it.
    directory: &'a Path,
    /// How many units have no file, or one of another build.
    missing: AtomicUsize,
}

impl<'a> Split<'a> {
    /// Looks into `package`, the module's `.dwp` file, then for `.dwo` files in the directories of
    /// the compilation and in `directory`.
    pub(super) fn new(
        package: Option<&Elf<'a>>,
        endian: RunTimeEndian,
        directory: &'a Path,
    ) -> Split<'a> {
        let load = |elf: &Elf<'a>| {
            let content = |id: gimli::SectionId| id.dwo_name().map(|name| elf.content(name));
            DwarfPackageSections::load(|id| Ok::<_, gimli::Error>(content(id).unwrap_or_default()))
        };
        let package = package.and_then(|elf| load(elf).ok());
        Split { package, endian, directory, missing: AtomicUsize::new(0) }
    }

    /// How many units had to be read without their split part.
    pub(super) fn missing(&self) -> usize {
        self.missing.load(Ordering::Relaxed)
    }

    /// The chains of the split unit of `skeleton`, and whether it could be read to its end. `None`
    /// if it is not found.
    pub(super) fn find(
        &self,
        parent: &Sections<'_>,
        skeleton: &Unit<'_>,
        addresses: &[u64],
    ) -> Option<(Vec<Chain>, bool)> {
        let found = self.in_package(parent, skeleton, addresses);
        let found = found.or_else(|| {
            self.files(parent, skeleton)
                .into_iter()
                .find_map(|path| self.in_file(&path, parent, skeleton, addresses))
        });
        if found.is_none() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn in_package<'s>(
        &'s self,
        parent: &Sections<'s>,
        skeleton: &Unit<'s>,
        addresses: &[u64],
    ) -> Option<(Vec<Chain>, bool)> {
        let slice = |bytes: &'s Cow<'_, [u8]>| EndianSlice::new(bytes, self.endian);
        let package =
            self.package.as_ref()?.borrow(slice, EndianSlice::new(b"", self.endian)).ok()?;
        let sections = package.find_cu(skeleton.dwo_id?, parent).ok()??;
        walk(sections, skeleton, addresses)
    }

    fn in_file(
        &self,
        path: &Path,
        parent: &Sections<'_>,
        skeleton: &Unit<'_>,
        addresses: &[u64],
    ) -> Option<(Vec<Chain>, bool)> {
        let bytes = Bytes::open(path).ok()?;
        let elf = Elf::parse(&bytes)?;
        let content = |id: gimli::SectionId| id.dwo_name().map(|name| elf.content(name));
        let loaded =
            DwarfSections::load(|id| Ok::<_, gimli::Error>(content(id).unwrap_or_default()))
                .ok()?;
        let mut sections = loaded.borrow(|bytes| EndianSlice::new(bytes, self.endian));
        sections.make_dwo(parent);
        walk(sections, skeleton, addresses)
    }

    /// Where the `.dwo` file may be: at its path, relative to the directory of the compilation, and
    /// beside the module.
    fn files(&self, parent: &Sections<'_>, skeleton: &Unit<'_>) -> Vec<PathBuf> {
        let name = || -> Option<PathBuf> {
            let value: AttributeValue<_> = skeleton.dwo_name().ok()??;
            let name = parent.attr_string(skeleton, value).ok()?;
            Some(PathBuf::from(name.to_string_lossy().into_owned()))
        };
        let Some(name) = name() else { return Vec::new() };
        let compiled = skeleton.comp_dir.map(|directory| directory.to_string_lossy().into_owned());
        let beside = name.file_name().map(|name| self.directory.join(name));
        let mut files = vec![PathBuf::from(compiled.unwrap_or_default()).join(&name)];
        files.push(self.directory.join(&name));
        files.extend(beside);
        files
    }
}

/// Walks the unit of `sections` that has the skeleton's id.
fn walk<'s>(
    mut sections: Sections<'s>,
    skeleton: &Unit<'s>,
    addresses: &[u64],
) -> Option<(Vec<Chain>, bool)> {
    let units = Units::list(&mut sections);
    let mut headers = sections.units();
    while let Ok(Some(header)) = headers.next() {
        if let Ok((mut unit, _)) = open(&sections, header)
            && unit.dwo_id == skeleton.dwo_id
        {
            unit.copy_relocated_attributes(skeleton);
            let file = File { sections: &sections, units: Some(&units) };
            return Some(find(file, None, &unit, addresses));
        }
    }
    None
}
