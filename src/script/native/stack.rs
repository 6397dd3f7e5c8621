//! Builds the stack of one sample, leaf first: the kernel's recorded part, then the user's part
//! from a chain, from branches or by unwinding.
//!
//! A call chain holds return addresses, which are behind the call. The function is looked up one
//! byte before, because a call may be the last instruction of a function. Only the first address of
//! each part is exact.

use crate::perf_data::sample::{CONTEXT_KERNEL, CONTEXT_MAX, CONTEXT_USER, CONTEXT_USER_DEFERRED};
use crate::perf_data::write::TRUNCATED;
use crate::perf_data::{CpuMode, RawSample, Reader, Words};
use crate::symbols::Loader;

use super::addresses::Addresses;
use crate::unwind::{At, End, Machine, Registers, Spaces};

/// Builds stacks.
pub(super) struct Builder {
    machine: Option<Machine>,
    perf_compat: bool,
    unwound: Vec<At>,
}

/// The user's part of a stack in a call chain.
enum User {
    /// It is missing.
    None,
    /// It was there.
    Chain,
    /// It follows in the record with this cookie.
    Deferred(u64),
}

/// The stack that is being built, and the tables that it needs.
pub(super) struct Target<'a> {
    pub(super) spaces: &'a mut Spaces,
    pub(super) addresses: &'a mut Addresses,
    pub(super) loader: &'a Loader,
    pub(super) stack: &'a mut Vec<u32>,
}

/// The most branches of a recording whose branches are the calls themselves
/// (`PERF_SAMPLE_BRANCH_CALL_STACK`).
const LBR_DEPTH: usize = 64;

impl Builder {
    pub(super) fn new(reader: &Reader, perf_compat: bool) -> Self {
        let arch = reader.features().arch.as_ref().map(|arch| arch.to_string());
        Builder { machine: Machine::of(arch.as_deref()), perf_compat, unwound: Vec::new() }
    }

    /// Appends the stack of `sample`, taken in `mode`, whose chain has at most `limit` addresses.
    /// If the user part follows in a record of its own, returns the cookie of that record.
    pub(super) fn build(
        &mut self,
        mode: CpuMode,
        sample: &RawSample<'_>,
        limit: u16,
        target: &mut Target<'_>,
    ) -> Option<u64> {
        let pid = sample.pid.unwrap_or(0);
        let registers = self.machine.and_then(|machine| Registers::of(machine, sample));
        let Some(chain) = sample.callchain else {
            match (registers, sample.ip) {
                (Some(registers), _) if mode == CpuMode::User => {
                    self.unwind(pid, &registers, sample, target)
                }
                (_, Some(ip)) => target.add(pid, mode, At::exact(ip)),
                _ => {}
            }
            // The recorded registers are unknown, as those of a 32-bit program on AArch64.
            let is_lost = registers.is_none() && sample.regs_user.is_some();
            if is_lost && mode == CpuMode::User && !self.perf_compat {
                target.stack.push(Addresses::TRUNCATED);
            }
            return None;
        };
        // A copy of the user's stack, or its branches, say more than the chain. Registers without a
        // stack do not.
        let stack = sample.stack_user.filter(|stack| !stack.bytes.is_empty());
        let has_stack = registers.is_some() && stack.is_some();
        let has_better = has_stack || has_call_branches(sample);
        match self.append(pid, mode, chain.iter(), has_better, target) {
            User::Chain => {
                if is_full(chain, limit) && !self.perf_compat {
                    target.stack.push(Addresses::TRUNCATED);
                }
                return None;
            }
            User::Deferred(cookie) => return Some(cookie),
            User::None => {}
        }
        if let Some(branches) = sample.branches.filter(|_| has_call_branches(sample)) {
            let calls = branches.iter().take(LBR_DEPTH);
            for (i, branch) in calls.enumerate() {
                if i == 0 {
                    target.add(pid, CpuMode::User, At::exact(branch.to));
                }
                target.add(pid, CpuMode::User, At::exact(branch.from));
            }
        } else if let Some(registers) = registers {
            self.unwind(pid, &registers, sample, target);
        }
        None
    }

