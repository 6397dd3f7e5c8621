//! Compares the weight of each frame in two profiles, including everything that it calls.
//!
//! The total of a frame is the weight of all stacks with it; recursion counts once. Its own weight
//! is that of the stacks whose leaf it is. So if a frame changes, its callers change too.

use std::io::{self, Write};

use bstr::{BString, ByteSlice};
use hashbrown::HashMap;
use serde_json::json;

use crate::sample::{FrameId, FrameTable, printable};
use crate::tally::grouped;

/// How weights are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// As percent of their own profile, so that profiles of different length can be compared.
    #[default]
    Shares,
    /// As they are.
    Absolute,
}

/// A weight before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// In the first profile, as percent or as a weight.
    pub before: f64,
    /// In the second profile.
    pub after: f64,
}

impl Change {
    /// The difference.
    pub fn delta(self) -> f64 {
        self.after - self.before
    }
}

/// A frame and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mover {
    /// Its name.
    pub name: BString,
    /// Including everything that it calls.
    pub total: Change,
    /// Without its callees.
    pub own: Change,
    /// Its place in a stack that holds it, from 0 at the root.
    pub depth: usize,
}

impl Mover {
    /// `new` or `vanished` if the frame is in only one of the profiles; otherwise empty.
    pub fn mark(&self) -> &'static str {
        let was = self.total.before != 0.0;
        let is = self.total.after != 0.0;
        if is && !was {
            "new"
        } else if was && !is {
            "vanished"
        } else {
            ""
        }
    }
}

/// The frames that changed, with the largest changes first.
///
/// Memory: about 100 bytes for each distinct frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Movers {
    /// How the numbers are scaled.
    pub scale: Scale,
    /// The weights of both profiles.
    pub totals: [u64; 2],
    /// The numbers of samples in both profiles, if they are known.
    pub samples: [Option<u64>; 2],
    /// Each frame once, in order of the change of its total, then of its own weight, then of names.
    pub frames: Vec<Mover>,
}

impl Movers {
    pub(super) fn new<'a>(
        table: &FrameTable,
        scale: Scale,
        totals: [u64; 2],
        samples: [Option<u64>; 2],
        stacks: impl Iterator<Item = (&'a [FrameId], [u64; 2])>,
    ) -> Movers {
        // By name, because frames of several modules may share one.
        let mut ids = HashMap::new();
        let names: Vec<usize> = table
            .ids()
            .map(|frame| {
                let next = ids.len();
                *ids.entry(table.symbol(frame)).or_insert(next)
            })
            .collect();
        let mut sums = vec![[[0u64; 2]; 2]; ids.len()];
        let mut depths = vec![0; ids.len()];
        let mut last_seen = vec![usize::MAX; ids.len()];
        for (number, (stack, weights)) in stacks.enumerate() {
            for (depth, &frame) in stack.iter().enumerate() {
                let name = names[frame.index()];
                if std::mem::replace(&mut last_seen[name], number) != number {
                    add(&mut sums[name][0], weights);
                    depths[name] = depth;
                }
            }
            if let Some(leaf) = stack.last() {
                add(&mut sums[names[leaf.index()]][1], weights);
            }
        }
        let share = |weight: u64, total: u64| match (scale, total) {
            (Scale::Absolute, _) => weight as f64,
            (Scale::Shares, 0) => 0.0,
            (Scale::Shares, total) => 100.0 * weight as f64 / total as f64,
        };
        let change = |[before, after]: [u64; 2]| Change {
            before: share(before, totals[0]),
            after: share(after, totals[1]),
        };
        let mover = |(name, id): (&bstr::BStr, usize)| {
            let [total, own] = sums[id].map(change);
            Mover { name: name.into(), total, own, depth: depths[id] }
        };
        let mut frames: Vec<Mover> = ids.into_iter().map(mover).collect();
        frames.retain(|mover| mover.total.delta() != 0.0 || mover.own.delta() != 0.0);
        frames.sort_unstable_by(|a, b| {
            let size = |change: fn(&Mover) -> Change| {
                change(b).delta().abs().total_cmp(&change(a).delta().abs())
            };
            size(|mover| mover.total)
                .then_with(|| size(|mover| mover.own))
                .then_with(|| a.name.cmp(&b.name))
        });
        Movers { scale, totals, samples, frames }
    }

