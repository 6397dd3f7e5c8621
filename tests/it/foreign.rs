//! Profiles that other profilers made: node, Go, py-spy, austin, gdb, eu-stack, jstack, Python.
//! `X.folded` beside each file has its stacks.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use bstr::ByteSlice;
use flamepipe::error::{Error, Result};
use flamepipe::fold::{self, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::input::{Config, Input, Source};
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::tally::Tally;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{Dir, repo};

/// Each file, and the name of its format.
const FILES: [(&str, &str); 13] = [
    ("austin.txt", "austin"),
    ("eu-stack.txt", "eu-stack"),
    ("faulthandler.txt", "faulthandler"),
    ("gdb.txt", "gdb"),
    ("go-cpu.pb.gz", "pprof"),
    ("go-heap.pb.gz", "pprof"),
    ("jstack.txt", "jstack"),
    ("node.cpuprofile", "cpuprofile"),
    ("node.heapprofile", "heapprofile"),
    ("py-spy.speedscope.json", "speedscope"),
    ("py-spy.trace.json", "chrome"),
    ("py-spy.txt", "folded"),
    ("samply.json", "firefox"),
];

fn folder() -> PathBuf {
    repo().join("tests/data/foreign")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// What fg-fold writes, with no other options than `args`.
fn fold(args: &[&str], input: impl AsRef<[u8]>) -> String {
    let text = Dir::new().cmd("fg-fold").arg("-q").args(args).stdin(input).stdout();
    text.to_str().unwrap().to_owned()
}

#[test]
fn every_profile_has_its_stacks() {
    for (name, format) in FILES {
        let expected = read(&format!("{name}.folded"));
        let expected = expected.to_str().unwrap();
        assert_eq!(fold(&[], read(name)), expected, "{name}");
        assert_eq!(fold(&["--format", format], read(name)), expected, "{name}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&read(name)).unwrap();
        assert_eq!(fold(&[], packed.finish().unwrap()), expected, "{name}");
    }
}

#[test]
fn threads_and_events_are_chosen_as_in_recordings() {
    let roots = |args: &[&str], name: &str| {
        let text = fold(args, read(name));
        let stacks = text.lines().filter(|line| !line.starts_with('#'));
        let mut roots: Vec<String> =
            stacks.map(|line| line.split(';').next().unwrap().to_owned()).collect();
        roots.dedup();
        roots
    };
    let tids = roots(&["--tid"], "gdb.txt");
    assert!(tids.iter().all(|root| root.contains("-?/")) && tids.len() == 2, "{tids:?}");
    assert_eq!(roots(&["--merge-threads"], "gdb.txt"), ["t", "worker_*"]);
    let events = roots(&["--event-filter", "all"], "go-heap.pb.gz");
    assert_eq!(events, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    let samples = fold(&["--event-filter", "samples"], read("go-cpu.pb.gz"));
    let time = fold(&[], read("go-cpu.pb.gz"));
    let time = time.strip_prefix("# unit: ns 0\n").unwrap().replace("0000000\n", "\n");
    assert_eq!(samples, time, "Go samples every 10 ms");
    let dir = Dir::new();
    let unknown = ["--event-filter", "nope"];
    let outcome = dir.cmd("fg-fold").args(unknown).stdin(read("go-cpu.pb.gz")).run();
    outcome.code(1).says("of the wanted event: it has samples, cpu");
    // What a format does not have is said.
    let outcome = dir.cmd("fg-fold").args(["--split", "cpu"]).stdin(read("gdb.txt")).run();
    outcome.success().says("have no effect");
}

/// Small profiles of the kinds that no file has, and their stacks.
pub const SMALL: [(&str, &str); 13] = [
    // rbspy, and async-profiler's collapsed stacks.
    ("<main> - a.rb:9;block in f - a.rb:3 12\n", "<main> - a.rb:9;block in f - a.rb:3 12\n"),
    ("java/lang/Thread.run_[j];vfs_read_[k] 12\n", "java/lang/Thread.run_[j];vfs_read_[k] 12\n"),
    (
        r#"{"shared": {"frames": [{"name": "a;b"}, {"name": "c\nd"}]}, "profiles": [{"type": "evented",
            "name": "x", "unit": "microseconds", "startValue": 5, "endValue": 10, "events": [
            {"type": "O", "frame": 0, "at": 5}, {"type": "O", "frame": 1, "at": 6},
            {"type": "C", "frame": 1, "at": 8.5}, {"type": "C", "frame": 0, "at": 9}]}]}"#,
        "# unit: ns 0\na:b 1500\na:b;c?d 2500\n",
    ),
    (
        r#"[{"ph": "X", "name": "a", "ts": 5, "dur": 9, "pid": 1, "tid": 1}, {"ph": "C", "name": "n"},
            {"ph": "X", "name": "b", "ts": 5, "dur": 2, "pid": 1, "tid": 1},
            {"ph": "B", "name": "c", "ts": 8, "pid": 1, "tid": 1},
            {"ph": "E", "ts": 9, "pid": 1, "tid": 1},"#,
        "# unit: ns 0\na 6000\na;b 2000\na;c 1000\n",
    ),
    (
        r#"{"traceEvents": [{"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "T 2"}},
            {"ph": "X", "name": "a", "ts": 0, "dur": 1, "pid": 1, "tid": 2},
            {"ph": "X", "name": "b", "ts": 0, "dur": 1, "pid": 1, "tid": 3}]}"#,
        "# unit: ns 0\nT_2;a 1000\nthread_3;b 1000\n",
    ),
    (
        r#"{"nodes": [{"id": 1, "callFrame": {"functionName": "(root)"}, "children": [2]},
            {"id": 2, "callFrame": {"functionName": "", "url": "file:///x/a.js", "lineNumber": 6}, "hitCount": 3}]}"#,
        "(anonymous a.js:7) 3\n",
    ),
    (
        r#"{"meta": {"preprocessedProfileVersion": 48}, "threads": [{"name": "main", "pid": "7", "tid": 8,
            "samples": {"stack": [1, null, 1, 0], "weight": [2.5, 1, 1, -1], "weightType": "tracing-ms"},
            "stackTable": {"frame": [0, 1], "prefix": [null, 0]}, "frameTable": {"func": [1, 0]},
            "funcTable": {"name": [0, 1]}, "stringArray": ["f", "g"]}]}"#,
        "# unit: ns 0\nmain;g;f 3500000\n",
    ),
    (
        r#"{"meta": {"preprocessedProfileVersion": 75}, "shared": {"stackTable": {"frame": [0, 1], "prefixOffset":
            [0, 1]}, "frameTable": {"func": [1, 0]}, "funcTable": {"name": [0, 1]}, "stringArray": ["f", "g"]},
            "threads": [{"name": "main", "samples": {"stack": [1, 0]}}]}"#,
        "main;g 1\nmain;g;f 1\n",
    ),
    (
        "<!DOCTYPE html>\n<html>async-profiler\nfunction f(key, level) {\n\tlevels[level0 = level]\n}\n\
         const cpool = [\n'all',\n' Main.main',\n'%\\'run\\'',\n'# it'\n];\n\nf(3,0,0,100)\nu(11,60)\nu(21,20)\nn(25)\n\
         f(29,1,0,40)\n\nsearch();\n",
        "Mai it 40\nMain.main 20\nMain.main;Mai it 20\nMain.main;Main.'run' 20\n",
    ),
    (
        // Version 4: the first call is `n`, and levels follow in arguments.
        "<!DOCTYPE html>\n<html>async-profiler\n\tfunction f(key, level) {\n\tlevels[level0 = level]\n}\n\
         const cpool = [\n'all',\n' a',\n'!b'\n];\nunpack(cpool);\n\nn(3,4)\nf(8,1,0,4)\nu(17,2,0,0,2)\nn(9,1)\n",
        "a 1\na;a 1\na;ab 2\n",
    ),
    (
        "<html>async-profiler function f(level, left, width, type, title, inln, c1, int)\n\
         f(0,0,10,3,'all')\nf(1,0,8,1,'a \\'b\\'')\nf(2,0,3,5,'vfs_read')\nf(1,8,2,3,'c')\n",
        "a 'b' 5\na 'b';vfs_read 3\nc 2\n",
    ),
    (
        // DevTools: a profile in two pieces, whose thread has a name; the tasks are left out.
        r#"[{"ph": "X", "name": "RunTask", "ts": "5", "dur": 90, "pid": 1, "tid": 2},
            {"ph": "M", "name": "thread_name", "args": {"name": "Main"}, "pid": 1, "tid": 2},
            {"ph": "P", "name": "Profile", "id": "0x1", "args": {"data": {"startTime": 10}}, "pid": 1, "tid": 2, "ts": 10},
            {"ph": "P", "name": "ProfileChunk", "id": "0x1", "pid": 1, "tid": 3, "ts": 20, "args": {"data": {
              "timeDeltas": [1, 10], "cpuProfile": {"samples": [2, 1], "nodes": [
                {"id": 1, "callFrame": {"functionName": "(root)"}},
                {"id": 2, "parent": 1, "callFrame": {"functionName": "f"}}]}}}},
            {"ph": "P", "name": "ProfileChunk", "id": "0x1", "pid": 1, "tid": 3, "ts": 30, "args": {"data": {
              "timeDeltas": [20, 5, 7], "endTime": 60, "cpuProfile": {"samples": [3, 9, 2], "nodes": [
                {"id": 3, "parent": 2, "callFrame": {"functionName": "g"}}]}}}}]"#,
        "# unit: ns 0\nMain;f 17000\nMain;f;g 5000\n",
    ),
    (
        "#0  0x1 in std::function<void (int)>::operator()(int) const (this=0x2) at /a b.h:5\n\
         #1  0x3 in ?? () from /lib/x86_64-linux-gnu/libc.so.6\n#2  <signal handler called>\n\
         #3  main (argc=1, argv=0x7ff \" (at \") at t.c:9\n#0  main () at t.c:9\n",
        "main 1\nmain;<signal handler called>;[libc.so.6];std::function<void (int)>::operator() 1\n",
    ),
];

