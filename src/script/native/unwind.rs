//! User stacks out of registers and the bytes of the stack: a step for each frame, by the module's call frame information.
//!
//! All registers are followed, as code of the dynamic linker and signal trampolines keep the frame's address elsewhere than in the
//! stack and frame pointers. Code that nothing is said of, such as a JIT's, is hoped to keep frame pointers.

use gimli::{CfaRule, RegisterRule};

use crate::symbols::{Loader, ends_in_call};

use super::address::At;
use super::cfi::{Cfi, Row};
use super::memory::{Memory, Stack};
use super::modules::{Hit, Modules};
use super::registers::{LINK, Machine, Registers};
use super::signal;
use super::spaces::{Found, Space};

/// Where a step led.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Caller,
    /// There is none: a thread began here, the tables say, or the program.
    Root,
    /// There is none, a zero says, which is in its address's place.
    Zero,
    /// There is one, but it was not found: mostly the copy of the stack ends before.
    Lost,
}

/// How far a stack was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To the root for certain, as [`Step::Root`] is; where the stack pointer was there.
    Root(u64),
    /// To where a thread may begin.
    Likely,
    /// Not as far as that.
    Lost,
}

/// Unwinds the stacks of one process.
pub(super) struct Unwinder<'a> {
    pub(super) pid: u32,
    pub(super) space: &'a mut Space,
    pub(super) modules: &'a mut Modules,
    pub(super) loader: &'a Loader,
    /// That of the processes, if they still run.
    pub(super) memory: Option<&'a Memory>,
    /// Lose stacks as perf 6.1 does: in epilogues, as what was restored already is not known, and in code that nothing is mapped to
    /// or said of.
    pub(super) as_perf: bool,
}

/// Deeper stacks are endless recursion, or an endless loop in broken tables.
const DEEPEST: usize = 100_000;

