//! Names for addresses, held to the addr2line crate, to nm, and to slow obvious twins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bstr::{BString, ByteSlice};
use flamepipe::sample::SourceLine;
use flamepipe::symbols::{Config, Identity, Loader, Module, Naming, demangle};
use object::{Object, ObjectSection, ObjectSymbol};

use crate::harness::{Dir, bin, cannot_run, processor_time};

mod places;
mod stripped;

/// A C++ program with inlines, templates, namespaces, a local class and a static function.
const PROGRAM: &str = r#"
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>
namespace shop {
template <class T> struct Till {
    std::vector<T> coins;
    void put(T coin) { coins.push_back(coin); std::sort(coins.begin(), coins.end()); }
    T sum() const { T s = 0; for (auto c : coins) s += c; return s; }
};
namespace { long hidden(Till<long>& till, int n) { for (int i = 0; i < n; i++) till.put(i * 7 % 5); return till.sum(); } }
static int plain(const char* s) { std::map<std::string, int> m; m[s]++; m["x"] += 2; return m.size(); }
}
extern "C" __attribute__((noinline)) int c_entry(int n) { shop::Till<long> t; return shop::hidden(t, n) + shop::plain("y"); }
int main(int argc, char** argv) {
    struct Local { int go(int x) { auto f = [x](int y) { std::vector<int> v(y, x); return (int)v.size(); }; return f(x) + f(3); } } l;
    printf("%d\n", c_entry(argc + 5) + l.go(argc));
}
"#;

/// A module as recorded.
fn identity(path: &[u8], build_id: Option<&[u8]>) -> Identity {
    Identity { build_id: build_id.map(<[u8]>::to_vec), ..Identity::of_path(path) }
}

/// `PROGRAM`, compiled with `flags`; says so if it cannot be.
fn compiled(dir: &Dir, test: &str, flags: &[&str]) -> Option<PathBuf> {
    let source = dir.write("program.cpp", PROGRAM);
    let program = dir.path("program");
    let done = Command::new("g++")
        .args(["-O2", "-o"])
        .arg(&program)
        .args(flags)
        .arg(&source)
        .current_dir(dir.path("."))
        .output();
    match done {
        Ok(output) if output.status.success() => {
            let elf = std::fs::read(&program).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
            if !elf {
                cannot_run(test, "g++ here makes no ELF files");
            }
            elf.then_some(program)
        }
        Ok(output) => {
            cannot_run(test, &output.stderr.to_str_lossy());
            None
        }
        Err(error) => {
            cannot_run(test, &format!("no g++: {error}"));
            None
        }
    }
}

/// Runs a tool of binutils; says so if it cannot.
fn tool(test: &str, program: &str, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(output) => {
            let said = output.stderr.to_str_lossy();
            cannot_run(test, &format!("{program} {args:?}: {}: {said}", output.status));
            None
        }
        Err(error) => {
            cannot_run(test, &format!("no {program}: {error}"));
            None
        }
    }
}

