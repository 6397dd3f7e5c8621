//! Reads a frame line of perf-script text.
//!
//! ```text
//!     7f533952bc77 _dl_check_map_versions+0x597 (/usr/lib/ld-2.28.so)
//!     ffffffff815bf03e rest_init ([kernel.kallsyms])
//!     55d0c core::fmt::write+0x1 (inlined)
//!     7f1e2215d058  (/lib/x86_64-linux-gnu/libc-2.15.so)
//!     401136 operator new(unsigned long)+0x6 (/tmp/my program (deleted))
//!     401136 main+0x6 (/srv/app+0x1136)         with `perf script -F +dsoff`
//!     401136 main                               with `-F -dso`
//! ```
//!
//! Both symbols and paths may hold blanks and parentheses. The signs that separate them are tried
//! in order of certainty.

use bstr::{BStr, ByteSlice};

/// The end of perf's address column: a tab and `%16lx`.
pub(crate) const ADDRESS_END: usize = 17;

/// The part of a frame line behind the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The symbol without its offset. If perf printed none, a single blank, as in every folder
    /// since stackcollapse-perf.pl.
    pub symbol: &'a BStr,
    /// The offset in the symbol, if perf printed it.
    pub offset: Option<u64>,
    /// The text between the parentheses.
    pub module: &'a BStr,
}

impl<'a> Frame<'a> {
    /// Parses the text behind the address, such as `main+0x87 (/usr/bin/python3.11)`. `None` if it
    /// is not a frame.
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
            module: without_offset(&text[open + 1..text.len() - 1]).as_bstr(),
        })
    }

    /// The same without a module: `main+0x87`, or nothing. The caller has seen an address before
    /// it.
    pub fn without_module(text: &'a [u8]) -> Frame<'a> {
        let (symbol, offset) = match text.trim_ascii() {
            b"" => (&b"[unknown]"[..], None),
            symbol => split_offset(symbol),
        };
        Frame { symbol: symbol.as_bstr(), offset, module: b"[unknown]".into() }
    }
}

/// Splits a frame line into its address and the rest. simpleperf writes a tab between them.
pub fn split_address(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|&byte| byte == b' ' || byte == b'\t')?;
    Some((&line[..end], &line[end + 1..]))
}

/// Splits a frame line without a module, or with only an address. The address must be long, or be
/// in perf's column.
pub fn split_bare(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let indent = line.len() - line.trim_ascii_start().len();
    let begins_with_tab = line.starts_with(b"\t");
    let line = line.trim_ascii();
    let end = line.iter().position(|&byte| byte == b' ' || byte == b'\t').unwrap_or(line.len());
    let (address, tail) = line.split_at(end);
    let is_in_column = begins_with_tab && indent + end == ADDRESS_END;
    let is_long = address.len() >= 4 || is_in_column;
    let is_sure = is_address(address) && is_long && !tail.ends_with(b":");
    is_sure.then_some((address, tail))
}

/// Whether a line may be the name of a thread and nothing else. The kernel keeps 15 bytes of it.
pub(super) fn is_comm(line: &[u8]) -> bool {
    let name = line.trim_ascii();
    let is_text = name.iter().all(|byte| !byte.is_ascii_control());
    !line.starts_with(b"\t") && (1..=15).contains(&name.len()) && is_text
}

/// Whether perf writes this line below a frame for `-F +srcline`, or below a sample for `-F +insn`:
/// two blanks and `main.c:12`, `??:0` or `libc.so.6[2724a]`; ` insn: 66 0f ef c0`.
pub(crate) fn is_note(line: &[u8]) -> bool {
    let Some(text) = line.trim_ascii_end().strip_prefix(b" ") else { return false };
    if text.starts_with(b"insn: ") {
        return true;
    }
    let Some(place) = text.strip_prefix(b" ").filter(|place| !place.starts_with(b" ")) else {
        return false;
    };
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let is_line = place.rsplit_once_str(":").is_some_and(|(_, line)| is_number(line));
    let is_address = || {
        let (_, address) = place.strip_suffix(b"]")?.rsplit_once_str("[")?;
        Some(is_address(address))
    };
    is_line || is_address().unwrap_or(false)
}

