//! Names the stubs through which a module calls functions of others: `memcpy@plt`.
//!
//! A stub has no symbol. Its instructions name the slot of the GOT that it jumps through, and a
//! relocation names the function whose address the dynamic linker puts there. Sources: the psABIs
//! of x86-64, i386 and AArch64, "Procedure Linkage Table".

use std::collections::HashMap;

use bstr::ByteSlice;
use object::elf;

use super::elf::{Elf, Section, number};

/// The stub that holds an address.
pub(super) struct Stub {
    /// `memcpy@plt`.
    pub name: Vec<u8>,
    /// Where the stub starts.
    pub start: u64,
}

/// The size of the longest stub in bytes. Stubs are aligned to it or to half of it.
const SIZE: u64 = 16;

pub(super) struct Stubs<'e, 'd> {
    elf: &'e Elf<'d>,
    /// The table of each slot's symbol, and the symbol's index in it.
    slots: HashMap<u64, (u32, u64)>,
    /// The same for each relocation of `.rela.plt`, in order.
    in_order: Vec<(u32, u64)>,
}

impl<'e, 'd> Stubs<'e, 'd> {
    /// Reads the relocations that have symbols.
    pub(super) fn new(elf: &'e Elf<'d>) -> Self {
        let mut slots = HashMap::new();
        let mut in_order = Vec::new();
        let width = if elf.wide { 8 } else { 4 };
        for section in &elf.sections {
            // SHT_RELA and SHT_REL: place, symbol and type, and with RELA an addend.
            let size = match section.kind {
                4 => width * 3,
                9 => width * 2,
                _ => continue,
            };
            let in_plt = section.name.ends_with(b".plt");
            for entry in section.data.chunks_exact(size) {
                let place = number(&entry[..width], elf.big);
                let info = number(&entry[width..width * 2], elf.big);
                let symbol = if elf.wide { info >> 32 } else { info >> 8 };
                if in_plt {
                    in_order.push((section.link, symbol));
                }
                if symbol != 0 {
                    slots.entry(place).or_insert((section.link, symbol));
                }
            }
        }
        Stubs { elf, slots, in_order }
    }

    /// The stub at `address`, if one is there.
    pub(super) fn at(&self, address: u64) -> Option<Stub> {
        let section = section(self.elf, address)?;
        // `.plt.got` of x86 without CET has stubs of eight bytes.
        let sizes: &[u64] = if section.name == b".plt.got" { &[8, SIZE] } else { &[SIZE] };
        let named = sizes.iter().find_map(|&size| {
            let into = (address - section.address) / size * size;
            let start = section.address.checked_add(into)?;
            let code = section.data.get(usize::try_from(into).ok()?..)?;
            let code = code.get(..usize::try_from(size).ok()?)?;
            let &(table, symbol) = match target(self.elf, code, start)? {
                Target::Slot(slot) => self.slots.get(&slot)?,
                Target::Index(index) => self.in_order.get(usize::try_from(index).ok()?)?,
            };
            let name = [self.name(table, symbol)?, b"@plt".as_slice()].concat();
            Some(Stub { name, start })
        });
        // The stub of the resolver, and those of functions that are chosen at run time, have no
        // symbol.
        let into = (address - section.address) / SIZE * SIZE;
        named.or_else(|| {
            Some(Stub { name: b"@plt".to_vec(), start: section.address.checked_add(into)? })
        })
    }

    /// The stub at `address` as perf 6.1 names it: the nth stub of `.plt` belongs to the nth
    /// relocation.
    pub(super) fn counted(&self, address: u64) -> Option<Stub> {
        let section = self.elf.section(b".plt")?;
        let header = if self.elf.machine == elf::EM_AARCH64.0 { 2 * SIZE } else { SIZE };
        let into = address.checked_sub(section.address).filter(|&into| into < section.size)?;
        let index = into.checked_sub(header)? / SIZE;
        let &(table, symbol) = self.in_order.get(usize::try_from(index).ok()?)?;
        let name = self.name(table, symbol).unwrap_or_default();
        let name = [name, b"@plt".as_slice()].concat();
        Some(Stub { name, start: section.address + header + index * SIZE })
    }

