//! Makes samples of perf.data without perf and addr2line.
//!
//! ```text
//! perf_data::Reader ─Item─▶ unwind::Spaces          maps, comms, forks and execs of processes
//!                           stack::Builder          the kernel's chain, then the user's stack
//!                           addresses::Addresses    each distinct address once, named in batches
//!                    ─Sample, in order, once its addresses have names─▶ SampleSink
//! ```
//!
//! Addresses are named in batches, because symbol tables and DWARF are read fastest that way.
//! Samples wait as numbers until there are 64 Ki of them or the recording ends. An address is
//! resolved once, whatever the number of batches, unless it was forgotten: after a batch we keep
//! nothing of processes that ended long ago. While a recording goes on, generated code is resolved
//! again, because JITs write their names late.

mod addresses;
mod coverage;
mod deferred;
mod forget;
mod nameless;
mod naming;
mod needs_perf;
mod stack;
mod warnings;

use bstr::{BString, ByteSlice};

use super::Config;
use crate::error::Result;
use crate::event;
use crate::heap;
use crate::perf_data::{CpuMode, Features, Item, RawSample, Reader, Record, Shares};
use crate::sample::{
    FrameId, FrameTable, Place, Sample, SampleSink, is_called_by_start, is_start, printable,
};
use crate::symbols::{Loader, Origin};
use crate::tally::{Count, Loss, Recorded, Tally};
use crate::unwind::{Processes, Spaces};

use addresses::Addresses;
use coverage::Coverage;
use deferred::{Deferred, Held};
use nameless::Nameless;
use stack::Builder;

/// The most samples that wait for their names.
const BATCH: usize = 64 << 10;
/// The first batch while a recording goes on. A workload of less than a second is named faster at
/// its end, by all processors at once. Each batch has twice the size of the last. So looking up
/// things again costs no more than looking them up once, and at most half of the samples are left
/// for the end.
const FIRST: usize = 1 << 10;
/// After this many samples the important modules are known, so they are prepared while the
/// recording goes on.
const ENOUGH: usize = 64;

/// Reads a recording to its end and pushes its samples into `sink`, which is not finished.
///
/// # Errors
/// [`Error::NeedsPerf`](crate::error::Error::NeedsPerf), before any sample is pushed, if only perf
/// can help.
///
/// Memory: a batch of samples as numbers, the distinct addresses of the programs that run and their
/// names, and the pages of modules' symbols that are read.
pub(crate) fn script(
    mut reader: Reader,
    config: &Config,
    frames: &mut FrameTable,
    sink: &mut dyn SampleSink,
    tally: &mut Tally,
) -> Result<()> {
    let loader = Loader::new(config.symbols.clone());
    let mut script = Script::new(&reader, config, &loader);
    let mut begun = false;
    let mut checked = false;
    let read = tally.read.items;
    let mut batch = if config.live { FIRST } else { BATCH };
    let mut prepared = !config.live;
    loop {
        // The events of a stream are known once it has begun.
        if !checked && !reader.events().is_empty() {
            needs_perf::check_stacks(&reader)?;
            script.learn_machine(reader.features());
            // 1 is CLOCK_MONOTONIC, the clock of jitdumps: `perf record -k mono`, which
            // perf-inject(1) needs too.
            script.monotonic =
                reader.events().iter().all(|e| e.attr.use_clockid() && e.attr.clockid == 1);
            checked = true;
        }
        let Some(item) = reader.next_item()? else { break };
        script.item(&item, frames, sink, tally);
        if !prepared && script.waiting.len() >= ENOUGH {
            prepared = true;
            script.learn(&reader);
            script.addresses.prepare(&script.spaces, &loader);
        }
        let is_watched = sink.is_watched();
        if script.waiting.len() >= batch || is_watched {
            if !is_watched {
                batch = (batch * 2).min(BATCH);
            }
            if !std::mem::replace(&mut begun, true) {
                begin(&reader, config, sink)?;
            }
            script.learn(&reader);
            script.flush(frames, sink, tally)?;
            if config.live && !is_watched {
                heap::give_back();
            }
            sink.pause(frames)?;
        }
    }
    if tally.read.items == read && script.waiting.is_empty() {
        needs_perf::check_trace(&reader)?;
    }
    if !begun {
        begin(&reader, config, sink)?;
    }
    script.learn(&reader);
    script.finish(&reader, frames, sink, tally)?;
    let Script { spaces, addresses, .. } = script;
    // Unmapping large files takes milliseconds, during which the caller can draw the graph.
    rayon::spawn(move || drop((spaces, addresses, loader)));
    Ok(())
}

