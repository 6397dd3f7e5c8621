//! Observes every thread of running processes.
//!
//! Threads come and go while we look. If a thread is started by one that is already observed on all
//! CPUs, it inherits the events, and a FORK record in a ring reports it. Any other thread is there
//! when we look again. A thread that inherited events only on some CPUs is observed anew, and what
//! it inherited does not count: see
//! [`Ids::is_inherited_twice`](super::ids::Ids::is_inherited_twice).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::open::Events;
use super::queue::Queue;
use super::sys;
use super::threads::{self, Thread};
use crate::error::Result;
use crate::perf_data::Record;

/// The processes that `numbers` mean. The number of a thread means its process, as for perf. Tells
/// the user what is recorded beyond what was typed, and what is not.
///
/// # Errors
/// One of them is not there.
pub(super) fn processes(numbers: &[u32], tell: &mut dyn FnMut(&str)) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for &number in numbers {
        let pid = threads::process_of(number).unwrap_or(number);
        threads::check(pid)?;
        if pid != number {
            tell(&format!(
                "{number} is a thread of process {pid}: recording all threads of the process \
                 (fg-filter --tid {number} keeps only this one)"
            ));
        }
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    let left_out = threads::descendants(&pids);
    if !left_out.is_empty() {
        let all: Vec<String> = pids.iter().chain(&left_out).map(u32::to_string).collect();
        let (noun, verb) = if left_out.len() == 1 { ("child", "is") } else { ("children", "are") };
        tell(&format!(
            "{} running {noun} {verb} not recorded; children that start from now on are: use -p {} \
             to record all of them",
            left_out.len(),
            all.join(",")
        ));
    }
    Ok(pids)
}

/// Observes `pids`. Records that come meanwhile go into `queue`. Returns the threads that were
/// there before, because no record will name them.
pub(super) fn attach(
    pids: &[u32],
    events: &mut Events<'_>,
    queue: &mut Queue,
) -> Result<Vec<Thread>> {
    // Since when each thread is observed on all CPUs.
    let mut observed = HashMap::new();
    let mut names = Vec::<Thread>::new();
    // When threads were forked. One that inherited on some CPUs only may have named itself unseen,
    // so its name is written after that.
    let mut forked = HashMap::new();
    loop {
        let of = |&pid: &u32| threads::of(pid).into_iter().map(move |tid| (pid, tid));
        let all = pids.iter().flat_map(of);
        let new: Vec<(u32, u32)> = all.filter(|(_, tid)| !observed.contains_key(tid)).collect();
        if new.is_empty() {
            for thread in &mut names {
                thread.forked = forked.get(&thread.tid).copied().unwrap_or(0);
            }
            return Ok(names);
        }
        for (pid, tid) in new {
            let attr = events.attr();
            events.drain(|bytes| {
                queue.push(bytes, &attr, |record| {
                    let Record::Fork(task) = record else { return };
                    // After it, because of two records of one time the first in the file counts.
                    forked.insert(task.tid, task.time.saturating_add(1));
                    if observed.get(&task.ptid).is_some_and(|&since| since <= task.time) {
                        observed.insert(task.tid, task.time);
                    }
                });
            });
            if let Entry::Vacant(entry) = observed.entry(tid) {
                // Before, because it may be gone afterwards; and after, because it may have changed
                // its name meanwhile.
                let before = Thread::now(pid, tid);
                events.open(Some(tid))?;
                names.extend(Thread::now(pid, tid).or(before));
                entry.insert(sys::now());
            }
        }
    }
}
