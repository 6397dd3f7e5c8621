//! The kernel's own sampling: what is promised of it beyond what perf does.

use std::collections::BTreeSet;

use super::*;

/// Records with fg-record, with its defaults.
fn recorded(dir: &Dir, args: &[&str]) -> BString {
    dir.cmd("fg-record").args(["-o", "x"]).args(args).run();
    dir.read("x")
}

fn folded(dir: &Dir, args: &[&str]) -> Vec<(String, u64)> {
    let folded = dir.cmd("fg-fold").args(["-q"]).args(args).arg("x").stdout().to_string();
    let line = |line: &str| {
        let (stack, weight) = line.rsplit_once(' ')?;
        Some((stack.to_owned(), weight.parse().ok()?))
    };
    folded.lines().filter_map(line).collect()
}

fn weight(stacks: &[(String, u64)], of: impl Fn(&str) -> bool) -> f64 {
    let sum =
        |stacks: &mut dyn Iterator<Item = &(String, u64)>| stacks.map(|(_, n)| n).sum::<u64>();
    100.0 * sum(&mut stacks.iter().filter(|(stack, _)| of(stack))) as f64
        / sum(&mut stacks.iter()).max(1) as f64
}

#[test]
fn nothing_is_lost_and_little_is_written() {
    if !can_record("nothing_is_lost_and_little_is_written") {
        return;
    }
    let dir = Dir::new();
    let recording = recorded(&dir, &["-F", "997", burn().to_str().unwrap(), "--ms", "600"]);
    let samples = samples(&dir, &recording);
    // Two threads, each of which uses 600 ms.
    let expected = 2.0 * 0.6 * 997.0;
    assert!((samples as f64 / expected - 1.0).abs() < 0.03, "{samples} samples, not {expected}");
    let size = recording.len() / samples;
    assert!(size < 350, "{size} bytes a sample");
    let outcome = dir.cmd("fg-fold").arg("x").run().success();
    assert!(!outcome.stderr.contains_str("lost"), "{}", outcome.stderr);
    let stacks = folded(&dir, &[]);
    let rooted = weight(&stacks, |stack| stack.contains(";_start;") || stack.contains(";clone3;"));
    assert!(rooted >= 99.0, "{rooted} % reach a root");
}

/// The kernel copies 64 KB of it at most.
#[test]
fn a_stack_that_is_too_large_to_copy_has_its_root() {
    if !can_record("a_stack_that_is_too_large_to_copy_has_its_root") {
        return;
    }
    let dir = Dir::new();
    recorded(&dir, &[burn().to_str().unwrap(), "--ms", "400", "--deep"]);
    let stacks = folded(&dir, &[]);
    let deep = |stack: &str| stack.contains("large_frame");
    assert!((weight(&stacks, deep) - 50.0).abs() < 5.0, "{} %", weight(&stacks, deep));
    let whole =
        weight(&stacks, |stack| deep(stack) && stack.starts_with("hasher;clone3;start_thread;"));
    let all = weight(&stacks, deep);
    // The thread may have ended in the last tenth of a second.
    assert!(whole > 0.7 * all, "{whole} of {all} %");
    let mixed = |stack: &str| stack.contains("hot_hash") && !deep(stack);
    assert_eq!(weight(&stacks, mixed), 0.0);
    recorded(&dir, &["--raw-stacks", burn().to_str().unwrap(), "--ms", "100", "--deep"]);
    let stacks = folded(&dir, &[]);
    assert_eq!(weight(&stacks, |stack| deep(stack) && !stack.contains("[truncated]")), 0.0);
}

#[test]
fn perf_reads_the_same_stacks() {
    if !perf_works("perf_reads_the_same_stacks") {
        return;
    }
    for program in
        [&[burn().to_str().unwrap(), "--ms", "200"][..], &["python3", "-c", "sum(range(5000000))"]]
    {
        let dir = Dir::new();
        recorded(&dir, program);
        let names = |line: &(String, u64)| {
            // perf 6.1 does not name some stubs, and does not know our mark of a truncated stack.
            let frame = |frame: &str| match frame {
                _ if frame.ends_with("@plt") => "@plt".to_owned(),
                "[truncated]" => "[unknown]".to_owned(),
                _ => frame.to_owned(),
            };
            (line.0.split(';').map(frame).collect::<Vec<_>>().join(";"), line.1)
        };
        let sums = |backend: &str| {
            let mut sums = std::collections::BTreeMap::new();
            let options = ["--no-inline", "--perf-compat", "--backend", backend];
            for (stack, weight) in folded(&dir, &options).iter().map(names) {
                *sums.entry(stack).or_insert(0) += weight;
            }
            sums
        };
        let ours = sums("native");
        let perfs = sums("perf");
        let same = |(stack, &weight): (&String, &u64)| weight.min(*ours.get(stack).unwrap_or(&0));
        let same: u64 = perfs.iter().map(same).sum();
        let all: u64 = perfs.values().sum();
        assert!(all > 0 && same as f64 >= 0.999 * all as f64, "{program:?}: {same} of {all}");
        let report = dir.cmd("perf").args(["report", "--stdio", "-i", "x"]).stdout();
        assert!(report.contains_str("of event 'c"), "{report}");
    }
}

