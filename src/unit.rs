//! The units of weights: nanoseconds, cycles, samples.
//!
//! Folded text names its unit in a comment, `# unit: ns 0`. fg-fold writes it, and fg-render shows
//! it. A reader without comments sees a stack of weight 0: flamegraph.pl does not draw it,
//! speedscope still recognises the format by the number at the end of each line, and sums stay the
//! same.

use bstr::{BStr, BString, ByteSlice};

use crate::fold::base_event;
use crate::folded::{Folded, OFF_CPU};
use crate::tally::grouped;

const START: &[u8] = b"# unit: ";
const END: &[u8] = b" 0";

/// The unit of weights that have no other.
pub(crate) const SAMPLES: &str = "samples";

/// The unit of several inputs, if all that name one agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    first: Option<BString>,
    /// Whether the unit of an input is unknown, or not wanted.
    is_unknown: bool,
    /// How many inputs name another unit.
    others: u64,
    /// How many inputs name none.
    without: u64,
    /// Whether it is the unit of both weights of a differential.
    of_differential: bool,
}

impl Unit {
    /// Notes that an input has weights in `unit`, which is empty if unknown.
    pub(crate) fn note(&mut self, unit: &[u8]) {
        if unit.is_empty() {
            self.is_unknown = true;
            return;
        }
        match &self.first {
            None => self.first = Some(unit.into()),
            Some(first) => self.others += u64::from(*first != unit),
        }
    }

    /// Notes that an input of folded text does not name its unit.
    pub(crate) fn note_none(&mut self) {
        self.without += 1;
    }

    /// How many inputs differ from the first one that names a unit.
    pub(crate) fn differing(&self) -> u64 {
        if self.is_unknown {
            return 0;
        }
        // Weights without a unit are most likely samples.
        let is_other = self.first.as_ref().is_some_and(|first| first != SAMPLES);
        self.others + if is_other { self.without } else { 0 }
    }

    /// Notes the unit in a `line` of folded text.
    pub(crate) fn note_line(&mut self, line: &[u8]) {
        if let Some(unit) = of_line(line) {
            self.note(unit);
            self.of_differential |= is_of_differential(line) == Some(true);
        }
    }

    /// The unit, if it is known and the same for all.
    pub(crate) fn known(&self) -> Option<&BStr> {
        let first = self.first.as_ref().map(|first| first.as_bstr());
        first.filter(|_| self.others == 0 && !self.is_unknown)
    }

    /// The line that names the unit of stacks with these `weights`, if a reader could not guess it.
    ///
    /// Its numbers promise that all stacks have as many. If they have not, the line is without:
    /// `# unit: ns`, then `a 1`, `b 2 3`. If a name could be taken for one with another number, the
    /// line is there for the promise, even if the unit is unknown: `# unit:  0`, then `GC 9 1`.
    pub(crate) fn line(&self, weights: WeightCount) -> Option<Vec<u8>> {
        let is_doubtful = weights.has_numbers_in_names && !weights.some_have_two;
        let unit = match self.known() {
            Some(unit) if is_doubtful || unit != SAMPLES => unit,
            None if is_doubtful => b"".as_bstr(),
            _ => return None,
        };
        Some(match weights {
            _ if self.of_differential => line_of_differential(unit),
            WeightCount { some_have_two: false, .. } => line(unit),
            WeightCount { some_have_one: false, .. } => line_of_differential(unit),
            _ => [START, unit, b"\n"].concat(),
        })
    }
}

/// How many weights the stacks of a profile have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WeightCount {
    some_have_one: bool,
    some_have_two: bool,
    /// Whether the last name of a stack ends in a number: `GC Thread 9`.
    pub(crate) has_numbers_in_names: bool,
}

impl WeightCount {
    pub(crate) const ONE: WeightCount =
        WeightCount { some_have_one: true, some_have_two: false, has_numbers_in_names: false };
    pub(crate) const TWO: WeightCount =
        WeightCount { some_have_one: false, some_have_two: true, has_numbers_in_names: false };

    pub(crate) fn note(&mut self, folded: &Folded<'_>) {
        self.some_have_two |= folded.after.is_some();
        self.some_have_one |= folded.after.is_none();
    }
}

/// `ns` of `# unit: ns 0`, or of `# unit: ns 0 0`, as a differential has it, or without numbers.
pub(crate) fn of_line(line: &[u8]) -> Option<&BStr> {
    let mut unit = line.trim_ascii_end().strip_prefix(START.trim_ascii_end())?;
    while let Some(rest) = unit.strip_suffix(END) {
        unit = rest;
    }
    let unit = unit.trim_ascii();
    // Only the weight is there.
    Some(if unit == b"0" { b"".as_bstr() } else { unit.as_bstr() })
}

/// Whether `line` is the unit of a differential, `# unit: ns 0 0`, and not that of a plain profile,
/// `# unit: ns 0`. Unknown if it is no unit, or one without numbers.
pub(crate) fn is_of_differential(line: &[u8]) -> Option<bool> {
    of_line(line)?;
    let numbers = line.trim_ascii_end().strip_suffix(END)?;
    Some(numbers.ends_with(END))
}

/// `# unit: ns 0`, with its newline.
pub(crate) fn line(unit: &[u8]) -> Vec<u8> {
    [START, unit, END, b"\n"].concat()
}

