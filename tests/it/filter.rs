//! fg-filter as a user runs it, and the filter of folded stacks against its laws and its slow twin.

use std::io::{BufRead, BufReader};

use bstr::{BString, ByteSlice};
use clap::Parser;
use flamepipe::cli::FilterArgs;
use flamepipe::error::Result;
use flamepipe::filter::{Config, FoldedFilter, SampleFilter};
use flamepipe::folded::{self, Folded, FoldedSink, Writer};
use flamepipe::sample::{Frame, FrameId, FrameTable, Place, Sample, SampleSink};
use flamepipe::tally::{Count, Tally};
use proptest::prelude::*;

use crate::harness::{Dir, Outcome};

mod edits;
mod recipes;

#[path = "../naive/filter.rs"]
mod naive;

const WEB: &str = "\
# two programs
web-7/7;main;net::serve;net::parse::h0123456789abcdef 40
web-7/8;main;net::serve;net::serve;fs::read 2.5
db-9/9;main;btree::find;btree::find;btree::find 30
db-9/9;main;\u{e9}t\u{e9};memcpy 10 12
";

fn run(flags: &[&str], input: impl AsRef<[u8]>) -> Outcome {
    Dir::new().cmd("fg-filter").args(flags).stdin(input).run()
}

/// Wants what is left of [`WEB`], without its comment, to be these lines.
#[track_caller]
fn filters(flags: &[&str], lines: &[&str]) {
    let outcome = run(flags, WEB).success();
    let got = outcome.stdout.to_str().unwrap().strip_prefix("# two programs\n").unwrap();
    assert_eq!(got.lines().collect::<Vec<_>>(), lines, "{}", outcome.everything());
}

/// The lines of [`WEB`] by number.
fn lines<const N: usize>(numbers: [usize; N]) -> [&'static str; N] {
    numbers.map(|number| WEB.lines().nth(number).unwrap())
}

#[test]
fn keeping_and_dropping() {
    filters(&["--keep", "serve"], &lines([1, 2]));
    filters(&["--keep=parse", "--keep=memcpy"], &lines([1, 4]));
    filters(&["--keep", "(?i)BTREE"], &lines([3]));
    filters(&["--keep", "^.t.$"], &lines([4]));
    filters(&["--drop", "fs::|btree"], &lines([1, 4]));
    filters(&["--keep", "serve", "--drop", "parse"], &lines([2]));
    filters(&["--comm", "web"], &lines([1, 2]));
    filters(&["--comm", "^web$"], &lines([1, 2]));
    filters(&["--drop-comm", "^web"], &lines([3, 4]));
    filters(&["--pid", "9"], &lines([3, 4]));
    filters(&["--pid", "1,7", "--tid", "8"], &lines([2]));
    filters(&["--drop-pid", "7"], &lines([3, 4]));
    filters(&["--drop-tid", "7,9"], &lines([2]));
    filters(&["--keep", "nowhere"], &[]);
}

#[test]
fn one_expression_says_it_all() {
    filters(&["--where", "frame net::* and not frame fs::*"], &lines([1]));
    filters(&["--where", "comm web and tid 8 or frame /^mem/"], &lines([2, 4]));
    filters(&["--where", "pid 9", "--where=frame fs::read", "--drop=memcpy"], &lines([2, 3]));
    filters(&["--where", "everything"], &lines([1, 2, 3, 4]));
    let odd = run(&["--where", "comm web adn tid 8"], WEB).code(2).says("--where");
    odd.says("expected and, or or the end\n  comm web adn tid 8\n           ^");
    run(&["--where=kind kernel"], WEB).code(1).says("folded stacks have no kind of frame");
}

#[test]
fn what_went_is_said_once() {
    let outcome = run(&["--keep", "serve"], WEB).success();
    assert_eq!(outcome.stderr, "fg-filter: 4 stacks · 2 filtered out\n");
    assert_eq!(run(&["--keep", "serve", "-q"], WEB).success().stderr, "");
    let outcome =
        run(&["--keep", "a"], "a 1\nodd\n\na 2\n").success().says("1 odd line or record skipped");
    assert_eq!(outcome.stdout, "a 1\nodd\n\na 2\n");
    run(&["--keep", "a", "--strict"], "a 1\nodd\n").code(3);
    run(&["--strict"], "a 1\nodd\n").code(3);
    run(&["--keep", "b", "--strict"], "a 1\n").success();
}

