//! fg-export: what other tools read has the stacks, names and weights of fg-fold.

use std::collections::BTreeMap;
use std::io::Read;

use bstr::ByteSlice;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use proptest::prelude::*;

use crate::harness::{Dir, cannot_run, is_not_for_here, repo};
use crate::page;
use crate::recording::sums;

mod lines;

const PROFILE: &str = "# unit: ns 0\nmain;f;g 3\nmain;f 4\nmain;<T as a::B>::c d 5\nGC 0 1 6\n";

/// The samples of two threads, as text.
const TWO_THREADS: &str = "\
a 1/1 1.000000: 1000000 cpu-clock: \n\t7f53 leaf+0x1 (/bin/a)\n\t7f54 main+0x1 (/bin/a)\n
a 1/1 1.001000: 1000000 cpu-clock: \n\t7f54 main+0x1 (/bin/a)\n
b 1/2 1.005000: 1000000 cpu-clock: \n\t7f53 leaf+0x1 (/bin/a)\n
";

/// The fields of a message: number, and a number or bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (text, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(text)
            }
            kind => panic!("kind {kind}"),
        };
        all.push((tag >> 3, field));
    }
    all
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let mut fields = fields(message).into_iter();
    fields
        .find_map(|(at, field)| match field {
            Field::Number(value) if at == wanted => Some(value),
            _ => None,
        })
        .unwrap_or(0)
}

/// The stacks of a pprof, as folded text has them, and the type and unit of its values.
fn of_pprof(packed: &[u8]) -> (BTreeMap<String, u64>, [String; 2]) {
    let mut profile = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut profile).unwrap();
    let all = fields(&profile);
    let messages = |wanted: u64| {
        all.iter().filter_map(move |(at, field)| match field {
            Field::Bytes(bytes) if *at == wanted => Some(*bytes),
            _ => None,
        })
    };
    let strings: Vec<&str> = messages(6).map(|text| text.to_str().unwrap()).collect();
    let functions: BTreeMap<u64, &str> = messages(5)
        .map(|function| (number(function, 1), strings[number(function, 2) as usize]))
        .collect();
    let of_line = |location: &[u8]| {
        let line = fields(location).into_iter().find_map(|(at, field)| match field {
            Field::Bytes(line) if at == 4 => Some(number(line, 1)),
            _ => None,
        });
        line.unwrap()
    };
    let locations: BTreeMap<u64, &str> =
        messages(4).map(|location| (number(location, 1), functions[&of_line(location)])).collect();
    let mut stacks = BTreeMap::new();
    for sample in messages(2) {
        let mut ids = fields(sample)
            .into_iter()
            .find_map(|(at, field)| match field {
                Field::Bytes(ids) if at == 1 => Some(ids),
                _ => None,
            })
            .unwrap();
        let mut names = Vec::new();
        while !ids.is_empty() {
            names.insert(0, locations[&varint(&mut ids)]);
        }
        *stacks.entry(names.join(";")).or_default() += number(sample, 2);
    }
    let kind = messages(1).next().unwrap();
    let text = |field| strings[number(kind, field) as usize].to_owned();
    assert_eq!(strings[0], "");
    (stacks, [text(1), text(2)])
}

fn of_speedscope(text: &[u8]) -> BTreeMap<String, u64> {
    let file: Value = serde_json::from_slice(text).unwrap();
    let profile = &file["profiles"][0];
    let name = |id: &Value| {
        file["shared"]["frames"][id.as_u64().unwrap() as usize]["name"].as_str().unwrap().to_owned()
    };
    let samples = profile["samples"].as_array().unwrap().iter();
    let weights = profile["weights"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap());
    let stack =
        |ids: &Value| ids.as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(";");
    let stacks: BTreeMap<_, _> = samples.map(stack).zip(weights).collect();
    assert_eq!(profile["endValue"].as_u64(), Some(stacks.values().sum()));
    stacks
}

