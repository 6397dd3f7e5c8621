//! Tests what a number after `-p` means.

use std::io::{BufRead, BufReader};

use super::short_lived::compiled;
use super::*;

/// A thread that works; the first one waits, or with an argument ends. Prints the thread's number.
const PROGRAM: &str = r"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile unsigned long sum;
__attribute__((noinline)) void hot(void) { for (;;) sum++; }
static void *work(void *x) { printf(`%ld\n`, syscall(SYS_gettid)); fflush(stdout); hot(); return x; }
int main(int count, char **x) {
    pthread_t thread;
    pthread_create(&thread, 0, work, x);
    if (count > 1) pthread_exit(0);
    pause();
}
";

/// A process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command and reads the first line that it prints.
fn running(dir: &Dir, command: &[&str]) -> (Process, u32) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir.path("."))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(child), line.trim().parse().unwrap())
}

/// Records a number for a while; what the recorder said, and the share of the stacks that are
/// whole.
fn attached(dir: &Dir, number: u32) -> (String, f64) {
    let options = ["-o", "x", "-e", "cpu-clock", "--duration", "0.4", "-p"];
    let said = dir.cmd("fg-record").args(options).arg(number.to_string()).run().success().stderr;
    let folded = dir.cmd("fg-fold").args(["-q", "x"]).stdout().to_string();
    let is_whole = |line: &&str| line.starts_with("program;clone") && line.contains(";work;hot");
    let weight = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let lines: Vec<&str> = folded.lines().filter(|line| !line.starts_with('#')).collect();
    let all: f64 = lines.iter().map(|line| weight(line)).sum();
    (said.to_string(), lines.into_iter().filter(is_whole).map(weight).sum::<f64>() / all)
}

#[test]
fn a_thread_means_its_process_and_a_process_outlives_its_first_thread() {
    let test = "a_thread_means_its_process_and_a_process_outlives_its_first_thread";
    let dir = Dir::new();
    if !can_record(test) || !compiled(&dir, test, PROGRAM) {
        return;
    }
    let (process, thread) = running(&dir, &["./program"]);
    let (said, whole) = attached(&dir, thread);
    let pid = process.0.id();
    assert!(
        said.contains(&format!("{thread} is a thread of process {pid}: recording all")),
        "{said}"
    );
    assert!(whole > 0.98, "{whole}");
    let (process, _) = running(&dir, &["./program", "ends"]);
    let (said, whole) = attached(&dir, process.0.id());
    assert!(whole > 0.98, "{whole}: {said}");
}

#[test]
fn children_that_run_already_are_told() {
    if !can_record("children_that_run_already_are_told") {
        return;
    }
    let dir = Dir::new();
    let (process, child) = running(&dir, &["sh", "-c", "sleep 60 & echo $!; while :; do :; done"]);
    let said = attached(&dir, process.0.id()).0;
    let pid = process.0.id();
    kill("KILL", child, false);
    let told = "1 running child is not recorded; children that start from now on are";
    assert!(
        said.contains(&format!("{told}: use -p {pid},{child} to record all of them")),
        "{said}"
    );
}
