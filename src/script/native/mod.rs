//! perf.data → samples by ourselves: no perf, no addr2line.
//!
//! ```text
//! perf_data::Reader ─Item─▶ unwind::Spaces   who runs what: maps, comms, forks, execs
//!                           stack::Stacks    kernel chain, then the user stack: frame pointers, branches or unwind
//!                           places::Places   every distinct address once, named in batches
//!                    ─Sample, in order, when the addresses of its batch have names─▶ SampleSink
//! ```
//!
//! Names are asked for in batches, as symbol tables and DWARF are read fastest that way: samples wait, as numbers, until
//! 64 Ki of them are there or the recording ends. An address is resolved once, whatever the number of batches; of a recording that is still going
//! on, code that is made at run time again, as JITs tell of it when it suits them.

mod answers;
mod deferred;
mod nameless;
mod needs_perf;
mod places;
mod seen;
mod stack;
mod warnings;

use bstr::{BString, ByteSlice};

use super::Config;
use crate::error::Result;
use crate::event;
use crate::perf_data::{CpuMode, Features, Item, Reader, Record, Shares};
use crate::sample::{
    FrameId, FrameTable, Place, Sample, SampleSink, is_called_by_start, is_start, printable,
};
use crate::symbols::{Loader, Origin};
use crate::tally::{Count, Loss, Tally};
use crate::unwind::{Processes, Spaces};

use deferred::{Deferred, Held};
use nameless::Nameless;
use places::Places;
use stack::Builder;

/// How many samples wait for their names at most.
const BATCH: usize = 64 << 10;
/// And at first, while a recording goes on: what takes less than a second is named faster at its end, by all processors and at once.
/// Then twice as many: so all that is looked up more than once because of it costs no more than once again, and half of the samples at
/// most are left for the end.
const FIRST: usize = 1 << 10;
/// When there are so many, it is known which modules matter: what is asked of them once is asked while the recording goes on.
const ENOUGH: usize = 64;

/// Reads a recording to its end and pushes its samples into `sink`, which is not finished.
///
/// # Errors
/// [`Error::NeedsPerf`](crate::error::Error::NeedsPerf), before any sample is pushed, where only perf can help.
///
/// Memory: a batch of samples as numbers, the distinct addresses and their names, and what of the modules' symbols is looked at.
pub fn script(
    mut reader: Reader,
    config: &Config,
    frames: &mut FrameTable,
    sink: &mut (impl SampleSink + ?Sized),
    tally: &mut Tally,
) -> Result<()> {
    let loader = Loader::new(config.symbols.clone());
    let mut script = Script {
        spaces: Spaces::new(None, reader.written()),
        builder: Builder::new(&reader, config.perf_compat),
        places: Places::new(config),
        shares: Shares::default(),
        events: Vec::new(),
        waiting: Vec::new(),
        bare: 0,
        nameless: Nameless::default(),
        monotonic: false,
        stacks: Vec::new(),
        deferred: Deferred::default(),
        seen: seen::Sums::default(),
        config,
        loader: &loader,
    };
    script.spaces.processes = Processes::new(config.live);
    let mut begun = false;
    let (read, mut checked) = (tally.read.items, false);
    let mut batch = if config.live { FIRST } else { BATCH };
    let mut prepared = !config.live;
    loop {
        // A stream tells its events once it has begun.
        if !checked && !reader.events().is_empty() {
            needs_perf::check_stacks(&reader)?;
            script.learn(reader.features());
            // CLOCK_MONOTONIC, that of jitdumps: `perf record -k mono`, as perf-inject(1) wants it, too.
            script.monotonic =
                reader.events().iter().all(|e| e.attr.use_clockid() && e.attr.clockid == 1);
            checked = true;
        }
        let Some(item) = reader.next_item()? else { break };
        script.item(&item, frames, sink, tally);
        if !prepared && script.waiting.len() >= ENOUGH {
            prepared = true;
            script.learn(reader.features());
            script.spaces.processes.learn(&reader);
            script.places.prepare(&script.spaces, &loader);
        }
        if script.waiting.len() >= batch {
            batch = (batch * 2).min(BATCH);
            if !std::mem::replace(&mut begun, true) {
                begin(&reader, config, sink)?;
            }
            script.learn(reader.features());
            script.spaces.processes.learn(&reader);
            script.flush(frames, sink, tally)?;
        }
    }
    if tally.read.items == read && script.waiting.is_empty() {
        needs_perf::check_trace(&reader)?;
    }
    if !begun {
        begin(&reader, config, sink)?;
    }
    script.learn(reader.features());
    script.spaces.processes.learn(&reader);
    let unmatched = script.deferred.end();
    script.complete(unmatched, None, tally);
    script.flush(frames, sink, tally)?;
    script.places.settle(&script.spaces, &loader, frames);
    reader.tally(tally);
    script.seen.tally(tally);
    let is_nameless = |place| {
        let mut named = script.places.frames(place, None).iter();
        named.any(|named| frames.symbol(named.frame) == "[unknown]")
    };
    let hints = script.nameless.hints(&script.places, &script.spaces, &loader, is_nameless);
    warnings::say(&reader, &loader, &hints);
    let missing = loader.warnings();
    let unnamed = missing.mismatched.len() + missing.elsewhere.len();
    tally.lose(Loss::Mismatched, unnamed as u64, 0);
    tally.flat += script.bare;
    let replaced = script.spaces.replaced() + script.places.replaced();
    tally.lose(Loss::Replaced, replaced, 0);
    let Script { spaces, places, .. } = script;
    // Unmapping large files takes milliseconds, in which what was read can be drawn.
    rayon::spawn(move || drop((spaces, places, loader)));
    Ok(())
}

