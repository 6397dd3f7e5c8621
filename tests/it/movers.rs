//! Tests fg-diff's table and gate against a slow twin that adds up frames with all that they call,
//! and on profiles of every kind.

use std::collections::{BTreeMap, BTreeSet};

use flamepipe::diff::{Config, Differ, Movers, Scale};
use flamepipe::folded::{self, Writer};
use flamepipe::sample::FrameTable;
use flamepipe::tally::Tally;
use proptest::prelude::*;

use crate::harness::Dir;

fn movers(scale: Scale, before: &str, after: &str) -> Movers {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut differ = Differ::new(Config::default(), Writer::new(Vec::new(), "memory"));
    folded::read(before.as_bytes(), "before", &mut frames, &mut differ, &mut tally).unwrap();
    differ.second();
    folded::read(after.as_bytes(), "after", &mut frames, &mut differ, &mut tally).unwrap();
    differ.movers(&frames, scale)
}

/// The total and self weight of each frame.
fn naive(text: &str) -> BTreeMap<&str, [u64; 2]> {
    let mut sums = BTreeMap::<&str, [u64; 2]>::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        let weight: u64 = weight.parse().unwrap();
        for frame in stack.split(';').collect::<BTreeSet<_>>() {
            sums.entry(frame).or_default()[0] += weight;
        }
        sums.entry(stack.rsplit(';').next().unwrap()).or_default()[1] += weight;
    }
    sums
}

