//! Makes mangled names readable.
//!
//! Names of Rust (legacy and v0), C++ and OCaml look as perf prints them: Rust without hashes, C++
//! without parameters and return types. Names of D look as c++filt prints them, without parameters.
//! All others, such as those of Swift, Java, Go and C, are passed through. The suffix of an
//! optimizer (`.isra.0`, `.llvm.123`) is removed from a mangled name, so a function has one name
//! whether it was called, cloned or inlined.

use std::borrow::Cow;
use std::fmt::{self, Write};

use bstr::ByteSlice;
use cpp_demangle::{BorrowedSymbol, DemangleOptions, ParseOptions};

use super::dlang;

/// A longer name is passed through.
const LONGEST_INPUT: usize = 64 << 10;

/// The most bytes of a result. Names can refer to their own parts, so a short hostile one may
/// expand without end.
const LONGEST_OUTPUT: usize = 64 << 10;

/// The readable form of `symbol`, or `symbol` itself if it is not mangled in a known way.
///
/// Formats: the Itanium C++ ABI, and the legacy and v0 manglings of rustc.
///
/// ```
/// # use flamepipe::symbols::demangle;
/// let legacy = demangle(b"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE");
/// assert_eq!(*legacy, *b"core::fmt::Write::write_fmt");
/// assert_eq!(*demangle(b"_RNvCs1234_7mycrate3foo"), *b"mycrate::foo");
/// let cpp = demangle(b"_ZNKSt6vectorIiSaIiEE4sizeEv");
/// assert_eq!(*cpp, *b"std::vector<int, std::allocator<int> >::size");
/// assert_eq!(*demangle(b"main"), *b"main");
/// ```
pub fn demangle(symbol: &[u8]) -> Cow<'_, [u8]> {
    // A stub has the name of the function that it leads to.
    if let Some(function) = symbol.strip_suffix(b"@plt") {
        return match demangle(function) {
            Cow::Borrowed(name) if name.len() == function.len() => Cow::Borrowed(symbol),
            name => Cow::Owned([&name, b"@plt".as_slice()].concat()),
        };
    }
    let symbol = without_version(symbol);
    if let Some(name) = ocaml(symbol) {
        return Cow::Owned(name);
    }
    // Mach-O writes `__Z` and `__R`. A block of Objective-C++ begins with `___Z`.
    let underscores = symbol.iter().take_while(|&&byte| byte == b'_').count();
    let d = || dlang::demangle(std::str::from_utf8(symbol).ok()?);
    let readable = match (underscores, symbol.get(underscores)) {
        _ if symbol.len() > LONGEST_INPUT => None,
        (1, Some(b'D')) => d(),
        (1..=4, Some(b'Z')) => rust(symbol).or_else(|| cpp(symbol)),
        (1..=2, Some(b'R')) => rust(symbol),
        _ => None,
    };
    readable.map_or(Cow::Borrowed(symbol), |name| Cow::Owned(name.into_bytes()))
}

/// `symbol` without the version of its library that a linker appends: `pthread_create@@GLIBC_2.34`,
/// `memcpy@GLIBC_2.2.5`. Other languages use `@` too, so the end must look like a version.
fn without_version(symbol: &[u8]) -> &[u8] {
    let Some(at) = symbol.find_byte(b'@') else { return symbol };
    let is_word =
        |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(byte));
    let version = symbol[at..].trim_start_with(|c| c == '@');
    let is_default = symbol[at..].starts_with(b"@@");
    let looks_like_version = is_default
        || version.starts_with_str("GLIBC")
        || (version.first().is_some_and(u8::is_ascii_uppercase)
            && version.contains(&b'_')
            && version.last().is_some_and(u8::is_ascii_digit));
    let is_versioned = at > 0 && !version.is_empty() && is_word(&symbol[..at]) && is_word(version);
    if is_versioned && looks_like_version { &symbol[..at] } else { symbol }
}

/// Demangles a name of OCaml as perf does: `camlStdlib__Array__map_154` is `Stdlib.Array.map`.
///
/// `__` separates modules, `$5b` is the character 0x5b, and the number at the end makes the name
/// unique (OCaml's `asmcomp/compilenv.ml`, perf's `util/demangle-ocaml.c`).
fn ocaml(symbol: &[u8]) -> Option<Vec<u8>> {
    let mut rest = symbol.strip_prefix(b"caml")?;
    if !rest.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut name = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"__") {
            name.push(b'.');
            rest = after;
        } else if byte == b'$'
            && let Some(code) = after.get(..2).and_then(|hex| hex.to_str().ok())
            && code.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            name.extend(u8::from_str_radix(code, 16));
            rest = &after[2..];
        } else {
            name.push(byte);
            rest = after;
        }
    }
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = name.len() - digits;
    if digits > 0 && stem > 1 && name[stem - 1] == b'_' {
        name.truncate(stem - 1);
    }
    Some(name)
}