fn of_text(folded: &[u8]) -> BTreeMap<String, u64> {
    let lines = folded.lines().filter(|line| !line.starts_with(b"#"));
    let text = lines.collect::<Vec<_>>().join(&b"\n"[..]);
    sums(&text).into_iter().map(|(stack, weight)| (stack.to_string(), weight)).collect()
}

#[test]
fn peers_get_the_stacks_of_the_folder() {
    let dir = Dir::new();
    dir.write("in", PROFILE);
    let folded = dir.cmd("fg-fold").args(["-q", "in"]).stdout();
    let export = |args: &[&str]| dir.cmd("fg-export").arg("-q").args(args).arg("in").stdout();
    let (stacks, unit) = of_pprof(&export(&["--format", "pprof"]));
    assert_eq!(stacks, of_text(&folded));
    assert_eq!(unit, ["cpu", "nanoseconds"]);
    let speedscope = export(&["--format", "speedscope"]);
    assert_eq!(of_speedscope(&speedscope), stacks);
    assert!(speedscope.contains_str("\"unit\":\"nanoseconds\""));
    // The name of the file tells the format.
    export(&["-o", "x.pb.gz"]);
    export(&["-o", "x.speedscope.json"]);
    assert_eq!(of_pprof(&dir.read("x.pb.gz")).0, stacks);
    assert_eq!(dir.read("x.speedscope.json"), speedscope);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let dir = Dir::new();
    let export = |args: &[&str], text: &str| dir.cmd("fg-export").args(args).stdin(text).run();
    export(&["-o", "x.svg"], PROFILE).code(2).says("give --format");
    export(&["-o", "x.json"], "").code(1);
    let most = format!("a {}\n", u64::MAX / 2 + 1);
    export(&["-o", "x.pb.gz"], &most).code(1).says("the profile");
    export(&["-o", "x.json"], &most).code(1).says("the profile");
    assert!(dir.names().is_empty(), "{:?}", dir.names());
    let odd = dir.cmd("fg-export").args(["--format", "speedscope"]).stdin(&b"a\xff 1\n"[..]).run();
    assert_eq!(of_speedscope(&odd.says("1 name with replaced bytes").stdout)["a\u{fffd}"], 1);
}

#[test]
fn go_reads_it() {
    let dir = Dir::new();
    let test = "go_reads_it";
    dir.write("in", PROFILE);
    dir.cmd("fg-export").args(["-q", "-o", "x.pb.gz", "in"]).stdout();
    let top = dir.cmd("go").args(["tool", "pprof", "-top", "-unit=ns", "x.pb.gz"]);
    let Ok(output) = { top }.command.output() else {
        return is_not_for_here(test, "go is not installed");
    };
    if !output.status.success() {
        return cannot_run(test, &output.stderr.to_str_lossy());
    }
    let said = output.stdout.to_str_lossy().into_owned();
    assert!(said.contains("Type: cpu") && said.contains("100% of 18ns total"), "{said}");
    // flat, flat%, sum%, cum, cum%, name
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let row =
        |name: &str| rows.iter().find(|row| row.get(5..).is_some_and(|it| it.join(" ") == name));
    assert_eq!(row("f").map(|row| (row[0], row[3])), Some(("4ns", "7ns")), "{said}");
    assert!(row("<T as a::B>::c d").is_some(), "{said}");
}

#[test]
fn labels_are_those_of_pprof() {
    let dir = Dir::new();
    let test = "labels_are_those_of_pprof";
    dir.write("in", PROFILE);
    let labelled = ["-q", "--label", "host=a,build=1 b", "in", "-o"];
    dir.cmd("fg-export").args(labelled).arg("x.json").run().code(2).says("--label is for pprof");
    dir.cmd("fg-export").args(labelled).arg("x.pb.gz").stdout();
    // The reader takes only its own labels for roots.
    let plain = dir.cmd("fg-export").args(["-q", "--format", "pprof", "in"]).stdout();
    assert_eq!(of_pprof(&dir.read("x.pb.gz")), of_pprof(&plain));
    let Ok(output) = dir.cmd("go").args(["tool", "pprof", "-tags", "x.pb.gz"]).command.output()
    else {
        return is_not_for_here(test, "go is not installed");
    };
    if !output.status.success() {
        return cannot_run(test, &output.stderr.to_str_lossy());
    }
    let said = output.stdout.to_str_lossy().into_owned();
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("build: Total 18.0ns 18.0ns ( 100%): 1 b"), "{said}");
    assert!(words.contains("host: Total 18.0ns 18.0ns ( 100%): a"), "{said}");
}

