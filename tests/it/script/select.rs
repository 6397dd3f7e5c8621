//! Which samples are scripted: held against `perf script` with the same options.

use bstr::{BString, ByteSlice};

use super::record;
use crate::harness::{Cmd, Dir};

const SHELL: [&str; 3] = [
    "sh",
    "-c",
    "python3 -c 'sum(range(3000000))'; dd if=/dev/zero of=/dev/null bs=512 count=200000",
];

/// The first lines of samples, without perf's padding, and with all digits of their times. We leave
/// out the last three if they are zeros, as in one of a thousand.
fn heads(text: &BString) -> Vec<BString> {
    let head =
        |line: &&[u8]| !line.is_empty() && !line.starts_with(b"\t") && !line.starts_with(b"#");
    let word = |word: &[u8]| match word.split_once_str(".") {
        Some((_, fraction)) if fraction.len() == 7 && fraction.ends_with(b":") => {
            [&word[..word.len() - 1], b"000:"].concat()
        }
        _ => word.to_vec(),
    };
    let words = |line: &[u8]| bstr::join(" ", line.fields().map(word).collect::<Vec<_>>()).into();
    text.lines().filter(head).map(words).collect()
}

/// perf's text, with all the fields of ours.
fn perf(dir: &Dir) -> Cmd {
    dir.cmd("perf")
        .args(["script", "-i", "perf.data", "--ns"])
        .args(["-F", "comm,pid,tid,cpu,time,period,event,ip,sym,symoff,dso"])
}

#[test]
fn selections_are_those_of_perf() {
    let dir = Dir::new();
    let options = "-g -F 2000 --sample-cpu -e cpu-clock,page-faults";
    let Some(_) = record(&dir, "selections_are_those_of_perf", options, &SHELL) else { return };
    let all = heads(&perf(&dir).stdout());
    let middle = all[all.len() / 2].to_str().unwrap().to_owned();
    let words: Vec<&str> = middle.split(' ').collect();
    let [_, thread, _, time, ..] = words[..] else { panic!("{middle}") };
    let (pid, tid) = thread.split_once('/').unwrap();
    let time = time.trim_end_matches(':');
    let until = format!(",{time}");
    let from = format!("{time},");
    let [first, last] = [all.first(), all.last()].map(|head| {
        let head = head.unwrap().to_str().unwrap();
        head.split(' ').nth(3).unwrap().trim_end_matches(':').to_owned()
    });
    let ends = format!("{first},{first} {last},{last}");
    let text = dir.cmd("fg-script").args(["-q", "perf.data"]).stdout();
    for flags in [
        ["--comm", "dd,python3"],
        ["--comm", "d"],
        ["--pid", pid],
        ["--tid", tid],
        ["--cpu", "0"],
        ["--time", &until],
        ["--time", &from],
        ["--time", &ends],
    ] {
        let wanted = heads(&perf(&dir).args(flags).stdout());
        let quiet = ["-q", "perf.data"];
        let native = dir.cmd("fg-script").args(flags).args(quiet).stdout();
        assert_eq!(heads(&native), wanted, "{flags:?}");
        // A machine with a single CPU has all samples on it.
        assert!(wanted.len() < all.len() || flags[0] == "--cpu", "{flags:?} select");
        // The same from text: perf's, and ours, which is otherwise unchanged.
        assert_eq!(dir.cmd("fg-script").args(flags).stdin(&text).stdout(), native, "{flags:?}");
        // perf's text has microseconds; its backend asks for pids.
        if ["--comm", "--pid"].contains(&flags[0]) {
            let other = dir.cmd("fg-script").args(["--backend", "perf"]).args(flags).args(quiet);
            assert_eq!(heads(&other.stdout()).len(), wanted.len(), "{flags:?}");
        }
    }
    let both = ["--comm", "python3", "--event", "page-faults", "perf.data"];
    let both = dir.cmd("fg-script").args(both).run().code(0).says(" filtered out");
    let is_fault =
        |head: &BString| head.starts_with(b"python3 ") && head.ends_with(b" page-faults:");
    let wanted: Vec<BString> = all.into_iter().filter(is_fault).collect();
    assert!(!wanted.is_empty());
    assert_eq!(heads(&both.stdout), wanted);
}

#[test]
fn text_passes_byte_for_byte() {
    let dir = Dir::new();
    let text = "# a comment\n\nodd line\nweb  7/8   [001]  1.500000:          9 cycles:u: \n\t   1234 main+0x1 (/a b)\n\n\
                db 9 [000] 2.5: 1 cycles:u: \n\t 99 x (y)\nno frame\n\n\n";
    let script = |flags: &[&str]| dir.cmd("fg-script").args(flags).stdin(text).run();
    assert_eq!(script(&[]).success().stdout, text);
    assert_eq!(script(&["--time", "0,9"]).success().stdout, text);
    let web = &text[..text.find("db 9").unwrap()];
    assert_eq!(script(&["--event", "cycles", "--cpu", "1"]).success().stdout, [web, "\n"].concat());
    assert_eq!(script(&["--tid", "8"]).success().stdout, [web, "\n"].concat());
    script(&["--comm", "web", "--time", "3,4"]).success().says("2 filtered out");
    script(&["--time", "3"]).code(2);
    script(&["--cpu", "3-1"]).code(2);
    let bare =
        dir.cmd("fg-script").args(["--cpu", "1"]).stdin("web 7 1.5: 9 cycles: \n\t 12 f (x)\n\n");
    bare.run().code(1).says("the samples have no cpu");
}

#[test]
fn a_recording_without_the_field_is_said() {
    let dir = Dir::new();
    let command = ["python3", "-c", "sum(range(999999))"];
    let Some(_) = record(&dir, "a_recording_without_the_field", "-g -F 999", &command) else {
        return;
    };
    let none = dir.cmd("fg-script").args(["--cpu", "0", "perf.data"]).run();
    none.code(1).says("the samples have no cpu");
}
