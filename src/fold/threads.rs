//! The samples of each thread, in the order of time.

use bstr::{BString, ByteSlice};
use hashbrown::HashMap;

use super::Config;
use super::event::{EventFilter, Turn};
use super::frame_names::FrameNames;
use super::quality::Quality;
use super::root::{is_java, thread_name};
use crate::error::{Error, Result};
use crate::folded::OFF_CPU;
use crate::intern::Interner;
use crate::sample::{Frame, FrameId, FrameTable, Sample};
use crate::stacks::Stacks;
use crate::tally::{Count, Loss, StackQuality, Tally};

/// The interval if no thread has two samples: that of 1000 Hz.
const UNKNOWN_INTERVAL: u64 = 1_000_000;

/// A time in which a thread was in one stack.
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The period of its sample.
    pub(crate) weight: u64,
    /// The number of its stack.
    pub(crate) stack: u32,
    pub(crate) is_off: bool,
}

/// Collects samples by their threads.
///
/// Memory: the distinct stacks, and 32 bytes for each sample.
pub(crate) struct Threads {
    config: Config,
    input: String,
    event: EventFilter,
    stacks: Stacks<FrameId>,
    threads: Vec<Thread>,
    /// The threads by process, thread and, if the source has no thread ids, comm.
    ids: HashMap<(Option<u32>, Option<u32>, u32), usize>,
    comms: Interner,
    no_stack: Count,
    no_time: Count,
}

/// The samples of one thread.
#[derive(Clone)]
pub(crate) struct Thread {
    pub(crate) pid: Option<u32>,
    pub(crate) tid: Option<u32>,
    /// Its last name. A thread has the name of its maker until it gets one of its own.
    pub(crate) comm: BString,
    pub(crate) seen: Vec<Seen>,
}

/// A sample.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) time: u64,
    pub(crate) period: u64,
    /// The number of its stack.
    pub(crate) stack: u32,
    /// The number of its event.
    event: usize,
    pub(crate) is_off: bool,
}

impl Seen {
    /// When it starts. A sample of blocked time comes at the end of that time.
    pub(crate) fn start(&self) -> u64 {
        self.time - if self.is_off { self.period } else { 0 }
    }
}

