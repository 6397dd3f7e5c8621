//! Where threads start: the functions that nobody called.

use bstr::BStr;

/// They start a thread or the kernel's side of one, or the program itself on a thread's behalf.
const STARTS: [&str; 35] = [
    "_start",
    "main",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__GI___clone",
    "__GI___clone3",
    "_dl_start_user",
    "__libc_start_main",
    "__libc_start_call_main",
    "__libc_start_main@@GLIBC_2.34",
    "__libc_start_main_impl",
    // musl's.
    "_start_c",
    "libc_start_main_stage2",
    // macOS's and Windows's.
    "thread_start",
    "_pthread_start",
    "RtlUserThreadStart",
    // Go's; the last three go on on another stack.
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.clone",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.systemstack",
    // The kernel's.
    "ret_from_fork",
    "ret_from_fork_asm",
    "secondary_startup_64",
    "secondary_startup_64_no_verify",
    "common_startup_64",
    "__primary_switched",
    "__secondary_switched",
    "x86_64_start_kernel",
    "start_kernel",
];

/// Whether a stack that begins with a function of this name is whole.
///
/// Inside execve the old stack is gone: the new program begins there.
pub(crate) fn is_start(symbol: &BStr) -> bool {
    // Go's assembler functions: `runtime.goexit.abi0`.
    let name = symbol.strip_suffix(b".abi0").unwrap_or(symbol);
    STARTS.iter().any(|start| name == start.as_bytes())
        || symbol.ends_with(b"execve")
        || symbol.ends_with(b"execveat")
}

/// Whether this is musl, of which distributions keep no names but those of its interface: what calls a thread's first function has none,
/// so that a stack that begins in there and was not cut is whole.
///
/// `/lib/ld-musl-x86_64.so.1`, `/usr/lib/x86_64-linux-musl/libc.so`
pub(crate) fn is_musl(module: &BStr) -> bool {
    let name = module.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.starts_with(b"ld-musl-") || module.ends_with(b"-linux-musl/libc.so")
}

/// Whether nothing but the start calls a function of this name, so that whatever called it is the start, named or not: `_start` of a
/// program without symbols, what musl, which has none, calls `main` by.
pub(crate) fn is_called_by_start(symbol: &BStr) -> bool {
    symbol == "main" || symbol.starts_with(b"__libc_start_main")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_told_by_their_names() {
        for name in ["_start", "runtime.goexit.abi0", "runtime.goexit", "__GI___execve"] {
            assert!(is_start(name.into()), "{name}");
        }
        for name in ["start", "main.main", "_start.abi0x", "[unknown]", "execve_all"] {
            assert!(!is_start(name.into()), "{name}");
        }
        for (module, expected) in [
            ("/lib/ld-musl-x86_64.so.1", true),
            ("/usr/lib/x86_64-linux-musl/libc.so", true),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", false),
            ("/home/me/musl/libc.so", false),
        ] {
            assert_eq!(is_musl(module.into()), expected, "{module}");
        }
        assert!(is_called_by_start("main".into()) && !is_called_by_start("_start".into()));
    }
}
