//! Counts what was read, and what was skipped, lost, cut or left without a name.
//!
//! Every stage adds its counts when it finishes. So nothing is lost silently, and law 8 holds:
//! weight in = weight out + what the tally reports. A program shows the tally once, as its quality
//! line.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::ops::AddAssign;

use bstr::{BStr, BString, ByteSlice};

/// Why an item of the input is not in the output, although nobody asked to drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The recorder could not keep up.
    Lost,
    /// A line or record does not have the expected format.
    Odd,
    /// A sample belongs to another event than the one that is folded. Weights of two events cannot
    /// be added.
    OtherEvent,
    /// A sample has no call chain.
    NoStack,
    /// The user stack of a sample was to be recorded later, and never was.
    NoUserStack,
    /// A sample of a flame chart has no time.
    NoTime,
    /// The input ended in the middle.
    CutShort,
    /// The file of a module is of another build or from another machine, so its names were not
    /// used.
    Mismatched,
    /// Bytes of a name were replaced, because the output format cannot hold them.
    Replaced,
    /// An input has weights in another unit than the first, so their sum means nothing.
    OtherUnit,
    /// A stack has one weight, although the first one had two, as in a differential.
    OneWeight,
    /// A weight was a fraction, and only the whole part counts.
    Fraction,
    /// A sum does not fit into 64 bits.
    Overflow,
}

impl Loss {
    /// The words after the number of `items`.
    fn phrase(self, items: u64) -> &'static str {
        let (one, many) = match self {
            Loss::Lost => ("lost by the recorder", "lost by the recorder"),
            Loss::Odd => ("odd line or record skipped", "odd lines or records skipped"),
            Loss::OtherEvent => ("of another event left out", "of other events left out"),
            Loss::NoStack => ("without a call chain", "without a call chain"),
            Loss::NoUserStack => {
                ("without its deferred user stack", "without their deferred user stacks")
            }
            Loss::NoTime => ("without a time", "without a time"),
            Loss::CutShort => ("input cut short at its end", "inputs cut short at their ends"),
            Loss::Mismatched => {
                ("module is not the recorded build", "modules are not the recorded builds")
            }
            Loss::Replaced => ("name with replaced bytes", "names with replaced bytes"),
            Loss::OtherUnit => (
                "input in another unit: its weights do not compare with the others",
                "inputs in other units: their weights do not compare with the others",
            ),
            Loss::OneWeight => (
                "stack has one weight, although the first has two: it is drawn as unchanged",
                "stacks have one weight, although the first has two: they are drawn as unchanged",
            ),
            Loss::Fraction => ("weight rounded down", "weights rounded down"),
            Loss::Overflow => (
                "sum reached the largest possible number",
                "sums reached the largest possible number",
            ),
        };
        if items == 1 { one } else { many }
    }
}

/// How many items and how much weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Samples, lines, records or names.
    pub items: u64,
    /// Their weight, in units of the event.
    pub weight: u64,
}

impl Count {
    /// One item of this weight.
    pub fn one(weight: u64) -> Count {
        Count { items: 1, weight }
    }
}

/// Adds up. Sums of weights stop at `u64::MAX`.
impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.items += other.items;
        self.weight = self.weight.saturating_add(other.weight);
    }
}

/// The counts of a run. [`Display`] is the quality line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The items that were read: samples, or lines of folded text, with their weight.
    pub read: Count,
    /// How many of the items were folded stacks, each of which may stand for many samples.
    pub folded_before: u64,
    /// How many of the samples have only an address and no call chain.
    pub flat: u64,
    /// Items that were dropped because the user asked for it.
    pub filtered: Count,
    /// Items that were dropped for other reasons.
    losses: BTreeMap<Loss, Count>,
    /// The event that was folded, if one was chosen.
    pub folded: Option<BString>,
    /// The samples of events that were left out.
    others: BTreeMap<BString, u64>,
    /// How much of the processor time was sampled, if the recording says how much was used.
    pub seen: Option<Seen>,
    /// How the functions of modules get names, if it is known why they have none.
    pub remedies: BTreeMap<BString, &'static str>,
    /// The quality of the stacks; `None` if no stage looked at stacks.
    pub stacks: Option<StackQuality>,
    /// How the profile was recorded, if the recordings say it.
    pub recorded: Option<Recorded>,
    /// The first examples of odd input.
    examples: Vec<BString>,
}

