//! Sums samples by their stacks. At the end, gives each distinct stack its names.

use std::ops::Range;

use bstr::BString;
use rayon::prelude::*;

use super::event::{EventFilter, Turn};
use super::frame_names::FrameNames;
use super::quality::Quality;
use super::root::{Roots, is_java};
use super::stage::{SoFar, Stage};
use super::sums::{Arrivals, Sums, Weight};
use super::{Config, Weighing, name};
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink, OFF_CPU, ON_CPU};
use crate::sample::{Frame, FrameId, FrameTable, Sample, SampleSink};
use crate::tally::{Count, Loss, StackQuality, Tally};
use crate::unit;

/// A workload that used less processor time than this, in nanoseconds, hardly ran.
const SHORTEST: u64 = 5_000_000;

/// A sink of samples that pushes folded stacks into `S` when it is finished. They are in no
/// particular order, and several may have the same names; [`super::Merge`] merges and sorts them.
///
/// Memory: the distinct stacks.
pub struct Folder<S> {
    config: Config,
    input: String,
    next: S,
    event: EventFilter,
    roots: Roots,
    skip_after: Vec<Option<bool>>,
    /// By the number of the event.
    by_event: Vec<OfEvent>,
    key: Vec<FrameId>,
    /// Whether an absorbed folder had threads of Java programs.
    has_java: bool,
    parallel: bool,
}

impl<S: FoldedSink> Folder<S> {
    /// A folder in front of `next`. Errors call the input `input`.
    pub fn new(config: Config, input: impl Into<String>, next: S) -> Self {
        Folder {
            event: EventFilter::new(&config),
            config,
            input: input.into(),
            next,
            roots: Roots::default(),
            skip_after: Vec::new(),
            by_event: Vec::new(),
            key: Vec::new(),
            has_java: false,
            parallel: false,
        }
    }

    /// Whether all of rayon's threads help at the end. The result is the same.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    /// How samples are folded.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// An empty folder that folds as this one does, and that this one can absorb.
    pub(super) fn beside<T: FoldedSink>(&self, next: T) -> Folder<T> {
        let event = self.event.beside();
        Folder { event, ..Folder::new(self.config.clone(), self.input.clone(), next) }
    }

    /// Several threads begin to read portions of the input.
    pub(super) fn begin_portions(&mut self) {
        self.event.begin_portions();
    }

    /// The next samples are from this portion of the input.
    pub(super) fn start_portion(&mut self, portion: u64) {
        self.event.start_portion(portion);
    }

    /// Adds the sums of `other`, whose frames have the ids in `ids` here.
    pub(super) fn absorb<T>(&mut self, other: &mut Folder<T>, ids: &[FrameId]) {
        let numbers = self.event.absorb(&other.event);
        for (number, theirs) in numbers.into_iter().zip(&mut other.by_event) {
            let mine = of_event(&mut self.by_event, number);
            for (into, from) in mine.stacks.iter_mut().zip(&mut theirs.stacks) {
                for (stack, weight) in from.sums().iter() {
                    self.key.clear();
                    self.key.extend(stack.iter().map(|frame| ids[frame.index()]));
                    into.add(&self.key, weight.weight);
                }
            }
            mine.no_stack += theirs.no_stack;
            mine.with_period |= theirs.with_period;
            mine.without_period |= theirs.without_period;
        }
        self.has_java |= other.has_java || other.roots.has_java();
    }

    /// How many frames of `stack` remain, from the leaf, if a `skip_after` symbol cuts its callers
    /// off.
    fn cut_at(&mut self, frames: &FrameTable, stack: &[FrameId]) -> Option<usize> {
        if self.config.skip_after.is_empty() {
            return None;
        }
        self.skip_after.resize(frames.len().max(self.skip_after.len()), None);
        let wanted = &self.config.skip_after;
        let matches = |&frame: &FrameId| {
            *self.skip_after[frame.index()].get_or_insert_with(|| {
                let symbol = frames.symbol(frame);
                let symbol = name::readable(symbol);
                wanted.iter().any(|wanted| **wanted == *symbol)
            })
        };
        stack.iter().position(matches).map(|at| at + 1)
    }

