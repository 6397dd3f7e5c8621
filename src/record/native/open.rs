//! Opening events, and what is given up when the kernel refuses.
//!
//! An event that new threads inherit must be of one CPU, as the kernel maps no rings otherwise: so there is an event
//! for each thread that is there already, each event and each CPU; all of a CPU share one ring. One more event tells of
//! threads, names and maps, in a ring of its own: a lost sample is one of many, a lost map makes nonsense of all that follow.
//!
//! ```text
//!  cycles are not supported ─▶ cpu-clock
//!  the kernel is off limits ─▶ without it          perf_event_paranoid 2
//!  no more locked memory    ─▶ half the ring       perf_event_mlock_kb
//!  no more open files       ─▶ raise the limit     ulimit -n
//!  nothing is allowed       ─▶ an error with the remedy
//! ```

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use super::attr::{CallGraph, Rate, Wanted};
use super::event::Event;
use super::ids::Ids;
use super::refusal::{PARANOID, paranoid, refused, setting, without_switches};
use super::ring::Ring;
use super::sys;
use crate::error::{Error, Result};
use crate::perf_data::write::Counted;
use crate::perf_data::{Attr, Cursor, Endian};

/// Events that are open.
pub(super) struct Events<'a> {
    /// As they are recorded, after what was given up.
    pub(super) events: Vec<Event>,
    pub(super) wanted: Wanted,
    /// Nobody chose the event, so another one may take its place.
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
    tell: &'a mut dyn FnMut(&str),
}

/// One event of a thread on a CPU, or what tells of threads and maps.
struct Observer {
    fd: OwnedFd,
    /// Which event; `None` for what tells of threads and maps.
    event: Option<usize>,
}

/// The ring of a CPU, and which of the observers it was mapped from.
struct CpuRing {
    cpu: u32,
    tracks: bool,
    ring: Ring,
    owner: usize,
}

/// The smallest ring: a record may have 64 KB.
const SMALLEST: usize = 128 << 10;
/// The ring of what tells of threads and maps: a few thousand of them.
const TRACKED: usize = 256 << 10;

impl<'a> Events<'a> {
    /// Nothing is opened yet. Without `events`, processor time.
    pub(super) fn new(
        events: Vec<Event>,
        wanted: Wanted,
        tell: &'a mut dyn FnMut(&str),
    ) -> Events<'a> {
        let any_event = events.is_empty();
        let [cycles, _] = Event::processor_time();
        let events = if any_event { vec![cycles] } else { events };
        let cpus = online_cpus();
        let ring_size = ring_size(&wanted, cpus.len());
        let (observers, rings, ids) = Default::default();
        Events {
            events,
            wanted,
            any_event,
            of_processors: false,
            cpus,
            ring_size,
            observers,
            rings,
            ids,
            ended: None,
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
                Err(Failure::Ring(error)) => return Err(refused("the ring buffer", error)),
                Err(Failure::Other(error)) => return Err(error),
                Ok(there) => {
                    if self.ring_size < wanted {
                        (self.tell)(&format!(
                            "using ring buffers of {} KB instead of {}, because perf_event_mlock_kb and ulimit -l allow no more",
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
                    Outcome::Open(fd) => self.attach(event, thread, self.cpus[at], fd)?,
                    Outcome::NoThread => return Ok(false),
                    Outcome::NoCpu => {}
                }
            }
        }
        self.ids.all_open(thread, sys::now());
        if self.rings.is_empty() {
            let what = "no CPU can be recorded".into();
            return Err(Error::Unsupported { what, remedy: String::new() }.into());
        }
        Ok(true)
    }

    fn open_one(&mut self, event: Option<usize>, thread: i32, cpu: u32) -> Result<Outcome> {
        let mut raised = false;
        loop {
            self.wanted.watermark = self.watermark(event.is_none());
            let named = event.map(|event| &self.events[event]);
            let attr = self.wanted.attr(named.map(|event| &event.what));
            let error = match sys::open(&attr, thread, cpu.cast_signed()) {
                Ok(fd) => return Ok(Outcome::Open(fd)),
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
                Some(libc::ENODEV) if thread >= 0 || self.cpus.len() > 1 => {
                    return Ok(Outcome::NoCpu);
                }
                Some(libc::EINVAL) if self.too_fast() => {}
                Some(libc::EINVAL) if self.wanted.counts_lost => self.wanted.counts_lost = false,
                Some(libc::EMFILE) if !raised => {
                    raised = true;
                    sys::raise_file_limit();
                }
                Some(libc::EACCES)
                    if self.wanted.switches && paranoid().as_deref() == Some("2") =>
                {
                    return Err(without_switches());
                }
                Some(libc::EACCES | libc::EPERM) if self.may_leave_out_kernel(event) => {
                    (self.tell)(&format!(
                        "recording without the kernel, which {PARANOID}={} forbids",
                        paranoid().unwrap_or_default()
                    ));
                    self.wanted.exclude_kernel = true;
                    self.events.iter_mut().for_each(Event::without_kernel);
                }
                Some(libc::EOPNOTSUPP) if self.wanted.call_graph == CallGraph::Lbr => {
                    return Err(Error::Unsupported {
                        what: "this CPU does not record branches (lbr), or its virtual machine hides them".into(),
                        remedy: "use --call-graph dwarf, which works everywhere".into(),
                    });
                }
                _ => {
                    let name = event.map(|event| self.events[event].name.as_str());
                    return Err(refused(name.unwrap_or("anything"), error));
                }
            }
        }
    }

    fn may_leave_out_kernel(&self, event: Option<usize>) -> bool {
        let only = event.and_then(|event| self.events[event].what.only);
        !self.wanted.exclude_kernel && only.is_none_or(|only| only.user)
    }

    /// Lowers a frequency that the kernel does not allow. False if that is not the matter.
    fn too_fast(&mut self) -> bool {
        let Rate::Frequency(wanted) = self.wanted.rate else { return false };
        let most = setting("kernel/perf_event_max_sample_rate").and_then(|most| most.parse().ok());
        let Some(most) = most.filter(|&most| most < wanted) else { return false };
        (self.tell)(&format!(
            "sampling at {most} Hz instead of {wanted} Hz, because kernel.perf_event_max_sample_rate allows no more"
        ));
        self.wanted.rate = Rate::Frequency(most);
        true
    }

    fn attach(
        &mut self,
        event: Option<usize>,
        thread: i32,
        cpu: u32,
        fd: OwnedFd,
    ) -> Result<(), Failure> {
        let cannot = |source| refused("the ring buffer", source);
        let tracks = event.is_none();
        match self.rings.iter().find(|ring| ring.cpu == cpu && ring.tracks == tracks) {
            Some(ring) => sys::set_output(&fd, &self.observers[ring.owner].fd).map_err(cannot)?,
            None => {
                let ring = Ring::map(&fd, self.ring_size(tracks)).map_err(Failure::Ring)?;
                self.rings.push(CpuRing { cpu, tracks, ring, owner: self.observers.len() });
            }
        }
        if let Some(event) = event {
            self.ids.insert(sys::id(&fd).map_err(cannot)?, event, thread);
        }
        self.observers.push(Observer { fd, event });
        Ok(())
    }

    /// The size of a ring: of that for threads and maps, or of that for samples.
    fn ring_size(&self, tracks: bool) -> usize {
        let tracked = if self.wanted.switches { 4 * TRACKED } else { TRACKED };
        if tracks { tracked.min(self.ring_size) } else { self.ring_size }
    }

    /// When we are woken: soon, where nothing says how fast a ring fills, as every page fault may be a sample.
    fn watermark(&self, tracks: bool) -> u32 {
        let has_period = |event: &Event| event.what.period.is_some();
        let by_rate =
            matches!(self.wanted.rate, Rate::Frequency(_)) && !self.events.iter().any(has_period);
        let part = if tracks || by_rate { 2 } else { 4 };
        (self.ring_size(tracks) / part) as u32
    }

    /// How records are to be read: of all events alike.
    pub(super) fn attr(&self) -> Attr {
        let attr = self.wanted.attr(None);
        Attr::parse(&mut Cursor::new(&attr, Endian::NATIVE)).unwrap_or_default()
    }

    /// Says what is done otherwise than asked for.
    pub(super) fn tell(&mut self, change: &str) {
        (self.tell)(change);
    }

    /// A number for each event, by which its records go in the recording.
    pub(super) fn numbers(&self) -> Vec<u64> {
        (0..self.events.len()).map(|event| self.ids.number(event)).collect()
    }

    /// How many records found no room in the rings, as far as the kernel says: since Linux 6.0.
    pub(super) fn lost(&self) -> u64 {
        let counted = self.observers.iter().map(|one| self.read(one));
        counted.filter_map(|counted| counted.lost).sum()
    }

    /// What each event counted, in all threads, even in those that ended before their first sample.
    /// Nothing of whole processors, which count the time in which nothing runs, too.
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

    /// Hands over each whole record that is there.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        self.rings.iter_mut().for_each(|ring| ring.ring.drain(&mut each));
    }