/// How a profile was recorded. A machine or a rate that several recordings do not agree about is
/// `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The machine.
    pub host: Option<BString>,
    /// Samples a second, if the recorder aimed at a rate.
    pub rate: Option<u64>,
    /// When the first sample was taken, in nanoseconds since 1970. Of several recordings, the
    /// first.
    pub began: Option<u64>,
    /// From the first to the last sample, in nanoseconds, added up.
    pub span: u64,
}

/// How much of the used processor time was sampled, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The periods of all samples.
    pub sampled: u64,
    /// The kernel's count, without the part that the recorder lost.
    pub counted: u64,
    /// One sampling interval for each thread that started, which passes before its first sample.
    pub by_start: u64,
}

impl Seen {
    /// Why the profile does not represent the workload, if too much was missed.
    fn problem(&self) -> Option<&'static str> {
        // A few threads miss a sampling interval at their end.
        const NOISE: u64 = 20_000_000;
        let missed = self.counted.saturating_sub(self.sampled);
        if missed <= NOISE {
            None
        } else if missed > self.counted / 20 && missed < self.by_start.saturating_mul(4) {
            Some(
                "threads that end within a sampling interval are missed (record with --per-cpu, or a higher -F)",
            )
        } else if missed > self.counted / 10 {
            Some("the timer of this machine was late (record when it is less busy)")
        } else {
            None
        }
    }
}

/// The quality of the folded stacks, by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackQuality {
    /// All folded stacks.
    pub weight: u64,
    /// Stacks whose outermost frame is the start of a thread.
    pub rooted: u64,
    /// Stacks with a [`Truncated`](crate::sample::Kind::Truncated) mark.
    pub truncated: u64,
    /// Stacks without that mark whose leaf has a name.
    pub good: u64,
    /// Stacks whose leaf is a function without a name, by module.
    pub unresolved: BTreeMap<BString, u64>,
    /// Stacks with any function without a name, by module.
    pub nameless: BTreeMap<BString, u64>,
}

impl Tally {
    /// Counts items that were dropped.
    pub fn lose(&mut self, loss: Loss, items: u64, weight: u64) {
        if items > 0 {
            *self.losses.entry(loss).or_default() += Count { items, weight };
        }
    }

    /// Counts samples of an event that is not folded.
    pub(crate) fn leave_out(&mut self, event: BString, count: Count) {
        self.lose(Loss::OtherEvent, count.items, count.weight);
        *self.others.entry(event).or_default() += count.items;
    }

    /// Counts one odd line and remembers the first as an example.
    pub(crate) fn odd(&mut self, line: &[u8]) {
        self.lose(Loss::Odd, 1, 0);
        if self.examples.is_empty() {
            self.examples.push(line.trim_end().into());
        }
    }

    /// The items that were dropped for `loss`.
    pub fn lost(&self, loss: Loss) -> Count {
        self.losses.get(&loss).copied().unwrap_or_default()
    }

