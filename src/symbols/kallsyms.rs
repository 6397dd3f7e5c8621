//! Finds the list of the recorded kernel's symbols: `/proc/kallsyms`, or a copy of it.
//!
//! ```text
//! ffffffff81000000 T _stext
//! ffffffffc1937000 t hdmi_driver_init→[snd_hda_codec_hdmi]
//! ```
//!
//! (The arrow is a tab.) Source: kernel/kallsyms.c, `s_show`.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::debug_file::by_build_id;
use super::identity::same_build;
use super::kernel_table::{KernelSymbols, KernelTable, Reference};
use super::loader::{Lack, Loader};
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::mapped::Bytes;

/// The symbols of the running kernel.
const RUNNING: &str = "/proc/kallsyms";

impl Loader {
    /// The kernel's symbols at each of `addresses`: from the file of `--kallsyms`, from the running
    /// kernel or perf's copy of its list, or from perf's cache. There are none, and a warning, if
    /// only other kernels are here.
    pub(crate) fn kernel(
        &self,
        build_id: Option<&[u8]>,
        addresses: &[u64],
        reference: Option<Reference<'_>>,
    ) -> Result<KernelSymbols> {
        let running = Path::new(RUNNING);
        let path = match (&self.config().kallsyms, build_id) {
            (Some(path), _) => path.clone(),
            (None, None) if self.is_running(reference)? => running.to_owned(),
            (None, None) => return Ok(self.another_kernel(addresses)),
            (None, Some(id)) => {
                let is_running = running_build_id().is_some_and(|its| same_build(&its, id));
                let entries = by_build_id(id, self.config()).into_iter();
                let copy = entries.map(|entry| entry.join("kallsyms")).find(|path| path.is_file());
                // The kernel formats its list for each reader, which takes longer than all our work
                // on it. perf's copy of the same build has the same functions, but modules are
                // elsewhere after each boot.
                if let Some(copy) = copy.as_ref().filter(|_| is_running && reference.is_some())
                    && let Ok(found) = self.listed(copy, addresses, reference)
                    && found.symbols.iter().flatten().filter(|it| it.module.is_empty()).count()
                        == addresses.len()
                {
                    return Ok(found);
                }
                match copy {
                    _ if is_running => running.to_owned(),
                    Some(copy) => copy,
                    None => return Ok(self.another_kernel(addresses)),
                }
            }
        };
        self.listed(&path, addresses, reference)
    }

    /// Whether a recorded kernel without a build id is the running one. The recording may say so.
    /// Otherwise it must have the address of the running one, which is random at each boot. Kernels
    /// that do not use random addresses all have the same one, so the recording must not
    /// contradict.
    pub(super) fn is_running(&self, reference: Option<Reference<'_>>) -> Result<bool> {
        if self.has_kernel_of_here() {
            return Ok(true);
        }
        let may_be = self.config().symfs.is_none() && !self.has_other_kernel();
        let Some(reference) = reference.filter(|_| may_be) else {
            return Ok(false);
        };
        let Some(table) = self.table(Path::new(RUNNING))? else { return Ok(false) };
        Ok(table.address_of(reference.name) == Some(reference.address))
    }

    /// No names, because the recorded kernel is not here.
    fn another_kernel(&self, addresses: &[u64]) -> KernelSymbols {
        self.warn(b"[kernel.kallsyms]", Lack::Mismatched);
        KernelSymbols { symbols: vec![None; addresses.len()], hidden: false }
    }

    /// The symbols at each of `addresses`, from the file at `path`.
    fn listed(
        &self,
        path: &Path,
        addresses: &[u64],
        reference: Option<Reference<'_>>,
    ) -> Result<KernelSymbols> {
        let Some(table) = self.table(path)? else {
            return Ok(KernelSymbols { symbols: vec![None; addresses.len()], hidden: false });
        };
        let found = table.symbols(addresses, reference);
        if found.hidden {
            self.warn_hidden();
        }
        Ok(found)
    }

    /// The list at `path`, which is read once. `None` if it is the running kernel's, and the system
    /// has none.
    fn table(&self, path: &Path) -> Result<Option<Arc<KernelTable>>> {
        let mut kernels = lock(&self.kernels);
        if let Some(table) = kernels.get(path) {
            return Ok(Some(Arc::clone(table)));
        }
        let table = match KernelTable::open(path) {
            Err(_) if path == Path::new(RUNNING) => {
                self.warn_without_list();
                return Ok(None);
            }
            opened => opened.map_err(Error::io(|| format!("cannot read {}", path.display())))?,
        };
        let table = Arc::new(table);
        kernels.insert(path.to_owned(), Arc::clone(&table));
        Ok(Some(table))
    }
}

