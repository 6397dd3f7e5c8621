//! Warns about the recording and its modules, in a few short lines through `log`.
//!
//! The tally has the counts. These lines say what is wrong, and with which modules.

use bstr::{BString, ByteSlice};

use crate::perf_data::Reader;
use crate::symbols::{Doubt, Loader, MOST_MISSING, Warnings};

/// Logs the warnings of `reader` and `loader`, and the `hints`.
pub(super) fn say(reader: &Reader, loader: &Loader, hints: &[String]) {
    let name = reader.name();
    for warning in reader.warnings() {
        log::warn!("{name}: {warning}");
    }
    if reader.features().traced {
        log::warn!("{name}: the instruction trace was skipped (--backend perf decodes it)");
    }
    let found = loader.warnings();
    if !found.mismatched.is_empty() {
        let modules = listed(&found.mismatched);
        let has_kernel = found.mismatched.iter().any(|module| module == "[kernel.kallsyms]");
        let remedy = if has_kernel {
            " (name the symbols of the recorded kernel with --kallsyms)"
        } else {
            ""
        };
        log::warn!(
            "{name}: these modules are not the recorded builds, so their names were not used: {modules}{remedy}"
        );
    }
    if !found.elsewhere.is_empty() {
        let modules = listed(&found.elsewhere);
        log::warn!(
            "{name}: recorded on another machine and without a build id, so the file of that name here was not used (--symfs says where \
             that machine's files are): {modules}"
        );
    }
    if found.kernel_hidden {
        log::warn!(
            "{name}: functions of the kernel have no names because you may not see its addresses (read it as root, or record it with --root or \
             --kernel-symbols)"
        );
    }
    if found.no_kernel_list {
        log::warn!(
            "{name}: functions of the kernel have no names because /proc/kallsyms is missing (mount /proc, or name a list \
             with --kallsyms)"
        );
    }
    for (map, doubt) in &found.doubted {
        let why = match doubt {
            Doubt::Older => "it is older than the process, so another one wrote it",
            Doubt::Newer => "another process, which now has this number, wrote it",
            Doubt::Stranger => {
                "it belongs to neither the process's user, nor you, nor root (chown it if you trust it)"
            }
            Doubt::NoFile => "it is not a regular file",
        };
        log::warn!("{name}: names of {} were not used: {why}", map.display());
    }
    hints.iter().for_each(|hint| log::warn!("{name}: {hint}"));
    if !found.missing.is_empty() {
        let modules = listed(&found.missing);
        log::warn!(
            "{name}: functions have no names because these files are missing (--symfs names the directory that has them): {modules}"
        );
    }
}

/// How each module that the loader found wanting gets its names.
pub(super) fn remedies(found: &Warnings) -> impl Iterator<Item = (BString, &'static str)> {
    let kernel = if found.kernel_hidden {
        Some("read it as root, or record it with --root or --kernel-symbols")
    } else if found.no_kernel_list {
        Some("mount /proc, or name a list with --kallsyms")
    } else {
        None
    };
    let kernel = kernel.map(|remedy| (BString::from("[kernel.kallsyms]"), remedy));
    let all = |modules: &[BString], remedy: &'static str| {
        modules.iter().map(|module| (module.clone(), remedy)).collect::<Vec<_>>()
    };
    all(&found.mismatched, "record again, or keep the recorded build below --symfs")
        .into_iter()
        .chain(all(&found.elsewhere, "say with --symfs where the files of the other machine are"))
        .chain(all(&found.missing, "the file is missing: say with --symfs where it is"))
        .chain(kernel)
}

/// The first few names, and the number of the others.
fn listed(names: &[BString]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).map(|name| name.to_str_lossy().escape_debug().to_string());
    let mut list = shown.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = names.len().saturating_sub(SHOWN) {
        let least = if names.len() < MOST_MISSING { "" } else { "at least " };
        list += &format!(" and {least}{more} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short() {
        let names = ["/a", "/b\n", "/c", "/d", "/e"].map(BString::from);
        assert_eq!(listed(&names[..2]), "/a, /b\\n");
        assert_eq!(listed(&names), "/a, /b\\n, /c and 2 more");
    }
}
