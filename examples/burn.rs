//! Burns known shares of processor time in functions with known names, for tests and
//! demonstrations.
//!
//! | thread | function | share of its thread | share of all |
//! |---|---|---|---|
//! | `adder` | `hot_sum` | 3/4 | 37.5 % |
//! | `adder` | `hot_sort` | 1/4 | 12.5 % |
//! | `hasher` | `hot_hash` | all | 50 % |
//!
//! Each function works until it has used its slice of its *thread's* processor time, so the shares
//! are the same on every machine, however busy.
//!
//! - `--ms N`: N milliseconds of processor time for each thread (1000)
//! - `--exit STATUS`, `--kill SIGNAL`: end with this status, or by the signal of this number
//! - `--churn N`: instead, N threads at a time that come and go for `--ms`; each uses 4 ms, half of them at its end, and
//!   prints its name, when it began and when it ended, in nanoseconds of `CLOCK_MONOTONIC`
//! - `--slower PERCENT`: `hot_sum` takes so much longer in each round, as if a change had made it slower
//! - `--deep`: `hasher` works below a frame of 200 KB
//! - `--deaf`: ignore SIGINT and SIGTERM; `--print`: say `burnt` on stdout at the end

// A program to be profiled: it may do what our library may not.
#![allow(unsafe_code, clippy::exit, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let (mut total, mut status, mut signal) = (Duration::from_secs(1), 0, 0);
    let (mut deep, mut deaf, mut print, mut churning) = (false, false, false, 0);
    let mut slower = 0;
    // The program's own name need not be UTF-8.
    let arguments = std::env::args_os().skip(1);
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|word| word.parse().ok()).expect("a number");
        match argument.as_str() {
            "--ms" => total = Duration::from_millis(number()),
            "--exit" => status = number() as i32,
            "--kill" => signal = number() as i32,
            "--slower" => slower = number() as u32,
            "--churn" => churning = number(),
            "--deep" => deep = true,
            "--deaf" => deaf = true,
            "--print" => print = true,
            _ => std::process::exit(2),
        }
    }
    signals(deaf, 0);
    if churning > 0 {
        return churn(churning, total);
    }
    // As many rounds as without --slower.
    let longer = total * (400 + 3 * slower) / 400;
    let adder = named("adder", move || {
        rounds(longer, |slice| {
            hot_sum(slice * 3 / 4 * (100 + slower) / 100);
            hot_sort(slice / 4);
        });
    });
    let hasher = named("hasher", move || match deep {
        true => large_frame(|| rounds(total, hot_hash)),
        false => rounds(total, hot_hash),
    });
    [adder, hasher].into_iter().for_each(|thread| thread.join().expect("it ends"));
    if print {
        println!("burnt");
    }
    signals(false, signal);
    std::process::exit(status);
}

/// How much is done until the clock is read again. Reading it is a system call, and must not be
/// what the program spends its time with.
const ROUND: u64 = 20_000;

fn named(name: &str, work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(work).expect("a thread")
}

/// Keeps `at_once` threads for as long as `total`.
fn churn(at_once: u64, total: Duration) {
    let end = Instant::now() + total;
    let mut threads = std::collections::VecDeque::new();
    for n in 0.. {
        if threads.len() as u64 >= at_once || Instant::now() >= end {
            let Some(oldest) = threads.pop_front() else { break };
            thread::JoinHandle::join(oldest).expect("it ends");
        }
        if Instant::now() >= end {
            continue;
        }
        let name = format!("churn-{n}");
        let work = move || {
            let began = clock(Clock::Monotonic);
            hot_sum(Duration::from_millis(2));
            thread::sleep(Duration::from_millis(200));
            hot_sum(Duration::from_millis(2));
            println!("churn-{n} {} {}", began.as_nanos(), clock(Clock::Monotonic).as_nanos());
        };
        threads.push_back(named(&name, work));
    }
}

/// Calls `work` with a slice at a time until `total` is used up.
fn rounds(total: Duration, work: impl Fn(Duration)) {
    let end = processor_time() + total;
    while processor_time() < end {
        // Short enough for even shares.
        work(Duration::from_millis(20));
    }
}

#[inline(never)]
fn large_frame(work: impl FnOnce()) {
    let mut room = [0u8; 200 << 10];
    black_box(&mut room);
    work();
    black_box(&room);
}

#[inline(never)]
fn hot_sum(slice: Duration) {
    let end = processor_time() + slice;
    while processor_time() < end {
        black_box((0..ROUND).map(black_box).fold(0, u64::wrapping_add));
    }
}

#[inline(never)]
fn hot_sort(slice: Duration) {
    let end = processor_time() + slice;
    while processor_time() < end {
        for _ in 0..ROUND / 500 {
            let mut values: [usize; 64] = std::array::from_fn(|n| black_box(n * 37 % 61));
            values.sort_unstable();
            black_box(values);
        }
    }
}

#[inline(never)]
fn hot_hash(slice: Duration) {
    let end = processor_time() + slice;
    while processor_time() < end {
        let fnv = |hash: u64, byte: u64| (hash ^ black_box(byte)).wrapping_mul(0x100_0000_01b3);
        black_box((0..ROUND).fold(0xcbf2_9ce4_8422_2325, fnv));
    }
}

fn processor_time() -> Duration {
    clock(Clock::Thread)
}

enum Clock {
    Thread,
    Monotonic,
}

#[cfg(unix)]
fn clock(clock: Clock) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = match clock {
        Clock::Thread => libc::CLOCK_THREAD_CPUTIME_ID,
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
    };
    // SAFETY: the clock is written to a timespec of ours.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn clock(_: Clock) -> Duration {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Ignores what would end us, or sends a signal to ourselves.
fn signals(deaf: bool, send: i32) {
    #[cfg(unix)]
    // SAFETY: SIG_IGN runs no code, raise takes a number; signal 0 is none.
    unsafe {
        if deaf {
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
        }
        libc::raise(send);
    }
    #[cfg(not(unix))]
    let _ = (deaf, send);
}