#[test]
fn small_profiles_have_their_stacks() {
    for (text, expected) in SMALL {
        assert_eq!(fold(&[], text), expected, "{text}");
    }
}

#[test]
fn what_is_lost_is_said() {
    let dir = Dir::new();
    let says = |text: &str, what: &str| {
        dir.cmd("fg-fold").stdin(text).run().success().says(what);
    };
    says(SMALL[3].0, "1 input cut short at its end");
    says(SMALL[6].0, "1 odd line or record skipped");
    says(SMALL[6].0, "1 without a call chain");
    let fails = |text: &str, what: &str| {
        dir.cmd("fg-fold").stdin(text).run().code(1).says(what);
    };
    fails(&SMALL[2].0.replace("\"frame\": 1", "\"frame\": 2"), "frame 2: there is no such frame");
    fails(&SMALL[5].0.replace("[2]", "[2], \"parent\": 2"), "a function is its own caller");
    fails(&SMALL[6].0.replace("[1, 0]}", "[1, 9]}"), "refer to what is not there");
    fails(&SMALL[4].0[..60], "line 1, column 60");
    let deep = r#"{"callFrame": {}, "selfSize": 1, "children": ["#.repeat(300);
    fails(&format!("{{\"head\": {deep}"), "the call tree is deeper than 256 functions");
}