impl Unwinder<'_> {
    /// Appends the frames from `registers` to the root, given the bytes from the stack pointer up. What was read elsewhere than in those
    /// bytes counts only if the root was reached: it may have changed since.
    pub(super) fn unwind(
        mut self,
        registers: &Registers,
        stack: &[u8],
        frames: &mut Vec<At>,
    ) -> End {
        let memory = self.memory;
        memory.into_iter().for_each(|memory| memory.begin(self.pid));
        let machine = registers.machine;
        let stack = Stack { machine, start: registers.sp(), bytes: stack, memory };
        // How many frames the copy told.
        let mut copied = None;
        let mut registers = *registers;
        // Where a thread was, and where it was interrupted by a signal; anything else is a return address.
        let mut exact = true;
        frames.push(At::exact(registers.ip()));
        // Inside execve the old program's registers are still there, but its stack is the new one's.
        if self.find(registers.ip()).map_or(stack.bytes.is_empty(), |found| found.is_gone) {
            return End::Likely;
        }
        for _ in 0..DEEPEST {
            let step = self.step(&mut registers, &mut exact, stack);
            if copied.is_none() && memory.is_some_and(Memory::was_read) {
                copied = Some(frames.len());
            }
            match step {
                // As perf prints them: the call, not what follows it.
                Step::Caller => frames.push(At::exact(registers.ip() - u64::from(!exact))),
                Step::Root => return End::Root(registers.sp()),
                // Memory that has changed is full of zeros.
                Step::Zero if copied.is_none() => return End::Likely,
                Step::Zero | Step::Lost => break,
            }
        }
        frames.truncate(copied.unwrap_or(frames.len()));
        End::Lost
    }

    /// Makes the registers those of the caller.
    fn step(&mut self, registers: &mut Registers, exact: &mut bool, stack: Stack<'_>) -> Step {
        let was_exact = std::mem::replace(exact, false);
        let lookup = registers.ip().wrapping_sub(u64::from(!was_exact));
        let Some(found) = self.find(lookup) else {
            return if self.as_perf { Step::Lost } else { registers.follow_frame_pointer(stack) };
        };
        let cfi = self.modules.cfi(found.hit.module).zip(found.hit.bias);
        let Some((cfi, bias)) = cfi else { return self.leave_unknown(registers, stack) };
        let in_file = lookup.wrapping_sub(bias);
        let Some(row) = cfi.row(in_file) else {
            if self.as_perf {
                return registers.follow_frame_pointer(stack);
            }
            if cfi.file().is_entered_at(in_file) {
                return Step::Root;
            }
            return self.leave_untold(registers, exact, was_exact, found, stack);
        };
        let (cfi, row, here) = (&*cfi, cfi.get(row), *registers);
        *exact = row.is_signal;
        let step = registers.follow(cfi, row, was_exact, stack, self.as_perf);
        if was_exact && !self.as_perf { self.doubt(step, registers, here, stack) } else { step }
    }

    /// Another way out of `here`, if the tables led to where nothing is: glibc's memcpy for i386 pushes a register that they do not know
    /// of, and that seems to be the return address then.
    fn doubt(
        &mut self,
        step: Step,
        registers: &mut Registers,
        here: Registers,
        stack: Stack<'_>,
    ) -> Step {
        let to = registers.get(registers.machine.ip());
        let is_right = match (&step, to) {
            (Step::Root, _) | (_, None) => true,
            (Step::Caller, Some(to)) => self.find(to).is_some(),
            (Step::Zero | Step::Lost, Some(_)) => false,
        };
        if is_right || here.machine == Machine::Aarch64 {
            return step;
        }
        let mut other = here;
        let Some(found) = self.leave_by_call(&mut other, stack) else { return step };
        *registers = other;
        found
    }

    /// Steps out of code whose module has no file: what a JIT made, or a 32-bit program's vdso, which is not ours.
    fn leave_unknown(&mut self, registers: &mut Registers, stack: Stack<'_>) -> Step {
        let by_call = match registers.machine {
            Machine::X86 => self.leave_by_call(registers, stack),
            _ => None,
        };
        by_call.unwrap_or_else(|| registers.follow_frame_pointer(stack))
    }

    /// Steps out of code that its module says nothing of: assembler, stubs, `_init`.
    fn leave_untold(
        &mut self,
        registers: &mut Registers,
        exact: &mut bool,
        was_exact: bool,
        found: Found,
        stack: Stack<'_>,
    ) -> Step {
        match registers.machine {
            Machine::X86_64 => {}
            Machine::X86 => return self.leave_unknown(registers, stack),
            Machine::Aarch64 => {
                let link = registers.get(LINK).filter(|_| was_exact);
                return match link {
                    Some(address) => registers.arrive(*registers, address),
                    None => registers.follow_frame_pointer(stack),
                };
            }
        }
        if self.is_signal_return(registers.ip())
            && let Some(interrupted) = signal::interrupted(registers, |place| stack.word(place))
        {
            *exact = true;
            let here = std::mem::replace(registers, interrupted);
            return registers.arrive(here, interrupted.ip());
        }
        self.leave_by_code(registers, was_exact, found, stack)
            .or_else(|| self.leave_by_call(registers, stack))
            .unwrap_or_else(|| registers.follow_frame_pointer(stack))
    }

    /// By what the code does until it returns, if that leads to behind a call.
    fn leave_by_code(
        &mut self,
        registers: &mut Registers,
        exact: bool,
        found: Found,
        stack: Stack<'_>,
    ) -> Option<Step> {
        let Hit { module, bias, .. } = found.hit;
        let address = registers.ip().wrapping_sub(bias?);
        for exit in self.modules.cfi(module)?.exits(address) {
            let cfi = self.modules.cfi(module)?;
            let mut caller = *registers;
            let step = caller.follow(cfi, cfi.get(exit), exact, stack, false);
            let ip = caller.ip();
            if step == Step::Caller && (self.call(ip).is_some() || self.is_signal_return(ip)) {
                *registers = caller;
                return Some(step);
            }
        }
        None
    }

    /// By a return address that is at hand: `_init` makes room for a word to keep the stack aligned. It lies in code that its module says
    /// something of, or where the thread started: what musl calls `main` and a thread's first function by never returns.
    fn leave_by_call(&mut self, registers: &mut Registers, stack: Stack<'_>) -> Option<Step> {
        const NEAR: u64 = 4;
        const NEAR_START: u64 = 8;
        let mut is_sure = |word: u64, address| {
            let Some((cfi, call)) = self.call(address) else { return false };
            word < NEAR && cfi.row(call).is_some() || cfi.file().starts_thread(call)
        };
        let place = |word| registers.sp().wrapping_add(word * registers.machine.word());
        let (word, address) = (0..NEAR_START)
            .map_while(|word| Some((word, stack.copied(place(word))?)))
            .find(|&(word, address)| is_sure(word, address))?;
        let here = *registers;
        registers.set(here.machine.sp(), Some(place(word + 1)));
        Some(registers.arrive(here, address))
    }

    /// Where the call that ends at `address` is in the file of its module, if one does.
    fn call(&mut self, address: u64) -> Option<(&mut Cfi, u64)> {
        let call = address.wrapping_sub(1);
        let found = self.find(call)?;
        let (cfi, bias) = self.modules.cfi(found.hit.module).zip(found.hit.bias)?;
        let is_call = ends_in_call(cfi.file().bytes(), found.in_file.wrapping_add(1));
        is_call.then(|| (cfi, call.wrapping_sub(bias)))
    }

    /// Whether a signal's handler returns to `address`.
    fn is_signal_return(&mut self, address: u64) -> bool {
        let Some(Hit { module, bias: Some(bias), .. }) = self.find(address).map(|found| found.hit)
        else {
            return false;
        };
        let file = self.modules.get(module).file.as_ref();
        file.and_then(|file| file.code_at(address.wrapping_sub(bias)))
            .is_some_and(signal::is_return)
    }

    fn find(&mut self, address: u64) -> Option<Found> {
        self.space.find(self.pid, address, self.modules, self.loader)
    }
}

