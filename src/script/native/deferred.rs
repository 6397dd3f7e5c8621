//! Holds samples whose user part the kernel records later: `perf record --call-graph fp,defer`,
//! since Linux 6.19.
//!
//! ```text
//!  SAMPLE  kernel part, PERF_CONTEXT_USER_DEFERRED, cookie ─▶ held ┐
//!  SAMPLE  another one in the same system call, same cookie ─▶ held ┼─▶ whole
//!  CALLCHAIN_DEFERRED  cookie, user part, on the way back to user space ┘
//! ```
//!
//! Such a record belongs to all samples of its thread with its cookie. A thread has one cookie at a
//! time. It may be sampled again after the record, before it is back in user space, so the last
//! record of each thread is kept too.
//!
//! Memory: at most [`MOST`] waiting samples, and a call chain for each living thread.
//!
//! Source: `PERF_RECORD_CALLCHAIN_DEFERRED` in `include/uapi/linux/perf_event.h`.

use std::collections::HashMap;

use super::Waiting;
use super::addresses::Addresses;

/// The most samples that wait for their user parts: at 997 Hz, a minute of a thread that stays in
/// the kernel. perf has no limit.
const MOST: usize = 64 << 10;

/// The waiting samples, and the last record of each thread.
#[derive(Default)]
pub(super) struct Deferred {
    held: HashMap<Option<u32>, Vec<Held>>,
    count: usize,
    last: HashMap<Option<u32>, (u64, Vec<u64>)>,
}

/// A sample without its user part.
pub(super) struct Held {
    pub(super) cookie: u64,
    /// One for each event that it counts for.
    pub(super) waiting: Vec<Waiting>,
    /// The kernel's part, as ids of addresses.
    pub(super) stack: Vec<u32>,
    /// The thread's address, if that was in user space.
    pub(super) user: Option<u64>,
}

impl Deferred {
    /// Keeps a sample of thread `tid`. Returns samples that cannot wait any longer.
    pub(super) fn hold(&mut self, tid: Option<u32>, held: Held) -> Vec<Held> {
        let others = if self.count < MOST { Vec::new() } else { self.end() };
        self.held.entry(tid).or_default().push(held);
        self.count += 1;
        others
    }

    /// The user part for a sample of thread `tid` with this cookie, if it has already arrived.
    pub(super) fn arrived(&self, tid: Option<u32>, cookie: u64) -> Option<&[u64]> {
        let (last, chain) = self.last.get(&tid)?;
        (*last == cookie).then_some(chain)
    }

    /// Takes the user part of thread `tid` with this cookie. Returns all samples of the thread: it
    /// left the kernel, so those with another cookie wait in vain.
    pub(super) fn arrive(&mut self, tid: Option<u32>, cookie: u64, chain: Vec<u64>) -> Vec<Held> {
        self.last.insert(tid, (cookie, chain));
        self.take(tid)
    }

    /// Handles the end of a thread. Returns its samples, which wait in vain.
    pub(super) fn exit(&mut self, tid: u32) -> Vec<Held> {
        self.last.remove(&Some(tid));
        self.take(Some(tid))
    }

    /// Handles the end of the recording. Returns all waiting samples, by thread.
    pub(super) fn end(&mut self) -> Vec<Held> {
        self.count = 0;
        let mut threads: Vec<_> = self.held.drain().collect();
        threads.sort_by_key(|(tid, _)| *tid);
        threads.into_iter().flat_map(|(_, held)| held).collect()
    }

    /// The addresses have new numbers, by their old ones. Those of the kernel are never forgotten.
    pub(super) fn renumber(&mut self, numbers: &[Option<u32>]) {
        for id in self.held.values_mut().flatten().flat_map(|held| &mut held.stack) {
            *id = numbers.get(*id as usize).copied().flatten().unwrap_or(Addresses::TRUNCATED);
        }
    }

    fn take(&mut self, tid: Option<u32>) -> Vec<Held> {
        let taken = self.held.remove(&tid).unwrap_or_default();
        self.count -= taken.len();
        taken
    }
}
