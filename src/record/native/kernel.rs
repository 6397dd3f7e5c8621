//! Describes the machine and its kernel in the recording, so that it can be read elsewhere and
//! later.

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

/// The name under which perf and the reader look for the kernel's symbols.
const KERNEL: &[u8] = b"[kernel.kallsyms]";

/// Writes the machine's name, its kernel's release, its architecture, the time on `clock`, the
/// build of the kernel, and the kernel's address if we may know it.
///
/// If [`Names`] names the kernel's functions, the address is left out. Otherwise perf would put the
/// first named function at the start of the mapped kernel.
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
                // From it the reader computes how far the kernel was moved at boot.
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

/// Names the functions of the kernel in the recording itself, each before the first sample that
/// shows it: readers who may not see the kernel's addresses have no other way.
pub(super) struct Names {
    table: KernelTable,
    seen: HashSet<u64>,
    /// The starts of functions that were written.
    told: HashSet<u64>,
}

impl Names {
    /// The names of the kernel that runs; none, if it lists none.
    pub(super) fn new() -> Names {
        let table = KernelTable::running().unwrap_or_default();
        Names { table, seen: HashSet::new(), told: HashSet::new() }
    }

    /// Writes the functions that `sample` shows and that were not written yet.
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
            // A return address after a function's last instruction is the start of the next one.
            for at in [address - 1, address] {
                let Some(symbol) = self.table.at(at).filter(|it| self.told.insert(it.start)) else {
                    continue;
                };
                let name = if symbol.module.is_empty() {
                    symbol.name
                } else {
                    [&symbol.name, &b" ["[..], &symbol.module, b"]"].concat().into()
                };
                let function = Ksymbol {
                    start: symbol.start,
                    len: u32::try_from(symbol.end - symbol.start).unwrap_or(u32::MAX),
                    kind: 0,
                    gone: false,
                    name: name.as_bstr(),
                };
                writer.ksymbol(&function, id)?;
            }
        }
        Ok(())
    }
}

/// `_text` and its address, from one of the first lines of kallsyms: `ffffffff81000000 T _text`.
/// `None` if `kptr_restrict` hides the addresses: then all of them are 0.
fn start() -> Option<(Vec<u8>, u64)> {
    // The kernel makes as many lines as we read at once, and the first ones mostly do.
    let mut reader = BufReader::with_capacity(64, fs::File::open("/proc/kallsyms").ok()?);
    let mut line = Vec::new();
    // Some hundred symbols of CPU-local data come first.
    for _ in 0..20_000 {
        line.clear();
        reader.read_until(b'\n', &mut line).ok().filter(|&read| read > 0)?;
        let mut words = line.trim_end().splitn_str(3, " ");
        let address = words.next()?;
        words.next()?;
        let name = words.next()?;
        if matches!(name, b"_text" | b"_stext") {
            let address = u64::from_str_radix(address.to_str().ok()?, 16).ok()?;
            return (address > 0).then(|| (name.to_vec(), address));
        }
    }
    None
}