/// A profile in memory, folded.
fn fold_here(bytes: Vec<u8>) -> Result<()> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(fold::Config::default(), "x", merge);
    let input = Input::new("x", std::io::Cursor::new(bytes));
    Source::new(&Config::default()).feed([input], &mut folder, &mut frames, &mut tally)?;
    folder.finish(&mut frames, &mut tally)
}

/// Pseudorandom numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn broken_profiles_are_errors_at_worst() {
    let mut random = Random(7);
    let mut all: Vec<Vec<u8>> = SMALL.iter().map(|(text, _)| text.as_bytes().to_vec()).collect();
    for (name, _) in FILES {
        let bytes = read(name);
        let mut plain = Vec::new();
        let unpacked =
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain);
        all.push(if unpacked.is_ok() { plain } else { bytes });
    }
    let tokens: [&[u8]; 10] = [
        b"-1",
        b"1e999",
        b"\"",
        b"]",
        b"{",
        b"null",
        b"99999999999999999999",
        b"\xff",
        b"\n",
        b"#0 ",
    ];
    for whole in all {
        for _ in 0..60 {
            let mut broken = whole.clone();
            match random.below(3) {
                0 => broken.truncate(random.below(whole.len())),
                1 => (0..8).for_each(|_| {
                    let at = random.below(whole.len());
                    broken[at] = random.below(256) as u8;
                }),
                _ => {
                    let at = random.below(whole.len());
                    let token = tokens[random.below(tokens.len())];
                    broken.splice(at..(at + 2).min(whole.len()), token.iter().copied());
                }
            }
            let shown = broken.clone();
            let folded = fold_here(broken);
            let is_known = matches!(
                folded,
                Ok(())
                    | Err(Error::Corrupt { .. }
                        | Error::Empty { .. }
                        | Error::Format { .. }
                        | Error::Io { .. }
                        | Error::NoCallChains { .. }
                        | Error::NoSamples { .. }
                        | Error::Unsupported { .. }
                        | Error::Unreadable { .. })
            );
            assert!(is_known, "{folded:?}\n{}", shown.as_bstr());
        }
    }
}