impl Registers {
    fn follow(
        &mut self,
        cfi: &Cfi,
        row: &Row,
        exact: bool,
        stack: Stack<'_>,
        as_perf: bool,
    ) -> Step {
        let here = *self;
        let word = |address| stack.word(address);
        let evaluate =
            |code, initial| cfi.evaluate(row, code, initial, |register| here.get(register), word);
        let cfa = match &row.cfa {
            CfaRule::RegisterAndOffset { register, offset } => {
                here.get(*register).map(|base| base.wrapping_add_signed(*offset))
            }
            CfaRule::Expression(code) => evaluate(code, None),
        };
        let Some(cfa) = cfa else { return Step::Lost };
        self.set(self.machine.sp(), Some(cfa));
        let mut tells_return = false;
        for (register, rule) in &row.registers {
            let value = match rule {
                RegisterRule::SameValue => here.get(*register),
                RegisterRule::Offset(offset) => {
                    let address = cfa.wrapping_add_signed(*offset);
                    // Epilogues do not say that a register was restored, though its place is free, and not copied, by then.
                    let is_restored = exact && address < here.sp() && !as_perf;
                    word(address).or_else(|| here.get(*register).filter(|_| is_restored))
                }
                RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                RegisterRule::Register(other) => here.get(*other),
                RegisterRule::Expression(code) => evaluate(code, Some(cfa)).and_then(word),
                RegisterRule::ValExpression(code) => evaluate(code, Some(cfa)),
                RegisterRule::Constant(value) => Some(*value),
                _ => None,
            };
            if *register == row.return_address {
                tells_return = !matches!(rule, RegisterRule::Undefined);
            }
            self.set(*register, value);
        }
        // On AArch64 a leaf's return address is still in its register, and nothing is said of it.
        if !tells_return && (!exact || row.return_address == self.machine.ip()) {
            return Step::Root;
        }
        let moves = self.sp() > here.sp() || exact || row.is_signal;
        match self.get(row.return_address) {
            Some(address) if moves => self.arrive(here, address),
            _ => Step::Lost,
        }
    }