#[test]
fn odd_inputs() {
    for flags in [&[][..], &["--keep", "x"], &["--pid", "7"]] {
        assert_eq!(run(flags, "").success().stdout, "");
        assert_eq!(run(flags, "\n# only a note\n").success().stdout, "\n# only a note\n");
    }
    assert_eq!(run(&["--hide", "b"], b"a\xff;b 1").success().stdout, b"a\xff 1".as_bstr());
    assert_eq!(
        run(&["--keep", r"(?-u)\xff"], b"a 1\nb\xff 2\n").success().stdout,
        b"b\xff 2\n".as_bstr()
    );
    let huge = format!("a {0}\nb {0}\na x {0} {0}\n", u64::MAX);
    assert_eq!(
        run(&["--keep=x", "--cut-above=x"], &huge).success().stdout,
        &huge[huge.len() - 46..]
    );
    run(&["--keep", "x"], b"PERFILE2\0\0\0").code(1).says("not folded stacks or perf-script text");
    assert_eq!(run(&[], b"PERFILE2\0\0\0").success().stdout, "PERFILE2\0\0\0");
    let odd = run(&["--keep", "x", "--format=folded"], "PERFILE2\n").success();
    assert_eq!(odd.says("odd").stdout, "PERFILE2\n");
}

#[test]
fn what_folded_text_does_not_tell_is_refused() {
    for flags in
        ["--module=a", "--event=a", "--time=1,2", "--cpu=0", "--drop-time=,2", "--drop-module=a"]
    {
        run(&[flags], WEB).code(1).says("folded stacks have no ").says("fg-script");
    }
    for flags in ["--pid=7", "--drop-tid=7"] {
        run(&[flags], "web;main 1\n").code(1).says("the folded stacks have no ");
    }
}

#[test]
fn mistakes_are_usage_errors() {
    for flag in ["--keep=(", "--pid=x", "--time=2,1", "--rename=a", "--rename=a=b;c", "--format=x"]
    {
        run(&[flag], WEB).code(2).says(flag.split('=').next().unwrap());
    }
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let dir = Dir::new();
    dir.write("in", WEB);
    dir.write("out", "old");
    let filter = |flag| dir.cmd("fg-filter").args([flag, "in", "-o", "out"]).run();
    filter("--module=a").code(1);
    assert_eq!(dir.read("out"), "old");
    assert_eq!(filter("--comm=db").success().stdout, "");
    assert_eq!(dir.read("out").to_str().unwrap().lines().count(), 3);
    assert_eq!(dir.names(), ["in", "out"]);
    dir.cmd("fg-filter").arg("nowhere").run().code(1).says("nowhere");
}

#[test]
fn help_states_memory() {
    assert!(run(&["--help"], "").success().stdout.contains_str("Memory: "));
}

/// Writes what comes through and adds up its weight.
struct Through(Writer<Vec<u8>>, Count);

impl FoldedSink for Through {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.1.items += 1;
        self.1.weight += folded.weight;
        self.0.folded(frames, folded)
    }
    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.0.text(line)
    }
    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        self.0.finish(frames, tally)
    }
}

/// The text that is left, its count, and the tally.
fn filter(config: Config, reader: impl BufRead) -> (BString, Count, Tally) {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let through = Through(Writer::new(Vec::new(), "memory"), Count::default());
    let mut filter = FoldedFilter::new(config, through).unwrap();
    folded::read(reader, "text", &mut frames, &mut filter, &mut tally).unwrap();
    // This fails if no line has the wanted pid. The output up to then still counts.
    let _ = filter.finish(&mut frames, &mut tally);
    let Through(writer, count) = filter.into_inner();
    (writer.into_inner().into(), count, tally)
}

/// Keeps stacks, root first, with a `!` if the text was kept.
#[derive(Default)]
struct Stacks(Vec<String>);

impl SampleSink for Stacks {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        assert_eq!(sample.places.len(), sample.stack.len());
        let names = sample.stack.iter().rev().map(|&frame| frames.symbol(frame).to_string());
        let kept = if sample.text.is_empty() { "" } else { "!" };
        self.0.push(names.collect::<Vec<_>>().join(";") + kept);
        Ok(())
    }
    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

impl FoldedSink for Stacks {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let names = folded.stack.iter().map(|&frame| frames.symbol(frame).to_string());
        self.0.push(names.collect::<Vec<_>>().join(";"));
        Ok(())
    }
    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

fn config(flags: Vec<String>) -> Config {
    let typed = ["fg-filter".to_string()].into_iter().chain(flags);
    FilterArgs::try_parse_from(typed).unwrap().config().unwrap()
}

/// Folded text that is mostly right, of few names, so that expressions and neighbours meet.
fn folded_text() -> impl Strategy<Value = Vec<u8>> {
    let names: [&[u8]; 12] = [
        b"main",
        b"f",
        b"g",
        b"f",
        b"f::h0123456789abcdef",
        b"",
        b"x y",
        b"Worker 3",
        b"web-1/2",
        b"web-3",
        b"\xff",
        b"# a",
    ];
    let stack = prop::collection::vec(prop::sample::select(names.to_vec()), 1..6)
        .prop_map(|frames| frames.join(&b';'));
    let behind =
        prop::sample::select(vec![" 1", " 2.50", " 3 4", "  7 ", " 5\r", "", " x", " 1 2 3"]);
    let line = (prop::sample::select(vec!["", "", "", " ", "# ", "\t"]), stack, behind).prop_map(
        |(before, stack, behind)| [before.as_bytes(), &stack, behind.as_bytes()].concat(),
    );
    (prop::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b'\n');
        text.extend(ended.then_some(b'\n'));
        text
    })
}

