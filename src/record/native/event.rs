//! Reads the names of events: `cycles`, `page-faults:u`, `L1-dcache-load-misses`, `r1a8`,
//! `sched:sched_switch`, `cpu/event=0x3c,umask=0/`.
//!
//! Names are those of `perf list`. Sources: perf_event_open(2); sysfs for tracepoints
//! (`/sys/kernel/tracing/events/SYSTEM/NAME/id`) and for PMUs
//! (`/sys/bus/event_source/devices/PMU/{type,format,events}`).

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use bstr::ByteSlice;

use super::attr::What;
use super::needs_perf::NeedsPerf;
use crate::folded::OFF_CPU;

const HARDWARE: u32 = 0;
const SOFTWARE: u32 = 1;
const TRACEPOINT: u32 = 2;
const CACHE: u32 = 3;
const RAW: u32 = 4;

/// `PERF_COUNT_HW_*` and `PERF_COUNT_SW_*`.
const NAMES: [(&str, u32, u64); 31] = [
    ("cycles", HARDWARE, 0),
    ("cpu-cycles", HARDWARE, 0),
    ("instructions", HARDWARE, 1),
    ("cache-references", HARDWARE, 2),
    ("cache-misses", HARDWARE, 3),
    ("branches", HARDWARE, 4),
    ("branch-instructions", HARDWARE, 4),
    ("branch-misses", HARDWARE, 5),
    ("bus-cycles", HARDWARE, 6),
    ("stalled-cycles-frontend", HARDWARE, 7),
    ("idle-cycles-frontend", HARDWARE, 7),
    ("stalled-cycles-backend", HARDWARE, 8),
    ("idle-cycles-backend", HARDWARE, 8),
    ("ref-cycles", HARDWARE, 9),
    ("cpu-clock", SOFTWARE, 0),
    ("task-clock", SOFTWARE, 1),
    ("page-faults", SOFTWARE, 2),
    ("faults", SOFTWARE, 2),
    ("context-switches", SOFTWARE, 3),
    ("cs", SOFTWARE, 3),
    ("cpu-migrations", SOFTWARE, 4),
    ("migrations", SOFTWARE, 4),
    ("minor-faults", SOFTWARE, 5),
    ("major-faults", SOFTWARE, 6),
    ("alignment-faults", SOFTWARE, 7),
    ("emulation-faults", SOFTWARE, 8),
    ("dummy", SOFTWARE, 9),
    ("bpf-output", SOFTWARE, 10),
    ("cgroup-switches", SOFTWARE, 11),
    ("branch-loads", CACHE, 5),
    ("branch-load-misses", CACHE, 5 | 1 << 16),
];

/// `PERF_COUNT_HW_CACHE_*`: the caches. Branches are among the names above.
const CACHES: [(&str, u64); 6] =
    [("L1-dcache", 0), ("L1-icache", 1), ("LLC", 2), ("dTLB", 3), ("iTLB", 4), ("node", 6)];
/// The folders below /sys that may list tracepoints.
const TRACING: [&str; 2] = ["kernel/tracing", "kernel/debug/tracing"];
/// How a cache was accessed, and whether it missed.
const ACCESSES: [(&str, u64); 6] = [
    ("loads", 0),
    ("load-misses", 1 << 16),
    ("stores", 1 << 8),
    ("store-misses", 1 << 8 | 1 << 16),
    ("prefetches", 2 << 8),
    ("prefetch-misses", 2 << 8 | 1 << 16),
];

/// An event as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// As typed, with its modifiers.
    pub(super) name: String,
    pub(super) what: What,
}

impl Event {
    /// The default events: the first, or the second if the machine cannot count cycles.
    pub(super) fn processor_time() -> [Event; 2] {
        let event =
            |name: &str, kind| Event { name: name.into(), what: What { kind, ..What::default() } };
        [event("cycles", HARDWARE), event("cpu-clock", SOFTWARE)]
    }

    /// A thread is about to be taken off the processor; its sample has the stack that may block.
    ///
    /// There may be many thousands of switches a second. With a quarter of the usual copy, a ring
    /// holds four times as many.
    pub(super) fn off_cpu() -> Event {
        let most_stack = 16 << 10;
        let what =
            What { kind: SOFTWARE, config: 3, period: Some(1), most_stack, ..What::default() };
        Event { name: OFF_CPU.as_bstr().to_string(), what }
    }

    /// Says in its name that the kernel is left out.
    pub(super) fn without_kernel(&mut self) {
        let has_modifiers = !split(&self.name).1.is_empty() || self.name.ends_with('/');
        self.name.push_str(if has_modifiers { "u" } else { ":u" });
    }

