//! How recordings end: Ctrl-C, signals to the recorder alone, closed pipes.

use super::*;

#[test]
fn ctrl_c_ends_the_workload_and_the_recording_is_complete() {
    for backend in backends("ctrl_c_ends_the_workload_and_the_recording_is_complete") {
        let dir = Dir::new();
        let workload = [burn().to_str().unwrap(), "--ms", "15000"];
        let mut child = start(&dir, &["--backend", backend], &workload);
        let begin = first_bytes(&mut child);
        kill("INT", child.id(), true);
        let (status, stream, said) = finish(child, begin);
        assert_eq!(status, Some(130), "{said}");
        samples(&dir, &stream);
    }
}

#[test]
fn signals_to_us_alone_end_the_recording() {
    let dir = Dir::new();
    for backend in backends("signals_to_us_alone_end_the_recording") {
        // The status is 128 + the signal, as of any program that a signal ends.
        for (signal, code) in
            [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131), ("USR1", 138)]
        {
            let workload = [burn().to_str().unwrap(), "--ms", "15000"];
            let mut child = start(&dir, &["--backend", backend], &workload);
            let begin = first_bytes(&mut child);
            kill(signal, child.id(), false);
            let (status, stream, said) = finish(child, begin);
            assert_eq!(status, Some(code), "{signal}: {said}");
            assert!(samples(&dir, &stream) > 0);
        }
    }
}

#[test]
fn with_root_signals_go_to_the_workload_which_is_ours() {
    if !can_record("with_root_signals_go_to_the_workload_which_is_ours") {
        return;
    }
    let dir = Dir::new();
    fake_sudo(&dir);
    for (deaf, code) in [(&[][..], 130), (&["--deaf"], 137)] {
        let workload = [&[burn().to_str().unwrap(), "--ms", "15000"], deaf].concat();
        let mut child = start(&dir, &["--root"], &workload);
        let begin = first_bytes(&mut child);
        kill("INT", child.id(), false);
        if !deaf.is_empty() {
            // Two of a kind may be one.
            kill("TERM", child.id(), false);
        }
        let (status, stream, said) = finish(child, begin);
        assert_eq!(status, Some(code), "{said}");
        assert!(samples(&dir, &stream) > 0);
    }
    executable(&dir, "sudo", "echo 'a password is required' >&2\nexit 1");
    let burn = burn().to_str().unwrap();
    let (status, stream, said) = finish(start(&dir, &["--root"], &[burn, "--print"]), Vec::new());
    assert_eq!((status, stream.len()), (Some(1), 0), "{said}");
    assert!(said.contains("a password is required") && !said.contains("burnt"), "{said}");
}

#[test]
fn a_deaf_workload_is_killed_by_the_second_signal() {
    for backend in backends("a_deaf_workload_is_killed_by_the_second_signal") {
        let dir = Dir::new();
        let workload = [burn().to_str().unwrap(), "--ms", "15000", "--deaf"];
        let mut child = start(&dir, &["--backend", backend], &workload);
        let begin = first_bytes(&mut child);
        kill("INT", child.id(), true);
        // Two of a kind may be one.
        kill("TERM", child.id(), false);
        let (status, stream, said) = finish(child, begin);
        assert_eq!(status, Some(137), "{said}");
        assert!(samples(&dir, &stream) > 0);
    }
}

#[test]
fn attached_recordings_end_with_ctrl_c_and_succeed() {
    let dir = Dir::new();
    for backend in backends("attached_recordings_end_with_ctrl_c_and_succeed") {
        for group in [false, true] {
            let mut workload = Command::new(burn()).args(["--ms", "15000"]).spawn().unwrap();
            let pid = workload.id().to_string();
            let mut child = start(&dir, &["--backend", backend, "-p", &pid], &[]);
            let begin = first_bytes(&mut child);
            kill("INT", child.id(), group);
            let (status, stream, said) = finish(child, begin);
            assert_eq!(workload.try_wait().unwrap(), None, "the workload runs on");
            workload.kill().unwrap();
            workload.wait().unwrap();
            assert_eq!(status, Some(0), "{said}");
            let stacks = stacks(&dir, &stream);
            assert!(share(&stacks, "hot_") > 90.0, "{} samples", stacks.len());
        }
    }
    let gone = start(&dir, &["-p", "4194303"], &[]);
    assert_eq!(finish(gone, Vec::new()).0, Some(1), "a process that is not there");
}

