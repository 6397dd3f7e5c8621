//! Which events of a profile are folded.

use bstr::{BStr, BString, ByteSlice};

use super::Config;
use crate::error::Error;
use crate::folded::OFF_CPU;
use crate::tally::{Count, grouped};
use crate::unit::{self, Unit};

/// Lets one event through, or each: the weights of two events cannot be added up. Those of `off-cpu` and a clock can.
///
/// `cycles:u` and `cycles:k` are one event, and so are the halves of a hybrid CPU, `cpu_core/cycles/` and `cpu_atom/cycles/`.
#[derive(Default)]
pub(super) struct EventFilter {
    pub(super) wanted: Option<BString>,
    choice: Choice,
    /// The event of the last sample and what became of it; most profiles have but one.
    last: BString,
    last_turn: Option<Turn>,
    /// What is not folded, by event.
    others: Vec<(BString, Count)>,
    off: Count,
    unit: Unit,
}

/// Who chose what is folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    /// Nobody: the first event met.
    #[default]
    First,
    /// Somebody named it: nothing goes beside it.
    Named,
    /// All are.
    All,
}

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Folded,
    /// Folded too, but under a root of its own, if it turns out to be in the unit of the others.
    Off,
    /// Left out; where its event is counted.
    Other(usize),
}

impl EventFilter {
    pub(super) fn new(config: &Config) -> Self {
        let choice = match (&config.event, config.by_event) {
            (Some(_), _) => Choice::Named,
            (None, true) => Choice::All,
            (None, false) => Choice::First,
        };
        EventFilter { choice, wanted: config.event.clone(), ..EventFilter::default() }
    }

    pub(super) fn turn(&mut self, event: &BStr, weight: u64) -> Turn {
        let turn = match self.last_turn {
            Some(turn) if self.last == event => turn,
            _ => self.decide(event),
        };
        match turn {
            Turn::Folded => return turn,
            Turn::Off => self.off += Count::one(weight),
            Turn::Other(at) => self.others[at].1 += Count::one(weight),
        }
        turn
    }

    fn decide(&mut self, event: &BStr) -> Turn {
        if self.wanted.is_none() && !event.is_empty() && !self.goes_beside(event) {
            self.wanted = Some(event.into());
        }
        let same = |wanted: &BString| {
            event.is_empty() || wanted == event || base_event(wanted) == base_event(event)
        };
        let is_wanted = self.choice == Choice::All || self.wanted.as_ref().is_none_or(same);
        let turn = if self.goes_beside(event) {
            Turn::Off
        } else if is_wanted {
            self.unit.note(unit::of_event(event));
            Turn::Folded
        } else {
            Turn::Other(self.other_at(base_event(event)))
        };
        self.last = event.into();
        self.last_turn = Some(turn);
        turn
    }

    fn goes_beside(&self, event: &BStr) -> bool {
        self.choice == Choice::First && event == OFF_CPU
    }

    fn other_at(&mut self, event: &[u8]) -> usize {
        self.others.iter().position(|(known, _)| known == event).unwrap_or_else(|| {
            self.others.push((event.into(), Count::default()));
            self.others.len() - 1
        })
    }

    /// Whether blocked threads go beside what else is folded, as both are in nanoseconds.
    pub(super) fn has_off(&self) -> bool {
        self.off.items > 0 && (self.wanted.is_none() || self.is_clock())
    }

    /// Whether periods are time on the processor, in nanoseconds.
    pub(super) fn is_clock(&self) -> bool {
        let event = self.wanted.as_ref().map(|event| base_event(event));
        matches!(event, Some(b"cpu-clock" | b"task-clock"))
    }

    /// What is not folded, by event.
    pub(super) fn others(&self) -> Vec<(BString, Count)> {
        let off = (!self.has_off() && self.off.items > 0).then(|| (OFF_CPU.into(), self.off));
        self.others.iter().cloned().chain(off).collect()
    }

    /// The error of a profile that has other events only.
    pub(super) fn nothing_wanted(&self, input: String) -> Error {
        let others = self.others();
        let others = others.iter().map(|(event, c)| format!("{} are of {event}", grouped(c.items)));
        let others = others.collect::<Vec<_>>().join(", ");
        Error::NoSamples { input, why: format!(" of the event that is wanted: {others}") }
    }

    /// What the periods of all that is folded are in.
    pub(super) fn unit(&self) -> Option<&BStr> {
        if self.has_off() { Some("ns".into()) } else { self.unit.known() }
    }

    /// Adds what another filter met.
    pub(super) fn absorb(&mut self, other: &EventFilter) {
        self.wanted = self.wanted.take().or_else(|| other.wanted.clone());
        for (event, count) in &other.others {
            let at = self.other_at(event);
            self.others[at].1 += *count;
        }
        self.off += other.off;
        self.unit.absorb(&other.unit);
    }
}

/// An event without its modifiers and without the half of a hybrid CPU it was counted on.
///
/// `cycles:u` is `cycles`, `cpu/mem-loads,ldlat=30/P` is `cpu/mem-loads,ldlat=30/`, `cpu_core/cycles/u` is `cycles`.
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

    #[test]
    fn blocked_threads_go_beside_clocks() {
        use Turn::{Folded, Off, Other};
        let left_out = |event: &str| vec![(event.into(), Count { items: 1, weight: 5 })];
        for (named, events, turns, has_off, others, unit) in [
            (None, ["off-cpu", "cpu-clock"], [Off, Folded], true, vec![], "ns"),
            (None, ["task-clock:u", "off-cpu"], [Folded, Off], true, vec![], "ns"),
            (None, ["cycles", "off-cpu"], [Folded, Off], false, left_out("off-cpu"), "cycles"),
            (
                Some("off-cpu"),
                ["faults:u", "off-cpu"],
                [Other(0), Folded],
                false,
                left_out("faults"),
                "ns",
            ),
            (
                Some("faults"),
                ["faults", "off-cpu"],
                [Folded, Other(0)],
                false,
                left_out("off-cpu"),
                "faults",
            ),
        ] {
            let config = Config { event: named.map(BString::from), ..Config::default() };
            let mut filter = EventFilter::new(&config);
            assert_eq!(events.map(|event| filter.turn(event.into(), 5)), turns, "{events:?}");
            assert_eq!((filter.has_off(), filter.others()), (has_off, others), "{events:?}");
            assert_eq!(filter.unit(), Some(unit.into()), "{events:?}");
        }
    }

    #[test]
    fn all_events_are_folded_and_have_no_common_unit() {
        let mut filter = EventFilter::new(&Config { by_event: true, ..Config::default() });
        assert_eq!(filter.turn("cycles:u".into(), 5), Turn::Folded);
        assert_eq!(filter.unit(), Some("cycles".into()));
        assert_eq!(filter.turn("off-cpu".into(), 5), Turn::Folded);
        assert_eq!((filter.unit(), filter.others().len()), (None, 0));
    }
}
