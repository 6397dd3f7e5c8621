//! The fuzz targets on stable Rust: over seeds, and over mutations of them that are the same in
//! each run. `scripts/fuzz` runs the same targets for as long as one likes.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flamepipe::input::Format;
use flate2::read::GzDecoder;

use crate::harness::repo;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// How many mutations each target gets: `FLAMEPIPE_FUZZ_ROUNDS`, or enough for a smoke test.
fn rounds() -> usize {
    let rounds = std::env::var("FLAMEPIPE_FUZZ_ROUNDS").ok();
    rounds.map_or(1500, |rounds| rounds.parse().unwrap())
}

/// The files in a folder of tests/data, in order.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = repo().join("tests/data").join(folder);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// What each target begins with: small files of its format, and inputs that once were finds.
fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let recordings = || files("golden").into_iter().filter(|file| file.starts_with(b"PERFILE2"));
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    let script = text(
        "# event : name = cycles\napp 1 1.5: 7 cycles:u: \n\t    401136 f+0x16 (/bin/app)\n\
         \t    40120a [unknown] (/lib/libc.so.6)\n\t         0 [truncated] ([unknown])\n\n\
         two words 3/4 [001] 2.000001:          9 cpu-clock: \n\tffffffff81 do_idle ([kernel.kallsyms])\n\n",
    );
    let folded = text("# unit: ns\napp;main;f_[k] 3\napp;main;g_[i] 2.5\napp;main 1 2\n");
    let filter =
        ["comm app and not (frame /^a.*b$/ or leaf x*) and weight > 3", "module \"a b\" or pid 7"];
    let mut all: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    all.insert("any_input", [files("foreign"), script.clone(), folded.clone()].concat());
    all.insert("embedded_stacks", vec![vec![0, 3, b'a', b'p', b'p', 1, 0, 1, 2, 5]]);
    all.insert("filter_language", filter.map(|filter| filter.into()).into());
    all.insert("folded_text", folded);
    all.insert("foreign", foreign());
    all.insert("jitdump", vec![a_jitdump()]);
    all.insert(
        "kallsyms",
        text(
            "ffffffff81000000 T _stext\nffffffff81000010 t do_idle\nffffffffc0001000 t f\t[loop]\n",
        ),
    );
    all.insert("modules", files("golden/root/tmp/flamepipe-golden"));
    all.insert("palette", text("main->rgb(1,2,3)\nf->rgb(255,0,7)\n"));
    all.insert("perf_data", recordings().collect());
    all.insert("perf_map", text("1000 20 LazyCompile:~a b /x.js:1\n0x1010 0x10 c\nbroken\n"));
    all.insert("script_text", script);
    all.insert("unwinding", files("golden/root/tmp/flamepipe-golden"));
    for (target, seeds) in &mut all {
        seeds.extend(files(&format!("fuzz/{target}")));
    }
    all
}

/// Profiles of other profilers behind the names of their formats.
fn foreign() -> Vec<Vec<u8>> {
    let plain = |bytes: Vec<u8>| {
        let mut plain = Vec::new();
        let unpacked = GzDecoder::new(&bytes[..]).read_to_end(&mut plain);
        if unpacked.is_ok() { plain } else { bytes }
    };
    let small = crate::foreign::SMALL.map(|(text, _)| text.into());
    let named = |profile: Vec<u8>| {
        let format = Format::sniff(&profile, true)?;
        let is_foreign = matches!(format, Format::Foreign(_));
        is_foreign.then(|| [format.name().as_bytes(), b"\n", &profile].concat())
    };
    let all = files("foreign").into_iter().map(plain).chain(small).filter_map(named);
    let others = OTHERS.map(|(format, profile)| format!("{format}\n{profile}").into());
    all.chain(others).collect()
}

