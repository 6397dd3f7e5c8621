//! The kernel's own symbols, `/proc/kallsyms`: read once against the sorted addresses.
//!
//! ```text
//! ffffffff81000000 T _stext
//! ffffffffc1937000 t hdmi_driver_init→[snd_hda_codec_hdmi]
//! ```
//!
//! (The arrow is a tab.) Symbols have no sizes: one ends where the next begins. The last alias in the file is chosen, as perf does.
//! Source: kernel/kallsyms.c, `s_show`.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bstr::BStr;

use super::debug_file::by_build_id;
use super::identity::same_build;
use super::kernel_line::{KernelSymbol, Line, lines};
use super::loader::Loader;
use super::warnings::Lack;
use crate::error::{Error, Result};
use crate::lock::lock;

/// The symbols of the kernel that runs.
pub(super) const RUNNING: &str = "/proc/kallsyms";

/// What the file had to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelSymbols {
    /// The symbol of each address.
    pub symbols: Vec<Option<KernelSymbol>>,
    /// All addresses in the file are zero: this user may not see them (`/proc/sys/kernel/kptr_restrict`).
    pub hidden: bool,
}

/// A symbol whose recorded address says where the kernel was loaded then: `_text` or `_stext`, from perf.data's mapping
/// of `[kernel.kallsyms]_text`. The kernel moves at every boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Its address when recorded.
    pub address: u64,
}

impl Loader {
    /// The kernel's symbols at each of `addresses`, which are sorted and distinct: from the file of `--kallsyms`, else
    /// of the running kernel, or perf's copy of that, else from perf's cache. None, with a warning, if the recorded kernel is another.
    pub fn kernel(
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
                // The kernel writes its list anew for each reader, which takes longer than all that we do with it. perf's copy
                // of the same build has the same functions, but modules lie elsewhere after each start.
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

    /// Whether a kernel whose build id is not known is the one that runs here: the recording says
    /// so, or it lies where the running one does, which another would not after its start at
    /// random. All kernels that do not start at random lie at one place, so the recording must not
    /// say otherwise.
    pub(super) fn is_running(&self, reference: Option<Reference<'_>>) -> Result<bool> {
        if self.has_kernel_of_here() {
            return Ok(true);
        }
        let may_be = self.config().symfs.is_none() && !self.has_other_kernel();
        let Some(reference) = reference.filter(|_| may_be) else {
            return Ok(false);
        };
        Ok(address_of(&self.text(Path::new(RUNNING))?, reference.name) == Some(reference.address))
    }

    /// No names: the recorded kernel is another one than any that is here.
    fn another_kernel(&self, addresses: &[u64]) -> KernelSymbols {
        self.warn(b"[kernel.kallsyms]", Lack::Mismatched);
        KernelSymbols { symbols: vec![None; addresses.len()], hidden: false }
    }

    /// The symbols at each of `addresses`, which are sorted and distinct, from the file at `path`.
    fn listed(
        &self,
        path: &Path,
        addresses: &[u64],
        reference: Option<Reference<'_>>,
    ) -> Result<KernelSymbols> {
        let found = find(&self.text(path)?, addresses, reference);
        if found.hidden {
            self.warn_hidden();
        }
        Ok(found)
    }

    /// The list at `path`, which is read once.
    fn text(&self, path: &Path) -> Result<Arc<Vec<u8>>> {
        let mut kernels = lock(&self.kernels);
        if let Some(text) = kernels.get(path) {
            return Ok(Arc::clone(text));
        }
        let doing = || format!("cannot read {}", path.display());
        let text = Arc::new(read(path).map_err(Error::io(doing))?);
        kernels.insert(path.to_owned(), Arc::clone(&text));
        Ok(text)
    }
}

/// The kernel formats the text while it is read, a page at a time; the size of the file is said to be 0.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(16 << 20);
    std::fs::File::open(path)?.read_to_end(&mut text)?;
    text.shrink_to_fit();
    Ok(text)
}

/// The build-id of the running kernel.
pub(crate) fn running_build_id() -> Option<Vec<u8>> {
    let notes = std::fs::read("/sys/kernel/notes").ok()?;
    notes_build_id(&notes).map(<[u8]>::to_vec)
}

