//! Tests that nothing is lost because a reader is slow, and that all losses are reported.

use super::*;

/// How many samples are in a stream, and how many it says were lost.
fn counts(dir: &Dir, stream: &[u8]) -> (u64, u64) {
    dir.write("stream", stream);
    let said = dir.cmd("fg-fold").arg("stream").run().success().stderr.to_string();
    let before = |what: &str| {
        let number = said.split(what).next().filter(|_| said.contains(what));
        let number = number.and_then(|text| text.rsplit(' ').next());
        number.map_or(0, |number| number.replace(',', "").parse().unwrap())
    };
    (before(" samples"), before(" lost by the recorder"))
}

/// Two threads, each of which uses this many milliseconds.
fn expected(ms: u32) -> f64 {
    2.0 * f64::from(ms) / 1000.0 * 997.0
}

#[test]
fn who_reads_slowly_loses_nothing() {
    if !can_record("who_reads_slowly_loses_nothing") {
        return;
    }
    let dir = Dir::new();
    dir.fifo("done");
    // About 400 KB. A pipe holds 64 KB, and a ring holds 64 samples.
    let script = format!("{} --ms 800; echo >done", burn().display());
    let child = start(&dir, &["-F", "997"], &["sh", "-c", &script]);
    dir.read("done");
    let (status, stream, said) = finish(child, Vec::new());
    assert_eq!(status, Some(0), "{said}");
    let (samples, lost) = counts(&dir, &stream);
    assert_eq!(lost, 0, "{samples} samples");
    assert!((samples as f64 / expected(800) - 1.0).abs() < 0.03, "{samples} samples");
}

#[test]
fn a_loss_of_which_no_ring_tells_is_told() {
    let test = "a_loss_of_which_no_ring_tells_is_told";
    if !can_record(test) {
        return;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    if release.split('.').next().is_none_or(|major| major.parse::<u32>().unwrap() < 6) {
        return cannot_run(test, &format!("Linux {release} does not count what is lost"));
    }
    let dir = Dir::new();
    ["begun", "go", "done"].into_iter().for_each(|fifo| dir.fifo(fifo));
    let burn = burn().display();
    let script = format!("echo >begun; read go <go; {burn} --ms 800; echo >done");
    let child = start(&dir, &["-F", "997"], &["sh", "-c", &script]);
    dir.read("begun");
    kill("STOP", child.id(), false);
    dir.write("go", "\n");
    dir.read("done");
    kill("CONT", child.id(), false);
    let (status, stream, said) = finish(child, Vec::new());
    assert_eq!(status, Some(0), "{said}");
    let (samples, lost) = counts(&dir, &stream);
    assert!(lost > 0, "{samples} samples, and none was lost");
    // Maps and names of threads are lost, too.
    let all = (samples + lost) as f64;
    assert!((all / expected(800) - 1.0).abs() < 0.05, "{samples} samples and {lost} lost");
}

/// The length of the whole records with which a stream begins.
fn whole_records(stream: &[u8]) -> usize {
    const HEADER: usize = 16;
    let mut end = HEADER;
    // The length of a record is at its byte 6.
    while let Some(&[low, high]) = stream.get(end + 6..end + 8) {
        let next = end + usize::from(u16::from_ne_bytes([low, high]));
        if next > stream.len() {
            break;
        }
        end = next;
    }
    end
}

#[test]
fn a_recorder_that_did_not_finish_is_told() {
    if !can_record("a_recorder_that_did_not_finish_is_told") {
        return;
    }
    let dir = Dir::new();
    let workload = [burn().to_str().unwrap(), "--ms", "15000"];
    let mut child = start(&dir, &[], &workload);
    let begin = first_bytes(&mut child);
    kill("KILL", child.id(), true);
    let (_, stream, _) = finish(child, begin);
    // Also if all records that it wrote are whole.
    for end in [stream.len(), whole_records(&stream), whole_records(&stream) - 3] {
        dir.write("cut", &stream[..end]);
        let told = dir.cmd("fg-fold").arg("cut").run().success();
        told.says("only what comes before is read").says("1 input cut short at its end");
    }
    dir.write("cut", stream);
    assert!(stacks(&dir, &dir.read("cut")).len() > 80);
    if perf_works("a_recorder_that_did_not_finish_is_told (perf)") {
        let script = dir.cmd("perf").args(["script", "-F", "comm", "-i", "cut"]).stdout();
        assert!(script.lines().count() > 80, "{script}");
    }
    let workload = [burn().to_str().unwrap(), "--ms", "100"];
    let (_, stream, _) = finish(start(&dir, &[], &workload), Vec::new());
    dir.write("stream", stream);
    let told = dir.cmd("fg-fold").arg("stream").run().success().stderr;
    assert!(!told.contains_str("read as far as it goes"), "{told}");
}

#[test]
fn a_full_disk_ends_the_recording_with_what_is_there() {
    let test = "a_full_disk_ends_the_recording_with_what_is_there";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    std::fs::create_dir(dir.path("small")).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=192k", "none", "small"];
    if dir.cmd("mount").args(mount).run().status.code() != Some(0) {
        return cannot_run(test, "nothing can be mounted here");
    }
    let burn = burn().to_str().unwrap();
    let outcome = dir.cmd("fg-record").args(["-o", "small/x", burn, "--ms", "20000"]).run();
    let recording = dir.read("small/x");
    dir.cmd("umount").args(["-l", "small"]).run().success();
    outcome
        .code(130)
        .says("the recording ends here, and the graph shows what came before: No space left");
    dir.write("x", &recording);
    let outcome = dir.cmd("fg-fold").arg("x").run().success();
    assert!(outcome.stdout.lines().count() > 20, "{}", outcome.everything());
    dir.cmd("fg-record").args(["-o", "/dev/full", burn, "--ms", "50"]).run().code(1);
}

#[test]
fn a_program_that_is_overwritten_in_place_is_recorded_all_the_same() {
    let test = "a_program_that_is_overwritten_in_place_is_recorded_all_the_same";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    let copy = || std::fs::copy(burn(), dir.path("p")).unwrap();
    assert!(copy() > 1 << 20, "smaller files are read at once");
    // It is named once it is empty, and the symbols were to be read from it.
    let script = "./p --ms 200; : > p; cp p q";
    let draw = ["-e", "cpu-clock", "-o", "x.svg", "sh", "-c", script];
    dir.cmd("flamegraph").args(draw).run().success().says("1 module is not the recorded build");
    copy();
    let copies = "for i in 1 2 3 4 5 6; do ./p --ms 20; cp p q; : > p; cat q > p; done";
    let record = ["-e", "cpu-clock", "-F", "4000", "-o", "x", "sh", "-c", copies];
    dir.cmd("fg-record").args(record).run().success();
    assert_eq!(dir.names(), ["p", "q", "x", "x.svg"]);
}
