//! The rules by which a frame gets its name in folded text.
//!
//! The names are those of inferno-collapse-perf, so that graphs stay comparable, except where
//! inferno is wrong:
//!
//! | symbol | inferno 0.12.8 | here |
//! |---|---|---|
//! | `(anonymous namespace)::f(int)` | dropped | `(anonymous namespace)::f` |
//! | `operator-><int>(x)`, `<fn() -> u8>::call` | cut in two at `->` | one frame |
//! | `operator<< <char>(std::ostream&)` | arguments stay | `operator<< <char>` |
//! | `decltype(auto) f(int)` | `decltype` | `decltype(auto) f` |
//! | `f(A)::{lambda(int)#1}::operator()(int) const` | `f` | `f(A)::{lambda(int)#1}::operator()` |
//! | `py::f:/app (v2)/m.py`, `RegExp:(a)b`, `*Array(Int32)#each:Nil` | cut at `(` | whole |
//! | `f@@GLIBC_2.34` | as it is | `f` |
//! | `_ZN4core3fmt5write17h0123456789abcdefE` | as it is | `core::fmt::write` |
//!
//! Only JIT symbols hold inlined Java methods, separated by `->`. Python, regular expressions and
//! Crystal print no arguments. An old perf leaves Rust's v0 and legacy symbols mangled.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::Config;
use super::arguments::arguments_start;
use crate::sample::{Frame, Kind, printable};
use crate::symbols::demangle;

/// Pushes the names of `frame`, root first. A frame has one name, unless a JIT symbol holds inlined
/// Java methods: all but the first then end in `_[i]`.
///
/// `java` says whether the thread belongs to a Java program, as its comm shows. By their modules,
/// inlined frames have no name.
pub fn names(frame: &Frame<'_>, java: bool, config: &Config, mut push: impl FnMut(&[u8])) {
    if config.modules {
        if frame.kind != Kind::Inlined {
            push(&printable(module(frame)).replace(";", ":"));
        }
        return;
    }
    let symbol = readable(frame.symbol);
    if frame.kind == Kind::Jit && symbol.contains_str("->") {
        symbol
            .split_str("->")
            .enumerate()
            .for_each(|(i, part)| push(&name(part, i > 0, frame, java, config)));
    } else {
        push(&name(&symbol, false, frame, java, config));
    }
}

fn module<'a>(frame: &Frame<'a>) -> &'a [u8] {
    match frame.kind {
        Kind::Truncated => frame.symbol,
        _ if frame.module.is_empty() => b"[unknown]",
        _ => frame.module,
    }
}

/// Whether `frame` has one name, which is its symbol.
pub(super) fn is_symbol(frame: &Frame<'_>, java: bool, config: &Config) -> bool {
    let mut count = 0;
    let mut is_same = false;
    names(frame, java, config, |name| {
        count += 1;
        is_same = name == frame.symbol;
    });
    count == 1 && is_same
}

fn name<'a>(
    symbol: &'a [u8],
    inlined: bool,
    frame: &Frame<'_>,
    java: bool,
    config: &Config,
) -> Cow<'a, [u8]> {
    let mut name: Cow<'a, [u8]> =
        if symbol == b"[unknown]" { unknown(frame).into() } else { symbol.into() };
    let end = arguments_start(&name);
    // `;` separates frames.
    if memchr::memchr(b';', &name).is_some() {
        name = name.replace(";", ":").into();
    }
    let start = usize::from(java && name.starts_with(b"L") && name[..end].contains(&b'/'));
    let mut name = match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[start..end]),
        Cow::Owned(name) => name[start..end].to_vec().into(),
    };
    let mark: &[u8] = match frame.kind {
        _ if inlined => b"_[i]",
        Kind::Kernel if config.kernel => b"_[k]",
        Kind::Jit if config.jit => b"_[j]",
        _ => return name,
    };
    if frame.kind == Kind::Kernel || !name.contains_str(mark) {
        name.to_mut().extend_from_slice(mark);
    }
    name
}