impl Threads {
    /// No samples yet. Errors call the input `input`. One event is collected, because two at a time
    /// cannot be drawn in one lane.
    pub(crate) fn new(config: Config, input: impl Into<String>) -> Self {
        let config = Config { by_event: false, ..config };
        Threads {
            event: EventFilter::new(&config),
            config,
            input: input.into(),
            stacks: Stacks::default(),
            threads: Vec::new(),
            ids: HashMap::new(),
            comms: Interner::default(),
            no_stack: Count::default(),
            no_time: Count::default(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the periods of the samples are times, in nanoseconds.
    pub(crate) fn is_clock(&self) -> bool {
        self.event.is_clock()
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self, frames: &FrameTable, sample: &Sample<'_>) {
        let weight = sample.weight();
        let Some(event) = self.event.count(sample, weight, frames) else {
            return;
        };
        let Some(time) = sample.time else {
            self.no_time += Count::one(weight);
            return;
        };
        if sample.stack.is_empty() {
            self.no_stack += Count::one(weight);
            return;
        }
        let comm = if sample.tid.is_none() { self.comms.intern(sample.comm) } else { 0 };
        let new = self.threads.len();
        let number = *self.ids.entry((sample.pid, sample.tid, comm)).or_insert(new);
        if number == new {
            let pid = sample.pid;
            let tid = sample.tid;
            self.threads.push(Thread { pid, tid, comm: BString::default(), seen: Vec::new() });
        }
        let thread = &mut self.threads[number];
        if thread.comm != sample.comm {
            thread.comm = sample.comm.into();
        }
        let is_off = sample.event == OFF_CPU && self.config.event.is_none();
        // A wait from before the clock began cannot be drawn.
        let period = if is_off { weight.min(time) } else { weight };
        let stack = self.stacks.intern(sample.stack) as u32;
        thread.seen.push(Seen { time, period, stack, event, is_off });
    }

    /// Takes a line that may list an event.
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.event.note_listed(text);
    }

    /// The threads with samples of the wanted event, in the order of processes and threads. Their
    /// samples are in the order of time.
    pub(crate) fn take(&mut self) -> Vec<Thread> {
        let threads = std::mem::take(&mut self.threads);
        self.chosen(threads)
    }

    fn chosen(&self, mut threads: Vec<Thread>) -> Vec<Thread> {
        let turns = self.event.turns();
        for Thread { seen, .. } in &mut threads {
            seen.retain(|seen| turns.get(seen.event).is_some_and(|turn| *turn != Turn::Other));
            seen.sort_by_key(Seen::start);
        }
        threads.retain(|thread| !thread.seen.is_empty());
        threads.sort_by(|a, b| (a.pid, a.tid, &a.comm).cmp(&(b.pid, b.tid, &b.comm)));
        threads
    }

    /// The pieces of each thread, in order. Lanes are in the order of processes and threads.
    pub(crate) fn pieces(&mut self) -> Vec<(Thread, Vec<Piece>)> {
        let threads = self.take();
        self.pieces_of(threads)
    }

    /// The pieces that there are so far.
    pub(super) fn pieces_so_far(&self) -> Vec<(Thread, Vec<Piece>)> {
        self.pieces_of(self.chosen(self.threads.clone()))
    }

    fn pieces_of(&self, threads: Vec<Thread>) -> Vec<(Thread, Vec<Piece>)> {
        let is_clock = self.is_clock();
        let interval = if is_clock { None } else { Some(median_interval(&threads)) };
        let lane = |thread: Thread| {
            let pieces = pieces(&thread.seen, interval);
            (thread, pieces)
        };
        threads.into_iter().map(lane).collect()
    }

    /// The quality of the stacks of `lanes`.
    pub(crate) fn quality(
        &self,
        frames: &FrameTable,
        lanes: &[(Thread, Vec<Piece>)],
    ) -> StackQuality {
        let quality = Quality::of(frames);
        let mut found = StackQuality::default();
        for piece in lanes.iter().flat_map(|(_, pieces)| pieces) {
            quality.look(frames, self.stack(piece.stack), piece.end - piece.start, &mut found);
        }
        found
    }

    /// A stack of a sample, leaf first.
    pub(crate) fn stack(&self, number: u32) -> &[FrameId] {
        self.stacks.get(number as usize)
    }

    /// The root frame of a thread.
    pub(super) fn root(&self, thread: &Thread, frames: &mut FrameTable) -> FrameId {
        let pid = thread.pid.map(u64::from);
        let tid = thread.tid.map(u64::from);
        let config = Config { pid: pid.is_some(), tid: tid.is_some(), ..self.config.clone() };
        let name = thread_name(thread.comm.as_bstr(), pid, tid, &config);
        frames.intern(Frame::named(&name))
    }

    /// Names all frames for the stacks of `lanes`.
    pub(crate) fn naming(&self, frames: &mut FrameTable, lanes: &[(Thread, Vec<Piece>)]) -> Naming {
        let off = frames.intern(Frame::named(OFF_CPU));
        let has_java = lanes.iter().any(|(thread, _)| is_java(&thread.comm));
        let names = FrameNames::of(frames, has_java, &self.config, false);
        let wanted = &self.config.skip_after;
        let is_skipped = |frame: FrameId| wanted.iter().any(|name| name == frames.symbol(frame));
        let skipped = if wanted.is_empty() {
            Vec::new()
        } else {
            frames.ids().filter(|frame| is_skipped(*frame)).collect()
        };
        Naming { names, off, skipped }
    }

    /// Explains why nothing is left although there were samples.
    pub(crate) fn diagnose(&self) -> Result<()> {
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
        if self.event.others().is_empty() { Ok(()) } else { Err(self.event.nothing_wanted(input)) }
    }

    /// Counts in `tally` what was collected and lost. `stacks` is the quality of the stacks.
    pub(crate) fn count(&mut self, stacks: StackQuality, tally: &mut Tally) {
        let mut mine = Tally::default();
        mine.lose(Loss::NoStack, self.no_stack.items, self.no_stack.weight);
        mine.lose(Loss::NoTime, self.no_time.items, self.no_time.weight);
        mine.folded = self.event.folded();
        for (event, count) in self.event.others() {
            mine.leave_out(event, count);
        }
        if stacks.weight > 0 {
            mine.stacks = Some(stacks);
        }
        tally.absorb(mine);
    }
}

/// Names the frames of stacks.
pub(crate) struct Naming {
    names: FrameNames,
    off: FrameId,
    /// The names that cut off their callers.
    skipped: Vec<FrameId>,
}

impl Naming {
    /// Pushes the names of a `sampled` stack, root first, each with the frame that has it.
    pub(crate) fn push(
        &self,
        sampled: &[FrameId],
        is_off: bool,
        java: bool,
        mut push: impl FnMut(FrameId, Option<FrameId>),
    ) {
        let mut names = Vec::new();
        let mut stack = Vec::new();
        for &frame in sampled.iter().rev() {
            names.clear();
            self.names.push(frame, java, &mut names);
            stack.extend(names.iter().map(|name| (*name, frame)));
        }
        let start = stack.iter().rposition(|(name, _)| self.skipped.contains(name)).unwrap_or(0);
        if is_off {
            push(self.off, None);
        }
        stack.iter().skip(start).for_each(|(name, frame)| push(*name, Some(*frame)));
    }
}

/// The median time between two samples of a thread.
fn median_interval(threads: &[Thread]) -> u64 {
    let clocked = threads.iter().map(|thread| thread.seen.iter().filter(|seen| !seen.is_off));
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
        Piece { start: begin, end, weight: one.period, stack: one.stack, is_off: one.is_off }
    };
    seen.iter().enumerate().map(piece).collect()
}