    /// Explains why there are no stacks. Each mistake that was made before has its own error.
    fn diagnose(&self, tally: &Tally) -> Result<()> {
        let input = self.input.clone();
        let lost = |loss| tally.lost(loss).items;
        let read = tally.read.items;
        let other = lost(Loss::OtherEvent);
        let bare = lost(Loss::NoStack);
        if read == 0 && self.config.allow_empty && lost(Loss::Odd) == 0 {
            Ok(())
        } else if read == 0 {
            let used = tally.seen.map_or(0, |seen| seen.counted);
            let seconds = used as f64 / 1e9;
            let why = match lost(Loss::Odd) {
                0 if used == 0 => String::new(),
                0 if used < SHORTEST => format!(
                    ": the workload used only {seconds:.3} s of processor time (sample it more \
                     often with -F; if it goes on in the background, record that with -p)"
                ),
                0 => format!(
                    ", though {seconds:.3} s of processor time was used: threads that end within a \
                     sampling interval are missed (record with --per-cpu, or a higher -F)"
                ),
                odd => format!(", only {odd} odd lines"),
            };
            Err(Error::NoSamples { input, why })
        } else if read > other + bare {
            Ok(())
        } else if bare > 0 {
            Err(Error::NoCallChains { input, samples: bare })
        } else {
            Err(self.event.nothing_wanted(input))
        }
    }

    /// The unit of the weights. Empty if it is unknown, or must not be printed.
    fn unit(&self, folded: &[OfEvent]) -> BString {
        if self.config.no_unit {
            return BString::default();
        }
        let with_period = folded.iter().any(|event| event.with_period);
        let without_period = folded.iter().any(|event| event.without_period);
        if self.config.weighing == Weighing::Samples || !with_period {
            unit::SAMPLES.into()
        } else if without_period {
            BString::default()
        } else {
            self.event.unit().unwrap_or_default()
        }
    }

    /// Pushes all stacks into the next sink. Returns the events that were folded.
    fn push_all(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<Vec<OfEvent>> {
        let mut folded = Vec::new();
        let mut blocked = Vec::new();
        for (event, turn) in std::mem::take(&mut self.by_event).into_iter().zip(self.event.turns())
        {
            match turn {
                Turn::Folded => folded.push(event),
                Turn::Off => blocked.push(event),
                Turn::Other => {}
            }
        }
        let mut stacks = StackQuality::default();
        self.name_all(frames, &mut folded, &mut blocked, &mut stacks)?;
        folded.append(&mut blocked);
        for OfEvent { no_stack, .. } in &folded {
            tally.lose(Loss::NoStack, no_stack.items, no_stack.weight);
        }
        tally.folded = self.event.folded();
        for (event, count) in self.event.others() {
            tally.leave_out(event, count);
        }
        if stacks.weight > 0 {
            tally.stacks = Some(stacks);
        }
        Ok(folded)
    }

    fn name_all(
        &mut self,
        frames: &mut FrameTable,
        folded: &mut [OfEvent],
        blocked: &mut [OfEvent],
        tally: &mut StackQuality,
    ) -> Result<()> {
        let has_off = self.event.has_off();
        let depth = Roots::depth(&self.config);
        let has_java = self.has_java || self.roots.has_java();
        let all = folded.iter_mut().chain(&mut *blocked).flat_map(|event| &mut event.stacks);
        all.for_each(|stacks| stacks.sums().close());
        self.next.distinct();
        let quality = Quality::of(frames);
        let names = FrameNames::of(frames, has_java, &self.config, self.parallel);
        let [on_cpu, off_cpu] =
            [ON_CPU, OFF_CPU].map(|place| has_off.then(|| frames.intern(Frame::named(place))));
        let on = folded.iter_mut().map(|event| (event, on_cpu));
        let off = blocked.iter_mut().map(|event| (event, off_cpu));
        let [whole, cut] = [false, true];
        let all = on.chain(off).flat_map(|(event, place)| {
            let [whole_stacks, cut_stacks] = &mut event.stacks;
            [(whole_stacks, whole, place), (cut_stacks, cut, place)]
        });
        for (stacks, is_cut, place) in all {
            let stacks = &*stacks.sums();
            let names = &names;
            let quality = &quality;
            let unnamed = Unnamed { stacks, names, quality, place, is_cut, depth };
            for start in (0..stacks.len()).step_by(PIECE * PIECES) {
                let some = start..stacks.len().min(start + PIECE * PIECES);
                let name = |from: usize| unnamed.name(frames, from..some.end.min(from + PIECE));
                let named: Vec<Named> = if self.parallel {
                    some.clone().into_par_iter().step_by(PIECE).map(name).collect()
                } else {
                    some.clone().step_by(PIECE).map(name).collect()
                };
                for Named { frames: all, ends, tally: its } in named {
                    tally.absorb(its);
                    let mut start = 0;
                    for (end, weight) in ends {
                        let folded =
                            Folded { stack: &all[start..end], weight, ..Folded::default() };
                        self.next.folded(frames, &folded)?;
                        start = end;
                    }
                }
            }
        }
        Ok(())
    }
}

/// This many stacks are named at once.
const PIECE: usize = if cfg!(test) { 4 } else { 1 << 10 };
/// This many pieces are held at once.
const PIECES: usize = 16;

/// Stacks as they were sampled, and what is needed to name them.
struct Unnamed<'a> {
    stacks: &'a Sums,
    names: &'a FrameNames,
    quality: &'a Quality,
    /// `on-cpu` or `off-cpu`, if there are both.
    place: Option<FrameId>,
    is_cut: bool,
    /// How many root frames a stack has.
    depth: usize,
}