#[test]
fn threads_that_come_and_go_are_all_there() {
    if !can_record("threads_that_come_and_go_are_all_there") {
        return;
    }
    let dir = Dir::new();
    let mut churn = Command::new(burn());
    churn.args(["--churn", "200", "--ms", "5800"]).stdout(Stdio::piped());
    let mut churn = churn.spawn().unwrap();
    let mut said = std::io::BufReader::new(churn.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut said, &mut first).unwrap();
    // A thread uses 4 ms in pieces; a piece below a period may have no sample. At 997 Hz one thread
    // in 500 has a single sample, and now and then one has none; at 4000 Hz each has nine or more.
    let often = ["-F", "4000", "--call-graph", "fp", "--duration", "5", "-p"];
    let recording = recorded(&dir, &[&often[..], &[&churn.id().to_string()]].concat());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    churn.wait().unwrap();
    let mut seen = BTreeSet::new();
    let mut times = Vec::new();
    for stack in stacks(&dir, &recording) {
        seen.insert(stack.split_whitespace().next().unwrap().to_owned());
        times.push(time(&stack));
    }
    let first = times[0];
    let last = times[times.len() - 1];
    let mut threads = 0;
    for line in rest.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let second = |word: &str| word.parse::<f64>().unwrap() / 1e9;
        if second(words[1]) > first && second(words[2]) < last {
            threads += 1;
            assert!(seen.contains(words[0]), "{} is not there", words[0]);
        }
    }
    assert!(threads > 20, "{threads} threads came and went");
    assert!(seen.iter().all(|comm| comm.starts_with("churn-") || comm == "burn"), "{seen:?}");
}

#[test]
fn short_children_have_their_names() {
    if !can_record("short_children_have_their_names") {
        return;
    }
    let dir = Dir::new();
    let loops = "i=0; while [ $i -lt 500 ]; do /bin/echo $i; i=$((i + 1)); done >/dev/null";
    recorded(&dir, &["-F", "4000", "sh", "-c", loops]);
    let stacks = folded(&dir, &[]);
    let named = |name: &str| weight(&stacks, |stack| stack.split(';').next() == Some(name));
    // The shell itself has little to do.
    assert!(named("echo") > 50.0, "{} % in echo", named("echo"));
    assert!(named("echo") + named("sh") > 99.9, "{stacks:?}");
}

#[test]
fn every_end_of_a_workload() {
    if !can_record("every_end_of_a_workload") {
        return;
    }
    let dir = Dir::new();
    let run = |script: &str| dir.cmd("fg-record").args(["-o", "x", "sh", "-c", script]).run();
    run("exit 0").success();
    // The recorder does not wait for processes in the background.
    let outcome = run("sleep 600 >/dev/null 2>&1 & echo $!; exit 3").code(3);
    kill("KILL", outcome.stdout.to_str_lossy().trim().parse().unwrap(), false);
    run(&format!("exec {} --ms 50 --exit 5", burn().display())).code(5);
    assert!(samples(&dir, &dir.read("x")) > 80);
}

#[test]
fn a_recording_ends_after_its_duration() {
    if !can_record("a_recording_ends_after_its_duration") {
        return;
    }
    let dir = Dir::new();
    let limited = |seconds: f64, workload: &[&str]| {
        let cmd = dir.cmd("fg-record").args(["-o", "x", "--duration", &seconds.to_string()]);
        cmd.args(workload).run()
    };
    // Its own end has another status.
    let burn = burn().to_str().unwrap();
    limited(0.3, &[burn, "--ms", "20000", "--exit", "9"]).success();
    assert!(samples(&dir, &dir.read("x")) > 0, "what was recorded until then is there");
    let own = "trap 'exit 7' INT; echo ready; while :; do :; done";
    // On a busy machine it may take a while until it is ready.
    let times = std::iter::successors(Some(0.3), |seconds| Some(2.0 * seconds));
    let mut ends = times.map(|seconds| limited(seconds, &["sh", "-c", own]));
    ends.find(|outcome| outcome.stdout == "ready\n").unwrap().code(7);
}

