//! Chooses the event of a profile that is folded, because the weights of two events cannot be added
//! up.
//!
//! A sample does not say whether its event is the wanted one. So all events are summed, each by
//! itself, and the choice is made at the end. The first event that the recording lists is folded,
//! because perf reports them in that order. If text has no such list, its most frequent event is
//! folded. An event without any call chain is folded only if no other has one.

use std::cmp::Reverse;

use bstr::{BStr, BString, ByteSlice};
use hashbrown::HashMap;

use super::Config;
use crate::error::Error;
use crate::event;
use crate::folded::OFF_CPU;
use crate::sample::{FrameId, FrameTable, Kind, Sample};
use crate::tally::{Count, grouped};
use crate::unit::{self, Unit};

/// The events of a profile, and which of them are folded.
///
/// `cycles:u` and `cycles:k` are one event. So are `cpu_core/cycles/` and `cpu_atom/cycles/`, the
/// halves of a hybrid CPU.
#[derive(Default)]
pub(super) struct EventFilter {
    choice: Choice,
    seen: Vec<Seen>,
    numbers: HashMap<BString, usize>,
    /// The name of the last sample's event, and its number; most profiles have one event.
    last: BString,
    last_number: Option<usize>,
    /// The events that the recording lists, and when each was read.
    listed: Vec<(BString, u64)>,
    /// Counts new events, so that several threads agree on which came first.
    clock: u64,
    /// The value of `clock` when several threads began to read.
    began: u64,
}

/// Which events are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Choice {
    /// The best one, and `off-cpu` beside a clock.
    #[default]
    Best,
    /// The one that the user named, alone.
    Named(BString),
    /// All.
    All,
}

/// An event of the profile.
struct Seen {
    /// Its first name, with modifiers.
    name: BString,
    count: Count,
    /// The most frames of its samples, up to [`CHAIN`].
    depth: usize,
    first: u64,
}

/// A stack with at least as many frames is a call chain.
const CHAIN: usize = 2;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Folded,
    /// Folded too, but under a root of its own: blocked threads, beside a clock. Both are
    /// nanoseconds.
    Off,
    Other,
}

impl EventFilter {
    pub(super) fn new(config: &Config) -> Self {
        let choice = match (&config.event, config.by_event) {
            (Some(event), _) => Choice::Named(event.clone()),
            (None, true) => Choice::All,
            (None, false) => Choice::Best,
        };
        EventFilter { choice, ..EventFilter::default() }
    }

    /// Counts a sample. Returns the number of its event if the sample may be folded.
    pub(super) fn count(
        &mut self,
        sample: &Sample<'_>,
        weight: u64,
        frames: &FrameTable,
    ) -> Option<usize> {
        self.count_event(sample.event, weight, || {
            // The address of a sample without a call chain may be in inlined functions, too.
            let called = |id: &&FrameId| frames.kind(**id) != Kind::Inlined;
            sample.stack.iter().filter(called).take(CHAIN).count()
        })
    }

    fn count_event(
        &mut self,
        event: &BStr,
        weight: u64,
        frames: impl FnOnce() -> usize,
    ) -> Option<usize> {
        let number = match self.last_number {
            Some(number) if self.last == event => number,
            _ => self.look_up(event),
        };
        let seen = &mut self.seen[number];
        seen.count += Count::one(weight);
        if seen.depth < CHAIN {
            seen.depth = seen.depth.max(frames());
        }
        let may_be_folded = match &self.choice {
            Choice::Named(wanted) => is_same(wanted, &seen.name),
            Choice::Best | Choice::All => true,
        };
        may_be_folded.then_some(number)
    }

    fn look_up(&mut self, event: &BStr) -> usize {
        let number = self.number_of(event, self.clock);
        self.last = event.into();
        self.last_number = Some(number);
        number
    }

    fn number_of(&mut self, event: &BStr, first: u64) -> usize {
        let base = base_event(event);
        if let Some(&number) = self.numbers.get(base.as_bstr()) {
            return number;
        }
        self.clock += 1;
        self.numbers.insert(base.into(), self.seen.len());
        self.seen.push(Seen { name: event.into(), count: Count::default(), depth: 0, first });
        self.seen.len() - 1
    }

