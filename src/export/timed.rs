//! The samples of threads, with the numbers of their names.

use hashbrown::HashMap;

use super::profile::Profile;
use crate::fold::{Piece, Thread, Threads, is_java};
use crate::sample::{FrameTable, Kind};

/// Samples with times. The default has none.
#[derive(Default)]
pub(super) struct Timed {
    /// Whether weights are nanoseconds.
    pub(super) is_clock: bool,
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
    pub(super) pid: Option<u32>,
    pub(super) tid: Option<u32>,
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
    /// The number of its name.
    pub(super) name: u32,
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
        let mut timed = Timed { is_clock: threads.is_clock(), from, ..Timed::default() };
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
                        let name = profile.names.number(frames, name);
                        let kind = frame.map_or(Kind::User, |frame| frames.kind(frame));
                        let module = frame.map(|frame| frames.get(frame).module.to_string());
                        let module = module.filter(|module| !module.is_empty()).map(|module| {
                            let next = modules.len() as u32;
                            *modules.entry(module).or_insert(next)
                        });
                        named.push(Named { name, kind, module });
                    });
                    timed.stacks.push(named);
                }
                profile.weight = profile.weight.saturating_add(weight);
                samples.push(Taken { start, end, weight, is_off, stack: at });
            }
            let comm = thread.comm.to_string();
            timed.lanes.push(Lane { comm, pid: thread.pid, tid: thread.tid, samples });
        }
        let mut names: Vec<(String, u32)> = modules.into_iter().collect();
        names.sort_by_key(|(_, number)| *number);
        timed.modules = names.into_iter().map(|(name, _)| name).collect();
        timed
    }
}