/// A symbol for readers: demangled if it is still mangled, and without a Rust hash.
pub fn readable(symbol: &[u8]) -> Cow<'_, [u8]> {
    match demangle(symbol) {
        Cow::Borrowed(symbol) => without_rust_hash(symbol),
        Cow::Owned(symbol) => without_rust_hash(&symbol).into_owned().into(),
    }
}

/// `[libc.so.6]`, or `[libc.so.6 <7f53952bc77>]` if the source keeps addresses apart, or
/// `[unknown]` if not even the module is known.
fn unknown(frame: &Frame<'_>) -> Vec<u8> {
    let module: &[u8] = match frame.module.as_bytes() {
        b"[unknown]" if frame.address.is_some() => b"unknown",
        b"[unknown]" => return b"[unknown]".to_vec(),
        module => module.rfind_byte(b'/').map_or(module, |slash| &module[slash + 1..]),
    };
    let mut name = Vec::with_capacity(module.len() + 24);
    name.push(b'[');
    name.extend_from_slice(module);
    if let Some(address) = frame.address {
        name.extend_from_slice(format!(" <{address:x}>").as_bytes());
    }
    name.push(b']');
    name
}

/// Mends legacy Rust symbols that were demangled as if they were C++:
/// `_$LT$std..fs..File$GT$::open::hb90e1c1c787080f0`.
///
/// The escapes are those of rustc's legacy mangling (rustc_symbol_mangling::legacy::sanitize).
fn without_rust_hash(symbol: &[u8]) -> Cow<'_, [u8]> {
    let Some((rest, hash)) = symbol.split_last_chunk::<17>() else { return symbol.into() };
    if hash[0] != b'h' || !hash[1..].iter().all(u8::is_ascii_hexdigit) {
        return symbol.into();
    }
    let rest = rest.strip_suffix(b"::").unwrap_or(rest);
    let mut rest = if rest.starts_with(b"_$") { &rest[1..] } else { rest };
    let mut name = Vec::with_capacity(rest.len());
    while let Some(&byte) = rest.first() {
        let len = match byte {
            b'.' if rest.starts_with(b"..") => {
                name.extend_from_slice(b"::");
                2
            }
            b'$' => match escape(rest) {
                Some((text, len)) => {
                    name.extend_from_slice(text.encode_utf8(&mut [0; 4]).as_bytes());
                    len
                }
                None => {
                    name.extend_from_slice(rest);
                    rest.len()
                }
            },
            _ => {
                let len = rest[1..].find_byteset(b"$.").map_or(rest.len(), |at| at + 1);
                name.extend_from_slice(&rest[..len]);
                len
            }
        };
        rest = &rest[len..];
    }
    name.into()
}

