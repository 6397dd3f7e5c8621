//! What a recording tells of the machine and its kernel, so that it can be read elsewhere and later.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};

use bstr::ByteSlice;

use super::attr::Wanted;
use crate::perf_data::write::Writer;
use crate::perf_data::{CpuMode, FileId, Mmap};
use crate::symbols::running_build_id;

/// The numbers of features: `HEADER_HOSTNAME` and its like in perf's header.h.
const HOSTNAME: u64 = 3;
const RELEASE: u64 = 4;
const ARCH: u64 = 6;

/// Where perf and the reader look for the kernel's symbols.
const KERNEL: &[u8] = b"[kernel.kallsyms]";

/// Writes the machine's name, its kernel's release, its architecture, and where the kernel lies if we may know.
pub(super) fn write<W: Write>(writer: &mut Writer<W>, id: u64, wanted: &Wanted) -> io::Result<()> {
    for (feature, path) in [(HOSTNAME, "hostname"), (RELEASE, "osrelease")] {
        let text = fs::read(format!("/proc/sys/kernel/{path}")).unwrap_or_default();
        writer.feature(feature, text.trim_end())?;
    }
    writer.feature(ARCH, std::env::consts::ARCH.as_bytes())?;
    if wanted.exclude_kernel {
        return Ok(());
    }
    if let Some((symbol, address)) = start() {
        let path = [KERNEL, &symbol].concat();
        writer.mmap2(
            &Mmap {
                pid: u32::MAX,
                tid: 0,
                start: address,
                // To the end of the gigabyte that the kernel's text and modules share.
                len: (address | 0x3fff_ffff) - address,
                // The reader finds by it how far the kernel was moved at boot.
                offset: address,
                file: FileId::Path,
                prot: Some(5),
                flags: None,
                executable: true,
                mode: CpuMode::Kernel,
                path: path.as_bstr(),
            },
            id,
        )?;
        if let Some(build_id) = running_build_id() {
            writer.build_id(1, u32::MAX, &build_id, KERNEL)?;
        }
    }
    Ok(())
}

/// `_text`, which is among the first of kallsyms, and its address: `ffffffff81000000 T _text`. All are 0 for whom
/// `kptr_restrict` keeps them from.
fn start() -> Option<(Vec<u8>, u64)> {
    let mut reader = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
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
