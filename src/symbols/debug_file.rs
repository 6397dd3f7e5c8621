//! The files that hold a module's debugging information when the module itself does not.
//!
//! ```text
//!  build-id abcdef…  ─▶ DIR/.build-id/ab/cdef….debug for each debug directory, perf's cache
//!  .gnu_debuglink    ─▶ beside the module, in its .debug/, in DIR/its own directory; by build-id, else by checksum
//!  .gnu_debugaltlink ─▶ what several debug files share (dwz), by build-id
//!  split units       ─▶ MODULE.dwp
//! ```
//!
//! Sources: gdb's manual, "Debugging Information in Separate Files"; perf-buildid-cache(1).

use std::path::{Path, PathBuf};

use super::config::Config;
use super::elf::Elf;
use super::identity::same_build;
use super::map::Bytes;
use super::module::Module;
use super::path::{file_path, relative};

/// Finds the files that belong to `module` and gives them to it.
pub(super) fn attach(module: &mut Module, config: &Config) {
    let Some(elf) = Elf::parse(module.bytes()) else { return };
    let has = |name: &str| elf.section(name.as_bytes()).is_some_and(|s| !s.data.is_empty());
    let has_dwarf = has(".debug_info") || has(".zdebug_info");
    let debug = (!has_dwarf || !has(".symtab")).then(|| debug_file(module, &elf, config)).flatten();
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
    (module.debug, module.shared, module.package) = (debug, shared, package);
}

/// Whether debugging information for `module` is still to be found.
pub(super) fn lacks(module: &Module) -> bool {
    let has = |elf: &Elf<'_>, name: &[u8]| elf.section(name).is_some_and(|s| !s.data.is_empty());
    let has_dwarf = |elf: Elf<'_>| has(&elf, b".debug_info") || has(&elf, b".zdebug_info");
    module.debug.is_none() && Elf::parse(module.bytes()).is_some_and(|elf| !has_dwarf(elf))
}

/// The debugging information of `module` out of what `find` finds by build-id, and what that shares with others.
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
        // perf's cache can hold a copy of the module itself, which helps nobody.
        let helps = [".symtab", ".debug_info", ".zdebug_info"];
        let helps = helps.iter().any(|name| {
            debug.section(name.as_bytes()).is_some_and(|section| !section.data.is_empty())
        });
        helps
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
        // A link is a plain name: a path could lead anywhere.
        let name = Path::new(name.file_name()?);
        // /lib is a link to /usr/lib, and debug directories know only one of them.
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

/// A build-id as it is written.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where files are kept by build-id: debug directories first, then perf's cache.
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

/// The file that `debug`, which lies at `path`, shares with others.
fn shared_file(path: &Path, debug: &Elf<'_>, config: &Config) -> Option<Bytes> {
    let (name, id) = debug.alt_link()?;
    let name = file_path(name);
    // Relative to the debug file, and where that really is: `.build-id/ab/cdef….debug` is a link.
    let real = std::fs::canonicalize(path).ok();
    let beside = [Some(path), real.as_deref()].into_iter().flatten();
    let mut places: Vec<PathBuf> =
        beside.filter_map(|path| Some(path.parent()?.join(&name))).collect();
    places.extend(by_build_id(id, config));
    // The usual place, also where the debug directory has been moved.
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
        let (mut table, mut byte) = ([0; 256], 0);
        while byte < 256 {
            let (mut sum, mut bit) = (byte as u32, 0);
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
