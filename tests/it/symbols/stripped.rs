//! Files that have lost most of their symbols: what still names their code, and what must not.

use std::path::{Path, PathBuf};
use std::process::Command;

use bstr::{BString, ByteSlice};
use flamepipe::symbols::{Module, Naming};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::harness::{Dir, cannot_run};

fn done(test: &str, command: &mut Command) -> bool {
    match command.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => cannot_run(test, &output.stderr.to_str_lossy()),
        Err(error) => cannot_run(test, &error.to_string()),
    }
    false
}

/// The name of the symbol or function at each address.
fn names(file: &Path, addresses: &[u64]) -> Vec<Option<BString>> {
    let module = Module::open(file).unwrap();
    let functions = module.functions(addresses, Naming::SYMBOLS);
    (0..addresses.len()).map(|at| functions.at(at).next().map(|it| it.name.to_owned())).collect()
}

/// The runtime alone has methods, generated functions, assembler and closures enough.
const GO: &str = r#"
package main

type T struct{ n int }

//go:noinline
func (t *T) add(n int) func() int { t.n += n; return func() int { return t.n } }

func main() { println((&T{1}).add(2)()) }
"#;

#[test]
fn functions_of_stripped_go_programs_have_their_names() {
    let dir = Dir::new();
    let test = "functions_of_stripped_go_programs_have_their_names";
    dir.write("main.go", GO);
    for mode in ["exe", "pie"] {
        let build = |name: &str, flags: &str| -> Option<PathBuf> {
            let path = dir.path(name);
            let mut go = Command::new("go");
            go.args(["build", "-buildmode", mode, "-ldflags", flags, "-o"])
                .arg(&path)
                .arg("main.go");
            go.current_dir(dir.path(""))
                .env("GOCACHE", dir.path("cache"))
                .env("GO111MODULE", "off");
            done(test, &mut go).then_some(path)
        };
        let Some(whole) = build("whole", "") else { return };
        let Some(stripped) = build("stripped", "-s -w") else { return };
        let bytes = std::fs::read(&whole).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let functions =
            file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        let mut addresses: Vec<u64> =
            functions.map(|symbol| symbol.address() + symbol.size() - 1).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let plain = |name: Option<BString>| {
            let name = name.unwrap_or_default();
            BString::from(name.strip_suffix(b".abi0").unwrap_or(&name))
        };
        let expected = names(&whole, &addresses);
        let found = names(&stripped, &addresses);
        let mut different = Vec::new();
        for (expected, found) in expected.into_iter().zip(found) {
            let expected = plain(expected);
            let found = plain(found);
            if expected != found {
                different.push((expected, found));
            }
        }
        assert!(addresses.len() > 500, "{}", addresses.len());
        // Marks that are no functions, `go:buildid`, and one name for some that Go makes:
        // `type:.eq.…`.
        assert!(
            different.len() * 100 < addresses.len(),
            "{mode}: {} of {}: {different:?}",
            different.len(),
            addresses.len()
        );
    }
}

/// An exported function without a size, followed by hidden ones, as in the assembler of codecs.
const LIBRARY: &str = r#"
        .text
        .globl exported
exported:
        dec %edi
        jnz exported
        ret
        .balign 16
        .hidden hidden
        .globl hidden
hidden:
        dec %edi
        jnz hidden
        ret
"#;

#[test]
fn a_symbol_without_a_size_ends_with_its_function() {
    let dir = Dir::new();
    let test = "a_symbol_without_a_size_ends_with_its_function";
    if !cfg!(target_arch = "x86_64") {
        return cannot_run(test, "its assembler is for x86-64");
    }
    let source = dir.write("x.s", LIBRARY);
    let library = dir.path("x.so");
    let mut cc = Command::new("cc");
    if !done(test, cc.args(["-shared", "-nostdlib", "-o"]).arg(&library).arg(source)) {
        return;
    }
    let bytes = std::fs::read(&library).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let start = file.symbols().find(|symbol| symbol.name() == Ok("exported")).unwrap().address();
    let at = [start, start + 4, start + 0x10, start + 0x14];
    let told = |names: Vec<Option<BString>>| -> Vec<String> {
        names.into_iter().map(|name| name.unwrap_or_default().to_string()).collect()
    };
    assert_eq!(told(names(&library, &at)), ["exported", "exported", "hidden", "hidden"]);
    if done(test, Command::new("strip").arg(&library)) {
        assert_eq!(told(names(&library, &at)), ["exported", "exported", "", ""]);
    }
}
