//! Every rung of the ladder, on a kernel that refuses.

use std::cell::RefCell;
use std::fs::File;

use super::*;

/// A kernel that refuses what a test says.
struct Fake {
    /// The error number for an event; 0 opens it.
    refuse: fn(&Tried) -> i32,
    /// The error number for rings above this size.
    refuse_rings: (i32, usize),
    paranoid: &'static str,
    tried: RefCell<Vec<String>>,
    rings: RefCell<Vec<usize>>,
}

/// What the recorder asks for when it opens an event.
struct Tried {
    cpu: i32,
    event: &'static str,
    rate: u64,
    exclude_kernel: bool,
    counts_lost: bool,
}

impl Tried {
    fn new(attr: &[u8], cpu: i32) -> Tried {
        let attr = Attr::parse(&mut Cursor::new(attr, Endian::NATIVE)).unwrap();
        let event = match (attr.kind, attr.config) {
            (0, 0) => "cycles",
            (1, 0) => "cpu-clock",
            (1, 3) => "off-cpu",
            (1, 9) => "tracker",
            other => panic!("{other:?}"),
        };
        Tried {
            cpu,
            event,
            rate: attr.period_or_freq,
            exclude_kernel: attr.exclude_kernel(),
            counts_lost: attr.read_format > 0,
        }
    }

    fn shown(&self) -> String {
        let Tried { cpu, event, .. } = self;
        let rate = if *event == "tracker" { String::new() } else { format!(" {}", self.rate) };
        let kernel = if self.exclude_kernel { " -kernel" } else { "" };
        let lost = if self.counts_lost { "" } else { " -lost" };
        format!("{cpu} {event}{rate}{kernel}{lost}")
    }
}

