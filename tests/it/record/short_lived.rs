//! Threads that end before their first sample: told, and seen by `--per-cpu`.

use super::*;

/// 20 ms that are surely sampled, then rounds of two threads: one uses 0.3 ms, the other 0.1.
/// Prints what all of them used, in nanoseconds.
const PROGRAM: &str = r"
#include <pthread.h>
#include <stdio.h>
#include <time.h>
static volatile unsigned long sum;
static long used(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000000000l + t.tv_nsec; }
static void spin(long ns) {
    long end = used(CLOCK_THREAD_CPUTIME_ID) + ns;
    do { for (int i = 0; i < 5000; i++) sum += i; } while (used(CLOCK_THREAD_CPUTIME_ID) < end);
}
static void *three(void *x) { spin(300000); return x; }
static void *one(void *x) { spin(100000); return x; }
int main(void) {
    spin(20000000);
    for (int i = 0; i < 2000; i++) {
        pthread_t a, b;
        pthread_create(&a, 0, three, 0);
        pthread_create(&b, 0, one, 0);
        pthread_join(a, 0);
        pthread_join(b, 0);
    }
    printf(`%ld\n`, used(CLOCK_PROCESS_CPUTIME_ID));
}
";

/// Compiles a program. Returns false, with a message, if that is impossible.
pub fn compiled(dir: &Dir, test: &str, program: &str) -> bool {
    let source = dir.write("program.c", program.replace('`', "\""));
    let options = ["-O1", "-fno-omit-frame-pointer", "-pthread", "-o", "program"];
    let cc = Command::new("cc").current_dir(dir.path(".")).args(options).arg(source).output();
    match cc {
        Ok(output) if output.status.success() => return true,
        Ok(output) => cannot_run(test, &output.stderr.to_str_lossy()),
        Err(error) => cannot_run(test, &format!("no cc: {error}")),
    }
    false
}

const TOLD: &str =
    "of processor time was sampled: threads that end within a sampling interval are missed";

#[test]
fn what_is_too_short_to_be_sampled_is_told() {
    let dir = Dir::new();
    let test = "what_is_too_short_to_be_sampled_is_told";
    if !can_record(test) || !compiled(&dir, test, PROGRAM) {
        return;
    }
    let options = ["-e", "cpu-clock", "--"];
    // A stream reports it as a file does. On a busy machine nothing at all may be sampled.
    let is_empty =
        |recording: &str| dir.cmd("fg-fold").arg(recording).run().status.code() == Some(1);
    loop {
        let stream = dir.cmd("fg-record").args(options).arg("./program").run().success().stdout;
        dir.write("stream", stream);
        dir.cmd("fg-record").args(["-o", "file"]).args(options).arg("./program").run().success();
        if !is_empty("stream") && !is_empty("file") {
            break;
        }
    }
    for recording in ["stream", "file"] {
        dir.cmd("fg-fold").args(["--strict", recording]).run().code(3).says(TOLD);
    }
    dir.cmd("flamegraph").args(["--perfdata", "file", "-o", "x.svg"]).run().success().says(TOLD);
    // No advice for a program that lives long, nor for one without samples of the kernel, which
    // would show it.
    let burn = burn().to_str().unwrap();
    for (event, command) in
        [("cpu-clock", &[burn, "--ms", "300"][..]), ("cpu-clock:u", &["./program"])]
    {
        let options = ["-o", "file", "-e", event, "--"];
        dir.cmd("fg-record").args(options).args(command).run().success();
        let said = dir.cmd("fg-fold").arg("file").run().stderr;
        assert!(!said.contains_str("processor time"), "{event}: {said}");
    }
}

#[test]
fn recordings_of_processors_see_them() {
    let dir = Dir::new();
    let test = "recordings_of_processors_see_them";
    if !can_record(test) || !compiled(&dir, test, PROGRAM) {
        return;
    }
    let options = ["-o", "file", "--per-cpu", "-e", "cpu-clock", "--"];
    let outcome = dir.cmd("fg-record").args(options).arg("./program").run();
    if outcome.status.code() != Some(0) {
        return cannot_run(test, &outcome.stderr.to_str_lossy());
    }
    let used: f64 = outcome.stdout.to_str_lossy().trim().parse().unwrap();
    let folded = dir.cmd("fg-fold").args(["-q", "file"]).stdout().to_string();
    let weight = |part: &str| -> f64 {
        let lines = folded.lines().filter(|line| line.contains(part) && !line.starts_with('#'));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let comms: Vec<&str> = folded.lines().filter_map(|line| line.split(';').next()).collect();
    let is_ours = |comm: &&str| ["program", "fg-record"].contains(comm) || comm.starts_with('#');
    assert!(comms.iter().all(is_ours), "{comms:?}");
    let share = weight("") / used;
    assert!((0.75..1.25).contains(&share), "{share} of the processor time");
    let ratio = weight(";three;") / weight(";one;");
    assert!((2.0..4.5).contains(&ratio), "{ratio} to one instead of three");
}
