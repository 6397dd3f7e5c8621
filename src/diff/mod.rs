//! Merges two profiles into one with two weights for each stack, before and after: `main;f 10 12`.
//!
//! `difffolded.pl` and inferno-diff-folded write the same folded text; ours has a fixed order and
//! names of any bytes. [`Movers`] lists the change of each frame, including everything that it
//! calls.

mod markdown;
mod movers;
mod openmetrics;

pub use movers::{Change, Mover, Movers, Scale};

use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::sample::{Frame, FrameId, FrameTable};
use crate::stacks::Stacks;
use crate::tally::{Loss, Tally};
use crate::top::Top;
use crate::unit::{self, Unit, WeightCount, common_divisor};

/// How profiles are compared. The default is that of inferno-diff-folded; fg-diff normalises unless
/// it is told not to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Scale the smaller profile to the total of the larger, for profiles taken under different
    /// load or for different times. Scaled weights are cut to whole numbers, so that small ones
    /// would become 0 if the larger profile were scaled.
    pub normalize: bool,
    /// Replace hexadecimal numbers, `0x45ef2173` by `0x...`, so that addresses do not tell equal
    /// stacks apart.
    pub strip_hex: bool,
}

/// Takes the stacks of a first profile and, after [`Differ::second`], those of a second. At the end
/// it pushes each distinct stack once with both weights, in order of the frames' names, after the
/// [unit](mod@crate::unit) if both profiles agree about it.
///
/// In a line with two numbers, the first one belongs to the name. Memory: the distinct stacks, 4
/// bytes per frame, and 16 bytes for the weights of each.
pub struct Differ<S> {
    config: Config,
    next: S,
    stacks: Stacks<FrameId>,
    weights: Vec<[u64; 2]>,
    totals: [u64; 2],
    /// 0 or 1.
    profile: usize,
    /// Each frame without its hexadecimal numbers.
    stripped: Vec<Option<FrameId>>,
    fractions: u64,
    unit: Unit,
    room: Vec<FrameId>,
}

impl<S: FoldedSink> Differ<S> {
    /// A stage before `next`.
    pub fn new(config: Config, next: S) -> Self {
        Differ {
            config,
            next,
            stacks: Stacks::default(),
            weights: Vec::new(),
            totals: [0; 2],
            profile: 0,
            stripped: Vec::new(),
            fractions: 0,
            unit: Unit::default(),
            room: Vec::new(),
        }
    }

    /// Begins the second profile.
    pub fn second(&mut self) {
        self.profile = 1;
    }

    /// The weights of the first and the second profile.
    pub fn totals(&self) -> [u64; 2] {
        self.totals
    }

    /// The weights of each frame in both profiles. To be called before the end.
    pub fn movers(&self, frames: &FrameTable, scale: Scale) -> Movers {
        let stacks = self.weights.iter().enumerate();
        let samples = [0, 1].map(|profile| self.samples(profile));
        let stacks = stacks.map(|(id, &weights)| (self.stacks.get(id), weights));
        Movers::new(frames, scale, self.totals, samples, stacks)
    }

    /// How many samples a profile has. They are known if weights count them, or if all weights are
    /// multiples of one period, as those of a clock are. That is the greatest number that divides
    /// all weights, or if they were rounded, the least weight.
    fn samples(&self, profile: usize) -> Option<u64> {
        /// A number that divides all weights by chance is smaller.
        const LEAST_PERIOD: u64 = 10_000;
        if self.unit.known().is_none_or(|unit| unit == unit::SAMPLES) {
            return Some(self.totals[profile]);
        }
        let weights = || self.weights.iter().map(|weights| weights[profile]).filter(|&w| w > 0);
        let divisor = weights().fold(0, common_divisor);
        let period = if divisor >= LEAST_PERIOD { divisor } else { weights().min()? };
        let mut samples = 0u64;
        for weight in weights() {
            let many = (weight + period / 2) / period;
            if weight.abs_diff(many * period) > weight / 1000 {
                return None;
            }
            samples += many;
        }
        Some(samples)
    }

