//! Compares the processor time of the samples with the time that the workload used.
//!
//! The kernel starts a new count for each thread, so a thread that lives for less than a sampling
//! interval is never sampled. READ records say what a clock counted in all threads: fg-record
//! writes one at the end, `perf record -s` one for each thread that ended.

use crate::perf_data::{Event, Read};
use crate::tally::{Loss, Seen, Tally};

/// The sums of each event, by its index.
#[derive(Default)]
pub(super) struct Coverage {
    events: Vec<Sum>,
    /// How many threads and processes started.
    threads: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    /// The periods of the samples, in nanoseconds.
    sampled: u64,
    /// The kernel's count, in nanoseconds, for clocks in all modes.
    counted: u64,
    interval: u64,
}

impl Coverage {
    /// Adds a sample with this `period`.
    pub(super) fn sample(&mut self, event: &Event, period: u64) {
        let sum = self.of(event);
        sum.sampled = sum.sampled.saturating_add(period);
    }

    /// Adds a thread that started.
    pub(super) fn fork(&mut self) {
        self.threads += 1;
    }

    /// Adds the kernel's count.
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

    /// Adds the result to `tally`, if it is known. Samples that the recorder lost are counted there
    /// already.
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