/// About `most` addresses from all sections of code, except the PLT.
fn addresses(bytes: &[u8], most: u64) -> Vec<u64> {
    let file = object::File::parse(bytes).unwrap();
    let code: Vec<_> = file
        .sections()
        .filter(|section| section.kind() == object::SectionKind::Text)
        .filter(|section| !section.name().unwrap().starts_with(".plt"))
        .collect();
    let step = (code.iter().map(ObjectSection::size).sum::<u64>() / most).max(1);
    let mut all: Vec<u64> = code
        .iter()
        .flat_map(|section| {
            (section.address()..section.address() + section.size()).step_by(step as usize)
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The same file without symbol tables, so that every name is DWARF's.
fn without_tables(mut bytes: Vec<u8>) -> Vec<u8> {
    for name in ["\0.symtab\0", "\0.dynsym\0"] {
        let places: Vec<usize> = bytes.find_iter(name).collect();
        for at in places {
            bytes[at + 2] = b'X';
        }
    }
    bytes
}

/// The name of each function, whether it is inlined, its file and line.
type Frames = Vec<(BString, bool, Option<(BString, u32)>)>;

fn ours(module: &Module, addresses: &[u64]) -> Vec<Frames> {
    let found = module.functions(addresses, Naming { lines: true, ..Naming::INLINES });
    assert_eq!(found.len(), addresses.len());
    let line = |line: Option<SourceLine<'_>>| line.map(|line| (line.file.into(), line.line));
    (0..addresses.len())
        .map(|at| found.at(at).map(|it| (it.name.into(), it.inlined, line(it.line))).collect())
        .collect()
}

/// The names and lines of the addr2line crate, innermost first.
fn oracle(bytes: &[u8], sup: Option<&[u8]>, addresses: &[u64]) -> Vec<Frames> {
    let load = |bytes| {
        let file = object::File::parse(bytes).unwrap();
        gimli::DwarfSections::load(|id| {
            let data = file.section_by_name(id.name()).map(|s| s.uncompressed_data().unwrap());
            Ok::<Cow<'_, [u8]>, gimli::Error>(data.unwrap_or_default())
        })
        .unwrap()
    };
    let slice = |bytes| gimli::EndianSlice::new(bytes, gimli::RunTimeEndian::Little);
    let sections = load(bytes);
    let sup = sup.map(load);
    let mut dwarf = sections.borrow(|bytes| slice(bytes));
    if let Some(sup) = &sup {
        dwarf.set_sup(sup.borrow(|bytes| slice(bytes)));
    }
    // Names repeat, and demangling is slow without optimization.
    let mut known: HashMap<String, BString> = HashMap::new();
    let context = addr2line::Context::from_dwarf(dwarf).unwrap();
    addresses
        .iter()
        .map(|&address| {
            let mut frames = context.find_frames(address).skip_all_loads().unwrap();
            let mut names = Vec::new();
            while let Some(frame) = frames.next().unwrap() {
                // A frame without a DIE is a line without a function.
                if frame.dw_die_offset.is_some() {
                    let line = frame.location.and_then(|it| Some((it.file?.into(), it.line)));
                    let line = line.map(|(file, line)| (file, line.unwrap_or(0)));
                    let name = frame.function.map(|name| name.raw_name().unwrap().into_owned());
                    let name = name.unwrap_or("[unknown]".into());
                    let name = known
                        .entry(name.clone())
                        .or_insert_with(|| demangle(name.as_bytes()).into_owned().into());
                    names.push((name.clone(), true, line));
                }
            }
            if let Some((_, inlined, _)) = names.last_mut() {
                *inlined = false;
            }
            names
        })
        .collect()
}

/// Wants that all frames are the oracle's; says how many there are.
#[track_caller]
fn agree(addresses: &[u64], ours: &[Frames], oracle: &[Frames]) -> (usize, usize) {
    let mut frames = 0;
    let mut inlined = 0;
    for ((address, ours), oracle) in addresses.iter().zip(ours).zip(oracle) {
        assert_eq!(ours, oracle, "at {address:#x}");
        frames += ours.len();
        inlined += ours.len().saturating_sub(1);
    }
    (frames, inlined)
}

#[test]
fn the_walker_agrees_with_addr2line_on_rust() {
    let bytes = without_tables(std::fs::read(bin("fg-fold")).unwrap());
    if object::FileKind::parse(&*bytes).ok() != Some(object::FileKind::Elf64) {
        return cannot_run("the_walker_agrees_with_addr2line_on_rust", "our binary is no ELF file");
    }
    let addresses = addresses(&bytes, 20_000);
    let module = Module::from_bytes(Path::new("tests"), bytes.clone()).unwrap();
    let ours = ours(&module, &addresses);
    let oracle = oracle(&bytes, None, &addresses);
    let (frames, inlined) = agree(&addresses, &ours, &oracle);
    assert!(frames > 20_000 && inlined > 5_000, "{frames} frames, {inlined} of them inlined");
}

#[test]
fn the_walker_agrees_with_addr2line_on_cpp() {
    let test = "the_walker_agrees_with_addr2line_on_cpp";
    for flags in [&["-g"][..], &["-gdwarf-4"], &["-g1"], &["-gdwarf-5", "-flto"]] {
        let dir = Dir::new();
        let Some(program) = compiled(&dir, test, flags) else { return };
        let bytes = without_tables(std::fs::read(program).unwrap());
        let addresses = addresses(&bytes, 10_000);
        let module = Module::from_bytes(Path::new("program"), bytes.clone()).unwrap();
        let ours = ours(&module, &addresses);
        let oracle = oracle(&bytes, None, &addresses);
        let (frames, inlined) = agree(&addresses, &ours, &oracle);
        assert!(frames > 3_000 && inlined > 500, "{flags:?}: {frames} frames, {inlined} inlined");
    }
}

#[test]
fn the_walker_agrees_with_addr2line_on_a_debug_package() {
    let test = "the_walker_agrees_with_addr2line_on_a_debug_package";
    let Some(libc) = libc() else { return cannot_run(test, "no libc.so.6 where it is usually") };
    let bytes = std::fs::read(&libc).unwrap();
    let id = object::File::parse(&*bytes).unwrap().build_id().unwrap().unwrap_or_default().to_vec();
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, rest) = hex.split_at(2.min(hex.len()));
    let path = format!("/usr/lib/debug/.build-id/{first}/{rest}.debug");
    let Ok(debug) = std::fs::read(&path) else {
        return cannot_run(test, &format!("no {path}: install libc6-dbg"));
    };
    // Debug packages can share a file (dwz).
    let shared = object::File::parse(&*debug).unwrap().gnu_debugaltlink().unwrap();
    let shared = shared.map(|(name, _)| {
        let path = Path::new(&path).canonicalize().unwrap().with_file_name("");
        std::fs::read(path.join(name.to_path().unwrap())).unwrap()
    });
    let addresses = addresses(&bytes, 10_000);
    let wanted = oracle(&debug, shared.as_deref(), &addresses);
    // All names of the package itself. Then those of the loader, where symbols name what is not
    // inlined.
    let starts: HashMap<BString, u64> = object::File::parse(&*debug)
        .unwrap()
        .symbols()
        .map(|symbol| (symbol.name_bytes().unwrap().into(), symbol.address()))
        .collect();
    if shared.is_none() {
        let module = Module::from_bytes(Path::new(&path), without_tables(debug)).unwrap();
        let mut found = ours(&module, &addresses);
        // Assembly says every alias is a function of its own (`getcontext`, `__getcontext`), of
        // which addr2line takes any.
        let mut aliases = 0;
        for (found, wanted) in found.iter_mut().zip(&wanted).filter(|(a, b)| a != b) {
            let ([found], [wanted]) = (&mut found[..], &wanted[..]) else { continue };
            if starts.contains_key(&found.0) && starts.get(&found.0) == starts.get(&wanted.0) {
                found.0 = wanted.0.clone();
                aliases += 1;
            }
        }
        assert!(aliases < addresses.len() / 20, "{aliases}");
        agree(&addresses, &found, &wanted);
    }
    let found = loaded(&Config::default(), &libc, &addresses);
    let inlined = |frames: &[Frames]| -> Vec<Frames> {
        let keep = |frames: &Frames| frames.iter().filter(|frame| frame.1).cloned().collect();
        frames.iter().map(keep).collect()
    };
    let (inlines, _) = agree(&addresses, &inlined(&found), &inlined(&wanted));
    assert!(inlines > 1_000, "{inlines}");
    assert!(found.iter().filter(|frames| !frames.is_empty()).count() * 10 > addresses.len() * 9);
}

fn libc() -> Option<PathBuf> {
    let places =
        ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
    places.into_iter().map(PathBuf::from).find(|path| path.exists())
}

/// The twin of the table scan: all symbols in a list, searched from end to end for each address.
fn naive_table(bytes: &[u8], addresses: &[u64]) -> Vec<Option<(BString, u64)>> {
    use object::SymbolFlags;
    let file = object::File::parse(bytes).unwrap();
    let all: Vec<_> = file.symbols().collect();
    let all = if all.is_empty() { file.dynamic_symbols().collect() } else { all };
    let mut table = Vec::new();
    for symbol in all {
        let SymbolFlags::Elf { st_info, st_other, .. } = symbol.flags() else { panic!() };
        let kind = st_info.0 & 15;
        let bind = st_info.0 >> 4;
        let name = symbol.name_bytes().unwrap();
        let function = matches!(kind, 2 | 10);
        let label = kind == 0
            && symbol.section() != object::SymbolSection::Absolute
            && !matches!(st_other.0 & 3, 1 | 2);
        if symbol.is_undefined() || name.is_empty() || !(function || label) {
            continue;
        }
        let end = symbol.section_index().map_or(u64::MAX, |index| {
            let section = file.section_by_index(index).unwrap();
            section.address() + section.size()
        });
        let readable = demangle(name);
        let underscores = readable.iter().take_while(|&&byte| byte == b'_').count();
        let rank = (
            symbol.size() > 0,
            function,
            bind != 2,
            bind == 1,
            usize::MAX - underscores,
            readable.len(),
        );
        table.push((symbol.address(), symbol.size(), end, rank, BString::from(&*readable)));
    }
    let best = |rows: Vec<usize>| {
        // The first of equals.
        rows.into_iter().rev().max_by_key(|&row| (table[row].0, table[row].3))
    };
    let find = |address: &u64| {
        let rows = || 0..table.len();
        let holds =
            |&row: &usize| table[row].0 <= *address && *address - table[row].0 < table[row].1;
        let within = best(rows().filter(holds).collect());
        let nearest = best(rows().filter(|&row| table[row].0 <= *address).collect())
            .filter(|&row| table[row].1 == 0 && *address < table[row].2);
        within.or(nearest).map(|row| (table[row].4.clone(), table[row].0))
    };
    addresses.iter().map(find).collect()
}

#[test]
fn the_table_scan_equals_a_full_search() {
    let dir = Dir::new();
    let mut files = vec![bin("fg-fold")];
    files.extend(libc());
    files.extend(compiled(&dir, "the_table_scan_equals_a_full_search", &["-s", "-rdynamic"]));
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        if object::FileKind::parse(&*bytes).ok() != Some(object::FileKind::Elf64) {
            return cannot_run("the_table_scan_equals_a_full_search", "our binary is no ELF file");
        }
        let addresses = addresses(&bytes, 700);
        let wanted = naive_table(&bytes, &addresses);
        let module = Module::open(&path).unwrap();
        let found = module.functions(&addresses, Naming::SYMBOLS);
        for (at, wanted) in wanted.iter().enumerate() {
            let found = found.at(at).next().map(|found| (found.name.into(), found.start.unwrap()));
            assert_eq!(&found, wanted, "{} at {:#x}", path.display(), addresses[at]);
        }
        assert!(wanted.iter().flatten().count() > 100, "{}", path.display());
    }
}

#[test]
fn stubs_of_the_plt_have_the_names_objdump_gives_them() {
    let test = "stubs_of_the_plt_have_the_names_objdump_gives_them";
    for flags in
        [&["-Wl,-z,lazy"][..], &["-Wl,-z,now"], &["-fcf-protection=full", "-Wl,-z,lazy,-z,ibtplt"]]
    {
        let dir = Dir::new();
        let Some(program) = compiled(&dir, test, flags) else { return };
        let Some(listing) = tool(test, "objdump", &["-d", program.to_str().unwrap()]) else {
            return;
        };
        // 0000000000001030 <printf@plt>:
        let mut stubs: Vec<(u64, BString)> = listing
            .lines()
            .filter_map(|line| {
                let (address, name) = line.strip_suffix(b"@plt>:")?.split_once_str(" <")?;
                let name = name.split_once_str("@").map_or(name, |(name, _)| name);
                let address = u64::from_str_radix(address.to_str().unwrap(), 16).unwrap();
                let readable = demangle(name).into_owned();
                Some((address, [&readable[..], b"@plt"].concat().into()))
            })
            .collect();
        stubs.sort();
        assert!(stubs.len() > 3, "{}", listing.to_str_lossy());
        let addresses: Vec<u64> = stubs.iter().map(|(address, _)| address + 4).collect();
        let module = Module::open(&program).unwrap();
        let found = module.functions(&addresses, Naming::INLINES);
        for (at, (address, name)) in stubs.iter().enumerate() {
            let found: Vec<_> =
                found.at(at).map(|found| (found.name.into(), found.start)).collect();
            assert_eq!(found, [(name.clone(), Some(*address))]);
        }
    }
}

/// The frames all over `path`, through the loader.
fn loaded(config: &Config, path: &Path, addresses: &[u64]) -> Vec<Frames> {
    let loader = Loader::new(config.clone());
    let name = path.as_os_str().as_encoded_bytes();
    let module = loader.module(&identity(name, None), None).unwrap();
    ours(&module, addresses)
}