/// Demangles a name of Rust. A legacy name is also a valid C++ name; only its hash shows that it is
/// Rust's.
fn rust(symbol: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(symbol).ok()?;
    if name.trim_start_matches('_').starts_with('Z') && !has_rust_hash(name) {
        return None;
    }
    let parsed = rustc_demangle::try_demangle(name).ok()?;
    let mut out = Bounded::default();
    // The alternate form is the one without hashes.
    write!(out, "{parsed:#}").ok()?;
    // The parser keeps a suffix that it does not know at the end: `.llvm.9127401`, `.cold`.
    if let Some(at) = clone_suffix(name).filter(|at| out.0.ends_with(&name[*at..])) {
        out.0.truncate(out.0.len() - (name.len() - at));
    }
    Some(out.0).filter(|out| !out.is_empty())
}

/// Whether a legacy name ends with its hash: `17h`, sixteen hex digits, `E`, and perhaps a suffix.
fn has_rust_hash(name: &str) -> bool {
    let end = clone_suffix(name).unwrap_or(name.len());
    name.as_bytes()[..end]
        .strip_suffix(b"E")
        .and_then(|name| name.split_last_chunk::<19>())
        .is_some_and(|(_, hash)| {
            hash.starts_with(b"17h") && hash[3..].iter().all(u8::is_ascii_hexdigit)
        })
}

/// Where the suffix of a mangled name starts: behind the last `E` of a legacy name, or at the first
/// dot of a v0 name. A legacy name has other dots too: `..` stands for `::`.
fn clone_suffix(name: &str) -> Option<usize> {
    let from = if name.trim_start_matches('_').starts_with('Z') { name.rfind("E.")? } else { 0 };
    name[from..].find('.').map(|at| from + at)
}

fn cpp(symbol: &[u8]) -> Option<String> {
    let parsed = BorrowedSymbol::new_with_options(symbol, &ParseOptions::default()).ok()?;
    let mut out = Bounded::default();
    let options = DemangleOptions::new().no_params().no_return_type();
    parsed.structured_demangle(&mut out, &options).ok()?;
    // Without parameters, `f() const` still keeps its qualifier in a local function.
    out.0.truncate(out.0.strip_suffix(" const").unwrap_or(&out.0).len());
    // An empty pack of template arguments leaves its comma: `AnalysisManager<Module, >`.
    let name = literal_operators(out.0.replace(", >", ">"));
    Some(name).filter(|name| !name.is_empty())
}

/// The parser turns `operator"" _km` into `operator_km::operator ""`.
fn literal_operators(mut name: String) -> String {
    const MARK: &str = "::operator \"\"";
    while let Some(end) = name.find(MARK) {
        let is_word = |c: char| c == '_' || c.is_alphanumeric();
        let start = name[..end].trim_end_matches(is_word).len();
        let Some(suffix) = name[start..end].strip_prefix("operator") else { break };
        let operator = format!("operator\"\" {suffix}");
        name.replace_range(start..end + MARK.len(), &operator);
    }
    name
}