    /// Whether the processor counts it, which virtual machines often do not offer.
    pub(super) fn is_hardware(&self) -> bool {
        self.what.kind == HARDWARE
    }

    /// Whether it counts nanoseconds: `cpu-clock`, `task-clock`.
    pub(super) fn is_clock(&self) -> bool {
        self.what.kind == SOFTWARE && self.what.config <= 1
    }

    /// A tracepoint that only root may look up.
    pub(super) fn is_hidden(name: &str, sys: &Path) -> bool {
        let base = split(name).0;
        let Some((system, point)) = base.split_once(':') else { return false };
        TRACING.iter().any(|root| {
            let path = sys.join(root).join("events").join(system).join(point).join("id");
            fs::read(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        })
    }

    /// A hidden tracepoint. Only its name matters.
    pub(super) fn hidden(name: &str) -> Event {
        let what = What { kind: TRACEPOINT, period: Some(1), ..What::default() };
        Event { name: name.into(), what }
    }

    /// Reads a name.
    pub(super) fn parse(name: &str, sys: &Path) -> Result<Event, NeedsPerf> {
        if name.starts_with('{') {
            return Err(NeedsPerf::Group);
        }
        let (base, modifiers) = split(name);
        let mut what = if let Some((pmu, terms)) =
            base.strip_suffix('/').and_then(|base| base.split_once('/'))
        {
            of_pmu(pmu, terms, sys)?
        } else if let Some(&(_, kind, config)) = NAMES.iter().find(|(known, ..)| *known == base) {
            What { kind, config, ..What::default() }
        } else if let Some(config) = cache(base) {
            What { kind: CACHE, config, ..What::default() }
        } else if let Some(config) = base.strip_prefix('r').and_then(hex) {
            What { kind: RAW, config, ..What::default() }
        } else if base.starts_with("mem:") {
            // A breakpoint.
            return Err(NeedsPerf::UnknownEvent(name.into()));
        } else if let Some((system, point)) = base.split_once(':') {
            let id = tracepoint(system, point, sys).ok_or_else(|| {
                let is_mounted = TRACING.iter().any(|root| sys.join(root).join("events").is_dir());
                if Event::is_hidden(name, sys) {
                    NeedsPerf::HiddenTracepoint(name.into())
                } else if is_mounted {
                    NeedsPerf::NoTracepoint(name.into())
                } else {
                    NeedsPerf::NoTracefs(name.into())
                }
            })?;
            // Each occurrence is a sample, unless a period says otherwise.
            What { kind: TRACEPOINT, config: id, period: Some(1), ..What::default() }
        } else {
            // perf knows more names: those of a vendor's tables, and probes.
            return Err(NeedsPerf::UnknownEvent(name.into()));
        };
        for modifier in modifiers.chars() {
            match modifier {
                'u' => what.only.get_or_insert_default().user = true,
                'k' => what.only.get_or_insert_default().kernel = true,
                'h' => what.only.get_or_insert_default().hypervisor = true,
                'p' => what.precise += 1,
                'P' => what.precise = 0,
                _ => return Err(NeedsPerf::Modifier { modifier, event: name.into() }),
            }
        }
        Ok(Event { name: name.into(), what })
    }
}

/// The name and its modifiers: `cycles:u` has some, `sched:sched_switch` has none.
fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once([':', '/']) {
        Some((base, modifiers)) if modifiers.chars().all(|c| "ukhHGpPSDWeIR".contains(c)) => {
            // The slash belongs to the name: `cpu/cycles/u`.
            let end = base.len() + usize::from(name.as_bytes().get(base.len()) == Some(&b'/'));
            name.split_at_checked(end).map_or((base, modifiers), |(base, _)| (base, modifiers))
        }
        _ => (name, ""),
    }
}

fn cache(name: &str) -> Option<u64> {
    CACHES.iter().find_map(|(cache, which)| {
        let access = name.strip_prefix(cache)?.strip_prefix('-')?;
        let found = ACCESSES.iter().find(|(known, _)| *known == access)?;
        Some(which | found.1)
    })
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), hex)
}

