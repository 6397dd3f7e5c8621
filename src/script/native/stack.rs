//! The stack of one sample, leaf first: the kernel's part as it was recorded, then the user's by whatever was recorded of it.
//!
//! A call chain holds return addresses, which lie behind the call: the name asked for is that of the byte before, or a call that
//! is a function's last instruction would be named after the next function. Only where a thread really was, the first
//! address of each part, is exact.

use crate::perf_data::sample::{CONTEXT_KERNEL, CONTEXT_MAX, CONTEXT_USER};
use crate::perf_data::write::TRUNCATED;
use crate::perf_data::{CpuMode, RawSample, Reader};
use crate::symbols::Loader;

use super::address::At;
use super::places::Places;
use super::registers::{Machine, Registers};
use super::spaces::Spaces;
use super::unwind::End;

/// Builds stacks.
pub(super) struct Builder {
    machine: Option<Machine>,
    perf_compat: bool,
    unwound: Vec<At>,
}

/// Where a stack goes, and what it is made with.
pub(super) struct Into<'a> {
    pub(super) spaces: &'a mut Spaces,
    pub(super) places: &'a mut Places,
    pub(super) loader: &'a Loader,
    pub(super) stack: &'a mut Vec<u32>,
}

/// `PERF_SAMPLE_BRANCH_CALL_STACK`-like recordings hold the calls themselves; there are at most this many.
const LBR_DEPTH: usize = 64;

impl Builder {
    pub(super) fn new(reader: &Reader, perf_compat: bool) -> Self {
        let arch = reader.features().arch.as_ref().map(|arch| arch.to_string());
        Builder { machine: Machine::of(arch.as_deref()), perf_compat, unwound: Vec::new() }
    }

    /// Appends the stack of `sample`, taken in `mode`.
    pub(super) fn build(&mut self, mode: CpuMode, sample: &RawSample<'_>, into: &mut Into<'_>) {
        let pid = sample.pid.unwrap_or(0);
        let registers = self.machine.and_then(|machine| Registers::of(machine, sample));
        let Some(chain) = sample.callchain else {
            match (registers, sample.ip) {
                (Some(registers), _) if mode == CpuMode::User => {
                    self.unwind(pid, &registers, sample, into)
                }
                (_, Some(ip)) => into.add(pid, mode, At::exact(ip)),
                _ => {}
            }
            // Registers were recorded that we do not know, as of a 32-bit program on AArch64.
            let is_lost = registers.is_none() && sample.regs_user.is_some();
            if is_lost && mode == CpuMode::User && !self.perf_compat {
                into.stack.push(Places::TRUNCATED);
            }
            return;
        };
        let mut mode = mode;
        let mut first = true;
        let mut user = false;
        for word in chain.iter() {
            if word >= CONTEXT_MAX {
                mode = match word {
                    CONTEXT_KERNEL => CpuMode::Kernel,
                    CONTEXT_USER => CpuMode::User,
                    _ => CpuMode::Unknown,
                };
                first = true;
                // What was recorded of the user's stack itself says more than the chain.
                if mode == CpuMode::User && (registers.is_some() || has_call_branches(sample)) {
                    break;
                }
                continue;
            }
            user |= mode == CpuMode::User;
            if word == TRUNCATED && !self.perf_compat {
                into.stack.push(Places::TRUNCATED);
                continue;
            }
            into.add(
                pid,
                mode,
                if first || self.perf_compat { At::exact(word) } else { At::call(word) },
            );
            first = false;
        }
        if user {
            return;
        }
        if let Some(branches) = sample.branches.filter(|_| has_call_branches(sample)) {
            let calls = branches.iter().take(LBR_DEPTH);
            for (i, branch) in calls.enumerate() {
                if i == 0 {
                    into.add(pid, CpuMode::User, At::exact(branch.to));
                }
                into.add(pid, CpuMode::User, At::exact(branch.from));
            }
        } else if let Some(registers) = registers {
            self.unwind(pid, &registers, sample, into);
        }
    }

    fn unwind(
        &mut self,
        pid: u32,
        registers: &Registers,
        sample: &RawSample<'_>,
        into: &mut Into<'_>,
    ) {
        let stack = sample.stack_user.map_or(&b""[..], |stack| stack.bytes);
        if self.perf_compat {
            into.places.expand_as_perf();
            // perf forgets where the thread was, too.
            if stack.is_empty() {
                return;
            }
        }
        self.unwound.clear();
        let mut unwinder = into.spaces.unwinder(pid, into.loader);
        unwinder.as_perf = self.perf_compat;
        let end = unwinder.unwind(registers, stack, &mut self.unwound);
        for &at in &self.unwound {
            into.add(pid, CpuMode::User, at);
        }
        if end == End::Lost && !self.perf_compat {
            into.stack.push(Places::TRUNCATED);
        }
    }
}

/// Branches that are calls, recorded instead of a chain (`--call-graph lbr`), not those of `-b`, which come without a chain.
fn has_call_branches(sample: &RawSample<'_>) -> bool {
    sample.callchain.is_some()
        && sample.branches.is_some_and(|branches| branches.iter().next().is_some())
}

impl Into<'_> {
    fn add(&mut self, pid: u32, mode: CpuMode, at: At) {
        let id = match mode {
            CpuMode::Kernel | CpuMode::GuestKernel | CpuMode::Hypervisor => self.places.kernel(at),
            // Without a context an address tells by itself: the kernel has the upper half.
            CpuMode::Unknown if at.address >> 63 == 1 => self.places.kernel(at),
            _ => {
                let found = self.spaces.find(pid, at.lookup(), self.loader);
                self.places.user(pid, at, found)
            }
        };
        self.stack.push(id);
    }
}
