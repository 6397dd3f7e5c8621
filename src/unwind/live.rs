//! The same unwinding while a recording is still going on: for a recorder that keeps call chains instead of copied stacks.

use crate::perf_data::{Clock, RawSample, Record};
use crate::symbols::{self, Loader};

use super::address::At;
use super::address_space::Spaces;
use super::memory::Memory;
use super::registers::{Machine, Registers};
use super::stack_extent::Reach;
use super::unwinder::End;

/// Knows what the observed processes have mapped, and unwinds their stacks.
pub(crate) struct Live {
    machine: Option<Machine>,
    spaces: Spaces,
    loader: Loader,
    memory: Memory,
    reach: Reach,
    /// How many bytes of a stack the kernel copies at most.
    most_stack: u64,
    frames: Vec<At>,
}

impl Live {
    /// Unwinds stacks of which the kernel copies `most_stack` bytes at most. `clock` is the
    /// recording's.
    pub(crate) fn new(clock: Clock, most_stack: u32) -> Live {
        let loader = Loader::new(symbols::Config::default());
        let machine = Machine::of(None);
        Live {
            machine,
            spaces: Spaces::new(Some(clock), None),
            loader,
            memory: Memory::default(),
            reach: Reach::new(machine),
            most_stack: most_stack.into(),
            frames: Vec::new(),
        }
    }

    /// How much of copied stacks is needed, as far as it is known.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Takes note of maps, names, forks, execs and exits, in order of `time`, which is of the
    /// recording's clock.
    pub(crate) fn note(&mut self, record: &Record<'_>, time: Option<u64>) {
        match record {
            Record::Mmap(mmap) => self.spaces.map(mmap, time),
            Record::Comm { pid, tid, comm, exec } => {
                if *exec {
                    self.loader.forget(*pid);
                    self.reach.forget(*tid);
                }
                self.spaces.rename(*pid, *tid, comm, *exec);
            }
            Record::Fork(task) => self.spaces.fork(task),
            Record::Exit(task) => self.reach.forget(task.tid),
            _ => {}
        }
    }

    /// Appends the user part of a sample's stack, leaf first: where the thread was, then return addresses. `None` if
    /// there is nothing to unwind, as of a kernel thread; false if the root was not reached.
    pub(crate) fn unwind(&mut self, sample: &RawSample<'_>, chain: &mut Vec<u64>) -> Option<bool> {
        let registers = Registers::of(self.machine?, sample)?;
        let stack = sample.stack_user.map_or(&b""[..], |stack| stack.bytes);
        let mut unwinder = self.spaces.unwinder(sample.pid?, &self.loader);
        unwinder.memory = Some(&self.memory);
        self.frames.clear();
        let end = unwinder.unwind(&registers, stack, &mut self.frames);
        let copied = registers.sp().saturating_add(stack.len() as u64);
        match (end, sample.tid) {
            (End::Root(root), Some(tid)) => self.reach.found(tid, root),
            (End::Lost, Some(tid)) if !self.reach.is_below_root(tid, copied) => {
                self.reach.lost(tid);
            }
            _ => {}
        }
        // A large buffer, of which no page was used yet, ends the copy. The next copy shall not end
        // there.
        if end == End::Lost || self.memory.was_read() {
            let wanted = registers.sp().saturating_add(self.most_stack);
            self.memory.touch(sample.pid?, copied, wanted);
        }
        chain.extend(self.frames.iter().map(|frame| frame.address));
        Some(end != End::Lost)
    }
}
