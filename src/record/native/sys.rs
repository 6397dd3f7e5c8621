//! perf_event_open(2) and the system calls around it, without meaning of their own.
//!
//! [`Kernel`] is what opening events needs: [`Syscalls`] asks the kernel, and tests have one that
//! refuses.
#![expect(unsafe_code, reason = "system calls that libc does not wrap")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::ring::Ring;
use crate::perf_data::write::Counted;

/// `PERF_EVENT_IOC_*`: `_IO('$', n)`, and `_IOR('$', 7, __u64 *)`.
const ENABLE: libc::Ioctl = 0x2400;
const DISABLE: libc::Ioctl = 0x2401;
const SET_OUTPUT: libc::Ioctl = 0x2405;
const ID: libc::Ioctl = 0x8008_2407u32 as libc::Ioctl;

/// Opens events and maps their rings.
pub(super) trait Kernel {
    /// Opens an event for `thread` (-1 for all) on `cpu`. `attr` is a `struct perf_event_attr`.
    fn open(&self, attr: &[u8], thread: i32, cpu: i32) -> io::Result<Opened>;

    /// Maps a ring of `size` bytes for the records of `event`.
    fn map(&self, event: &OwnedFd, size: usize) -> io::Result<Ring>;

    /// Lets `event` write into the ring of `owner`.
    fn share(&self, event: &OwnedFd, owner: &OwnedFd) -> io::Result<()>;

    /// The value of a setting below /proc/sys.
    fn setting(&self, path: &str) -> Option<String>;
}

/// An event that is open, and the number that its records carry.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) id: u64,
}

/// The kernel that runs here.
pub(super) struct Syscalls;

impl Kernel for Syscalls {
    fn open(&self, attr: &[u8], thread: i32, cpu: i32) -> io::Result<Opened> {
        let fd = open(attr, thread, cpu)?;
        let id = id(&fd)?;
        Ok(Opened { fd, id })
    }

    fn map(&self, event: &OwnedFd, size: usize) -> io::Result<Ring> {
        Ring::map(event, size)
    }

    fn share(&self, event: &OwnedFd, owner: &OwnedFd) -> io::Result<()> {
        // SAFETY: two descriptors that are open.
        check(unsafe { libc::ioctl(event.as_raw_fd(), SET_OUTPUT, owner.as_raw_fd()) })
    }

    fn setting(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
        Some(text.trim().to_owned())
    }
}

fn open(attr: &[u8], pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    const FD_CLOEXEC: libc::c_ulong = 8;
    const NO_GROUP: i32 = -1;
    // SAFETY: the attr says its size, which is that of the slice; the rest are numbers.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), pid, cpu, NO_GROUP, FD_CLOEXEC)
    };
    match RawFd::try_from(fd) {
        // SAFETY: a descriptor that was opened just now and is nobody else's.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number that the event's records carry.
fn id(event: &OwnedFd) -> io::Result<u64> {
    let mut id = 0u64;
    // SAFETY: the call writes one u64.
    check(unsafe { libc::ioctl(event.as_raw_fd(), ID, &raw mut id) })?;
    Ok(id)
}

/// The count of an event in all threads, also those that inherited it. `has_lost` if it was opened
/// with `PERF_FORMAT_LOST`; otherwise it was opened without a format.
pub(super) fn counted(event: &OwnedFd, has_lost: bool) -> Counted {
    let mut count = [0u64; 2];
    // SAFETY: the call writes up to as many bytes as it is told.
    let read =
        unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), size_of_val(&count)) };
    let wanted = if has_lost { size_of_val(&count) } else { size_of::<u64>() };
    if usize::try_from(read) != Ok(wanted) {
        return Counted::default();
    }
    Counted { value: count[0], lost: has_lost.then_some(count[1]) }
}

/// Starts counting, in all inherited events too.
pub(super) fn enable(event: &OwnedFd) -> io::Result<()> {
    // SAFETY: a number, for a descriptor that is open.
    check(unsafe { libc::ioctl(event.as_raw_fd(), ENABLE, 0) })
}

/// Stops counting, in all inherited events too.
pub(super) fn disable(event: &OwnedFd) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::ioctl(event.as_raw_fd(), DISABLE, 0) })
}

/// Waits until one of `fds` can be read, or for `timeout` milliseconds. Each of `fds` then says
/// whether it can be read, or never will be again.
pub(super) fn poll(fds: &mut [libc::pollfd], timeout: i32) {
    // SAFETY: the array and its length. A signal that ends the wait early does no harm.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
}

/// One of `fds` for [`poll`].
pub(super) fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// Raises the limit of open files as far as we may.
pub(super) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get one struct. If the limit stays, opening the next file fails.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// How many processors run, if no file says which.
pub(super) fn processors() -> u32 {
    // SAFETY: a number, always.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u32::try_from(count).unwrap_or(1).max(1)
}

