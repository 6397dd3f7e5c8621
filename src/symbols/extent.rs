//! Finds the end of a symbol without a size in a stripped file, which has only the symbols of
//! `.dynsym`.
//!
//! In a full table such a symbol ends where the next one starts. In `.dynsym` the next one may be
//! 200 KB away, and all code in between would get the wrong name. For example, x264 exports a few
//! functions of assembler and hides the others behind them. Two other facts show the end: the next
//! function in `.eh_frame_hdr`, and the last return in the code.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use object::elf::{EM_386, EM_X86_64};

use super::elf::Elf;

/// The most bytes of a function. Longer ones are cut.
const LONGEST: usize = 1 << 16;

/// An unconditional jump that is longer may lead to another function. A conditional one stays in
/// its function.
const LONGEST_JUMP: u64 = 1 << 10;

/// Where the function at `start` ends, in the file's own address space; `u64::MAX` if that is not
/// known.
pub(super) fn end_of(elf: &Elf<'_>, start: u64) -> u64 {
    let code = || {
        let holds = |address: u64, size: u64| start.checked_sub(address).filter(|at| *at < size);
        let section = elf.sections.iter().find(|section| {
            !section.data.is_empty()
                && section.address > 0
                && holds(section.address, section.size).is_some()
        })?;
        section.data.get(usize::try_from(start - section.address).ok()?..)
    };
    let by_code = match elf.machine {
        machine if machine == EM_X86_64.0 => code().and_then(|code| length(64, code)),
        machine if machine == EM_386.0 => code().and_then(|code| length(32, code)),
        _ => None,
    };
    let by_code = by_code.map_or(u64::MAX, |length| start.saturating_add(length));
    by_code.min(next_listed(elf, start).unwrap_or(u64::MAX))
}

/// The length of the function at the start of `code`: up to an instruction after which it does not
/// continue, behind all targets of its jumps.
fn length(bits: u32, code: &[u8]) -> Option<u64> {
    let code = code.get(..LONGEST).unwrap_or(code);
    let mut farthest = 0;
    for instruction in Decoder::new(bits, code, DecoderOptions::NONE).into_iter() {
        let here = instruction.ip();
        let next = instruction.next_ip();
        if instruction.is_invalid() {
            return Some(here);
        }
        let target = forward(&instruction);
        let goes_on = match instruction.flow_control() {
            FlowControl::ConditionalBranch => {
                farthest = farthest.max(target.unwrap_or(0));
                true
            }
            FlowControl::UnconditionalBranch => {
                farthest = farthest.max(target.filter(|to| to - here < LONGEST_JUMP).unwrap_or(0));
                false
            }
            FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => false,
            _ => true,
        };
        if !goes_on && farthest < next {
            return Some(next);
        }
    }
    Some(code.len() as u64)
}

/// The target of a jump that leads forward.
fn forward(instruction: &Instruction) -> Option<u64> {
    Some(instruction.near_branch_target())
        .filter(|&target| target > instruction.ip() && target < LONGEST as u64)
}

/// The next function behind `start` in the linker's table of functions.
/// Format: the Linux Standard Base, "The .eh_frame_hdr section".
fn next_listed(elf: &Elf<'_>, start: u64) -> Option<u64> {
    /// The encodings that all linkers use: numbers of four bytes, in the table relative to the
    /// section.
    const ENCODINGS: [u8; 3] = [0x1b, 0x03, 0x3b];
    const HEADER: usize = 12;
    let section = elf.section(b".eh_frame_hdr")?;
    if elf.big || section.data.get(1..4)? != ENCODINGS {
        return None;
    }
    let table = section.data.get(HEADER..)?.as_chunks::<8>().0;
    let address = |entry: &[u8; 8]| {
        let [a, b, c, d, ..] = *entry;
        section.address.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into())
    };
    let behind = table.partition_point(|entry| address(entry) <= start);
    table.get(behind).map(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_end_behind_their_last_return() {
        for (code, long) in [
            // ret; nop
            (&[0xc3, 0x90][..], 1),
            // je +1; ret; nop; ret; nop
            (&[0x74, 0x01, 0xc3, 0x90, 0xc3, 0x90], 5),
            // dec %ecx; jne back; ret; ret of another
            (&[0xff, 0xc9, 0x75, 0xfc, 0xc3, 0xc3], 5),
            // jmp over a return: its target belongs to the function
            (&[0xeb, 0x01, 0xc3, 0x90, 0xc3, 0xc3], 5),
            // jmp to another function far away
            (&[0xe9, 0, 0x10, 0, 0, 0x90], 5),
            // jmp *%rax
            (&[0xff, 0xe0, 0x90], 2),
            // The whole code, if it does not end.
            (&[0x90, 0x90, 0x90], 3),
            (&[], 0),
        ] {
            assert_eq!(length(64, code), Some(long), "{code:x?}");
        }
    }
}
