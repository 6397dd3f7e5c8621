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

use bstr::{BString, ByteSlice};
use hashbrown::HashMap;

use super::Config;
use super::event::{EventFilter, Turn};
use super::names::FrameNames;
use super::quality::Quality;
use super::root::{is_java, thread_name};
use super::stage::Stage;
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink, OFF_CPU};
use crate::intern::Interner;
use crate::sample::{Frame, FrameId, FrameTable, Sample, SampleSink};
use crate::stacks::Stacks;
use crate::tally::{self, Count, Loss, Tally};
use crate::unit;

/// The interval if no thread has two samples: that of 1000 Hz.
const UNKNOWN_INTERVAL: u64 = 1_000_000;

/// A sink of samples that, when it is finished, pushes what each thread did into `S`, piece by
/// piece. Each lane weighs as much as the recording is long. The last piece of the last lane comes
/// first, because a flame chart draws folded text from its last line on.
///
/// Memory: the distinct stacks, and 32 bytes for each sample.
pub struct Lanes<S> {
    config: Config,
    input: String,
    next: S,
    event: EventFilter,
    stacks: Stacks<FrameId>,
    lanes: Vec<Lane>,
    /// The lanes by process, thread and, if the source has no thread ids, comm.
    ids: HashMap<(Option<u32>, Option<u32>, u32), usize>,
    comms: Interner,
    no_stack: Count,
    no_time: Count,
}

/// The samples of one thread.
struct Lane {
    pid: Option<u32>,
    tid: Option<u32>,
    /// Its last name. A thread has the name of its maker until it gets one of its own.
    comm: BString,
    seen: Vec<Seen>,
}

/// A sample.
struct Seen {
    time: u64,
    period: u64,
    stack: u32,
    /// The number of its event.
    event: usize,
    is_off: bool,
}

impl Seen {
    /// When it starts. A sample of blocked time comes at the end of that time.
    fn start(&self) -> u64 {
        self.time - if self.is_off { self.period } else { 0 }
    }
}

/// A time in which a thread was in one stack.
struct Piece {
    start: u64,
    end: u64,
    stack: u32,
    is_off: bool,
}

