//! The events of a recording: their names, their attrs, and which event a record belongs to.

use std::collections::HashMap;

use bstr::{BStr, BString};

use super::attr::{Attr, sample_type};
use super::bytes::{Cursor, Endian};
use super::head::{Head, kind};
use super::id;

/// One event as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among the recording's events, from 0.
    pub index: usize,
    /// The name that the user gave (`cycles:u`, `sched:sched_switch`), or one made from the attr if
    /// the recording has none.
    pub name: BString,
    /// What the event records.
    pub attr: Attr,
}

/// All events, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    list: Vec<Event>,
    by_id: HashMap<u64, usize>,
}

impl Events {
    pub(super) fn list(&self) -> &[Event] {
        &self.list
    }

    /// Adds an event with the ids that its records carry.
    pub(super) fn add(&mut self, attr: Attr, ids: impl Iterator<Item = u64>) {
        let index = self.list.len();
        self.list.push(Event { index, name: name_of(&attr), attr });
        self.by_id.extend(ids.map(|id| (id, index)));
    }

    /// The index of the event with this id.
    pub(super) fn index_of(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Names the event with this id, or else the one at `index`.
    pub(super) fn name(&mut self, id: Option<u64>, index: Option<usize>, name: &BStr) {
        let index = id.and_then(|id| self.index_of(id)).or(index);
        let event = index.and_then(|at| self.list.get_mut(at));
        if let Some(event) = event.filter(|_| !name.is_empty()) {
            event.name = name.into();
        }
    }

    /// Names the events of one type: HEADER_EVENT_TYPE of old recordings.
    pub(super) fn name_config(&mut self, config: u64, name: &BStr) {
        for event in self.list.iter_mut().filter(|event| event.attr.config == config) {
            event.name = name.into();
        }
    }

    /// The EVENT_DESC feature: for each event its attr, its name and its ids.
    pub(super) fn describe(&mut self, mut c: Cursor<'_>) -> Option<()> {
        let count = c.u32()?;
        let attr_size = c.u32()?;
        for index in 0..count as usize {
            c.skip(attr_size.into())?;
            let ids = c.u32()?;
            let name = c.string()?;
            let ids = c.words(ids.into())?;
            let at = if ids.is_empty() { Some(index) } else { None };
            self.name(ids.get(0), at, name);
        }
        Some(())
    }

    /// The event of a kernel record, found as perf's `evlist__event2evsel` does.
    pub(super) fn of(&self, head: Head, bytes: &[u8], endian: Endian) -> Option<&Event> {
        let first = self.list.first()?;
        let attr = &first.attr;
        let sample = head.kind == kind::SAMPLE;
        let has_id = attr.sample_type & (sample_type::IDENTIFIER | sample_type::ID) != 0;
        if self.list.len() == 1 || !has_id || !(sample || attr.sample_id_all()) {
            return Some(first);
        }
        let id = if sample {
            id::id_of_sample(bytes, endian, attr)
        } else {
            id::id_of_other(bytes, endian, attr)
        };
        match id? {
            0 => Some(first), // perf's synthetic records
            id => self.index_of(id).and_then(|at| self.list.get(at)),
        }
    }
}

const HARDWARE: [&str; 10] = [
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];
const SOFTWARE: [&str; 12] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
];

/// The name that perf gives an event without one: its type, then the modes in which it counts
/// (`cycles:u`).
fn name_of(attr: &Attr) -> BString {
    let known = |names: &[&'static str]| {
        usize::try_from(attr.config).ok().and_then(|at| names.get(at).copied())
    };
    let name = match attr.kind {
        0 => known(&HARDWARE),
        1 => known(&SOFTWARE),
        _ => None,
    };
    let mut name = match (name, attr.kind) {
        (Some(name), _) => name.to_owned(),
        (None, 2) => format!("tracepoint {}", attr.config),
        (None, 4) => format!("raw {:#x}", attr.config),
        (None, kind) => format!("event {kind}/{:#x}/", attr.config),
    };
    let excluded = [attr.exclude_kernel(), attr.exclude_user(), attr.exclude_hv()];
    let any = excluded.contains(&true);
    if any || attr.precise_ip() > 0 {
        name.push(':');
        let modes = excluded.iter().zip(['k', 'u', 'h']);
        name.extend(modes.filter(|(excluded, _)| any && !**excluded).map(|(_, mode)| mode));
        name.extend((0..attr.precise_ip()).map(|_| 'p'));
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_attrs() {
        let attr = |kind, config, flags| Attr { kind, config, flags, ..Attr::default() };
        for (attr, name) in [
            (attr(0, 0, 0), "cycles"),
            (attr(1, 0, 1 << 5 | 1 << 6), "cpu-clock:u"),
            (attr(0, 1, 1 << 4), "instructions:kh"),
            (attr(0, 0, 2 << 15), "cycles:pp"),
            (attr(1, 99, 0), "event 1/0x63/"),
            (attr(2, 312, 0), "tracepoint 312"),
        ] {
            assert_eq!(name_of(&attr), name);
        }
    }
}
