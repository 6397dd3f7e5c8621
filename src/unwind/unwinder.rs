//! Unwinds a user stack from registers and the bytes of the stack, one frame at a time.
//!
//! The module's call frame information says how to find the caller. Every register is followed,
//! because the dynamic linker and signal trampolines keep the frame's address in others than the
//! stack pointer and the frame pointer. If no table describes the code, its instructions say how it
//! returns. If they are unknown too, the code may keep a frame pointer.
//!
//! A caller is believed only if a call ends at its return address, or if something else is known to
//! have put that address there.

use crate::symbols::{Loader, ends_in_call};

use super::cfi::Cfi;
use super::generated::{Generated, Source};
use super::memory::{Memory, Stack};
use super::modules::{Hit, Mapped, Modules};
use super::registers::{LINK, Machine, Registers};
use super::row::Step;
use super::space::{Found, Space};
use super::spaces::{Parts, Spaces};

/// An address in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct At {
    pub(crate) address: u64,
    /// How far before the address to look for the function: 1 for a return address.
    back: u8,
}

impl At {
    /// The address of the instruction that a thread was at.
    pub(crate) fn exact(address: u64) -> At {
        At { address, back: 0 }
    }

    /// A return address.
    pub(crate) fn call(address: u64) -> At {
        At { address, back: 1 }
    }

    /// An address inside the function.
    pub(crate) fn lookup(self) -> u64 {
        self.address.saturating_sub(self.back.into())
    }
}

/// How far a stack was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// To the certain root, as in [`Step::Root`]. The stack pointer had this value there.
    Root(u64),
    /// To where a thread or a coroutine may begin.
    Likely,
    /// Not to a root.
    Lost,
}

/// Unwinds the stacks of one process.
pub(crate) struct Unwinder<'a> {
    pub(crate) pid: u32,
    pub(crate) space: &'a mut Space,
    pub(crate) modules: &'a mut Modules,
    pub(super) generated: &'a mut Generated,
    pub(crate) loader: &'a Loader,
    /// The memory of the processes, if they still run.
    pub(super) memory: Option<&'a Memory>,
    /// When the sample was taken, by the clock of jitdumps, if that is known.
    pub(crate) time: Option<u64>,
    /// Lose stacks where perf 6.1 does: in epilogues, because registers that were already restored
    /// are not known, and in code that is not mapped or not described.
    pub(crate) as_perf: bool,
}

/// Deeper stacks are endless recursion, or an endless loop in broken tables.
const DEEPEST: usize = 100_000;

/// The frame that a step leaves.
struct Frame<'a> {
    registers: Registers,
    spot: Spot,
    stack: Stack<'a>,
}

/// Where the instruction pointer of a frame points.
#[derive(Clone, Copy)]
struct Spot {
    /// The map there.
    found: Option<Found>,
    /// The thread was at this instruction. If not, it will return to it.
    exact: bool,
    /// No call put this return address on the stack: a coroutine returns there, or a signal's
    /// handler.
    is_entry: bool,
}

impl Frame<'_> {
    fn ip(&self) -> u64 {
        self.registers.ip()
    }

    /// An address inside the function.
    fn lookup(&self) -> u64 {
        self.ip().wrapping_sub(u64::from(!self.spot.exact))
    }
}