/// The user and the group as whom we act.
pub(super) fn user() -> u32 {
    // SAFETY: a number, always.
    unsafe { libc::geteuid() }
}

pub(super) fn group() -> u32 {
    // SAFETY: as above.
    unsafe { libc::getegid() }
}

/// Whether a program gets capabilities from its file.
pub(super) fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: two strings that end in zero; of a length of 0 nothing is written.
    let size = unsafe {
        let name = c"security.capability".as_ptr();
        libc::getxattr(path.as_ptr(), name, std::ptr::null_mut(), 0)
    };
    size > 0
}

/// Whether Ctrl-C on our terminal reaches this process group.
pub(super) fn has_the_terminal() -> bool {
    // SAFETY: numbers.
    (0..=2).any(|fd| unsafe { libc::tcgetpgrp(fd) == libc::getpgrp() })
}

/// Whether all that is written to `file` goes to its end, wherever one seeks.
pub(in super::super) fn appends(file: &File) -> bool {
    // SAFETY: numbers, of a descriptor that is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags < 0 || flags & libc::O_APPEND != 0
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(super) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one struct.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets this thread run before all others until it is dropped, if we may: a recorder that waits for
/// its turn among a busy workload's threads loses samples.
///
/// A thread with a deadline runs even before those of real-time programs, such as encoders that
/// take `SCHED_FIFO` 99. The kernel grants it at most a part of one processor, and refuses if all
/// parts together are too much. Without a deadline, the thread has the highest priority of ordinary
/// threads, which is as good unless real-time programs run.
pub(super) struct First {
    nice: libc::c_int,
    had_deadline: bool,
}

/// `struct sched_attr` of sched_setattr(2), in its first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl First {
    /// For a thread that seldom runs, and never for long.
    pub(super) fn go() -> First {
        // SAFETY: numbers, about the calling thread alone. If we may not, nothing changes.
        let nice = unsafe {
            let before = libc::getpriority(libc::PRIO_PROCESS, 0);
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
            before
        };
        // Many processors fill many rings, and leave time for the helpers.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let ms = if cpus > 2 { 9 } else { 5 };
        First { nice, had_deadline: set_scheduling(0, &SchedAttr::deadline(ms)) }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if self.had_deadline {
            set_scheduling(0, &SchedAttr { nice: self.nice, ..SchedAttr::default() });
        }
        // SAFETY: as above.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) };
    }
}

impl SchedAttr {
    /// Up to this many milliseconds of each ten, which is less than a ring's time. It takes half a
    /// millisecond to empty the rings of two processors.
    fn deadline(ms: u64) -> SchedAttr {
        const MS: u64 = 1_000_000;
        const SCHED_DEADLINE: u32 = 6;
        // The kernel demands it of threads that start others, which have no deadline then.
        const RESET_ON_FORK: u64 = 1;
        SchedAttr {
            policy: SCHED_DEADLINE,
            flags: RESET_ON_FORK,
            runtime: ms * MS,
            deadline: 10 * MS,
            period: 10 * MS,
            ..SchedAttr::default()
        }
    }
}

/// A thread of ours that runs before all others only while we must wait for it, so that it disturbs
/// real-time programs no more than necessary.
#[derive(Default)]
pub(in super::super) struct Helper {
    thread: AtomicI32,
    is_first: AtomicBool,
}

impl Helper {
    /// Makes the calling thread the helper, until it ends.
    pub(in super::super) fn enter(&self) {
        // SAFETY: a number.
        self.thread.store(unsafe { libc::gettid() }, Ordering::Release);
    }

    /// The same, and lets it run before ordinary threads from now on.
    pub(super) fn enter_before_ordinary(&self) {
        // SAFETY: numbers. If we may not, nothing changes.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
        self.enter();
    }

    /// Lets it run before all others, or no longer. Another thread calls this, because the helper
    /// cannot while it waits for its turn.
    pub(in super::super) fn put_first(&self, first: bool) {
        let thread = self.thread.load(Ordering::Acquire);
        if thread == 0 || self.is_first.swap(first, Ordering::Relaxed) == first {
            return;
        }
        let ordinary = || SchedAttr { nice: -20, ..SchedAttr::default() };
        set_scheduling(thread, &if first { SchedAttr::deadline(4) } else { ordinary() });
    }
}

/// Sets how a thread is scheduled, the calling one if it is 0. False if we may not.
fn set_scheduling(thread: i32, attr: &SchedAttr) -> bool {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: a struct that says its size, and numbers.
    unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attr, 0) == 0 }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
