//! `--off-cpu`: where threads are blocked, and for how long.

use super::*;

const NAP_AND_BURN: &str = r"
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
int main() { nap(); burn(); return 0; }
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
int main() {
    pthread_t a, b;
    pthread_create(&a, 0, waiter, 0);
    pthread_create(&b, 0, poller, 0);
    usleep(400000);
    _exit(0);
}
";

/// Compiles `source` and records it; false, once that is said, where switches cannot be recorded.
fn recorded(test: &str, dir: &Dir, source: &str, options: &[&str]) -> bool {
    if !can_record(test) {
        return false;
    }
    dir.write("it.c", source);
    dir.cmd("cc").args(["-g", "-pthread", "-o", "it", "it.c"]).run().success();
    let outcome =
        dir.cmd("fg-record").args(["--off-cpu", "-o", "x"]).args(options).arg("./it").run();
    if outcome.stderr.contains_str("needs kernel events, which") {
        cannot_run(test, "the kernel is off limits here");
        return false;
    }
    assert!(outcome.stderr.contains_str("in nanoseconds, too"), "{}", outcome.stderr);
    true
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
    if !recorded("time_on_and_off_the_processor_have_their_shares", &dir, NAP_AND_BURN, &[]) {
        return;
    }
    let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
    let [off, on] =
        [("off-cpu", "nap"), ("on-cpu", "burn")].map(|(root, it)| ms(&folded, root, it));
    // A thread that could run again may have to wait for its turn.
    assert!((299..600).contains(&off) && (270..330).contains(&on), "{off} {on}\n{folded}");
    assert!(ms(&folded, "on-cpu", "nap") < 20 && ms(&folded, "off-cpu", "burn") < 200, "{folded}");
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
    if !recorded(test, &dir, NAP_AND_BURN, &["--call-graph", "dwarf,8192"]) {
        return;
    }
    dir.cmd("flamegraph").args(["--perfdata", "x", "-o", "one.svg"]).run().success();
    let folded = dir.cmd("fg-fold").arg("x").stdout();
    let svg = dir.cmd("fg-render").args(["--minwidth", "0.01"]).stdin(&folded).stdout();
    assert_eq!(svg, dir.read("one.svg"));
    let text = dir.cmd("fg-script").arg("x").stdout();
    assert_eq!(dir.cmd("fg-fold").stdin(&text).stdout(), folded);
    assert!(svg.contains_str("<title>off-cpu (") && svg.contains_str(" ns, "), "{svg}");
    let words = ["--countname", "time"];
    assert!(dir.cmd("fg-render").args(words).stdin(&folded).stdout().contains_str(" time, "));
    let live = ["--off-cpu", "-o", "live.svg", "./it"];
    dir.cmd("flamegraph").args(live).run().success();
    assert!(dir.read("live.svg").contains_str("<title>off-cpu ("));
    assert!(dir.read("live.svg").contains_str(">Flame Graph (ns)<"));
}

#[test]
fn threads_that_never_come_back_are_counted_to_the_end() {
    let dir = Dir::new();
    let test = "threads_that_never_come_back_are_counted_to_the_end";
    if !recorded(test, &dir, IDLE, &["--call-graph", "fp"]) || !recorded(test, &dir, IDLE, &[]) {
        return;
    }
    let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
    // main naps for 400 ms, when the others were started; on a busy machine they begin to wait
    // later.
    for (function, least) in [("main", 399), ("waiter", 100), ("poller", 100)] {
        let off = ms(&folded, "off-cpu", function);
        assert!(off >= least, "{function}: {off}\n{folded}");
    }
    let limited = ["--off-cpu", "--duration", "0.1", "-o", "x", "./it"];
    dir.cmd("fg-record").args(limited).run().success();
    let folded = dir.cmd("fg-fold").arg("x").stdout().to_string();
    let off = ms(&folded, "off-cpu", "poller");
    assert!((1..390).contains(&off), "{off}\n{folded}");
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