#[test]
fn a_closed_pipe_ends_everything_quietly() {
    let dir = Dir::new();
    for backend in backends("a_closed_pipe_ends_everything_quietly") {
        let workload = [burn().to_str().unwrap(), "--ms", "15000", "--print"];
        let mut child = start(&dir, &["--backend", backend], &workload);
        first_bytes(&mut child);
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(!said.contains("burnt"), "the workload did not run to its end");
        assert!(!said.contains("fg-record"), "{said}");
    }
}

#[test]
fn an_interrupted_file_is_whole() {
    if !can_record("an_interrupted_file_is_whole") {
        return;
    }
    let dir = Dir::new();
    dir.fifo("at work");
    let burn = burn().display();
    let script = format!("{burn} --ms 200; echo >'at work'; exec {burn} --ms 15000");
    let child = start(&dir, &["-o", "x"], &["sh", "-c", &script]);
    dir.read("at work");
    kill("INT", child.id(), true);
    let (status, _, said) = finish(child, Vec::new());
    assert_eq!(status, Some(130), "{said}");
    assert_eq!(dir.names(), ["at work", "x"]);
    let recording = dir.read("x");
    assert!(samples(&dir, &recording) > 380, "two threads, 200 ms each");
}

#[test]
fn a_closed_terminal_leaves_a_whole_file_and_nothing_else() {
    if !can_record("a_closed_terminal_leaves_a_whole_file_and_nothing_else") {
        return;
    }
    for (signal, code) in [("HUP", 129), ("QUIT", 131), ("USR1", 138)] {
        let dir = Dir::new();
        dir.fifo("at work");
        let burn = burn().display();
        let script = format!("{burn} --ms 100; echo $$ >'at work'; exec {burn} --ms 15000");
        let child = start(&dir, &["-o", "x"], &["sh", "-c", &script]);
        let workload = dir.read("at work").to_string();
        kill(signal, child.id(), false);
        let (status, _, said) = finish(child, Vec::new());
        assert_eq!(status, Some(code), "{signal}: {said}");
        assert_eq!(dir.names(), ["at work", "x"], "{signal}");
        let recording = dir.read("x");
        assert!(samples(&dir, &recording) > 100, "{signal}");
        assert!(!Path::new("/proc").join(workload.trim()).exists(), "{signal}: it runs on");
    }
}

#[test]
fn what_was_ignored_stays_ignored() {
    let dir = Dir::new();
    let fg_record = bin("fg-record").display().to_string();
    let ask = "grep SigIgn /proc/self/status";
    let ways = ["", "trap '' INT TERM; ", "trap '' HUP QUIT USR1; "];
    let backends = backends("what_was_ignored_stays_ignored");
    for (backend, ignored) in backends.flat_map(|backend| ways.map(|way| (backend, way))) {
        let line = format!("{ignored}{ask}; {fg_record} --backend {backend} -q -o x {ask}");
        let said = dir.cmd("sh").args(["-c", &line]).run().success().says_nothing().stdout;
        // Signals from 32 on are those of libc's threads, and perf has SIGUSR2 ignored.
        let mask = |line: &str| u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        let masks: Vec<_> =
            said.to_str().unwrap().lines().map(|line| mask(line) & 0x7fff_f7ff).collect();
        assert_eq!((masks.len(), masks[0]), (2, masks[1]), "{line}");
        assert_eq!(masks[0] == 0, ignored.is_empty(), "{line}");
    }
    if !can_record("what_was_ignored_stays_ignored") {
        return;
    }
    // As under nohup: the recording goes on to the end of its workload.
    let line = format!("trap '' HUP; exec {fg_record} -q -o x sh -c 'kill -HUP $PPID; exit 7'");
    dir.cmd("sh").args(["-c", &line]).run().code(7);
}

#[test]
fn a_limit_of_file_size_is_as_a_full_disk() {
    if !can_record("a_limit_of_file_size_is_as_a_full_disk") {
        return;
    }
    let dir = Dir::new();
    let burn = burn().display();
    let fg_record = bin("fg-record").display().to_string();
    let line = format!("ulimit -f 100; exec {fg_record} -F 4000 -o x {burn} --ms 1500");
    let outcome = dir.cmd("sh").args(["-c", &line]).run();
    assert_eq!(dir.names(), ["x"], "{}", outcome.everything());
    // The workload was ended by SIGINT.
    let outcome = outcome.says("the recording ends here").code(130);
    assert!(!outcome.stderr.contains_str(".flamepipe"), "{}", outcome.everything());
    let recording = dir.read("x");
    assert!(samples(&dir, &recording) > 10);
    // Half of a new one does not replace it.
    let outcome = dir.cmd("sh").args(["-c", &line]).run().code(130);
    outcome.says("the recording that was there before is now x.old");
    assert!(dir.read("x.old") == recording);
}
