//! Weights and their unit, root frames, events side by side, files for each root.

use super::{BString, Config, Dir, fold, sample};
use bstr::ByteSlice;
use flamepipe::fold::Weighing;
use proptest::prelude::*;

const TEXT: &str = "\
worker-1 7/8 [000] 1.5: 10 cycles:u: \n\t              10 f (/a)\n\n\
worker-2 7/9 [001] 1.5: 20 cycles:k: \n\t              10 f (/a)\n\n\
a/b 7/7 [001] 1.5: 1 faults: \n\t              10 f (/a)\n\n";

fn fg_fold(options: &str, text: &str) -> BString {
    let words = options.split_whitespace();
    Dir::new().cmd("fg-fold").args(words).stdin(text).stdout()
}

#[test]
fn roots_are_what_was_asked_for() {
    for (options, folded) in [
        ("", "worker-1;f 10\nworker-2;f 20\n"),
        ("--split comm", "worker-1;f 10\nworker-2;f 20\n"),
        ("--split pid", "worker-1-7;f 10\nworker-2-7;f 20\n"),
        ("--split tid,cpu", "cpu 0;worker-1-7/8;f 10\ncpu 1;worker-2-7/9;f 20\n"),
        ("--tid --split cpu", "cpu 0;worker-1-7/8;f 10\ncpu 1;worker-2-7/9;f 20\n"),
        ("--merge-threads", "worker-*;f 30\n"),
        ("--merge-threads --pid", "worker-*-7;f 30\n"),
        ("--weight samples --merge-threads", "worker-*;f 2\n"),
        ("--event-filter faults", "a/b;f 1\n"),
        ("--event-filter all --merge-threads", "cycles;worker-*;f 30\nfaults;a/b;f 1\n"),
        ("--split event --merge-threads", "cycles;worker-*;f 30\nfaults;a/b;f 1\n"),
        ("--split event --event-filter faults", "faults;a/b;f 1\n"),
        ("--split cpu --skip-after f", "cpu 0;f 10\ncpu 1;f 20\n"),
    ] {
        assert_eq!(fg_fold(&format!("--no-unit {options}"), TEXT), folded, "{options}");
    }
}

#[test]
fn what_folded_stacks_cannot_tell_is_said() {
    for (options, is_said) in [
        ("", false),
        ("--kernel", false),
        ("--split comm", false),
        ("--split pid", true),
        ("--weight samples", true),
    ] {
        let run = Dir::new().cmd("fg-fold").args(options.split_whitespace()).stdin("a;f 2\n").run();
        assert_eq!(run.stdout, "a;f 2\n");
        assert_eq!(run.stderr.contains_str("folded already"), is_said, "{options}: {}", run.stderr);
    }
}

#[test]
fn the_unit_is_told_where_it_is_known() {
    let clock = TEXT.replace("cycles", "cpu-clock");
    let bare = "app 7 1.5: cycles: \n\t              10 f (/a)\n\n";
    let folded = "# unit: ns\na;f 1\n";
    let samples = "# unit: samples\na;f 1\n";
    for (options, text, line) in [
        ("", TEXT, "# unit: cycles 0"),
        ("", &clock, "# unit: ns 0"),
        // An unknown unit means samples.
        ("--weight samples", &clock, "worker-1;f 1"),
        ("--weight samples --event-filter all", &clock, "cpu-clock;worker-1;f 1"),
        ("--event-filter all", &clock, "cpu-clock;worker-1;f 10"),
        ("", bare, "app;f 1"),
        ("", &(bare.to_owned() + TEXT), "app;f 1"),
        ("--no-unit", TEXT, "worker-1;f 10"),
        ("", folded, "# unit: ns 0"),
        ("--no-unit", folded, "a;f 1"),
        ("", samples, "a;f 1"),
    ] {
        assert_eq!(
            fg_fold(options, text).lines().next(),
            Some(line.as_bytes()),
            "{options} {text}"
        );
    }
}

