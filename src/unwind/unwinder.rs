//! User stacks out of registers and the bytes of the stack, a step for each frame, by the module's
//! call frame information.
//!
//! All registers are followed, because code of the dynamic linker and signal trampolines keep the
//! frame's address elsewhere than in the stack and frame pointers. Code that no table describes is
//! left as its instructions say. If they are not known either, it may have kept a frame pointer.
//!
//! A caller is believed only if a call ends at its return address, or if something else is known to
//! have put that address there.

use std::sync::Arc;

use crate::symbols::{Loader, ends_in_call};

use super::address::At;
use super::address_space::{Found, Parts, Space, Spaces};
use super::cfi::Cfi;
use super::made::{Made, Source, Way};
use super::memory::{Memory, Stack};
use super::modules::{Hit, Modules};
use super::registers::{LINK, Machine, Registers};
use super::row::Step;
use super::signal;

/// How far a stack was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// To the root for certain, as [`Step::Root`] is; where the stack pointer was there.
    Root(u64),
    /// To where a thread or a coroutine may begin.
    Likely,
    /// Not as far as that.
    Lost,
}

/// Unwinds the stacks of one process.
pub(crate) struct Unwinder<'a> {
    pub(crate) pid: u32,
    pub(crate) space: &'a mut Space,
    pub(crate) modules: &'a mut Modules,
    pub(super) made: &'a mut Made,
    pub(crate) loader: &'a Loader,
    /// The memory of the processes, if they still run.
    pub(super) memory: Option<&'a Memory>,
    /// When the sample was taken, by the clock of jitdumps, if that is known.
    pub(crate) time: Option<u64>,
    /// Lose stacks as perf 6.1 does: in epilogues, as what was restored already is not known, and
    /// in code that nothing is mapped to or said of.
    pub(crate) as_perf: bool,
}

/// Deeper stacks are endless recursion, or an endless loop in broken tables.
const DEEPEST: usize = 100_000;

/// Where a step begins.
#[derive(Clone, Copy)]
struct Spot {
    /// What lies there.
    found: Option<Found>,
    /// The thread was there. If not, it will return there.
    exact: bool,
    /// No call put this return address on the stack: a coroutine returns there, or a signal's
    /// handler.
    is_entry: bool,
}

