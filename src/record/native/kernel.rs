//! What a recording tells of the machine and its kernel, so that it can be read elsewhere and later.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};

use bstr::ByteSlice;

use super::attr::Wanted;
use crate::perf_data::sample::CONTEXT_MAX;
use crate::perf_data::write::Writer;
use crate::perf_data::{Clock, CpuMode, FileId, Ksymbol, Mmap, RawSample};
use crate::symbols::{KernelTable, running_build_id};

/// The numbers of features: `HEADER_HOSTNAME` and its like in perf's header.h.
const HOSTNAME: u64 = 3;
const RELEASE: u64 = 4;
const ARCH: u64 = 6;

/// Where perf and the reader look for the kernel's symbols.
const KERNEL: &[u8] = b"[kernel.kallsyms]";

/// Writes the machine's name, its kernel's release, its architecture, what `clock` shows, which
/// build the kernel is, and where it lies if we may know.
///
/// Where [`Names`] tell its functions it is not said: perf takes the first function that is told inside of a mapped kernel for one at
/// its start.
pub(super) fn write<W: Write>(
    writer: &mut Writer<W>,
    id: u64,
    wanted: &Wanted,
    clock: Clock,
    names: bool,
) -> io::Result<()> {
    for (feature, path) in [(HOSTNAME, "hostname"), (RELEASE, "osrelease")] {
        let text = fs::read(format!("/proc/sys/kernel/{path}")).unwrap_or_default();
        writer.feature(feature, text.trim_end())?;
    }
    writer.feature(ARCH, std::env::consts::ARCH.as_bytes())?;
    writer.clock(libc::CLOCK_MONOTONIC.cast_unsigned(), clock)?;
    if wanted.exclude_kernel {
        return Ok(());
    }
    let start = if names { None } else { start() };
    if let Some((symbol, address)) = &start {
        let path = [KERNEL, symbol].concat();
        writer.mmap2(
            &Mmap {
                pid: u32::MAX,
                tid: 0,
                start: *address,
                // To the end of the gigabyte that the kernel's text and modules share.
                len: (address | 0x3fff_ffff) - address,
                // The reader finds by it how far the kernel was moved at boot.
                offset: *address,
                file: FileId::Path,
                prot: Some(5),
                flags: None,
                executable: true,
                mode: CpuMode::Kernel,
                path: path.as_bstr(),
            },
            id,
        )?;
    }
    if let Some(build_id) = running_build_id() {
        writer.build_id(1, u32::MAX, &build_id, KERNEL)?;
    }
    Ok(())
}

/// Whether the kernel keeps its addresses from us.
pub(super) fn is_hidden() -> bool {
    start().is_none()
}

/// Names the functions of the kernel in the recording itself, each before the first sample that shows it: a reader who may not see the
/// kernel's addresses has no other way.
pub(super) struct Names {
    table: KernelTable,
    seen: HashSet<u64>,
    /// The starts of functions that were told.
    told: HashSet<u64>,
}

impl Names {
    /// Of the kernel that runs; of one that lists none, nothing will be told.
    pub(super) fn new() -> Names {
        let table = KernelTable::running().unwrap_or_default();
        Names { table, seen: HashSet::new(), told: HashSet::new() }
    }

    /// Tells what `sample` shows and was not told yet.
    pub(super) fn tell<W: Write>(
        &mut self,
        sample: &RawSample<'_>,
        writer: &mut Writer<W>,
        id: u64,
    ) -> io::Result<()> {
        let chain = sample.callchain.iter().flat_map(|chain| chain.iter());
        let is_kernels = |address: &u64| (1 << 63..CONTEXT_MAX).contains(address);
        for address in chain.chain(sample.ip).filter(is_kernels) {
            if !self.seen.insert(address) {
                continue;
            }
            // The return address behind a last call is the start of the next function already.
            for at in [address - 1, address] {
                let Some(symbol) = self.table.at(at).filter(|it| self.told.insert(it.start)) else {
                    continue;
                };
                let name = match symbol.module.is_empty() {
                    true => symbol.name,
                    false => [&symbol.name, &b" ["[..], &symbol.module, b"]"].concat().into(),
                };
                let len = u32::try_from(symbol.end - symbol.start).unwrap_or(u32::MAX);
                let (start, name) = (symbol.start, name.as_bstr());
                writer.ksymbol(&Ksymbol { start, len, kind: 0, gone: false, name }, id)?;
            }
        }
        Ok(())
    }
}

/// `_text`, which is among the first of kallsyms, and its address: `ffffffff81000000 T _text`. All are 0 for whom
/// `kptr_restrict` keeps them from.
fn start() -> Option<(Vec<u8>, u64)> {
    // The kernel writes as many lines as are read at once, and the first will mostly do.
    let mut reader = BufReader::with_capacity(64, fs::File::open("/proc/kallsyms").ok()?);
    let mut line = Vec::new();
    // Symbols of CPU-local data come first; there are some hundreds.
    for _ in 0..20_000 {
        line.clear();
        reader.read_until(b'\n', &mut line).ok().filter(|&read| read > 0)?;
        let mut words = line.trim_end().splitn_str(3, " ");
        let (address, _, name) = (words.next()?, words.next()?, words.next()?);
        if matches!(name, b"_text" | b"_stext") {
            let address = u64::from_str_radix(address.to_str().ok()?, 16).ok()?;
            return (address > 0).then(|| (name.to_vec(), address));
        }
    }
    None
}