#[test]
fn the_unit_reaches_the_graph_and_peers_read_on() {
    let dir = Dir::new();
    dir.write("a.txt", TEXT);
    dir.write("ns.folded", "# unit: ns\na;f 1\n");
    let title = |folded: &BString| {
        let svg = dir.cmd("fg-render").stdin(folded).stdout();
        let start = svg.find("<title>all (").unwrap() + "<title>".len();
        svg[start..start + svg[start..].find("</title>").unwrap()].to_str().unwrap().to_owned()
    };
    let told = dir.cmd("fg-fold").arg("a.txt").stdout();
    assert_eq!(title(&told), "all (30 cycles, 100%)");
    let renamed = dir.cmd("fg-filter").args(["--keep", "f"]).stdin(&told).stdout();
    assert_eq!(title(&renamed), "all (30 cycles, 100%)");
    // A profile in nanoseconds and one that is not told to be are in nothing in common.
    let mixed = dir.cmd("fg-fold").args(["a.txt", "ns.folded"]).stdout();
    assert_eq!(title(&mixed), "all (31 samples, 100%)");
    let svg = dir.cmd("fg-render").arg("--countname=things").stdin(&told).stdout();
    assert!(svg.contains_str("all (30 things, 100%)"));
    // inferno passes over the line.
    let mut theirs = Vec::new();
    let mut options = inferno::flamegraph::Options::default();
    inferno::flamegraph::from_reader(&mut options, &told[..], &mut theirs).unwrap();
    assert!(theirs.contains_str("all (30 samples, 100%)"));
}

#[test]
fn a_split_can_be_files() {
    let dir = Dir::new();
    dir.write("a.txt", TEXT.to_owned() + &TEXT.replace("worker-1", "w;1").replace("f (", "g ("));
    dir.write("out/worker-1.folded", "old");
    let options = ["--split-files", "out", "--event-filter", "all", "a.txt"];
    assert_eq!(dir.cmd("fg-fold").args(options).stdout(), "");
    let index = "file\tweight\tstacks\tkey\n\
        cycles%3Bw%3A1.folded\t10\t1\tcycles;w:1\n\
        cycles%3Bworker-1.folded\t10\t1\tcycles;worker-1\n\
        cycles%3Bworker-2.folded\t40\t2\tcycles;worker-2\n\
        faults%3Ba%2Fb.folded\t2\t2\tfaults;a/b\n";
    assert_eq!(dir.read("out/index.tsv"), index);
    let worker = "cycles;worker-2;f 20\ncycles;worker-2;g 20\n";
    assert_eq!(dir.read("out/cycles%3Bworker-2.folded"), worker);
    // Older files stay, and no temporary file is left.
    assert_eq!(std::fs::read_dir(dir.path("out")).unwrap().count(), 6);
    assert_eq!(dir.read("out/worker-1.folded"), "old");
    dir.cmd("fg-fold")
        .args(["--split-files", "a.txt", "a.txt"])
        .run()
        .code(1)
        .says("cannot create");
}

proptest! {
    #[test]
    fn parts_are_the_whole(samples in prop::collection::vec(sample(), 1..12), by in any::<[bool; 4]>()) {
        let [tid, cpu, by_event, merge_threads] = by;
        let config = Config { tid, cpu, by_event, merge_threads, ..Config::default() };
        let text = samples.concat();
        let (whole, tally) = fold(text.as_bytes(), &config);
        // However it is split, no weight is lost: one is a sample, or a period.
        let sum = |folded: &BString| folded.lines().filter_map(flamepipe::folded::split).map(|line| line.weight).sum::<u64>();
        let left_out: u64 = tally.losses().map(|(_, count)| count.weight).sum();
        prop_assert_eq!(sum(&whole) + left_out, tally.read.weight);
        let config = Config { weighing: Weighing::Samples, ..config };
        let (whole, tally) = fold(text.as_bytes(), &config);
        let left_out: u64 = tally.losses().map(|(_, count)| count.items).sum();
        prop_assert_eq!(sum(&whole) + left_out, tally.read.items);
    }
}