/// `# unit: ns 0 0`, with its newline.
pub(crate) fn line_of_differential(unit: &[u8]) -> Vec<u8> {
    [START, unit, END, END, b"\n"].concat()
}

/// The unit of the periods of `event`: `ns` for clocks, or else what is counted, such as `cycles`.
/// Empty if unknown.
pub(crate) fn of_event(event: &BStr) -> &BStr {
    match base_event(event) {
        b"cpu-clock" | b"task-clock" | OFF_CPU => b"ns".as_bstr(),
        event => event.as_bstr(),
    }
}

/// Sizes and names of the steps in which people say times.
const TIMES: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
const BYTES: [(f64, &str); 5] = [
    ((1_u64 << 40) as f64, "TiB"),
    ((1_u64 << 30) as f64, "GiB"),
    ((1_u64 << 20) as f64, "MiB"),
    ((1_u64 << 10) as f64, "KiB"),
    (1.0, "B"),
];
const COUNTS: [(f64, &str); 3] = [(1e12, "T"), (1e9, "G"), (1e6, "M")];

/// A weight as people say it: `1.24 s` of 1,240,000,000 `ns`, `1,615 samples`, `12.3 G cycles`. The
/// page of HTML says it the same way (`format.js`).
pub(crate) fn amount(weight: f64, unit: &str) -> String {
    let scaled = |steps: &[(f64, &str)]| {
        // 999.9 ms is said as a second.
        let (size, name) = steps.iter().find(|(size, _)| weight >= size * 0.9995)?;
        Some(format!("{} {name}", digits(weight / size, *size == 1.0)))
    };
    let said = match unit {
        "ns" => Some(scaled(&TIMES).unwrap_or("0 s".into())),
        "bytes" => Some(scaled(&BYTES).unwrap_or("0 B".into())),
        _ if weight >= 1e7 => scaled(&COUNTS).map(|count| format!("{count} {unit}")),
        _ => None,
    };
    said.unwrap_or_else(|| {
        let weight = weight.round() as u64;
        let is_one_sample = weight == 1 && unit == SAMPLES;
        format!("{} {}", grouped(weight), if is_one_sample { "sample" } else { unit })
    })
}

/// Three significant digits, or a whole number.
fn digits(number: f64, is_whole: bool) -> String {
    if is_whole || number >= 999.5 {
        return grouped(number.round() as u64);
    }
    let places = if number >= 99.95 {
        0
    } else if number >= 9.995 {
        1
    } else {
        2
    };
    format!("{number:.places$}")
}

/// The greatest number that divides both.
pub(crate) fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        let rest = a % b;
        a = b;
        b = rest;
    }
    a
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
            (&["# unit: ns 0\n", "# unit: ns 0 0"], Some("ns")),
            (&["# unit: 0"], None),
            (&[], None),
        ] {
            let mut unit = Unit::default();
            lines.iter().for_each(|line| unit.note_line(line.as_bytes()));
            assert_eq!(unit.known(), known.map(BStr::new), "{lines:?}");
        }
        let differing = |lines: &[&str], without| {
            let mut unit = Unit::default();
            (0..without).for_each(|_| unit.note_none());
            lines.iter().for_each(|line| unit.note_line(line.as_bytes()));
            unit.differing()
        };
        assert_eq!(differing(&["# unit: ns", "# unit: ns"], 0), 0);
        assert_eq!(differing(&["# unit: ns", "# unit: cycles"], 1), 2);
        assert_eq!(differing(&["# unit: samples"], 1), 0);
        assert_eq!(differing(&[], 2), 0);
        assert_eq!(of_line(&line(b"a b")), Some(BStr::new("a b")));
        assert_eq!(of_line(&line(b"")), Some(BStr::new("")));
        let said = |unit: &str| {
            Unit { first: Some(unit.into()), ..Unit::default() }.line(WeightCount::ONE)
        };
        assert_eq!((said("ns"), said(SAMPLES)), (Some(b"# unit: ns 0\n".to_vec()), None));
        let mut unit = Unit::default();
        unit.note_line(b"# unit: ns 0 0\n");
        assert_eq!(unit.line(WeightCount::ONE), Some(line_of_differential(b"ns")));
        for (line, kind) in [
            (&line(b"a b")[..], Some(false)),
            (&line_of_differential(b"a b"), Some(true)),
            (b"# unit: ns", None),
            (b"a 0 0", None),
        ] {
            assert_eq!(is_of_differential(line), kind);
        }
    }

    #[test]
    fn amounts_are_said_as_people_say_them() {
        for (weight, unit, said) in [
            (0.0, "ns", "0 s"),
            (1.0, "ns", "1 ns"),
            (1_000.0, "ns", "1.00 µs"),
            (999_900_000.0, "ns", "1.00 s"),
            (12_345_000_000.0, "ns", "12.3 s"),
            (4_000_000_000_000.0, "ns", "4,000 s"),
            (1536.0, "bytes", "1.50 KiB"),
            (1.0, "samples", "1 sample"),
            (9_999_999.0, "samples", "9,999,999 samples"),
            (12_345_678.0, "cycles", "12.3 M cycles"),
            (1.0, "cycles", "1 cycles"),
        ] {
            assert_eq!(amount(weight, unit), said);
        }
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