    fn name(&self, table: u32, symbol: u64) -> Option<&'d [u8]> {
        let table = self.elf.sections.get(table as usize)?;
        let strings = self.elf.sections.get(table.link as usize)?.data;
        let row = usize::try_from(symbol).ok()?.checked_mul(if self.elf.wide { 24 } else { 16 })?;
        let name = number(table.data.get(row..)?.get(..4)?, self.elf.big);
        let name = strings.get(usize::try_from(name).ok()?..)?;
        let name = name.get(..name.find_byte(0)?)?;
        (!name.is_empty()).then_some(name)
    }
}

/// The section of stubs that holds `address`.
pub(super) fn section<'e, 'd>(elf: &'e Elf<'d>, address: u64) -> Option<&'e Section<'d>> {
    elf.sections.iter().find(|section| {
        (section.name.starts_with(b".plt") || section.name == b".iplt")
            && address.checked_sub(section.address).is_some_and(|into| into < section.size)
    })
}

/// The target of a stub's instructions.
enum Target {
    /// The slot of the GOT at this address.
    Slot(u64),
    /// The relocation of `.rela.plt` at this index.
    Index(u64),
}

fn target(elf: &Elf<'_>, code: &[u8], start: u64) -> Option<Target> {
    let word = |at: usize| Some(u32::from_le_bytes(*code.get(at..)?.first_chunk::<4>()?));
    if elf.machine == elf::EM_X86_64.0 || elf.machine == elf::EM_386.0 {
        // endbr64 or endbr32 if indirect branches are tracked, bnd if bounds are.
        let mut at = if matches!(code, [0xf3, 0x0f, 0x1e, 0xfa | 0xfb, ..]) { 4 } else { 0 };
        at += usize::from(code.get(at) == Some(&0xf2));
        return match (code.get(at)?, code.get(at + 1)?) {
            (0xff, 0x25) if elf.machine == elf::EM_X86_64.0 => {
                let next = start.wrapping_add(at as u64 + 6);
                Some(Target::Slot(next.wrapping_add(word(at + 2)? as i32 as u64)))
            }
            (0xff, 0x25) => Some(Target::Slot(word(at + 2)?.into())),
            (0xff, 0xa3) => {
                let got = elf.section(b".got.plt").or_else(|| elf.section(b".got"))?.address;
                Some(Target::Slot(got.wrapping_add(word(at + 2)? as i32 as u64) & 0xffff_ffff))
            }
            // `push index` is in a lazy stub, whose jump is in .plt.sec. i386 pushes the offset in
            // bytes.
            (0x68, _) if elf.machine == elf::EM_X86_64.0 => {
                Some(Target::Index(word(at + 1)?.into()))
            }
            (0x68, _) => Some(Target::Index(u64::from(word(at + 1)?) / 8)),
            _ => None,
        };
    }
    if elf.machine == elf::EM_AARCH64.0 {
        // bti c if branch targets are marked; then adrp x16, page; ldr x17, [x16, offset].
        let at = if word(0)? == 0xd503_245f { 4 } else { 0 };
        let adrp = word(at)?;
        let ldr = word(at + 4)?;
        if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
            return None;
        }
        let pages = (u64::from(adrp >> 5 & 0x7_ffff) << 2) | u64::from(adrp >> 29 & 3);
        let pages = ((pages << 43) as i64 >> 43) as u64;
        let page = (start.wrapping_add(at as u64) & !0xfff).wrapping_add(pages << 12);
        return Some(Target::Slot(page.wrapping_add(u64::from(ldr >> 10 & 0xfff) * 8)));
    }
    None
}
