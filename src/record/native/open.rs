//! Opens events, and gives up what the kernel refuses.
//!
//! If new threads inherit an event, the kernel maps its ring only if the event is of one CPU. So
//! each running thread gets one event for each CPU and each wanted event. All events of a CPU share
//! one ring. One more event per CPU, the tracker, reports threads, names and maps. It has a ring of
//! its own, because a lost sample is one of many, but a lost map makes all later samples wrong.
//!
//! When the kernel refuses an event or a ring, the next best one is tried:
//!
//! ```text
//!  the CPU is offline         ENODEV          skip it
//!  cycles are not supported   ENOENT, …       cpu-clock, unless an event was asked for
//!  the frequency is too high  EINVAL          perf_event_max_sample_rate
//!  the kernel cannot count
//!  lost records               EINVAL          do not ask for that: older than Linux 6.0
//!  too many open files        EMFILE          raise the limit to what `ulimit -Hn` allows
//!  the kernel is off limits   EACCES, EPERM   without the kernel: perf_event_paranoid 2
//!  no more locked memory      EPERM, ENOMEM   half the ring: perf_event_mlock_kb, `ulimit -l`
//!  anything else              …               an error with its remedy
//! ```

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use super::attr::{CallGraph, Rate, Wanted};
use super::event::Event;
use super::ids::Ids;
use super::refusal::{PARANOID, refused, without_switches};
use super::ring::Ring;
use super::sys::{self, Kernel, Opened};
use crate::error::{Error, Result};
use crate::perf_data::write::Counted;
use crate::perf_data::{Attr, Cursor, Endian};

/// Events that are open.
pub(super) struct Events<'a> {
    /// As they are recorded, after what was given up.
    pub(super) events: Vec<Event>,
    pub(super) wanted: Wanted,
    /// The user did not choose the event, so another one may take its place.
    any_event: bool,
    /// They observe all that runs, not single threads.
    of_processors: bool,
    cpus: Vec<u32>,
    ring_size: usize,
    observers: Vec<Observer>,
    rings: Vec<CpuRing>,
    pub(super) ids: Ids,
    /// When they were stopped, in nanoseconds.
    pub(super) ended: Option<u64>,
    kernel: &'a dyn Kernel,
    tell: &'a mut dyn FnMut(&str),
}

/// One event of a thread on a CPU, or a tracker.
struct Observer {
    fd: OwnedFd,
    /// Which event; `None` for the tracker.
    event: Option<usize>,
}

/// The ring of a CPU, and the observer that it was mapped for.
struct CpuRing {
    cpu: u32,
    tracks: bool,
    ring: Ring,
    owner: usize,
}

/// The smallest ring, because a record may have 64 KB.
const SMALLEST: usize = 128 << 10;
/// The tracker's ring has room for a few thousand records.
const TRACKED: usize = 256 << 10;