/// Pushes the names of the events, if a reader would not know which of them comes first.
pub(crate) fn list_events(reader: &Reader, sink: &mut (impl SampleSink + ?Sized)) -> Result<()> {
    let names = reader.events().iter().map(|event| printable(event.name.as_bstr()));
    let names: Vec<_> = names.collect();
    let lines = event::lines(names.iter().map(|name| name.as_bstr()));
    if lines.is_empty() { Ok(()) } else { sink.text(&lines) }
}

/// Pushes what the recording says about itself, as far as it was asked for or decides what is
/// folded.
fn begin(reader: &Reader, config: &Config, sink: &mut (impl SampleSink + ?Sized)) -> Result<()> {
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
    places: Places,
    shares: Shares,
    /// The names of events by their index.
    events: Vec<BString>,
    waiting: Vec<Waiting>,
    /// Samples without a call chain.
    bare: u64,
    nameless: Nameless,
    /// Times are those of jitdumps.
    monotonic: bool,
    /// The stacks of `waiting`, one behind the other, as ids of `places`.
    stacks: Vec<u32>,
    /// Samples whose user part comes later.
    deferred: Deferred,
    seen: seen::Sums,
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
    /// Learns what the recording says about itself, as far as it has come.
    fn learn(&mut self, features: &Features) {
        self.spaces.learn(features);
        let Features { hostname, os_release, arch, .. } = features;
        let release = os_release.clone();
        self.loader.learn(Origin { hostname: hostname.clone(), release, arch: arch.clone() });
    }

    fn item(
        &mut self,
        item: &Item<'_>,
        frames: &FrameTable,
        sink: &mut (impl SampleSink + ?Sized),
        tally: &mut Tally,
    ) {
        match item.record {
            Record::Sample(sample) => {
                let (pid, tid) = (sample.pid.or(item.id.pid), sample.tid.or(item.id.tid));
                if let Some(pid) = pid {
                    self.spaces.processes.see(pid, sample.time);
                }
                let comm = self.spaces.comm(pid, tid);
                let comm_name = self.spaces.comm_name(comm);
                let (first, start) = (self.waiting.len(), self.stacks.len());
                let is_bare = sample.callchain.is_none() && sample.stack_user.is_none();
                let (events, waiting, bare) = (&mut self.events, &mut self.waiting, &mut self.bare);
                let seen = &mut self.seen;
                self.shares.of(item, |event, period| {
                    seen.sample(event, period);
                    if events.len() <= event.index {
                        events.resize(event.index + 1, BString::default());
                    }
                    if events[event.index].is_empty() {
                        events[event.index] = printable(event.name.as_bstr()).into_owned().into();
                    }
                    *bare += u64::from(is_bare);
                    let (cpu, time) = (sample.cpu, sample.time);
                    let head = Sample {
                        comm: comm_name,
                        pid,
                        tid,
                        cpu,
                        time,
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
                        cpu,
                        time,
                        period,
                        event: event.index,
                        stack: (start, start),
                    });
                });
                if waiting.len() == first {
                    return;
                }
                let mode = item.head.mode();
                let limit = item.event.map_or(0, |event| event.attr.max_stack);
                let (builder, mut into) = self.into();
                let cookie = builder.build(mode, &sample, limit, &mut into);
                let Some(cookie) = cookie else {
                    return self.set_stack(first, start);
                };
                let held = Held {
                    cookie,
                    waiting: self.waiting.split_off(first),
                    stack: self.stacks.split_off(start),
                    user: sample.ip.filter(|_| mode == CpuMode::User),
                };
                let early = self.deferred.told(tid, cookie).map(<[u64]>::to_vec);
                if let Some(chain) = early {
                    return self.complete(vec![held], Some((cookie, &chain)), tally);
                }
                let unmatched = self.deferred.hold(tid, held);
                self.complete(unmatched, None, tally);
            }
            Record::Callchain { cookie, chain } => {
                let chain: Vec<u64> = chain.iter().collect();
                let held = self.deferred.tell(item.id.tid, cookie, chain.clone());
                self.complete(held, Some((cookie, &chain)), tally);
            }
            Record::Read(read) => {
                if let Some(event) = item.event {
                    self.seen.count(event, &read);
                }
            }
            Record::Exit(task) => {
                let unmatched = self.deferred.exit(task.tid);
                self.complete(unmatched, None, tally);
            }
            Record::Mmap(mmap) => self.spaces.map(&mmap, item.id.time),
            Record::Comm { pid, tid, comm, exec } => {
                if exec {
                    self.loader.forget(pid);
                }
                if exec {
                    self.spaces.processes.begins(pid, item.id.time);
                }
                self.spaces.rename(pid, tid, comm, exec);
            }
            Record::Fork(task) => {
                self.seen.fork();
                if task.pid != task.ppid {
                    self.spaces.processes.begins(task.pid, Some(task.time));
                }
                self.spaces.fork(&task);
            }
            Record::Ksymbol(symbol) => self.spaces.kernel.add(&symbol),
            _ => {}
        }
    }

    /// What builds stacks, and where they go.
    fn into(&mut self) -> (&mut Builder, stack::Into<'_>) {
        let into = stack::Into {
            spaces: &mut self.spaces,
            places: &mut self.places,
            loader: self.loader,
            stack: &mut self.stacks,
        };
        (&mut self.builder, into)
    }

    /// The samples from `first` on have the stack from `start` on.
    fn set_stack(&mut self, first: usize, start: usize) {
        let stack = (start, self.stacks.len());
        self.waiting[first..].iter_mut().for_each(|waiting| waiting.stack = stack);
    }

    /// Lets samples go on that were held: with the user part that has come, if it is theirs.
    fn complete(&mut self, held: Vec<Held>, told: Option<(u64, &[u64])>, tally: &mut Tally) {
        for Held { cookie, waiting, stack, user } in held {
            let (first, start) = (self.waiting.len(), self.stacks.len());
            let pid = waiting.first().and_then(|waiting| waiting.pid).unwrap_or(0);
            self.waiting.extend(waiting);
            self.stacks.extend(stack);
            let (builder, mut into) = self.into();
            match told.filter(|(of, _)| *of == cookie) {
                Some((_, chain)) => builder.append_deferred(pid, chain, &mut into),
                None => {
                    builder.append_missing(pid, user, &mut into);
                    tally.lose(Loss::NoUserStack, 1, 0);
                }
            }
            self.set_stack(first, start);
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
            let time = waiting.time.filter(|_| self.monotonic);
            let at = &self.stacks[waiting.stack.0..waiting.stack.1];
            self.nameless.count(at, &self.places);
            for &place in at {
                // The loader's `_start` has no unwind information and no caller: nothing is cut off. A stack that is lost at
                // once in `__GI___execve` went with the old program: what called it is no more.
                if place == Places::TRUNCATED && begins_whole(&stack, frames) {
                    continue;
                }
                for named in self.places.frames(place, time) {
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
            sink.sample(frames, &sample)?;
        }
        self.stacks.clear();
        Ok(())
    }
}

/// Whether a stack, leaf first, begins where its thread did.
fn begins_whole(stack: &[FrameId], frames: &FrameTable) -> bool {
    let mut outermost = stack.iter().rev().map(|&frame| frames.symbol(frame));
    let Some(first) = outermost.next() else { return false };
    is_start(first) || first == "[unknown]" && outermost.next().is_some_and(is_called_by_start)
}
