//! Gets the names of the addresses of one owner: a module, the kernel, or a JIT. Owners are asked
//! in parallel, before frames are made of the names.

use bstr::{BStr, ByteSlice};

use crate::error::Result;
use crate::sample::{Frame, Kind};
use crate::symbols::{
    Function, Functions, Jitdump, KernelSymbol, KernelSymbols, Loader, Naming, PerfMap, Reference,
};
use crate::unwind::Spaces;

/// The names of the addresses of one owner.
pub(super) enum OwnerNames<'a> {
    Truncated,
    /// Code without a file, and the name of its map.
    Code(&'a BStr, Jit),
    Kernel(KernelNames),
    /// The module's name, and the functions at each of some addresses.
    Module(&'a BStr, Vec<u64>, Functions),
}

/// The kernel's functions at some addresses.
pub(super) struct KernelNames {
    /// Sorted and distinct.
    addresses: Vec<u64>,
    /// The functions in the kernel's own file, and the distance from its addresses to these.
    own: Option<(Functions, u64)>,
    /// The symbols of the others in the kernel's list.
    listed: KernelSymbols,
}

impl KernelNames {
    /// Looks for `addresses`, which are sorted and distinct, in the kernel's own file, then in its
    /// list.
    pub(super) fn ask(
        addresses: Vec<u64>,
        inlines: bool,
        spaces: &Spaces,
        loader: &Loader,
    ) -> Result<KernelNames> {
        let kernel = &spaces.kernel;
        let build_id = kernel.build_id.as_deref();
        let reference = kernel
            .reference
            .as_ref()
            .map(|(name, address)| Reference { name: name.as_bstr(), address: *address });
        let own = loader.vmlinux(build_id, reference).map(|vmlinux| {
            let moved = vmlinux.moved;
            let there: Vec<u64> = addresses.iter().map(|at| at.wrapping_sub(moved)).collect();
            let asked: &[u64] = if there.is_sorted() { &there } else { &[] };
            (vmlinux.module.functions(asked, Naming { inlines, ..Naming::SYMBOLS }), moved)
        });
        let mut names = KernelNames { addresses, own, listed: KernelSymbols::default() };
        let is_known = |&at: &u64| names.functions(at).is_some() || kernel.recorded(at).is_some();
        // The file, if there is one, lacks the kernel's modules.
        if !names.addresses.iter().all(is_known) {
            names.listed = loader.kernel(build_id, &names.addresses, reference)?;
        }
        Ok(names)
    }

    /// The functions of the kernel's own file at an address, innermost first, each with the start
    /// of its symbol.
    pub(super) fn functions(
        &self,
        address: u64,
    ) -> Option<impl Iterator<Item = (Function<'_>, Option<u64>)>> {
        let (functions, moved) = self.own.as_ref()?;
        let found = functions.at(self.place(address)?);
        let start = |f: &Function<'_>| f.start.map(|start| start.wrapping_add(*moved));
        (found.len() > 0).then(|| found.map(move |function| (function, start(&function))))
    }

    /// The symbol in the kernel's list at an address.
    pub(super) fn listed(&self, address: u64) -> Option<&KernelSymbol> {
        self.listed.symbols.get(self.place(address)?)?.as_ref()
    }

    fn place(&self, address: u64) -> Option<usize> {
        self.addresses.binary_search(&address).ok()
    }
}

/// The name and the start of a kernel function, given an address to look up and one to show. If the
/// symbol is the padding before a function (`__pfx_rep_movs_alternative`), this is the function.
///
/// Padding calls nothing. So this is not a return address, but the kernel was interrupted at the
/// first byte of the function, for example by a page fault.
pub(super) fn unpadded(symbol: &KernelSymbol, (lookup, shown): (u64, u64)) -> (&BStr, u64) {
    match symbol.name.strip_prefix(b"__pfx_") {
        Some(rest) if shown != lookup => (rest.into(), shown),
        _ => (symbol.name.as_bstr(), symbol.start),
    }
}

/// The names that a process wrote for the code that it generated.
pub(super) struct Jit {
    map: Option<PerfMap>,
    dump: Option<Jitdump>,
    /// The name of its map.
    module: String,
}

impl Jit {
    pub(super) fn of(pid: u32, spaces: &Spaces, loader: &Loader) -> Jit {
        let process = spaces.processes.get(pid);
        let dump = spaces.jitdump(pid).and_then(|path| loader.jitdump(path, &process));
        Jit { map: loader.perf_map(&process), dump, module: format!("/tmp/perf-{pid}.map") }
    }

    /// Whether the process wrote a jitdump, which says when its code changes.
    pub(super) fn has_dump(&self) -> bool {
        self.dump.is_some()
    }

    /// The frames of an address whose code changed, each with the time from which it holds and the
    /// start of its function. None if the code never changed. `at` is the address to look up and
    /// the one to show.
    pub(super) fn changes(
        &self,
        at: (u64, u64),
    ) -> impl Iterator<Item = (u64, (Frame<'_>, Option<u64>))> {
        let changes = self.dump.as_ref().map(|dump| dump.changes(at.0)).unwrap_or_default();
        changes.into_iter().map(move |(time, name, start)| (time, self.named(name, start, at)))
    }

    /// The last known frame of an address in the map `path`, and the start of its function.
    pub(super) fn frame<'a>(&'a self, path: &'a BStr, at: (u64, u64)) -> (Frame<'a>, Option<u64>) {
        let dumped = self.dump.as_ref().and_then(|dump| dump.find(at.0, None));
        match dumped.or_else(|| self.map.as_ref()?.find(at.0)) {
            Some((symbol, start)) => self.named(symbol, start, at),
            None => {
                let kind = Kind::of_module(path);
                (Frame { symbol: "[unknown]".into(), module: path, kind, ..Frame::default() }, None)
            }
        }
    }

    fn named<'a>(
        &'a self,
        symbol: &'a BStr,
        start: u64,
        (lookup, shown): (u64, u64),
    ) -> (Frame<'a>, Option<u64>) {
        let module = self.module.as_bytes().into();
        let frame = Frame { symbol, module, kind: Kind::Jit, ..Frame::default() };
        (frame, Some(shown.wrapping_sub(lookup - start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_calls_nothing() {
        let name = |name: &str, lookup| {
            let name = name.into();
            let symbol = KernelSymbol { name, module: "".into(), start: 0x1000, end: 0x2000 };
            let (name, start) = unpadded(&symbol, (lookup, 0x1010));
            (name.to_string(), start)
        };
        assert_eq!(name("__pfx_f", 0x100f), ("f".into(), 0x1010));
        assert_eq!(name("__pfx_f", 0x1010), ("__pfx_f".into(), 0x1000));
        assert_eq!(name("f", 0x100f), ("f".into(), 0x1000));
    }
}