/// The stacks of fg-export's `format`, read by fg-fold.
fn back(dir: &Dir, format: &str, input: &str) -> bstr::BString {
    let exported = dir.cmd("fg-export").args(["-q", "--format", format, input]).stdout();
    dir.cmd("fg-fold").arg("-q").stdin(exported).stdout()
}

#[test]
fn exports_are_read_back() {
    let dir = Dir::new();
    dir.write("in", PROFILE);
    let folded = dir.cmd("fg-fold").args(["-q", "in"]).stdout();
    for format in ["pprof", "speedscope", "firefox", "chrome", "folded"] {
        assert_eq!(back(&dir, format, "in"), folded, "{format}");
    }
    let other = dir.cmd("fg-export").args(["-q", "--format", "callgrind", "in"]).stdout();
    dir.cmd("fg-fold").stdin(other).run().code(1).says("it keeps no paths of calls");
    let cycles = PROFILE.replace("unit: ns", "unit: cycles");
    dir.write("cycles", &cycles);
    assert!(back(&dir, "pprof", "cycles").starts_with(b"# unit: cycles 0\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_stacks_are_read_back(
        stacks in prop::collection::vec(
            (prop::collection::vec("[ -:<-~]{0,5}[a-zé>)]", 1..6), 1u64..1 << 40), 1..20,
        ),
    ) {
        let lines = stacks.iter().map(|(names, weight)| format!("r{} {weight}\n", names.join(";")));
        let text: String = lines.collect();
        let dir = Dir::new();
        dir.write("in", format!("# unit: ns 0\n{text}"));
        let folded = of_text(&dir.cmd("fg-fold").args(["-q", "in"]).stdout());
        for format in ["pprof", "speedscope", "firefox", "chrome"] {
            prop_assert_eq!(&of_text(&back(&dir, format, "in")), &folded, "{}", format);
        }
    }
}

#[test]
fn recordings_keep_their_threads_and_times() {
    let dir = Dir::new();
    let golden = repo().join("tests/data/golden");
    for name in ["chains", "jit", "stacks"] {
        let recording = golden.join(format!("{name}.data"));
        let recording = recording.to_str().unwrap();
        let folded = dir.cmd("fg-fold").args(["-q", recording]).stdout();
        for format in ["firefox", "speedscope"] {
            assert_eq!(back(&dir, format, recording), folded, "{name} as {format}");
        }
    }
    let recording = golden.join("stacks.data");
    let export = |name: &str| {
        dir.cmd("fg-export").args(["-q", "-o", name]).arg(&recording).stdout();
        let text = dir.cmd("fg-fold").args(["-q", "--tid", name]).stdout();
        let mut bytes = dir.read(name).to_vec();
        if name.ends_with(".gz") {
            let packed = std::mem::take(&mut bytes);
            GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        }
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        (file, text)
    };
    let (firefox, text) = export("x.json.gz");
    assert_eq!(text, dir.cmd("fg-fold").args(["-q", "--tid"]).arg(&recording).stdout());
    let thread = &firefox["threads"][0];
    let times: Vec<f64> = thread["samples"]["time"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_f64().unwrap())
        .collect();
    assert!(times.len() > 5 && times.is_sorted() && times[0] < times[5], "{times:?}");
    let script = dir.cmd("fg-script").arg(&recording).stdout();
    let headers = script.lines().filter(|line| line.ends_with_str(": ") || line.ends_with_str(":"));
    let samples = firefox["threads"].as_array().unwrap().iter();
    let samples: u64 = samples.map(|it| it["samples"]["length"].as_u64().unwrap()).sum();
    assert_eq!(samples as usize, headers.count());
    let libs: Vec<_> = firefox["libs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(libs, ["unchained"]);
    // A flame chart lasts as long as its lanes.
    let (chrome, text) = export("x.trace.json");
    assert!(chrome["traceEvents"].as_array().unwrap().len() > 20);
    let total = |text: &[u8]| of_text(text).values().sum::<u64>();
    let periods = total(&dir.cmd("fg-fold").arg("-q").arg(&recording).stdout());
    assert!(total(&text).abs_diff(periods) * 20 < periods);
}

/// Whatever fg-fold reads, flamegraph writes the profile that fg-export writes, beside the graph of
/// fg-fold's stacks.
#[test]
fn both_ways_write_the_same_profile() {
    let dir = Dir::new();
    dir.cmd("fg-export").args(["-q", "-o", "in.json.gz"]).stdin(TWO_THREADS).stdout();
    dir.cmd("fg-export").args(["-q", "-o", "in.speedscope.json"]).stdin(TWO_THREADS).stdout();
    dir.cmd("fg-render").args(["-q", "-o", "in.svg"]).stdin(PROFILE).stdout();
    for input in ["in.json.gz", "in.speedscope.json", "in.svg"] {
        for output in ["x.json.gz", "x.speedscope.json", "x.trace.json"] {
            dir.cmd("fg-export").args(["-q", "-o", output, input]).stdout();
            let alone = dir.read(output);
            let args = ["-q", "--perfdata", input, "-o", output, "-o", "x.svg"];
            dir.cmd("flamegraph").args(args).stdout();
            assert_eq!(dir.read(output), alone, "{input} as {output}");
            let folded = dir.cmd("fg-fold").args(["-q", input]).stdout();
            assert_eq!(dir.cmd("fg-fold").args(["-q", "x.svg"]).stdout(), folded, "{input}");
        }
    }
}

/// `--weight samples` counts samples in every format that can.
#[test]
fn samples_are_counted_if_asked() {
    let dir = Dir::new();
    let recording = repo().join("tests/data/golden/stacks.data");
    let counted = ["-q", "--weight", "samples"];
    let folded = dir.cmd("fg-fold").args(counted).arg(&recording).stdout();
    for format in ["pprof", "speedscope", "firefox"] {
        let export = dir.cmd("fg-export").args(counted).args(["--format", format]);
        let exported = export.arg(&recording).stdout();
        let back = dir.cmd("fg-fold").arg("-q").stdin(exported).stdout();
        assert_eq!(back, folded, "{format}");
    }
    let trace = dir.cmd("fg-export").args(counted).args(["--format", "chrome"]);
    trace.arg(&recording).run().code(2).says("omit --weight samples");
}

/// The samples of a thread are in order, at the time at which they were taken.
#[test]
fn speedscope_gets_a_profile_for_each_thread() {
    let dir = Dir::new();
    let sample = |tid, time, name| {
        format!("t 1/{tid} [000] {time}: 1000 cpu-clock: \n\t    7f53 {name}+0x1 (/bin/a)\n\n")
    };
    let samples = [
        (2, "1.000000", "a"),
        (2, "1.000001", "a"),
        (3, "1.000002", "c"),
        (2, "1.000002", "b"),
        (2, "1.000007", "a"),
    ];
    dir.write("in", samples.map(|(tid, time, name)| sample(tid, time, name)).concat());
    let export = |args: &[&str]| {
        let mut cmd = dir.cmd("fg-export").args(["-q", "--format", "speedscope", "in"]);
        cmd = cmd.args(args);
        let text = cmd.stdout();
        (serde_json::from_slice::<Value>(&text).unwrap(), text)
    };
    let (file, text) = export(&[]);
    let names: Vec<_> = file["shared"]["frames"].as_array().unwrap().iter().collect();
    let stacks = |profile: &Value| {
        let samples = profile["samples"].as_array().unwrap().iter();
        let name = |id: &Value| names[id.as_u64().unwrap() as usize]["name"].as_str().unwrap();
        let stack = |ids: &Value| ids.as_array().unwrap().iter().map(name).collect::<String>();
        let weights = profile["weights"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap());
        samples.map(stack).zip(weights).collect::<Vec<_>>()
    };
    let said = |stacks: &[(&str, u64)]| {
        stacks.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect::<Vec<_>>()
    };
    let [first, second] = &file["profiles"].as_array().unwrap()[..] else { panic!("{file}") };
    assert_eq!(stacks(first), said(&[("a", 2000), ("b", 1000), ("", 4000), ("a", 1000)]));
    assert_eq!(stacks(second), said(&[("", 2000), ("c", 1000)]));
    assert_eq!(
        (&first["name"], &first["unit"]),
        (&"t pid: 1 tid: 2".into(), &"nanoseconds".into())
    );
    assert_eq!((&first["startValue"], &first["endValue"]), (&0.into(), &8000.into()));
    assert_eq!(file["activeProfileIndex"], 0);
    for args in [&["-q"][..], &["-q", "--pid"], &["-q", "--tid"]] {
        let ours = dir.cmd("fg-fold").args(args).arg("in").stdout();
        assert_eq!(dir.cmd("fg-fold").args(args).stdin(&text[..]).stdout(), ours, "{args:?}");
    }
    // Other root frames, which threads do not have, come from the folder.
    let (file, _) = export(&["--split", "cpu"]);
    assert_eq!(file["profiles"].as_array().unwrap().len(), 1);
    assert!(file["shared"]["frames"].as_array().unwrap().contains(&json!({ "name": "cpu 0" })));
    // Samples without a time follow each other.
    let stack = |name| format!("t 1/2 cpu-clock: \n\t    7f53 {name}+0x1 (/bin/a)\n\n");
    dir.write("in", ["a", "b", "b", "a", "a"].map(stack).concat());
    let (file, _) = export(&[]);
    let timeless = file["profiles"][0]["samples"].as_array().unwrap();
    assert_eq!((timeless.len(), &file["profiles"][0]["weights"]), (3, &json!([1, 2, 2])));
}

#[test]
fn pprof_says_when_it_was_recorded() {
    let dir = Dir::new();
    let recording = repo().join("tests/data/golden/stacks.data");
    dir.cmd("fg-export")
        .args(["-q", "-o", "x.pb.gz", "--report", "report"])
        .arg(&recording)
        .stdout();
    let packed = dir.read("x.pb.gz");
    let mut profile = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut profile).unwrap();
    let report: Value = serde_json::from_slice(&dir.read("report")).unwrap();
    assert_eq!(Some(number(&profile, 10)), report["span_ns"].as_u64());
    // Our recorder notes the wall clock.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((1_750_000_000..now).contains(&(number(&profile, 9) / 1_000_000_000)));
}

#[test]
fn callgrind_annotate_reads_it() {
    let dir = Dir::new();
    let test = "callgrind_annotate_reads_it";
    // A function that calls itself through another one has its share once.
    dir.write("in", "# unit: ns 0\nmain;a;b;a;c 6\nmain;a 1\nmain;b 3\n");
    dir.cmd("fg-export").args(["-q", "-o", "callgrind.out.7", "in"]).stdout();
    let annotate = dir.cmd("callgrind_annotate").args([
        "--inclusive=yes",
        "--threshold=100",
        "callgrind.out.7",
    ]);
    let Ok(output) = { annotate }.command.output() else {
        return is_not_for_here(test, "valgrind is not installed");
    };
    if !output.status.success() {
        return cannot_run(test, &output.stderr.to_str_lossy());
    }
    assert_eq!(output.stderr.as_bstr(), "");
    let said = output.stdout.to_str_lossy().into_owned();
    let costs: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| Some((line.rsplit_once("???:")?.1, line.split_whitespace().next()?)))
        .collect();
    let expected = [("a", "7"), ("b", "9"), ("c", "6"), ("main", "10")];
    assert!(expected.iter().all(|(name, cost)| costs.get(name) == Some(cost)), "{said}");
    assert!(said.contains("Events shown:     ns") && said.contains("10 (100.0%)  PROGRAM TOTALS"));
}