impl Kernel for Fake {
    fn open(&self, attr: &[u8], _: i32, cpu: i32) -> io::Result<Opened> {
        let tried = Tried::new(attr, cpu);
        self.tried.borrow_mut().push(tried.shown());
        match (self.refuse)(&tried) {
            0 => Ok(Opened {
                fd: File::open("/dev/null")?.into(),
                id: self.tried.borrow().len() as u64,
            }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn map(&self, _: &OwnedFd, size: usize) -> io::Result<Ring> {
        self.rings.borrow_mut().push(size >> 10);
        let (errno, most) = self.refuse_rings;
        if size > most {
            Err(io::Error::from_raw_os_error(errno))
        } else {
            Ok(Ring::in_memory(size))
        }
    }

    fn share(&self, _: &OwnedFd, _: &OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn setting(&self, path: &str) -> Option<String> {
        let value = match path {
            "kernel/perf_event_paranoid" => self.paranoid,
            "kernel/perf_event_max_sample_rate" => "500",
            _ => return None,
        };
        Some(value.into())
    }
}

/// A recording of thread 7 on the CPUs 0 and 1, of the usual event.
struct Recording {
    kernel: Fake,
    events: Vec<Event>,
    wanted: Wanted,
    cpus: Vec<u32>,
    thread: Option<u32>,
}

/// How it began.
struct Begun {
    /// Whether the thread was there, or the error and its remedy.
    opened: Result<bool, (String, String)>,
    /// What the user was told.
    told: Vec<String>,
    tried: Vec<String>,
    /// The sizes of rings in KB, in the order in which they were tried.
    rings: Vec<usize>,
    /// What is recorded in the end, and by which number.
    events: Vec<(String, u64)>,
}

/// A recording on a kernel that refuses some events.
fn recording(refuse: fn(&Tried) -> i32) -> Recording {
    Recording {
        kernel: Fake {
            refuse,
            refuse_rings: (0, usize::MAX),
            paranoid: "2",
            tried: RefCell::default(),
            rings: RefCell::default(),
        },
        events: Vec::new(),
        wanted: Wanted { counts_lost: true, rate: Rate::Frequency(400), ..Wanted::example() },
        cpus: vec![0, 1],
        thread: Some(7),
    }
}

impl Recording {
    fn begin(self) -> Begun {
        let mut told = Vec::new();
        let mut tell = |change: &str| told.push(change.to_owned());
        let mut events = Events::new(self.events, self.wanted, &self.kernel, &mut tell);
        events.cpus = self.cpus;
        events.ring_size = ring_size(&self.wanted, events.cpus.len());
        let opened = events.open(self.thread);
        let opened = opened.map_err(|error| {
            let remedy = error.remedy().unwrap_or_default().to_owned();
            (error.to_string(), remedy)
        });
        let names = events.events.iter().map(|event| event.name.clone());
        let events = names.zip(events.numbers()).collect();
        let Fake { tried, rings, .. } = self.kernel;
        Begun { opened, told, tried: tried.into_inner(), rings: rings.into_inner(), events }
    }

    fn of(self, name: &str) -> Recording {
        let event = Event::parse(name, std::path::Path::new("/nowhere")).unwrap();
        Recording { events: vec![event], ..self }
    }

    fn at_paranoid(mut self, level: &'static str) -> Recording {
        self.kernel.paranoid = level;
        self
    }
}

impl Begun {
    #[track_caller]
    fn is_refused(&self, what: &str, remedy: &str) {
        let (error, advice) = self.opened.clone().unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(advice.contains(remedy), "{advice}");
        assert!(!advice.is_empty() || remedy.is_empty());
    }
}

fn cycles(tried: &Tried, errno: i32) -> i32 {
    if tried.event == "cycles" { errno } else { 0 }
}

#[test]
fn each_cpu_has_a_tracker_and_the_events() {
    let begun = recording(|_| 0).begin();
    assert_eq!(begun.opened, Ok(true));
    assert!(begun.told.is_empty());
    assert_eq!(begun.tried, ["0 tracker", "0 cycles 400", "1 tracker", "1 cycles 400"]);
    assert_eq!(begun.rings, [256, 4096, 256, 4096]);
    assert_eq!(begun.events, [("cycles".into(), 2)]);
}

#[test]
fn events_of_one_cpu_share_a_ring() {
    let both = vec![Event::processor_time()[1].clone(), Event::off_cpu()];
    let mut recording = Recording { events: both, cpus: vec![3], ..recording(|_| 0) };
    recording.wanted.switches = true;
    let begun = recording.begin();
    assert_eq!(begun.tried, ["3 tracker", "3 cpu-clock 400", "3 off-cpu 1"]);
    assert_eq!(begun.rings, [1024, 4096], "switches need a larger ring of the tracker");
}

#[test]
fn a_thread_that_is_gone_is_not_an_error() {
    let begun = recording(|_| libc::ESRCH).begin();
    assert_eq!(begun.opened, Ok(false));
    assert_eq!(begun.tried, ["0 tracker"]);
    assert!(begun.told.is_empty());
}

#[test]
fn without_cycles_it_is_the_clock() {
    let refusals: [fn(&Tried) -> i32; 3] = [
        |tried| cycles(tried, libc::ENOENT),
        |tried| cycles(tried, libc::ENODEV),
        |tried| cycles(tried, libc::EOPNOTSUPP),
    ];
    for refuse in refusals {
        let begun = recording(refuse).begin();
        assert_eq!(begun.opened, Ok(true));
        assert_eq!(
            begun.told,
            ["this machine cannot count cycles; sampling cpu-clock instead"],
            "once"
        );
        let tried =
            ["0 tracker", "0 cycles 400", "0 cpu-clock 400", "1 tracker", "1 cpu-clock 400"];
        assert_eq!(begun.tried, tried);
        assert_eq!(begun.events, [("cpu-clock".into(), 3)]);

        let begun = recording(refuse).of("cycles").begin();
        begun.is_refused("this machine cannot count cycles", "cpu-clock always works");
        assert!(begun.told.is_empty());
        assert_eq!(begun.tried, ["0 tracker", "0 cycles 400"], "the user asked for it");
    }
}

#[test]
fn branches_that_no_cpu_records_are_an_error() {
    for name in [None, Some("cycles")] {
        let mut recording = recording(|tried| match tried.event {
            "tracker" => 0,
            _ => libc::EOPNOTSUPP,
        });
        recording.wanted.call_graph = CallGraph::Lbr;
        let recording = match name {
            Some(name) => recording.of(name),
            None => recording,
        };
        let begun = recording.begin();
        begun.is_refused("does not record branches (lbr)", "use --call-graph dwarf");
    }
}

#[test]
fn a_cpu_that_is_offline_is_skipped() {
    for thread in [Some(7), None] {
        let begun = Recording {
            thread,
            ..recording(|tried| if tried.cpu == 0 { libc::ENODEV } else { 0 })
        }
        .begin();
        assert_eq!(begun.opened, Ok(true));
        assert!(begun.told.is_empty(), "{:?}", begun.told);
        assert_eq!(begun.tried, ["0 tracker", "1 tracker", "1 cycles 400"]);
    }
    let begun = recording(|_| libc::ENODEV).begin();
    assert_eq!(begun.tried, ["0 tracker", "1 tracker"]);
    begun.is_refused("no CPU can be recorded", "");
}

#[test]
fn a_frequency_that_is_too_high_is_lowered() {
    let too_fast = |tried: &Tried| {
        if tried.event == "cycles" && tried.rate > 500 { libc::EINVAL } else { 0 }
    };
    let mut fast = recording(too_fast);
    fast.wanted.rate = Rate::Frequency(997);
    let begun = fast.begin();
    assert_eq!(begun.opened, Ok(true));
    assert_eq!(
        begun.told,
        ["sampling at 500 Hz instead of 997 Hz, because kernel.perf_event_max_sample_rate allows \
          no more"]
    );
    let tried = ["0 tracker", "0 cycles 997", "0 cycles 500", "1 tracker", "1 cycles 500"];
    assert_eq!(begun.tried, tried);
}

#[test]
fn a_kernel_that_does_not_count_losses_is_not_asked_to() {
    let old = |tried: &Tried| if tried.counts_lost { libc::EINVAL } else { 0 };
    let begun = recording(old).begin();
    assert_eq!(begun.opened, Ok(true));
    assert!(begun.told.is_empty());
    let tried = ["0 tracker", "0 tracker -lost", "0 cycles 400 -lost", "1 tracker -lost"];
    assert_eq!(begun.tried[..4], tried);

    let begun = recording(|_| libc::EINVAL).begin();
    begun.is_refused("cannot record anything", "");
    assert_eq!(begun.tried, ["0 tracker", "0 tracker -lost"]);
}

#[test]
fn the_limit_of_open_files_is_raised_once() {
    let begun = recording(|tried| cycles(tried, libc::EMFILE)).begin();
    begun.is_refused("too many open files", "ulimit -n");
    assert_eq!(begun.tried, ["0 tracker", "0 cycles 400", "0 cycles 400"]);
    let begun = recording(|tried| cycles(tried, libc::ENFILE)).begin();
    begun.is_refused("too many open files", "ulimit -n");
    assert_eq!(begun.tried, ["0 tracker", "0 cycles 400"], "that is the machine's limit");
}

#[test]
fn a_kernel_that_is_off_limits_is_left_out() {
    let refusals: [fn(&Tried) -> i32; 2] = [
        |tried| if tried.exclude_kernel { 0 } else { libc::EACCES },
        |tried| if tried.exclude_kernel { 0 } else { libc::EPERM },
    ];
    for refuse in refusals {
        let begun = recording(refuse).begin();
        assert_eq!(begun.opened, Ok(true));
        assert_eq!(
            begun.told,
            ["recording without the kernel, which kernel.perf_event_paranoid=2 forbids"]
        );
        let tried = ["0 tracker", "0 tracker -kernel", "0 cycles 400 -kernel"];
        assert_eq!(begun.tried[..3], tried);
        assert_eq!(begun.events[0].0, "cycles:u");
    }
}

/// The tracker may be opened, as it counts nothing.
#[test]
fn an_event_of_the_kernel_alone_cannot_leave_it_out() {
    let refuse = |tried: &Tried| cycles(tried, libc::EACCES);
    let begun = recording(refuse).of("cycles:k").begin();
    begun.is_refused(
        "the kernel refuses to record cycles:k: kernel.perf_event_paranoid is 2",
        "--root or `sudo sysctl kernel.perf_event_paranoid=-1`",
    );
    assert_eq!(begun.tried, ["0 tracker", "0 cycles 400"]);
    assert!(begun.told.is_empty());
}

#[test]
fn switches_need_the_kernel() {
    let mut recording = recording(|_| libc::EACCES);
    recording.wanted.switches = true;
    let begun = recording.begin();
    begun.is_refused(
        "--off-cpu needs kernel events, which kernel.perf_event_paranoid=2 forbids",
        "`sudo sysctl kernel.perf_event_paranoid=1`",
    );
    assert_eq!(begun.tried, ["0 tracker"]);
}

#[test]
fn what_is_refused_in_any_case_has_a_remedy() {
    let begun = recording(|_| libc::EACCES).at_paranoid("4").begin();
    begun.is_refused(
        "only root may record, because kernel.perf_event_paranoid is 4",
        "`sudo sysctl kernel.perf_event_paranoid=2`",
    );
    assert_eq!(begun.tried, ["0 tracker", "0 tracker -kernel"]);

    let begun = recording(|_| libc::EPERM).at_paranoid("1").begin();
    begun.is_refused("the kernel refuses to record anything", "a seccomp profile");

    let begun = recording(|_| libc::ENOSYS).begin();
    begun.is_refused("this kernel has no perf_event_open", "CONFIG_PERF_EVENTS");
    assert_eq!(begun.tried, ["0 tracker"]);

    let begun = recording(|tried| cycles(tried, libc::EBUSY)).begin();
    begun.is_refused("cannot record cycles", "");
    assert_eq!(begun.tried, ["0 tracker", "0 cycles 400"]);
}

#[test]
fn rings_are_halved_until_the_kernel_maps_them() {
    for errno in [libc::EPERM, libc::ENOMEM] {
        let mut recording = recording(|_| 0);
        recording.kernel.refuse_rings = (errno, 512 << 10);
        let begun = recording.begin();
        assert_eq!(begun.opened, Ok(true));
        assert_eq!(
            begun.told,
            ["using ring buffers of 512 KB instead of 4096, because perf_event_mlock_kb and \
              ulimit -l allow no more"]
        );
        assert_eq!(begun.rings, [256, 4096, 256, 2048, 256, 1024, 256, 512, 256, 512]);
        // All is opened anew, and numbers of events that were closed are forgotten.
        let tried = ["0 tracker", "0 cycles 400", "1 tracker", "1 cycles 400"];
        assert_eq!(begun.tried[6..], tried);
        assert_eq!(begun.events, [("cycles".into(), 8)]);
    }
}

#[test]
fn rings_that_hold_no_record_are_not_tried() {
    for (errno, what, remedy) in [
        (libc::EPERM, "the kernel refuses to record the ring buffer", "--root"),
        (libc::ENOMEM, "cannot record the ring buffer", ""),
    ] {
        let mut recording = recording(|_| 0);
        recording.kernel.refuse_rings = (errno, 127 << 10);
        let begun = recording.begin();
        begun.is_refused(what, remedy);
        assert_eq!(begun.rings.last(), Some(&128));
        assert!(begun.told.is_empty());
    }
}

#[test]
fn lists_of_cpus() {
    assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
    assert_eq!(cpu_list("0"), [0]);
    assert!(cpu_list("").is_empty());
    assert_eq!(counted_cpus("cpu  9 9\ncpu0 1 2\ncpu12 3 4\nintr 7\n"), [0, 12]);
    assert_eq!(online_cpus(), counted_cpus(&std::fs::read_to_string("/proc/stat").unwrap()));
    assert_eq!(online_cpus().len(), sys::processors() as usize);
}

#[test]
fn rings_are_large_unless_there_are_many_cpus() {
    let size = |call_graph, hertz, cpus| {
        let rate = Rate::Frequency(hertz);
        ring_size(&Wanted { call_graph, rate, ..Wanted::example() }, cpus)
    };
    assert_eq!(size(CallGraph::Dwarf(64000), 997, 2), 4 << 20);
    assert_eq!(size(CallGraph::Dwarf(64000), 4000, 2), 16 << 20);
    assert_eq!(size(CallGraph::Dwarf(64000), 997, 256), 1 << 20);
    assert_eq!(size(CallGraph::Dwarf(8192), 99, 2), 512 << 10);
    assert_eq!(size(CallGraph::Fp, 997, 2), 512 << 10);
}