/// Pushes the names of the events, if a reader cannot know which of them comes first.
pub(crate) fn list_events(reader: &Reader, sink: &mut dyn SampleSink) -> Result<()> {
    let names = reader.events().iter().map(|event| printable(event.name.as_bstr()));
    let names: Vec<_> = names.collect();
    let lines = event::lines(names.iter().map(|name| name.as_bstr()));
    if lines.is_empty() { Ok(()) } else { sink.text(&lines) }
}

/// Pushes the description of the recording if it is wanted, and the list of events if it decides
/// what is folded.
fn begin(reader: &Reader, config: &Config, sink: &mut dyn SampleSink) -> Result<()> {
    let description = if config.header { reader.features().describe() } else { Vec::new() };
    if !description.is_empty() {
        sink.text(&description)?;
    }
    if event::listed(&description).next().is_none() {
        list_events(reader, sink)?;
    }
    Ok(())
}

struct Script<'a> {
    spaces: Spaces,
    builder: Builder,
    addresses: Addresses,
    shares: Shares,
    /// The names of events by their index.
    events: Vec<BString>,
    waiting: Vec<Waiting>,
    /// Samples without a call chain.
    bare: u64,
    nameless: Nameless,
    /// Times are on the clock of jitdumps.
    monotonic: bool,
    /// The stacks of `waiting`, one after another, as ids of `addresses`.
    stacks: Vec<u32>,
    /// Samples whose user part comes later.
    deferred: Deferred,
    coverage: Coverage,
    /// The times of the first and the last sample.
    first: u64,
    last: u64,
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