/// The build-id among the notes of the running kernel: name size, content size and type, each four bytes in our own
/// byte order, the name `GNU` and a zero, the content.
fn notes_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let number =
            |at: usize| Some(u32::from_ne_bytes(*notes.get(at..)?.first_chunk()?) as usize);
        let (name, content, kind) = (number(0)?, number(4)?, number(8)?);
        let start = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = start.checked_add(content)?;
        if kind == 3 && notes.get(12..)?.starts_with(b"GNU\0") {
            return notes.get(start..end);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

/// The address of a symbol that is among the first: `_text` or `_stext`. `None` if it is hidden.
fn address_of(text: &[u8], name: &BStr) -> Option<u64> {
    let mut there = None;
    // The rest need not be read for it.
    let head = text.get(..64 << 10).unwrap_or(text);
    lines(head, |line| {
        if there.is_none() && line.name().0 == name {
            there = Some(line.address);
        }
    });
    there.filter(|&address| address != 0)
}

/// The symbols at each of `addresses`, which are sorted and distinct.
pub(super) fn find(
    text: &[u8],
    addresses: &[u64],
    reference: Option<Reference<'_>>,
) -> KernelSymbols {
    // How far the kernel has moved since.
    let moved = reference.and_then(|reference| {
        let there = address_of(text, reference.name)?;
        Some(reference.address.wrapping_sub(there))
    });
    let moved = moved.unwrap_or(0);
    let none = addresses.len();
    // The last symbol in the file among those that start last between the address before and this one, and where the
    // first symbol behind each address starts.
    let mut nearest: Vec<Option<Line<'_>>> = vec![None; none];
    let mut next: Vec<Option<Line<'_>>> = vec![None; none];
    let (mut hidden, mut from) = (true, 0);
    lines(text, |mut line| {
        hidden &= line.address == 0;
        line.address = line.address.wrapping_add(moved);
        // The file is nearly in order: most symbols come before the same address as the one before.
        let is_behind = |at: usize| addresses.get(at).is_some_and(|&next| next < line.address);
        if is_behind(from) || (from > 0 && !is_behind(from - 1)) {
            from = addresses.partition_point(|&address| address < line.address);
        }
        if let Some(slot) = nearest.get_mut(from)
            && slot.is_none_or(|nearest| line.address >= nearest.address)
        {
            *slot = Some(line);
        }
        if let Some(slot) = from.checked_sub(1).and_then(|before| next.get_mut(before))
            && slot.is_none_or(|next| line.address < next.address)
        {
            *slot = Some(line);
        }
    });
    if hidden {
        return KernelSymbols { symbols: vec![None; none], hidden };
    }
    let mut behind = None;
    for slot in next.iter_mut().rev() {
        behind = slot.or(behind);
        *slot = behind;
    }
    let mut before = None;
    let symbols =
        addresses.iter().zip(nearest.into_iter().zip(next)).map(|(&address, (slot, next))| {
            before = slot.or(before);
            before?.symbol_at(address, next)
        });
    KernelSymbols { symbols: symbols.collect(), hidden }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::symbols::Config;

    const TEXT: &[u8] = b"0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\nffffffff81000000 T _text\n\
        ffffffff81000100 t do_one\nffffffff81000100 T do_one_alias\n\
        what is this\n\
        ffffffff81000200 D data\nffffffff81000300 W weak\n\
        ffffffffc0000000 t init_module\t[loop]\nffffffffc0000010 t loop_add\t[loop]\n\
        ffffffffc0009000 t bpf_prog_1\t[bpf]\n";

    fn names(addresses: &[u64], reference: Option<Reference<'_>>) -> Vec<String> {
        let found = find(TEXT, addresses, reference);
        let show = |symbol: Option<KernelSymbol>| {
            symbol.map_or("-".into(), |symbol| format!("{} {}", symbol.name, symbol.module))
        };
        found.symbols.into_iter().map(show).collect()
    }

    #[test]
    fn the_last_alias_names_what_lies_before_the_next_symbol() {
        let base = 0xffff_ffff_8100_0000;
        assert_eq!(
            names(&[5, base, base + 0xff, base + 0x100, base + 0x250, base + 0x300], None),
            ["-", "_text ", "_text ", "do_one_alias ", "-", "weak "]
        );
        // The end of the kernel, and modules.
        let modules = 0xffff_ffff_c000_0000;
        assert_eq!(
            names(
                &[base + 0x1300, base + 0x10_0000, modules + 1, modules + 0x10, modules + 0x9001],
                None
            ),
            ["weak ", "-", "init_module loop", "loop_add loop", "bpf_prog_1 bpf"]
        );
    }

    #[test]
    fn a_kernel_that_moved_is_followed() {
        let reference = Reference { name: b"_text".into(), address: 0xffff_ffff_9000_0000 };
        assert_eq!(names(&[0xffff_ffff_9000_0104], Some(reference)), ["do_one_alias "]);
        assert_eq!(names(&[0xffff_ffff_8100_0104], Some(reference)), ["-"]);
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        let found = find(b"0000000000000000 T _text\n0000000000000000 t f\n", &[1], None);
        assert_eq!(found, KernelSymbols { symbols: vec![None], hidden: true });
    }

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

    proptest! {
        /// The twin builds the whole table, sorts it and searches it.
        #[test]
        fn scanning_equals_searching(
            lines in proptest::collection::vec((0u64..60, prop::sample::select(&b"tTwdA"[..]), any::<bool>()), 1..40),
            mut addresses in proptest::collection::vec(0u64..70, 0..20),
        ) {
            addresses.sort_unstable();
            addresses.dedup();
            let mut text = String::new();
            let mut table = Vec::new();
            for (at, (address, kind, module)) in lines.into_iter().enumerate() {
                let (address, kind, module) = (address * 0x400, char::from(kind), if module { "m" } else { "" });
                let tail = if module.is_empty() { String::new() } else { format!("\t[{module}]") };
                text += &format!("{address:016x} {kind} f{at}{tail}\n");
                if kind != 'A' {
                    table.push((address, kind, format!("f{at}"), module));
                }
            }
            table.sort_by_key(|row| row.0);
            let addresses: Vec<u64> = addresses.into_iter().map(|address| address * 0x400 + 7).collect();
            let found = find(text.as_bytes(), &addresses, None);
            for (&address, found) in addresses.iter().zip(&found.symbols) {
                let past = table.partition_point(|row| row.0 <= address);
                let row = past.checked_sub(1).and_then(|at| table.get(at));
                // Among the symbols that come next at one address, the first in the file decides.
                let next = table.get(past);
                let wanted = row.filter(|(start, kind, _, module)| {
                    let end = start / 4096 * 4096 + 8192;
                    matches!(kind, 't' | 'T' | 'w')
                        && (next.is_some_and(|next| next.3.is_empty() == module.is_empty()) || address < end)
                });
                let hidden = table.iter().all(|row| row.0 == 0);
                prop_assert_eq!(
                    found.as_ref().map(|found| found.name.to_string()),
                    wanted.filter(|_| !hidden).map(|(_, _, name, _)| name.clone())
                );
            }
        }
    }
}