    /// All losses, in a fixed order.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, Count)> + '_ {
        self.losses.iter().map(|(&loss, &count)| (loss, count))
    }

    /// The first odd line, if there was one.
    pub(crate) fn example(&self) -> Option<&BStr> {
        self.examples.first().map(|example| example.as_bstr())
    }

    /// Whether everything is in the output with a name and a whole stack, as `--strict` demands.
    pub fn is_clean(&self) -> bool {
        self.losses.is_empty()
            && self.seen.is_none_or(|seen| seen.problem().is_none())
            && self
                .stacks
                .as_ref()
                .is_none_or(|stacks| stacks.truncated == 0 && stacks.unresolved.is_empty())
    }

    /// The part of the recorded weight that is in the output with a name and a whole stack, between
    /// 0 and 1. `None` if nobody knows how much is missing.
    ///
    /// A sample that was lost, or a line that was skipped, counts as one of average weight. What
    /// the user left out counts as if it were in the output. Samples of other events do not count.
    pub fn good_share(&self) -> Option<f64> {
        if [Loss::CutShort, Loss::Overflow].iter().any(|loss| self.losses.contains_key(loss)) {
            return None;
        }
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let others = self.lost(Loss::OtherEvent);
        let read = self.read.weight.saturating_sub(others.weight) as f64;
        let average = share(read, self.read.items.saturating_sub(others.items) as f64);
        let items = self.lost(Loss::Lost).items + self.lost(Loss::Odd).items;
        let unread = items as f64 * average;
        let dropped = [Loss::NoStack, Loss::NoTime].map(|loss| self.lost(loss).weight as f64);
        let kept = share((read - dropped.iter().sum::<f64>()).max(0.0), read + unread);
        let good =
            self.stacks.as_ref().map_or(1.0, |all| share(all.good as f64, all.weight as f64));
        let seen = self.seen.filter(|seen| seen.problem().is_some());
        let seen = seen.map_or(1.0, |seen| share(seen.sampled as f64, seen.counted as f64));
        Some(kept * good * seen)
    }

    /// Adds the counts of another input or another worker.
    pub fn absorb(&mut self, other: Tally) {
        self.read += other.read;
        self.flat += other.flat;
        self.filtered += other.filtered;
        self.folded_before += other.folded_before;
        self.folded = self.folded.take().or(other.folded);
        for (event, items) in other.others {
            *self.others.entry(event).or_default() += items;
        }
        for (loss, count) in other.losses {
            self.lose(loss, count.items, count.weight);
        }
        if self.examples.is_empty() {
            self.examples = other.examples;
        }
        if let Some(from) = other.seen {
            let into = self.seen.get_or_insert_default();
            into.sampled = into.sampled.saturating_add(from.sampled);
            into.counted = into.counted.saturating_add(from.counted);
            into.by_start = into.by_start.saturating_add(from.by_start);
        }
        self.remedies.extend(other.remedies);
        self.recorded = match (self.recorded.take(), other.recorded) {
            (Some(into), Some(from)) => Some(Recorded {
                host: into.host.filter(|host| Some(host) == from.host.as_ref()),
                rate: into.rate.filter(|rate| Some(*rate) == from.rate),
                began: into.began.into_iter().chain(from.began).min(),
                span: into.span.saturating_add(from.span),
            }),
            (into, from) => into.or(from),
        };
        if let Some(from) = other.stacks {
            self.stacks.get_or_insert_default().absorb(from);
        }
    }
}

impl StackQuality {
    /// Adds those of another part of the profile.
    pub(crate) fn absorb(&mut self, other: StackQuality) {
        for (into, from) in [
            (&mut self.weight, other.weight),
            (&mut self.rooted, other.rooted),
            (&mut self.truncated, other.truncated),
            (&mut self.good, other.good),
        ] {
            *into = into.saturating_add(from);
        }
        let sums = [(&mut self.unresolved, other.unresolved), (&mut self.nameless, other.nameless)];
        for (into, from) in sums {
            for (module, weight) in from {
                let into = into.entry(module).or_default();
                *into = into.saturating_add(weight);
            }
        }
    }
}

impl Tally {
    /// `folded cycles; left out 2 samples of faults: --event-filter faults or all`
    fn write_others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folded = self.folded.as_ref().map_or("one event".into(), |event| event.to_str_lossy());
        write!(f, " · folded {folded}; left out ")?;
        let mut others: Vec<_> = self.others.iter().collect();
        others.sort_by_key(|(event, items)| (std::cmp::Reverse(**items), *event));
        for (i, (event, items)) in others.iter().enumerate() {
            match i {
                0 => write!(f, "{} of {event}", counted(**items, "sample"))?,
                _ => write!(f, ", {} of {event}", grouped(**items))?,
            }
        }
        let names: Vec<_> = others.iter().map(|(event, _)| event.to_str_lossy()).collect();
        write!(f, ": --event-filter {} or all", names.join(", "))
    }
}

