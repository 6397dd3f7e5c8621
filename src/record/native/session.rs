//! Writes a recording: unwinds what comes out of the rings, and writes it into the stream.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufWriter, Write};

use super::attr::CallGraph;
use super::builds::Builds;
use super::drain::Batches;
use super::family::Family;
use super::ids::Ids;
use super::off_cpu::OffCpu;
use super::open::Events;
use super::sys::{self, Kernel};
use super::threads::{self, Thread};
use super::{Config, kernel};
use crate::perf_data::sample::CONTEXT_USER;
use crate::perf_data::write::{NewSample, TRUNCATED, Writer, chains_only, with_limit};
use crate::perf_data::{Attr, CpuMode, Endian, FileId, Head, Mmap, RawSample, Record, SampleId};
use crate::prefetch::prefetch;
use crate::symbols;
use crate::unwind::Live;
use crate::unwind::StackExtent;

/// The part of a recording behind the rings.
pub(super) struct Session<'a> {
    writer: Writer<BufWriter<&'a mut (dyn Write + Send)>>,
    /// The attr with which the events were opened.
    attr: Attr,
    /// The period of samples that carry none.
    fixed_period: u64,
    /// The number of each event in the recording.
    numbers: Vec<u64>,
    ids: Ids,
    /// The unwinder, unless stacks are recorded as they are or come as chains.
    live: Option<Live>,
    builds: Builds,
    chain: Vec<u64>,
    /// The threads that are blocked, if they are recorded.
    off: Option<OffCpu>,
    /// The processes that were started and did not end.
    started: HashSet<u32>,
    /// Some that ended last. A program that goes to the background ends twice on its way there.
    ended: VecDeque<u32>,
    /// The workload's processes, if other processes are recorded, too.
    family: Option<Family>,
    /// The names of the kernel's functions, if the user wants them.
    kernel: Option<kernel::Names>,
    /// For each event, the period of samples that were taken twice.
    twice: Vec<u64>,
    /// How many records were lost, according to the rings.
    lost: u64,
    /// Part of it is written already.
    pub(super) has_begun: bool,
}

