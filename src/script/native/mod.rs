//! perf.data → samples by ourselves: no perf, no addr2line.
//!
//! ```text
//! perf_data::Reader ─Item─▶ spaces::Spaces   who runs what: maps, comms, forks, execs
//!                           stack::Stacks    kernel chain, then the user stack: frame pointers, branches or unwind
//!                           places::Places   every distinct address once, named in batches
//!                    ─Sample, in order, when the addresses of its batch have names─▶ SampleSink
//! ```
//!
//! Names are asked for in batches, as symbol tables and DWARF are read fastest that way: samples wait, as numbers, until
//! 64 Ki of them are there or the recording ends. An address is resolved once, whatever the number of batches.

mod address;
mod cfi;
mod modules;
mod places;
mod spaces;
mod stack;
mod unwind;

use bstr::{BString, ByteSlice};

use crate::error::Result;
use crate::perf_data::{Item, Reader, Record, Shares};
use crate::sample::{FrameId, FrameTable, Place, Sample, SampleSink};
use crate::symbols::{self, Loader};
use crate::tally::{Loss, Tally};

use places::Places;
use spaces::Spaces;
use stack::Builder;

/// How a recording is scripted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Leave inlined frames out.
    pub no_inline: bool,
    /// Fill in [`Sample::places`].
    pub places: bool,
    /// Keep unknown frames apart by their address.
    pub addresses: bool,
    /// Name frames as perf 6.1 does, where it is wrong: see [`recording::Config`](super::recording::Config).
    pub perf_compat: bool,
    /// Where to look for modules and their debug files.
    pub symbols: symbols::Config,
}

/// How many samples wait for their names at most.
const BATCH: usize = 64 << 10;

/// Reads a recording to its end and pushes its samples into `sink`, which is not finished. The answer is how many of them
/// had no call chain.
///
/// Memory: a batch of samples as numbers, the distinct addresses and their names, and what of the modules' symbols is looked at.
pub fn script(
    mut reader: Reader,
    config: &Config,
    frames: &mut FrameTable,
    sink: &mut (impl SampleSink + ?Sized),
    tally: &mut Tally,
) -> Result<u64> {
    let loader = Loader::new(config.symbols.clone());
    let mut script = Script {
        spaces: Spaces::new(&reader),
        builder: Builder::new(&reader, config.perf_compat),
        places: Places::new(config),
        shares: Shares::default(),
        events: Vec::new(),
        waiting: Vec::new(),
        bare: 0,
        stacks: Vec::new(),
        config,
        loader: &loader,
    };
    while let Some(item) = reader.next_item()? {
        script.item(&item);
        if script.waiting.len() >= BATCH {
            script.flush(frames, sink, tally)?;
        }
    }
    script.flush(frames, sink, tally)?;
    reader.tally(tally);
    let missing = loader.warnings();
    tally.lose(Loss::Mismatched, missing.mismatched.len() as u64, 0);
    Ok(script.bare)
}

struct Script<'a> {
    spaces: Spaces,
    builder: Builder,
    places: Places,
    shares: Shares,
    /// The names of events by their index.
    events: Vec<BString>,
    waiting: Vec<Waiting>,
    /// Samples without a call chain.
    bare: u64,
    /// The stacks of `waiting`, one behind the other, as ids of `places`.
    stacks: Vec<u32>,
    config: &'a Config,
    loader: &'a Loader,
}

/// A sample whose frames have no names yet.
struct Waiting {
    comm: u32,
    pid: Option<u32>,
    tid: Option<u32>,
    cpu: Option<u32>,
    time: Option<u64>,
    period: u64,
    event: usize,
    stack: (usize, usize),
}

impl Script<'_> {
    fn item(&mut self, item: &Item<'_>) {
        match item.record {
            Record::Sample(sample) => {
                let (pid, tid) = (sample.pid.or(item.id.pid), sample.tid.or(item.id.tid));
                let start = self.stacks.len();
                let mut into = stack::Into {
                    spaces: &mut self.spaces,
                    places: &mut self.places,
                    loader: self.loader,
                    stack: &mut self.stacks,
                };
                self.builder.build(item.head.mode(), &sample, &mut into);
                let comm = self.spaces.comm(pid, tid);
                let stack = (start, self.stacks.len());
                let is_bare = sample.callchain.is_none() && sample.stack_user.is_none();
                let (events, waiting, bare) = (&mut self.events, &mut self.waiting, &mut self.bare);
                self.shares.of(item, |event, period| {
                    if events.len() <= event.index {
                        events.resize(event.index + 1, BString::default());
                    }
                    if events[event.index] != event.name {
                        events[event.index] = event.name.clone();
                    }
                    *bare += u64::from(is_bare);
                    let (cpu, time) = (sample.cpu, sample.time);
                    waiting.push(Waiting {
                        comm,
                        pid,
                        tid,
                        cpu,
                        time,
                        period,
                        event: event.index,
                        stack,
                    });
                });
            }
            Record::Mmap(mmap) => self.spaces.map(&mmap),
            Record::Comm { pid, tid, comm, exec } => self.spaces.rename(pid, tid, comm, exec),
            Record::Fork(task) => self.spaces.fork(&task),
            _ => {}
        }
    }

    /// Names what has none yet and pushes what waits.
    fn flush(
        &mut self,
        frames: &mut FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) -> Result<()> {
        self.places.resolve(&self.spaces, self.loader, frames)?;
        let (mut stack, mut places): (Vec<FrameId>, Vec<Place>) = (Vec::new(), Vec::new());
        for waiting in self.waiting.drain(..) {
            stack.clear();
            places.clear();
            for &place in &self.stacks[waiting.stack.0..waiting.stack.1] {
                // The loader's `_start` has no unwind information and no caller: it is the root, nothing is cut off. A stack
                // that is lost at once in `__GI___execve` went with the old program: what called it is no more.
                let is_root = |&last: &FrameId| {
                    let symbol = frames.symbol(last);
                    symbol == "_start"
                        || symbol.ends_with(b"execve")
                        || symbol.ends_with(b"execveat")
                };
                if place == Places::TRUNCATED && stack.last().is_some_and(is_root) {
                    continue;
                }
                for named in self.places.frames(place) {
                    stack.push(named.frame);
                    if self.config.places {
                        places.push(named.place);
                    }
                }
            }
            let sample = Sample {
                comm: self.spaces.comm_name(waiting.comm),
                pid: waiting.pid,
                tid: waiting.tid,
                cpu: waiting.cpu,
                time: waiting.time,
                event: self.events[waiting.event].as_bstr(),
                period: Some(waiting.period),
                stack: &stack,
                places: &places,
                text: b"",
            };
            tally.read.items += 1;
            tally.read.weight = tally.read.weight.saturating_add(waiting.period);
            sink.sample(frames, &sample)?;
        }
        self.stacks.clear();
        Ok(())
    }
}