/// The number of a tracepoint: an old kernel has them in debugfs.
fn tracepoint(system: &str, point: &str, sys: &Path) -> Option<u64> {
    TRACING.iter().find_map(|root| {
        let path = sys.join(root).join("events").join(system).join(point).join("id");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

/// `cpu/event=0x3c,umask=0/` or `cpu_core/cycles/`.
fn of_pmu(pmu: &str, terms: &str, sys: &Path) -> Result<What, NeedsPerf> {
    let folder = sys.join("bus/event_source/devices").join(pmu);
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned());
    let kind = read("type").ok().and_then(|kind| kind.parse().ok());
    let mut what =
        What { kind: kind.ok_or_else(|| NeedsPerf::NoPmu(pmu.into()))?, ..What::default() };
    let mut terms: Vec<String> = terms.split(',').map(str::to_owned).rev().collect();
    while let Some(term) = terms.pop() {
        let (field, value) = term.split_once('=').unwrap_or((&term, "1"));
        let place = match read(&format!("format/{field}")) {
            Ok(place) => place,
            Err(_) => {
                let event = read(&format!("events/{term}"));
                let event =
                    event.map_err(|_| NeedsPerf::NoTerm { pmu: pmu.into(), term: term.clone() })?;
                terms.extend(event.split(',').map(str::to_owned).rev());
                continue;
            }
        };
        let value = number(value)
            .ok_or_else(|| NeedsPerf::Value { value: value.into(), term: term.clone() })?;
        deposit(&mut what, &place, value)
            .ok_or_else(|| NeedsPerf::Format { pmu: pmu.into(), field: field.into() })?;
    }
    Ok(what)
}

/// Puts the bits of `value` where `place` says: `config:0-7,32-35`.
fn deposit(what: &mut What, place: &str, mut value: u64) -> Option<()> {
    let (word, ranges) = place.split_once(':')?;
    let word = match word {
        "config" => &mut what.config,
        "config1" => &mut what.config1,
        "config2" => &mut what.config2,
        _ => return None,
    };
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let low: u32 = low.parse().ok()?;
        let high: u32 = high.parse().ok()?;
        for bit in low..=high.min(63) {
            *word |= (value & 1) << bit;
            value >>= 1;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::attr::Only;
    use super::*;

    fn what(name: &str) -> Result<What, NeedsPerf> {
        Event::parse(name, Path::new("/nowhere")).map(|event| event.what)
    }

    fn plain(kind: u32, config: u64) -> What {
        What { kind, config, ..What::default() }
    }

    #[test]
    fn names_are_those_of_perf_list() {
        assert_eq!(what("cycles"), Ok(plain(0, 0)));
        assert_eq!(what("page-faults"), Ok(plain(1, 2)));
        assert_eq!(what("LLC-load-misses"), Ok(plain(3, 2 | 1 << 16)));
        assert_eq!(what("dTLB-stores"), Ok(plain(3, 3 | 1 << 8)));
        assert_eq!(what("r1a8"), Ok(plain(4, 0x1a8)));
        for odd in
            ["", "cycle", "LLC", "rxyz", "a:b", "{cycles,instructions}:S", "cycles:S", "p/x/"]
        {
            assert!(what(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn modifiers_follow_the_name() {
        let user = Some(Only { user: true, ..Only::default() });
        assert_eq!(what("cycles:u"), Ok(What { only: user, ..plain(0, 0) }));
        assert_eq!(what("cycles:pp"), Ok(What { precise: 2, ..plain(0, 0) }));
        assert_eq!(split("cpu/cycles/u"), ("cpu/cycles/", "u"));
        assert_eq!(split("cpu/cycles/"), ("cpu/cycles/", ""));
        assert_eq!(split("sched:sched_switch"), ("sched:sched_switch", ""));
        assert_eq!(split("sched:sched_switch:u"), ("sched:sched_switch", "u"));
    }

    #[test]
    fn sysfs_tells_of_tracepoints_and_pmus() {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("kernel/tracing/events/sched/sched_switch/id", "314\n");
        write("bus/event_source/devices/cpu/type", "4\n");
        write("bus/event_source/devices/cpu/format/event", "config:0-7,32-35\n");
        write("bus/event_source/devices/cpu/format/umask", "config:8-15\n");
        write("bus/event_source/devices/cpu/events/stalls", "event=0x1a3,umask=0x4\n");
        let what = |name| Event::parse(name, sys.path()).unwrap().what;
        assert_eq!(what("sched:sched_switch"), What { period: Some(1), ..plain(2, 314) });
        assert_eq!(what("cpu/event=0x3c,umask=0x1/"), plain(4, 0x13c));
        assert_eq!(what("cpu/stalls/"), plain(4, 0x4a3 | 1 << 32));
        assert!(Event::parse("cpu/nothing/", sys.path()).is_err());
        let problem = |name, sys| Event::parse(name, sys).unwrap_err();
        let nothing = NeedsPerf::NoTracepoint("sched:nothing".into());
        assert_eq!(problem("sched:nothing", sys.path()), nothing);
        let breakpoint = NeedsPerf::UnknownEvent("mem:0x1000:w".into());
        assert_eq!(problem("mem:0x1000:w", sys.path()), breakpoint);
        let nowhere = NeedsPerf::NoTracefs("sched:sched_switch".into());
        assert_eq!(problem("sched:sched_switch", Path::new("/nowhere")), nowhere);
    }
}