#[test]
fn a_recording_begins_after_its_delay() {
    if !can_record("a_recording_begins_after_its_delay") {
        return;
    }
    let dir = Dir::new();
    let times = |options: &[&str]| -> Vec<f64> {
        let workload = [burn().to_str().unwrap(), "--ms", "400"];
        dir.cmd("fg-record").args(["-o", "x"]).args(options).args(workload).run().success();
        stacks(&dir, &dir.read("x")).iter().map(|stack| time(stack)).collect()
    };
    let before = times(&[]);
    let late = times(&["--delay", "200"]);
    // All clocks are one.
    assert!(late[0] > before.last().unwrap() + 0.2, "{} and {}", before.last().unwrap(), late[0]);
    assert!(late.len() > 50, "{} samples", late.len());
    let stacks = folded(&dir, &[]);
    let hot = weight(&stacks, |stack| stack.contains("burn::hot_"));
    assert!(hot > 95.0, "{hot} % have names: maps were told before samples");
}

/// The time of a sample, in seconds: `comm 1/2 [000] 3.14: …`.
fn time(stack: &str) -> f64 {
    let word = stack.split_whitespace().nth(3).unwrap();
    word.trim_end_matches(':').parse().unwrap()
}

#[test]
fn what_only_perf_can_do_it_does() {
    if !perf_works("what_only_perf_can_do_it_does") {
        return;
    }
    let dir = Dir::new();
    let groups = ["-e", "{cpu-clock,task-clock}:S", "-o", "x", "true"];
    dir.cmd("fg-record").args(groups).run().success().says("recording with perf");
}