fn profile() -> impl Strategy<Value = String> {
    let stack = prop::collection::vec("[a-e]", 1..6).prop_map(|names| names.join(";"));
    let line = (stack, 1u64..1000).prop_map(|(stack, weight)| format!("{stack} {weight}\n"));
    prop::collection::vec(line, 1..20).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn each_frame_counts_with_what_it_calls(before in profile(), after in profile()) {
        let ours = movers(Scale::Absolute, &before, &after);
        let old = naive(&before);
        let new = naive(&after);
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let changed = names.into_iter().filter(|name| old.get(name) != new.get(name)).count();
        prop_assert_eq!(ours.frames.len(), changed);
        for mover in &ours.frames {
            let name = mover.name.to_string();
            let weights = |map: &BTreeMap<&str, [u64; 2]>| map.get(&*name).copied().unwrap_or_default();
            let old = weights(&old);
            let new = weights(&new);
            prop_assert_eq!([mover.total.before, mover.own.before], old.map(|weight| weight as f64));
            prop_assert_eq!([mover.total.after, mover.own.after], new.map(|weight| weight as f64));
            let mark = if old == [0, 0] { "new" } else if new == [0, 0] { "vanished" } else { "" };
            prop_assert_eq!(mover.mark(), mark);
        }
        let sizes: Vec<f64> = ours.frames.iter().map(|mover| mover.total.delta().abs()).collect();
        prop_assert!(sizes.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_profile_does_not_differ_from_itself_at_any_length(profile in profile(), times in 1usize..4) {
        prop_assert_eq!(movers(Scale::Shares, &profile, &profile.repeat(times)).frames, []);
    }

    #[test]
    fn shares_only_move(before in profile(), after in profile()) {
        let there = movers(Scale::Shares, &before, &after);
        let sum: f64 = there.frames.iter().map(|mover| mover.own.delta()).sum();
        prop_assert!(sum.abs() < 1e-9, "{sum}");
        let back = movers(Scale::Shares, &after, &before);
        prop_assert_eq!(there.frames.len(), back.frames.len());
        for (there, back) in there.frames.iter().zip(&back.frames) {
            prop_assert_eq!(&there.name, &back.name);
            prop_assert_eq!(there.total.delta(), -back.total.delta());
            prop_assert_eq!(there.own.delta(), -back.own.delta());
        }
    }
}

#[test]
fn the_table_is_text_or_json() {
    let dir = Dir::new();
    dir.write("before", "main;f;f 60\nmain;old 40\n");
    dir.write("after", "main;f;f 120\nmain;g 80\n");
    let table = |args: &[&str]| {
        dir.cmd("fg-diff").args(["-q", "before", "after"]).args(args).stdout().to_string()
    };
    let text = table(&["--top", "9"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[1][..],
        "+40.00 % 0.00 % 40.00 % +40.00 % 0.00 % 40.00 % new g".split(' ').collect::<Vec<_>>()
    );
    assert_eq!(
        rows[2][..],
        "-40.00 % 40.00 % 0.00 % -40.00 % 40.00 % 0.00 % vanished old"
            .split(' ')
            .collect::<Vec<_>>()
    );
    assert_eq!(rows.len(), 3, "main and f have the share they had: {text}");
    let absolute = table(&["--top", "1", "--absolute"]);
    assert!(absolute.lines().nth(1).unwrap().trim_start().starts_with("+100 "), "{absolute}");
    let json: serde_json::Value = serde_json::from_str(&table(&["--top", "1", "--json"])).unwrap();
    assert_eq!(json["unit"], "percent");
    assert_eq!((&json["before"], &json["after"]), (&100.into(), &200.into()));
    let frames = json["frames"].as_array().unwrap();
    assert_eq!(
        (frames.len(), &frames[0]["frame"], &frames[0]["mark"]),
        (1, &"g".into(), &"new".into())
    );
    assert_eq!(frames[0]["total"]["change"], 40.0);
}

#[test]
fn a_gate_fails_when_a_share_grew_and_the_output_is_there() {
    let dir = Dir::new();
    dir.write("before", "main;f 900\nmain;g 100\n");
    dir.write("after", "main;f 1600\nmain;g 400\n");
    let gate = |args: &[&str]| dir.cmd("fg-diff").args(["-q", "before", "after"]).args(args).run();
    let failed = gate(&["--fail-above", "9.9"])
        .code(3)
        .says("1 frame grew by more than 9.9 percentage points");
    assert_eq!(failed.stdout, "main;f 1800 1600\nmain;g 200 400\n");
    failed.says("+10.00 %  10.00 % → 20.00 %  g").says("raise --fail-above, or use after as");
    gate(&["--fail-above", "10"]).success();
    gate(&["--fail-above", "10", "--absolute"]).code(3).says("3 frames");
    gate(&["--fail-above", "-1"]).code(2);
    dir.write("before", "main 0\n");
    gate(&["--fail-above", "10"]).code(1).says("before has no samples to compare");
}

#[test]
fn every_kind_of_profile_is_compared() {
    let dir = Dir::new();
    dir.write("a.folded", "app;main 3\n");
    dir.write("a.txt", "app 1 1.5: 3 cycles: \n\t    7f53 main+0x1 (/bin/a)\n\n");
    dir.cmd("fg-render").args(["-q", "a.folded", "-o", "a.svg"]).run().success();
    for input in ["a.folded", "a.txt", "a.svg"] {
        let diff = dir.cmd("fg-diff").args(["-q", "--no-unit", input, "a.folded"]).stdout();
        assert_eq!(diff, "app;main 3 3\n", "{input}");
    }
}

/// Of changes that are chance alone, one of twenty is larger than the noise.
#[test]
fn noise_is_what_chance_does() {
    let mut state = 1u64;
    let mut draw = |samples: u64| {
        let hits = (0..samples).filter(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).is_multiple_of(5)
        });
        let hits = hits.count() as u64;
        format!("main;f {hits}\nmain;g {}\n", samples - hits)
    };
    let rounds = 1000;
    let beyond = (0..rounds).filter(|_| {
        let movers = movers(Scale::Shares, &draw(400), &draw(900));
        movers.frames.iter().any(|mover| mover.name == "f" && !movers.is_noise(mover.total))
    });
    let beyond = beyond.count();
    assert!((20..90).contains(&beyond), "{beyond} of {rounds}");
}

/// However many functions are compared, chance fails the gate in one of a hundred comparisons at
/// most, and a function that grew by more than that fails it in nearly all.
#[test]
fn the_gate_is_for_all_functions_at_once() {
    let mut state = 7u64;
    // 40 functions of the same share. The first one takes `slower` percent longer.
    let mut draw = |slower: u64| {
        let mut hits = [0; 40];
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) % (4000 + slower) * 40 / 4000;
            hits[if at < 40 { at as usize } else { 0 }] += 1;
        }
        let line = |(at, hits): (usize, &u64)| format!("main;f{at} {hits}\n");
        hits.iter().enumerate().map(line).collect::<String>()
    };
    let rounds = 300;
    let mut fails = |slower: u64| {
        let failed = (0..rounds).filter(|_| {
            let movers = movers(Scale::Shares, &draw(0), &draw(slower));
            let [grown, _] = movers.above(0.5);
            !grown.is_empty()
        });
        failed.count()
    };
    let by_chance = fails(0);
    assert!(by_chance * 100 <= rounds * 2, "{by_chance} of {rounds}");
    // From 2.5 to 7.1 %.
    let caught = fails(200);
    assert!(caught * 100 >= rounds * 98, "{caught} of {rounds}");
}