#[test]
fn the_firefox_profiler_reads_it() {
    let dir = Dir::new();
    let test = "the_firefox_profiler_reads_it";
    dir.write("in", PROFILE);
    dir.cmd("fg-export").args(["-q", "-o", "x.json.gz", "in"]).stdout();
    // Its sessions are files below the home directory.
    let run = |args: &[&str]| {
        let mut cli = dir.cmd("profiler-cli").args(args).env("HOME", dir.path("")).command;
        cli.output()
    };
    let Ok(loaded) = run(&["load", "x.json.gz"]) else {
        return is_not_for_here(
            test,
            "profiler-cli (npm: @firefox-devtools/profiler-cli) is not installed",
        );
    };
    if !loaded.status.success() {
        return cannot_run(test, &loaded.stderr.to_str_lossy());
    }
    let samples = run(&["thread", "samples", "--json"]);
    run(&["stop"]).unwrap();
    let samples: Value = serde_json::from_slice(&samples.unwrap().stdout).unwrap();
    let total = |name: &str| {
        let functions = samples["topFunctionsByTotal"].as_array().unwrap().iter();
        let mut named = functions.filter(|it| it["name"] == name);
        named.next().map(|it| (it["totalSamples"].as_f64().unwrap() * 1e6).round())
    };
    assert_eq!((total("main"), total("f"), total("g")), (Some(12.0), Some(7.0), Some(3.0)));
    assert_eq!(total("<T as a::B>::c d"), Some(5.0));
}