impl Unwinder<'_> {
    /// Appends the frames from `registers` to the root, given the bytes from the stack pointer up.
    /// What was read elsewhere than in those bytes counts only if the root was reached: it may have
    /// changed since.
    pub(crate) fn unwind(
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
        let mut spot = self.exactly(registers.ip());
        frames.push(At::exact(registers.ip()));
        // Inside execve the old program's registers are still there, but its stack is the new
        // one's.
        if spot.found.map_or(stack.bytes.is_empty(), |found| found.is_gone) {
            return End::Likely;
        }
        for _ in 0..DEEPEST {
            let step = self.step(&mut registers, &mut spot, stack);
            if copied.is_none() && memory.is_some_and(Memory::was_read) {
                copied = Some(frames.len());
            }
            match step {
                Step::Caller if spot.exact => frames.push(At::exact(registers.ip())),
                Step::Caller => frames.push(At::call(registers.ip())),
                Step::Root => return End::Root(registers.sp()),
                // Memory that has changed is full of zeros.
                Step::Zero | Step::Began if copied.is_none() => return End::Likely,
                Step::Zero | Step::Began | Step::Lost => break,
            }
        }
        frames.truncate(copied.unwrap_or(frames.len()));
        End::Lost
    }

    /// Makes the registers, and the spot, those of the caller.
    fn step(&mut self, registers: &mut Registers, spot: &mut Spot, stack: Stack<'_>) -> Step {
        let Some(found) = spot.found else {
            return if self.as_perf {
                Step::Lost
            } else {
                self.leave_unknown(registers, spot, stack)
            };
        };
        let cfi = self.modules.cfi(found.hit.module).zip(found.hit.bias);
        let Some((cfi, bias)) = cfi else { return self.leave_unknown(registers, spot, stack) };
        let in_file = spot.lookup(registers).wrapping_sub(bias);
        let Some(row) = cfi.row(in_file) else {
            if self.as_perf {
                let step = registers.follow_frame_pointer(stack);
                *spot = self.called(registers.ip());
                return step;
            }
            if cfi.file().is_entered_at(in_file) {
                return Step::Root;
            }
            return self.leave_untold(registers, spot, found, stack);
        };
        let row = cfi.get(row);
        let is_signal = row.is_signal;
        if row.switches && !self.as_perf {
            return Step::Began;
        }
        let here = *registers;
        let step = registers.follow(row, spot.exact && !spot.is_entry, stack, self.as_perf);
        if is_signal && step == Step::Caller {
            *spot = self.exactly(registers.ip());
            return step;
        }
        if self.as_perf {
            *spot = self.called(registers.ip());
            return step;
        }
        match step {
            Step::Caller => {
                if let Some(arrived) = self.arrival(registers) {
                    *spot = arrived;
                    return step;
                }
            }
            Step::Root | Step::Began => return step,
            Step::Zero if spot.is_entry => return Step::Root,
            Step::Zero | Step::Lost => {
                let is_known = registers.get(registers.machine.ip()).is_some();
                let may_be_wrong = spot.is_entry || spot.exact && is_known;
                if !may_be_wrong {
                    return step;
                }
            }
        }
        if spot.is_entry {
            return Step::Began;
        }
        // The tables led to where no caller is: glibc's memcpy for i386 pushes a register that they
        // do not know of, and that seems to be the return address then.
        *registers = here;
        let other = match here.machine {
            Machine::X86_64 => self.leave_by_code(registers, spot, found, stack, false),
            Machine::X86 => None,
            Machine::Aarch64 => return step,
        };
        let exact = spot.exact;
        let other = other.or_else(|| exact.then(|| self.leave_by_call(registers, spot, stack))?);
        other.unwrap_or(if step == Step::Zero { step } else { Step::Lost })
    }

    /// Steps out of code whose module has no file: what a JIT made, or a 32-bit program's vdso,
    /// which is not ours.
    fn leave_unknown(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        stack: Stack<'_>,
    ) -> Step {
        let here = *registers;
        if self.as_perf || here.machine == Machine::Aarch64 {
            let step = registers.follow_frame_pointer(stack);
            *spot = self.called(registers.ip());
            return step;
        }
        if here.machine == Machine::X86 {
            return self
                .leave_by_call(registers, spot, stack)
                .unwrap_or_else(|| self.leave_by_frame_pointer(registers, spot, stack));
        }
        if let Some(step) = self.leave_made(registers, spot, true, stack) {
            return step;
        }
        let by_frame = self.leave_by_frame_pointer(registers, spot, stack);
        if by_frame != Step::Lost {
            return by_frame;
        }
        *registers = here;
        self.leave_made(registers, spot, false, stack).unwrap_or(Step::Lost)
    }

    /// By the instructions that a JIT made, or what it says of them, if that leads to behind a
    /// call. Ways that return are tried, or those that jump elsewhere.
    fn leave_made(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        returns: bool,
        stack: Stack<'_>,
    ) -> Option<Step> {
        let first = self.leave_made_once(registers, spot, returns, stack);
        if first.is_some() {
            return first;
        }
        let source = source(self.pid, self.memory, self.space, self.time, self.loader);
        let is_new = self.made.renew(source, registers.ip());
        is_new.then(|| self.leave_made_once(registers, spot, returns, stack))?
    }

    fn leave_made_once(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        returns: bool,
        stack: Stack<'_>,
    ) -> Option<Step> {
        let address = spot.lookup(registers);
        for way in
            self.ways(address, registers.ip()).iter().filter(|way| way.row.returns == returns)
        {
            let mut caller = *registers;
            let step = caller.follow(&way.row, spot.exact, stack, false);
            if step == Step::Root {
                return Some(step);
            }
            let arrived = if step == Step::Caller { self.arrival(&caller) } else { None };
            let arrived =
                arrived.filter(|_| way.is_told || self.ends_in_call(caller.ip()) == Some(true));
            if let Some(arrived) = arrived {
                (*registers, *spot) = (caller, arrived);
                return Some(step);
            }
        }
        None
    }

    /// Steps out of code that its module says nothing of: assembler, stubs, `_init`.
    fn leave_untold(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        found: Found,
        stack: Stack<'_>,
    ) -> Step {
        match registers.machine {
            Machine::X86_64 => {}
            Machine::X86 => return self.leave_unknown(registers, spot, stack),
            Machine::Aarch64 => {
                let link = registers.get(LINK).filter(|_| spot.exact);
                let step = match link {
                    Some(address) => registers.arrive(*registers, address),
                    None => registers.follow_frame_pointer(stack),
                };
                *spot = self.called(registers.ip());
                return step;
            }
        }
        if self.is_signal_return(registers.ip())
            && let Some(interrupted) = signal::interrupted(registers, |place| stack.word(place))
        {
            let here = std::mem::replace(registers, interrupted);
            *spot = self.exactly(interrupted.ip());
            return registers.arrive(here, interrupted.ip());
        }
        if spot.is_entry {
            return Step::Began;
        }
        self.leave_by_code(registers, spot, found, stack, true)
            .or_else(|| self.leave_by_call(registers, spot, stack))
            .unwrap_or_else(|| self.leave_by_frame_pointer(registers, spot, stack))
    }

    /// By the frame pointer, if that leads to behind a call.
    fn leave_by_frame_pointer(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        stack: Stack<'_>,
    ) -> Step {
        let here = *registers;
        let step = registers.follow_frame_pointer(stack);
        if step != Step::Caller {
            return step;
        }
        let Some(arrived) = self.arrival(registers) else { return Step::Lost };
        // What is no frame pointer may point to anything.
        let fp = registers.machine.fp();
        let goes_up = registers.get(fp).is_some_and(|next| next == 0 || Some(next) > here.get(fp));
        let is_believed = goes_up || self.ends_in_call(registers.ip()) == Some(true);
        if !is_believed {
            return Step::Lost;
        }
        *spot = arrived;
        step
    }

    /// By what the code does until it returns, or also by what it does until it jumps elsewhere, if
    /// that leads to behind a call.
    fn leave_by_code(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        found: Found,
        stack: Stack<'_>,
        or_jumps: bool,
    ) -> Option<Step> {
        let Hit { module, bias, .. } = found.hit;
        let address = registers.ip().wrapping_sub(bias?);
        for exit in self.modules.cfi(module)?.exits(address) {
            let row = self.modules.cfi(module)?.get(exit);
            if !row.returns && !or_jumps {
                continue;
            }
            let mut caller = *registers;
            let step = caller.follow(row, spot.exact, stack, false);
            let ip = caller.ip();
            let is_sure = step == Step::Caller
                && (self.ends_in_call(ip) == Some(true) || self.is_signal_return(ip));
            if let Some(arrived) = is_sure.then(|| self.arrival(&caller)).flatten() {
                (*registers, *spot) = (caller, arrived);
                return Some(step);
            }
        }
        None
    }

    /// By a return address that is at hand: `_init` makes room for a word to keep the stack
    /// aligned. It lies in code that its module says something of, or where the thread started:
    /// what musl calls `main` and a thread's first function by never returns.
    fn leave_by_call(
        &mut self,
        registers: &mut Registers,
        spot: &mut Spot,
        stack: Stack<'_>,
    ) -> Option<Step> {
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
        *spot = self.called(address);
        Some(registers.arrive(here, address))
    }

    /// Where the call that ends at `address` is in the file of its module, if one does.
    fn call(&mut self, address: u64) -> Option<(&mut Cfi, u64)> {
        let call = address.wrapping_sub(1);
        let found = self.find(call)?;
        let (cfi, bias) = self.modules.cfi(found.hit.module).zip(found.hit.bias)?;
        let before = usize::try_from(found.in_file.wrapping_add(1)).ok();
        let before = before.and_then(|end| cfi.file().bytes().get(..end));
        before.is_some_and(ends_in_call).then(|| (cfi, call.wrapping_sub(bias)))
    }

    /// What is at the address that the registers arrived at; `None` if nothing can return there.
    fn arrival(&mut self, registers: &Registers) -> Option<Spot> {
        let ip = registers.ip();
        let called = self.called(ip);
        if registers.machine == Machine::Aarch64 {
            return Some(called);
        }
        let is_made = called.found.is_some_and(|found| self.is_made(found));
        match self.ends_in_call(ip) {
            Some(true) => Some(called),
            // Java's interpreter pushes where a method shall return to, and jumps there.
            Some(false) if is_made => Some(called),
            Some(false) => {
                let spot = Spot { is_entry: true, ..self.exactly(ip) };
                self.is_entry(ip, &spot).then_some(spot)
            }
            // Something may be there of which the recording does not tell.
            None => (called.found.is_some() || !self.space.is_told()).then_some(called),
        }
    }

    /// Whether no file holds the code that was found.
    fn is_made(&self, found: Found) -> bool {
        self.modules.get(found.hit.module).file.is_none()
    }

    /// Whether a call ends at `address`; `None` if the code before it is not known.
    fn ends_in_call(&mut self, address: u64) -> Option<bool> {
        let found = self.find(address.wrapping_sub(1))?;
        let module = self.modules.get(found.hit.module);
        let Some(file) = &module.file else {
            let source = source(self.pid, self.memory, self.space, self.time, self.loader);
            let is_call = ends_in_call(&self.made.before(source, address)?);
            // Since it was read a JIT may have written it.
            if is_call || !self.made.renew(source, address.wrapping_sub(1)) {
                return Some(is_call);
            }
            return Some(ends_in_call(&self.made.before(source, address)?));
        };
        let end = usize::try_from(found.in_file.wrapping_add(1)).ok()?;
        Some(ends_in_call(file.bytes().get(..end)?))
    }

    /// Whether something else than a call has put the return address `address` on the stack.
    fn is_entry(&mut self, address: u64, spot: &Spot) -> bool {
        let Some(Hit { module, bias: Some(bias), .. }) = spot.found.map(|found| found.hit) else {
            return false;
        };
        self.modules.cfi(module).is_some_and(|cfi| cfi.is_entry(address.wrapping_sub(bias)))
    }

    /// Whether a signal's handler returns to `address`.
    fn is_signal_return(&mut self, address: u64) -> bool {
        let Some(Hit { module, bias: Some(bias), .. }) = self.find(address).map(|found| found.hit)
        else {
            return false;
        };
        let file = self.modules.get(module).file.as_ref();
        file.is_some_and(|file| file.returns_from_signal(address.wrapping_sub(bias)))
    }

    /// How code without a file is left.
    fn ways(&mut self, lookup: u64, ip: u64) -> Arc<[Way]> {
        let source = source(self.pid, self.memory, self.space, self.time, self.loader);
        self.made.ways(source, lookup, ip)
    }

    /// The spot of a thread that was at `address`.
    fn exactly(&mut self, address: u64) -> Spot {
        Spot { found: self.find(address), exact: true, is_entry: false }
    }

    /// The spot of a thread that will return to `address`.
    fn called(&mut self, address: u64) -> Spot {
        Spot { found: self.find(address.wrapping_sub(1)), exact: false, is_entry: false }
    }

    fn find(&mut self, address: u64) -> Option<Found> {
        self.space.find(self.pid, address, self.modules, self.loader)
    }
}

