//! fg-top: functions, callers, callees and paths as text.

use std::collections::BTreeMap;

use bstr::ByteSlice;
use proptest::prelude::*;
use serde_json::Value;

use crate::harness::Dir;
#[cfg(target_os = "linux")]
use crate::{record::burn, recording::record};

const PROFILE: &str = "# unit: ns 0\nmain;run;parse 40000000\nmain;run;read;memcpy 30000000\n\
                       main;run;read;run 20000000\nidle 10000000\n";

#[track_caller]
fn top(args: &[&str], profile: &str) -> String {
    let dir = Dir::new();
    let out = dir.cmd("fg-top").arg("-q").args(args).stdin(profile).stdout();
    out.to_str().unwrap().to_owned()
}

#[test]
fn functions_have_self_and_total() {
    assert_eq!(
        top(&["-n", "3"], PROFILE),
        "               self                total  function\n \
          40.0 %     40.0 ms   40.0 %     40.0 ms  parse\n \
          30.0 %     30.0 ms   30.0 %     30.0 ms  memcpy\n \
          20.0 %     20.0 ms   90.0 %     90.0 ms  run\n \
          10.0 %     10.0 ms                       3 more\n"
    );
    let by_total = top(&["--total", "--format", "md", "-n", "2"], PROFILE);
    let rows: Vec<_> = by_total.lines().skip(2).collect();
    assert_eq!(rows[0], "| 20.0 % | 20.0 ms | 90.0 % | 90.0 ms | `run` |");
    assert_eq!(rows[1], "| 0.0 % | 0 s | 90.0 % | 90.0 ms | `main` |");
    assert_eq!(rows[2], "| 80.0 % | 80.0 ms | | | 4 more |");
}

#[test]
fn trees_show_callers_callees_and_paths() {
    let tree = [
        " 90.0 %     90.0 ms  main > run",
        " 50.0 %     50.0 ms    read",
        " 30.0 %     30.0 ms      memcpy",
        " 20.0 %     20.0 ms      run",
        " 40.0 %     40.0 ms    parse",
        " 10.0 %     10.0 ms  idle",
    ];
    assert_eq!(top(&["--tree"], PROFILE).lines().collect::<Vec<_>>(), tree);
    assert_eq!(
        top(&["--callers", "^(memcpy|parse)$"], PROFILE),
        " 40.0 %     40.0 ms  parse > run > main\n 30.0 %     30.0 ms  memcpy > read > run > main\n"
    );
    assert_eq!(
        top(&["--callees", "^run$", "--depth", "1"], PROFILE),
        " 90.0 %     90.0 ms  run\n 50.0 %     50.0 ms  at most, in each of 4 more\n"
    );
    assert_eq!(
        top(&["--tree", "-n", "2"], PROFILE),
        " 90.0 %     90.0 ms  main > run\n 50.0 %     50.0 ms    read\n 40.0 %     40.0 ms  at most, in each of 4 more\n"
    );
}

