//! The ids in records: each belongs to one event of one thread on one CPU.

use std::collections::HashMap;

use crate::perf_data::RawSample;

/// The events and threads that events were opened for.
#[derive(Clone, Default)]
pub(super) struct Ids {
    /// The event and the thread of each id. Trackers have none.
    events: HashMap<u64, (usize, i32)>,
    /// When all events of a thread were open, in nanoseconds.
    threads: HashMap<i32, u64>,
}

impl Ids {
    /// `id` belongs to this event of this thread.
    pub(super) fn insert(&mut self, id: u64, event: usize, thread: i32) {
        self.events.insert(id, (event, thread));
    }

    /// All events of the thread have been open since `time`.
    pub(super) fn all_open(&mut self, thread: i32, time: u64) {
        self.threads.insert(thread, time);
    }

    /// Forgets the ids.
    pub(super) fn clear(&mut self) {
        self.events.clear();
    }

    /// The event that an id in a record belongs to.
    pub(super) fn event_of(&self, id: u64) -> Option<usize> {
        self.events.get(&id).map(|&(event, _)| event)
    }

    /// The one id that the records of an event get in the recording.
    pub(super) fn number(&self, event: usize) -> u64 {
        let its = self.events.iter().filter(|(_, of)| of.0 == event);
        its.map(|(&id, _)| id).min().unwrap_or(0)
    }

    /// Whether a sample of an inherited event repeats one of its thread's own events. Before the
    /// thread had its own events, the inherited ones are all that is known.
    pub(super) fn is_inherited_twice(&self, sample: &RawSample<'_>, id: u64) -> bool {
        let Some(thread) = sample.tid.map(u32::cast_signed) else { return false };
        let is_late = || self.threads.get(&thread).is_some_and(|&since| sample.time >= Some(since));
        self.events.get(&id).is_some_and(|&(_, of)| of != thread) && is_late()
    }
}
