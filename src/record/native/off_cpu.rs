//! Finds where threads block, and for how long: from the switch that takes a thread off the
//! processor to the switch that brings it back.
//!
//! ```text
//!  sample of the switch ─▶ Leaving ─▶ SWITCH out ─▶ Blocked, unwound ─▶ SWITCH in ─▶ a sample
//!                            │                        └ the recording ends ─▶ a sample until then
//!                            └ SWITCH out, preempted ─▶ forgotten
//! ```
//!
//! The kernel takes the sample in the thread that leaves, with its stack, and says only afterwards
//! whether the thread still wanted to run. A thread that did, because it was preempted or yielded,
//! is not blocked; `perf record --off-cpu` counts in the same way. The time ends when the thread
//! runs again, so it includes the wait for a free processor. The sample has the time of the return,
//! so that the stream stays sorted.
//!
//! Memory: a call chain for each thread that is blocked, and the numbers of some that have ended.

use std::collections::{HashMap, VecDeque};

use crate::perf_data::write::NewSample;
use crate::perf_data::{Attr, Endian, Head, RawSample, Record, SampleId};

/// The most threads that are known to have ended.
const MOST_OVER: usize = 1024;

/// The threads that do not run, by number.
#[derive(Default)]
pub(super) struct OffCpu {
    threads: HashMap<u32, Thread>,
    /// Those that have ended, the last ones at the end.
    over: VecDeque<u32>,
}

enum Thread {
    /// It is about to leave; its stack was sampled.
    Leaving(Vec<u8>),
    Blocked(Blocked),
    /// It has ended. If a whole machine is recorded, its last switch comes after its end.
    Over,
}

/// A thread that is blocked.
pub(super) struct Blocked {
    misc: u16,
    ip: u64,
    pid: u32,
    tid: u32,
    cpu: u32,
    since: u64,
    chain: Vec<u64>,
}