#[test]
fn flamegraph_writes_profiles_and_a_table_beside_graphs() {
    let dir = Dir::new();
    let recording = repo().join("tests/data/golden/stacks.data");
    let recording = recording.to_str().unwrap();
    let names = ["x.svg", "x.pb.gz", "x.json.gz", "x.speedscope.json", "x.html", "callgrind.out.x"];
    let outputs = names.iter().flat_map(|name| ["-o", name]);
    let run = dir.cmd("flamegraph").args(["--top=2", "--perfdata", recording]).args(outputs);
    let outcome = run.run().success().says("wrote x.svg, x.html, x.pb.gz");
    let table = outcome.stdout.to_str_lossy().into_owned();
    let top = dir.cmd("fg-top").args(["-q", "-n", "2", recording]).stdout();
    assert_eq!(table, top.to_str_lossy());
    let folded = dir.cmd("fg-fold").args(["-q", recording]).stdout();
    for name in &names[..5] {
        assert_eq!(dir.cmd("fg-fold").args(["-q", name]).stdout(), folded, "{name}");
    }
    let mut times = Vec::new();
    GzDecoder::new(&dir.read("x.json.gz")[..]).read_to_end(&mut times).unwrap();
    let times: Value = serde_json::from_slice(&times).unwrap();
    let times = times["threads"][0]["samples"]["time"].as_array().unwrap();
    assert!(times.len() > 5 && times[0] != times[1]);
    assert!(dir.read("callgrind.out.x").starts_with(b"# callgrind format\n"));
    let refused = |args: &[&str], what: &str| {
        dir.cmd("flamegraph").args(["--perfdata", recording]).args(args).run().code(2).says(what);
    };
    refused(&["--top", "-o", "-"], "both write to standard output");
    refused(&["--weight", "samples", "-o", "x.trace.json"], "omit --weight samples");
    dir.cmd("fg-render").args(["-o", "y.json", "x.svg"]).run().code(2).says("fg-export -o y.json");
}