/// The character that `$LT$` or `$u20$` stands for, and the length of the escape.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let end = 1 + text[1..].find_byte(b'$')?;
    let character = match &text[1..end] {
        b"SP" => '@',
        b"BP" => '*',
        b"RF" => '&',
        b"LT" => '<',
        b"GT" => '>',
        b"LP" => '(',
        b"RP" => ')',
        b"C" => ',',
        code => {
            char::from_u32(u32::from_str_radix(code.strip_prefix(b"u")?.to_str().ok()?, 16).ok()?)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(symbol: &str, module: &str, java: bool, config: &Config) -> Vec<String> {
        let kind = Kind::of_module(module.as_bytes());
        let frame =
            Frame { symbol: symbol.into(), module: module.into(), kind, ..Frame::default() };
        all_of(&frame, java, config)
    }

    fn all_of(frame: &Frame<'_>, java: bool, config: &Config) -> Vec<String> {
        let mut out = Vec::new();
        names(frame, java, config, |name| out.push(name.to_str_lossy().into_owned()));
        out
    }

    fn name(symbol: &str) -> String {
        all(symbol, "/bin/a", false, &Config::default()).join(" ; ")
    }

    #[test]
    fn arguments_go_and_names_stay() {
        for (symbol, expected) in [
            ("go/build.(*importReader).readByte", "go/build.(*importReader).readByte"),
            ("foo<Vec::<usize>>(Vec<usize>)", "foo<Vec::<usize>>"),
            (".run()V", ".run"),
            ("base(BasicType) const", "base"),
            (
                "std::function<void (int, int)>::operator()(int, int) const",
                "std::function<void (int, int)>::operator()",
            ),
            ("[(foo)]::bar()", "[(foo)]::bar"),
            ("a;b", "a:b"),
            (" ", " "),
        ] {
            assert_eq!(name(symbol), expected);
        }
    }

    #[test]
    fn where_inferno_is_wrong() {
        for (symbol, expected) in [
            ("(anonymous namespace)::f(int)", "(anonymous namespace)::f"),
            ("x::(anonymous namespace)::f(int)", "x::(anonymous namespace)::f"),
            ("A::operator->(B)", "A::operator->"),
            ("A::operator-><int>(B)", "A::operator-><int>"),
            (
                "<fn(u32) -> u64 as core::ops::FnOnce<(u32,)>>::call_once",
                "<fn(u32) -> u64 as core::ops::FnOnce<(u32,)>>::call_once",
            ),
            ("std::operator<< <char>(std::ostream&)", "std::operator<< <char>"),
            ("std::operator<<(std::ostream&)", "std::operator<<"),
            ("bool operator< <int>(A const&)", "bool operator< <int>"),
            ("myoperator<int>(A)", "myoperator<int>"),
            ("decltype(auto) f(int)", "decltype(auto) f"),
            ("{lambda(int, int)#2}::operator()", "{lambda(int, int)#2}::operator()"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("__libc_start_main@@GLIBC_2.34", "__libc_start_main"),
            ("_Z3fooIiET_S0_", "foo<int>"),
        ] {
            assert_eq!(name(symbol), expected);
        }
    }

    #[test]
    fn half_demangled_rust_is_mended() {
        for (symbol, expected) in [
            ("std::fs::File::open::hb90e1c1c787080f0", "std::fs::File::open"),
            (
                "_$LT$std..fs..ReadDir$u20$as$u20$core..Iterator$GT$::next::hc14f1750ca79129b",
                "<std::fs::ReadDir as core::Iterator>::next",
            ),
            ("rg::_$u7b$$u7b$closure$u7d$$u7d$::h6e849b55a66fcd85", "rg::_{{closure}}"),
            ("a$XX$b.c::h6e849b55a66fcd85", "a$XX$b.c"),
            ("h6e849b55a66fcd85", ""),
        ] {
            assert_eq!(name(symbol), expected);
        }
    }

    #[test]
    fn marks_and_unknowns() {
        let marked = Config { kernel: true, jit: true, ..Config::default() };
        assert_eq!(all("do_idle", "[kernel.kallsyms]", false, &marked), ["do_idle_[k]"]);
        assert_eq!(all("x", "/tmp/perf-1.map", false, &marked), ["x_[j]"]);
        assert_eq!(
            all("La/B;::x->La/C;::y", "/tmp/perf-1.map", true, &marked),
            ["a/B:::x_[j]", "a/C:::y_[i]"]
        );
        assert_eq!(all("[unknown]", "/lib/libc.so.6", false, &marked), ["[libc.so.6]"]);
        assert_eq!(all("[unknown]", "[unknown]", false, &marked), ["[unknown]"]);
        for (module, name) in
            [("/lib/libc.so.6", "[libc.so.6 <7f>]"), ("[unknown]", "[unknown <7f>]")]
        {
            let address = Some(0x7f);
            let kind = Kind::User;
            let frame = Frame {
                symbol: "[unknown]".into(),
                module: module.into(),
                kind,
                address,
                line: None,
            };
            assert_eq!(all_of(&frame, false, &marked), [name]);
        }
    }
}