impl<'a> Events<'a> {
    /// Nothing is opened yet. Without `events`, processor time.
    pub(super) fn new(
        events: Vec<Event>,
        wanted: Wanted,
        kernel: &'a dyn Kernel,
        tell: &'a mut dyn FnMut(&str),
    ) -> Events<'a> {
        let any_event = events.is_empty();
        let [cycles, _] = Event::processor_time();
        let events = if any_event { vec![cycles] } else { events };
        let cpus = online_cpus();
        let ring_size = ring_size(&wanted, cpus.len());
        Events {
            events,
            wanted,
            any_event,
            of_processors: false,
            cpus,
            ring_size,
            observers: Vec::new(),
            rings: Vec::new(),
            ids: Ids::default(),
            ended: None,
            kernel,
            tell,
        }
    }

    /// Observes a thread, and those that it starts; all threads without one. False if it is gone.
    pub(super) fn open(&mut self, thread: Option<u32>) -> Result<bool> {
        let wanted = self.ring_size;
        self.of_processors = thread.is_none();
        loop {
            match self.open_all(thread.map_or(-1, u32::cast_signed)) {
                Err(Failure::Ring(_)) if self.ring_size > SMALLEST => {
                    // All have the same size, or the first would leave nothing for the others.
                    self.ring_size /= 2;
                    self.rings.clear();
                    self.observers.clear();
                    self.ids.clear();
                }
                Err(Failure::Ring(error)) => return Err(self.no_ring(error)),
                Err(Failure::Other(error)) => return Err(error),
                Ok(there) => {
                    if self.ring_size < wanted {
                        (self.tell)(&format!(
                            "using ring buffers of {} KB instead of {}, because \
                             perf_event_mlock_kb and ulimit -l allow no more",
                            self.ring_size >> 10,
                            wanted >> 10
                        ));
                    }
                    return Ok(there);
                }
            }
        }
    }

    fn open_all(&mut self, thread: i32) -> Result<bool, Failure> {
        for at in 0..self.cpus.len() {
            for event in std::iter::once(None).chain((0..self.events.len()).map(Some)) {
                match self.open_one(event, thread, self.cpus[at])? {
                    Outcome::Open(open) => self.attach(event, thread, self.cpus[at], open)?,
                    Outcome::NoThread => return Ok(false),
                    Outcome::NoCpu => break,
                }
            }
        }
        self.ids.all_open(thread, sys::now());
        if self.rings.is_empty() {
            let what = "no CPU can be recorded".into();
            return Err(Error::Refused { what, remedy: String::new() }.into());
        }
        Ok(true)
    }

    fn open_one(&mut self, event: Option<usize>, thread: i32, cpu: u32) -> Result<Outcome> {
        let mut raised = false;
        loop {
            self.wanted.watermark = self.watermark(event.is_none());
            let named = event.map(|event| &self.events[event]);
            let attr = self.wanted.attr(named.map(|event| &event.what));
            let error = match self.kernel.open(&attr, thread, cpu.cast_signed()) {
                Ok(open) => return Ok(Outcome::Open(open)),
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::ESRCH) => return Ok(Outcome::NoThread),
                Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)
                    if self.any_event && named.is_some_and(Event::is_hardware) =>
                {
                    let [_, clock] = Event::processor_time();
                    (self.tell)("this machine cannot count cycles; sampling cpu-clock instead");
                    self.events = vec![clock];
                }
                Some(libc::ENODEV) if event.is_none() => return Ok(Outcome::NoCpu),
                Some(libc::EINVAL) if self.too_fast() => {}
                Some(libc::EINVAL) if self.wanted.counts_lost => self.wanted.counts_lost = false,
                Some(libc::EMFILE) if !raised => {
                    raised = true;
                    sys::raise_file_limit();
                }
                Some(libc::EACCES)
                    if self.wanted.switches && self.paranoid().as_deref() == Some("2") =>
                {
                    return Err(without_switches());
                }
                Some(libc::EACCES | libc::EPERM) if self.may_leave_out_kernel(event) => {
                    let level = self.paranoid().unwrap_or_default();
                    (self.tell)(&format!(
                        "recording without the kernel, which {PARANOID}={level} forbids"
                    ));
                    self.wanted.exclude_kernel = true;
                    self.events.iter_mut().for_each(Event::without_kernel);
                }
                Some(libc::EOPNOTSUPP) if self.wanted.call_graph == CallGraph::Lbr => {
                    return Err(Error::Refused {
                        what: "this CPU does not record branches (lbr), or its virtual machine \
                               hides them"
                            .into(),
                        remedy: "use --call-graph dwarf, which works everywhere".into(),
                    });
                }
                _ => {
                    let name = event.map(|event| self.events[event].name.as_str());
                    return Err(refused(name.unwrap_or("anything"), error, self.paranoid()));
                }
            }
        }
    }

    fn may_leave_out_kernel(&self, event: Option<usize>) -> bool {
        let only = event.and_then(|event| self.events[event].what.only);
        !self.wanted.exclude_kernel && only.is_none_or(|only| only.user)
    }

    fn paranoid(&self) -> Option<String> {
        self.kernel.setting("kernel/perf_event_paranoid")
    }

    fn no_ring(&self, error: io::Error) -> Error {
        refused("the ring buffer", error, self.paranoid())
    }

    /// Lowers a frequency that the kernel does not allow. False if it allows this one.
    fn too_fast(&mut self) -> bool {
        let Rate::Frequency(wanted) = self.wanted.rate else { return false };
        let most = self.kernel.setting("kernel/perf_event_max_sample_rate");
        let most = most.and_then(|most| most.parse().ok());
        let Some(most) = most.filter(|&most| most < wanted) else { return false };
        (self.tell)(&format!(
            "sampling at {most} Hz instead of {wanted} Hz, because \
             kernel.perf_event_max_sample_rate allows no more"
        ));
        self.wanted.rate = Rate::Frequency(most);
        true
    }

    fn attach(
        &mut self,
        event: Option<usize>,
        thread: i32,
        cpu: u32,
        open: Opened,
    ) -> Result<(), Failure> {
        let Opened { fd, id } = open;
        let tracks = event.is_none();
        match self.rings.iter().find(|ring| ring.cpu == cpu && ring.tracks == tracks) {
            Some(ring) => {
                let owner = &self.observers[ring.owner].fd;
                self.kernel.share(&fd, owner).map_err(|error| self.no_ring(error))?;
            }
            None => {
                let size = self.ring_size(tracks);
                let ring = self.kernel.map(&fd, size).map_err(Failure::Ring)?;
                self.rings.push(CpuRing { cpu, tracks, ring, owner: self.observers.len() });
            }
        }
        if let Some(event) = event {
            self.ids.insert(id, event, thread);
        }
        self.observers.push(Observer { fd, event });
        Ok(())
    }

    /// The size of the tracker's ring, or of the ring for samples.
    fn ring_size(&self, tracks: bool) -> usize {
        let tracked = if self.wanted.switches { 4 * TRACKED } else { TRACKED };
        if tracks { tracked.min(self.ring_size) } else { self.ring_size }
    }

    /// How full a ring is when it wakes us. Less full if nothing says how fast it fills: every page
    /// fault may be a sample.
    fn watermark(&self, tracks: bool) -> u32 {
        let has_period = |event: &Event| event.what.period.is_some();
        let by_rate =
            matches!(self.wanted.rate, Rate::Frequency(_)) && !self.events.iter().any(has_period);
        let part = if tracks || by_rate { 2 } else { 4 };
        (self.ring_size(tracks) / part) as u32
    }

    /// The attr by which the records of all events can be read.
    pub(super) fn attr(&self) -> Attr {
        let attr = self.wanted.attr(None);
        Attr::parse(&mut Cursor::new(&attr, Endian::NATIVE)).unwrap_or_default()
    }

    /// Tells the user what differs from the request.
    pub(super) fn tell(&mut self, change: &str) {
        (self.tell)(change);
    }

    /// The number of each event in the recording.
    pub(super) fn numbers(&self) -> Vec<u64> {
        (0..self.events.len()).map(|event| self.ids.number(event)).collect()
    }

    /// How many records found no room in the rings; 0 before Linux 6.0, which does not count them.
    pub(super) fn lost(&self) -> u64 {
        let counted = self.observers.iter().map(|one| self.read(one));
        counted.filter_map(|counted| counted.lost).sum()
    }

    /// The counts of each event in all threads, even in those that ended before their first sample.
    /// Empty for whole processors, because they also count the time in which nothing runs.
    pub(super) fn counted(&self) -> Vec<Counted> {
        if self.of_processors {
            return Vec::new();
        }
        let none = Counted { value: 0, lost: self.wanted.counts_lost.then_some(0) };
        let mut counted = vec![none; self.events.len()];
        for observer in &self.observers {
            let Some(sum) = observer.event.and_then(|event| counted.get_mut(event)) else {
                continue;
            };
            let more = self.read(observer);
            sum.value = sum.value.saturating_add(more.value);
            sum.lost = sum.lost.zip(more.lost).map(|(sum, more)| sum.saturating_add(more));
        }
        counted
    }

    /// How long the workload ran, by the clock that is sampled, if one is.
    pub(super) fn used(&self) -> Option<Duration> {
        let clock = self.events.iter().position(Event::is_clock)?;
        Some(Duration::from_nanos(self.counted().get(clock)?.value))
    }

    fn read(&self, observer: &Observer) -> Counted {
        sys::counted(&observer.fd, self.wanted.counts_lost)
    }

    /// Hands over each whole record in the rings.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        self.rings.iter_mut().for_each(|ring| ring.ring.drain(&mut each));
    }

    /// The descriptors to poll, to be woken before a ring is full.
    pub(super) fn poll(&self) -> impl Iterator<Item = libc::pollfd> + '_ {
        self.rings.iter().map(|ring| sys::readable(self.observers[ring.owner].fd.as_raw_fd()))
    }

    pub(super) fn enable(&self) -> io::Result<()> {
        self.of(true).chain(self.of(false)).try_for_each(sys::enable)
    }

    /// Stops all events, the trackers last, because a thread may just begin. An event that cannot
    /// be stopped is over already.
    pub(super) fn disable(&mut self) {
        self.ended.get_or_insert_with(sys::now);
        for fd in self.of(false).chain(self.of(true)) {
            let _ = sys::disable(fd);
        }
    }

    fn of(&self, tracks: bool) -> impl Iterator<Item = &OwnedFd> {
        let of = move |one: &&Observer| one.event.is_none() == tracks;
        self.observers.iter().filter(of).map(|one| &one.fd)
    }
}

