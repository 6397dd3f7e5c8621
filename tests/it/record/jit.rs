//! Code that is made at run time, in a graph that is drawn while it runs.

use super::*;

/// Runs for 0.6 s what it made, then tells its name, as Java does.
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
    let (dir, test) = (Dir::new(), "what_is_told_at_the_end_names_what_came_before");
    if !perf_works(test) {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        return cannot_run(test, "its machine code is for x86-64");
    }
    dir.write("it.c", PROGRAM);
    dir.cmd("cc").args(["-O1", "-o", "it", "it.c"]).run().success();
    // So many samples a second that there are several batches.
    let drawn = dir.cmd("flamegraph").args(["-F", "4000", "-o", "x.svg", "./it"]).run().success();
    let map = drawn.stdout.trim().to_path().unwrap();
    check(&dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout());
    std::fs::remove_file(map).unwrap();
    // Standard output is the stream's, and the workload's goes to stderr.
    let (record, fold) = (bin("fg-record"), bin("fg-fold"));
    let pipe = format!("{} -q -F 4000 ./it 2>map | {} -q", record.display(), fold.display());
    check(&dir.cmd("sh").args(["-c", &pipe]).stdout());
    std::fs::remove_file(dir.read("map").trim().to_path().unwrap()).unwrap();
}

fn check(folded: &BString) {
    let weight = |name: &str| {
        let lines = folded.lines().filter(|line| line.contains_str(name));
        let weights = lines.map(|line| line.rsplit_once_str(" ").unwrap().1.to_str().unwrap());
        weights.map(|weight| weight.parse::<f64>().unwrap()).sum::<f64>()
    };
    assert!(weight("made_at_run_time") > 0.9 * weight(";"), "{folded}");
    assert_eq!(weight("[anon]") + weight("\0"), 0.0, "{folded}");
}