/// Where the code is that process `pid` made.
fn source<'a>(
    pid: u32,
    memory: Option<&'a Memory>,
    space: &'a Space,
    time: Option<u64>,
    loader: &'a Loader,
) -> Source<'a> {
    Source { pid, memory, dump: space.jitdump.as_ref(), time, loader }
}

impl Spot {
    /// The address whose function is meant.
    fn lookup(&self, registers: &Registers) -> u64 {
        registers.ip().wrapping_sub(u64::from(!self.exact))
    }
}

impl Spaces {
    /// What unwinds the stacks of process `pid`.
    pub(crate) fn unwinder<'a>(&'a mut self, pid: u32, loader: &'a Loader) -> Unwinder<'a> {
        let Parts { space, modules, made } = self.parts(pid);
        Unwinder { pid, space, modules, made, loader, memory: None, time: None, as_perf: false }
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
        let made = &mut Made::default();
        let (pid, memory, time, as_perf) = (1, None, None, false);
        let loader = &loader;
        let unwinder = Unwinder { pid, space, modules, made, loader, memory, time, as_perf };
        let mut frames = Vec::new();
        let end = unwinder.unwind(&registers, &stack, &mut frames);
        (frames.into_iter().map(|at| at.lookup()).collect(), end != End::Lost)
    }

    #[test]
    fn code_of_which_nothing_is_said_has_frame_pointers() {
        let words = [1, 2, 0x7020, 0x5001, 0, 0x6001, 3];
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let whole = vec![0x4000, 0x5000, 0x6000];
            assert_eq!(unwind(machine, 0x4000, 0x7010, &words), (whole, true));
            // The copy ends before the root; frame pointers that lead back; what is no address of
            // code.
            assert_eq!(unwind(machine, 0x4000, 0x7010, &words[..5]), (vec![0x4000, 0x5000], false));
            let back = [1, 2, 0x7000, 0x5001];
            // On x86 a caller is believed only behind a call, or if its frame lies above.
            let believed = if machine == Machine::Aarch64 { 2 } else { 1 };
            assert_eq!(unwind(machine, 0x4000, 0x7010, &back).0.len(), believed);
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
