//! What a signal's handler returns to, on x86-64: code that asks the kernel for the registers of where the thread was.
//!
//! glibc describes it in its tables, musl does not. Source: `struct rt_sigframe`, of which the
//! handler's return address is gone, and `struct sigcontext` in
//! `arch/x86/include/uapi/asm/sigcontext.h`.

use gimli::Register;

use super::registers::Registers;

/// Where the context holds the registers: behind `uc_flags`, `uc_link` and `uc_stack`.
const REGISTERS: u64 = 40;
/// Which are there, as DWARF numbers them: r8 to r15, di, si, bp, bx, dx, ax, cx, sp, ip.
const ORDER: [u16; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];

/// The registers of where the thread was, given those in such code; `None` if the stack does not hold them.
pub(super) fn interrupted(
    registers: &Registers,
    word: impl Fn(u64) -> Option<u64>,
) -> Option<Registers> {
    let mut interrupted = *registers;
    let places = (0..).map(|at| registers.sp().wrapping_add(REGISTERS + at * 8));
    for (number, place) in ORDER.into_iter().zip(places) {
        interrupted.set(Register(number), Some(word(place)?));
    }
    Some(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::registers::Machine;

    #[test]
    fn a_context_holds_all_registers() {
        let mut registers = Registers::new(Machine::X86_64);
        registers.set(Register(7), Some(0x7000));
        // Each place holds its distance from the context's start.
        let found = interrupted(&registers, |place| place.checked_sub(0x7000)).unwrap();
        let value = |number| found.get(Register(number)).unwrap();
        // As offsetof() has them: uc_mcontext.gregs[REG_R8, REG_RBP, REG_RSP, REG_RIP].
        assert_eq!([8, 6, 7, 16].map(value), [40, 120, 160, 168]);
        assert!(interrupted(&registers, |place| (place < 0x7050).then_some(1)).is_none());
    }
}
