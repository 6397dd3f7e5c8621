//! The same unwinding while a recording is still going on: for a recorder that keeps call chains instead of copied stacks.

use crate::perf_data::{Clock, RawSample, Record};
use crate::symbols::{self, Loader};

use super::address::At;
use super::memory::Memory;
use super::reach::Reach;
use super::registers::{Machine, Registers};
use super::spaces::Spaces;
use super::unwind::End;

/// Knows what the observed processes have mapped, and unwinds their stacks.
pub(crate) struct Live {
    machine: Option<Machine>,
    spaces: Spaces,
    loader: Loader,
    memory: Memory,
    reach: Reach,
    frames: Vec<At>,
}

impl Live {
    /// `clock` is the recording's.
    pub(crate) fn new(clock: Clock) -> Live {
        let loader = Loader::new(symbols::Config::default());
        let machine = Machine::of(None);
        Live {
            machine,
            spaces: Spaces::new(Some(clock), None),
            loader,
            memory: Memory::default(),
            reach: Reach::new(machine),
            frames: Vec::new(),
        }
    }

    /// How much of copied stacks is needed, as far as it is known.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Takes note of maps, names, forks, execs and exits, in order of `time`, which is of the recording's clock.
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
        match (end, sample.tid) {
            (End::Root(root), Some(tid)) => self.reach.found(tid, root),
            (End::Lost, Some(tid)) => self.reach.lost(tid),
            _ => {}
        }
        // Unwound return addresses are those of the calls, one less.
        let back = |(at, frame): (usize, &At)| frame.address + u64::from(at > 0);
        chain.extend(self.frames.iter().enumerate().map(back));
        Some(end != End::Lost)
    }
}
