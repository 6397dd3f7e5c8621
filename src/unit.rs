//! What weights are in: nanoseconds, cycles, samples.
//!
//! Folded text tells it in a comment, `# unit: ns`, which fg-fold writes when asked to and fg-render shows. Not unasked: other readers
//! pass over it, but inferno and flamegraph.pl complain, and speedscope, which wants a number in each line, no longer knows the format.

use bstr::{BStr, BString, ByteSlice};

use crate::fold::base_event;

const START: &[u8] = b"# unit: ";

/// The unit, as far as all that tell it agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    told: Option<BString>,
    mixed: bool,
}

impl Unit {
    /// Somebody's weights are in `unit`; an empty one is not known.
    pub fn note(&mut self, unit: &[u8]) {
        match &self.told {
            None => self.told = Some(unit.into()),
            Some(told) => self.mixed |= *told != unit,
        }
    }

    /// What `line` of folded text tells.
    pub fn note_line(&mut self, line: &[u8]) {
        if let Some(unit) = of_line(line) {
            self.note(unit);
        }
    }

    /// What another part of the profile tells.
    pub fn absorb(&mut self, other: &Unit) {
        if let Some(told) = &other.told {
            self.note(told);
        }
        self.mixed |= other.mixed;
    }

    /// What all weights are in.
    pub fn known(&self) -> Option<&BStr> {
        let told = self.told.as_ref().map(|told| told.as_bstr());
        told.filter(|told| !self.mixed && !told.is_empty())
    }
}

/// `ns` of `# unit: ns`.
pub fn of_line(line: &[u8]) -> Option<&BStr> {
    Some(line.trim_ascii_end().strip_prefix(START.trim_ascii_end())?.trim_ascii_start().as_bstr())
}

/// `# unit: ns`, with its newline.
pub fn line(unit: &[u8]) -> Vec<u8> {
    [START, unit, b"\n"].concat()
}

/// What periods of `event` are in: those of clocks in `ns`, others in what is counted, such as `cycles`; empty where it is not told.
pub fn of_event(event: &BStr) -> &BStr {
    match base_event(event) {
        b"cpu-clock" | b"task-clock" | b"off-cpu" => b"ns".as_bstr(),
        event => event.as_bstr(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_agree_have_a_unit() {
        for (lines, known) in [
            (&["# unit: ns"][..], Some("ns")),
            (&["# unit: ns\r\n", "# else", "#unit: x", "# unit: ns"], Some("ns")),
            (&["# unit: ns", "# unit: cycles", "# unit: ns"], None),
            (&["# unit: ns", "# unit:"], None),
            (&["# unit: "], None),
            (&[], None),
        ] {
            let mut unit = Unit::default();
            lines.iter().for_each(|line| unit.note_line(line.as_bytes()));
            assert_eq!(unit.known(), known.map(BStr::new), "{lines:?}");
        }
        assert_eq!(of_line(&line(b"a b")), Some(BStr::new("a b")));
    }

    #[test]
    fn events_have_units() {
        for (event, unit) in [
            ("cpu-clock:u", "ns"),
            ("cycles:P", "cycles"),
            ("cpu_core/cycles/", "cycles"),
            ("", ""),
        ] {
            assert_eq!(of_event(event.into()), unit, "{event}");
        }
    }
}