    /// The caller of code that keeps frame pointers: `[fp]` is the caller's, its return address lies behind.
    fn follow_frame_pointer(&mut self, stack: Stack<'_>) -> Step {
        let here = *self;
        let Some(fp) = here.get(self.machine.fp()) else { return Step::Lost };
        if fp == 0 {
            return Step::Zero;
        }
        let size = self.machine.word();
        let behind = fp.wrapping_add(size);
        let (Some(next), Some(address)) = (stack.copied(fp), stack.copied(behind)) else {
            return Step::Lost;
        };
        if behind < here.sp() {
            return Step::Lost;
        }
        self.set(self.machine.fp(), Some(next));
        self.set(self.machine.sp(), Some(behind.wrapping_add(size)));
        self.arrive(here, address)
    }

    /// The caller was found to be at `address`.
    fn arrive(&mut self, from: Registers, address: u64) -> Step {
        // The first page is never mapped, and the upper half is the kernel's.
        const CODE: std::ops::Range<u64> = 0x1000..1 << 56;
        let address = self.machine.plain(address);
        self.set(self.machine.ip(), Some(address));
        match address {
            0 => Step::Zero,
            address if !CODE.contains(&address) => Step::Lost,
            address if address == from.ip() && self.sp() == from.sp() => Step::Lost,
            _ => Step::Caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Config;

    /// Unwinds a stack of words in a process of which nothing is known.
    fn unwind(machine: Machine, ip: u64, fp: u64, words: &[u64]) -> (Vec<u64>, bool) {
        let mut registers = Registers::new(machine);
        let given = [(machine.ip(), ip), (machine.sp(), 0x7000), (machine.fp(), fp)];
        given.iter().for_each(|&(register, value)| registers.set(register, Some(value)));
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (mut space, mut modules) = (Space::default(), Modules::default());
        let loader = Loader::new(Config::default());
        let (space, modules) = (&mut space, &mut modules);
        let unwinder =
            Unwinder { pid: 1, space, modules, loader: &loader, memory: None, as_perf: false };
        let mut frames = Vec::new();
        let end = unwinder.unwind(&registers, &stack, &mut frames);
        (frames.into_iter().map(|at| at.address).collect(), end != End::Lost)
    }

    #[test]
    fn code_of_which_nothing_is_said_has_frame_pointers() {
        let words = [1, 2, 0x7020, 0x5001, 0, 0x6001, 3];
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let whole = vec![0x4000, 0x5000, 0x6000];
            assert_eq!(unwind(machine, 0x4000, 0x7010, &words), (whole, true));
            // The copy ends before the root; frame pointers that lead back; what is no address of code.
            assert_eq!(unwind(machine, 0x4000, 0x7010, &words[..5]), (vec![0x4000, 0x5000], false));
            let back = [1, 2, 0x7000, 0x5001];
            assert_eq!(unwind(machine, 0x4000, 0x7010, &back).0.len(), 2);
            assert_eq!(unwind(machine, 0x4000, 0x7010, &[1, 2, 0, 7]), (vec![0x4000], false));
        }
    }

    #[test]
    fn signatures_are_no_part_of_an_address() {
        let words = [0, 0x00e5_ffff_9000_1001];
        let (frames, complete) = unwind(Machine::Aarch64, 0x4000, 0x7000, &words);
        assert_eq!((frames, complete), (vec![0x4000, 0xffff_9000_1000], true));
    }

    #[test]
    fn an_emptied_stack_of_unknown_code_is_that_of_an_exec() {
        assert_eq!(unwind(Machine::X86_64, 0x4000, 0x7000, &[]), (vec![0x4000], true));
    }
}
