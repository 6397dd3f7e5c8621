//! Machines that lack what is usually there: /sys, /proc, threads, files that may be open.

use super::*;

/// A shell as root in a mount namespace of its own; `None` if there can be none, said loudly.
fn sandbox(dir: &Dir, test: &str, line: &str) -> Option<Cmd> {
    let try_it = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "t", "/sys"]).output();
    if !try_it.is_ok_and(|tried| tried.status.success()) {
        cannot_run(test, "it needs root and unshare(1), to mount file systems");
        return None;
    }
    let line = format!("{line} {} --ms 300", burn().display());
    Some(dir.cmd("unshare").args(["-m", "sh", "-c", &line]).env("HOME", "/nonexistent"))
}

#[test]
fn without_sys_all_processors_are_recorded() {
    let test = "without_sys_all_processors_are_recorded";
    if !can_record(test) {
        return;
    }
    let cpus = std::fs::read_to_string("/proc/stat").unwrap();
    let last = cpus.lines().filter(|line| line.starts_with("cpu")).count() - 2;
    let dir = Dir::new();
    let line =
        format!("mount -t tmpfs t /sys; exec taskset -c {last} {}", bin("fg-record").display());
    let Some(cmd) = sandbox(&dir, test, &format!("{line} -e cpu-clock -o x")) else { return };
    cmd.run().success();
    let recording = dir.read("x");
    assert!(samples(&dir, &recording) > 100);
}

#[test]
fn without_proc_the_kernels_functions_have_no_names() {
    let test = "without_proc_the_kernels_functions_have_no_names";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    let line = format!("mount -t tmpfs t /proc; exec {} -e cpu-clock", bin("flamegraph").display());
    let Some(cmd) = sandbox(&dir, test, &format!("{line} -o x.svg")) else { return };
    cmd.run().success().says("wrote x.svg");
    assert!(dir.read("x.svg").contains_str("hot_hash"));
    // Something that is in the kernel nearly all the time.
    let dd = ["-e", "cpu-clock", "-o", "x", "dd", "if=/dev/zero", "of=/dev/null", "count=300000"];
    dir.cmd("fg-record").args(dd).run().success();
    let line = format!("mount -t tmpfs t /proc; {} x; true", bin("fg-fold").display());
    let Some(cmd) = sandbox(&dir, test, &line) else { return };
    let outcome = cmd.run().success().says("because /proc/kallsyms is missing");
    assert!(outcome.stdout.contains_str("dd;"), "{}", outcome.everything());
}

#[test]
fn without_threads_one_does_all_the_work() {
    let test = "without_threads_one_does_all_the_work";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    // Others may not see the kernel's addresses.
    let record = dir.cmd("fg-record").args(["-e", "cpu-clock:u", "-o", "x"]);
    record.arg(burn()).args(["--ms", "100"]).run().success();
    let wanted = dir.cmd("fg-fold").args(["-q", "x"]).stdout();
    let text = dir.cmd("fg-script").args(["-q", "x"]).stdout();
    dir.write("text", text.repeat(20));
    let many = dir.cmd("fg-fold").args(["-q", "text"]).stdout();
    dir.write("folded", &wanted);
    let drawn = dir.cmd("fg-render").args(["-q", "folded"]).stdout();
    for name in ["fg-fold", "fg-record", "fg-render", "flamegraph"] {
        std::fs::copy(bin(name), dir.path(name)).unwrap();
    }
    std::fs::copy(burn(), dir.path("burn")).unwrap();
    assert!(
        Command::new("chmod").args(["-R", "a+rwx"]).arg(dir.path(".")).status().unwrap().success()
    );
    // A number that nobody else is likely to have processes of, as they are counted by user.
    let limited = |threads: u32, line: &str| {
        let who = "setpriv --reuid=54321 --clear-groups";
        dir.cmd("bash").args(["-c", &format!("ulimit -u {threads}; exec {who} {line}")])
    };
    if limited(9, "true").run().status.code() != Some(0) {
        return cannot_run(test, "it needs root, to become somebody else");
    }
    let said = "one thread does all the work";
    assert!(
        limited(1, "./fg-fold x").run().success().says(said).stdout == wanted,
        "the same stacks"
    );
    assert!(
        limited(1, "./fg-fold text").run().success().says(said).stdout == many,
        "the same stacks"
    );
    assert!(limited(1, "./fg-render folded").run().success().stdout == drawn, "the same graph");
    for threads in 1..9 {
        for program in ["./fg-record -e cpu-clock:u -o new", "./flamegraph -e cpu-clock:u -o new"] {
            let outcome = limited(threads, &format!("{program} ./burn --ms 50 --print")).run();
            assert!(!outcome.stderr.contains_str("panicked"), "{}", outcome.everything());
            // What cannot be recorded is not run.
            let has_run = outcome.stdout == "burnt\n";
            assert_eq!(
                outcome.status.code(),
                Some(i32::from(!has_run)),
                "{}",
                outcome.everything()
            );
            assert_eq!(dir.path("new").exists(), has_run, "{}", outcome.everything());
            let _ = std::fs::remove_file(dir.path("new"));
        }
    }
}

#[test]
fn more_inputs_than_files_that_may_be_open() {
    let dir = Dir::new();
    let sample = "x 1 1.000000: 9 cycles: \n\t              12 f+0x1 (/a)\n\n";
    for n in 0..100 {
        dir.write(&format!("{n}.folded"), "a;b 1\n");
        dir.write(&format!("{n}.script"), sample);
    }
    let limited = |line: &str| dir.cmd("bash").args(["-c", &format!("ulimit -n 40; {line}")]);
    let [fold, render] = ["fg-fold", "fg-render"].map(|name| bin(name).display().to_string());
    assert_eq!(limited(&format!("{fold} -q *.folded")).stdout(), "a;b 100\n");
    assert_eq!(limited(&format!("{fold} -q --no-unit *.script")).stdout(), "x;f 900\n");
    limited(&format!("{render} *.folded *.script")).run().success().says("100 samples");
    limited(&format!("{fold} *.folded missing")).run().code(1).says("cannot read missing: No such");
    if can_record("more_inputs_than_files_that_may_be_open") {
        record(&dir).args(["-o", "x"]).arg(burn()).args(["--ms", "50"]).run().success();
        for n in 0..60 {
            std::fs::hard_link(dir.path("x"), dir.path(&format!("{n}.data"))).unwrap();
        }
        limited(&format!("{fold} *.data")).run().success().says("samples");
    }
}