    /// The stacks of the second profile.
    pub(crate) fn second_profile(&self, frames: &mut FrameTable) -> Result<Top> {
        let mut top = Top::default();
        if let Some(line) = self.unit.line(WeightCount::ONE) {
            top.text(&line)?;
        }
        for (id, &[_, weight]) in self.weights.iter().enumerate() {
            if weight > 0 {
                let stack = self.stacks.get(id);
                top.folded(frames, &Folded { stack, weight, after: None, line: b"" })?;
            }
        }
        Ok(top)
    }

    /// Counts a profile in another unit. Only shares of such profiles compare.
    pub(crate) fn count(&self, tally: &mut Tally) {
        tally.lose(Loss::OtherUnit, self.unit.differing(), 0);
    }

    /// A sink for one profile. Its end does not end the [`Differ`].
    pub fn part(&mut self) -> Part<'_, S> {
        Part(self)
    }

    /// The next stage.
    pub fn into_inner(self) -> S {
        self.next
    }

    /// The stacks' numbers in order of the names of their frames.
    fn in_order(&self, frames: &FrameTable) -> Vec<usize> {
        let mut used = vec![false; frames.len()];
        for frame in (0..self.weights.len()).flat_map(|id| self.stacks.get(id)) {
            used[frame.index()] = true;
        }
        let mut named: Vec<FrameId> = frames.ids().filter(|frame| used[frame.index()]).collect();
        named.sort_unstable_by_key(|&frame| frames.symbol(frame));
        let mut ranks = vec![0u32; frames.len()];
        for (rank, frame) in named.iter().enumerate() {
            ranks[frame.index()] = rank as u32;
        }
        let names = |id: usize| self.stacks.get(id).iter().map(|frame| ranks[frame.index()]);
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        order.sort_unstable_by(|&a, &b| names(a).cmp(names(b)));
        order
    }

    fn strip(&mut self, frames: &mut FrameTable, frame: FrameId) -> FrameId {
        if self.stripped.len() <= frame.index() {
            self.stripped.resize(frames.len().max(frame.index() + 1), None);
        }
        let known = self.stripped[frame.index()];
        known.unwrap_or_else(|| {
            let name = strip_hex(frames.symbol(frame));
            let id = frames.intern(Frame::named(&name));
            self.stripped[frame.index()] = Some(id);
            id
        })
    }
}

/// A sink for one profile of a [`Differ`].
pub struct Part<'a, S>(&'a mut Differ<S>);

impl<S: FoldedSink> FoldedSink for Part<'_, S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.0.folded(frames, folded)
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.0.text(line)
    }

    fn no_unit(&mut self) {
        self.0.unit.note_none();
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

impl<S: FoldedSink> FoldedSink for Differ<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        self.fractions += u64::from(folded.has_fraction());
        let weight = folded.after.unwrap_or(folded.weight);
        // Only a graph, which has no lines, says for sure that it is a differential.
        if folded.after.is_some() && folded.line.is_empty() {
            return Err(Error::Usage {
                what:
                    "one of the profiles is the graph of a comparison, with two weights for each \
                       stack"
                        .into(),
                remedy: "compare the two profiles that it was made from".into(),
            });
        }
        let plain = folded.plain(frames, &mut room).stack;
        let stack = if self.config.strip_hex {
            let mut stripped = Vec::with_capacity(plain.len());
            for &frame in plain {
                stripped.push(self.strip(frames, frame));
            }
            self.stacks.intern(&stripped)
        } else {
            self.stacks.intern(plain)
        };
        self.room = room;
        if self.weights.len() <= stack {
            self.weights.resize(stack + 1, [0; 2]);
        }
        for sum in [&mut self.weights[stack][self.profile], &mut self.totals[self.profile]] {
            *sum = sum
                .checked_add(weight)
                .ok_or_else(|| Error::Overflow { of: "a profile".into(), most: u64::MAX })?;
        }
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        tally.lose(Loss::Fraction, self.fractions, 0);
        if let Some(line) = self.unit.line(WeightCount::TWO) {
            self.next.text(&line)?;
        }
        let [before, after] = self.totals;
        let larger = before.max(after);
        let scaled = |weight: u64, total: u64| {
            // An empty profile cannot be scaled.
            if !self.config.normalize || total == larger || total == 0 {
                return weight;
            }
            (weight as f64 * larger as f64 / total as f64) as u64
        };
        for id in self.in_order(frames) {
            let [first, second] = self.weights[id];
            let weight = scaled(first, before);
            let second = scaled(second, after);
            let stack = self.stacks.get(id);
            self.next.folded(frames, &Folded { stack, weight, after: Some(second), line: b"" })?;
        }
        self.next.finish(frames, tally)
    }
}

