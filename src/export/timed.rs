//! The samples of threads, with the numbers of their names.

use hashbrown::HashMap;

use super::profile::Profile;
use crate::fold::{Piece, Thread, Threads, Weighing, is_java};
use crate::folded::{Folded, Moment};
use crate::sample::{FrameId, FrameTable, Kind};
use crate::stacks::Stacks;

/// Samples with times. The default has none.
#[derive(Default)]
pub(super) struct Timed {
    /// Whether weights are nanoseconds.
    pub(super) is_clock: bool,
    /// Whether every sample weighs 1 instead.
    pub(super) counts_samples: bool,
    /// When the first sample began.
    pub(super) from: u64,
    pub(super) lanes: Vec<Lane>,
    pub(super) stacks: Vec<Vec<Named>>,
    /// The files that functions are in.
    pub(super) modules: Vec<String>,
}

/// The samples of a thread, in the order of time.
pub(super) struct Lane {
    pub(super) comm: String,
    pub(super) pid: Option<u64>,
    pub(super) tid: Option<u64>,
    pub(super) samples: Vec<Taken>,
}

/// A sample, which stands for the time until the next one.
pub(super) struct Taken {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) weight: u64,
    /// Whether the thread was blocked.
    pub(super) is_off: bool,
    /// The index of its stack.
    pub(super) stack: usize,
}

/// A function in a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Named {
    /// The number of the position in it.
    pub(super) position: u32,
    pub(super) kind: Kind,
    /// The index of its module, if that is known.
    pub(super) module: Option<u32>,
}

impl Timed {
    /// The samples of `lanes`. Adds their names and weights to `profile`.
    pub(super) fn of(
        lanes: Vec<(Thread, Vec<Piece>)>,
        threads: &Threads,
        profile: &mut Profile,
        frames: &mut FrameTable,
    ) -> Timed {
        let starts = lanes.iter().flat_map(|(_, pieces)| pieces).map(|piece| piece.start);
        let from = starts.min().unwrap_or(0);
        let counts_samples = threads.config().weighing == Weighing::Samples;
        let is_clock = threads.is_clock();
        let mut timed = Timed { is_clock, counts_samples, from, ..Timed::default() };
        let naming = threads.naming(frames, &lanes);
        let mut modules: HashMap<String, u32> = HashMap::new();
        let mut known: HashMap<(u32, bool, bool), usize> = HashMap::new();
        for (thread, pieces) in lanes {
            let java = is_java(&thread.comm);
            let mut samples = Vec::with_capacity(pieces.len());
            for Piece { start, end, weight, stack, is_off } in pieces {
                let new = timed.stacks.len();
                let at = *known.entry((stack, is_off, java)).or_insert(new);
                if at == new {
                    let mut named = Vec::new();
                    naming.push(threads.stack(stack), is_off, java, |name, frame| {
                        let position = profile.names.number(frames, name);
                        let kind = frame.map_or(Kind::User, |frame| frames.kind(frame));
                        let module = frame.map(|frame| frames.get(frame).module.to_string());
                        let module = module.filter(|module| !module.is_empty()).map(|module| {
                            let next = modules.len() as u32;
                            *modules.entry(module).or_insert(next)
                        });
                        named.push(Named { position, kind, module });
                    });
                    timed.stacks.push(named);
                }
                profile.weight = profile.weight.saturating_add(weight);
                samples.push(Taken { start, end, weight, is_off, stack: at });
            }
            let comm = thread.comm.to_string();
            let [pid, tid] = [thread.pid, thread.tid].map(|id| id.map(u64::from));
            timed.lanes.push(Lane { comm, pid, tid, samples });
        }
        let mut names: Vec<(String, u32)> = modules.into_iter().collect();
        names.sort_by_key(|(_, number)| *number);
        timed.modules = names.into_iter().map(|(name, _)| name).collect();
        timed
    }
}

/// Collects the stacks of other profilers, which have names already.
#[derive(Default)]
pub(super) struct Moments {
    lanes: Vec<Lane>,
    ids: HashMap<(String, Option<u64>, Option<u64>), usize>,
    stacks: Stacks<FrameId>,
    named: Vec<Vec<Named>>,
}

impl Moments {
    /// Takes a stack. Adds its names and weight to `profile`.
    pub(super) fn push(
        &mut self,
        frames: &FrameTable,
        profile: &mut Profile,
        folded: &Folded<'_>,
        &Moment { comm, pid, tid, start, end, .. }: &Moment<'_>,
    ) {
        let stack = self.stacks.intern(folded.stack);
        if stack == self.named.len() {
            let name = |&frame| {
                let position = profile.names.number(frames, frame);
                Named { position, kind: Kind::User, module: None }
            };
            self.named.push(folded.stack.iter().map(name).collect());
        }
        let new = self.lanes.len();
        let lane = *self.ids.entry((comm.to_owned(), pid, tid)).or_insert(new);
        if lane == new {
            self.lanes.push(Lane { comm: comm.into(), pid, tid, samples: Vec::new() });
        }
        let weight = folded.weight;
        profile.weight = profile.weight.saturating_add(weight);
        let end = end.max(start);
        self.lanes[lane].samples.push(Taken { start, end, weight, is_off: false, stack });
    }

    /// Adds the lanes to `timed`. All of them begin when that begins.
    pub(super) fn append_to(self, timed: &mut Timed, is_clock: bool) {
        if timed.lanes.is_empty() {
            timed.is_clock = is_clock;
            timed.counts_samples = false;
        }
        let starts = self.lanes.iter().flat_map(|lane| &lane.samples).map(|sample| sample.start);
        let from = starts.min().unwrap_or(0);
        let stacks = timed.stacks.len();
        for mut lane in self.lanes {
            lane.samples.sort_by_key(|sample| sample.start);
            for sample in &mut lane.samples {
                sample.start = sample.start - from + timed.from;
                sample.end = sample.end - from + timed.from;
                sample.stack += stacks;
            }
            timed.lanes.push(lane);
        }
        timed.stacks.extend(self.named);
    }
}