fn rules() -> impl Strategy<Value = naive::Rules> {
    let pattern = || {
        let patterns =
            vec!["main", "^f$", "g$", "f|g", "", "W", "::", "^$", "x|a", "[0-9]", "nowhere"];
        prop::option::weighted(0.3, prop::sample::select(patterns))
    };
    let renames =
        vec![("f", "g"), ("^(.)(.*)$", "$2"), ("main", ""), ("$", " 9"), ("^", " "), ("::.*", "")];
    let keep = (pattern(), pattern(), pattern(), prop::option::weighted(0.1, 1..4u32));
    let more = (prop::option::weighted(0.2, 1..4u32), any::<bool>(), any::<bool>());
    let edit = (pattern(), pattern(), pattern(), pattern());
    let rename = prop::option::weighted(0.3, prop::sample::select(renames));
    (keep, more, edit, rename).prop_map(
        |(
            (keep, drop, comm, pid),
            (drop_tid, strip_hashes, collapse_recursion),
            (hide, root_at, cut_below, cut_above),
            rename,
        )| naive::Rules {
            keep,
            drop,
            comm,
            pid,
            drop_tid,
            strip_hashes,
            rename,
            hide,
            root_at,
            cut_below,
            cut_above,
            collapse_recursion,
        },
    )
}

proptest! {
    /// Law 1.
    #[test]
    fn a_filter_that_keeps_everything_is_cat(
        text in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), folded_text()],
    ) {
        prop_assert_eq!(filter(Config::default(), &text[..]).0, text.as_bstr());
        let everything = config(vec!["--where=not nothing".into(), "--drop=(?-u)^$.".into(), "--hide=(?-u)^$.".into()]);
        prop_assert_eq!(filter(everything, &text[..]).0, text.as_bstr());
    }

    /// Laws 2 and 8, and that asking once is as good as asking every time.
    #[test]
    fn the_filter_equals_its_slow_twin(text in folded_text(), rules in rules()) {
        let (want, filtered) = rules.filter(&text);
        let (got, left, tally) = filter(config(rules.flags()), &text[..]);
        prop_assert_eq!(&got, want.as_bstr(), "{:?}", rules.flags());
        prop_assert_eq!(tally.filtered.weight, filtered);
        prop_assert_eq!(tally.read.weight, left.weight + tally.filtered.weight);
        prop_assert_eq!(tally.read.items, left.items + tally.filtered.items);
        let bytewise = BufReader::with_capacity(1, &text[..]);
        prop_assert_eq!(filter(config(rules.flags()), bytewise), (got, left, tally));
    }

    /// A sample is filtered as the stack it folds to.
    #[test]
    fn samples_and_folded_stacks_are_filtered_alike(
        stacks in prop::collection::vec(prop::collection::vec("main|f|g|f::h0123456789abcdef|", 1..6), 0..8),
        rules in rules(),
    ) {
        let rules = naive::Rules { comm: None, pid: None, drop_tid: None, ..rules };
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut samples = SampleFilter::new(config(rules.flags()), Stacks::default());
        let mut folded = FoldedFilter::new(config(rules.flags()), Stacks::default()).unwrap();
        for names in &stacks {
            let stack: Vec<FrameId> =
                names.iter().map(|name| frames.intern(Frame::named(name.as_bytes()))).collect();
            let leaf_first: Vec<FrameId> = stack.iter().rev().copied().collect();
            let places = vec![Place::default(); stack.len()];
            let sample =
                Sample { stack: &leaf_first, places: &places, text: b"text", ..Sample::default() };
            samples.sample(&mut frames, &sample).unwrap();
            let line = Folded { stack: &stack, weight: 1, after: None, line: b"" };
            folded.folded(&mut frames, &line).unwrap();
        }
        SampleSink::finish(&mut samples, &mut frames, &mut tally).unwrap();
        let filtered = std::mem::take(&mut tally.filtered);
        FoldedSink::finish(&mut folded, &mut frames, &mut tally).unwrap();
        prop_assert_eq!(filtered, tally.filtered);
        let samples = samples.into_inner().0;
        let plain: Vec<&str> = samples.iter().map(|stack| stack.trim_end_matches('!')).collect();
        prop_assert_eq!(&plain, &folded.into_inner().0);
        let before: Vec<String> = stacks.iter().map(|names| names.join(";")).collect();
        for (stack, plain) in samples.iter().zip(plain) {
            prop_assert!(!stack.ends_with('!') || before.iter().any(|before| before == plain));
        }
    }
}
