//! Decides whether a program keeps frame pointers everywhere, so that the kernel can follow its
//! stacks: `--call-graph auto`.
//!
//! No file says so. But functions that keep them begin alike, and a program that keeps them does so
//! in nearly all functions. One library without them breaks the chain, and most C libraries have
//! none. So we trust only a program that is one file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// How many functions we look at, of those long enough to call others.
const ENOUGH: usize = 2000;
const SHORTEST: u64 = 48;
/// How many functions of a hundred must begin with a frame pointer.
const SHARE: usize = 95;

/// Why its stacks can be followed by frame pointers, or why they cannot.
pub(super) fn of(program: &OsStr) -> Result<String, String> {
    let path = find(program).ok_or("the program was not found")?;
    let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
    let file = object::File::parse(&*bytes).map_err(|_| "the program is not an ELF file")?;
    if file.section_by_name(".interp").is_some() {
        return Err("its libraries may not have them".into());
    }
    let (with, all) = count(&file);
    match all {
        0 => Err("it has no symbols to check".into()),
        _ if with * 100 >= all * SHARE => Ok(format!("{with} of {all} functions have them")),
        _ => Err(format!("{with} of {all} functions have them")),
    }
}

/// How many functions begin with a frame pointer, and how many there are.
fn count(file: &object::File<'_>) -> (usize, usize) {
    let Some(text) = file.section_by_name(".text") else { return (0, 0) };
    let start = text.address();
    let code = text.data().unwrap_or_default();
    let functions = file.symbols().filter(|symbol| {
        symbol.kind() == SymbolKind::Text && symbol.size() >= SHORTEST && symbol.address() >= start
    });
    let codes = functions.filter_map(|symbol| code.get((symbol.address() - start) as usize..));
    codes.take(ENOUGH).fold((0, 0), |(with, all), code| (with + usize::from(has(code)), all + 1))
}

/// Whether code begins by saving and setting the frame pointer.
fn has(code: &[u8]) -> bool {
    let code = code.get(..24).unwrap_or(code);
    if cfg!(target_arch = "aarch64") {
        // stp x29, x30, [sp, #-n]! or [sp, #n]
        let words = code.chunks_exact(4).filter_map(|word| word.first_chunk());
        let mut words = words.map(|word| u32::from_le_bytes(*word) & 0xff40_7fff);
        words.any(|word| word == 0xa900_7bfd)
    } else {
        // push %rbp; mov %rsp,%rbp, behind endbr64 or a check of the stack's size
        code.windows(4).any(|window| window == [0x55, 0x48, 0x89, 0xe5])
            || code.windows(4).any(|window| window == [0x48, 0x89, 0xe5, 0x48])
    }
}

/// The path of a program, as a shell would find it.
pub(super) fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_told_apart() {
        if cfg!(target_arch = "x86_64") {
            assert!(has(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x90]));
            assert!(!has(&[0x55, 0x53, 0x48, 0x83, 0xec, 0x18]));
        }
        assert!(!has(&[]));
    }

    #[test]
    fn a_shell_has_libraries_and_nothing_has_nothing() {
        assert_eq!(of(OsStr::new("no-such-program")), Err("the program was not found".into()));
        assert_eq!(of(OsStr::new("sh")), Err("its libraries may not have them".into()));
    }
}