/// Profiles of other profilers keep their threads and the order of their samples.
#[test]
fn times_are_exported() {
    let dir = Dir::new();
    let export = |format: &str, input: &[u8]| {
        dir.cmd("fg-export").args(["-q", "--format", format]).stdin(input).stdout()
    };
    let tid = &["--tid"][..];
    for (name, args) in [
        ("node.cpuprofile", &[][..]),
        ("py-spy.speedscope.json", &[]),
        ("py-spy.trace.json", tid),
        ("samply.json", tid),
    ] {
        let folded = fold(args, read(name));
        for format in ["firefox", "speedscope"] {
            let exported = export(format, &read(name));
            assert_eq!(fold(args, exported), folded, "{name} as {format}");
        }
        let in_order = |exported: &[u8]| {
            let file: serde_json::Value = serde_json::from_slice(exported).unwrap();
            let profiles = file["profiles"].as_array().unwrap().iter();
            profiles.map(|it| (it["samples"].clone(), it["weights"].clone())).collect::<Vec<_>>()
        };
        let twice = export("speedscope", &export("firefox", &read(name)));
        assert_eq!(in_order(&twice), in_order(&export("speedscope", &read(name))), "{name}");
    }
    // Functions in the order in which they first ran.
    let order = |paths: Vec<String>| {
        let mut seen: Vec<String> = Vec::new();
        let number = |path: String| {
            seen.iter().position(|it| *it == path).unwrap_or_else(|| {
                seen.push(path);
                seen.len() - 1
            })
        };
        let mut numbers: Vec<usize> = paths.into_iter().map(number).collect();
        numbers.dedup();
        numbers
    };
    let v8: serde_json::Value = serde_json::from_slice(&read("node.cpuprofile")).unwrap();
    let nodes = v8["nodes"].as_array().unwrap();
    let deltas = v8["timeDeltas"].as_array().unwrap().iter().map(|it| it.as_i64().unwrap());
    let samples = v8["samples"].as_array().unwrap().iter().zip(deltas.skip(1).chain([1]));
    let path = |id: &serde_json::Value| {
        let mut path = Vec::new();
        let mut at = nodes.iter().find(|node| node["id"] == *id);
        while let Some(node) = at {
            path.push(node["callFrame"].to_string());
            let is_parent = |it: &serde_json::Value| {
                it["children"].as_array().is_some_and(|all| all.contains(&node["id"]))
            };
            at = nodes.iter().find(|it| is_parent(it));
        }
        path.concat()
    };
    let expected = order(samples.filter(|(_, time)| *time > 0).map(|(id, _)| path(id)).collect());
    let file: serde_json::Value =
        serde_json::from_slice(&export("speedscope", &read("node.cpuprofile"))).unwrap();
    let ours = file["profiles"][0]["samples"].as_array().unwrap().iter();
    let ours = ours.filter(|stack| **stack != serde_json::json!([])).map(ToString::to_string);
    assert_eq!(order(ours.collect()), expected);
}