/// `name` with every `0x45ef2173` as `0x...`.
fn strip_hex(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        out.push(byte);
        rest = tail;
        if out.ends_with(b"0x") {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            if digits > 0 {
                out.extend_from_slice(b"...");
                rest = &rest[digits..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{Writer, read};

    fn diff(config: Config, before: &str, after: &str) -> String {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut differ = Differ::new(config, Writer::new(Vec::new(), "memory"));
        read(before.as_bytes(), "before", &mut frames, &mut differ, &mut tally).unwrap();
        differ.second();
        read(after.as_bytes(), "after", &mut frames, &mut differ, &mut tally).unwrap();
        differ.finish(&mut frames, &mut tally).unwrap();
        String::from_utf8(differ.into_inner().into_inner()).unwrap()
    }

    #[test]
    fn each_stack_has_both_weights() {
        let before = "b 1\na;c 2\na;c 3\n";
        let after = "d 7\na;c 11\nGC 0 4\n";
        assert_eq!(diff(Config::default(), before, after), "GC 0 0 4\na;c 5 11\nb 1 0\nd 0 7\n");
    }

    #[test]
    fn the_smaller_profile_is_scaled_to_the_larger() {
        let config = Config { normalize: true, ..Config::default() };
        assert_eq!(diff(config, "a 1\nb 3\n", "a 6\nb 4\n"), "a 2 6\nb 7 4\n");
        assert_eq!(diff(config, "", "a 6\n"), "a 0 6\n");
        assert_eq!(diff(config, "a 6\n", ""), "a 6 0\n");
        // 10,000 samples against 50, as in a long and a short run.
        let before: String = (0..400).map(|i| format!("main;f{i:03} 25\n")).collect();
        let after: String = (0..400).step_by(8).map(|i| format!("main;f{i:03} 1\n")).collect();
        let both = diff(config, &before, &after);
        assert!(both.starts_with("main;f000 25 200\nmain;f001 25 0\n"), "{both}");
    }

    #[test]
    fn the_unit_is_passed_on_if_it_is_one() {
        let told = |before, after| diff(Config::default(), before, after);
        assert_eq!(told("# unit: ns\na 1\n", "# unit: ns\na 2\n"), "# unit: ns 0 0\na 1 2\n");
        assert_eq!(told("# unit: ns\na 1\n", "# unit: cycles\na 2\n"), "a 1 2\n");
    }

    #[test]
    fn hexadecimal_numbers_are_stripped() {
        let config = Config { strip_hex: true, ..Config::default() };
        assert_eq!(
            diff(config, "a;0x12 1\na;0xff 2\n", "a;0xfffg 4\n"),
            "a;0x... 3 0\na;0x...g 0 4\n"
        );
        for (name, stripped) in
            [("0x", "0x"), ("0xg", "0xg"), ("00x1;0X1", "00x...;0X1"), ("0x10x1", "0x...x1")]
        {
            assert_eq!(strip_hex(name.as_bytes()), stripped.as_bytes());
        }
    }
}
