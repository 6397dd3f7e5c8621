//! Linux: our own recorder on perf_event_open(2), which needs nothing but the kernel.
//!
//! ```text
//!  event::Event    what a name means
//!  threads         what ran before
//!  open::Events    an event for each thread and CPU, a ring for each CPU
//!  ring::Ring ─▶ drain::Drain ─▶ session::Session ─▶ perf.data stream
//!  wait::Wait      the end: Ctrl-C, exits                       in order         unwound
//! ```
//!
//! The kernel copies registers and the top of the stack into the rings. We unwind them as they
//! arrive and write call chains, a quarter of a kilobyte per sample instead of 64.

mod advice;
mod attach;
mod attr;
mod builds;
mod control;
mod drain;
mod elevated;
mod event;
mod family;
mod frame_pointers;
mod ids;
mod kernel;
mod needs_perf;
mod off_cpu;
mod open;
mod queue;
mod refusal;
mod ring;
mod session;
mod sys;
mod threads;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::child::{self, Stdout};
use super::held_child::HeldChild;
use super::{Config, Ended, Notice, Workload};
use crate::error::{Error, Result};
use crate::lookup::check_runnable;

use attr::{CallGraph, Rate, Wanted};
use event::Event;
use needs_perf::NeedsPerf;
use open::Events;
use queue::Queue;
use session::Session;
use threads::Thread;
use wait::Wait;

pub(crate) use elevated::AS_RECORDER;
pub(super) use sys::{Helper, appends};

/// A request that this recorder can meet.
pub(crate) struct Plan {
    events: Vec<Event>,
    wanted: Wanted,
    /// Our choices, for the user: how stacks are captured, and why.
    choices: Vec<String>,
}

impl Plan {
    /// Reads the names in `config`.
    pub(super) fn new(workload: &Workload, config: &Config) -> Result<Plan, NeedsPerf> {
        let sys = Path::new("/sys");
        let names = config.events.iter().flat_map(|names| split_events(names));
        // The recorder that sudo starts looks up hidden tracepoints.
        let is_roots = |name: &str| config.root.is_some() && Event::is_hidden(name, sys);
        let event = |name| {
            if is_roots(name) { Ok(Event::hidden(name)) } else { Event::parse(name, sys) }
        };
        let mut events: Vec<Event> = names.map(event).collect::<Result<_, _>>()?;
        // This period replaces that of tracepoints, which is 1.
        if config.period.is_some() {
            events.iter_mut().for_each(|event| event.what.period = None);
        }
        let rate = config.period.map_or(Rate::Frequency(config.frequency.into()), Rate::Period);
        let (call_graph, choice) = match config.call_graph.as_str() {
            "auto" => choose(workload),
            mode => (call_graph(mode)?, None),
        };
        let mut choices = Vec::from_iter(choice);
        if config.off_cpu {
            if events.is_empty() {
                let [_, clock] = Event::processor_time();
                choices.push(
                    "sampling cpu-clock, because time off the processor is in nanoseconds, too"
                        .into(),
                );
                events.push(clock);
            }
            events.push(Event::off_cpu());
        }
        Ok(Plan {
            events,
            choices,
            wanted: Wanted {
                call_graph,
                rate,
                exclude_kernel: false,
                on_exec: false,
                disabled: config.delay.is_some(),
                exclude_idle: config.per_cpu,
                inherit: true,
                data_maps: config.raw_stacks,
                switches: config.off_cpu,
                counts_lost: true,
                watermark: 0,
            },
        })
    }
}

