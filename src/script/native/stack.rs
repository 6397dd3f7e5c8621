//! The stack of one sample, leaf first: the kernel's part as it was recorded, then the user's by whatever was recorded of it.
//!
//! A call chain holds return addresses, which lie behind the call: the name asked for is that of the byte before, or a call that
//! is a function's last instruction would be named after the next function. Only where a thread really was, the first
//! address of each part, is exact.

use crate::perf_data::sample::{CONTEXT_KERNEL, CONTEXT_MAX, CONTEXT_USER, CONTEXT_USER_DEFERRED};
use crate::perf_data::write::TRUNCATED;
use crate::perf_data::{CpuMode, RawSample, Reader, Words};
use crate::symbols::Loader;

use super::places::Places;
use crate::unwind::At;
use crate::unwind::End;
use crate::unwind::Spaces;
use crate::unwind::{Machine, Registers};

/// Builds stacks.
pub(super) struct Builder {
    machine: Option<Machine>,
    perf_compat: bool,
    unwound: Vec<At>,
}

/// What a call chain says of the user's part of a stack.
enum User {
    /// Nothing.
    None,
    /// The addresses.
    Chain,
    /// That it follows in the record with this cookie.
    Deferred(u64),
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

    /// Appends the stack of `sample`, taken in `mode`, whose chain has at most `limit` addresses.
    /// If the user part follows in a record of its own, the answer is the cookie of that record.
    pub(super) fn build(
        &mut self,
        mode: CpuMode,
        sample: &RawSample<'_>,
        limit: u16,
        into: &mut Into<'_>,
    ) -> Option<u64> {
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
            return None;
        };
        // What was recorded of the user's stack itself says more than the chain. Registers without
        // a stack only say where the thread was, which the chain does as well.
        let stack = sample.stack_user.filter(|stack| !stack.bytes.is_empty());
        let has_stack = registers.is_some() && stack.is_some();
        let is_told = has_stack || has_call_branches(sample);
        match self.append(pid, mode, chain.iter(), is_told, into) {
            User::Chain => {
                if is_full(chain, limit) && !self.perf_compat {
                    into.stack.push(Places::TRUNCATED);
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
                    into.add(pid, CpuMode::User, At::exact(branch.to));
                }
                into.add(pid, CpuMode::User, At::exact(branch.from));
            }
        } else if let Some(registers) = registers {
            self.unwind(pid, &registers, sample, into);
        }
        None
    }

    /// Appends the user part of a stack whose sample only announced it. `chain` starts with a
    /// marker, as every part does.
    pub(super) fn append_deferred(&self, pid: u32, chain: &[u64], into: &mut Into<'_>) {
        self.append(pid, CpuMode::User, chain.iter().copied(), false, into);
    }

    /// Appends what is known of a user part that never came: where the thread was, if that was in
    /// user space.
    pub(super) fn append_missing(&self, pid: u32, user: Option<u64>, into: &mut Into<'_>) {
        let chain = user.into_iter().chain([TRUNCATED]);
        self.append(pid, CpuMode::User, chain, false, into);
    }

    /// Appends a call chain, without its user part if that `is_told` by something better.
    fn append(
        &self,
        pid: u32,
        mut mode: CpuMode,
        mut chain: impl Iterator<Item = u64>,
        is_told: bool,
        into: &mut Into<'_>,
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
                if mode == CpuMode::User && is_told {
                    break;
                }
                if word == CONTEXT_USER_DEFERRED {
                    // The kernel writes the cookie behind the marker and nothing behind that.
                    return chain.next().map_or(user, User::Deferred);
                }
                continue;
            }
            if mode == CpuMode::User {
                user = User::Chain;
            }
            if word == TRUNCATED && !self.perf_compat {
                into.stack.push(Places::TRUNCATED);
                continue;
            }
            let is_exact = first || self.perf_compat;
            into.add(pid, mode, if is_exact { At::exact(word) } else { At::call(word) });
            first = false;
        }
        user
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
        // As perf prints them: the call, not what follows it.
        for at in &self.unwound {
            into.add(pid, CpuMode::User, At::exact(at.lookup()));
        }
        if end == End::Lost && !self.perf_compat {
            into.stack.push(Places::TRUNCATED);
        }
    }
}

/// Whether the kernel had no room for one address more: it does not say that it cut a chain. One
/// that was whole by chance ends where a thread starts.
fn is_full(chain: Words<'_>, limit: u16) -> bool {
    const USUAL: u16 = 127;
    let limit = usize::from(if limit == 0 { USUAL } else { limit });
    chain.len() >= limit && chain.iter().filter(|&word| word < CONTEXT_MAX).count() == limit
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
                let spaces = &*self.spaces;
                let is_called = || found.is_none_or(|found| spaces.is_called(found));
                self.places.user(pid, at, found, is_called)
            }
        };
        self.stack.push(id);
    }
}
