//! The functions at addresses of a module, and how the outermost one is named.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bstr::{BStr, ByteSlice};

use super::chain::{Call, Chain};
use super::dwarf::Found;
use super::elf::Elf;
use super::gopclntab::GoTable;
use super::lines::Line;
use super::module::Module;
use super::table::{Search, Symbol};
use super::{demangle, extent, plt};
use crate::intern::Interner;
use crate::sample::{SourceLine, is_start};

/// How the functions at an address are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Include the functions that were inlined.
    pub inlines: bool,
    /// Name as `perf script` 6.1 does. With inlined functions, all names are those of addr2line,
    /// also the outermost. Only a function with the name of the symbol itself is not marked as
    /// inlined. Stubs are counted, and their code is not read.
    pub as_perf: bool,
    /// Recognise `_start` and `clone` by their code if they have lost their names:
    /// `symbols/code.rs`.
    pub starts: bool,
    /// Find the source lines, too; only with inlined functions.
    pub lines: bool,
}

impl Naming {
    /// Only the function of the symbol.
    pub const SYMBOLS: Naming =
        Naming { inlines: false, as_perf: false, starts: false, lines: false };
    /// All functions.
    pub const INLINES: Naming = Naming { inlines: true, ..Naming::SYMBOLS };
}

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Demangled.
    pub name: &'a BStr,
    /// Whether it was inlined into the next one.
    pub inlined: bool,
    /// Where its symbol starts, in the file's own address space. For an inlined function, this is
    /// the symbol that it is inlined into. `None` if only DWARF knows the function.
    pub start: Option<u64>,
    /// The line at the address, or of the call of the function that was inlined into this one.
    pub line: Option<SourceLine<'a>>,
}

/// The functions at each address of a query.
#[derive(Default)]
pub struct Functions {
    names: Interner,
    all: Vec<One>,
    ends: Vec<usize>,
    /// How many units of DWARF could not be read to their end, or lack their split part, so inlined
    /// functions may be missing.
    pub broken_units: usize,
}

/// A function as numbers.
#[derive(Clone, Copy)]
struct One {
    name: u32,
    inlined: bool,
    start: Option<u64>,
    line: Option<(u32, u32)>,
}

impl Functions {
    /// The functions at the `index`th address, innermost first; none if the address has no name.
    pub fn at(&self, index: usize) -> impl ExactSizeIterator<Item = Function<'_>> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(index).copied().unwrap_or(0);
        let all = self.all.get(start.unwrap_or(0)..end).unwrap_or_default();
        all.iter().map(|one| {
            let text = |id| self.names.get(id).as_bstr();
            let line = one.line.map(|(file, line)| SourceLine { file: text(file), line });
            Function { name: text(one.name), inlined: one.inlined, start: one.start, line }
        })
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Module {
    /// The functions at each of `addresses`, which are sorted, distinct, and in the file's own
    /// address space.
    ///
    /// The outermost function has the name of the symbol table, with perf's choice among aliases,
    /// or else that of DWARF. Inlined functions have the names of DWARF. Damaged files yield fewer
    /// names, never an error.
    pub fn functions(&self, addresses: &[u64], naming: Naming) -> Functions {
        let main = Elf::parse(&self.main);
        let fetched = self.fetched.get().and_then(|(debug, _)| debug.as_ref());
        let debug = self.debug.as_ref().or(fetched).and_then(|debug| Elf::parse(debug));
        let main = main.as_ref();
        let debug = debug.as_ref();
        let has_table = |elf: &&Elf<'_>| elf.has(b".symtab");
        // A full table holds everything that the others have.
        let full = main.filter(has_table).or(debug.filter(has_table));
        let mini = if full.is_none() { self.mini(main) } else { None };
        let mini = mini.and_then(Elf::parse);
        let (symbols, found) = rayon::join(
            || {
                let mut search = Search::new(addresses);
                match full {
                    Some(elf) => search.table(elf, b".symtab"),
                    None => {
                        if let Some(elf) = main {
                            search.table(elf, b".dynsym");
                        }
                        mini.iter().for_each(|elf| search.table(elf, b".symtab"));
                    }
                }
                search.finish(naming.as_perf)
            },
            || {
                if !naming.inlines {
                    return Found::default();
                }
                self.inlines(main, debug, addresses, naming.lines)
            },
        );
        let has_full = full.is_some();
        let has_all = has_full || mini.is_some();
        let mut outermost = Outermost::new(self, main, naming, has_full, has_all);
        let mut out = Builder::new(found.broken);
        let mut chains = found.chains.into_iter();
        for (&address, symbol) in addresses.iter().zip(symbols) {
            let chain = chains.next().unwrap_or_default();
            let symbol = outermost.reaching(symbol, address);
            let by_addr2line = naming.as_perf && is_by_addr2line(&chain, symbol.as_ref());
            out.push(&chain, outermost.name(symbol, address), by_addr2line);
        }
        out.functions
    }
}

/// Collects functions, and demangles each name once.
struct Builder<'d> {
    functions: Functions,
    interned: HashMap<Cow<'d, [u8]>, u32>,
}

