//! Code that is made at run time, in a graph that is drawn while it runs.

use super::*;

/// Runs its generated code for 0.6 s, and then writes its name, as Java does.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    unsigned char* code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, "\xb9\x00\x00\x10\x00\xff\xc9\x75\xfc\xc3", 10); /* mov $0x100000,%ecx; 1: dec %ecx; jnz 1b; ret */
    struct timespec used;
    do {
        ((void (*)(void))code)();
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_nsec < 600000000 && used.tv_sec == 0);
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE* map = fopen(path, "w");
    fprintf(map, "%lx 10 made_at_run_time\n", (unsigned long)code);
    fclose(map);
    puts(path);
}
"#;

#[test]
fn what_is_told_at_the_end_names_what_came_before() {
    let dir = Dir::new();
    let test = "what_is_told_at_the_end_names_what_came_before";
    if !can_record(test) {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        return cannot_run(test, "its machine code is for x86-64");
    }
    dir.write("it.c", PROGRAM);
    dir.cmd("cc").args(["-O1", "-o", "it", "it.c"]).run().success();
    // This frequency gives several batches.
    let drawn = dir.cmd("flamegraph").args(["-F", "4000", "-o", "x.svg", "./it"]).run().success();
    let map = drawn.stdout.trim().to_path().unwrap();
    check(&dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout());
    std::fs::remove_file(map).unwrap();
    // Standard output is the stream's, and the workload's goes to stderr.
    let record = bin("fg-record");
    let fold = bin("fg-fold");
    let pipe = format!("{} -q -F 4000 ./it 2>map | {} -q", record.display(), fold.display());
    check(&dir.cmd("sh").args(["-c", &pipe]).stdout());
    std::fs::remove_file(dir.read("map").trim().to_path().unwrap()).unwrap();
}

/// Runs what it made at run time for 0.3 s, after it has written a map of that as `MAP` says.
const MAPPED: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int count, char** arguments) {
    unsigned char* code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, "\xb9\x00\x00\x10\x00\xff\xc9\x75\xfc\xc3", 10); /* mov $0x100000,%ecx; 1: dec %ecx; jnz 1b; ret */
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    if (count > 1) {
        FILE* map = fopen(path, "w");
        fprintf(map, "%lx 10 made_at_run_time\n", (unsigned long)code);
        fclose(map);
        struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
        if (!strcmp(arguments[1], "old")) utimensat(AT_FDCWD, path, old, 0);
        puts(path);
        fflush(stdout);
    }
    for (struct timespec used = {0, 0}; used.tv_nsec < 300000000 && used.tv_sec == 0;) {
        ((void (*)(void))code)();
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    }
}
"#;

/// Compiles [`MAPPED`] as a program called `name`. Returns false, with a message, if it cannot run.
fn mapped(dir: &Dir, test: &str, name: &str) -> bool {
    if !can_record(test) {
        return false;
    }
    if !cfg!(target_arch = "x86_64") {
        cannot_run(test, "its machine code is for x86-64");
        return false;
    }
    dir.write("it.c", MAPPED.replace("<sys/stat.h>", "<sys/stat.h>\n#include <fcntl.h>"));
    dir.cmd("cc").args(["-O1", "-o", name, "it.c"]).run().success();
    true
}

#[test]
fn a_map_is_believed_only_if_it_is_not_older_than_its_process() {
    let dir = Dir::new();
    let test = "a_map_is_believed_only_if_it_is_not_older_than_its_process";
    if !mapped(&dir, test, "it") {
        return;
    }
    let both = backends(test).flat_map(|recorder| [("new", recorder), ("old", recorder)]);
    for (age, recorder) in both {
        let record = ["-e", "cpu-clock", "--backend", recorder, "-o", "x.data", "./it", age];
        let map = dir.cmd("fg-record").args(record).run().success().stdout;
        let map = map.lines().next_back().unwrap().to_path().unwrap();
        let folded = dir.cmd("fg-fold").args(["x.data"]).run().success();
        std::fs::remove_file(map).unwrap();
        if age == "new" {
            check(&folded.stdout);
            assert!(!folded.stderr.contains_str("map"), "{}", folded.everything());
        } else {
            assert!(!folded.stdout.contains_str("made_at_run_time"), "{}", folded.everything());
            let folded = folded.says("were not used: it is older than the process");
            assert_eq!(folded.stderr.find_iter("it is older than").count(), 1);
            dir.cmd("fg-fold").args(["--strict", "x.data"]).run().code(3);
        }
    }
}