    /// Notes the events that comment lines list.
    pub(super) fn note_listed(&mut self, text: &[u8]) {
        for name in event::listed(text) {
            self.list(name.into(), self.clock);
            self.clock += 1;
        }
    }

    fn list(&mut self, name: BString, when: u64) {
        match self.listed.iter_mut().find(|(known, _)| is_same(known, &name)) {
            Some((_, known)) => *known = when.min(*known),
            None => self.listed.push((name, when)),
        }
    }

    /// What becomes of each event, by its number.
    pub(super) fn turns(&self) -> Vec<Turn> {
        let best = self.best();
        let has_off = self.has_off();
        let turn = |(number, seen): (usize, &Seen)| {
            let is_folded = match &self.choice {
                Choice::All => true,
                Choice::Named(wanted) => is_same(wanted, &seen.name),
                // A sample without an event belongs to the folded one.
                Choice::Best => seen.name.is_empty() || best == Some(number),
            };
            if self.choice == Choice::Best && seen.is_off() && has_off {
                Turn::Off
            } else if is_folded {
                Turn::Folded
            } else {
                Turn::Other
            }
        };
        self.seen.iter().enumerate().map(turn).collect()
    }

    /// The number of the event to fold, if the user did not name one. `off-cpu` is never the one.
    fn best(&self) -> Option<usize> {
        let place = |seen: &Seen| {
            let listed = self.listed.iter().find(|(name, _)| is_same(name, &seen.name));
            listed.map_or(u64::MAX, |(_, when)| *when)
        };
        let rank =
            |seen: &Seen| (Reverse(seen.depth), place(seen), Reverse(seen.count.items), seen.first);
        let candidates = self.seen.iter().enumerate();
        let candidates = candidates.filter(|(_, seen)| !seen.name.is_empty() && !seen.is_off());
        candidates.min_by_key(|(_, seen)| rank(seen)).map(|(number, _)| number)
    }

    /// Whether blocked threads are folded beside the other event, because both are nanoseconds.
    pub(super) fn has_off(&self) -> bool {
        self.choice == Choice::Best
            && self.seen.iter().any(Seen::is_off)
            && (self.best().is_none() || self.is_clock())
    }

    /// Whether periods are time on the processor, in nanoseconds.
    pub(super) fn is_clock(&self) -> bool {
        let event = self.folded();
        matches!(event.as_ref().map(|event| base_event(event)), Some(b"cpu-clock" | b"task-clock"))
    }

    /// The event that is folded: the user's, or the best. `None` if there is none, or all are.
    pub(super) fn folded(&self) -> Option<BString> {
        match &self.choice {
            Choice::Named(wanted) => Some(wanted.clone()),
            Choice::Best => self.best().map(|number| self.seen[number].name.clone()),
            Choice::All => None,
        }
    }

    /// The counts of the events that are not folded.
    pub(super) fn others(&self) -> Vec<(BString, Count)> {
        let turns = self.turns();
        let seen = self.seen.iter().zip(turns).filter(|(_, turn)| *turn == Turn::Other);
        seen.map(|(seen, _)| (base_event(&seen.name).into(), seen.count)).collect()
    }

    /// The error of a profile that has only other events.
    pub(super) fn nothing_wanted(&self, input: String) -> Error {
        let others = self.others();
        let others = others.iter().map(|(event, c)| format!("{} are of {event}", grouped(c.items)));
        let others = others.collect::<Vec<_>>().join(", ");
        Error::NoSamples { input, why: format!(" of the wanted event: {others}") }
    }

    /// The unit of the periods of all folded events, if it is one.
    pub(super) fn unit(&self) -> Option<BString> {
        let mut unit = Unit::default();
        for (seen, turn) in self.seen.iter().zip(self.turns()) {
            if turn != Turn::Other {
                unit.note(unit::of_event(seen.name.as_bstr()));
            }
        }
        unit.known().map(Into::into)
    }

