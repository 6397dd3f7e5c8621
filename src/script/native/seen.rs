//! How much of the processor time that a workload used its samples stand for.
//!
//! The kernel begins to count anew for each thread: one that lives for less than a sampling
//! interval is never sampled. What a clock counted in all threads is told by READ records, of
//! fg-record once at the end, of `perf record -s` for each thread that ended.

use crate::perf_data::{Event, Read};
use crate::tally::{Loss, Seen, Tally};

/// For each event, by its index.
#[derive(Default)]
pub(super) struct Sums {
    events: Vec<Sum>,
    /// How many threads and processes were started.
    threads: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    /// What the samples stand for, and what the kernel counted: in nanoseconds, of clocks in all
    /// modes.
    sampled: u64,
    counted: u64,
    interval: u64,
}

impl Sums {
    /// A sample stands for `period`.
    pub(super) fn sample(&mut self, event: &Event, period: u64) {
        let sum = self.of(event);
        sum.sampled = sum.sampled.saturating_add(period);
    }

    /// A thread was started.
    pub(super) fn fork(&mut self) {
        self.threads += 1;
    }

    /// The kernel counted so much.
    pub(super) fn count(&mut self, event: &Event, read: &Read<'_>) {
        let Some(value) = read.values().next().filter(|_| is_clock(event)) else { return };
        let rate = event.attr.period_or_freq;
        let interval =
            if event.attr.freq() { 1_000_000_000u64.checked_div(rate) } else { Some(rate) };
        let sum = self.of(event);
        sum.interval = interval.unwrap_or(0);
        sum.counted = sum.counted.saturating_add(value.value);
    }

    fn of(&mut self, event: &Event) -> &mut Sum {
        if self.events.len() <= event.index {
            self.events.resize(event.index + 1, Sum::default());
        }
        &mut self.events[event.index]
    }

    /// Tells it, if it is known. The samples that the recorder lost are told already.
    pub(super) fn tally(&self, tally: &mut Tally) {
        let Some(sum) = self.events.iter().find(|sum| sum.counted > 0) else { return };
        let lost = sum.interval.saturating_mul(tally.lost(Loss::Lost).items);
        tally.seen = Some(Seen {
            sampled: sum.sampled,
            counted: sum.counted.saturating_sub(lost),
            by_start: sum.interval.saturating_mul(self.threads),
        });
    }
}

/// `cpu-clock` and `task-clock`, which count in all modes even if only one of them is sampled.
fn is_clock(event: &Event) -> bool {
    let attr = &event.attr;
    attr.kind == 1 && attr.config <= 1 && !attr.exclude_user() && !attr.exclude_kernel()
}