#[test]
fn frames_are_summed_by_crates_threads_and_kinds() {
    let profile = "web;core::f;[libm.so.6] 3\nweb;core::f;sys_read_[k] 1\nworker;main 4\n";
    let groups = |by: &str| {
        let table = top(&["--by", by, "--format", "json"], profile);
        let table: Value = serde_json::from_str(&table).unwrap();
        let row =
            |row: &Value| (row["name"].to_string(), row["self"].clone(), row["total"].clone());
        table["functions"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let row = |name: &str, own: u64, total: u64| (format!("\"{name}\""), own.into(), total.into());
    let crates =
        [row("[other]", 4, 8), row("[libm.so.6]", 3, 3), row("[kernel]", 1, 1), row("core", 0, 4)];
    assert_eq!(groups("crate"), crates);
    assert_eq!(groups("thread"), [row("web", 4, 4), row("worker", 4, 4)]);
    let unmarked = Dir::new().cmd("fg-top").args(["--by", "kind"]).stdin("web;sys_read 1\n").run();
    unmarked.code(0).says("fold the recording with fg-fold --all");
    let kinds = [row("program", 4, 8), row("without a name", 3, 3), row("kernel", 1, 1)];
    assert_eq!(groups("kind"), kinds);
}

#[test]
fn frames_are_summed_by_modules() {
    let script = "app 7 1.5: 30 cycles: \n\t 20 memcpy+0x2 (/lib/libc.so.6)\n\t 10 g+0x1 (inlined)\n\
        \t 10 main+0x8 (/app)\n\napp 7 1.6: 10 cycles: \n\t 30 g+0x1 (inlined)\n\t 10 main+0x8 (/app)\n\n\
        app 7 1.7: 60 cycles: \n\t ffffffff81000000 vfs_read+0x2 ([kernel.kallsyms])\n\t 10 main+0x8 (/app)\n\n";
    let by = |args: &[&str]| top(&[&["--by", "module", "--format", "md"], args].concat(), script);
    assert_eq!(
        by(&[]),
        "| self | | total | | module |\n|---:|---:|---:|---:|---|\n\
         | 60.0 % | 60 cycles | 60.0 % | 60 cycles | `[kernel.kallsyms]` |\n\
         | 30.0 % | 30 cycles | 30.0 % | 30 cycles | `/lib/libc.so.6` |\n\
         | 10.0 % | 10 cycles | 100.0 % | 100 cycles | `/app` |\n"
    );
    assert!(by(&["--callers", "libc"]).contains("/app"));
    let folded = Dir::new().cmd("fg-top").args(["--by", "module"]).stdin("web;f 1\n").run();
    folded.success().says("have no modules");
}

#[test]
fn the_second_profile_of_a_differential_is_printed() {
    let dir = Dir::new();
    let differential = "# unit: ns 0 0\nmain;f 10 30000000\nmain;gone 50 0\nmain;g 7 10000000\n";
    let table = dir.cmd("fg-top").stdin(differential).run();
    let table = table.code(0).says("printing the second");
    assert_eq!(
        table.stdout,
        "               self                total  function\n \
          75.0 %     30.0 ms   75.0 %     30.0 ms  f\n \
          25.0 %     10.0 ms   25.0 %     10.0 ms  g\n  \
           0.0 %         0 s  100.0 %     40.0 ms  main\n"
    );
    // In a plain profile, the number belongs to the name.
    assert!(top(&[], "main 3\nGC Thread 0 12\n").contains("GC Thread 0\n"));
    let plain = dir.cmd("fg-top").stdin("GC Thread 0 12\nmain 3\n").run().code(0);
    assert!(!plain.stderr.contains_str("second"), "{}", plain.everything());
}

#[test]
fn a_table_says_what_its_rows_are() {
    let off_cpu = "on-cpu;web;f 1\noff-cpu;web;g 2\noff-cpu;db;g 4\n";
    assert_eq!(
        top(&["--by", "thread"], off_cpu),
        "               self                total  thread\n \
          57.1 %   4 samples   57.1 %   4 samples  db\n \
          42.9 %   3 samples   42.9 %   3 samples  web\n"
    );
    assert!(
        top(&["--by", "crate", "--format", "md"], off_cpu)
            .starts_with("| self | | total | | crate |\n")
    );
    let dir = Dir::new();
    let none =
        dir.cmd("fg-top").args(["--by", "crate", "--callers", "nobody"]).stdin(PROFILE).run();
    none.code(1).says("no crate of the profile matches");
    for roots in [["--split", "cpu"], ["--event-filter", "all"], ["--skip-after", "main"]] {
        let args = dir.cmd("fg-top").args(["--by", "thread"]).args(roots);
        args.stdin(PROFILE).run().code(2).says("--by thread needs the threads as roots");
    }
}

#[test]
fn nothing_to_print_is_said() {
    let dir = Dir::new();
    let none = dir.cmd("fg-top").args(["--callers", "nobody"]).stdin(PROFILE).run();
    none.code(1).says("no function of the profile matches");
    let empty = dir.cmd("fg-top").stdin("").run();
    assert_eq!(empty.status.code(), Some(1), "{}", empty.everything());
}

#[test]
fn hostile_names_stay_in_their_lines() {
    let profile = "a\x1b[31m\x07b;c|d`e 3\n";
    for format in ["text", "md"] {
        let text = top(&["--format", format], profile);
        assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
    }
    assert!(top(&["--format", "md"], profile).contains("| `` c\\|d`e `` |"));
    let deep = "again;".repeat(30_000) + "leaf 1\n" + &"again;".repeat(29_000) + "x 1\n";
    let tree = top(&["--tree"], &deep);
    assert_eq!(tree.lines().count(), 3, "{tree}");
    assert!(tree.contains("again > again > … 28995 more … > again"), "{tree}");
    // A level for each frame: some are shown, and the others are counted.
    let levels: String = (1..=1_500).map(|depth| "a;".repeat(depth) + " 1\n").collect();
    let levels = levels.replace("; 1", " 1");
    let tree = top(&["--tree", "-n", "2000"], &levels);
    assert_eq!(tree.lines().count(), 1_001);
    assert!(tree.ends_with("at most, in each of 500 more\n"), "{tree}");
    assert!(top(&["--callees", "leaf"], &deep).ends_with("leaf\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn functions_are_those_of_perf_report() {
    let dir = Dir::new();
    let test = "functions_are_those_of_perf_report";
    let burn = [burn().to_str().unwrap(), "--ms", "400"];
    if record(&dir, test, "-F 997 --call-graph fp", &burn).is_none() {
        return;
    }
    let args = ["report", "--no-children", "--stdio", "-g", "none", "-i", "perf.data"];
    let args = [&args[..], &["-s", "symbol", "-t", "|", "--percent-limit", "0"]].concat();
    let report = dir.cmd("perf").args(args).stdout();
    let mut theirs = BTreeMap::<String, f64>::new();
    // ` 27.20% |[.] main   |-`
    for line in report.to_str_lossy().lines().filter(|line| line.contains("|[")) {
        let (share, symbol) = line.split_once("|[").unwrap();
        let share = share.replace('%', "");
        let name = symbol.split_once("] ").unwrap().1.split('|').next().unwrap().trim();
        *theirs.entry(name.to_owned()).or_default() += share.trim().parse::<f64>().unwrap();
    }
    let args = ["-q", "--no-inline", "-n", "1000000", "--format", "json", "perf.data"];
    let ours: Value = serde_json::from_slice(&dir.cmd("fg-top").args(args).stdout()).unwrap();
    let total = ours["total"].as_f64().unwrap();
    let rows = ours["functions"].as_array().unwrap();
    let mut compared = 0.0;
    for row in rows.iter().filter(|row| row["self"] != 0) {
        let share = 100.0 * row["self"].as_f64().unwrap() / total;
        let name = row["name"].as_str().unwrap();
        // Names that perf lacks are marked, and others may be written in another way.
        if let Some(theirs) = theirs.get(name) {
            assert!((share - theirs).abs() <= 0.1, "{name}: {share}, perf: {theirs}");
            compared += share;
        }
    }
    assert!(compared > 90.0, "only {compared} % has the same names:\n{report}");
}

/// The weights of the nodes and of what is left out right below each must be those of the node.
fn check_sums(nodes: &Value, left_out: &Value, weight: u64) {
    let nodes = nodes.as_array().unwrap();
    let sum: u64 = nodes.iter().map(|node| node["weight"].as_u64().unwrap()).sum();
    assert_eq!(sum + left_out["weight"].as_u64().unwrap(), weight);
    for node in nodes {
        let below = node["weight"].as_u64().unwrap() - node["self"].as_u64().unwrap();
        check_sums(&node["nodes"], &node["left_out"], below);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_is_lost_and_nothing_counts_twice(
        stacks in proptest::collection::vec((proptest::collection::vec("[abc]", 1..6), 1u64..99), 1..40),
        lines in "[1-9]|1[0-9]"
    ) {
        let mut folded = String::new();
        let mut twin = BTreeMap::<&str, (u64, u64)>::new();
        let total: u64 = stacks.iter().map(|(_, weight)| weight).sum();
        for (stack, weight) in &stacks {
            folded += &format!("{} {weight}\n", stack.join(";"));
            let mut names: Vec<&str> = stack.iter().map(String::as_str).collect();
            twin.entry(names[names.len() - 1]).or_default().0 += weight;
            names.sort_unstable();
            names.dedup();
            names.iter().for_each(|name| twin.entry(name).or_default().1 += weight);
        }
        let table: Value = serde_json::from_str(&top(&["--format", "json"], &folded)).unwrap();
        let row = |row: &Value| {
            let number = |key: &str| row[key].as_u64().unwrap();
            (row["name"].as_str().unwrap().to_owned(), (number("self"), number("total")))
        };
        let rows: BTreeMap<_, _> = table["functions"].as_array().unwrap().iter().map(row).collect();
        let twin: BTreeMap<_, _> = twin.into_iter().map(|(name, sums)| (name.to_owned(), sums)).collect();
        prop_assert_eq!(rows, twin);
        for view in [&["--tree"][..], &["--callers", "b"], &["--callees", "b"]] {
            let holds = |stack: &Vec<String>| view.len() == 1 || stack.contains(&"b".to_owned());
            let weight: u64 = stacks.iter().filter(|(stack, _)| holds(stack)).map(|(_, w)| w).sum();
            if weight == 0 {
                continue;
            }
            let args = [view, &["--format", "json", "-n", &lines]].concat();
            let tree: Value = serde_json::from_str(&top(&args, &folded)).unwrap();
            prop_assert_eq!((tree["total"].as_u64(), tree["weight"].as_u64()), (Some(total), Some(weight)));
            check_sums(&tree["nodes"], &tree["left_out"], weight);
        }
    }
}