/// The stacks of Ruby's stackprof. Its `raw` has the height of a stack, its frames and how many
/// samples had it.
#[test]
fn stackprof_lists_its_stacks() {
    let profile = |mode: &str, raw: &str| {
        format!(
            r#"{{"version":1.2,"mode":"{mode}","interval":1000,"samples":4,"gc_samples":1,
            "frames":{{"7":{{"name":"<main>","samples":0}},"8":{{"name":"Object#a"}},"9":{{}}}}{raw}}}"#
        )
    };
    let raw = r#","raw":[2,7,8,2,1,9,1,2,7,8,1],"raw_timestamp_deltas":[5,6,7,8]"#;
    for (mode, expected) in [
        ("wall", "# unit: ns 0\n<main>;Object#a 19000\n[unknown] 7000\n"),
        ("cpu", "# unit: ns 0\n<main>;Object#a 3000000\n[unknown] 1000000\n"),
        ("object", "# unit: objects 0\n<main>;Object#a 3000\n[unknown] 1000\n"),
        ("custom", "<main>;Object#a 3\n[unknown] 1\n"),
    ] {
        assert_eq!(fold(&[], profile(mode, raw)), expected, "{mode}");
    }
    let refused = |raw: &str, what: &str| {
        let fold = Dir::new().cmd("fg-fold").stdin(profile("wall", raw)).run();
        fold.code(1).says(what);
    };
    refused("", "record it with `raw: true`");
    refused(r#","raw":[2,7]"#, "a stack ends too early");
    refused(r#","raw":[99999999999,7,8,1]"#, "a stack ends too early");
    refused(r#","raw":[1,6,1]"#, "has no frame");
}

/// v8-profiler writes the nodes of a .cpuprofile as a tree.
#[test]
fn cpuprofiles_may_be_trees() {
    let node = |name: &str, id: u32, hits: u32, children: &str| {
        format!(
            r#"{{"functionName":"{name}","url":"/x/app.js","lineNumber":3,"id":{id},"hitCount":{hits},"children":[{children}]}}"#
        )
    };
    let leaf = node("leaf", 3, 2, "");
    let tree = node("(root)", 1, 0, &node("", 2, 1, &leaf));
    let times = r#""startTime":1,"endTime":1.0001,"samples":[3,2,3],"timestamps":[1000000,1000010,1000030,1000060]"#;
    let timed = format!(r#"{{"typeId":"CPU","head":{tree},{times}}}"#);
    assert_eq!(
        fold(&[], &timed),
        "# unit: ns 0\n(anonymous app.js:4) 20000\n(anonymous app.js:4);leaf 40000\n"
    );
    let counted = format!(r#"{{"head":{tree}}}"#);
    let expected = "(anonymous app.js:4) 1\n(anonymous app.js:4);leaf 2\n";
    assert_eq!(fold(&[], &counted), expected);
}

/// Hermes writes samples into a trace, whose events name threads or take no time.
#[test]
fn traces_may_have_samples() {
    let events = |event: &str| {
        format!(
            r#"{{"traceEvents":[{{"ph":"M","name":"thread_name","pid":1,"tid":"2","args":{{"name":"js"}}}}{event}],
            "samples":[{{"ts":"100","pid":1,"tid":"2","weight":"1","sf":2}},{{"ts":"105","pid":1,"tid":"2","sf":1}},
                       {{"ts":"107","pid":1,"tid":"2","sf":2}}],
            "stackFrames":{{"1":{{"name":"[root]"}},"2":{{"name":"f(http://a/b.js:1:1)","parent":1}}}}}}"#
        )
    };
    let expected = "# unit: ns 0\njs;[root] 2000\njs;[root];f 5000\n";
    assert_eq!(fold(&[], events("")), expected);
    let marks = r#",{"ph":"X","name":"js","pid":1,"tid":"2","ts":"90","dur":0}"#;
    assert_eq!(fold(&[], events(marks)), expected);
    let lasts = marks.replace("\"dur\":0", "\"dur\":4");
    assert_eq!(fold(&[], events(&lasts)), "# unit: ns 0\njs;js 4000\n");
}
