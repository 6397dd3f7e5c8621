//! Recognises the functions that start a thread, which have no caller.

use bstr::{BStr, ByteSlice};

/// The functions that start a program, a thread, or the kernel's side of one.
const STARTS: [&str; 38] = [
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
    "__libc_start_main_impl",
    // musl's.
    "_start_c",
    "libc_start_main_stage2",
    // macOS's and Windows's.
    "thread_start",
    "_pthread_start",
    "RtlUserThreadStart",
    // The starts of glibc's and Boost's coroutines.
    "__start_context",
    "make_fcontext",
    // Go's. The last five switch to another stack.
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.clone",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.systemstack",
    "runtime.asmcgocall",
    "runtime.cgocallback",
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

/// The length of the longest of them. Most names are longer and need no comparison.
const LONGEST: usize = 30;

/// Whether a stack that begins with a function of this name is complete. Inside execve the old
/// stack is gone, so the new program begins there.
pub(crate) fn is_start(symbol: &BStr) -> bool {
    // Go's assembler functions: `runtime.goexit.abi0`.
    let name = symbol.strip_suffix(b".abi0").unwrap_or(symbol);
    // `__libc_start_main@@GLIBC_2.34`
    let name = match name.find_byte(b'@') {
        Some(at) if name[at..].starts_with(b"@@") => &name[..at],
        _ => name,
    };
    let is_short = name.len() <= LONGEST;
    is_short && STARTS.iter().any(|start| name == start.as_bytes())
        || symbol.ends_with(b"execve")
        || symbol.ends_with(b"execveat")
}

/// Whether only the start calls a function of this name, so a caller without a name must be the
/// start.
pub(crate) fn is_called_by_start(symbol: &BStr) -> bool {
    symbol == "main" || symbol.starts_with(b"__libc_start_main")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_recognised_by_their_names() {
        for name in
            ["_start", "runtime.goexit.abi0", "__libc_start_main@@GLIBC_2.34", "__GI___execve"]
        {
            assert!(is_start(name.into()), "{name}");
        }
        assert!(STARTS.iter().all(|start| is_start((*start).into())));
        for name in ["start", "main.main", "_start.abi0x", "[unknown]", "execve_all"] {
            assert!(!is_start(name.into()), "{name}");
        }
        assert!(is_called_by_start("main".into()) && !is_called_by_start("_start".into()));
    }
}