impl<'d> Builder<'d> {
    fn new(broken_units: usize) -> Builder<'d> {
        let functions = Functions { broken_units, ..Functions::default() };
        Builder { functions, interned: HashMap::new() }
    }

    /// Adds the functions of the next address: those of its `chain`, with the name of the outermost
    /// one if the symbols have it. `by_addr2line` takes all names from the chain.
    fn push(&mut self, chain: &Chain, named: Option<Named<'d>>, by_addr2line: bool) {
        let named = named.or_else(|| chain.first()?.name.as_ref().map(|name| (owned(name), None)));
        let start = named.as_ref().and_then(|(_, start)| *start);
        let is_known = named.is_some() || !chain.is_empty();
        let name = named.map(|(name, _)| name);
        let names = chain.iter().map(|it| chain.alias.as_ref().or(it.name.as_ref()).map(owned));
        let names = names.enumerate();
        if by_addr2line {
            let base = self.intern(name);
            for (at, name) in names.rev() {
                let name = self.intern(name);
                let line = self.line(chain, at);
                self.functions.all.push(One { name, inlined: name != base, start, line });
            }
        } else if is_known {
            for (at, name) in names.skip(1).rev() {
                let name = self.intern(name);
                let line = self.line(chain, at);
                self.functions.all.push(One { name, inlined: true, start, line });
            }
            let name = self.intern(name);
            let line = self.line(chain, 0);
            self.functions.all.push(One { name, inlined: false, start, line });
        }
        self.functions.ends.push(self.functions.all.len());
    }

    fn line(&mut self, chain: &Chain, at: usize) -> Option<(u32, u32)> {
        let Line { file, line } = chain.lines.get(at)?.as_ref()?;
        Some((self.functions.names.intern(file), *line))
    }

    fn intern(&mut self, name: Option<Cow<'d, [u8]>>) -> u32 {
        let name = name.unwrap_or(Cow::Borrowed(b"[unknown]"));
        if let Some(&known) = self.interned.get(&name) {
            return known;
        }
        let id = self.functions.names.intern(&demangle(&name));
        self.interned.insert(name, id);
        id
    }
}

fn owned(name: &Arc<[u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(name.to_vec())
}

/// A name, and where its symbol starts.
type Named<'d> = (Cow<'d, [u8]>, Option<u64>);

/// Names the outermost function of each address by everything but DWARF.
struct Outermost<'e, 'd> {
    module: &'d Module,
    main: Option<&'e Elf<'d>>,
    naming: Naming,
    /// There is a `.symtab`.
    has_full: bool,
    /// There is a `.symtab`, or `.gnu_debugdata`, which has everything that `.dynsym` lacks.
    has_all: bool,
    /// The ends of symbols without a size, by their starts.
    ends: HashMap<u64, u64>,
    /// Go's table, once it was looked for.
    go: Option<Option<GoTable<'d>>>,
    /// The stubs, once an address was in one. Few profiles have such an address.
    stubs: Option<plt::Stubs<'e, 'd>>,
}