#[test]
fn how_stacks_are_captured_is_said() {
    if !can_record("how_stacks_are_captured_is_said") {
        return;
    }
    let dir = Dir::new();
    let outcome = dir.cmd("fg-record").args(["--call-graph", "lbr", "-o", "y", "true"]).run();
    if outcome.stderr.contains_str("does not record branches") {
        outcome.code(1).says("--call-graph dwarf");
        assert!(dir.names().is_empty());
    }
    let auto = ["--call-graph", "auto", "-o", "x", "true"];
    dir.cmd("fg-record")
        .args(auto)
        .run()
        .success()
        .says("copying stacks (dwarf) instead of following frame pointers");
    let quiet = dir.cmd("fg-record").arg("-q").args(auto).run().success();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_period_is_that_of_events_of_software_too() {
    if !can_record("a_period_is_that_of_events_of_software_too") {
        return;
    }
    let dir = Dir::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done";
    let record = |period: &str, mode: &str| {
        let how = ["-e", "page-faults", "--period", period, "--call-graph", mode, "-o", "x"];
        dir.cmd("fg-record").args(how).args(["sh", "-c", script]).run().success();
        let text = dir.cmd("fg-script").args(["-q", "x"]).stdout();
        let periods = text.lines().filter(|line| line.contains_str(" page-faults:"));
        let periods: Vec<u64> = periods
            .map(|line| {
                Vec::from_iter(line.fields())
                    .iter()
                    .rev()
                    .nth(1)
                    .unwrap()
                    .to_str_lossy()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(samples(&dir, &dir.read("x")), periods.len(), "{mode}");
        periods
    };
    // Chains of all of them have room in a ring, however late it is emptied; copied stacks do not.
    let each = record("1", "fp");
    assert!(each.iter().all(|&period| period == 1));
    for mode in ["dwarf", "fp"] {
        let tenths = record("10", mode);
        assert!(tenths.iter().all(|&period| period == 10), "{mode}");
        // The rest of a period is lost with each process and CPU: of about 50 faults of `true`, 5
        // on average.
        let share = 10.0 * tenths.len() as f64 / each.len() as f64;
        assert!((0.6..1.1).contains(&share), "{mode}: {} and {}", each.len(), tenths.len());
    }
}

#[test]
fn what_is_redirected_into_a_file_is_one_and_what_is_piped_a_stream() {
    if !can_record("what_is_redirected_into_a_file_is_one") {
        return;
    }
    let dir = Dir::new();
    let record = bin("fg-record");
    let burn = burn();
    let to = |rest: &str| {
        let line = format!("{} {} --ms 50 {rest}", record.display(), burn.display());
        dir.cmd("sh").args(["-c", &line]).run().success();
    };
    // The size of the header distinguishes them, see perf_data/header.rs.
    let header = |file: &str| dir.read(file)[8..16].to_vec();
    to("> x");
    to("| cat > piped");
    to("> twice; cp twice once; echo behind >> twice");
    assert_eq!(header("x"), 104_u64.to_ne_bytes());
    assert_eq!(header("piped"), 16_u64.to_ne_bytes());
    assert_eq!(dir.read("twice"), [dir.read("once"), "behind\n".into()].concat());
    for file in ["x", "piped"] {
        assert!(samples(&dir, &dir.read(file)) > 80, "{file}");
    }
    // Existing text stays, and the recording is a stream behind it.
    to("> y; echo before > z");
    let line = format!("{{ cat y; {} true; }} > z", record.display());
    dir.cmd("sh").args(["-c", &line]).run().success();
    assert!(dir.read("z").starts_with(&dir.read("y")));
}

/// Runs a command with perf_event_open refused, as containers do.
const SECCOMP: &str = r#"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_perf_event_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { 4, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    execvp(argv[1], argv + 1);
    return 98;
}
"#;

#[test]
fn a_container_that_forbids_it_is_told_apart() {
    let dir = Dir::new();
    dir.write("deny.c", SECCOMP);
    dir.cmd("cc").args(["-o", "deny", "deny.c"]).run().success();
    let fg_record = bin("fg-record");
    let mark = ["sh", "-c", "echo ran"];
    let outcome = dir.cmd("./deny").arg(fg_record).args(["-o", "x"]).args(mark).run();
    if outcome.status.code() == Some(99) {
        return cannot_run("a_container_that_forbids_it_is_told_apart", "no seccomp here");
    }
    let outcome = outcome.code(1).says("the kernel refuses to record").says("seccomp profile");
    assert_eq!(outcome.stdout, "", "the workload has not begun");
    assert_eq!(dir.names(), ["deny", "deny.c"]);
}

/// As under --root: the recorder sees the kernel's addresses, the reader does not.
#[test]
fn the_kernels_functions_are_named_for_who_may_not_see_them() {
    let test = "the_kernels_functions_are_named_for_who_may_not_see_them";
    if !can_record(test) {
        return;
    }
    let seen = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    if seen.lines().all(|line| line.starts_with("0000000000000000")) {
        return cannot_run(test, "only root may see the addresses of the kernel");
    }
    let dir = Dir::new();
    let hidden = dir.write("hidden", "0000000000000000 T _text\n0000000000000000 T f\n");
    let workload = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64k", "count=60000"];
    for option in [&[][..], &["--kernel-symbols"]] {
        recorded(&dir, &[option, &workload].concat());
        let script = dir.cmd("fg-script").arg("--kallsyms").arg(&hidden).arg("x").run().success();
        let is_kernels = |line: &&str| line.ends_with("([kernel.kallsyms])");
        let lines = script.stdout.to_string();
        let (named, bare): (Vec<&str>, Vec<&str>) =
            lines.lines().filter(is_kernels).partition(|line| !line.contains("[unknown]"));
        let told = !option.is_empty();
        assert_eq!((named.len() > 100, bare.len() > 100), (told, !told), "{option:?}");
        assert!(!told || named.iter().any(|line| line.contains(" read_zero+0x")), "{lines}");
        assert_eq!(script.stderr.contains_str("--kernel-symbols"), !told, "{}", script.stderr);
    }
    if perf_works("the_kernels_functions_are_named_for_who_may_not_see_them (perf)") {
        // perf calls the module of each by its own name.
        let perfs = dir.cmd("perf").args(["script", "--kallsyms=hidden", "-i", "x"]).stdout();
        assert!(perfs.contains_str(" (read_zero)\n"), "{perfs}");
    }
}

/// With one event, and with two, where the other one is first, text and stacks between them.
#[test]
fn recordings_and_threads_fold_as_one() {
    if !can_record("recordings_and_threads_fold_as_one") {
        return;
    }
    let dir = Dir::new();
    for (output, events) in [
        ("a", "cpu-clock"),
        ("b", "page-faults,cpu-clock"),
        ("c", "cpu-clock"),
        ("d", "page-faults"),
    ] {
        let record = dir.cmd("fg-record").args(["-q", "-e", events, "-o", output]).arg(burn());
        record.args(["--ms", "60"]).run().success();
    }
    // Ends in the middle of a record.
    let whole = dir.read("c");
    dir.write("cut", &whole[..whole.len() / 2 + 3]);
    dir.write("text", "app 7 1.5: 10 cpu-clock: \n\t              10 f (/a)\n\n");
    dir.write("folded", "app;other 5\n");
    let fold = |threads: &str, inputs: &[&str]| {
        let run = dir.cmd("fg-fold").args(["-n", threads]).args(inputs).run().success();
        (run.stdout, run.stderr)
    };
    // There are few page faults, and many samples of the clock.
    for (inputs, least) in [
        (&["a", "b", "cut", "d"][..], 1),
        (&["b", "a", "c"], 1),
        (&["d", "text", "a", "c", "folded", "b"], 1),
        (&["--event-filter", "all", "a", "b", "cut", "d"], 20),
    ] {
        let one = fold("1", inputs);
        assert!(one.0.lines().count() > least, "{}", one.0);
        assert_eq!(one, fold("2", inputs), "{inputs:?}");
        assert_eq!(one, fold("7", inputs), "{inputs:?}");
    }
}