/// Text that refuses to grow beyond [`LONGEST_OUTPUT`].
#[derive(Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST_OUTPUT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_read_as_perf_prints_them() {
        for (mangled, readable) in [
            ("_ZN3std2rt10lang_start17h0123456789abcdefE", "std::rt::lang_start"),
            ("__ZN3std2rt10lang_start17h0123456789abcdefE", "std::rt::lang_start"),
            ("_ZN3std2rt10lang_start17h0123456789abcdefE.llvm.90127", "std::rt::lang_start"),
            ("_ZN3std2rt10lang_start17h0123456789abcdefE.cold", "std::rt::lang_start"),
            (
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
                "<Test + 'static as foo::Bar<Test>>::bar",
            ),
            ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_RNvCskwGfYPst2Cb_3foo16example_function.llvm.1", "foo::example_function"),
            ("_RINvCs1_1a1bmEB2_", "a::b::<u32>"),
            ("_Z4workIlET_S0_", "work<long>"),
            ("_Z4workIlET_S0_.isra.0", "work<long>"),
            ("_Z4workIlET_S0_.constprop.0.cold", "work<long>"),
            ("_ZNK2ns1A2goEi", "ns::A::go"),
            ("_Zli3_kme", "operator\"\" _km"),
            ("_ZN2nsli2_sEPKcm", "ns::operator\"\" _s"),
            ("_ZN2nsli2_tIJLc49ELc50EEEEiv", "ns::operator\"\" _t<(char)49, (char)50>"),
            ("_ZN12_GLOBAL__N_14anonEl", "(anonymous namespace)::anon"),
            (
                "_ZN4llvm11PassManagerINS_6ModuleENS_15AnalysisManagerIS1_JEEEJEE3runEv",
                "llvm::PassManager<llvm::Module, llvm::AnalysisManager<llvm::Module>>::run",
            ),
            ("_ZN3foo3barE", "foo::bar"),
            ("_ZN3foo3barEi@plt", "foo::bar@plt"),
            ("memcpy@plt", "memcpy@plt"),
            ("_ZZ4mainENKUlvE_clEv", "main::{lambda()#1}::operator()"),
            (
                "_ZZ7processRSt6vectorIiSaIiEEENKUliE_clEi",
                "process(std::vector<int, std::allocator<int> >&)::{lambda(int)#1}::operator()",
            ),
            // Of perf's own test, tests/demangle-ocaml-test.c.
            ("camlStdlib__array__map_154", "Stdlib.array.map"),
            (
                "camlStdlib__anon_fn$5bstdlib$2eml$3a334$2c0$2d$2d54$5d_1453",
                "Stdlib.anon_fn[stdlib.ml:334,0--54]",
            ),
            ("camlStdlib__bytes__$2b$2b_2205", "Stdlib.bytes.++"),
            (
                "_D3std5stdio__T7writelnTAyaZQnFNfQjZv",
                "std.stdio.writeln!(immutable(char)[]).writeln",
            ),
            ("_DYNAMIC", "_DYNAMIC"),
            ("camlStdlib__List.map_230", "Stdlib.List.map"),
            ("caml_main", "caml_main"),
            ("camlX$4", "X$4"),
            ("pthread_create@@GLIBC_2.34", "pthread_create"),
            ("memcpy@GLIBC_2.2.5", "memcpy"),
            ("_Z3fooi@@VERS_1.2", "foo"),
            ("memcpy@GLIBC_2.14@plt", "memcpy@plt"),
            ("*Array(Int32)@Array(T)#each:Nil", "*Array(Int32)@Array(T)#each:Nil"),
            ("f@plt_1", "f@plt_1"),
            ("f@", "f@"),
            // Not mangled in a known way.
            ("main", "main"),
            ("memcpy.isra.0", "memcpy.isra.0"),
            ("main.main", "main.main"),
            ("Lcom/example/Main;run()V", "Lcom/example/Main;run()V"),
            ("$s4main3fooyyF", "$s4main3fooyyF"),
            ("Zed", "Zed"),
            ("Read", "Read"),
            ("_Run", "_Run"),
            ("_", "_"),
            ("", ""),
        ] {
            assert_eq!(demangle(mangled.as_bytes()).as_bstr(), readable, "{mangled}");
        }
    }

    #[test]
    fn a_name_that_expands_without_end_is_passed_through() {
        // Each substitution doubles what stands before it.
        let mut bomb = String::from("_Z1fI1AS_");
        for i in 0..60 {
            let seq = |n: i32| char::from_digit(n as u32 % 36, 36).map(|c| c.to_ascii_uppercase());
            bomb.push_str(&format!("1TIS{0}_S{0}_E", seq(i).unwrap_or('0')));
        }
        bomb.push_str("Evv");
        assert!(demangle(bomb.as_bytes()).len() <= LONGEST_OUTPUT);
        let long = [b"_ZN".as_slice(), &b"1a".repeat(LONGEST_INPUT), b"E"].concat();
        assert_eq!(demangle(&long), long);
    }

    proptest! {
        #[test]
        fn anything_is_survived(tail in "[A-Z0-9a-z_.$]{0,60}", prefix in "_Z|_ZN|_R|__ZN|___Z|_RNv|_ZNSt|_RI|_D1a|_D1a__T") {
            let symbol = prefix + &tail;
            prop_assert!(!demangle(symbol.as_bytes()).is_empty());
        }

        #[test]
        fn any_bytes_are_survived(symbol: Vec<u8>) {
            demangle(&symbol);
            demangle(&[b"_Z".as_slice(), &symbol].concat());
        }
    }
}
