//! Frames that are hard to unwind, of `tests/fixtures/frames.c`, whose calls are known.

use std::process::Command;

use bstr::ByteSlice;

use crate::harness::{Dir, cannot_run, is_not_for_here, repo};
use crate::recording::{record, sums};

#[test]
fn every_frame_is_left_by_what_is_said_of_it() {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run("every_frame_is_left", "the functions are written for x86-64 Linux");
    }
    for flags in [
        // As compilers do by default: .eh_frame, and the linker's table of it.
        &[][..],
        &["-Wl,--no-eh-frame-hdr"],
        // As in Go: only .debug_frame, and that compressed.
        &["-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-gz"],
        // As in musl: nothing at all.
        &["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    ] {
        let dir = Dir::new();
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-fomit-frame-pointer", "-o"]).arg(dir.path("frames")).args(flags);
        let done = cc.arg(repo().join("tests/fixtures/frames.c")).output().unwrap();
        assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
        let options = "-F 1997 --call-graph dwarf,4096";
        if record(&dir, "every_frame_is_left", options, &["./frames"]).is_none() {
            return;
        }
        let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
        let sums = sums(&folded);
        for calls in [
            "main;in_rbx",
            "main;calls_from_rbx;inside;spin",
            "main;untold;inside;spin",
            "main;untold_with_frame;inside;spin",
            // The interrupted function follows the signal's trampoline.
            "__pthread_kill_implementation;__restore_rt;handler;spin",
        ] {
            let last = calls.rsplit(';').next().unwrap();
            let mut whole = 0;
            let mut other = 0;
            for (stack, weight) in &sums {
                let is_leaf = stack.split_str(";").any(|frame| frame == last.as_bytes());
                let is_whole = stack.contains_str("_start;") && stack.contains_str(calls);
                whole += u64::from(is_whole) * weight;
                other += u64::from(is_leaf && !stack.contains_str("_start;")) * weight;
            }
            assert!(
                whole > 10_000_000 && other == 0,
                "{flags:?} {calls}: {whole} {other}\n{folded}"
            );
        }
    }
}