/// Why events could not be opened.
enum Failure {
    /// The memory that a user may lock is limited: EPERM or ENOMEM.
    Ring(io::Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

enum Outcome {
    Open(Opened),
    NoThread,
    /// The CPU is offline, which the tracker, the first event of each CPU, finds out.
    NoCpu,
}

/// Room for a sixteenth of a second: at 997 Hz, 4 MB of copied stacks. perf's 512 KB are enough for
/// chains. Machines with many CPUs have less for each CPU, 256 MB in all.
///
/// The kernel clears and maps all of it first, which takes a millisecond for each 4 MB. If fourteen
/// programs compete for two CPUs, half of this still loses nothing and a quarter does: see
/// benches/RESULTS.md.
fn ring_size(wanted: &Wanted, cpus: usize) -> usize {
    const ALL: usize = 256 << 20;
    const LEAST: usize = 512 << 10;
    let hertz = match wanted.rate {
        Rate::Frequency(hertz) => hertz.clamp(997, 16_000) as usize,
        Rate::Period(_) => 997,
    };
    let ring = match wanted.call_graph {
        CallGraph::Dwarf(bytes) => (bytes as usize * hertz / 16).next_power_of_two(),
        CallGraph::Fp | CallGraph::Lbr => LEAST,
    };
    let share = (ALL / cpus.max(1)).next_power_of_two();
    ring.max(LEAST).min(share)
}

/// The CPUs that run now: the kernel lists them as `0-3,8`. In a sandbox, /sys or /proc may be
/// missing.
fn online_cpus() -> Vec<u32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = cpu_list(list.trim());
    if !cpus.is_empty() {
        return cpus;
    }
    let counts = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cpus = counted_cpus(&counts);
    if cpus.is_empty() { (0..sys::processors()).collect() } else { cpus }
}

/// The CPUs that /proc/stat has lines of: `cpu3 12 34 …`.
fn counted_cpus(counts: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("cpu")?.split(' ').next()?.parse().ok();
    counts.lines().filter_map(number).collect()
}

fn cpu_list(list: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests;