    /// Several threads begin to read portions of the input, with this filter and others that are
    /// [beside](Self::beside) it.
    pub(super) fn begin_portions(&mut self) {
        self.began = self.clock;
    }

    /// A filter for a thread that reads some of the portions.
    pub(super) fn beside(&self) -> EventFilter {
        EventFilter { choice: self.choice.clone(), began: self.began, ..EventFilter::default() }
    }

    /// The next samples are from `portion`, which comes after all lower ones. The first is 1.
    pub(super) fn start_portion(&mut self, portion: u64) {
        self.clock = self.clock.max(self.began.saturating_add(portion << 32));
    }

    /// Adds the events of another filter. Returns the numbers that they have here.
    pub(super) fn absorb(&mut self, other: &EventFilter) -> Vec<usize> {
        let mut numbers = Vec::with_capacity(other.seen.len());
        for theirs in &other.seen {
            let number = self.number_of(theirs.name.as_bstr(), theirs.first);
            let seen = &mut self.seen[number];
            if theirs.first < seen.first {
                seen.first = theirs.first;
                seen.name = theirs.name.clone();
            }
            seen.count += theirs.count;
            seen.depth = seen.depth.max(theirs.depth);
            numbers.push(number);
        }
        for (name, when) in &other.listed {
            self.list(name.clone(), *when);
        }
        self.clock = self.clock.max(other.clock);
        numbers
    }
}

impl Seen {
    fn is_off(&self) -> bool {
        self.name == OFF_CPU
    }
}

/// Whether two names mean one event. A sample without an event belongs to any.
fn is_same(wanted: &BString, event: &BString) -> bool {
    event.is_empty() || wanted == event || base_event(wanted) == base_event(event)
}

