//! The processes of a workload among all that a machine runs: those that it began with, and those
//! that they have started since.

use std::collections::HashSet;

use crate::perf_data::{Record, SampleId};

/// The processes that a recording of the processors keeps.
pub(super) struct Family(HashSet<u32>);

impl Family {
    pub(super) fn of(pids: &[u32]) -> Family {
        Family(pids.iter().copied().collect())
    }

    /// Whether a record is of the family or of the whole machine. Records come in order of time.
    pub(super) fn takes(&mut self, record: &Record<'_>, id: &SampleId) -> bool {
        let pid = match record {
            Record::Fork(task) if task.pid != task.ppid => {
                // Numbers of processes are used again.
                if !self.0.contains(&task.ppid) {
                    self.0.remove(&task.pid);
                    return false;
                }
                self.0.insert(task.pid);
                Some(task.pid)
            }
            Record::Fork(task) | Record::Exit(task) => Some(task.pid),
            Record::Mmap(mmap) => Some(mmap.pid),
            Record::Comm { pid, .. } => Some(*pid),
            Record::Sample(sample) => sample.pid,
            Record::Switch { .. } => id.pid,
            _ => None,
        };
        // The kernel's maps and code belong to no process.
        pid.is_none_or(|pid| pid == u32::MAX || self.0.contains(&pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::Task;

    #[test]
    fn children_belong_to_it_and_numbers_are_used_again() {
        let mut family = Family::of(&[7]);
        let mut takes = |record: Record<'_>| family.takes(&record, &SampleId::default());
        let fork = |ppid, pid| Record::Fork(Task { pid, ppid, tid: pid, ptid: ppid, time: 0 });
        let comm = |pid| Record::Comm { pid, tid: pid, comm: b"".into(), exec: false };
        let steps = [
            (comm(7), true),
            (comm(8), false),
            (fork(7, 8), true),
            (comm(8), true),
            (fork(8, 9), true),
            (fork(1, 8), false),
            (comm(8), false),
            (comm(9), true),
            (comm(u32::MAX), true),
            (Record::Lost { id: 1, count: 1 }, true),
        ];
        for (step, (record, expected)) in steps.into_iter().enumerate() {
            assert_eq!(takes(record), expected, "step {step}");
        }
    }
}
