//! Rates stacks: does a stack reach the start of its thread, was it cut, and does its leaf have a
//! name?

use bstr::BStr;

use crate::sample::{Frame, FrameId, FrameTable, Kind, is_called_by_start, is_start};
use crate::tally::StackQuality;

/// Looks at each distinct stack once.
pub(super) struct Quality {
    /// The bits of each frame, by id.
    seen: Vec<u8>,
}

/// The bits of a frame: a thread starts here, it has no name, it marks a cut stack, or the start of
/// a thread calls it.
const START: u8 = 1;
const NAMELESS: u8 = 2;
const CUT: u8 = 4;
const CALLED_BY_START: u8 = 8;

impl Quality {
    /// Looks at all `frames`.
    pub(super) fn of(frames: &FrameTable) -> Quality {
        Quality { seen: frames.ids().map(|id| look_at(frames, id)).collect() }
    }

    /// Counts `stack`, leaf first, in `into`.
    pub(super) fn look(
        &self,
        frames: &FrameTable,
        stack: &[FrameId],
        weight: u64,
        into: &mut StackQuality,
    ) {
        add(&mut into.weight, weight);
        let see = |frame: &FrameId| self.seen.get(frame.index()).copied().unwrap_or(0);
        let mut all = 0;
        let mut called = 0;
        let mut root = 0;
        let mut modules: Vec<&BStr> = Vec::new();
        for frame in stack {
            called = root;
            root = see(frame);
            all |= root;
            if root & NAMELESS != 0 {
                let module = frames.get(*frame).module;
                if !modules.contains(&module) {
                    modules.push(module);
                    add(into.nameless.entry(module.into()).or_default(), weight);
                }
            }
        }
        // The `_start` of a program without symbols.
        let is_start = root & NAMELESS != 0 && called & CALLED_BY_START != 0;
        if is_start || root & START != 0 {
            add(&mut into.rooted, weight);
        }
        let is_cut = all & CUT != 0;
        if is_cut {
            add(&mut into.truncated, weight);
        }
        let nameless = stack.first().filter(|leaf| see(leaf) & NAMELESS != 0);
        if let Some(leaf) = nameless {
            let module = frames.get(*leaf).module;
            add(into.unresolved.entry(module.into()).or_default(), weight);
        }
        if !is_cut && nameless.is_none() {
            add(&mut into.good, weight);
        }
    }
}

fn look_at(frames: &FrameTable, id: FrameId) -> u8 {
    let Frame { symbol, kind, .. } = frames.get(id);
    let bits = [
        (START, is_start(symbol)),
        (NAMELESS, symbol == "[unknown]"),
        (CUT, kind == Kind::Truncated),
        (CALLED_BY_START, is_called_by_start(symbol)),
    ];
    bits.into_iter().filter(|(_, is_set)| *is_set).fold(0, |all, (bit, _)| all | bit)
}

fn add(sum: &mut u64, weight: u64) {
    *sum = sum.saturating_add(weight);
}