/// `cycles,page-faults`; the commas of `cpu/event=1,umask=2/` are its own.
fn split_events(names: &str) -> Vec<&str> {
    if names.starts_with('{') {
        return vec![names];
    }
    let mut inside = false;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, byte) in names.bytes().enumerate() {
        match byte {
            b'/' => inside = !inside,
            b',' if !inside => {
                parts.extend(names.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(names.get(start..));
    parts
}

/// Frame pointers if the program really has them; otherwise copied stacks, which always work.
fn choose(workload: &Workload) -> (CallGraph, Option<String>) {
    let program = match workload {
        Workload::Command(command) => command.first().cloned().unwrap_or_default(),
        Workload::Pids(pids) if pids.len() == 1 => format!("/proc/{}/exe", pids[0]).into(),
        _ => OsString::new(),
    };
    match frame_pointers::of(&program) {
        Ok(why) => (CallGraph::Fp, Some(format!("following frame pointers: {why}"))),
        Err(why) => (
            CallGraph::Dwarf(64000),
            Some(format!("copying stacks (dwarf) instead of following frame pointers: {why}")),
        ),
    }
}

fn call_graph(mode: &str) -> Result<CallGraph, NeedsPerf> {
    /// perf's own limit: records have 64 KB.
    const MOST: u32 = 65_000;
    match mode.split_once(',').unwrap_or((mode, "64000")) {
        ("fp", _) => Ok(CallGraph::Fp),
        ("lbr", _) => Ok(CallGraph::Lbr),
        ("dwarf", bytes) => match bytes.parse() {
            Ok(bytes @ 8..=MOST) => Ok(CallGraph::Dwarf(bytes & !7)),
            _ => Err(NeedsPerf::StackSize { bytes: bytes.into(), most: MOST }),
        },
        _ => Err(NeedsPerf::CallGraph(mode.into())),
    }
}

/// The destination of a recording.
pub(super) struct Stream<'a> {
    pub(super) to: &'a mut (dyn Write + Send),
    /// It has our standard output, so the workload's standard output goes to stderr instead.
    pub(super) is_stdout: bool,
}

impl Plan {
    /// As [`Recorder::record`](super::Recorder::record).
    pub(super) fn run(
        self,
        workload: &Workload,
        config: &Config,
        stream: Stream<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        if config.root.is_some() {
            return elevated::run(workload, config, stream, tell);
        }
        let mut change = |change: &str| tell(Notice::Change(change));
        let Plan { events, mut wanted, choices } = self;
        choices.iter().for_each(|choice| change(choice));
        if config.kernel_symbols && kernel::is_hidden() {
            change(
                "--kernel-symbols has no effect, because only root may see the addresses of the \
                 kernel",
            );
        }
        // The kernel does not end events of whole processors at an exec.
        if let Workload::Command(command) = workload
            && !config.per_cpu
        {
            let advice = command.first().and_then(|program| advice::of_program(program));
            if let Some(advice) = advice {
                change(&advice);
            }
            wanted.on_exec = config.delay.is_none();
        }
        let pids = match workload {
            // The recorder of --root gets the held child of a command, which needs no advice.
            Workload::Pids(pids) if config.control.is_none() => {
                attach::processes(pids, &mut change)?
            }
            Workload::Pids(pids) => pids.clone(),
            _ => Vec::new(),
        };
        let mut events = Events::new(events, wanted, &sys::Syscalls, &mut change);
        let wait = Wait::new(config)?;
        match workload {
            Workload::Command(command) => run_command(command, config, stream, wait, &mut events),
            Workload::Pids(_) => run_processes(&pids, config, stream, wait, &mut events),
            Workload::System => run_system(config, stream, wait, &mut events),
        }
    }
}

fn run_command(
    command: &[OsString],
    config: &Config,
    stream: Stream<'_>,
    wait: Wait,
    events: &mut Events<'_>,
) -> Result<Ended> {
    let program = command.first().map_or("".as_ref(), OsString::as_os_str);
    check_runnable(program, "")?;
    let cannot = |source| {
        let program = program.to_string_lossy().into_owned();
        Error::Spawn { program, source, remedy: String::new() }
    };
    let stdout = if stream.is_stdout { Stdout::Stderr } else { Stdout::Ours };
    let line = child::command(command, config, stdout.for_workload())?;
    let held = HeldChild::new(line).map_err(cannot)?;
    events.open(Some(held.pid()).filter(|_| !config.per_cpu))?;
    let mut session = begin(events, config, stream)?;
    if config.per_cpu {
        // It is sampled before its exec, too, while it is still a copy of us.
        let pid = held.pid();
        session.keep_only(&[pid]);
        let threads: Vec<Thread> = threads::named(pid).collect();
        before(&mut session, &threads, &[pid], config, &mut || {})?;
    }
    wait.command(held, cannot, session, events)
}

fn run_processes(
    pids: &[u32],
    config: &Config,
    stream: Stream<'_>,
    wait: Wait,
    events: &mut Events<'_>,
) -> Result<Ended> {
    // Attaching to many threads takes long, and the rings fill meanwhile.
    let _first = sys::First::go();
    let mut queue = Queue::default();
    let threads: Vec<Thread> = if config.per_cpu {
        events.open(None)?;
        pids.iter().flat_map(|&pid| threads::named(pid)).collect()
    } else {
        attach::attach(pids, events, &mut queue)?
    };
    let mut session = begin(events, config, stream)?;
    if config.per_cpu {
        session.keep_only(pids);
    }
    before(&mut session, &threads, pids, config, &mut || queue.fill(events))?;
    wait.processes(pids, session, queue, events)
}

fn run_system(
    config: &Config,
    stream: Stream<'_>,
    wait: Wait,
    events: &mut Events<'_>,
) -> Result<Ended> {
    let _first = sys::First::go();
    events.open(None)?;
    let mut session = begin(events, config, stream)?;
    let mut queue = Queue::default();
    let pids = threads::processes();
    let mut threads: Vec<Thread> = Vec::new();
    for &pid in &pids {
        queue.fill(events);
        threads.extend(threads::named(pid));
    }
    before(&mut session, &threads, &pids, config, &mut || queue.fill(events))?;
    wait.processes(&[], session, queue, events)
}

fn begin<'a>(events: &Events<'_>, config: &Config, stream: Stream<'a>) -> Result<Session<'a>> {
    Session::new(events, config, stream.to).map_err(Error::io(|| "cannot write the recording"))
}

/// Writes the threads and maps that were there before the recording. That takes a while, so
/// `meanwhile` empties the rings now and then.
fn before(
    session: &mut Session<'_>,
    threads: &[Thread],
    pids: &[u32],
    config: &Config,
    meanwhile: &mut dyn FnMut(),
) -> Result<()> {
    let mut maps = |pid| {
        meanwhile();
        session.maps(pid, config.raw_stacks)
    };
    let maps = pids.iter().try_for_each(|&pid| maps(pid));
    maps.and_then(|()| threads.iter().try_for_each(|thread| session.thread(thread)))
        .map_err(Error::io(|| "cannot write the recording"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_parted_by_commas() {
        assert_eq!(
            split_events("cycles,cpu/a=1,b=2/u,faults"),
            ["cycles", "cpu/a=1,b=2/u", "faults"]
        );
        assert_eq!(split_events("{a,b}:S"), ["{a,b}:S"]);
    }

    #[test]
    fn call_graphs_are_perfs() {
        assert_eq!(call_graph("dwarf"), Ok(CallGraph::Dwarf(64000)));
        assert_eq!(call_graph("dwarf,16389"), Ok(CallGraph::Dwarf(16384)));
        assert_eq!(call_graph("fp"), Ok(CallGraph::Fp));
        assert_eq!(call_graph("lbr"), Ok(CallGraph::Lbr));
        for odd in ["dwarf,x", "dwarf,70000", "no", ""] {
            assert!(call_graph(odd).is_err(), "{odd}");
        }
    }
}
