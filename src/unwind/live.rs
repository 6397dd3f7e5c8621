//! Unwinds stacks while the program is being recorded, for a recorder that writes call chains
//! instead of copied stacks.

use crate::heap;
use crate::perf_data::{Clock, RawSample, Record};
use crate::symbols::{self, Loader};

use super::memory::Memory;
use super::registers::{Machine, Registers};
use super::spaces::Spaces;
use super::stack_extent::StackExtent;
use super::unwinder::{At, End};

/// Tracks the maps of the observed processes, and unwinds their stacks.
pub(crate) struct Live {
    machine: Option<Machine>,
    spaces: Spaces,
    loader: Loader,
    memory: Memory,
    stack_extent: StackExtent,
    /// The most bytes of a stack that the kernel copies.
    most_stack: u64,
    frames: Vec<At>,
    /// When we look next how much memory is in use.
    next_look: u64,
}

/// How often we look how much memory is in use, in nanoseconds.
const BETWEEN_LOOKS: u64 = 5_000_000_000;

impl Live {
    /// `clock` is that of the recording. The kernel copies at most `most_stack` bytes of a stack.
    pub(crate) fn new(clock: Clock, most_stack: u32) -> Live {
        let machine = Machine::of(None);
        Live {
            machine,
            spaces: Spaces::new(Some(clock), None),
            loader: Loader::new(symbols::Config::default()),
            memory: Memory::default(),
            stack_extent: StackExtent::new(machine),
            most_stack: most_stack.into(),
            frames: Vec::new(),
            next_look: 0,
        }
    }

    /// How much of the copied stacks is needed, as far as it is known.
    pub(crate) fn stack_extent(&self) -> &StackExtent {
        &self.stack_extent
    }

    /// Notes maps, names, forks, execs and exits, in order of `time` on the recording's clock.
    pub(crate) fn note(&mut self, record: &Record<'_>, time: Option<u64>) {
        match record {
            Record::Mmap(mmap) => self.spaces.map(mmap, time),
            Record::Comm { pid, tid, comm, exec } => {
                if *exec {
                    self.loader.forget(*pid);
                    self.stack_extent.forget(*tid);
                }
                self.spaces.rename(*pid, *tid, comm, *exec);
            }
            Record::Fork(task) => self.spaces.fork(task),
            Record::Exit(task) => {
                self.stack_extent.forget(task.tid);
                for pid in self.spaces.exit(task) {
                    self.loader.forget(pid);
                }
                if self.spaces.release() {
                    self.loader.release();
                }
            }
            _ => {}
        }
    }

    /// Appends the user part of a sample's stack, leaf first: the instruction of the thread, then
    /// return addresses. `None` if there is nothing to unwind, as for a kernel thread. False if the
    /// root was not reached.
    pub(crate) fn unwind(&mut self, sample: &RawSample<'_>, chain: &mut Vec<u64>) -> Option<bool> {
        let registers = Registers::of(self.machine?, sample)?;
        if let Some(now) = sample.time.filter(|&now| now >= self.next_look) {
            self.next_look = now.saturating_add(BETWEEN_LOOKS);
            self.spaces.trim();
            heap::give_back();
        }
        let stack = sample.stack_user.map_or(&b""[..], |stack| stack.bytes);
        let mut unwinder = self.spaces.unwinder(sample.pid?, &self.loader);
        unwinder.memory = Some(&self.memory);
        self.frames.clear();
        let end = unwinder.unwind(&registers, stack, &mut self.frames);
        let copied = registers.sp().saturating_add(stack.len() as u64);
        match (end, sample.tid) {
            (End::Root(root), Some(tid)) => self.stack_extent.found(tid, root),
            (End::Lost, Some(tid)) if !self.stack_extent.is_below_root(tid, copied) => {
                self.stack_extent.lost(tid);
            }
            _ => {}
        }
        // The copy may have ended at the unused pages of a large buffer. Touching them lets the
        // next copy go on.
        if end == End::Lost || self.memory.was_read() {
            let wanted = registers.sp().saturating_add(self.most_stack);
            self.memory.touch(sample.pid?, copied, wanted);
        }
        chain.extend(self.frames.iter().map(|frame| frame.address));
        Some(end != End::Lost)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::super::gone::KEPT;
    use super::super::modules::{MANY, ModuleId};
    use super::super::spaces::Parts;
    use super::*;
    use crate::perf_data::{Mmap, Task};

    /// Notes that process `pid` executes the program at `path`, and finds the module of its code.
    fn execute(live: &mut Live, pid: u32, path: &Path) -> ModuleId {
        live.note(&Record::Comm { pid, tid: pid, comm: "x".into(), exec: true }, None);
        let mmap = Mmap::of_program(pid, path.as_os_str().as_bytes().into());
        live.note(&Record::Mmap(mmap), None);
        hit(live, pid)
    }

    fn hit(live: &mut Live, pid: u32) -> ModuleId {
        let Parts { space, modules, .. } = live.spaces.parts(pid);
        space.find(pid, 0x1800, modules, &live.loader).unwrap().hit.module
    }

    #[test]
    fn a_long_recording_keeps_no_module_that_only_processes_had_that_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| {
            let mut elf = [0; 64];
            elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            let path = folder.path().join(name);
            std::fs::write(&path, elf).unwrap();
            path
        };
        let [shell, compiler] = ["sh", "cc1"].map(program);
        let mut live = Live::new(Clock { wall: u64::MAX, time: 0 }, 0);
        let task = |pid| Task { pid, ppid: 1, tid: pid, ptid: 1, time: 0 };
        let of_shell = execute(&mut live, 1, &shell);
        let mut of_compiler = Vec::new();
        let mut most = 0;
        for n in 0..3 * KEPT as u32 {
            let built = program(&n.to_string());
            for (pid, path) in [(2 * n + 2, &built), (2 * n + 3, &compiler)] {
                live.note(&Record::Fork(task(pid)), None);
                let module = execute(&mut live, pid, path);
                if path == &compiler {
                    of_compiler.push(module);
                }
                live.note(&Record::Exit(task(pid)), None);
            }
            std::fs::remove_file(built).unwrap();
            assert!(live.loader.len() <= live.spaces.modules.len());
            most = most.max(live.spaces.modules.len());
        }
        // Half of the processes that are not forgotten yet ran a program of their own.
        assert!(most <= KEPT / 2 + 2 * MANY + 2, "{most}");
        of_compiler.dedup();
        assert_eq!(of_compiler.len(), 1);
        // The shell still runs.
        assert_eq!(hit(&mut live, 1), of_shell);
        assert!(live.spaces.module(of_shell).file.is_some());
    }
}
