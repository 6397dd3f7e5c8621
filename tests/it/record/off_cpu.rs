//! `--off-cpu`: where threads are blocked, and for how long.

use super::*;

/// Prints for how many nanoseconds it did not run in `nap`, and in `burn`, at most.
const NAP_AND_BURN: &str = r"
#include <stdio.h>
#include <time.h>
__attribute__((noinline)) void nap(void) {
    struct timespec left = { 0, 300000000 };
    while (nanosleep(&left, &left)) {}
}
__attribute__((noinline)) void burn(void) {
    struct timespec used;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < 300);
}
static long now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}
int main() {
    long start = now(CLOCK_MONOTONIC);
    nap();
    long middle = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
    burn();
    long end = now(CLOCK_MONOTONIC);
    used = now(CLOCK_PROCESS_CPUTIME_ID) - used;
    printf(`%ld %ld\n`, middle - start, end - middle - used);
    return 0;
}
";

const IDLE: &str = r"
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
__attribute__((noinline)) void *waiter(void *none) {
    pthread_mutex_lock(&mutex);
    for (;;) pthread_cond_wait(&never, &mutex);
    return none;
}
__attribute__((noinline)) void *poller(void *none) { poll(0, 0, -1); return none; }
int main(int count, char **x) {
    pthread_t a, b;
    pthread_create(&a, 0, waiter, 0);
    pthread_create(&b, 0, poller, 0);
    if (count > 1) pause();
    usleep(400000);
    _exit(0);
}
";

/// Compiles `source`, records it, and returns what it printed. `None`, with a message, if switches
/// cannot be recorded.
fn recorded(test: &str, dir: &Dir, source: &str, options: &[&str]) -> Option<String> {
    if !can_record(test) {
        return None;
    }
    dir.write("it.c", source.replace('`', "\""));
    dir.cmd("cc").args(["-g", "-pthread", "-o", "it", "it.c"]).run().success();
    let outcome =
        dir.cmd("fg-record").args(["--off-cpu", "-o", "x"]).args(options).arg("./it").run();
    if outcome.stderr.contains_str("needs kernel events, which") {
        cannot_run(test, "the kernel is off limits here");
        return None;
    }
    assert!(outcome.stderr.contains_str("in nanoseconds, too"), "{}", outcome.stderr);
    Some(outcome.stdout.to_string())
}

/// The milliseconds of stacks that begin with `root` and have `function`.
fn ms(folded: &str, root: &str, function: &str) -> u64 {
    let weight = |line: &str| {
        let (stack, weight) = line.rsplit_once(' ')?;
        let mut frames = stack.split(';');
        (frames.next() == Some(root) && frames.any(|frame| frame == function))
            .then(|| weight.parse::<u64>().unwrap())
    };
    folded.lines().filter_map(weight).sum::<u64>() / 1_000_000
}

#[test]
fn time_on_and_off_the_processor_have_their_shares() {
    let dir = Dir::new();
    let test = "time_on_and_off_the_processor_have_their_shares";
    let Some(said) = recorded(test, &dir, NAP_AND_BURN, &[]) else { return };
    let mut most = said.split_whitespace().map(|word| word.parse::<u64>().unwrap() / 1_000_000);
    let napped = most.next().unwrap();
    let rest = most.next().unwrap();
    let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
    let [off, on] =
        [("off-cpu", "nap"), ("on-cpu", "burn")].map(|(root, it)| ms(&folded, root, it));
    // A thread that could run again may have to wait for its turn.
    assert!((299..=napped).contains(&off) && (270..330).contains(&on), "{off} {on}\n{folded}");
    assert!(ms(&folded, "on-cpu", "nap") < 20, "{folded}");
    assert!(ms(&folded, "off-cpu", "burn") <= rest, "{rest} {folded}");
    let nap = folded.lines().find(|line| line.contains(";nap;")).unwrap();
    assert!(nap.starts_with("off-cpu;it;_start;") && nap.contains(";main;nap;"), "{nap}");
    // Each event for itself.
    for (event, at_least) in [("off-cpu", 299), ("cpu-clock", 270)] {
        let alone = dir.cmd("fg-fold").args(["--event-filter", event, "x"]).stdout().to_string();
        assert!(ms(&alone, "it", "main") >= at_least, "{alone}");
    }
    if perf_works("time_on_and_off_the_processor_have_their_shares (perf)") {
        let text = dir.cmd("perf").args(["script", "-F", "comm,event,period", "-i", "x"]).stdout();
        let nap = text.lines().filter(|line| line.contains_str("off-cpu:"));
        let longest = nap.filter_map(|line| line.fields().nth(1)?.to_str().ok()?.parse().ok());
        assert!(longest.max().unwrap_or(0u64) > 299_000_000, "{text}");
    }
}