#[test]
fn the_map_of_a_process_in_its_own_namespaces_is_found() {
    let dir = Dir::new();
    let test = "the_map_of_a_process_in_its_own_namespaces_is_found";
    if !mapped(&dir, test, "it") {
        return;
    }
    let apart = ["--user", "--map-root-user", "--mount", "--pid", "--fork"];
    let works =
        Command::new("unshare").args(apart).args(["mount", "-t", "tmpfs", "x", "/tmp"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        return cannot_run(test, "unshare cannot make namespaces here");
    }
    // It calls itself 1, and its /tmp is gone when it has ended.
    let inside = ["sh", "-c", "mount -t tmpfs x /tmp && exec ./it new"];
    let drawn =
        dir.cmd("flamegraph").args(["-o", "x.svg", "--", "unshare"]).args(apart).args(inside);
    let drawn = drawn.run().success();
    assert!(drawn.stdout.contains_str("/tmp/perf-1.map"), "{}", drawn.everything());
    check(&dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout());
}

/// The process is gone when its recording is read.
#[test]
fn a_recording_tells_the_number_in_a_pid_namespace() {
    let (dir, test) = (Dir::new(), "a_recording_tells_the_number_in_a_pid_namespace");
    if !mapped(&dir, test, "it") {
        return;
    }
    let apart = ["--user", "--map-root-user", "--pid", "--fork"];
    if !Command::new("unshare").args(apart).arg("true").status().is_ok_and(|it| it.success()) {
        return cannot_run(test, "unshare cannot make namespaces here");
    }
    let record = dir.cmd("fg-record").args(["-e", "cpu-clock", "-o", "x.data", "unshare"]);
    record.args(apart).args(["./it", "new"]).run().success();
    let folded = dir.cmd("fg-fold").args(["-q", "x.data"]).stdout();
    std::fs::remove_file("/tmp/perf-1.map").unwrap();
    check(&folded);
}

#[test]
fn a_program_that_tells_no_names_is_told_how_to() {
    let dir = Dir::new();
    let test = "a_program_that_tells_no_names_is_told_how_to";
    if !mapped(&dir, test, "node") {
        return;
    }
    dir.cmd("fg-record").args(["-e", "cpu-clock", "-o", "x.data", "./node"]).run().success();
    let said =
        dir.cmd("fg-fold").args(["x.data"]).run().success().says("run it with --perf-basic-prof");
    assert_eq!(
        said.stderr.find_iter("that node made at run time").count(),
        1,
        "{}",
        said.everything()
    );
}

/// A program that moves the page of its hot function into anonymous memory at the same address, as
/// node's --use-largepages does with all its code.
const MOVED: &str = r#"
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static volatile uint64_t sink;
__attribute__((noinline, aligned(4096))) void hot_after(void) {
    for (struct timespec used = {0, 0}; used.tv_nsec < 300000000 && used.tv_sec == 0; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used))
        for (int i = 0; i < 100000; i++) sink += i;
}
__attribute__((noinline, aligned(4096))) int main(void) {
    void* page = (void*)hot_after;
    void* copy = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(copy, page, 4096);
    mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memcpy(page, copy, 4096);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    hot_after();
    sink++;
}
"#;

#[test]
fn text_that_was_moved_is_named_by_its_file() {
    let dir = Dir::new();
    let test = "text_that_was_moved_is_named_by_its_file";
    dir.write("it.c", MOVED);
    dir.cmd("cc").args(["-O1", "-g", "-o", "it", "it.c"]).run().success();
    for recorder in backends(test) {
        let record = ["-e", "cpu-clock", "--backend", recorder, "--call-graph", "dwarf,8192"];
        dir.cmd("fg-record").args(record).args(["-o", "x.data", "./it"]).run().success();
        let folded = dir.cmd("fg-fold").args(["-q", "x.data"]).stdout();
        let weight = |name: &str| weight(&folded, name);
        assert!(weight("main;hot_after") > 0.9 * weight(";"), "{folded}");
        assert_eq!(weight("[anon]"), 0.0, "{folded}");
    }
}

fn weight(folded: &BString, name: &str) -> f64 {
    let lines = folded.lines().filter(|line| line.contains_str(name));
    let weights = lines.map(|line| line.rsplit_once_str(" ").unwrap().1.to_str().unwrap());
    weights.map(|weight| weight.parse::<f64>().unwrap()).sum()
}

fn check(folded: &BString) {
    let weight = |name: &str| weight(folded, name);
    assert!(weight("made_at_run_time") > 0.9 * weight(";"), "{folded}");
    assert_eq!(weight("[anon]") + weight("\0"), 0.0, "{folded}");
}
