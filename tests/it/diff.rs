//! fg-diff: what inferno-diff-folded writes, in order and for names of any bytes.

use bstr::ByteSlice;
use flamepipe::diff::{Config, Differ};
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::sample::FrameTable;
use flamepipe::tally::Tally;
use inferno::differential;
use proptest::prelude::*;

use crate::harness::Dir;

fn diff(config: Config, before: &str, after: &str) -> String {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut differ = Differ::new(config, Writer::new(Vec::new(), "memory"));
    folded::read(before.as_bytes(), "before", &mut frames, &mut differ, &mut tally).unwrap();
    differ.second();
    folded::read(after.as_bytes(), "after", &mut frames, &mut differ, &mut tally).unwrap();
    differ.finish(&mut frames, &mut tally).unwrap();
    String::from_utf8(differ.into_inner().into_inner()).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn profile() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-b]", "0x[0-9a-g]{0,3}", "GC [0-9]", "é x", "f[0-9]\\.5"];
    let stack = prop::collection::vec(name, 1..4).prop_map(|names| names.join(";"));
    let line = (stack, 0u64..1000, prop_oneof![Just(""), Just(".0"), Just(".25")]);
    prop::collection::vec(
        line.prop_map(|(stack, weight, fraction)| format!("{stack} {weight}{fraction}\n")),
        0..20,
    )
    .prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn the_lines_are_infernos(before in profile(), after in profile(), normalize: bool, strip_hex: bool) {
        // If the first profile is the larger one, inferno scales it down to nothing.
        let total = |profile: &str| -> u64 {
            let weights = profile.lines().map(|line| line.rsplit(' ').next().unwrap());
            weights.map(|weight| weight.split('.').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let normalize = normalize && (1..=total(&after)).contains(&total(&before));
        let mut theirs = Vec::new();
        let options = differential::Options { normalize, strip_hex };
        differential::from_readers(options, before.as_bytes(), after.as_bytes(), &mut theirs).unwrap();
        let ours = diff(Config { normalize, strip_hex }, &before, &after);
        prop_assert_eq!(sorted(&ours), sorted(theirs.to_str().unwrap()));
        prop_assert_eq!(diff(Config { normalize, strip_hex }, &before, &after), ours, "the order is fixed");
    }
}

#[test]
fn names_of_any_bytes_stay_as_they_are() {
    let dir = Dir::new();
    dir.write("before", b"a;\xff 1\na;\xfe 2\n");
    let outcome = dir
        .cmd("fg-diff")
        .args(["--absolute", "before", "-"])
        .stdin(b"a;\xff 5\nodd\n")
        .run()
        .success();
    assert_eq!(outcome.stdout, b"a;\xfe 2 0\na;\xff 1 5\n".as_bstr());
    outcome.says("1 odd line or record skipped, the first: “odd”");
}

#[test]
fn differences_are_drawn() {
    let dir = Dir::new();
    dir.write("before", "main;f 1\nmain;g 9\n");
    dir.write("after", "main;f 9\nmain;g 1\n");
    dir.cmd("fg-diff").args(["-q", "-o", "diff", "before", "after"]).run().success();
    assert_eq!(dir.read("diff"), "main;f 1 9\nmain;g 9 1\n");
    let svg = dir.cmd("fg-render").arg("diff").stdout();
    assert!(svg.contains_str("<title>f (9 samples, 90.00%; +80.00%)"), "{svg}");
    assert!(svg.contains_str("<title>g (1 sample, 10.00%; -80.00%)"), "{svg}");
}

#[test]
fn the_graph_of_a_comparison_is_no_profile() {
    let dir = Dir::new();
    dir.write("diff", "main;f 1 9\nmain;g 9 1\n");
    dir.write("before", "main;f 1\n");
    for graph in ["diff.svg", "diff.html"] {
        dir.cmd("fg-render").args(["-o", graph, "diff"]).run().success();
        for sides in [["before", graph], [graph, "before"]] {
            let refused = dir.cmd("fg-diff").args(sides).run();
            assert!(refused.stdout.is_empty() && !refused.status.success());
            refused.says("compare the two profiles that it was made from");
        }
    }
}

#[test]
fn other_units_are_told() {
    let dir = Dir::new();
    dir.write("ns", "# unit: ns 0\na 5\n");
    dir.write("samples", "a 5\n");
    for form in [&["--strict"][..], &["--strict", "--top", "1"]] {
        let diff = dir.cmd("fg-diff").args(form).args(["ns", "samples"]);
        diff.run().code(3).says("1 input in another unit");
    }
    dir.cmd("fg-diff").args(["--strict", "ns", "ns"]).run().success();
}

#[test]
fn an_empty_side_is_a_profile_of_nothing() {
    let dir = Dir::new();
    dir.write("before", "");
    dir.write("after", "main;f 9\n");
    let outcome = dir.cmd("fg-diff").args(["-n", "before", "after"]).run().success();
    assert_eq!(outcome.stdout, "main;f 0 9\n");
    outcome.says("before has no samples");
    dir.cmd("fg-diff").args(["before", "before"]).run().code(1).says("is empty");
    dir.cmd("fg-diff").args(["-", "-"]).run().code(2).says("only one of the two profiles");
    dir.cmd("fg-diff").args(["gone", "before"]).run().code(1).says("cannot read gone");
}

#[test]
fn the_unit_of_samples_reaches_the_graph() {
    let dir = Dir::new();
    let sample = "app 7 1.5: 10 cpu-clock: \n\t            1000 f+0x1 (/a)\n\n";
    dir.write("a", sample);
    dir.write("b", sample.repeat(2));
    let diff = |args: &[&str]| dir.cmd("fg-diff").args(["a", "b"]).args(args).stdout();
    assert_eq!(diff(&["--no-unit"]), "app;f 20 20\n");
    let told = diff(&[]);
    assert_eq!(told, "# unit: ns 0 0\napp;f 20 20\n");
    let graph = dir.cmd("fg-render").stdin(&told).stdout();
    assert!(graph.contains_str("<title>f (20 ns, "), "{graph}");
}