    /// Appends the user part of a stack that came after its sample. `chain` starts with a marker,
    /// as every part does.
    pub(super) fn append_deferred(&self, pid: u32, chain: &[u64], target: &mut Target<'_>) {
        self.append(pid, CpuMode::User, chain.iter().copied(), false, target);
    }

    /// Appends what is known of a user part that never came: the thread's address, if that was in
    /// user space.
    pub(super) fn append_missing(&self, pid: u32, user: Option<u64>, target: &mut Target<'_>) {
        let chain = user.into_iter().chain([TRUNCATED]);
        self.append(pid, CpuMode::User, chain, false, target);
    }

    /// Appends a call chain, without its user part if the sample `has_better`.
    fn append(
        &self,
        pid: u32,
        mut mode: CpuMode,
        mut chain: impl Iterator<Item = u64>,
        has_better: bool,
        target: &mut Target<'_>,
    ) -> User {
        let mut first = true;
        let mut user = User::None;
        while let Some(word) = chain.next() {
            if word >= CONTEXT_MAX {
                mode = match word {
                    CONTEXT_KERNEL => CpuMode::Kernel,
                    CONTEXT_USER | CONTEXT_USER_DEFERRED => CpuMode::User,
                    _ => CpuMode::Unknown,
                };
                first = true;
                if mode == CpuMode::User && has_better {
                    break;
                }
                if word == CONTEXT_USER_DEFERRED {
                    // The kernel writes the cookie after the marker, and nothing else.
                    return chain.next().map_or(user, User::Deferred);
                }
                continue;
            }
            if mode == CpuMode::User {
                user = User::Chain;
            }
            if word == TRUNCATED && !self.perf_compat {
                target.stack.push(Addresses::TRUNCATED);
                continue;
            }
            let is_exact = first || self.perf_compat;
            target.add(pid, mode, if is_exact { At::exact(word) } else { At::call(word) });
            first = false;
        }
        user
    }

    fn unwind(
        &mut self,
        pid: u32,
        registers: &Registers,
        sample: &RawSample<'_>,
        target: &mut Target<'_>,
    ) {
        let stack = sample.stack_user.map_or(&b""[..], |stack| stack.bytes);
        if self.perf_compat {
            target.addresses.expand_as_perf();
            // perf also forgets the thread's own address.
            if stack.is_empty() {
                return;
            }
        }
        self.unwound.clear();
        let mut unwinder = target.spaces.unwinder(pid, target.loader);
        unwinder.as_perf = self.perf_compat;
        let end = unwinder.unwind(registers, stack, &mut self.unwound);
        // perf prints the address of the call, not the one behind it.
        for at in &self.unwound {
            target.add(pid, CpuMode::User, At::exact(at.lookup()));
        }
        if end == End::Lost && !self.perf_compat {
            target.stack.push(Addresses::TRUNCATED);
        }
    }
}

/// Whether a chain has as many addresses as it can have. The kernel does not say that it cut a
/// chain. If it is complete by chance, it ends at the start of a thread.
fn is_full(chain: Words<'_>, limit: u16) -> bool {
    const USUAL: u16 = 127;
    let limit = usize::from(if limit == 0 { USUAL } else { limit });
    chain.len() >= limit && chain.iter().filter(|&word| word < CONTEXT_MAX).count() == limit
}

/// Whether the branches are calls, recorded instead of a chain (`--call-graph lbr`). Those of `-b`
/// come without a chain.
fn has_call_branches(sample: &RawSample<'_>) -> bool {
    sample.callchain.is_some()
        && sample.branches.is_some_and(|branches| branches.iter().next().is_some())
}

impl Target<'_> {
    fn add(&mut self, pid: u32, mode: CpuMode, at: At) {
        let id = match mode {
            CpuMode::Kernel | CpuMode::GuestKernel | CpuMode::Hypervisor => {
                self.addresses.kernel(at)
            }
            // Without a context the address decides: the kernel has the upper half.
            CpuMode::Unknown if at.address >> 63 == 1 => self.addresses.kernel(at),
            _ => {
                let found = self.spaces.find(pid, at.lookup(), self.loader);
                let spaces = &*self.spaces;
                let is_called = || found.is_none_or(|found| spaces.is_called(found));
                self.addresses.user(pid, at, found, is_called)
            }
        };
        self.stack.push(id);
    }
}