/// Its own importer reads five of the formats.
#[test]
fn speedscope_shows_what_is_exported() {
    let test = "speedscope_shows_what_is_exported";
    let Some(mut surroundings) = page::surroundings(test, page::CHROMIUM) else { return };
    if !repo().join("target/page/node_modules/speedscope").is_dir() {
        return is_not_for_here(test, "scripts/test installs speedscope, if npm can");
    }
    let dir = Dir::new();
    let folded = "# unit: ns 0\nmain;app::read::lines;parse_line 40000000\n\
                  main;app::read::lines;memcpy 20000000\nmain;app::write::all<u8>;write 20000000\n\
                  main;app::write::all<u8>;memcpy 10000000\nmain;again;main;again 5000000\n\
                  idle </script> 5000000\n";
    for name in ["x.speedscope.json", "x.pb.gz", "callgrind.out.x"] {
        dir.cmd("fg-export").args(["-q", "-o", name]).stdin(folded).stdout();
    }
    dir.write("x.folded", folded);
    let sample = |thread, tid, time, name| {
        format!("{thread} 1/{tid} {time}: 1000000 cpu-clock: \n\t1 {name} (x)\n\t2 main (x)\n\n")
    };
    let samples =
        [("one", 1, "10.000", "leaf"), ("one", 1, "10.001", "other"), ("two", 2, "10.005", "leaf")];
    let text = samples.map(|(thread, tid, time, name)| sample(thread, tid, time, name)).concat();
    for (name, format) in [("threads.speedscope.json", "speedscope"), ("threads.json", "chrome")] {
        let args = ["-q", "--format", format, "-o", name];
        dir.cmd("fg-export").args(args).stdin(&*text).stdout();
    }
    surroundings.push(("FILES", dir.path(".")));
    page::run(test, "speedscope.test.mjs", &surroundings);
}