    /// The noise of a change of shares, in percentage points: two standard errors of the difference
    /// of two shares, each of which has the variance p (1 - p) / n with n samples. One of twenty
    /// changes is larger by chance. `None` if the numbers of samples are not known.
    pub fn noise(&self, change: Change) -> Option<f64> {
        let [Some(before), Some(after)] = self.samples else { return None };
        let variance = |percent: f64, samples: u64| {
            let part = (percent / 100.0).clamp(0.0, 1.0);
            part * (1.0 - part) / samples.max(1) as f64
        };
        let sum = variance(change.before, before) + variance(change.after, after);
        (self.scale == Scale::Shares).then(|| 200.0 * sum.sqrt())
    }

    /// Whether a change may be chance.
    pub fn is_noise(&self, change: Change) -> bool {
        self.noise(change).is_some_and(|noise| change.delta().abs() <= noise)
    }

    /// Frames whose total grew by more than `limit`, in percentage points: first those that grew by
    /// more than chance explains, then those that may not have. For absolute weights, `limit` is in
    /// percent of the first profile.
    ///
    /// Of many shares that are estimated at once, some are far off. Therefore chance is not the
    /// [`noise`](Movers::noise) of one share: what chance explains is so wide that two profiles of
    /// the same program differ by more in at most one of a hundred comparisons. That hundredth is
    /// divided by the number of frames that are heavy enough to grow by `limit` (Bonferroni; NIST's
    /// handbook of statistical methods, 7.4.7.3).
    pub fn above(&self, limit: f64) -> [Vec<&Mover>; 2] {
        const WRONG: f64 = 0.01;
        let unit = match self.scale {
            Scale::Shares => 1.0,
            Scale::Absolute => self.totals[0] as f64 / 100.0,
        };
        let heavy = self.frames.iter().filter(|mover| mover.total.after > limit * unit);
        // The normal distribution is above z with a probability of at most exp(-z²/2) / 2.
        let errors = (2.0 * (heavy.clone().count() as f64 / (2.0 * WRONG)).ln()).sqrt();
        let is_chance = |mover: &&Mover| {
            let noise = self.noise(mover.total);
            noise.is_some_and(|noise| mover.total.delta() <= noise / 2.0 * errors)
        };
        let grown = heavy.filter(|mover| mover.total.delta() > limit * unit);
        let (chance, sure) = grown.partition(is_chance);
        [sure, chance]
    }

    /// Writes the first `most` frames as a table with a heading.
    pub fn write_text(&self, most: usize, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:>12} {:>12} {:>12}  {:>12} {:>12} {:>12}  {:8}  frame",
            "total", "before", "after", "self", "before", "after", ""
        )?;
        for mover in self.frames.iter().take(most) {
            for change in [mover.total, mover.own] {
                let [delta, before, after] = self.numbers(change);
                write!(out, "{delta:>12} {before:>12} {after:>12}  ")?;
            }
            write!(out, "{:8}  ", mover.mark())?;
            out.write_all(&printable(&mover.name))?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// A change with its sign, the value before and the value after.
    pub fn numbers(&self, change: Change) -> [String; 3] {
        let delta = change.delta();
        match self.scale {
            Scale::Shares => [
                format!("{delta:+.2} %"),
                format!("{:.2} %", change.before),
                format!("{:.2} %", change.after),
            ],
            Scale::Absolute => {
                let sign = if delta < 0.0 { "-" } else { "+" };
                let whole = |weight: f64| grouped(weight.abs() as u64);
                [format!("{sign}{}", whole(delta)), whole(change.before), whole(change.after)]
            }
        }
    }

    /// Writes the first `most` frames as JSON. Bytes of names that are not UTF-8 are replaced.
    pub fn write_json(&self, most: usize, out: &mut impl Write) -> io::Result<()> {
        let change = |change: Change| {
            json!({
                "before": change.before, "after": change.after, "change": change.delta(),
            })
        };
        let object = |mover: &Mover| {
            json!({
                "frame": mover.name.to_str_lossy(),
                "mark": mover.mark(),
                "total": change(mover.total),
                "self": change(mover.own),
                "noise": self.noise(mover.total),
            })
        };
        let frames: Vec<_> = self.frames.iter().take(most).map(object).collect();
        let table = json!({
            "unit": if self.scale == Scale::Shares { "percent" } else { "weight" },
            "before": self.totals[0],
            "after": self.totals[1],
            "samples": self.samples,
            "frames": frames,
        });
        writeln!(out, "{table:#}")
    }
}

fn add(sum: &mut [u64; 2], weights: [u64; 2]) {
    for (sum, weight) in sum.iter_mut().zip(weights) {
        *sum = sum.saturating_add(weight);
    }
}