impl KernelTable {
    /// The functions of the running kernel.
    #[cfg(target_os = "linux")]
    pub(crate) fn running() -> io::Result<KernelTable> {
        KernelTable::open(RUNNING.as_ref())
    }

    fn open(path: &Path) -> io::Result<KernelTable> {
        // The kernel's own list has no size, and it cannot be mapped.
        if path.metadata()?.len() > 0 {
            return Ok(KernelTable::read(Bytes::open(path)?));
        }
        let mut text = Vec::with_capacity(16 << 20);
        std::fs::File::open(path)?.read_to_end(&mut text)?;
        text.shrink_to_fit();
        Ok(KernelTable::read(Bytes::Owned(text)))
    }
}

pub(crate) fn running_build_id() -> Option<Vec<u8>> {
    let notes = std::fs::read("/sys/kernel/notes").ok()?;
    notes_build_id(&notes).map(<[u8]>::to_vec)
}

/// The build-id among the notes of the running kernel. A note starts with three numbers of four
/// bytes in our own byte order: the size of its name, the size of its content, and its type. The
/// name, `GNU` and a zero, and the content follow.
fn notes_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let number =
            |at: usize| Some(u32::from_ne_bytes(*notes.get(at..)?.first_chunk()?) as usize);
        let name = number(0)?;
        let content = number(4)?;
        let kind = number(8)?;
        let start = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = start.checked_add(content)?;
        if kind == 3 && notes.get(12..)?.starts_with(b"GNU\0") {
            return notes.get(start..end);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Config;

    #[test]
    fn notes_tell_the_build() {
        let mut notes = Vec::new();
        for (kind, name, content) in [(1u32, "Xen\0", &b"12345"[..]), (3, "GNU\0", b"\x01\x02\x03")]
        {
            for number in [name.len() as u32, content.len() as u32, kind] {
                notes.extend(number.to_ne_bytes());
            }
            notes.extend(name.as_bytes());
            notes.extend(content);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(notes_build_id(&notes), Some(&[1, 2, 3][..]));
        assert_eq!(notes_build_id(&notes[..20]), None);
        assert_eq!(notes_build_id(b""), None);
    }

    #[test]
    fn a_copy_of_the_running_kernel_names_all_but_modules() {
        let notes = std::fs::read("/sys/kernel/notes").unwrap_or_default();
        let Some(id) = notes_build_id(&notes) else { return };
        let cache = tempfile::tempdir().unwrap();
        let config = Config { build_id_cache: Some(cache.path().into()), ..Config::default() };
        let entry = by_build_id(id, &config).pop().unwrap();
        std::fs::create_dir_all(&entry).unwrap();
        std::fs::write(
            entry.join("kallsyms"),
            "ffffffff81000000 T _text\nffffffff81001000 T from_the_copy\nffffffffc0000000 t m\t[m]\n",
        )
        .unwrap();
        let loader = Loader::new(config);
        let reference = Some(Reference { name: b"_text".into(), address: 0xffff_ffff_9000_0000 });
        let name = |addresses: &[u64], reference| {
            let found = loader.kernel(Some(id), addresses, reference).unwrap();
            found.symbols[0].as_ref().map(|symbol| symbol.name.to_string())
        };
        let copied = Some("from_the_copy".to_string());
        assert_eq!(name(&[0xffff_ffff_9000_1010], reference), copied);
        assert_ne!(name(&[0xffff_ffff_9000_1010, 0xffff_ffff_cf00_0010], reference), copied);
        assert_ne!(name(&[0xffff_ffff_8100_1010], None), copied);
    }

    #[test]
    fn another_kernel_names_nothing() {
        let config = Config { build_id_cache: None, debug_dirs: vec![], ..Config::default() };
        let loader = Loader::new(config);
        let found = loader.kernel(Some(&[7; 20]), &[1, 2], None).unwrap();
        assert_eq!(found.symbols, [None, None]);
        assert_eq!(loader.warnings().mismatched, ["[kernel.kallsyms]"]);
    }
}
