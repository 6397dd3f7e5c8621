//! Observing every thread of processes that run already.
//!
//! Threads come and go while we look. One that is started by a thread that is observed already inherits what observes it,
//! which a FORK record in a ring tells; any other one is there when we look again.

use std::collections::HashSet;

use super::open::Events;
use super::queue::Queue;
use super::threads::{self, Thread};
use crate::error::Result;
use crate::perf_data::Record;

/// Observes `pids`; what is recorded meanwhile goes into `queue`. The answer is the threads that were there, whose names no
/// record will tell.
pub(super) fn attach(
    pids: &[u32],
    events: &mut Events<'_>,
    queue: &mut Queue,
) -> Result<Vec<Thread>> {
    pids.iter().try_for_each(|&pid| threads::check(pid))?;
    let (mut observed, mut names) = (HashSet::new(), Vec::new());
    loop {
        let of = |&pid: &u32| threads::of(pid).into_iter().map(move |tid| (pid, tid));
        let all = pids.iter().flat_map(of);
        let new: Vec<(u32, u32)> = all.filter(|(_, tid)| !observed.contains(tid)).collect();
        if new.is_empty() {
            return Ok(names);
        }
        for (pid, tid) in new {
            let attr = events.attr();
            events.drain(|bytes| {
                queue.push(bytes, &attr, |record| {
                    if let Record::Fork(task) = record {
                        observed.insert(task.tid);
                    }
                });
            });
            if observed.insert(tid) {
                // Now, as it may be gone before all are observed.
                names.extend(Thread::now(pid, tid));
                events.open(Some(tid))?;
            }
        }
    }
}