#[test]
fn the_number_of_samples_is_known_or_not() {
    let samples = |before: &str, after: &str| movers(Scale::Shares, before, after).samples;
    assert_eq!(samples("a 3\nb 4\n", "a 1\n"), [Some(7), Some(1)]);
    let clock = "# unit: ns 0\na 3009027\nb 1003009\n";
    assert_eq!(samples(clock, "# unit: ns 0\na 2000\n"), [Some(4), Some(1)]);
    // No stack was sampled only once.
    let twice = "# unit: ns 0\na 2006018\nb 3009027\n";
    assert_eq!(samples(clock, twice), [Some(4), Some(5)]);
    // Blocked times, say.
    assert_eq!(samples(clock, "# unit: ns 0\na 1000\nb 1357\n"), [Some(4), None]);
    let unknown = movers(Scale::Shares, "# unit: ns 0\na 10\nb 13\n", "# unit: ns 0\na 11\n");
    assert_eq!(unknown.noise(unknown.frames[0].total), None);
    assert!(!unknown.is_noise(unknown.frames[0].total));
}

#[test]
fn a_reviewer_gets_markdown() {
    let dir = Dir::new();
    dir.write("before", "main;run;lex 100\nmain;run;parse;next 900\n");
    dir.write("after", "main;run;lex 300\nmain;run;parse;next 700\n");
    let markdown = |args: &[&str]| {
        let args = [&["-q", "--format", "md", "before", "after"], args].concat();
        dir.cmd("fg-diff").args(args).run()
    };
    let said = markdown(&["--fail-above", "2"]).code(3).stdout.to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "**1 function grew by more than 2 points** (1,000 samples before, 1,000 samples after)",
            "",
            "| | function, with what it calls | before | after | points | noise |",
            "|---|---|---:|---:|---:|---:|",
            "| 🔴 | `lex` | 10.00 % | 30.00 % | +20.00 | ±3.46 |",
        ]
    );
    // parse moved as much as next, which it calls.
    assert!(said.contains("| 🟢 | `next` |") && !said.contains("`parse`"), "{said}");
    assert!(said.contains("<details><summary>Callers of `lex`</summary>"), "{said}");
    assert!(said.contains("300 samples  lex > run > main"), "{said}");
    assert!(lines.len() <= 60);
    // The largest change may be chance, a smaller one is not.
    dir.write("before", "a;x 500\na;y 495\na;z 5\n");
    dir.write("after", "a;x 465\na;y 505\na;z 30\n");
    let said = markdown(&[]).success().stdout.to_string();
    assert!(said.starts_with("**The largest change beyond noise: `z` +2.50 points**"), "{said}");
    dir.write("before", "main;lex 1\nmain;x 9\n");
    dir.write("after", "main;lex 3\nmain;x 7\n");
    let said = markdown(&[]).success().stdout.to_string();
    assert!(said.starts_with("**The profiles are too small to tell: "), "{said}");
    dir.write("after", "main;lex 1\nmain;x 9\n");
    let same = "**Nothing changed** (10 samples before, 10 samples after)\n";
    assert_eq!(markdown(&[]).success().stdout, same);
}

#[test]
fn a_metrics_report_gets_lines() {
    let dir = Dir::new();
    dir.write("before", "main;lex 100\nmain;~\"\\ 900\n");
    dir.write("after", "main;lex 300\nmain;~\"\\ 700\n");
    let metrics = |args: &[&str]| {
        let args = [&["-q", "--format", "openmetrics", "before", "after"], args].concat();
        dir.cmd("fg-diff").args(args).stdout().to_string()
    };
    let expected = r##"# TYPE flamepipe_total_percent gauge
flamepipe_total_percent{function="lex"} 30
# TYPE flamepipe_change_points gauge
flamepipe_change_points{function="lex"} 20
# TYPE flamepipe_noise_points gauge
flamepipe_noise_points{function="lex"} 3.4641016151377544
# EOF
"##;
    assert_eq!(metrics(&["--top", "1"]), expected);
    let weights = metrics(&["--absolute"]);
    assert!(weights.contains(r#"flamepipe_change_weight{function="~\"\\"} -200"#), "{weights}");
    assert!(!weights.contains("noise"), "{weights}");
}

#[test]
fn chance_does_not_fail_the_gate() {
    let dir = Dir::new();
    dir.write("before", "main;lex 1\nmain;x 9\n");
    dir.write("after", "main;lex 3\nmain;x 7\n");
    let gate = ["before", "after", "--fail-above", "2"];
    dir.cmd("fg-diff").args(gate).run().success().says(
        "1 frame grew by more than 2 percentage points, but that may be chance (lex: +20.00 %, noise ±34.64): \
         record for longer to tell",
    );
}