impl Unwinder<'_> {
    /// Appends the frames from `registers` to the root. `stack` are the bytes from the stack
    /// pointer up. Frames that needed other memory of the process count only if the root was
    /// reached, because that memory may have changed since.
    pub(crate) fn unwind(
        mut self,
        registers: &Registers,
        stack: &[u8],
        frames: &mut Vec<At>,
    ) -> End {
        let memory = self.memory;
        if let Some(memory) = memory {
            memory.begin(self.pid);
        }
        let machine = registers.machine;
        let stack = Stack { machine, start: registers.sp(), bytes: stack, memory };
        // How many frames came from the copy of the stack alone.
        let mut copied = None;
        let spot = self.exactly(registers.ip());
        let mut frame = Frame { registers: *registers, spot, stack };
        frames.push(At::exact(registers.ip()));
        // Inside execve the registers are still those of the old program, but the stack is that of
        // the new one.
        if spot.found.map_or(stack.bytes.is_empty(), |found| found.is_gone) {
            return End::Likely;
        }
        for _ in 0..DEEPEST {
            let step = self.step(&mut frame);
            if copied.is_none() && memory.is_some_and(Memory::was_read) {
                copied = Some(frames.len());
            }
            match step {
                Step::Caller if frame.spot.exact => frames.push(At::exact(frame.ip())),
                Step::Caller => frames.push(At::call(frame.ip())),
                Step::Root => return End::Root(frame.registers.sp()),
                // Memory that has changed is full of zeros.
                Step::Zero | Step::Began if copied.is_none() => return End::Likely,
                Step::Zero | Step::Began | Step::Lost => break,
            }
        }
        frames.truncate(copied.unwrap_or(frames.len()));
        End::Lost
    }

    /// Makes the frame that of the caller.
    fn step(&mut self, frame: &mut Frame<'_>) -> Step {
        let Some(found) = frame.spot.found else {
            if self.as_perf {
                return Step::Lost;
            }
            return self.leave_unknown(frame);
        };
        let cfi = self.modules.cfi(found.hit.module).zip(found.hit.bias);
        let Some((cfi, bias)) = cfi else { return self.leave_unknown(frame) };
        let in_file = frame.lookup().wrapping_sub(bias);
        let Some(row) = cfi.row(in_file) else {
            if self.as_perf {
                return self.leave_unchecked(frame);
            }
            if cfi.file().is_entered_at(in_file) {
                return Step::Root;
            }
            return self.leave_undescribed(frame, found);
        };
        let row = cfi.get(row);
        let is_signal = row.is_signal;
        if row.switches && !self.as_perf {
            return Step::Began;
        }
        let here = frame.registers;
        let exact = frame.spot.exact;
        let is_entry = frame.spot.is_entry;
        let step = frame.registers.follow(row, exact && !is_entry, frame.stack, self.as_perf);
        if is_signal && step == Step::Caller {
            frame.spot = self.exactly(frame.ip());
            return step;
        }
        if self.as_perf {
            frame.spot = self.called(frame.ip());
            return step;
        }
        match step {
            Step::Caller => {
                if let Some(arrived) = self.arrival(&frame.registers) {
                    frame.spot = arrived;
                    return step;
                }
            }
            Step::Root | Step::Began => return step,
            Step::Zero if is_entry => return Step::Root,
            Step::Zero | Step::Lost => {
                let is_known = frame.registers.get(frame.registers.machine.ip()).is_some();
                let may_be_wrong = is_entry || exact && is_known;
                if !may_be_wrong {
                    return step;
                }
            }
        }
        if is_entry {
            return Step::Began;
        }
        // The tables led to an address that has no caller. For example, glibc's memcpy for i386
        // pushes a register that they do not know of, which then looks like the return address.
        frame.registers = here;
        let other = match here.machine {
            Machine::X86_64 => self.leave_by_code(frame, found, false),
            Machine::X86 => None,
            Machine::Aarch64 => return step,
        };
        let other = other.or_else(|| exact.then(|| self.leave_by_call(frame))?);
        other.unwrap_or(if step == Step::Zero { step } else { Step::Lost })
    }

    /// Steps out by the frame pointer, and believes it.
    fn leave_unchecked(&mut self, frame: &mut Frame<'_>) -> Step {
        let step = frame.registers.follow_frame_pointer(frame.stack);
        frame.spot = self.called(frame.ip());
        step
    }

    /// Steps out of code whose module has no file: generated code, or the vdso of a 32-bit program,
    /// which differs from ours.
    fn leave_unknown(&mut self, frame: &mut Frame<'_>) -> Step {
        let here = frame.registers;
        if self.as_perf || here.machine == Machine::Aarch64 {
            return self.leave_unchecked(frame);
        }
        if here.machine == Machine::X86 {
            return self.leave_by_call(frame).unwrap_or_else(|| self.leave_by_frame_pointer(frame));
        }
        if let Some(step) = self.leave_generated(frame, true) {
            return step;
        }
        let module = frame.spot.found.map(|found| self.modules.get(found.hit.module));
        let is_missing = module.is_some_and(Mapped::is_missing);
        let by_frame = self.leave_by_frame_pointer(frame);
        if by_frame == Step::Caller && is_missing && self.may_skip(&here, frame.stack) {
            return Step::Lost;
        }
        if by_frame != Step::Lost {
            return by_frame;
        }
        frame.registers = here;
        self.leave_generated(frame, false).unwrap_or(Step::Lost)
    }

    /// Whether the frame pointer of `here` may have led past a caller. Code of a missing file may
    /// keep none, so that the register is still that of an outer function. Then the return address
    /// lies between the two pointers.
    fn may_skip(&mut self, here: &Registers, stack: Stack<'_>) -> bool {
        /// In bytes. Larger frames are not believed.
        const LARGEST: u64 = 8 << 10;
        let Some(fp) = here.get(here.machine.fp()) else { return false };
        if fp.saturating_sub(here.sp()) > LARGEST {
            return true;
        }
        let words = (here.sp()..fp).step_by(here.machine.word() as usize);
        words.filter_map(|at| stack.copied(at)).any(|word| self.call(word).is_some())
    }

    /// Steps out of generated code by its instructions or its JIT's description, if that leads to
    /// the end of a call. Tries the exits that return, or those that jump elsewhere.
    fn leave_generated(&mut self, frame: &mut Frame<'_>, returns: bool) -> Option<Step> {
        let first = self.leave_generated_once(frame, returns);
        if first.is_some() {
            return first;
        }
        let source = source(self.pid, self.memory, self.space, self.time, self.loader);
        let is_new = self.generated.renew(source, frame.ip());
        is_new.then(|| self.leave_generated_once(frame, returns))?
    }

    fn leave_generated_once(&mut self, frame: &mut Frame<'_>, returns: bool) -> Option<Step> {
        let source = source(self.pid, self.memory, self.space, self.time, self.loader);
        let exits = self.generated.exits(source, frame.lookup(), frame.ip());
        for exit in exits.iter().filter(|exit| exit.row.returns == returns) {
            let mut caller = frame.registers;
            let step = caller.follow(&exit.row, frame.spot.exact, frame.stack, false);
            if step == Step::Root {
                return Some(step);
            }
            let arrived = if step == Step::Caller { self.arrival(&caller) } else { None };
            if let Some(arrived) = arrived
                && (exit.is_described || self.ends_in_call(caller.ip()) == Some(true))
            {
                frame.registers = caller;
                frame.spot = arrived;
                return Some(step);
            }
        }
        None
    }

    /// Steps out of code that its module's tables do not describe: assembler, stubs, `_init`.
    fn leave_undescribed(&mut self, frame: &mut Frame<'_>, found: Found) -> Step {
        match frame.registers.machine {
            Machine::X86_64 => {}
            Machine::X86 => return self.leave_unknown(frame),
            Machine::Aarch64 => {
                let link = frame.registers.get(LINK).filter(|_| frame.spot.exact);
                let Some(address) = link else { return self.leave_unchecked(frame) };
                let step = frame.registers.arrive(frame.registers, address);
                frame.spot = self.called(frame.ip());
                return step;
            }
        }
        if self.is_signal_return(frame.ip())
            && let Some(interrupted) = frame.registers.interrupted(|at| frame.stack.word(at))
        {
            let here = std::mem::replace(&mut frame.registers, interrupted);
            frame.spot = self.exactly(interrupted.ip());
            return frame.registers.arrive(here, interrupted.ip());
        }
        if frame.spot.is_entry {
            return Step::Began;
        }
        self.leave_by_code(frame, found, true)
            .or_else(|| self.leave_by_call(frame))
            .unwrap_or_else(|| self.leave_by_frame_pointer(frame))
    }

    /// Steps out by the frame pointer, if that leads to the end of a call.
    fn leave_by_frame_pointer(&mut self, frame: &mut Frame<'_>) -> Step {
        let fp = frame.registers.machine.fp();
        let before = frame.registers.get(fp);
        let step = frame.registers.follow_frame_pointer(frame.stack);
        if step != Step::Caller {
            return step;
        }
        let Some(arrived) = self.arrival(&frame.registers) else { return Step::Lost };
        // The register may hold anything else than a frame pointer.
        let goes_up = frame.registers.get(fp).is_some_and(|next| next == 0 || Some(next) > before);
        let is_believed = goes_up || self.ends_in_call(frame.ip()) == Some(true);
        if !is_believed {
            return Step::Lost;
        }
        frame.spot = arrived;
        step
    }

    /// Steps out by what the code does until it returns, if that leads to the end of a call. With
    /// `or_jumps` also by what it does until it jumps elsewhere.
    fn leave_by_code(
        &mut self,
        frame: &mut Frame<'_>,
        found: Found,
        or_jumps: bool,
    ) -> Option<Step> {
        let Hit { module, bias, .. } = found.hit;
        let address = frame.ip().wrapping_sub(bias?);
        for exit in self.modules.cfi(module)?.exits(address) {
            let row = self.modules.cfi(module)?.get(exit);
            if !row.returns && !or_jumps {
                continue;
            }
            let mut caller = frame.registers;
            let step = caller.follow(row, frame.spot.exact, frame.stack, false);
            let ip = caller.ip();
            let is_sure = step == Step::Caller
                && (self.ends_in_call(ip) == Some(true) || self.is_signal_return(ip));
            if let Some(arrived) = is_sure.then(|| self.arrival(&caller)).flatten() {
                frame.registers = caller;
                frame.spot = arrived;
                return Some(step);
            }
        }
        None
    }

    /// Steps out by a return address that is one of the next words: `_init` makes room for a word
    /// to keep the stack aligned. The address must be in code that its module's tables describe, or
    /// in the start of a thread: musl's callers of `main` and of a thread's first function never
    /// return.
    fn leave_by_call(&mut self, frame: &mut Frame<'_>) -> Option<Step> {
        const NEAR: u64 = 4;
        const NEAR_START: u64 = 8;
        let mut is_sure = |word: u64, address| {
            let Some((cfi, call)) = self.call(address) else { return false };
            word < NEAR && cfi.row(call).is_some() || cfi.file().starts_thread(call)
        };
        let here = frame.registers;
        let place = |word| here.sp().wrapping_add(word * here.machine.word());
        let (word, address) = (0..NEAR_START)
            .map_while(|word| Some((word, frame.stack.copied(place(word))?)))
            .find(|&(word, address)| is_sure(word, address))?;
        frame.registers.set(here.machine.sp(), Some(place(word + 1)));
        frame.spot = self.called(address);
        Some(frame.registers.arrive(here, address))
    }

    /// The tables of the module in which a call ends at `address`, and where that call is in its
    /// file.
    fn call(&mut self, address: u64) -> Option<(&mut Cfi, u64)> {
        let call = address.wrapping_sub(1);
        let found = self.find(call)?;
        let module = self.modules.get(found.hit.module);
        if !module.code_until(found.in_file).is_some_and(ends_in_call) {
            return None;
        }
        let (cfi, bias) = self.modules.cfi(found.hit.module).zip(found.hit.bias)?;
        Some((cfi, call.wrapping_sub(bias)))
    }

    /// The spot that the registers arrived at. `None` if nothing can return there.
    fn arrival(&mut self, registers: &Registers) -> Option<Spot> {
        let ip = registers.ip();
        let called = self.called(ip);
        if registers.machine == Machine::Aarch64 {
            return Some(called);
        }
        let has_no_file =
            called.found.is_some_and(|found| self.modules.get(found.hit.module).file.is_none());
        match self.ends_in_call(ip) {
            Some(true) => Some(called),
            // Java's interpreter pushes the address that a method shall return to, and jumps to the
            // method.
            Some(false) if has_no_file => Some(called),
            Some(false) => {
                let spot = Spot { is_entry: true, ..self.exactly(ip) };
                self.is_entry(ip, &spot).then_some(spot)
            }
            // The code may be in a map that the recording does not have.
            None => (called.found.is_some() || !self.space.has_maps()).then_some(called),
        }
    }

    /// Whether a call ends at `address`; `None` if the code before it is not known.
    fn ends_in_call(&mut self, address: u64) -> Option<bool> {
        let found = self.find(address.wrapping_sub(1))?;
        let module = self.modules.get(found.hit.module);
        if module.file.is_none() {
            let source = source(self.pid, self.memory, self.space, self.time, self.loader);
            let is_call = ends_in_call(&self.generated.before(source, address)?);
            // A JIT may have written the code since it was read.
            if is_call || !self.generated.renew(source, address.wrapping_sub(1)) {
                return Some(is_call);
            }
            return Some(ends_in_call(&self.generated.before(source, address)?));
        }
        Some(ends_in_call(module.code_until(found.in_file)?))
    }

    /// Whether something else than a call put the return address `address` on the stack.
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