/// The whole profile, on a terminal that `script` makes.
#[test]
#[cfg(target_os = "linux")]
fn flamelens_reads_folded_stacks() {
    let dir = Dir::new();
    let test = "flamelens_reads_folded_stacks";
    if dir.cmd("flamelens").arg("--version").command.output().is_err() {
        return is_not_for_here(test, "flamelens (a crate) is not installed");
    }
    dir.write("in", "# unit: ns 0\nmain;parse;next 4000\nmain;<T as a::B>::c 1234\n");
    let folded = dir.cmd("fg-fold").args(["-q", "in"]).stdout();
    dir.write("folded", &folded);
    let shown = dir.cmd("script").env("TERM", "xterm").stdin("q").args([
        "-qec",
        "stty cols 120 rows 40; flamelens folded",
        "/dev/null",
    ]);
    let shown = shown.run().success().stdout;
    let escapes = regex::bytes::Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").unwrap();
    let shown = escapes.replace_all(&shown, &b""[..]).to_str_lossy().into_owned();
    for what in ["parse", "next", "<T as a::B>::c", "5234"] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
}

/// samply's importer reads what fg-record writes, and fg-fold what samply makes of that.
#[test]
fn samply_imports_recordings() {
    let dir = Dir::new();
    let test = "samply_imports_recordings";
    let recording = repo().join("tests/data/golden/chains.data");
    let import = dir.cmd("samply").args(["import", "--save-only", "-o", "x.json.gz"]);
    let Ok(imported) = { import.arg(&recording) }.command.output() else {
        return is_not_for_here(test, "samply (a crate) is not installed");
    };
    assert!(imported.status.success(), "{}", imported.stderr.to_str_lossy());
    let total = |folded: &[u8]| of_text(folded).values().sum::<u64>();
    let samples = dir.cmd("fg-fold").args(["-q", "--weight", "samples"]).arg(&recording).stdout();
    assert_eq!(total(&dir.cmd("fg-fold").args(["-q", "x.json.gz"]).stdout()), total(&samples));
}
