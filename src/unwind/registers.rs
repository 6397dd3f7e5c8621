//! The registers of a frame, by the numbers that DWARF gives them.
//!
//! After a signal's handler, the kernel restores the registers of the interrupted code from the
//! stack. glibc describes that in its tables, but musl does not, so [`Registers::interrupted`]
//! reads them. Source: `struct rt_sigframe` (its return address is popped by then) and `struct
//! sigcontext` in `arch/x86/include/uapi/asm/sigcontext.h`.

use gimli::Register;

use crate::perf_data::RawSample;

/// An architecture whose stacks can be unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    /// A 32-bit program on x86-64.
    X86,
    Aarch64,
}

impl Machine {
    /// From `uname -m`. A stream does not say it, so then this machine's is used.
    pub(crate) fn of(arch: Option<&str>) -> Option<Machine> {
        match arch.unwrap_or(std::env::consts::ARCH) {
            "x86_64" => Some(Machine::X86_64),
            "aarch64" => Some(Machine::Aarch64),
            _ => None,
        }
    }

    /// DWARF's number of a register of `enum perf_event_x86_regs` or `perf_event_arm_regs`.
    fn dwarf(self, perf: u32) -> Option<Register> {
        Some(Register(match (self, perf) {
            // perf's order is a, b, c, d, si, di, bp, sp, ip. DWARF has d, c, b after a.
            (Machine::X86_64, 0..=8) => [0, 3, 2, 1, 4, 5, 6, 7, 16][perf as usize],
            (Machine::X86_64, 16..=23) => perf as u16 - 8,
            // The psABI of i386 has a, c, d, b, sp, bp, si, di, ip.
            (Machine::X86, 0..=8) => [0, 3, 1, 2, 6, 7, 5, 4, 8][perf as usize],
            (Machine::Aarch64, 0..=32) => perf as u16,
            _ => return None,
        }))
    }

    pub(crate) fn ip(self) -> Register {
        Register(match self {
            Machine::X86_64 => 16,
            Machine::X86 => 8,
            Machine::Aarch64 => 32,
        })
    }

    pub(crate) fn sp(self) -> Register {
        Register(match self {
            Machine::X86_64 => 7,
            Machine::X86 => 4,
            Machine::Aarch64 => 31,
        })
    }

    pub(crate) fn fp(self) -> Register {
        Register(match self {
            Machine::X86_64 => 6,
            Machine::X86 => 5,
            Machine::Aarch64 => 29,
        })
    }

    /// The size of an address in bytes.
    pub(crate) fn word(self) -> u64 {
        if self == Machine::X86 { 4 } else { 8 }
    }

    /// An address from the first of these eight bytes.
    pub(crate) fn narrow(self, bytes: u64) -> u64 {
        if self == Machine::X86 { bytes & 0xffff_ffff } else { bytes }
    }

    /// Removes the signature (`paciasp`) from the upper bits of an address.
    pub(crate) fn plain(self, address: u64) -> u64 {
        if self == Machine::Aarch64 { address & 0xffff_ffff_ffff } else { address }
    }
}

/// The link register of AArch64.
pub(crate) const LINK: Register = Register(30);

/// The registers of a frame, by DWARF's numbers.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub(crate) machine: Machine,
    values: [u64; 33],
    /// The bits of the registers that have a value.
    known: u64,
}

impl Registers {
    /// Registers without values.
    pub(crate) fn new(machine: Machine) -> Registers {
        Registers { machine, values: [0; 33], known: 0 }
    }

    /// The registers of `sample`. `None` if it lacks those that unwinding needs.
    pub(crate) fn of(machine: Machine, sample: &RawSample<'_>) -> Option<Registers> {
        const ABI_32: u64 = 1;
        const ABI_64: u64 = 2;
        let recorded = sample.regs_user?;
        let machine = match (recorded.abi, machine) {
            (ABI_64, machine) => machine,
            (ABI_32, Machine::X86_64) => Machine::X86,
            _ => return None,
        };
        let mut registers = Registers::new(machine);
        let numbers = (0..64).filter(|number| recorded.mask >> number & 1 == 1);
        for (number, value) in numbers.zip(recorded.values.iter()) {
            if let Some(register) = machine.dwarf(number) {
                registers.set(register, Some(value));
            }
        }
        registers.get(machine.ip())?;
        registers.get(machine.sp())?;
        Some(registers)
    }

    /// The registers of the code that a signal interrupted on x86-64. These registers are those of
    /// the code that the signal's handler returns to. `None` if the stack does not hold the others.
    pub(super) fn interrupted(&self, word: impl Fn(u64) -> Option<u64>) -> Option<Registers> {
        /// Where the context holds the registers: behind `uc_flags`, `uc_link` and `uc_stack`.
        const REGISTERS: u64 = 40;
        /// DWARF's numbers of r8 to r15, di, si, bp, bx, dx, ax, cx, sp, ip.
        const ORDER: [u16; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];
        let mut interrupted = *self;
        let places = (0..).map(|at| self.sp().wrapping_add(REGISTERS + at * 8));
        for (number, place) in ORDER.into_iter().zip(places) {
            interrupted.set(Register(number), Some(word(place)?));
        }
        Some(interrupted)
    }

    pub(crate) fn get(&self, register: Register) -> Option<u64> {
        let value = *self.values.get(usize::from(register.0))?;
        (self.known >> register.0 & 1 == 1).then_some(value)
    }

    pub(crate) fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(slot) = self.values.get_mut(usize::from(register.0)) {
            *slot = value.unwrap_or(0);
            self.known = self.known & !(1 << register.0) | u64::from(value.is_some()) << register.0;
        }
    }

    pub(crate) fn ip(&self) -> u64 {
        self.get(self.machine.ip()).unwrap_or(0)
    }

    pub(crate) fn sp(&self) -> u64 {
        self.get(self.machine.sp()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_holds_all_registers() {
        let mut registers = Registers::new(Machine::X86_64);
        registers.set(Register(7), Some(0x7000));
        // Each place holds its distance from the context's start.
        let found = registers.interrupted(|place| place.checked_sub(0x7000)).unwrap();
        let value = |number| found.get(Register(number)).unwrap();
        // The offsetof() of uc_mcontext.gregs[REG_R8], [REG_RBP], [REG_RSP] and [REG_RIP].
        assert_eq!([8, 6, 7, 16].map(value), [40, 120, 160, 168]);
        assert!(registers.interrupted(|place| (place < 0x7050).then_some(1)).is_none());
    }
}
