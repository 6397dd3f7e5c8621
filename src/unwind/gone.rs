//! Says which threads and processes are gone, so that a long recording keeps nothing of them.
//!
//! Samples may come shortly after the end of their thread: the kernel still works for it. So what
//! ended is forgotten only once many others have ended too.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::perf_data::Task;

/// How many threads that have ended are kept.
pub(super) const KEPT: usize = 1024;
/// How many maps of processes that have ended are kept. A process may have as many, and fork.
pub(super) const KEPT_MAPS: usize = 1 << 17;

/// The threads that began during the recording, and those that have ended.
#[derive(Default)]
pub(super) struct Gone {
    /// The running threads of each process that was forked. The processes that were there before
    /// may have threads that nobody told of, so those processes are never forgotten.
    running: HashMap<u32, BTreeSet<u32>>,
    queue: VecDeque<Thread>,
    /// How many maps the processes in `queue` have.
    maps: usize,
}

/// A thread that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) tid: u32,
    /// Its process, if this was its last thread.
    pub(super) process: Option<u32>,
    /// How many maps that process had.
    maps: usize,
}

impl Gone {
    /// Notes a thread or process that began.
    pub(super) fn begins(&mut self, task: &Task) {
        // Numbers are used again.
        self.remove(|gone| gone.tid == task.tid);
        if task.pid != task.ppid {
            self.remove(|gone| gone.process == Some(task.pid));
            self.running.insert(task.pid, [task.tid].into());
        } else if let Some(threads) = self.running.get_mut(&task.pid) {
            threads.insert(task.tid);
        }
    }

    /// Notes that process `pid` executes another program, so its other threads are gone. The one
    /// that does so gets the number of the first.
    pub(super) fn executes(&mut self, pid: u32) {
        self.remove(|gone| gone.tid == pid);
        if let Some(threads) = self.running.get_mut(&pid) {
            *threads = [pid].into();
        }
    }

    /// Notes that a thread has ended. `maps` says how many maps a process has.
    pub(super) fn ends(&mut self, task: &Task, maps: impl FnOnce(u32) -> usize) {
        let process = self.running.get_mut(&task.pid).and_then(|threads| {
            threads.remove(&task.tid);
            threads.is_empty().then_some(task.pid)
        });
        if process.is_some() {
            self.running.remove(&task.pid);
        }
        let maps = process.map_or(0, maps);
        self.maps += maps;
        self.queue.push_back(Thread { tid: task.tid, process, maps });
    }

    /// Takes out a thread that ended long ago.
    pub(super) fn take_old(&mut self) -> Option<Thread> {
        if self.queue.len() <= KEPT && self.maps <= KEPT_MAPS {
            return None;
        }
        let old = self.queue.pop_front()?;
        self.maps -= old.maps;
        Some(old)
    }

    fn remove(&mut self, is_it: impl Fn(&Thread) -> bool) {
        let Gone { queue, maps, .. } = self;
        queue.retain(|gone| {
            let is_it = is_it(gone);
            *maps -= if is_it { gone.maps } else { 0 };
            !is_it
        });
    }
}
