//! Reads the vdso, a module that the kernel maps into every process and that has no file.
//!
//! All processes of one boot share it, so our own copy has their names. Source: vdso(7).

use std::path::Path;

use super::module::Module;

/// Our own vdso. `None` if the system has none or does not show it.
pub(super) fn module() -> Option<Module> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    // 7ffd1a5d3000-7ffd1a5d5000 r-xp 00000000 00:00 0                          [vdso]
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    Module::from_bytes(Path::new("[vdso]"), memory(start, end.checked_sub(start)?)?).ok()
}

/// A part of our own memory, read from a file so that no pointer is needed.
fn memory(start: u64, size: u64) -> Option<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open("/proc/self/mem").ok()?;
    file.seek(SeekFrom::Start(start)).ok()?;
    // A vdso has two pages. More than a megabyte is something else.
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|&size| size <= 1 << 20)?];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::symbols::Naming;

    #[test]
    fn the_vdso_has_names() {
        let vdso = module().unwrap();
        let mut addresses: Vec<u64> = vdso
            .segments()
            .iter()
            .flat_map(|segment| (segment.address..segment.address + segment.file_size).step_by(16))
            .collect();
        addresses.dedup();
        let found = vdso.functions(&addresses, Naming::INLINES);
        let named = (0..found.len()).flat_map(|at| found.at(at));
        assert!(named.into_iter().any(|function| function.name.ends_with(b"clock_gettime")));
    }
}