impl<'a> Script<'a> {
    fn new(reader: &Reader, config: &'a Config, loader: &'a Loader) -> Script<'a> {
        let mut spaces = Spaces::new(None, reader.written());
        spaces.processes = Processes::new(config.live);
        Script {
            spaces,
            builder: Builder::new(reader, config.perf_compat),
            addresses: Addresses::new(config),
            shares: Shares::default(),
            events: Vec::new(),
            waiting: Vec::new(),
            bare: 0,
            nameless: Nameless::default(),
            monotonic: false,
            stacks: Vec::new(),
            deferred: Deferred::default(),
            coverage: Coverage::default(),
            first: u64::MAX,
            last: 0,
            config,
            loader,
        }
    }

    /// Learns what is known of the recording so far.
    fn learn(&mut self, reader: &Reader) {
        self.learn_machine(reader.features());
        self.spaces.processes.learn(reader);
    }

    fn learn_machine(&mut self, features: &Features) {
        self.spaces.learn(features);
        let Features { hostname, os_release, arch, .. } = features;
        let release = os_release.clone();
        self.loader.learn(Origin { hostname: hostname.clone(), release, arch: arch.clone() });
    }

    fn item(
        &mut self,
        item: &Item<'_>,
        frames: &FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) {
        match item.record {
            Record::Sample(sample) => self.sample(item, &sample, frames, sink, tally),
            Record::Callchain { cookie, chain } => {
                let chain: Vec<u64> = chain.iter().collect();
                let held = self.deferred.arrive(item.id.tid, cookie, chain.clone());
                self.complete(held, Some((cookie, &chain)), tally);
            }
            Record::Read(read) => {
                if let Some(event) = item.event {
                    self.coverage.count(event, &read);
                }
            }
            Record::Exit(task) => {
                let unmatched = self.deferred.exit(task.tid);
                self.complete(unmatched, None, tally);
                for pid in self.spaces.exit(&task) {
                    self.loader.forget(pid);
                }
            }
            Record::Mmap(mmap) => self.spaces.map(&mmap, item.id.time),
            Record::Comm { pid, tid, comm, exec } => {
                if exec {
                    self.loader.forget(pid);
                    self.spaces.processes.begins(pid, item.id.time);
                }
                self.spaces.rename(pid, tid, comm, exec);
            }
            Record::Fork(task) => {
                self.coverage.fork();
                if task.pid != task.ppid {
                    self.spaces.processes.begins(task.pid, Some(task.time));
                }
                self.spaces.fork(&task);
            }
            Record::Ksymbol(symbol) => self.spaces.kernel.add(&symbol),
            _ => {}
        }
    }

    /// Takes a sample: finds its stack, and lets it wait for its names.
    fn sample(
        &mut self,
        item: &Item<'_>,
        sample: &RawSample<'_>,
        frames: &FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) {
        let pid = sample.pid.or(item.id.pid);
        let tid = sample.tid.or(item.id.tid);
        if let Some(pid) = pid {
            self.spaces.processes.see(pid, sample.time);
        }
        let comm = self.spaces.comm(pid, tid);
        let comm_name = self.spaces.comm_name(comm);
        let first = self.waiting.len();
        let start = self.stacks.len();
        let is_bare = sample.callchain.is_none() && sample.stack_user.is_none();
        let Script { events, waiting, bare, coverage, shares, .. } = self;
        shares.of(item, |event, period| {
            coverage.sample(event, period);
            if events.len() <= event.index {
                events.resize(event.index + 1, BString::default());
            }
            if events[event.index].is_empty() {
                let name = printable(event.name.as_bstr());
                tally.lose(Loss::Replaced, u64::from(*name != **event.name), 0);
                events[event.index] = name.into_owned().into();
            }
            *bare += u64::from(is_bare);
            let head = Sample {
                comm: comm_name,
                pid,
                tid,
                cpu: sample.cpu,
                time: sample.time,
                event: events[event.index].as_bstr(),
                period: Some(period),
                ..Sample::default()
            };
            if !sink.wants(frames, &head) {
                tally.read += Count::one(period);
                return;
            }
            waiting.push(Waiting {
                comm,
                pid,
                tid,
                cpu: sample.cpu,
                time: sample.time,
                period,
                event: event.index,
                stack: (start, start),
            });
        });
        if self.waiting.len() == first {
            return;
        }
        let mode = item.head.mode();
        let limit = item.event.map_or(0, |event| event.attr.max_stack);
        let (builder, mut target) = self.target();
        let Some(cookie) = builder.build(mode, sample, limit, &mut target) else {
            return self.set_stack(first, start);
        };
        let held = Held {
            cookie,
            waiting: self.waiting.split_off(first),
            stack: self.stacks.split_off(start),
            user: sample.ip.filter(|_| mode == CpuMode::User),
        };
        let early = self.deferred.arrived(tid, cookie).map(<[u64]>::to_vec);
        if let Some(chain) = early {
            return self.complete(vec![held], Some((cookie, &chain)), tally);
        }
        let unmatched = self.deferred.hold(tid, held);
        self.complete(unmatched, None, tally);
    }

    /// The builder of stacks, and its target.
    fn target(&mut self) -> (&mut Builder, stack::Target<'_>) {
        let target = stack::Target {
            spaces: &mut self.spaces,
            addresses: &mut self.addresses,
            loader: self.loader,
            stack: &mut self.stacks,
        };
        (&mut self.builder, target)
    }

    /// Gives the stack from `start` on to the samples from `first` on.
    fn set_stack(&mut self, first: usize, start: usize) {
        let stack = (start, self.stacks.len());
        self.waiting[first..].iter_mut().for_each(|waiting| waiting.stack = stack);
    }

    /// Releases samples that were held, with the user part that `arrived` if it has their cookie.
    fn complete(&mut self, held: Vec<Held>, arrived: Option<(u64, &[u64])>, tally: &mut Tally) {
        for Held { cookie, waiting, stack, user } in held {
            let first = self.waiting.len();
            let start = self.stacks.len();
            let pid = waiting.first().and_then(|waiting| waiting.pid).unwrap_or(0);
            self.waiting.extend(waiting);
            self.stacks.extend(stack);
            let (builder, mut target) = self.target();
            match arrived.filter(|(of, _)| *of == cookie) {
                Some((_, chain)) => builder.append_deferred(pid, chain, &mut target),
                None => {
                    builder.append_missing(pid, user, &mut target);
                    tally.lose(Loss::NoUserStack, 1, 0);
                }
            }
            self.set_stack(first, start);
        }
    }

    /// Names the new addresses and pushes the waiting samples.
    fn flush(
        &mut self,
        frames: &mut FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) -> Result<()> {
        self.addresses.resolve(&self.spaces, self.loader, frames)?;
        let mut stack: Vec<FrameId> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        for waiting in self.waiting.drain(..) {
            stack.clear();
            places.clear();
            let time = waiting.time.filter(|_| self.monotonic);
            let ids = &self.stacks[waiting.stack.0..waiting.stack.1];
            self.nameless.count(ids, &self.addresses);
            for &id in ids {
                // The loader's `_start` has no unwind information and no caller, so nothing is cut
                // off. A stack that ends in `__GI___execve` lost its callers with the old program.
                if id == Addresses::TRUNCATED && begins_whole(&stack, frames) {
                    continue;
                }
                for named in self.addresses.frames(id, time) {
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
            tally.read += Count::one(waiting.period);
            if let Some(time) = waiting.time {
                self.first = self.first.min(time);
                self.last = self.last.max(time);
            }
            sink.sample(frames, &sample)?;
        }
        self.stacks.clear();
        self.forget_gone(frames);
        Ok(())
    }

    /// Pushes the last samples, and says what is missing.
    fn finish(
        &mut self,
        reader: &Reader,
        frames: &mut FrameTable,
        sink: &mut dyn SampleSink,
        tally: &mut Tally,
    ) -> Result<()> {
        let unmatched = self.deferred.end();
        self.complete(unmatched, None, tally);
        self.flush(frames, sink, tally)?;
        self.addresses.settle(|_| true, &self.spaces, self.loader, frames);
        self.nameless.settle(|_| true, &self.addresses, &self.spaces, frames);
        let hints = self.nameless.hints(&self.spaces, self.loader);
        warnings::say(reader, self.loader, &hints);
        self.tally(reader, tally);
        Ok(())
    }

    fn tally(&self, reader: &Reader, tally: &mut Tally) {
        reader.tally(tally);
        self.coverage.tally(tally);
        let found = self.loader.warnings();
        let mut mine = Tally::default();
        mine.recorded = Some(self.recorded(reader));
        mine.remedies = warnings::remedies(&found).collect();
        tally.absorb(mine);
        let unnamed = found.mismatched.len() + found.elsewhere.len();
        tally.lose(Loss::Mismatched, unnamed as u64, 0);
        tally.flat += self.bare;
        let replaced = self.spaces.replaced() + self.addresses.replaced();
        tally.lose(Loss::Replaced, replaced, 0);
    }

    fn recorded(&self, reader: &Reader) -> Recorded {
        let attr = reader.events().first().map(|event| &event.attr);
        let first = Some(self.first).filter(|_| self.first <= self.last);
        let clock = reader.features().clock;
        Recorded {
            host: reader.features().hostname.clone(),
            rate: attr.filter(|attr| attr.freq()).map(|attr| attr.period_or_freq),
            began: clock.zip(first).map(|(clock, first)| clock.wall_at(first)),
            span: self.last.saturating_sub(self.first),
        }
    }
}

/// Whether a stack, leaf first, includes the start of its thread.
fn begins_whole(stack: &[FrameId], frames: &FrameTable) -> bool {
    let mut outermost = stack.iter().rev().map(|&frame| frames.symbol(frame));
    let Some(first) = outermost.next() else { return false };
    is_start(first) || first == "[unknown]" && outermost.next().is_some_and(is_called_by_start)
}