#[test]
fn the_pipeline_and_flamegraph_draw_the_same_in_nanoseconds() {
    let test = "the_pipeline_and_flamegraph_draw_the_same_in_nanoseconds";
    let dir = Dir::new();
    let options = ["--call-graph", "dwarf,8192"];
    let Some(_) = recorded(test, &dir, NAP_AND_BURN, &options) else { return };
    dir.cmd("flamegraph").args(["--perfdata", "x", "-o", "one.svg"]).run().success();
    let folded = dir.cmd("fg-fold").arg("x").stdout();
    let svg = dir.cmd("fg-render").args(["--minwidth", "0.01"]).stdin(&folded).stdout();
    assert_eq!(svg, dir.read("one.svg"));
    let text = dir.cmd("fg-script").arg("x").stdout();
    assert_eq!(dir.cmd("fg-fold").stdin(&text).stdout(), folded);
    assert!(svg.contains_str("<title>off-cpu (") && svg.contains_str("s, "), "{svg}");
    let words = ["--countname", "time"];
    assert!(dir.cmd("fg-render").args(words).stdin(&folded).stdout().contains_str(" time, "));
    let live = ["--off-cpu", "-o", "live.svg", "./it"];
    dir.cmd("flamegraph").args(live).run().success();
    assert!(dir.read("live.svg").contains_str("<title>off-cpu ("));
    assert!(dir.read("live.svg").contains_str(">it · "));
}

#[test]
fn threads_that_never_come_back_are_counted_to_the_end() {
    let dir = Dir::new();
    let test = "threads_that_never_come_back_are_counted_to_the_end";
    for options in [&["--call-graph", "fp"][..], &[]] {
        let Some(_) = recorded(test, &dir, IDLE, options) else { return };
    }
    let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
    // main naps for 400 ms; on a busy machine the others begin to wait later.
    for (function, least) in [("main", 399), ("waiter", 1), ("poller", 1)] {
        let off = ms(&folded, "off-cpu", function);
        assert!(off >= least, "{function}: {off}\n{folded}");
    }
    // All three wait for ever; on a busy machine it may take a while until they do.
    let mut seconds = 0.1;
    loop {
        let limited = ["--off-cpu", "--duration", &format!("{seconds}"), "-o", "x", "./it", "x"];
        dir.cmd("fg-record").args(limited).run().success();
        let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
        if ["main", "waiter", "poller"].iter().all(|it| ms(&folded, "off-cpu", it) > 0) {
            return;
        }
        seconds *= 2.0;
    }
}

#[test]
fn what_off_cpu_cannot_go_with_is_said_with_the_remedy() {
    let dir = Dir::new();
    let refused = |options: &[&str]| {
        let outcome = dir.cmd("fg-record").args(["--off-cpu", "-o", "x"]).args(options).arg("true");
        outcome.env("PERF", "").run().code(1)
    };
    refused(&["--backend", "perf"]).says("omit --backend perf");
    refused(&["-e", "cycles"]).says("use cpu-clock or task-clock");
    refused(&["--raw-stacks"]).says("omit --raw-stacks");
    assert!(dir.names().is_empty());
    let test = "what_off_cpu_cannot_go_with_is_said_with_the_remedy";
    let nobody = ["--reuid=65534", "--clear-groups", "--"];
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if level.trim() != "2" {
        return cannot_run(test, "kernel.perf_event_paranoid is not 2");
    }
    if !Command::new("setpriv").args(nobody).arg("true").status().is_ok_and(|s| s.success()) {
        return cannot_run(test, "it needs root, to become nobody");
    }
    // Nobody may not look into the folder that we were built in.
    std::fs::copy(bin("fg-record"), dir.path("fg-record")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(""), open).unwrap();
    let outcome = dir.cmd("setpriv").args(nobody).args(["./fg-record", "--off-cpu", "echo", "ran"]);
    let outcome = outcome.run().code(1).says("sudo sysctl kernel.perf_event_paranoid=1");
    assert_eq!(outcome.stdout, "", "neither a recording nor the workload");
}