/// Profiles in formats that `tests/data/foreign` lacks.
const OTHERS: [(&str, &str); 9] = [
    (
        "bpftrace",
        "Attaching 1 probe...\n\n@[\n    f+3\n    main+0x10\n]: 1\n@[\n    main+3\n, bash]: 5\n",
    ),
    (
        "dtrace",
        "\n\n              unix`mutex_exit+0x149\n              libc.so.1`main+0x1\n                5\n\n",
    ),
    (
        "sample",
        "Analysis of sampling app (pid 1) every 1 millisecond\nCall graph:\n    12 Thread_1: main\n    \
         + 12 start  (in dyld) + 1  [0x1]\n    +   7 main  (in app) + 2  [0x2]\n\nTotal number in stack\n",
    ),
    ("vtune", "Function Stack,CPU Time:Self,Module\nTotal,0,\n  main,0.5,app\n    f,1.25,app\n"),
    (
        "vsprof",
        "Level,Function Name,Number of Calls,Elapsed Inclusive Time %,Elapsed Exclusive Time %,Avg Elapsed \
         Inclusive Time,Avg Elapsed Exclusive Time,Module Name,\n1,\"main\",\"1\",100.00,1.00,5.00,1.00,\"a\",\n\
         2,\"f\",\"2\",99.00,99.00,2.00,2.00,\"a\",\n",
    ),
    (
        "ghcprof",
        "\tMon Time and Allocation Profiling Report\n\nCOST CENTRE MODULE SRC no. entries %time %alloc %time \
         %alloc\n\nMAIN MAIN <built-in> 1 0 0.5 0.0 100.0 100.0\n f Main a.hs:1 2 1 99.5 100.0 99.5 100.0\n",
    ),
    ("recursive", "main;f;f;f;g 5\nmain;f 2\n"),
    (
        "stackprof",
        r#"{"version":1.2,"mode":"wall","interval":9,"gc_samples":0,"frames":{"7":{"name":"a"},"8":{}},
        "raw":[2,7,8,2,1,8,1],"raw_timestamp_deltas":[5,6,7]}"#,
    ),
    (
        "xctrace",
        "<?xml version=\"1.0\"?>\n<trace-query-result>\n<row><weight id=\"1\">5</weight><backtrace id=\"2\">\
         <frame name=\"f\"/><frame name=\"main\"/></backtrace></row>\n</trace-query-result>\n",
    ),
];

/// A jitdump with one function, its lines and a move.
fn a_jitdump() -> Vec<u8> {
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let header = [numbers(&[0x4a69_5444, 1, 40, 62, 0, 7]), words(&[1, 0])].concat();
    let body = [numbers(&[7, 7]), words(&[0x1000, 0x1000, 4, 0]), b"f\0\xc3\xc3\xc3\xc3".to_vec()];
    let body = body.concat();
    let load = [numbers(&[0, 16 + body.len() as u32]), words(&[1]), body].concat();
    let moved = [numbers(&[7, 7]), words(&[0x1000, 0x1000, 0x2000, 4, 0])].concat();
    let moved = [numbers(&[1, 16 + moved.len() as u32]), words(&[2]), moved].concat();
    [header, load, moved].concat()
}

/// Numbers that look random and are always the same: xorshift64*.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// A seed that was changed in one to eight places.
    pub fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        const EDGES: [u64; 6] = [0, 1, 0x7f, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            let rest = bytes.len() - at;
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if rest > 0 => bytes[at] ^= 1 << self.below(8),
                2 if rest > 0 => bytes[at] = self.below(256) as u8,
                3 => {
                    let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                    let len = [1, 2, 4, 8][self.below(4)].min(rest);
                    bytes[at..at + len].copy_from_slice(&edge[..len]);
                }
                4 => {
                    let piece = bytes[at..at + self.below(rest).min(64)].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => drop(bytes.drain(at..at + self.below(rest).min(16))),
            }
        }
        bytes
    }
}

/// Keeps the input if the target panics.
struct Kept<'a>(&'a str, &'a [u8]);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("flamepipe-find-{}", self.0));
            fs::write(&path, self.1).unwrap();
            eprintln!("{}: the input is {}", self.0, path.display());
        }
    }
}

#[test]
fn the_jitdump_is_one() {
    let dump = flamepipe::symbols::Jitdump::from_bytes(a_jitdump()).unwrap();
    assert_eq!(dump.odd, 0);
    assert_eq!(
        [0x1001, 0x2001].map(|at| dump.find(at, None).map(|it| it.0.to_string())),
        [Some("f".into()), Some("f".into())]
    );
}

#[test]
fn every_format_has_a_seed() {
    let seeds = foreign();
    let has = |format: &Format| {
        let begin = format!("{}\n", format.name());
        seeds.iter().any(|seed| seed.starts_with(begin.as_bytes()))
    };
    let foreign = Format::all().filter(|format| matches!(format, Format::Foreign(_)));
    let without: Vec<_> = foreign.filter(|format| !has(format)).map(Format::name).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn no_mutated_input_makes_a_target_panic() {
    let seeds = seeds();
    let only = std::env::var("FLAMEPIPE_FUZZ_TARGET").ok();
    for (name, target) in targets::TARGETS {
        let seeds = &seeds[name];
        assert!(!seeds.is_empty(), "{name} has no seeds");
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut random = Random(0x5eed);
        let mutated = (0..rounds()).map(|_| random.mutated(seeds));
        for bytes in seeds.iter().cloned().chain(mutated) {
            let _kept = Kept(name, &bytes);
            target(&bytes);
        }
    }
}

/// scripts/fuzz wants the seeds as files.
#[test]
fn seeds_are_written_if_asked_for() {
    let Some(folder) = std::env::var_os("FLAMEPIPE_FUZZ_CORPUS") else { return };
    for (target, seeds) in seeds() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        for (nth, seed) in seeds.into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{nth}")), seed).unwrap();
        }
    }
}
