//! Recordings are exported with the lines of the source code.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::process::Command;

use bstr::ByteSlice;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::harness::{Dir, cannot_run, is_not_for_here};
use crate::record::can_record;

const SOURCE: &str = "\
static inline __attribute__((always_inline)) unsigned mix(unsigned x)
{
    for (int i = 0; i < 40; i++)
        x = x * 1664525u + (x >> 7);
    return x;
}

__attribute__((noinline)) unsigned work(unsigned n)
{
    unsigned sum = 0;
    while (n--)
        sum += mix(n);
    return sum;
}

int main(void)
{
    unsigned sum = 0;
    for (int i = 0; i < 20; i++)
        sum += work(200000 + i);
    return sum == 1;
}
";
/// A recording `in` of a program that is made of `app.c`.
fn recorded(test: &str) -> Option<Dir> {
    let dir = Dir::new();
    dir.write("app.c", SOURCE);
    if !can_record(test) {
        return None;
    }
    let compiler = ["-g", "-O2", "app.c", "-o", "app"];
    match Command::new("gcc").args(compiler).current_dir(dir.path(".")).output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => {
            cannot_run(test, &done.stderr.to_str_lossy());
            return None;
        }
        Err(error) => {
            cannot_run(test, &format!("no gcc: {error}"));
            return None;
        }
    }
    dir.cmd("fg-record").args(["-q", "-F", "5000", "-o", "in", "./app"]).run().success();
    Some(dir)
}

/// The bytes of a file, unpacked.
fn unpacked(dir: &Dir, name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    GzDecoder::new(&dir.read(name)[..]).read_to_end(&mut all).unwrap();
    all
}

#[test]
fn viewers_get_the_lines_of_a_recording() {
    let test = "viewers_get_the_lines_of_a_recording";
    let Some(dir) = recorded(test) else { return };
    let folded = dir.cmd("fg-fold").args(["-q", "in"]).stdout();
    let graph = |outputs: &[&str]| {
        let outputs = outputs.iter().flat_map(|name| ["-o", name]);
        dir.cmd("flamegraph").args(["-q", "--perfdata", "in"]).args(outputs).stdout();
        dir.read("x.svg")
    };
    let names = ["x.pb.gz", "x.json.gz", "x.speedscope.json", "callgrind.out.x"];
    // Pictures have no lines, whatever is written beside them.
    assert_eq!(graph(&["x.svg", "x.pb.gz", "x.json.gz"]), graph(&["x.svg"]));
    for name in names {
        dir.cmd("fg-export").args(["-q", "-o", name, "in"]).stdout();
        if name != "callgrind.out.x" {
            assert_eq!(dir.cmd("fg-fold").args(["-q", name]).stdout(), folded, "{name}");
        }
    }
    let path = dir.path("app.c").canonicalize().unwrap();
    let path = path.to_str().unwrap();

    let file: Value = serde_json::from_slice(&unpacked(&dir, "x.json.gz")).unwrap();
    let mut lines: Vec<(&str, &str, u64)> = Vec::new();
    for thread in file["threads"].as_array().unwrap() {
        let text = |at: &Value| thread["stringArray"][at.as_u64().unwrap() as usize].as_str();
        let frames = &thread["frameTable"];
        let functions = &thread["funcTable"];
        let its = frames["func"].as_array().unwrap().iter();
        for (function, line) in its.zip(frames["line"].as_array().unwrap()) {
            let of = |column: &str| text(&functions[column][function.as_u64().unwrap() as usize]);
            if let Some(line) = line.as_u64() {
                lines.push((of("name").unwrap(), of("fileName").unwrap(), line));
            }
        }
    }
    for (function, line) in [("main", 20), ("work", 12), ("mix", 4)] {
        assert!(lines.contains(&(function, path, line)), "{function}:{line} {lines:?}");
    }

    let speedscope: Value = serde_json::from_slice(&dir.read("x.speedscope.json")).unwrap();
    let frames = speedscope["shared"]["frames"].as_array().unwrap();
    // A function with several lines is one frame.
    let work: Vec<_> = frames.iter().filter(|frame| frame["name"] == "work").collect();
    assert_eq!(work, [&json!({ "name": "work", "file": path })]);

    let callgrind = dir.read("callgrind.out.x").to_str_lossy().into_owned();
    // The file, the call of `work` in `main`, and the heaviest line.
    for text in [path, "calls=1 0\n20 ", "\n4 "] {
        assert!(callgrind.contains(text), "{text}: {callgrind}");
    }

    let list = dir.cmd("go").args(["tool", "pprof", "-list", "^(main|work|mix)$", "x.pb.gz"]);
    let Ok(output) = { list }.command.output() else {
        return is_not_for_here(test, "go is not installed");
    };
    if !output.status.success() {
        return cannot_run(test, &output.stderr.to_str_lossy());
    }
    let listing = output.stdout.to_str_lossy().into_owned();
    // The time of the line, that of its calls too, `12:`, the code.
    let is_time = |word: &str| word.ends_with('s');
    for code in ["sum += work(200000 + i);", "sum += mix(n);", "x = x * 1664525u + (x >> 7);"] {
        let of_line = listing.lines().filter(|line| line.ends_with(code));
        let times = of_line.map(|line| line.split_whitespace().nth(1).unwrap_or_default());
        assert!(times.into_iter().any(is_time), "{code}: {listing}");
    }
}
