//! Sorts records by time.
//!
//! The recorder empties one CPU's buffer after another, so times in a recording jump back with
//! every buffer. After each round through all buffers it writes FINISHED_ROUND. A record that was
//! in a buffer before round 2 began was taken out in round 2 at the latest. So at the end of round
//! 2, everything up to the latest time of round 1 has been seen:
//!
//! ```text
//!   CPU 0: 1 4 6 │ CPU 1: 2 3 9 │ ROUND │ CPU 0: 7 8 12 │ CPU 1: 10 11 │ ROUND │ …
//!                        latest: 9 ─┘          seen up to 9: out go 1 2 3 4 6 7 8 9
//! ```
//!
//! Two rounds are held in memory: 32 bytes per record of a mapped file, or the whole records of a
//! pipe. A recording without rounds, as from a killed or foreign recorder, would be held as a
//! whole. So if more than [`BUDGET`] bytes wait, the older half goes out. A record that comes too
//! late after that goes out late and is counted.
//!
//! The sort is stable: records of the same time keep the order of the recording. Records without a
//! time do not wait.

use std::collections::VecDeque;

/// How many bytes may wait: two rounds of 128 CPUs with 1 MB each.
const BUDGET: usize = 256 << 20;

/// Where a waiting record is.
#[derive(Debug)]
pub(super) enum Location {
    /// In the mapped file, at this byte.
    Whole(usize),
    /// Copied out of a stream.
    Owned(Box<[u8]>),
}

#[derive(Debug)]
struct Waiting {
    time: u64,
    location: Location,
}

impl Waiting {
    fn cost(&self) -> usize {
        let owned = if let Location::Owned(bytes) = &self.location { bytes.len() } else { 0 };
        size_of::<Waiting>() + owned
    }
}

/// The waiting records.
#[derive(Debug)]
pub(super) struct Order {
    pending: Vec<Waiting>,
    ready: VecDeque<Location>,
    /// The cost of the pending records.
    held: usize,
    budget: usize,
    /// The latest time so far.
    latest: u64,
    /// The latest time at the end of the last round.
    round: u64,
    /// The latest time that went out.
    out: u64,
    /// The budget was exceeded.
    forced: bool,
    late: u64,
}

impl Order {
    pub(super) fn new() -> Order {
        Order::with_budget(BUDGET)
    }

    fn with_budget(budget: usize) -> Order {
        Order {
            pending: Vec::new(),
            ready: VecDeque::new(),
            held: 0,
            budget,
            latest: 0,
            round: 0,
            out: 0,
            forced: false,
            late: 0,
        }
    }

    /// Adds a record. One without a time goes out at once. perf's synthetic records have time 0.
    pub(super) fn push(&mut self, time: Option<u64>, location: Location) {
        let Some(time) = time.filter(|&time| time != 0 && time != u64::MAX) else {
            self.ready.push_back(location);
            return;
        };
        self.latest = self.latest.max(time);
        let waiting = Waiting { time, location };
        self.held += waiting.cost();
        self.pending.push(waiting);
        if self.held > self.budget {
            self.forced = true;
            self.sort();
            let half = self.held / 2;
            let mut sum = 0;
            let older = self.pending.iter().take_while(|waiting| {
                sum += waiting.cost();
                sum <= half
            });
            self.release(older.count().max(1));
        }
    }

    /// Handles the end of a round.
    pub(super) fn round(&mut self) {
        self.sort();
        let seen = self.pending.partition_point(|waiting| waiting.time <= self.round);
        self.release(seen);
        self.round = self.latest;
    }

    /// Handles the end of the recording.
    pub(super) fn end(&mut self) {
        self.sort();
        self.release(self.pending.len());
    }

    /// The next record in order that need not wait any more.
    pub(super) fn pop(&mut self) -> Option<Location> {
        self.ready.pop_front()
    }

    /// Whether [`pop`](Order::pop) would return a record.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many records came after a later one had gone out, since the budget was exceeded.
    ///
    /// If perf finishes a round a moment too early, one or two records come late too. They are not
    /// counted, because perf itself puts them in the same place.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    fn sort(&mut self) {
        self.pending.sort_by_key(|waiting| waiting.time);
    }

    fn release(&mut self, count: usize) {
        for waiting in self.pending.drain(..count.min(self.pending.len())) {
            self.held = self.held.saturating_sub(waiting.cost());
            self.late += u64::from(self.forced && waiting.time < self.out);
            self.out = self.out.max(waiting.time);
            self.ready.push_back(waiting.location);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(order: &mut Order) -> Vec<usize> {
        std::iter::from_fn(|| order.pop())
            .map(|location| match location {
                Location::Whole(at) => at,
                Location::Owned(bytes) => bytes.len(),
            })
            .collect()
    }

    fn push(order: &mut Order, times: &[u64]) {
        for &time in times {
            order.push(Some(time), Location::Whole(time as usize));
        }
    }

    #[test]
    fn rounds_as_in_the_picture() {
        let mut order = Order::new();
        push(&mut order, &[1, 4, 6, 2, 3, 9]);
        order.round();
        assert_eq!(drain(&mut order), Vec::<usize>::new());
        push(&mut order, &[7, 8, 12, 10, 11]);
        order.round();
        assert_eq!(drain(&mut order), [1, 2, 3, 4, 6, 7, 8, 9]);
        order.end();
        assert_eq!(drain(&mut order), [10, 11, 12]);
        assert_eq!((order.late(), order.held), (0, 0));
    }

    #[test]
    fn no_time_does_not_wait_and_equal_times_keep_their_order() {
        let mut order = Order::new();
        for (at, time) in [(1, Some(5)), (2, Some(4)), (3, Some(5)), (4, None), (5, Some(0))] {
            order.push(time, Location::Whole(at));
        }
        assert_eq!(drain(&mut order), [4, 5]);
        order.end();
        assert_eq!(drain(&mut order), [2, 1, 3]);
    }

    #[test]
    fn without_rounds_memory_is_bounded() {
        let mut order = Order::with_budget(10_000);
        let mut seen = 0;
        for time in 1..1000 {
            order.push(Some(time), Location::Owned(vec![0; 100].into()));
            assert!(order.held <= 10_000);
            seen += drain(&mut order).len();
        }
        order.push(Some(1), Location::Whole(0));
        order.end();
        assert_eq!(seen + drain(&mut order).len(), 1000);
        assert_eq!(order.late(), 1, "time 1 had gone out long before");
    }
}
