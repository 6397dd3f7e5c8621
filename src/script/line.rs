//! A frame line of perf-script text, taken apart.
//!
//! ```text
//!     7f533952bc77 _dl_check_map_versions+0x597 (/usr/lib/ld-2.28.so)
//!     ffffffff815bf03e rest_init ([kernel.kallsyms])
//!     55d0c core::fmt::write+0x1 (inlined)
//!     7f1e2215d058  (/lib/x86_64-linux-gnu/libc-2.15.so)
//!     401136 operator new(unsigned long)+0x6 (/tmp/my program (deleted))
//! ```
//!
//! Symbols and paths may both hold blanks and parentheses; what tells them apart is tried from the surest sign on.

use bstr::{BStr, ByteSlice};

/// What stands behind the address of a frame line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Without its offset; a single blank where perf printed none, as every folder since stackcollapse-perf.pl names it.
    pub symbol: &'a BStr,
    /// How far into the symbol; `None` where perf did not say.
    pub offset: Option<u64>,
    /// What stands between the parentheses.
    pub module: &'a BStr,
}

impl<'a> Frame<'a> {
    /// Takes apart what follows the address, such as `main+0x87 (/usr/bin/python3.11)`; `None` if it is no frame.
    pub fn parse(text: &'a [u8]) -> Option<Frame<'a>> {
        let text = text.trim_ascii_end();
        let open = module_start(text)?;
        let symbol = match text[..open].trim_ascii() {
            b"" => b" ",
            symbol => symbol,
        };
        let (symbol, offset) = split_offset(symbol);
        Some(Frame {
            symbol: symbol.as_bstr(),
            offset,
            module: text[open + 1..text.len() - 1].as_bstr(),
        })
    }
}

/// Splits a frame line into its address and what follows it.
pub fn split_address(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.find_byte(b' ')?;
    Some((&line[..end], &line[end + 1..]))
}

/// Whether `word` is an address: hex digits only.
pub fn is_address(word: &[u8]) -> bool {
    !word.is_empty() && word.len() <= 16 && word.iter().all(u8::is_ascii_hexdigit)
}

/// The value of an address; 0 for what is none.
pub fn address(word: &[u8]) -> u64 {
    word.to_str().ok().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// Where the `(` of the module stands.
fn module_start(text: &[u8]) -> Option<usize> {
    if !text.ends_with(b")") {
        return None;
    }
    let word = text.rfind_byte(b' ').map_or(0, |space| space + 1);
    if text[word..].starts_with(b"(") && is_balanced(&text[word..]) {
        // The usual case; a line without any symbol has two blanks before the module, or it is no frame line.
        return (word > 0).then_some(word);
    }
    // A path with blanks: `+0x6 (/tmp/my program (deleted))`. An offset cannot be part of a path's beginning.
    after_offset(text)
        .or_else(|| balanced_start(text))
        .or_else(|| text.rfind(" (").map(|at| at + 1))
}

fn is_balanced(text: &[u8]) -> bool {
    let mut depth = 0i32;
    for at in memchr::memchr2_iter(b'(', b')', text) {
        depth += if text[at] == b'(' { 1 } else { -1 };
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

/// The parenthesis behind the last `+0x1f `.
fn after_offset(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    while let Some(at) = rfind_offset(&text[..end]) {
        let digits = text[at + 3..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let open = at + 3 + digits + 1;
        if digits > 0 && text[at + 3 + digits..].starts_with(b" (") {
            return Some(open);
        }
        end = at;
    }
    None
}

/// The parenthesis that closes with the line.
fn balanced_start(text: &[u8]) -> Option<usize> {
    let mut depth = 0i32;
    for (at, &byte) in text.iter().enumerate().rev() {
        depth += i32::from(byte == b')') - i32::from(byte == b'(');
        if depth == 0 {
            return (at > 0 && text[at - 1] == b' ').then_some(at);
        }
    }
    None
}

/// `main+0x87` is `main` and 0x87.
fn split_offset(symbol: &[u8]) -> (&[u8], Option<u64>) {
    match rfind_offset(symbol) {
        Some(at) if symbol[at + 3..].iter().all(u8::is_ascii_hexdigit) => (
            &symbol[..at],
            symbol[at + 3..].to_str().ok().and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        ),
        _ => (symbol, None),
    }
}

/// The last `+0x`. It is near the end, so looking for a `+` from there beats a general search.
fn rfind_offset(text: &[u8]) -> Option<usize> {
    memchr::memrchr_iter(b'+', text).find(|&at| text[at..].starts_with(b"+0x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_modules() {
        let frame = |symbol: &'static str, offset, module: &'static str| {
            Some(Frame { symbol: symbol.into(), offset, module: module.into() })
        };
        for (text, parts) in [
            (
                "_dl_check+0x597 (/usr/lib/ld-2.28.so)",
                frame("_dl_check", Some(0x597), "/usr/lib/ld-2.28.so"),
            ),
            ("rest_init ([kernel.kallsyms])", frame("rest_init", None, "[kernel.kallsyms]")),
            (
                "start_kernel ([kernel.kallsyms].init.text)",
                frame("start_kernel", None, "[kernel.kallsyms].init.text"),
            ),
            (" (/lib/libc-2.15.so)", frame(" ", None, "/lib/libc-2.15.so")),
            (
                "(anonymous namespace)::f(int)+0x1 (/a)",
                frame("(anonymous namespace)::f(int)", Some(1), "/a"),
            ),
            (
                "operator new(unsigned long)+0x6 (/tmp/my program (deleted))",
                frame("operator new(unsigned long)", Some(6), "/tmp/my program (deleted)"),
            ),
            ("f+0x1 (/tmp/a b)", frame("f", Some(1), "/tmp/a b")),
            ("f (/tmp/a b)", frame("f", None, "/tmp/a b")),
            ("f(int) (/x (deleted))", frame("f(int)", None, "/x (deleted)")),
            ("f+0x (/x)", frame("f", None, "/x")),
            ("a+0x1::b (/x)", frame("a+0x1::b", None, "/x")),
            ("[unknown] ([unknown])", frame("[unknown]", None, "[unknown]")),
            ("f (/a)\r", frame("f", None, "/a")),
            ("f", None),
            ("(/a)", None),
            ("f /a)", None),
            ("", None),
        ] {
            assert_eq!(Frame::parse(text.as_bytes()), parts, "{text:?}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(split_address(b"\t    7f53 main (/a)"), Some((&b"7f53"[..], &b"main (/a)"[..])));
        assert_eq!(split_address(b"\t7f53"), None);
        assert!(is_address(b"ffffffff9aa3c8de") && !is_address(b"main") && !is_address(b""));
        assert_eq!(address(b"ff"), 255);
    }
}