    /// What to poll, to be woken before a ring is full.
    pub(super) fn poll(&self) -> impl Iterator<Item = libc::pollfd> + '_ {
        self.rings.iter().map(|ring| sys::readable(self.observers[ring.owner].fd.as_raw_fd()))
    }

    pub(super) fn enable(&self) -> io::Result<()> {
        self.of(true).chain(self.of(false)).try_for_each(sys::enable)
    }

    /// Stops all events, those last that tell the names of threads: one may just begin. What cannot be stopped is over already.
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
    /// What may be locked in memory is limited for each user: EPERM, or ENOMEM.
    Ring(io::Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

enum Outcome {
    Open(OwnedFd),
    NoThread,
    NoCpu,
}

/// A sixteenth of a second: at 997 Hz, 4 MB of copied stacks; perf's 512 KB are enough for chains. Machines with many CPUs have less
/// for each, 256 MB in all.
///
/// The kernel clears and maps all of it first, a millisecond for each 4 MB. Half of it still loses nothing where fourteen programs want
/// two CPUs, a quarter does: see benches/RESULTS.md.
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

/// `0-3,8`: those that run now.
fn online_cpus() -> Vec<u32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = cpu_list(list.trim());
    if cpus.is_empty() { vec![0] } else { cpus }
}

fn cpu_list(list: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpu_list("0"), [0]);
        assert!(cpu_list("").is_empty());
        assert!(!online_cpus().is_empty());
    }

    #[test]
    fn rings_are_large_but_not_on_every_one_of_many_cpus() {
        let size = |call_graph, hertz, cpus| {
            let mut wanted = Wanted::example();
            (wanted.call_graph, wanted.rate) = (call_graph, Rate::Frequency(hertz));
            ring_size(&wanted, cpus)
        };
        assert_eq!(size(CallGraph::Dwarf(64000), 997, 2), 4 << 20);
        assert_eq!(size(CallGraph::Dwarf(64000), 4000, 2), 16 << 20);
        assert_eq!(size(CallGraph::Dwarf(64000), 997, 256), 1 << 20);
        assert_eq!(size(CallGraph::Dwarf(8192), 99, 2), 512 << 10);
        assert_eq!(size(CallGraph::Fp, 997, 2), 512 << 10);
    }
}
