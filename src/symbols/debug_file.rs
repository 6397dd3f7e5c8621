//! Finds the files that hold a module's debugging information if the module itself does not.
//!
//! ```text
//!  build-id abcdef…  ─▶ DIR/.build-id/ab/cdef….debug for each debug directory, perf's cache
//!  .gnu_debuglink    ─▶ beside the module, in its .debug/, in DIR/its directory,
//!                       checked by build-id, or else by checksum
//!  .gnu_debugaltlink ─▶ the file that several debug files share (dwz), by build-id
//!  split units       ─▶ MODULE.dwp
//! ```
//!
//! Sources: gdb's manual, "Debugging Information in Separate Files"; perf-buildid-cache(1).

use std::path::{Path, PathBuf};

use super::config::Config;
use super::elf::Elf;
use super::identity::same_build;
use super::module::Module;
use super::path::{file_path, relative};
use crate::mapped::Bytes;

/// Finds the files that belong to `module` and gives them to it.
pub(super) fn attach(module: &mut Module, config: &Config) {
    let Some(elf) = Elf::parse(module.bytes()) else { return };
    let is_complete = elf.has_dwarf() && elf.has(b".symtab");
    let debug = if is_complete { None } else { debug_file(module, &elf, config) };
    let mut packages = vec![suffixed(module.path(), ".dwp")];
    let holder = debug.as_ref().map_or(module.path(), |(path, _)| path);
    let shared = match &debug {
        Some((_, bytes)) => Elf::parse(bytes).and_then(|debug| shared_file(holder, &debug, config)),
        None => shared_file(holder, &elf, config),
    };
    match &debug {
        Some((path, _)) => log::info!("{}: names from {}", module.path().display(), path.display()),
        None => log::info!("{}: names from the file itself", module.path().display()),
    }
    packages.extend(debug.as_ref().map(|(path, _)| suffixed(path, ".dwp")));
    let package = packages.iter().find_map(|path| Bytes::open(path).ok());
    let debug = debug.map(|(_, bytes)| bytes);
    drop(elf);
    module.debug = debug;
    module.shared = shared;
    module.package = package;
}

/// Whether debugging information for `module` is still missing.
pub(super) fn lacks(module: &Module) -> bool {
    module.debug.is_none() && Elf::parse(module.bytes()).is_some_and(|elf| !elf.has_dwarf())
}

/// The debug file of `module` that `find` finds by build-id, and the file that it shares with
/// others.
pub(super) fn fetch(
    module: &Module,
    config: &Config,
    find: impl Fn(&[u8]) -> Option<PathBuf>,
) -> (Option<Bytes>, Option<Bytes>) {
    let open = |id: &[u8]| {
        let path = find(id)?;
        let bytes = Bytes::open(&path).ok()?;
        let is_it = Elf::parse(&bytes)?.build_id().is_some_and(|its| same_build(id, its));
        is_it.then_some((path, bytes))
    };
    let Some((path, debug)) = module.build_id().and_then(open) else { return (None, None) };
    let shared = Elf::parse(&debug).and_then(|elf| {
        let (_, id) = elf.alt_link()?;
        shared_file(&path, &elf, config).or_else(|| Some(open(id)?.1))
    });
    (Some(debug), shared)
}

fn debug_file(module: &Module, elf: &Elf<'_>, config: &Config) -> Option<(PathBuf, Bytes)> {
    let is_it = |bytes: &Bytes, checksum: Option<u32>| {
        let Some(debug) = Elf::parse(bytes) else { return false };
        // perf's cache may hold a copy of the module itself, which does not help.
        (debug.has(b".symtab") || debug.has_dwarf())
            && match (elf.build_id(), debug.build_id()) {
                (Some(ours), Some(theirs)) => same_build(ours, theirs),
                _ => checksum.is_some_and(|checksum| crc32(bytes) == checksum),
            }
    };
    let open = |path: PathBuf, checksum| {
        let bytes = Bytes::open(&path).ok().filter(|bytes| is_it(bytes, checksum))?;
        Some((path, bytes))
    };
    let by_id = elf.build_id().into_iter().flat_map(|id| by_build_id(id, config));
    let by_link = || {
        let (name, checksum) = elf.debug_link()?;
        let name = file_path(name);
        // Only the name counts, because a path could lead anywhere.
        let name = Path::new(name.file_name()?);
        // /lib is a link to /usr/lib, and debug directories have only one of them.
        let real = std::fs::canonicalize(module.path()).ok();
        [Some(module.path()), real.as_deref()].into_iter().flatten().find_map(|path| {
            let home = path.parent()?;
            let inside = home.strip_prefix(config.symfs.as_deref().unwrap_or(Path::new("")));
            let inside = inside.unwrap_or(home);
            let mut places = vec![home.join(name), home.join(".debug").join(name)];
            places.extend(
                config.debug_directories().map(|root| root.join(relative(inside)).join(name)),
            );
            places.into_iter().find_map(|path| open(path, Some(checksum)))
        })
    };
    by_id.into_iter().find_map(|path| open(path, None)).or_else(by_link)
}

/// A build-id in hexadecimal digits.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the files of a build-id may be: in debug directories first, then in perf's cache.
pub(super) fn by_build_id(id: &[u8], config: &Config) -> Vec<PathBuf> {
    let Some((first, rest)) = id.split_first() else { return Vec::new() };
    let rest = hex(rest);
    let folder = Path::new(".build-id").join(format!("{first:02x}"));
    let mut files: Vec<PathBuf> = config
        .debug_directories()
        .map(|root| root.join(&folder).join(format!("{rest}.debug")))
        .collect();
    if let Some(cache) = &config.build_id_cache {
        let entry = cache.join(&folder).join(&rest);
        files.extend(["debug", "elf", "vdso"].map(|name| entry.join(name)));
        files.push(entry);
    }
    files
}

/// The file that `debug`, the file at `path`, shares with others.
fn shared_file(path: &Path, debug: &Elf<'_>, config: &Config) -> Option<Bytes> {
    let (name, id) = debug.alt_link()?;
    let name = file_path(name);
    // The name is relative to the debug file. `.build-id/ab/cdef….debug` is a link, so try its
    // target too.
    let real = std::fs::canonicalize(path).ok();
    let beside = [Some(path), real.as_deref()].into_iter().flatten();
    let mut places: Vec<PathBuf> =
        beside.filter_map(|path| Some(path.parent()?.join(&name))).collect();
    places.extend(by_build_id(id, config));
    // The usual place, in case the debug directory was moved.
    places.extend(
        name.file_name().into_iter().flat_map(|name| {
            config.debug_directories().map(move |root| root.join(".dwz").join(name))
        }),
    );
    places.into_iter().find_map(|path| {
        let is_it = |bytes: &Bytes| {
            Elf::parse(bytes).and_then(|elf| elf.build_id().map(|its| its == id)).unwrap_or(false)
        };
        Bytes::open(&path).ok().filter(is_it)
    })
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The checksum of `.gnu_debuglink`: the CRC-32 of zlib.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut sum = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
                bit += 1;
            }
            table[byte] = sum;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, &byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn build_ids_name_files() {
        let config = Config {
            debug_dirs: vec!["/d".into()],
            build_id_cache: Some("/c".into()),
            ..Config::default()
        };
        let files = by_build_id(&[0xab, 0x0c, 0xde], &config);
        assert_eq!(files[0], Path::new("/d/.build-id/ab/0cde.debug"));
        assert_eq!(files[2], Path::new("/c/.build-id/ab/0cde/elf"));
        assert!(by_build_id(&[], &config).is_empty());
    }
}