/// The quality line: `3,291 samples · 98.8 % reach a thread root · 0.4 % unresolved (libfoo.so 0.3
/// %) · 2 odd lines…`.
impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.read.items.saturating_sub(self.folded_before);
        match (samples, self.folded_before) {
            (_, 0) => f.write_str(&counted(samples, "sample"))?,
            (0, stacks) => f.write_str(&counted(stacks, "stack"))?,
            (_, stacks) => {
                write!(f, "{} and {}", counted(samples, "sample"), counted(stacks, "stack"))?
            }
        }
        if let Some(stacks) = &self.stacks {
            let share = |part| percent(part, stacks.weight);
            write!(f, " · {} reach a thread root", share(stacks.rooted))?;
            if stacks.truncated > 0 {
                write!(f, " · {} truncated", share(stacks.truncated))?;
            }
            if let Some((worst, weight)) =
                stacks.unresolved.iter().max_by_key(|(_, weight)| **weight)
            {
                let name =
                    worst.rfind_byte(b'/').map_or(worst.as_bstr(), |at| worst[at + 1..].as_bstr());
                let all =
                    stacks.unresolved.values().fold(0, |sum: u64, &one| sum.saturating_add(one));
                let all = share(all);
                write!(f, " · {all} unresolved (most in {name}: {})", share(*weight))?;
            }
        }
        if self.flat > 0 && self.flat == samples {
            let remedy = "record with `fg-record`, or `perf record -g`";
            write!(f, " · no call chains, so the graph is flat: {remedy}")?;
        } else if self.flat > 0 {
            write!(f, " · {} without callers", grouped(self.flat))?;
        }
        if let Some((seen, why)) = self.seen.and_then(|seen| Some((seen, seen.problem()?))) {
            let seconds = seen.counted as f64 / 1e9;
            let share = percent(seen.sampled, seen.counted);
            write!(f, " · only {share} of {seconds:.2} s of processor time was sampled: {why}")?;
        }
        if self.filtered.items > 0 {
            write!(f, " · {} filtered out", grouped(self.filtered.items))?;
        }
        for (loss, count) in self.losses() {
            if loss == Loss::OtherEvent && !self.others.is_empty() {
                self.write_others(f)?;
                continue;
            }
            write!(f, " · {} {}", grouped(count.items), loss.phrase(count.items))?;
            if loss == Loss::Odd
                && let Some(example) = self.example()
            {
                let short: String = example.to_str_lossy().trim().chars().take(60).collect();
                write!(f, ", the first: “{}”", short.escape_debug())?;
            }
        }
        Ok(())
    }
}

pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            let _ = out.write_char(',');
        }
        out.push(digit);
    }
    out
}

