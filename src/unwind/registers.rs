//! The registers of a frame, by the numbers that DWARF gives them.

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
    /// By `uname -m`; a stream does not tell, so it is this machine's.
    pub(crate) fn of(arch: Option<&str>) -> Option<Machine> {
        match arch.unwrap_or(std::env::consts::ARCH) {
            "x86_64" => Some(Machine::X86_64),
            "aarch64" => Some(Machine::Aarch64),
            _ => None,
        }
    }

    /// The number that DWARF gives to a register of `enum perf_event_x86_regs` or `perf_event_arm_regs`.
    fn dwarf(self, perf: u32) -> Option<Register> {
        Some(Register(match (self, perf) {
            // Of a, b, c, d, si, di, bp, sp, ip: DWARF has d, c, b after a.
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

    /// The bytes of an address.
    pub(crate) fn word(self) -> u64 {
        if self == Machine::X86 { 4 } else { 8 }
    }

    /// The word at the start of eight bytes.
    pub(crate) fn narrow(self, bytes: u64) -> u64 {
        if self == Machine::X86 { bytes & 0xffff_ffff } else { bytes }
    }

    /// The address in a register: the upper bits may be a signature (`paciasp`).
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
    /// Bits of those that have a value.
    known: u64,
}

impl Registers {
    /// None known yet.
    pub(crate) fn new(machine: Machine) -> Registers {
        Registers { machine, values: [0; 33], known: 0 }
    }

    /// Those of `sample`, if it has what unwinding needs.
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