#[test]
fn a_program_without_names_and_tables_starts_at_its_start() {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run(
            "without_names_and_tables",
            "the functions are written for x86-64 Linux",
        );
    }
    let dir = Dir::new();
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fomit-frame-pointer", "-s", "-static", "-o"]).arg(dir.path("frames"));
    cc.args(["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]);
    let done = cc.arg(repo().join("tests/fixtures/frames.c")).output().unwrap();
    assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
    let options = "-F 1997 --call-graph dwarf,4096";
    if record(&dir, "without_names_and_tables", options, &["./frames"]).is_none() {
        return;
    }
    let folded = dir.cmd("fg-fold").args(["-q", "perf.data"]).stdout();
    let mut whole = 0;
    let mut all = 0;
    for (stack, weight) in sums(&folded) {
        // Between exec and the first instruction the kernel is at work.
        let is_whole = stack.starts_with(b"frames;_start") || stack.contains_str("execve");
        whole += u64::from(is_whole) * weight;
        all += weight;
    }
    assert!(all > 100_000_000 && whole * 100 >= all * 97, "{whole} of {all}\n{folded}");
}

#[test]
fn a_32_bit_program_is_unwound() {
    let test = "a_32_bit_program_is_unwound";
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run(test, "it is x86-64 Linux that runs them");
    }
    for flags in [&[][..], &["-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]] {
        let dir = Dir::new();
        let mut cc = Command::new("cc");
        cc.args(["-m32", "-nostdlib", "-static", "-O1", "-fomit-frame-pointer", "-o"]);
        cc.arg(dir.path("narrow")).args(flags).arg(repo().join("tests/fixtures/narrow.c"));
        let done = cc.output().unwrap();
        assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
        if !Command::new(dir.path("narrow")).status().is_ok_and(|status| status.success()) {
            return is_not_for_here(test, "the kernel runs no 32-bit programs");
        }
        if record(&dir, test, "-F 1997 --call-graph dwarf,4096", &["./narrow"]).is_none() {
            return;
        }
        let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
        let sums = sums(&folded);
        let all: u64 = sums.values().sum();
        let is_whole = |stack: &[u8]| stack.starts_with(b"narrow;_start;outer;inner;spin");
        let whole: u64 =
            sums.iter().filter(|(stack, _)| is_whole(stack)).map(|(_, weight)| weight).sum();
        assert!(all > 10_000_000 && whole * 10 >= all * 9, "{flags:?}: {whole} of {all}\n{folded}");
    }
}

/// Compiles `tests/fixtures/stacks.c` in `dir`.
fn build_stacks(dir: &Dir, flags: &[&str]) {
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fomit-frame-pointer", "-o"]).arg(dir.path("stacks")).args(flags);
    let done = cc.arg(repo().join("tests/fixtures/stacks.c")).arg("-lpthread").output().unwrap();
    assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
}

/// Demands that nearly all of the weight of what calls `leaf` is in a stack that begins with
/// `start` and holds `calls`.
fn check_stacks(folded: &[u8], start: &str, calls: &str, leaf: &str) {
    let mut whole = 0;
    let mut all = 0;
    for (stack, weight) in sums(folded) {
        if !stack.split_str(";").any(|frame| frame == leaf.as_bytes()) {
            continue;
        }
        let is_whole = stack.starts_with(start.as_bytes()) && stack.contains_str(calls);
        whole += u64::from(is_whole) * weight;
        all += weight;
    }
    let folded = folded.to_str_lossy();
    assert!(all > 50_000_000 && whole * 100 >= all * 98, "{calls}: {whole} of {all}\n{folded}");
}

/// Each kind of stack in `stacks.c`, how it begins and what it holds.
const STACKS: [(&str, &str, &str); 9] = [
    ("context", "stacks;__start_context;entry;inside;spin", "inside"),
    ("signal", "stacks;_start", ";__restore_rt;handler;inside;spin"),
    ("fiber", "stacks;start_fiber;fiber;inside;spin", "inside"),
    ("register", "stacks;_start", ";main;in_kept_register;inside;spin"),
    ("frame", "stacks;_start", ";main;in_frame;inside;spin"),
    ("jit", "stacks;_start", ";main;in_jit;run;[anon];inside;spin"),
    // As Java's interpreter calls.
    ("pushed", "stacks;_start", ";main;in_pushed;run;[anon];inside;spin"),
    ("dumped", "stacks;_start", ";main;in_dumped;run;made;inside;spin"),
    ("described", "stacks;_start", ";main;in_described;run;made;inside;spin"),
];

#[test]
fn live_stacks_of_every_kind_are_whole() {
    let test = "live_stacks_of_every_kind_are_whole";
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run(test, "the functions are written for x86-64 Linux");
    }
    let dir = Dir::new();
    build_stacks(&dir, &[]);
    for (kind, start, calls) in STACKS {
        let done = dir.cmd("fg-record").args(["-o", "x", "./stacks", kind]).run();
        if !dir.path("x").exists() {
            return cannot_run(test, &done.everything());
        }
        done.success();
        let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "x"]).stdout();
        check_stacks(&folded, start, calls, "inside");
        assert!(!folded.contains_str("[truncated];inside"), "{folded}");
    }
    // The first samples find the pages of the buffer missing.
    dir.cmd("fg-record").args(["-o", "x", "./stacks", "hole"]).run().success();
    let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "x"]).stdout();
    check_stacks(
        &folded,
        "stacks;clone",
        ";thread;calls_big;big;short_inside;spin",
        "short_inside",
    );
}

#[test]
fn copied_stacks_of_every_kind_are_whole() {
    let test = "copied_stacks_of_every_kind_are_whole";
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run(test, "the functions are written for x86-64 Linux");
    }
    let dir = Dir::new();
    build_stacks(&dir, &[]);
    for (kind, start, calls) in STACKS {
        // No file holds the code of a JIT that writes no jitdump.
        if kind == "jit" || kind == "pushed" {
            continue;
        }
        let options = "-k mono -F 1997 --call-graph dwarf,32768";
        if record(&dir, test, options, &["./stacks", kind]).is_none() {
            return;
        }
        let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
        check_stacks(&folded, start, calls, "inside");
    }
}

#[test]
fn code_that_goes_on_on_another_stack_has_no_invented_callers() {
    let test = "goes_on_on_another_stack";
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return cannot_run(test, "the functions are written for x86-64 Linux");
    }
    let dir = Dir::new();
    let flags = ["-g", "-DDEBUG_FRAME", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
    build_stacks(&dir, &flags);
    let options = "-F 1997 --call-graph dwarf,4096";
    if record(&dir, test, options, &["./stacks", "switch"]).is_none() {
        return;
    }
    let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
    check_stacks(&folded, "stacks;on_other_stack;inside;spin", "inside", "inside");
}

#[test]
fn registers_without_a_stack_leave_the_chain() {
    let dir = Dir::new();
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fno-omit-frame-pointer", "-o"]).arg(dir.path("stacks"));
    let done = cc.arg(repo().join("tests/fixtures/stacks.c")).arg("-lpthread").output().unwrap();
    assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
    let options = "-F 1997 -g --user-regs=ip,sp,bp";
    if record(&dir, "registers_without_a_stack", options, &["./stacks", "plain"]).is_none() {
        return;
    }
    let folded = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
    check_stacks(&folded, "stacks;", ";main;inside;spin", "inside");
    assert!(!folded.contains_str("[truncated]"), "{folded}");
}