impl<'e, 'd> Outermost<'e, 'd> {
    fn new(
        module: &'d Module,
        main: Option<&'e Elf<'d>>,
        naming: Naming,
        has_full: bool,
        has_all: bool,
    ) -> Self {
        let ends = HashMap::new();
        Outermost { module, main, naming, has_full, has_all, ends, go: None, stubs: None }
    }

    /// `symbol`, if it reaches `address`. In a stripped file, the next symbol does not show where
    /// one without a size ends.
    fn reaching(&mut self, symbol: Option<Symbol<'d>>, address: u64) -> Option<Symbol<'d>> {
        let symbol = symbol?;
        if symbol.size > 0 || self.has_all || self.naming.as_perf {
            return Some(symbol);
        }
        let end = || self.main.map_or(u64::MAX, |elf| extent::end_of(elf, symbol.start));
        let end = *self.ends.entry(symbol.start).or_insert_with(end);
        (address < end).then_some(symbol)
    }

    /// The name of the function at `address`, whose symbol may be `symbol`.
    fn name(&mut self, symbol: Option<Symbol<'d>>, address: u64) -> Option<Named<'d>> {
        let has_size = symbol.is_some_and(|symbol| symbol.size > 0);
        if !has_size && (symbol.is_none() || !self.has_full) {
            let find = || self.module.go(self.main?);
            let go = self.go.get_or_insert_with(find).as_ref();
            if let Some((name, start)) = go.and_then(|go| go.at(address)) {
                return Some((Cow::Borrowed(name), Some(start)));
            }
        }
        let named = symbol.map(|symbol| (Cow::Borrowed(symbol.name), Some(symbol.start)));
        if self.naming.as_perf {
            // `_init` has no size there, so it extends over the header of `.plt` to its first stub.
            let stubs = self.main.and_then(|elf| plt::section(elf, address));
            let is_plain = stubs.is_none_or(|section| section.name == b".plt");
            return self.stub(address).or(named.filter(|_| is_plain));
        }
        if has_size {
            return named;
        }
        // A symbol without a size extends over everything that follows.
        self.start(symbol, address).or(named).or_else(|| self.stub(address))
    }

    /// The name of a stub at `address`.
    fn stub(&mut self, address: u64) -> Option<Named<'d>> {
        let elf = self.main.filter(|elf| plt::section(elf, address).is_some())?;
        let stubs = self.stubs.get_or_insert_with(|| plt::Stubs::new(elf));
        let stub = if self.naming.as_perf { stubs.counted(address) } else { stubs.at(address) };
        stub.map(|stub| (Cow::Owned(stub.name), Some(stub.start)))
    }

    /// The name of the start of a thread at `address`, by its code.
    fn start(&self, symbol: Option<Symbol<'d>>, address: u64) -> Option<Named<'d>> {
        let is_start = symbol.is_some_and(|symbol| is_start(symbol.name.into()));
        if is_start || !self.naming.starts {
            return None;
        }
        let (name, start) = self.module.start_at(address)?;
        Some((Cow::Borrowed(name), start))
    }
}

/// Whether addr2line takes the names of all functions of an address from DWARF. A lone function
/// whose symbol is mangled, but which has no linkage name, is named by the symbol.
fn is_by_addr2line(chain: &Chain, symbol: Option<&Symbol<'_>>) -> bool {
    let is_mangled = |name: &[u8]| name.starts_with(b"_Z") || name.starts_with(b"_R");
    match chain.as_slice() {
        [] | [Call { name: None, .. }] => false,
        [Call { name: Some(name), .. }] => {
            is_mangled(name) || !symbol.is_some_and(|symbol| is_mangled(symbol.name))
        }
        _ => true,
    }
}
