//! Turns samples, in the order of time, into a flame chart with a lane for each thread.
//!
//! ```text
//!  samples of a thread     a     a     a           b     a
//!  its lane              ▕ a a a a a a a a ▏     ▕ b b ▏a a ▏
//! ```
//!
//! The root frame of a lane, `comm-pid/tid`, is as wide as the recording. Weights are nanoseconds.
//! A sample lasts until the next sample of its thread, if that comes within one and a half
//! intervals. Otherwise it lasts one interval, followed by a gap, in which the lane has only its
//! root. The interval is the sample's period if that is a time, or else the median distance of two
//! samples of a thread. Blocked time (`off-cpu`) is known exactly: it ends with its sample.

use super::Config;
use super::root::is_java;
use super::stage::{SoFar, Stage};
use super::threads::{Piece, Thread, Threads};
use crate::error::Result;
use crate::folded::{Folded, FoldedSink};
use crate::sample::{FrameId, FrameTable, Sample, SampleSink};
use crate::tally::Tally;
use crate::unit;

/// A sink of samples that, when it is finished, pushes what each thread did into `S`, piece by
/// piece. Each lane weighs as much as the recording is long. The last piece of the last lane comes
/// first, because a flame chart draws folded text from its last line on.
///
/// Memory: the distinct stacks, and 32 bytes for each sample.
pub struct Lanes<S> {
    threads: Threads,
    next: S,
}

impl<S: FoldedSink> Lanes<S> {
    /// Lanes in front of `next`, whose frames are named as `config` says. Errors call the input
    /// `input`.
    pub fn new(config: Config, input: impl Into<String>, next: S) -> Self {
        let config = Config { pid: true, tid: true, ..config };
        Lanes { threads: Threads::new(config, input), next }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }
}

impl Threads {
    /// Pushes `lanes` into `next`.
    fn push(
        &self,
        frames: &mut FrameTable,
        lanes: &[(Thread, Vec<Piece>)],
        next: &mut dyn FoldedSink,
    ) -> Result<()> {
        let all = || lanes.iter().flat_map(|(_, pieces)| pieces);
        let from = all().map(|piece| piece.start).min().unwrap_or(0);
        let to = all().map(|piece| piece.end).max().unwrap_or(0);
        let naming = self.naming(frames, lanes);
        let mut push = |frames: &mut FrameTable, stack: &[FrameId], weight| match weight {
            0 => Ok(()),
            _ => next.folded(frames, &Folded { stack, weight, ..Folded::default() }),
        };
        let mut stack = Vec::new();
        for (lane, pieces) in lanes.iter().rev() {
            let root = self.root(lane, frames);
            let java = is_java(frames.symbol(root));
            let mut until = to;
            for piece in pieces.iter().rev() {
                push(frames, &[root], until - piece.end)?;
                let sampled = self.stack(piece.stack);
                stack.clear();
                stack.push(root);
                naming.push(sampled, piece.is_off, java, |name, _| stack.push(name));
                push(frames, &stack, piece.end - piece.start)?;
                until = piece.start;
            }
            push(frames, &[root], until - from)?;
        }
        if self.config().no_unit || lanes.is_empty() {
            Ok(())
        } else {
            next.text(&unit::line(b"ns"))
        }
    }
}

impl<S: FoldedSink> SampleSink for Lanes<S> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        self.threads.sample(frames, sample);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.threads.text(text);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let lanes = self.threads.pieces();
        if lanes.is_empty() {
            self.threads.diagnose()?;
        }
        let stacks = self.threads.quality(frames, &lanes);
        self.threads.push(frames, &lanes, &mut self.next)?;
        self.threads.count(stacks, tally);
        self.next.finish(frames, tally)
    }
}

impl<S: FoldedSink> Stage for Lanes<S> {
    type Next = S;
    type Folded = S;

    fn next_mut(&mut self) -> &mut S {
        &mut self.next
    }
}

