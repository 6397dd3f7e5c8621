//! Which events of a profile are folded.

use bstr::{BStr, BString, ByteSlice};

use crate::folded::OFF_CPU;
use crate::tally::Count;

/// Lets one event through: the weights of two events cannot be added up. Those of `off-cpu` and a clock can.
///
/// `cycles:u` and `cycles:k` are one event, and so are the halves of a hybrid CPU, `cpu_core/cycles/` and `cpu_atom/cycles/`.
#[derive(Default)]
pub(super) struct EventFilter {
    pub(super) wanted: Option<BString>,
    /// Somebody named an event: nothing goes beside it.
    is_named: bool,
    /// The event of the last sample and what became of it; most profiles have but one.
    last: BString,
    last_turn: Option<Turn>,
    other: Count,
    off: Count,
}

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Folded,
    /// Folded too, but under a root of its own, if it turns out to be in the unit of the others.
    Off,
    Other,
}

impl EventFilter {
    pub(super) fn new(wanted: Option<BString>) -> Self {
        EventFilter { is_named: wanted.is_some(), wanted, ..EventFilter::default() }
    }

    pub(super) fn turn(&mut self, event: &BStr, weight: u64) -> Turn {
        let turn = match self.last_turn {
            Some(turn) if self.last == event => turn,
            _ => self.decide(event),
        };
        let count = match turn {
            Turn::Folded => return turn,
            Turn::Off => &mut self.off,
            Turn::Other => &mut self.other,
        };
        count.items += 1;
        count.weight = count.weight.saturating_add(weight);
        turn
    }

    fn decide(&mut self, event: &BStr) -> Turn {
        let turn = if !self.is_named && event == OFF_CPU {
            Turn::Off
        } else {
            if self.wanted.is_none() && !event.is_empty() {
                self.wanted = Some(event.into());
            }
            let same = |wanted: &BString| {
                event.is_empty() || wanted == event || base_event(wanted) == base_event(event)
            };
            if self.wanted.as_ref().is_none_or(same) { Turn::Folded } else { Turn::Other }
        };
        self.last = event.into();
        self.last_turn = Some(turn);
        turn
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

    /// What is not folded.
    pub(super) fn other(&self) -> Count {
        let off = if self.has_off() { Count::default() } else { self.off };
        Count {
            items: self.other.items + off.items,
            weight: self.other.weight.saturating_add(off.weight),
        }
    }

    /// Adds what another filter met.
    pub(super) fn absorb(&mut self, other: &EventFilter) {
        self.wanted = self.wanted.take().or_else(|| other.wanted.clone());
        for (into, from) in [(&mut self.other, other.other), (&mut self.off, other.off)] {
            into.items += from.items;
            into.weight = into.weight.saturating_add(from.weight);
        }
    }
}

/// An event without its modifiers and without the half of a hybrid CPU it was counted on.
fn base_event(event: &[u8]) -> &[u8] {
    let is_modifier = |tail: &[u8]| tail.iter().all(|byte| b"ukhGHpPSDIWebR".contains(byte));
    let event = match event.rfind_byte(b':') {
        Some(colon) if is_modifier(&event[colon + 1..]) => &event[..colon],
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
            ("cycles", "instructions", false),
            ("sched:sched_switch", "sched:sched_wakeup", false),
            ("cpu_core/cycles/", "cpu_atom/instructions/", false),
        ] {
            assert_eq!(base_event(a.as_bytes()) == base_event(b.as_bytes()), same, "{a} {b}");
        }
    }

    #[test]
    fn blocked_threads_go_beside_clocks() {
        for (named, events, turns, has_off, other) in [
            (None, ["off-cpu", "cpu-clock"], [Turn::Off, Turn::Folded], true, 0),
            (None, ["task-clock:u", "off-cpu"], [Turn::Folded, Turn::Off], true, 0),
            (None, ["cycles", "off-cpu"], [Turn::Folded, Turn::Off], false, 1),
            (Some("off-cpu"), ["cpu-clock", "off-cpu"], [Turn::Other, Turn::Folded], false, 1),
            (Some("cpu-clock"), ["cpu-clock", "off-cpu"], [Turn::Folded, Turn::Other], false, 1),
        ] {
            let mut filter = EventFilter::new(named.map(BString::from));
            assert_eq!(events.map(|event| filter.turn(event.into(), 5)), turns, "{events:?}");
            assert_eq!((filter.has_off(), filter.other().items), (has_off, other), "{events:?}");
        }
    }
}