impl<'a> Session<'a> {
    /// Starts the stream with its head: what is recorded, and on which machine. All `events` are
    /// open.
    pub(super) fn new(
        events: &Events<'_>,
        config: &Config,
        to: &'a mut (dyn Write + Send),
    ) -> io::Result<Session<'a>> {
        let most_stack = match events.wanted.call_graph {
            CallGraph::Dwarf(bytes) if !config.raw_stacks => Some(bytes),
            _ => None,
        };
        let unwinds = most_stack.is_some();
        let mut writer = Writer::new(BufWriter::with_capacity(1 << 16, to))?;
        let numbers = events.numbers();
        let limit = sys::Syscalls.setting("kernel/perf_event_max_stack");
        let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(0);
        for (event, &number) in events.events.iter().zip(&numbers) {
            let attr = events.wanted.attr(Some(&event.what));
            let attr = if unwinds { chains_only(&attr) } else { with_limit(attr, limit) };
            writer.event(event.name.as_bytes(), &attr, &[number])?;
        }
        let kernel = config.kernel_symbols && !events.wanted.exclude_kernel;
        let number = numbers.first().copied().unwrap_or(0);
        let builds = Builds::new();
        kernel::write(&mut writer, number, &events.wanted, builds.clock, kernel)?;
        Ok(Session {
            writer,
            attr: events.attr(),
            fixed_period: events.wanted.fixed_period(),
            twice: vec![0; numbers.len()],
            numbers,
            ids: events.ids.clone(),
            live: most_stack.map(|most_stack| Live::new(builds.clock, most_stack)),
            builds,
            chain: Vec::new(),
            off: events.wanted.switches.then(OffCpu::default),
            started: HashSet::new(),
            ended: VecDeque::new(),
            family: None,
            kernel: kernel.then(kernel::Names::new),
            lost: 0,
            has_begun: false,
        })
    }

    /// Leaves out processes other than `pids` and those that they start.
    pub(super) fn keep_only(&mut self, pids: &[u32]) {
        self.family = Some(Family::of(pids));
    }

    /// The processes that were started while we recorded, without most of those that have ended.
    pub(super) fn started(&self) -> impl Iterator<Item = u32> + '_ {
        self.started.iter().chain(&self.ended).copied()
    }

    fn note_end(&mut self, pid: u32) {
        const MOST: usize = 16;
        if self.started.remove(&pid) {
            self.ended.truncate(MOST - 1);
            self.ended.push_front(pid);
        }
    }

    /// How much of copied stacks is needed: all of them, if they are not unwound.
    pub(super) fn stack_extent(&self) -> StackExtent {
        self.live.as_ref().map_or_else(StackExtent::default, |live| live.stack_extent().clone())
    }

    /// Writes a thread that was there before.
    pub(super) fn thread(&mut self, thread: &Thread) -> io::Result<()> {
        let id = self.numbers.first().copied().unwrap_or(0);
        let Thread { pid, tid, comm, forked } = thread;
        self.writer.comm_at(*forked, *pid, *tid, comm, id)
    }

    /// Writes what a process had mapped before, with its data maps if `data_maps`.
    pub(super) fn maps(&mut self, pid: u32, data_maps: bool) -> io::Result<()> {
        let id = self.numbers.first().copied().unwrap_or(0);
        let Session { live, builds, writer, .. } = self;
        threads::maps(pid, data_maps, |mmap| {
            let build_id = builds.of(mmap, 0);
            let mmap = with_build_id(*mmap, build_id.as_deref());
            if let Some(live) = live {
                live.note(&Record::Mmap(mmap), None);
            }
            writer.mmap2(&mmap, id)
        })?;
        self.name_map(pid, None)
    }

    /// Tells a later reader which map of a JIT is that of process `pid`, if the process has another
    /// number in its own PID namespace.
    fn name_map(&mut self, pid: u32, time: Option<u64>) -> io::Result<()> {
        let Some(inner) = symbols::number_in_our_tmp(pid) else { return Ok(()) };
        let path = symbols::map_of(inner);
        let id = self.numbers.first().copied().unwrap_or(0);
        let mmap = Mmap {
            pid,
            tid: pid,
            start: 0,
            len: 0x1000,
            offset: 0,
            file: FileId::Path,
            prot: Some(1),
            flags: Some(2),
            executable: false,
            mode: CpuMode::User,
            path: path.as_bytes().into(),
        };
        self.writer.mmap2_at(time.unwrap_or(0), &mmap, id)
    }

    /// Writes every batch that comes.
    pub(super) fn write_all(&mut self, batches: Batches) -> io::Result<()> {
        batches.take(|batch| {
            for (at, bytes) in batch.iter().enumerate() {
                if let Some(next) = batch.get(at + 1) {
                    // They were copied by another processor, some time ago.
                    next.iter().step_by(64).for_each(|byte| prefetch(Some(byte)));
                }
                self.write(bytes)?;
            }
            self.writer.finished_round_of_more()?;
            self.flush()
        })
    }

    /// Writes what is known only at the end: the threads that are still blocked, and the losses
    /// that no ring reported. A ring reports a loss only when it has room again and gets another
    /// record.
    pub(super) fn finish(&mut self, events: &Events<'_>) -> io::Result<()> {
        let lost = events.lost().saturating_sub(self.lost);
        let end = events.ended.unwrap_or_else(sys::now);
        let blocked = self.off.as_mut().map_or_else(Vec::new, OffCpu::at_the_end);
        let number = self.numbers.last().copied().unwrap_or(0);
        blocked.iter().try_for_each(|blocked| self.writer.sample(&blocked.sample(number, end)))?;
        if lost > 0 {
            self.writer.lost(lost, end, self.numbers.first().copied().unwrap_or(0))?;
        }
        self.builds.write(&mut self.writer)?;
        for (event, mut counted) in events.counted().into_iter().enumerate() {
            counted.value = counted.value.saturating_sub(self.twice[event]);
            self.writer.count(&counted, end, self.numbers[event])?;
        }
        self.writer.finished_round()?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()?;
        self.has_begun = true;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let parsed = Head::parse(bytes, Endian::NATIVE).zip(Record::parse(
            bytes,
            Endian::NATIVE,
            &self.attr,
        ));
        let Some((head, (record, id))) = parsed else { return Ok(()) };
        if self.family.as_mut().is_some_and(|family| !family.takes(&record, &id)) {
            return Ok(());
        }
        match record {
            Record::Fork(task) if task.pid != task.ppid => drop(self.started.insert(task.pid)),
            Record::Exit(task) if task.pid == task.tid => self.note_end(task.pid),
            _ => {}
        }
        let event = id.id.and_then(|id| self.ids.event_of(id)).unwrap_or(0);
        let number = self.numbers.get(event).copied().unwrap_or(0);
        if let Record::Sample(sample) = &record
            && let Some(kernel) = &mut self.kernel
        {
            kernel.tell(sample, &mut self.writer, number)?;
        }
        if self.note_off_cpu(&record, &id, bytes, event)? {
            return Ok(());
        }
        match (record, &mut self.live) {
            (Record::Sample(sample), _)
                if id.id.is_some_and(|id| self.ids.is_inherited_twice(&sample, id)) =>
            {
                let period = sample.period.unwrap_or(self.fixed_period);
                self.twice[event] = self.twice[event].saturating_add(period);
                Ok(())
            }
            (Record::Sample(sample), Some(live)) => {
                chain_of(head.mode(), &sample, live, &mut self.chain);
                self.writer.sample(&NewSample {
                    misc: head.misc,
                    id: number,
                    ip: sample.ip.unwrap_or(0),
                    pid: sample.pid.unwrap_or(0),
                    tid: sample.tid.unwrap_or(0),
                    time: sample.time.unwrap_or(0),
                    cpu: sample.cpu.unwrap_or(0),
                    period: sample.period.unwrap_or(self.fixed_period),
                    chain: &self.chain,
                })
            }
            (Record::Mmap(mmap), live) => {
                let build_id = self.builds.of(&mmap, id.time.unwrap_or(0));
                if let Some(live) = live {
                    let mmap = with_build_id(mmap, build_id.as_deref());
                    live.note(&Record::Mmap(mmap), id.time);
                }
                self.writer.mapped(bytes, number, build_id.as_deref())
            }
            (record, live) => {
                if let Record::Lost { count, .. } = record {
                    self.lost = self.lost.saturating_add(count);
                }
                if let Some(live) = live {
                    live.note(&record, id.time);
                }
                self.writer.record(bytes, number)?;
                match record {
                    Record::Comm { pid, exec: true, .. } => self.name_map(pid, id.time),
                    Record::Fork(task) if task.pid != task.ppid => self.name_map(task.pid, id.time),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Takes note of threads that block, and writes those that are back. True if the record is of
    /// no other use.
    fn note_off_cpu(
        &mut self,
        record: &Record<'_>,
        id: &SampleId,
        bytes: &[u8],
        event: usize,
    ) -> io::Result<bool> {
        let Some(off) = &mut self.off else { return Ok(false) };
        // The last event is theirs.
        let last = self.numbers.len() - 1;
        let number = self.numbers[last];
        match record {
            Record::Sample(sample) if event == last => off.leaves(sample, bytes),
            Record::Sample(_) => return Ok(false),
            _ => {
                let live = &mut self.live;
                let chain = &mut self.chain;
                let back = off.note(record, id, &self.attr, |head, sample| match live {
                    Some(live) => {
                        chain_of(head.mode(), sample, live, chain);
                        chain.clone()
                    }
                    None => sample.callchain.iter().flat_map(|chain| chain.iter()).collect(),
                });
                if let Some((blocked, time)) = back {
                    self.writer.sample(&blocked.sample(number, time))?;
                }
                return Ok(matches!(record, Record::Switch { .. }));
            }
        }
        Ok(true)
    }
}

/// The map, identified by its build id if it has one.
fn with_build_id<'a>(mmap: Mmap<'a>, build_id: Option<&'a [u8]>) -> Mmap<'a> {
    Mmap { file: build_id.map_or(mmap.file, FileId::BuildId), ..mmap }
}

/// Puts the kernel's part of the chain as it came into `chain`, and then the user's part as it is
/// found on the stack.
///
/// A stack that cannot be followed to its root ends in [`TRUNCATED`].
fn chain_of(mode: CpuMode, sample: &RawSample<'_>, live: &mut Live, chain: &mut Vec<u64>) {
    chain.clear();
    let kernel = sample.callchain.iter().flat_map(|chain| chain.iter());
    chain.extend(kernel.take_while(|&word| word != CONTEXT_USER));
    let start = chain.len();
    chain.push(CONTEXT_USER);
    match live.unwind(sample, chain) {
        Some(true) => {}
        Some(false) => chain.push(TRUNCATED),
        // The registers are unknown, as with a 32-bit program on AArch64. Only the address is
        // known.
        None if mode == CpuMode::User => chain.extend(sample.ip.into_iter().chain([TRUNCATED])),
        None => chain.truncate(start),
    }
}
