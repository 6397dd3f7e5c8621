//! Finds the kernel's own file, `vmlinux`, which has the inlined functions that kallsyms lacks.
//!
//! Distributions ship it in their debug packages; kernel developers have it in their build
//! directory. A file that the user named is used unless the recording has another build-id. A file
//! that we find must have the right one.

use std::path::{Path, PathBuf};

use super::config::rooted;
use super::debug_file::by_build_id;
use super::elf::Elf;
use super::identity::same_build;
use super::kallsyms::running_build_id;
use super::kernel_table::Reference;
use super::loader::Lack;
use super::loader::Loader;
use super::module::Module;
use super::path::relative;
use super::table;

/// A vmlinux, and how far the recorded kernel was moved from its addresses.
pub(crate) struct Vmlinux<'a> {
    /// The file.
    pub module: &'a Module,
    /// The distance from an address of the file to that of the recorded kernel.
    pub moved: u64,
}

impl Loader {
    /// The file of the recorded kernel: that of `--vmlinux`, or one with its build-id in the usual
    /// places. `None` without a `reference` that says where the kernel was.
    pub(crate) fn vmlinux(
        &self,
        build_id: Option<&[u8]>,
        reference: Option<Reference<'_>>,
    ) -> Option<Vmlinux<'_>> {
        let reference = reference?;
        let found = self.vmlinux.get_or_init(|| self.find_vmlinux(build_id, reference));
        let module = found.as_ref()?;
        let there = address_of(module, reference.name)?;
        Some(Vmlinux { module, moved: reference.address.wrapping_sub(there) })
    }

    fn find_vmlinux(&self, build_id: Option<&[u8]>, reference: Reference<'_>) -> Option<Module> {
        let is =
            |module: &Module, id: &[u8]| module.build_id().is_some_and(|its| same_build(its, id));
        if let Some(named) = &self.config().vmlinux {
            let name = named.as_os_str().as_encoded_bytes();
            let module = match Module::open(named) {
                Ok(module) => module,
                Err(_) => {
                    self.warn(name, Lack::Missing);
                    return None;
                }
            };
            let another = build_id.is_some_and(|id| !is(&module, id));
            if another {
                self.warn(name, Lack::Mismatched);
            }
            return (!another).then_some(module);
        }
        let config = self.config();
        if config.kallsyms.is_some() {
            return None;
        }
        let running = || {
            let is_running = self.is_running(Some(reference)).unwrap_or(false);
            is_running.then(running_build_id)?
        };
        let id = build_id.map(<[u8]>::to_vec).or_else(running)?;
        let files = candidates(self, &id).into_iter().filter_map(|path| Module::open(&path).ok());
        files.into_iter().find(|module| is(module, &id) && has_names(module))
    }
}

/// Where packages and `make modules_install` put it.
fn candidates(loader: &Loader, id: &[u8]) -> Vec<PathBuf> {
    let config = loader.config();
    let mut places = by_build_id(id, config);
    if let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        let release = release.trim();
        let boot = format!("/boot/vmlinux-{release}");
        let modules = format!("/lib/modules/{release}");
        for path in [boot.clone(), format!("{modules}/vmlinux"), format!("{modules}/build/vmlinux")]
        {
            places.push(rooted(config, Path::new(&path)));
        }
        for directory in config.debug_directories() {
            places.push(directory.join(relative(Path::new(&boot))));
            places.push(directory.join(relative(Path::new(&modules))).join("vmlinux"));
        }
    }
    places
}

fn has_names(module: &Module) -> bool {
    Elf::parse(module.bytes()).is_some_and(|elf| elf.has(b".symtab"))
}

/// The address of the symbol called `wanted`.
fn address_of(module: &Module, wanted: &[u8]) -> Option<u64> {
    let elf = Elf::parse(module.bytes())?;
    let mut found = None;
    table::symbols(&elf, b".symtab", |symbol, _| {
        let name = symbol.name.get(..wanted.len() + 1);
        if found.is_none() && name.is_some_and(|name| name.strip_suffix(b"\0") == Some(wanted)) {
            found = Some(symbol.start);
        }
    });
    found
}