impl<S: FoldedSink> SoFar for Lanes<S> {
    fn so_far(&mut self, frames: &mut FrameTable, next: &mut dyn FoldedSink) -> Result<bool> {
        let lanes = self.threads.pieces_so_far();
        self.threads.push(frames, &lanes, next)?;
        Ok(!lanes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{OFF_CPU, Writer};
    use crate::sample::Frame;
    use proptest::prelude::*;

    /// The lines of samples (tid, time, period, name), from left to right.
    fn lines(event: &str, samples: &[(u32, u64, u64, &str)]) -> Vec<String> {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let writer = Writer::new(Vec::new(), "memory");
        let config = Config { no_unit: true, ..Config::default() };
        let mut lanes = Lanes::new(config, "text", writer);
        for &(tid, time, period, name) in samples {
            let stack = [frames.intern(Frame::named(name.as_bytes()))];
            let sample = Sample {
                comm: "t".into(),
                pid: Some(1),
                tid: Some(tid),
                time: Some(time),
                period: Some(period),
                event: if name == "blocked" { OFF_CPU.into() } else { event.into() },
                stack: &stack,
                ..Sample::default()
            };
            lanes.sample(&mut frames, &sample).unwrap();
        }
        lanes.finish(&mut frames, &mut tally).unwrap();
        let text = String::from_utf8(lanes.into_next().into_inner()).unwrap();
        text.lines().rev().map(str::to_owned).collect()
    }

    #[test]
    fn gaps_are_kept_and_jitter_is_none() {
        let samples = [
            (2, 100, 10, "a"),
            (2, 112, 10, "a"),
            (2, 120, 10, "b"),
            (2, 150, 10, "a"),
            (1, 120, 10, "c"),
        ];
        let drawn = ["t-1/1 20", "t-1/1;c 10", "t-1/1 30"];
        let behind = ["t-1/2;a 12", "t-1/2;a 8", "t-1/2;b 10", "t-1/2 20", "t-1/2;a 10"];
        assert_eq!(lines("cpu-clock", &samples), [&drawn[..], &behind].concat());
    }

    #[test]
    fn other_events_last_as_long_as_they_are_apart() {
        let samples =
            [(1, 100, 7000, "a"), (1, 110, 9000, "b"), (1, 120, 8000, "a"), (1, 200, 1, "a")];
        let drawn = ["t-1/1;a 10", "t-1/1;b 10", "t-1/1;a 10", "t-1/1 70", "t-1/1;a 10"];
        assert_eq!(lines("cycles", &samples), drawn);
    }

    #[test]
    fn blocked_time_ends_with_its_sample() {
        let samples = [(1, 100, 10, "a"), (1, 150, 45, "blocked"), (1, 152, 10, "b")];
        let drawn = ["t-1/1;a 5", "t-1/1;off-cpu;blocked 45", "t-1/1 2", "t-1/1;b 10"];
        assert_eq!(lines("cpu-clock", &samples), drawn);
    }

    proptest! {
        /// Each lane is as long as the recording, the order of the samples does not matter, and
        /// each nanosecond shows the last sample before it.
        #[test]
        fn a_lane_is_as_long_as_the_recording(
            samples in proptest::collection::btree_map((1u32..4, 0u64..200), "[a-c]", 1..40),
        ) {
            let samples: Vec<(u32, u64, u64, &str)> =
                samples.iter().map(|((tid, time), name)| (*tid, *time, 10, name.as_str())).collect();
            let drawn = lines("cpu-clock", &samples);
            let backwards: Vec<_> = samples.iter().rev().copied().collect();
            prop_assert_eq!(&lines("cpu-clock", &backwards), &drawn);
            let from = samples.iter().map(|sample| sample.1).min().unwrap();
            let to = samples.iter().map(|sample| sample.1).max().unwrap() + 10;
            let mut at = std::collections::HashMap::<&str, u64>::new();
            for line in &drawn {
                let (stack, weight) = line.rsplit_once(' ').unwrap();
                let (root, name) = stack.split_once(';').unwrap_or((stack, ""));
                let time = at.entry(root).or_insert(from);
                for now in *time..*time + weight.parse::<u64>().unwrap() {
                    let mine = || samples.iter().filter(|sample| root.ends_with(&format!("/{}", sample.0)));
                    let next = mine().map(|sample| sample.1).filter(|&time| time > now).min();
                    let last = mine().filter(|sample| sample.1 <= now).max_by_key(|sample| sample.1);
                    let seen = last.filter(|last| {
                        now - last.1 < 10 || next.is_some_and(|next| next - last.1 <= 15)
                    });
                    prop_assert_eq!(seen.map_or("", |last| last.3), name, "{} at {}", root, now);
                }
                *time += weight.parse::<u64>().unwrap();
            }
            prop_assert!(at.values().all(|&end| end == to));
        }
    }
}
