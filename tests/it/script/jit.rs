//! Code that is made at run time has the name it had when it was sampled.

use std::process::Command;

use bstr::{BString, ByteSlice};

use super::record;
use crate::harness::{Dir, cannot_run};

/// Runs the same bytes at the same place under two names, and says so in a jitdump.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
static uint64_t at(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static uint64_t now(void) { return at(CLOCK_MONOTONIC); }
static uint64_t used(void) { return at(CLOCK_PROCESS_CPUTIME_ID); }
static void load(int fd, uint64_t at, uint64_t index, const char* name) {
    struct { uint32_t id, size; uint64_t time; uint32_t pid, tid; uint64_t vma, address, length, index; } r =
        {0, 56 + strlen(name) + 1 + 10, now(), getpid(), getpid(), at, at, 10, index};
    write(fd, &r, sizeof r);
    write(fd, name, strlen(name) + 1);
    write(fd, (void*)at, 10);
}
int main(int count, char** arguments) {
    uint64_t ms = count > 1 ? 500 : 100;
    char path[64];
    snprintf(path, sizeof path, "jit-%d.dump", getpid());
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0666);
    struct { uint32_t magic, version, size, machine, pad, pid; uint64_t time, flags; } header =
        {0x4A695444, 1, 40, 62, 0, getpid(), now(), 0};
    write(fd, &header, sizeof header);
    mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    unsigned char* code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, "\xb9\x00\x00\x10\x00\xff\xc9\x75\xfc\xc3", 10); /* mov $0x100000,%ecx; 1: dec %ecx; jnz 1b; ret */
    for (int part = 0; part < 2; part++) {
        load(fd, (uint64_t)code, part, part ? "second_method" : "first_method");
        for (uint64_t end = used() + (part ? 2 : 1) * ms * 1000000; used() < end;) ((void (*)(void))code)();
    }
}
"#;

/// Compiles it. Returns false, with a message, if that is impossible.
fn compiled(dir: &Dir, test: &str) -> bool {
    if !cfg!(target_arch = "x86_64") {
        cannot_run(test, "its machine code is for x86-64");
        return false;
    }
    let source = dir.write("program.c", PROGRAM);
    let compiled =
        Command::new("cc").arg("-O1").arg(source).arg("-o").arg(dir.path("program")).output();
    match compiled {
        Ok(output) if output.status.success() => return true,
        Ok(output) => cannot_run(test, &output.stderr.to_str_lossy()),
        Err(error) => cannot_run(test, &format!("no cc: {error}")),
    }
    false
}

fn weight(folded: &BString, name: &str) -> f64 {
    let lines = folded.lines().filter(|line| line.contains_str(name));
    let weights = lines.map(|line| line.rsplit_once_str(" ").unwrap().1.to_str().unwrap());
    weights.map(|weight| weight.parse::<f64>().unwrap()).sum()
}

#[test]
fn methods_have_their_names_of_the_time() {
    let dir = Dir::new();
    let test = "methods_have_their_names_of_the_time";
    if !compiled(&dir, test) {
        return;
    }
    for (clock, both) in [("-k mono ", true), ("", false)] {
        let options = format!("{clock}-g -F 2000 -e cpu-clock:u");
        let Some(_) = record(&dir, test, &options, &["./program"]) else { return };
        let folded = dir.cmd("fg-fold").args(["-q", "perf.data"]).stdout();
        let first = weight(&folded, "first_method");
        let second = weight(&folded, "second_method");
        assert!(second > 0.0, "{folded}");
        if both {
            // 100 ms of processor time against 200.
            let share = first / (first + second);
            assert!((0.2..0.5).contains(&share), "{share}: {folded}");
        } else {
            assert_eq!(first, 0.0, "times of another clock tell nothing: the last name counts");
        }
    }
}

/// The first batch of names is looked up when only the first method is known.
#[cfg(target_os = "linux")]
#[test]
fn methods_have_their_names_of_the_time_while_they_run() {
    let dir = Dir::new();
    let test = "methods_have_their_names_of_the_time_while_they_run";
    if !crate::record::can_record(test) || !compiled(&dir, test) {
        return;
    }
    let drawn = ["-F", "4000", "-o", "x.svg", "./program", "longer"];
    dir.cmd("flamegraph").args(drawn).run().success();
    let folded = dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout();
    let first = weight(&folded, "first_method");
    let second = weight(&folded, "second_method");
    // 500 ms of processor time against a second.
    let share = first / (first + second);
    assert!((0.2..0.5).contains(&share), "{share}: {folded}");
}