/// Whether `word` has only hex digits.
pub fn is_address(word: &[u8]) -> bool {
    !word.is_empty() && word.len() <= 16 && word.iter().all(u8::is_ascii_hexdigit)
}

/// The value of an address; 0 if it is not one.
pub fn address(word: &[u8]) -> u64 {
    word.to_str().ok().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// The index of the module's `(`.
fn module_start(text: &[u8]) -> Option<usize> {
    if !text.ends_with(b")") {
        return None;
    }
    let word = text.rfind_byteset(b" \t").map_or(0, |blank| blank + 1);
    if text[word..].starts_with(b"(") && is_balanced(&text[word..]) {
        // The usual case. A frame without a symbol has two blanks before the module.
        return (word > 0).then_some(word);
    }
    // A path with blanks: `+0x6 (/tmp/my program (deleted))`. A path cannot begin with an offset.
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

/// `/srv/app+0x1136` is `/srv/app`.
fn without_offset(module: &[u8]) -> &[u8] {
    match at_offset(module) {
        Some((before, digits)) if !before.is_empty() && is_address(digits) => before,
        _ => module,
    }
}

/// `main+0x87` is `main` and 0x87.
fn split_offset(symbol: &[u8]) -> (&[u8], Option<u64>) {
    match at_offset(symbol) {
        Some((before, digits)) => (before, hex(digits)),
        None => (symbol, None),
    }
}

/// The value of hex digits, unless there are none or too many.
fn hex(digits: &[u8]) -> Option<u64> {
    let (&first, rest) = digits.split_first()?;
    let value = |digit: u8| char::from(digit).to_digit(16).map(u64::from);
    rest.iter()
        .try_fold(value(first)?, |sum, &digit| sum.checked_mul(16)?.checked_add(value(digit)?))
}

/// Splits `text` at a final `+0x87` into the part before it and the digits.
fn at_offset(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (before, digits) = text.split_at(text.len() - digits);
    Some((before.strip_suffix(b"+0x")?, digits))
}

/// The last `+0x`. It is near the end, so a search from there is fast.
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
            ("f+0x1 (/usr/lib/libc.so.6+0x2724a)", frame("f", Some(1), "/usr/lib/libc.so.6")),
            ("f+0x1 (/opt/c++/x)", frame("f", Some(1), "/opt/c++/x")),
            ("f", None),
            ("(/a)", None),
            ("f /a)", None),
            ("", None),
        ] {
            assert_eq!(Frame::parse(text.as_bytes()), parts, "{text:?}");
        }
    }

    #[test]
    fn lines_of_other_fields() {
        for (line, is) in [
            ("  p.c:12\n", true),
            ("  ??:0\n", true),
            ("  /srv/my app/p.c:12\n", true),
            ("  libc.so.6[2724a]\n", true),
            (" insn: 66 0f ef c0\n", true),
            ("\t            1136 leaf\n", false),
            ("   p.c:12\n", false),
            ("p.c:12\n", false),
            ("  p.c\n", false),
        ] {
            assert_eq!(is_note(line.as_bytes()), is, "{line:?}");
        }
        let bare = |line: &'static str| split_bare(line.as_bytes());
        assert_eq!(bare("\t  401253 f(int)+0x1\n"), Some((&b"401253"[..], &b" f(int)+0x1"[..])));
        assert_eq!(bare("\t            1136\n"), Some((&b"1136"[..], &b""[..])));
        assert_eq!(bare("\t               0 [unknown]\n"), Some((&b"0"[..], &b" [unknown]"[..])));
        assert_eq!([bare("\tadd f\n"), bare("1234 cycles:\n"), bare("\n")], [None; 3]);
        let frame = Frame::without_module(b" f(int)+0x1");
        assert_eq!((frame.symbol, frame.offset), ("f(int)".into(), Some(1)));
        assert_eq!(Frame::without_module(b"").symbol, "[unknown]");
    }

    #[test]
    fn addresses() {
        assert_eq!(split_address(b"\t    7f53 main (/a)"), Some((&b"7f53"[..], &b"main (/a)"[..])));
        assert_eq!(split_address(b"\t7f53"), None);
        assert!(is_address(b"ffffffff9aa3c8de") && !is_address(b"main") && !is_address(b""));
        assert_eq!(address(b"ff"), 255);
    }
}