/// Named stacks, one behind the other.
#[derive(Default)]
struct Named {
    frames: Vec<FrameId>,
    /// Where each stack ends, and what it weighs.
    ends: Vec<(usize, u64)>,
    tally: StackQuality,
}

impl Unnamed<'_> {
    /// Names the stacks with these numbers.
    fn name(&self, frames: &FrameTable, numbers: Range<usize>) -> Named {
        let mut named = Named::default();
        for (key, Weight { weight, .. }) in numbers.map(|number| self.stacks.get(number)) {
            let (sampled, roots) = key.split_at(key.len() - self.depth);
            let Some((&thread, others)) = roots.split_first() else { continue };
            self.quality.look(frames, sampled, weight, &mut named.tally);
            let stack = &mut named.frames;
            stack.extend(self.place);
            stack.extend(others.iter().rev());
            if !self.is_cut {
                stack.push(thread);
            }
            let java = self.names.has_java() && is_java(frames.symbol(thread));
            sampled.iter().rev().for_each(|&frame| self.names.push(frame, java, stack));
            named.ends.push((stack.len(), weight));
        }
        named
    }
}

impl<S: FoldedSink> SampleSink for Folder<S> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        let weight = match self.config.weighing {
            Weighing::Period => sample.weight(),
            Weighing::Samples => 1,
        };
        let Some(number) = self.event.count(sample, weight, frames) else {
            return Ok(());
        };
        let event = of_event(&mut self.by_event, number);
        match sample.period {
            Some(_) => event.with_period = true,
            None => event.without_period = true,
        }
        if sample.stack.is_empty() {
            event.no_stack += Count::one(weight);
            return Ok(());
        }
        let cut = self.cut_at(frames, sample.stack);
        self.key.clear();
        self.key.extend_from_slice(&sample.stack[..cut.unwrap_or(sample.stack.len())]);
        self.roots.push(&mut self.key, sample, &self.config, frames);
        self.by_event[number].stacks[usize::from(cut.is_some())].add(&self.key, weight);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.event.note_listed(text);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let mut mine = Tally::default();
        let folded = self.push_all(frames, &mut mine)?;
        tally.absorb(mine);
        self.diagnose(tally)?;
        if self.config.no_unit || !folded.is_empty() {
            self.next.text(&unit::line(&self.unit(&folded)))?;
        }
        self.next.finish(frames, tally)
    }
}

impl<S: FoldedSink> SoFar for Folder<S> {
    fn so_far(&mut self, frames: &mut FrameTable, next: &mut dyn FoldedSink) -> Result<bool> {
        let mut copy = self.beside(next);
        let same: Vec<FrameId> = (0..frames.len()).map(FrameId::at).collect();
        copy.absorb(self, &same);
        let mut tally = Tally::default();
        let folded = copy.push_all(frames, &mut tally)?;
        if tally.stacks.is_none() {
            return Ok(false);
        }
        let unit = unit::line(&copy.unit(&folded));
        copy.next.text(&unit)?;
        Ok(true)
    }
}

impl<S: FoldedSink> Stage for Folder<S> {
    type Next = S;
    type Folded = S;

    fn next_mut(&mut self) -> &mut S {
        &mut self.next
    }

    fn as_folder(&mut self) -> Option<&mut Folder<S>> {
        Some(self)
    }
}

/// The stacks of one event.
#[derive(Default)]
struct OfEvent {
    /// Stacks as they were sampled, leaf first, with their root frames last. The first are whole.
    /// `skip_after` cut the second, which get no frame for their thread.
    stacks: [Arrivals; 2],
    no_stack: Count,
    /// Whether there are samples with a period, and without one.
    with_period: bool,
    without_period: bool,
}

fn of_event(all: &mut Vec<OfEvent>, number: usize) -> &mut OfEvent {
    if all.len() <= number {
        all.resize_with(number + 1, OfEvent::default);
    }
    &mut all[number]
}