/// `1 sample`, `2,000 samples`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quality_line_says_what_was_left_out() {
        let mut tally = Tally { read: Count { items: 3291, weight: 4000 }, ..Tally::default() };
        assert!(tally.is_clean());
        assert_eq!(tally.to_string(), "3,291 samples");
        for (folded_before, said) in [(3291, "3,291 stacks"), (3290, "1 sample and 3,290 stacks")] {
            assert_eq!(Tally { folded_before, ..tally.clone() }.to_string(), said);
        }
        tally.odd(b"what is this\n");
        tally.odd(b"or this\n");
        tally.folded = Some("cycles".into());
        for (event, items) in [("minor-faults", 300), ("instructions", 2000)] {
            tally.leave_out(event.into(), Count { items, weight: 1000 });
        }
        tally.lose(Loss::Lost, 0, 0);
        tally.stacks = Some(StackQuality {
            weight: 3000,
            rooted: 2964,
            truncated: 0,
            good: 2967,
            unresolved: [("/usr/lib/libfoo.so".into(), 30), ("[unknown]".into(), 3)].into(),
            ..StackQuality::default()
        });
        assert!(!tally.is_clean());
        assert_eq!(
            tally.to_string(),
            "3,291 samples · 98.8 % reach a thread root · 1.1 % unresolved (most in libfoo.so: 1.0 %) \
             · 2 odd lines or records skipped, the first: “what is this” \
             · folded cycles; left out 2,000 samples of instructions, 300 of minor-faults: \
             --event-filter instructions, minor-faults or all"
        );
    }

    #[test]
    fn the_good_share_counts_what_is_missing() {
        let read = Count { items: 80, weight: 800 };
        let tally = Tally { read, ..Tally::default() };
        let good = |change: &dyn Fn(&mut Tally)| {
            let mut tally = tally.clone();
            change(&mut tally);
            tally.good_share().map(|share| (share * 1000.0).round())
        };
        assert_eq!(Tally::default().good_share(), Some(1.0));
        assert_eq!(good(&|_| {}), Some(1000.0));
        assert_eq!(good(&|tally| tally.lose(Loss::Lost, 20, 0)), Some(800.0));
        assert_eq!(good(&|tally| tally.lose(Loss::NoStack, 8, 80)), Some(900.0));
        assert_eq!(good(&|tally| tally.lose(Loss::CutShort, 1, 0)), None);
        assert_eq!(
            good(&|tally| {
                tally.leave_out("faults".into(), Count { items: 40, weight: 400 });
                tally.lose(Loss::Odd, 10, 0);
            }),
            Some(800.0)
        );
        assert_eq!(
            good(&|tally| {
                tally.stacks =
                    Some(StackQuality { weight: 100, good: 70, ..StackQuality::default() });
                tally.lose(Loss::Lost, 80, 0);
            }),
            Some(350.0)
        );
        let seen = Seen { sampled: 500_000_000, counted: 1_000_000_000, by_start: 0 };
        assert_eq!(good(&|tally| tally.seen = Some(seen)), Some(500.0));
    }

    #[test]
    fn missed_time_is_reported_unless_it_is_noise() {
        let of = |sampled: u64, counted: u64, threads: u64| {
            let [sampled, counted, by_start] = [sampled, counted, threads].map(|ms| ms * 1_000_000);
            Tally { seen: Some(Seen { sampled, counted, by_start }), ..Tally::default() }
        };
        for (sampled, counted, threads) in
            [(970, 1000, 90), (1030, 1000, 0), (1, 15, 9), (0, 0, 0), (910, 1000, 10)]
        {
            let tally = of(sampled, counted, threads);
            assert!(tally.is_clean() && !tally.to_string().contains("processor time"), "{tally}");
        }
        let tally = of(0, 2050, 8000);
        assert!(!tally.is_clean());
        let said = "0 samples · only 0.0 % of 2.05 s of processor time was sampled: threads that end within a sampling interval are \
                    missed (record with --per-cpu, or a higher -F)";
        assert_eq!(tally.to_string(), said);
        assert!(of(850, 1000, 2).to_string().ends_with("was late (record when it is less busy)"));
        let mut both = of(1230, 1490, 500);
        both.absorb(tally);
        assert_eq!(both.seen, of(1230, 3540, 8500).seen);
    }

    #[test]
    fn absorbing_adds_up() {
        let mut a = Tally::default();
        a.lose(Loss::Odd, 1, 0);
        let mut b = Tally {
            stacks: Some(StackQuality { weight: 2, rooted: 1, ..StackQuality::default() }),
            ..Tally::default()
        };
        b.odd(b"x");
        a.absorb(b);
        assert_eq!(a.lost(Loss::Odd), Count { items: 2, weight: 0 });
        assert_eq!(a.stacks.map(|stacks| stacks.weight), Some(2));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