impl<S: FoldedSink> Lanes<S> {
    /// Lanes in front of `next`, whose frames are named as `config` says. Errors call the input
    /// `input`.
    pub fn new(config: Config, input: impl Into<String>, next: S) -> Self {
        // A lane shows one event, because two at a time cannot be drawn in one lane.
        let config = Config { pid: true, tid: true, by_event: false, ..config };
        Lanes {
            event: EventFilter::new(&config),
            config,
            input: input.into(),
            next,
            stacks: Stacks::default(),
            lanes: Vec::new(),
            ids: HashMap::new(),
            comms: Interner::default(),
            no_stack: Count::default(),
            no_time: Count::default(),
        }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    /// The pieces of each thread, in order. Lanes are in the order of processes and threads.
    fn pieces(&mut self) -> Vec<(Lane, Vec<Piece>)> {
        let turns = self.event.turns();
        let mut lanes = std::mem::take(&mut self.lanes);
        for Lane { seen, .. } in &mut lanes {
            seen.retain(|seen| turns.get(seen.event).is_some_and(|turn| *turn != Turn::Other));
            seen.sort_by_key(Seen::start);
        }
        lanes.sort_by(|a, b| (a.pid, a.tid, &a.comm).cmp(&(b.pid, b.tid, &b.comm)));
        let interval = if self.event.is_clock() { None } else { Some(median_interval(&lanes)) };
        let lane = |lane: Lane| {
            let pieces = pieces(&lane.seen, interval);
            (lane, pieces)
        };
        lanes.into_iter().map(lane).filter(|(_, pieces)| !pieces.is_empty()).collect()
    }

    fn push(
        &mut self,
        frames: &mut FrameTable,
        lanes: &[(Lane, Vec<Piece>)],
        tally: &mut tally::StackQuality,
    ) -> Result<()> {
        let all = || lanes.iter().flat_map(|(_, pieces)| pieces);
        let from = all().map(|piece| piece.start).min().unwrap_or(0);
        let to = all().map(|piece| piece.end).max().unwrap_or(0);
        let off = frames.intern(Frame::named(OFF_CPU));
        let quality = Quality::of(frames);
        let has_java = lanes.iter().any(|(lane, _)| is_java(&lane.comm));
        let names = FrameNames::of(frames, has_java, &self.config, false);
        let mut stack = Vec::new();
        for (lane, pieces) in lanes.iter().rev() {
            let pid = lane.pid;
            let tid = lane.tid;
            let config = Config { pid: pid.is_some(), tid: tid.is_some(), ..self.config.clone() };
            let root =
                thread_name(lane.comm.as_bstr(), pid.map(u64::from), tid.map(u64::from), &config);
            let java = is_java(&root);
            let root = frames.intern(Frame::named(&root));
            let mut until = to;
            for piece in pieces.iter().rev() {
                self.piece(frames, &[root], until - piece.end)?;
                let sampled = self.stacks.get(piece.stack as usize);
                quality.look(frames, sampled, piece.end - piece.start, tally);
                stack.clear();
                stack.push(root);
                stack.extend(piece.is_off.then_some(off));
                let own = stack.len();
                for &frame in sampled.iter().rev() {
                    names.push(frame, java, &mut stack);
                }
                let skipped = |frame: &FrameId| {
                    self.config.skip_after.iter().any(|name| name == frames.symbol(*frame))
                };
                if let Some(at) = stack[own..].iter().rposition(skipped) {
                    stack.drain(own..own + at);
                }
                self.piece(frames, &stack, piece.end - piece.start)?;
                until = piece.start;
            }
            self.piece(frames, &[root], until - from)?;
        }
        Ok(())
    }

    fn piece(&mut self, frames: &mut FrameTable, stack: &[FrameId], weight: u64) -> Result<()> {
        match weight {
            0 => Ok(()),
            _ => self.next.folded(frames, &Folded { stack, weight, ..Folded::default() }),
        }
    }

    /// Explains why there is no lane although there were samples.
    fn diagnose(&self, others: &[(BString, Count)]) -> Result<()> {
        let input = self.input.clone();
        if self.no_time.items > 0 {
            let remedy = "use fg-script, or `perf script` with `time` in its -F".into();
            return Err(Error::NoField {
                items: format!("the samples of {input}"),
                field: "time, which a flame chart needs".into(),
                remedy,
            });
        }
        if self.no_stack.items > 0 {
            return Err(Error::NoCallChains { input, samples: self.no_stack.items });
        }
        if others.is_empty() { Ok(()) } else { Err(self.event.nothing_wanted(input)) }
    }
}

/// The median time between two samples of a thread.
fn median_interval(lanes: &[Lane]) -> u64 {
    let clocked = lanes.iter().map(|lane| lane.seen.iter().filter(|seen| !seen.is_off));
    let mut distances: Vec<u64> = clocked
        .flat_map(|seen| seen.clone().zip(seen.skip(1)).map(|(a, b)| b.time - a.time))
        .filter(|&distance| distance > 0)
        .collect();
    if distances.is_empty() {
        return UNKNOWN_INTERVAL;
    }
    let middle = distances.len() / 2;
    *distances.select_nth_unstable(middle).1
}

/// The pieces of a thread, from its samples in order. `interval` is that of samples whose period is
/// not a time.
fn pieces(seen: &[Seen], interval: Option<u64>) -> Vec<Piece> {
    let piece = |(i, one): (usize, &Seen)| {
        let next = seen.get(i + 1).map_or(u64::MAX, Seen::start);
        let begin = one.start();
        let interval = if one.is_off { one.period } else { interval.unwrap_or(one.period) };
        // Samples do not come to the nanosecond.
        let slack = if one.is_off { 0 } else { interval / 2 };
        let is_in_time = next - begin <= interval.saturating_add(slack);
        let end = if is_in_time { next } else { begin.saturating_add(interval) };
        Piece { start: begin, end, stack: one.stack, is_off: one.is_off }
    };
    seen.iter().enumerate().map(piece).filter(|piece| piece.end > piece.start).collect()
}

impl<S: FoldedSink> SampleSink for Lanes<S> {
    fn sample(&mut self, _: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        let weight = sample.weight();
        let Some(event) = self.event.count(sample.event, weight, sample.stack.len()) else {
            return Ok(());
        };
        let Some(time) = sample.time else {
            self.no_time += Count::one(weight);
            return Ok(());
        };
        if sample.stack.is_empty() {
            self.no_stack += Count::one(weight);
            return Ok(());
        }
        let comm = if sample.tid.is_none() { self.comms.intern(sample.comm) } else { 0 };
        let lane = *self.ids.entry((sample.pid, sample.tid, comm)).or_insert(self.lanes.len());
        if lane == self.lanes.len() {
            let pid = sample.pid;
            let tid = sample.tid;
            self.lanes.push(Lane { pid, tid, comm: BString::default(), seen: Vec::new() });
        }
        let lane = &mut self.lanes[lane];
        if lane.comm != sample.comm {
            lane.comm = sample.comm.into();
        }
        let is_off = sample.event == OFF_CPU && self.config.event.is_none();
        // A wait from before the clock began cannot be drawn.
        let period = if is_off { weight.min(time) } else { weight };
        let stack = self.stacks.intern(sample.stack) as u32;
        lane.seen.push(Seen { time, period, stack, event, is_off });
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.event.note_listed(text);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let lanes = self.pieces();
        let others = self.event.others();
        if lanes.is_empty() {
            self.diagnose(&others)?;
        }
        let mut stacks = tally::StackQuality::default();
        self.push(frames, &lanes, &mut stacks)?;
        let mut mine = Tally::default();
        mine.lose(Loss::NoStack, self.no_stack.items, self.no_stack.weight);
        mine.lose(Loss::NoTime, self.no_time.items, self.no_time.weight);
        mine.folded = self.event.folded();
        for (event, count) in others {
            mine.leave_out(event, count);
        }
        if stacks.weight > 0 {
            mine.stacks = Some(stacks);
        }
        tally.absorb(mine);
        if !self.config.no_unit && !lanes.is_empty() {
            self.next.text(&unit::line(b"ns"))?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::Writer;
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