impl OffCpu {
    /// Takes note of a record. If a thread blocks, `chain` unwinds its copied stack. Returns a
    /// thread that is back, and when.
    pub(super) fn note(
        &mut self,
        record: &Record<'_>,
        id: &SampleId,
        attr: &Attr,
        chain: impl FnOnce(Head, &RawSample<'_>) -> Vec<u64>,
    ) -> Option<(Blocked, u64)> {
        match *record {
            Record::Exit(task) => {
                self.threads.insert(task.tid, Thread::Over);
                self.over.push_back(task.tid);
                if self.over.len() > MOST_OVER
                    && let Some(long) = self.over.pop_front()
                    && matches!(self.threads.get(&long), Some(Thread::Over))
                {
                    self.threads.remove(&long);
                }
            }
            Record::Fork(task) => drop(self.threads.remove(&task.tid)),
            Record::Switch { out, preempted, .. } => {
                let tid = id.tid?;
                match self.threads.remove(&tid)? {
                    Thread::Leaving(bytes) if out && !preempted => {
                        let blocked = Blocked::new(&bytes, attr, chain)?;
                        self.threads.insert(tid, Thread::Blocked(blocked));
                    }
                    Thread::Blocked(blocked) if !out => return Some((blocked, id.time?)),
                    // Records of a thread may come twice while we attach to it.
                    blocked @ (Thread::Blocked(_) | Thread::Over) => {
                        drop(self.threads.insert(tid, blocked));
                    }
                    // It was preempted, or the record in between was lost.
                    Thread::Leaving(_) => {}
                }
            }
            _ => {}
        }
        None
    }

    /// Keeps the sample of a thread that is about to leave.
    pub(super) fn leaves(&mut self, sample: &RawSample<'_>, bytes: &[u8]) {
        // 0 is the idle thread; -1 has ended.
        let Some(tid) = sample.tid.filter(|&tid| tid != 0 && tid != u32::MAX) else { return };
        if !matches!(self.threads.get(&tid), Some(Thread::Over)) {
            self.threads.insert(tid, Thread::Leaving(bytes.to_vec()));
        }
    }

    /// The threads that are not back at the end, in the order in which they left.
    pub(super) fn at_the_end(&mut self) -> Vec<Blocked> {
        let blocked = self.threads.drain().filter_map(|(_, thread)| match thread {
            Thread::Blocked(blocked) => Some(blocked),
            _ => None,
        });
        let mut blocked: Vec<Blocked> = blocked.collect();
        blocked.sort_by_key(|blocked| (blocked.since, blocked.tid));
        blocked
    }
}

impl Blocked {
    fn new(
        bytes: &[u8],
        attr: &Attr,
        chain: impl FnOnce(Head, &RawSample<'_>) -> Vec<u64>,
    ) -> Option<Blocked> {
        let head = Head::parse(bytes, Endian::NATIVE)?;
        let (Record::Sample(sample), _) = Record::parse(bytes, Endian::NATIVE, attr)? else {
            return None;
        };
        Some(Blocked {
            misc: head.misc,
            ip: sample.ip?,
            pid: sample.pid?,
            tid: sample.tid?,
            cpu: sample.cpu.unwrap_or(0),
            since: sample.time?,
            chain: chain(head, &sample),
        })
    }

    /// Its sample in the recording, if it is back at `time`. `id` is the event's.
    pub(super) fn sample(&self, id: u64, time: u64) -> NewSample<'_> {
        let &Blocked { misc, ip, pid, tid, cpu, since, ref chain } = self;
        let period = time.saturating_sub(since);
        NewSample { misc, id, ip, pid, tid, time, cpu, period, chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::{Task, kind, sample_type as has};

    /// The stack of thread 7, as it leaves at `time`.
    fn leaves(off: &mut OffCpu, time: u64) {
        let mut bytes = Vec::new();
        bytes.extend(kind::SAMPLE.to_ne_bytes());
        bytes.extend([0, 0, 32, 0]);
        [5u64, 7 << 32 | 7, time].iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        let attr = attr();
        let Some((Record::Sample(sample), _)) = Record::parse(&bytes, Endian::NATIVE, &attr) else {
            panic!("no sample")
        };
        off.leaves(&sample, &bytes);
    }

    fn attr() -> Attr {
        Attr { sample_type: has::IP | has::TID | has::TIME, ..Attr::default() }
    }

    fn note(off: &mut OffCpu, record: &Record<'_>, time: u64) -> Option<u64> {
        let id = SampleId { tid: Some(7), time: Some(time), ..SampleId::default() };
        let back = off.note(record, &id, &attr(), |_, _| vec![1])?;
        Some(back.0.sample(0, back.1).period)
    }

    fn switch(off: &mut OffCpu, out: bool, preempted: bool, time: u64) -> Option<u64> {
        note(off, &Record::Switch { out, preempted }, time)
    }

    #[test]
    fn who_is_preempted_is_not_blocked() {
        let mut off = OffCpu::default();
        assert_eq!(switch(&mut off, false, false, 1), None, "it came for the first time");
        for (preempted, period) in [(false, Some(8)), (true, None)] {
            leaves(&mut off, 2);
            assert_eq!(switch(&mut off, true, preempted, 3), None);
            assert_eq!(switch(&mut off, false, false, 10), period);
            assert!(off.threads.is_empty());
        }
    }

    #[test]
    fn what_is_lost_costs_what_it_told_and_what_comes_twice_counts_once() {
        let mut off = OffCpu::default();
        leaves(&mut off, 2);
        assert_eq!(switch(&mut off, false, false, 4), None);
        leaves(&mut off, 5);
        leaves(&mut off, 6);
        switch(&mut off, true, false, 7);
        switch(&mut off, true, false, 8);
        assert_eq!(switch(&mut off, false, false, 9), Some(3));
        assert_eq!(switch(&mut off, false, false, 10), None);
    }

    #[test]
    fn threads_that_ended_long_ago_are_forgotten() {
        let mut off = OffCpu::default();
        for tid in 0..10_000 {
            let task = Task { pid: tid, ppid: 1, tid, ptid: 1, time: 1 };
            note(&mut off, &Record::Exit(task), 1);
        }
        assert_eq!((off.threads.len(), off.over.len()), (MOST_OVER, MOST_OVER));
    }

    #[test]
    fn the_end_of_a_thread_and_of_the_recording() {
        let mut off = OffCpu::default();
        let task = Task { pid: 7, ppid: 1, tid: 7, ptid: 1, time: 1 };
        note(&mut off, &Record::Exit(task), 1);
        leaves(&mut off, 2);
        switch(&mut off, true, false, 3);
        assert!(off.at_the_end().is_empty(), "it is over");
        note(&mut off, &Record::Fork(task), 4);
        leaves(&mut off, 5);
        switch(&mut off, true, false, 6);
        let periods = off.at_the_end().iter().map(|it| it.sample(0, 9).period).collect::<Vec<_>>();
        assert_eq!(periods, [4]);
    }
}