/// Where the code is that process `pid` generated.
fn source<'a>(
    pid: u32,
    memory: Option<&'a Memory>,
    space: &'a Space,
    time: Option<u64>,
    loader: &'a Loader,
) -> Source<'a> {
    Source { pid, memory, dump: space.jitdump.as_ref(), time, loader }
}

impl Spaces {
    /// An unwinder for the stacks of process `pid`.
    pub(crate) fn unwinder<'a>(&'a mut self, pid: u32, loader: &'a Loader) -> Unwinder<'a> {
        let Parts { space, modules, generated } = self.parts(pid);
        Unwinder {
            pid,
            space,
            modules,
            generated,
            loader,
            memory: None,
            time: None,
            as_perf: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Config;

    /// Unwinds a stack of words in a process about which nothing is known.
    fn unwind(machine: Machine, ip: u64, fp: u64, words: &[u64]) -> (Vec<u64>, bool) {
        let mut registers = Registers::new(machine);
        let given = [(machine.ip(), ip), (machine.sp(), 0x7000), (machine.fp(), fp)];
        given.iter().for_each(|&(register, value)| registers.set(register, Some(value)));
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut spaces = Spaces::default();
        let loader = Loader::new(Config::default());
        let mut frames = Vec::new();
        let end = spaces.unwinder(1, &loader).unwind(&registers, &stack, &mut frames);
        (frames.into_iter().map(|at| at.lookup()).collect(), end != End::Lost)
    }

    #[test]
    fn unknown_code_has_frame_pointers() {
        let words = [1, 2, 0x7020, 0x5001, 0, 0x6001, 3];
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let whole = vec![0x4000, 0x5000, 0x6000];
            assert_eq!(unwind(machine, 0x4000, 0x7010, &words), (whole, true));
            // The copy ends before the root; frame pointers lead back; the address is not one of
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