/// An event without its modifiers, and without the half of a hybrid CPU that it was counted on.
///
/// `cycles:u` is `cycles`, `cpu/mem-loads,ldlat=30/P` is `cpu/mem-loads,ldlat=30/`, and
/// `cpu_core/cycles/u` is `cycles`.
pub fn base_event(event: &[u8]) -> &[u8] {
    let is_modifier = |tail: &[u8]| tail.iter().all(|byte| b"ukhGHpPSDIWebR".contains(byte));
    let event = match event.rfind_byte(b':') {
        Some(colon) if is_modifier(&event[colon + 1..]) => &event[..colon],
        _ => event,
    };
    let event = match event.rfind_byte(b'/') {
        Some(slash) if is_modifier(&event[slash + 1..]) => &event[..=slash],
        _ => event,
    };
    for half in [&b"cpu_core/"[..], b"cpu_atom/"] {
        if let Some(rest) = event.strip_prefix(half) {
            return rest.split_once_str("/").map_or(rest, |(name, _)| name);
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Frame;

    #[test]
    fn events_that_are_one() {
        for (a, b, same) in [
            ("cycles:u", "cycles:k", true),
            ("cycles", "cycles:uppp", true),
            ("cpu_core/cycles/", "cpu_atom/cycles/", true),
            ("cpu_core/cycles/u", "cpu_atom/cycles/k", true),
            ("cpu/mem-loads,ldlat=30/P", "cpu/mem-loads,ldlat=30/", true),
            ("cpu/mem-loads,ldlat=30/P", "cpu/mem-loads,ldlat=50/P", false),
            ("cycles", "instructions", false),
            ("sched:sched_switch", "sched:sched_wakeup", false),
            ("cpu_core/cycles/", "cpu_atom/instructions/", false),
        ] {
            assert_eq!(base_event(a.as_bytes()) == base_event(b.as_bytes()), same, "{a} {b}");
        }
    }

    fn filter(event: Option<&str>, by_event: bool) -> EventFilter {
        let event = event.map(BString::from);
        EventFilter::new(&Config { event, by_event, ..Config::default() })
    }

    #[test]
    fn blocked_threads_go_beside_clocks() {
        use Turn::{Folded, Off, Other};
        let left_out = |event: &str| vec![(event.into(), Count { items: 1, weight: 5 })];
        for (named, events, turns, has_off, others, unit) in [
            (None, ["off-cpu", "cpu-clock"], [Off, Folded], true, vec![], "ns"),
            (None, ["task-clock:u", "off-cpu"], [Folded, Off], true, vec![], "ns"),
            (None, ["cycles", "off-cpu"], [Folded, Other], false, left_out("off-cpu"), "cycles"),
            (
                Some("off-cpu"),
                ["faults:u", "off-cpu"],
                [Other, Folded],
                false,
                left_out("faults"),
                "ns",
            ),
            (
                Some("faults"),
                ["faults", "off-cpu"],
                [Folded, Other],
                false,
                left_out("off-cpu"),
                "faults",
            ),
        ] {
            let mut filter = filter(named, false);
            events.iter().for_each(|event| {
                filter.count_event((*event).into(), 5, || 2);
            });
            assert_eq!(filter.turns(), turns, "{events:?}");
            assert_eq!((filter.has_off(), filter.others()), (has_off, others), "{events:?}");
            assert_eq!(filter.unit(), Some(unit.into()), "{events:?}");
        }
    }

    #[test]
    fn all_events_are_folded_and_have_no_common_unit() {
        let mut filter = filter(None, true);
        filter.count_event("cycles:u".into(), 5, || 2);
        assert_eq!(filter.unit(), Some("cycles".into()));
        filter.count_event("off-cpu".into(), 5, || 2);
        assert_eq!(filter.turns(), [Turn::Folded; 2]);
        assert_eq!((filter.unit(), filter.others().len()), (None, 0));
    }

    #[test]
    fn the_best_event_is_the_first_listed_or_the_most_frequent() {
        for (listed, samples, best) in [
            ("", "a2 b2 b2", "b"),
            ("", "a2 b2", "a"),
            ("", "a1 a1 b2", "b"),
            ("", "a0 a0 b1", "b"),
            ("a", "b2 b2 a2", "a"),
            ("b a", "a2 a2 b2", "b"),
            ("c a b", "b2 b2 a2", "a"),
            ("a:u b", "b2 b2 a2", "a"),
            ("a b", "a1 b2", "b"),
        ] {
            let mut filter = filter(None, false);
            let lines = listed.split_whitespace().map(|name| format!("# event : name = {name}\n"));
            filter.note_listed(lines.collect::<String>().as_bytes());
            for sample in samples.split(' ') {
                let (event, frames) = sample.split_at(1);
                filter.count_event(event.into(), 1, || frames.parse().unwrap());
            }
            assert_eq!(filter.folded(), Some(best.into()), "{listed} / {samples}");
        }
    }

    #[test]
    fn inlined_functions_are_no_call_chain() {
        let mut frames = FrameTable::default();
        let mut frame = |kind| {
            let name = b"f".as_bstr();
            frames.intern(Frame { symbol: name, module: name, kind, ..Frame::default() })
        };
        let [inlined, user] = [Kind::Inlined, Kind::User].map(&mut frame);
        let mut filter = filter(None, false);
        filter.note_listed(b"# event : name = flat\n# event : name = chained\n");
        for (event, stack) in [("flat", [inlined, user]), ("chained", [user, user])] {
            let sample = Sample { event: event.into(), stack: &stack, ..Sample::default() };
            filter.count(&sample, 1, &frames);
        }
        assert_eq!(filter.folded(), Some("chained".into()));
    }

    #[test]
    fn threads_agree_on_what_came_first() {
        let [mut a, mut b] = [3, 2].map(|portion| {
            let mut filter = filter(None, false);
            filter.start_portion(portion);
            filter
        });
        a.count_event("x".into(), 1, || 2);
        a.count_event("y".into(), 1, || 2);
        b.count_event("y".into(), 1, || 2);
        b.count_event("x".into(), 1, || 2);
        assert_eq!(a.absorb(&b), [1, 0]);
        assert_eq!(a.folded(), Some("y".into()));
    }
}
