//! Computes the period of a sample, for each event that it counts for.
//!
//! With `perf record -e '{cycles,cache-misses}:S'` only the leader is sampled, and each sample
//! carries the counters of all members. So one record is one sample of every event of the group.
//! Its period is the difference to the counter's last value.

use std::collections::HashMap;

use super::event::Event;
use super::reader::Item;
use super::record::Record;

/// The last value of every counter in samples.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// By the event's id, and by the thread if each thread has its own counter.
    last: HashMap<(u64, Option<u32>), u64>,
}

impl Shares {
    /// Calls `each` with every event that the sample `item` counts for, and with its period in
    /// units of the event.
    ///
    /// Leaves out events that did not occur since the last sample, as perf does. Does nothing if
    /// `item` is not a sample.
    pub fn of<'a>(&mut self, item: &Item<'a>, mut each: impl FnMut(&'a Event, u64)) {
        let (Record::Sample(sample), Some(event)) = (item.record, item.event) else { return };
        let Some(read) = sample.read else {
            let fixed = if event.attr.freq() { 1 } else { event.attr.period_or_freq };
            return each(event, sample.period.unwrap_or(fixed));
        };
        for value in read.values() {
            // A value without an id belongs to the sampled event itself.
            let id = value.id.or(sample.id).unwrap_or(0);
            let event = if value.id.is_some() { item.event_of(id) } else { Some(event) };
            let Some(event) = event else { continue };
            let thread = sample.tid.filter(|_| event.attr.inherit());
            let last = self.last.insert((id, thread), value.value).unwrap_or(0);
            // A counter that goes back was reset to zero.
            let period = value.value.checked_sub(last).unwrap_or(value.value);
            if period > 0 {
                each(event, period);
            }
        }
    }
}
