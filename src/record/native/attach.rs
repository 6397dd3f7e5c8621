//! Observing every thread of processes that run already.
//!
//! Threads come and go while we look. One that is started by a thread that is observed already inherits what observes it,
//! which a FORK record in a ring tells; any other one is there when we look again.

use std::collections::HashSet;

use super::open::Events;
use super::queue::Queue;
use super::threads;
use crate::error::Result;
use crate::perf_data::Record;

/// Observes `pids`; what is recorded meanwhile goes into `queue`.
pub(super) fn attach(pids: &[u32], events: &mut Events<'_>, queue: &mut Queue) -> Result<()> {
    pids.iter().try_for_each(|&pid| threads::check(pid))?;
    let mut observed = HashSet::new();
    loop {
        let all = pids.iter().flat_map(|&pid| threads::of(pid));
        let new: Vec<u32> = all.filter(|thread| !observed.contains(thread)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for thread in new {
            let attr = events.attr();
            events.drain(|bytes| {
                queue.push(bytes, &attr, |record| {
                    if let Record::Fork(task) = record {
                        observed.insert(task.tid);
                    }
                });
            });
            if observed.insert(thread) {
                events.open(Some(thread))?;
            }
        }
    }
}
