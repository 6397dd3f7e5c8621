//! fg-render: the SVG is XML, siblings are in order of frames, and where that is the order of bytes it is inferno's.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};
use flamepipe::folded::{self, Folded, FoldedSink};
use flamepipe::render::{Config, Order, Renderer, frame_attributes};
use flamepipe::sample::{Frame, FrameTable};
use flamepipe::tally::{Loss, Tally};
use inferno::flamegraph::{self, Options};
use proptest::prelude::*;

use crate::harness::Dir;

mod differential;

fn try_render(config: Config, text: &[u8]) -> flamepipe::error::Result<(Vec<u8>, Tally)> {
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    // What is compared with inferno's has nothing of ours in it; tests of that are in embed.rs.
    let config = Config { embed: false, ..config };
    let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
    folded::read(text, "text", &mut frames, &mut renderer, &mut tally)?;
    renderer.finish(&mut frames, &mut tally)?;
    Ok((renderer.into_inner(), tally))
}

#[track_caller]
fn render(config: Config, text: impl AsRef<[u8]>) -> String {
    String::from_utf8(try_render(config, text.as_ref()).unwrap().0).unwrap()
}

/// A box: its title, its width in units of weight, and where it lies.
struct Drawn {
    title: String,
    width: u64,
    y: u64,
}

impl Drawn {
    fn name(&self) -> &str {
        &self.title[..self.title.rfind(" (").unwrap_or(self.title.len())]
    }
}

/// Every box of an SVG, which must be XML.
#[track_caller]
fn boxes(svg: &str) -> Vec<Drawn> {
    let options =
        roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: u32::MAX, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(svg, options)
        .unwrap_or_else(|error| panic!("not XML: {error}\n{svg}"));
    let width = ("http://github.com/jonhoo/inferno", "w");
    let rects = document.descendants().filter(|node| node.has_attribute(width));
    let drawn = rects.map(|rect| {
        let group = rect.parent().unwrap();
        let title = group.children().find(|node| node.tag_name().name() == "title").unwrap();
        Drawn {
            title: title.text().unwrap().to_owned(),
            width: rect.attribute(width).unwrap().parse().unwrap(),
            y: rect.attribute("y").unwrap().parse().unwrap(),
        }
    });
    drawn.collect()
}

/// The widths of the boxes by name.
fn by_name<'a>(boxes: impl IntoIterator<Item = &'a Drawn>) -> BTreeMap<String, Vec<u64>> {
    let mut widths = BTreeMap::<String, Vec<u64>>::new();
    for drawn in boxes {
        widths.entry(drawn.name().to_owned()).or_default().push(drawn.width);
    }
    widths
}

/// The widths of all boxes by name, without that of `all`.
#[track_caller]
fn widths(svg: &str) -> BTreeMap<String, Vec<u64>> {
    by_name(boxes(svg).iter().filter(|drawn| !drawn.title.starts_with("all (")))
}

fn inferno_in_a_fresh_thread(text: &str, set: impl Fn(&mut Options<'_>) + Send + Sync) -> String {
    let draw = || {
        let (mut options, mut svg) = (Options::default(), Vec::new());
        set(&mut options);
        flamegraph::from_reader(&mut options, text.as_bytes(), &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(draw).join().unwrap())
}

#[test]
fn a_sibling_whose_name_goes_on_does_not_tear_a_box() {
    let svg = render(Config::default(), "main 1\nmain::x 2\nmain;a 3\n");
    assert_eq!(
        widths(&svg),
        [("a", 3), ("main", 4), ("main::x", 2)].map(|(n, w)| (n.into(), vec![w])).into()
    );
    let svg =
        render(Config { reverse: true, ..Config::default() }, "main 1\nmain::x 2\na;main 3\n");
    assert_eq!(widths(&svg)["main"], [4]);
}

#[test]
fn rendering_is_a_function() {
    let text = "b;c 3\na 2\nb;d 1\na 4\n";
    let shuffled = "a 1\nb;d 1\na 5\nb;c 3\n";
    let first = render(Config::default(), text);
    assert_eq!(render(Config::default(), text), first, "also the second time in one thread");
    assert_eq!(
        render(Config::default(), shuffled),
        first,
        "the order of the input does not matter"
    );
}

type Set = fn(&mut Options<'_>);

/// Options of ours and the same of inferno's.
fn settings() -> Vec<(Config, Set)> {
    let c = Config::default;
    vec![
        (c(), |_| {}),
        (Config { deterministic: true, ..c() }, |o| o.deterministic = true),
        (Config { hash: true, inverted: true, ..c() }, |o| {
            o.hash = true;
            o.direction = flamegraph::Direction::Inverted;
        }),
        (Config { colors: "rust".parse().unwrap(), pretty_xml: true, ..c() }, |o| {
            o.colors = "rust".parse().unwrap();
            o.pretty_xml = true;
        }),
        (Config { color_diffusion: true, factor: 0.5, ..c() }, |o| {
            o.color_diffusion = true;
            o.factor = 0.5;
        }),
        (Config { reverse: true, ..c() }, |o| o.reverse_stack_order = true),
        (Config { order: Order::Time, ..c() }, |o| o.flame_chart = true),
        (Config { order: Order::Input, ..c() }, |o| o.no_sort = true),
        (Config { min_width: 3.0, deterministic: true, ..c() }, |o| {
            o.min_width = 3.0;
            o.deterministic = true;
        }),
        (Config { min_width: 12.5, width: Some(500), no_javascript: true, ..c() }, |o| {
            o.min_width = 12.5;
            o.image_width = Some(500);
            o.no_javascript = true;
        }),
        (
            Config {
                min_width: 0.0,
                title: "<T>".into(),
                subtitle: Some("s".into()),
                notes: "n".into(),
                ..c()
            },
            |o| {
                o.min_width = 0.0;
                o.title = "<T>".into();
                o.subtitle = Some("s".into());
                o.notes = "n".into();
            },
        ),
        (
            Config {
                font_size: 20,
                font_width: 0.7,
                font_type: "Arial".into(),
                frame_height: 30,
                ..c()
            },
            |o| {
                o.font_size = 20;
                o.font_width = 0.7;
                o.font_type = "Arial".into();
                o.frame_height = 30;
            },
        ),
        (
            Config { frame_attributes: frame_attributes(b"a\thref=/a\tclass=x\n").unwrap(), ..c() },
            |o| {
                o.func_frameattrs =
                    flamegraph::FuncFrameAttrsMap::from_reader(&b"a\thref=/a\tclass=x\n"[..])
                        .unwrap();
            },
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Names of letters only: bytes and frames sort alike, but for equal names, which merge.
    #[test]
    fn where_bytes_sort_like_frames_the_svg_is_infernos(
        stacks in prop::collection::btree_map(prop::collection::vec("[a-c]", 1..6), 0u64..50, 1..30),
    ) {
        prop_assume!(stacks.values().any(|&weight| weight > 0));
        let text: String = stacks.iter().map(|(stack, weight)| format!("{} {weight}\n", stack.join(";"))).collect();
        for (i, (config, set)) in settings().into_iter().enumerate() {
            prop_assert_eq!(render(config, &text), inferno_in_a_fresh_thread(&text, set), "{}: {}", i, text);
        }
    }

    #[test]
    fn any_bytes_make_valid_xml(
        text in prop::collection::vec(prop_oneof![
            Just(b' '), Just(b';'), Just(b'\n'), b'0'..=b'9', Just(b'#'), any::<u8>(),
        ], 0..300),
        mode in 0usize..4,
    ) {
        let order = [Order::Frames, Order::Frames, Order::Input, Order::Time][mode];
        let config = Config { order, reverse: mode == 1, min_width: 0.0, ..Config::default() };
        let hostile = "-->\x01]]></style>'\"&<--".to_owned();
        let config = Config {
            title: hostile.clone(), subtitle: Some(hostile.clone()), notes: hostile.clone(),
            count_name: hostile.clone(), name_type: hostile.clone(), font_type: hostile, ..config
        };
        if let Ok((svg, tally)) = try_render(config, &text) {
            let boxes = boxes(svg.to_str().unwrap());
            let all = boxes.iter().map(|drawn| drawn.width).max();
            let weight = |line: folded::Line<'_>| line.after.unwrap_or(line.weight);
            let whole: u64 = text.split_str("\n").filter_map(folded::split).map(weight).sum();
            let vanished: u64 = boxes.iter().filter(|drawn| drawn.name() == "[vanished]").map(|drawn| drawn.width).sum();
            prop_assert_eq!(all, Some(whole - tally.lost(Loss::NoStack).weight + vanished));
        }
    }

    /// Whatever is in a name: each frame's boxes weigh what its stacks weigh, and are one box where it is the root.
    #[test]
    fn every_frame_is_drawn_with_its_weight(
        stacks in prop::collection::vec((prop::collection::vec("[ #0-9a:.\u{1}é]{0,4}", 1..4), 1u64..9), 1..20),
        reverse: bool,
    ) {
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        let config = Config { min_width: 0.0, reverse, ..Config::default() };
        let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
        let mut roots = BTreeMap::<String, Vec<u64>>::new();
        let (mut total, mut inner) = (0, 0);
        for (names, weight) in &stacks {
            let stack: Vec<_> = names.iter().map(|name| frames.intern(Frame::named(name.as_bytes()))).collect();
            renderer.folded(&mut frames, &Folded { stack: &stack, weight: *weight, ..Folded::default() }).unwrap();
            let root = if reverse { names.last() } else { names.first() }.unwrap();
            let mut root = root.trim_start().replace('\u{1}', "\u{fffd}");
            if names.len() == 1 {
                root = root.trim_end().to_owned();
            }
            if names.len() > 1 || !root.is_empty() {
                roots.entry(root).or_insert_with(|| vec![0])[0] += weight;
                total += weight;
                inner += weight * names.len() as u64;
            }
        }
        prop_assume!(total > 0);
        renderer.finish(&mut frames, &mut tally).unwrap();
        let svg = String::from_utf8(renderer.into_inner()).unwrap();
        let mut all = boxes(&svg.replace('\u{200b}', ""));
        prop_assert_eq!(all.iter().map(|drawn| drawn.width).sum::<u64>(), total + inner);
        let lowest = all.iter().map(|drawn| drawn.y).max().unwrap();
        all.retain(|drawn| drawn.y + 16 == lowest);
        let drawn = by_name(&all);
        prop_assert_eq!(drawn, roots);
    }
}

#[test]
fn a_number_at_the_end_of_a_name_is_no_weight() {
    // The first line tells what the profile is.
    let svg =
        render(Config::default(), "main 1\nGC Thread 0 12\nGC Thread 0;f 3\nGC Thread 1.5 4\n");
    let widths = widths(&svg);
    assert_eq!(widths["GC Thread 0\u{200b}"], [15]);
    assert_eq!(widths["GC Thread 1.5\u{200b}"], [4]);
    assert!(!svg.contains("%; "), "no differences");
    let svg = render(Config::default(), "main 1\npool 0;f 3\n");
    assert!(svg.contains("<title>pool 0 (3 samples, 75.00%)"), "no mark where none is needed");
}

#[test]
fn a_narrow_child_does_not_make_its_parent_a_differential() {
    let svg = render(
        Config { min_width: 10.0, ..Config::default() },
        "main;pool 7;f 1\nmain;pool 7;g 99\n",
    );
    assert_eq!(widths(&svg)["pool 7\u{200b}"], [100]);
    assert!(!svg.contains("%; "), "no differences");
}

#[test]
fn base_cuts_at_the_frame_nearest_the_leaf() {
    let base = |base: &str, text: &str| {
        widths(&render(Config { base: vec![base.into()], ..Config::default() }, text))
    };
    let text = "main;f;g 3\nmain;f 2\nmain 4\nf;main;f;h 8\n";
    assert_eq!(
        base("f", text),
        [("f", 13), ("g", 3), ("h", 8)].map(|(n, w)| (n.into(), vec![w])).into()
    );
    assert_eq!(base("main", text)["main"], [17], "also at the root");
    let (_, tally) =
        try_render(Config { base: vec!["f".into()], ..Config::default() }, text.as_bytes())
            .unwrap();
    assert_eq!(tally.filtered.weight, 4);
}

#[test]
fn the_program_draws_what_the_library_draws() {
    let dir = Dir::new();
    dir.write("a", "main;f 3\n");
    let outcome =
        dir.cmd("fg-render").args(["--no-embed", "a", "-"]).stdin("odd\nmain 1\n").run().success();
    assert_eq!(outcome.stdout, render(Config::default(), "main;f 3\nmain 1\n"));
    assert!(
        outcome.stderr.contains_str("1 odd lines or records skipped, the first: “odd”"),
        "{}",
        outcome.stderr
    );
    let quiet = dir
        .cmd("fg-render")
        .args(["-q", "-o", "x.svg", "--strict", "--no-embed"])
        .stdin("odd\nmain;f 3\nmain 1\n")
        .run();
    let quiet = quiet.code(3);
    assert_eq!((quiet.stdout, quiet.stderr), (BString::default(), BString::default()));
    assert_eq!(dir.read("x.svg"), outcome.stdout);
    assert_eq!(dir.names(), ["a", "x.svg"]);
}

#[test]
fn odd_bytes_are_replaced_and_counted() {
    let dir = Dir::new();
    let outcome = dir.cmd("fg-render").stdin(b"a\x1b[1m;\xff\xfe 3\nok 2.75\n").run().success();
    assert!(outcome.stdout.contains_str("<title>a\u{fffd}[1m (3 samples"));
    outcome.says("2 names with bytes that had to be replaced").says("1 weights with a fraction");
}

#[test]
fn without_stacks_there_is_no_output_and_nothing_is_touched() {
    let dir = Dir::new();
    dir.write("x.svg", "precious");
    for (input, args, words) in [
        ("", &[][..], "standard input is empty"),
        (
            "what\nis this\n",
            &[],
            "standard input is not perf-script text, perf.data, folded stacks or any other",
        ),
        ("# nothing\n", &[], "standard input has no samples"),
        ("a 0\nb 0\n", &[], "has no samples that can be drawn: 2 stacks have no weight"),
        ("a 1\n", &["--base", "x"], "none of 1 stacks contains x"),
        ("a 18446744073709551615\nb 18446744073709551615\n", &[], "add up to more than"),
    ] {
        let outcome = dir
            .cmd("fg-render")
            .args(["-o", "x.svg"])
            .args(args)
            .stdin(input)
            .run()
            .code(1)
            .says(words);
        assert!(outcome.stdout.is_empty());
        assert_eq!(dir.read("x.svg"), "precious", "{input:?}");
        assert_eq!(dir.names(), ["x.svg"]);
        assert!(dir.cmd("fg-render").args(args).stdin(input).run().code(1).stdout.is_empty());
    }
    dir.cmd("fg-render")
        .args(["--width", "3"])
        .stdin("a 1\n")
        .run()
        .code(2)
        .says("a width of 3 pixels");
}

#[test]
fn the_palette_map_keeps_colours() {
    let dir = Dir::new();
    dir.write("palette.map", "f->rgb(1,2,3)\n");
    let svg = dir.cmd("fg-render").arg("--cp").stdin("main;f 3\n").stdout();
    assert!(svg.contains_str("rgb(1,2,3)"));
    let map = dir.read("palette.map");
    assert!(
        map.starts_with(b"->rgb(")
            && map.contains_str("f->rgb(1,2,3)\n")
            && map.contains_str("main->rgb("),
        "{map}"
    );
    assert_eq!(
        dir.cmd("fg-render").arg("--cp").stdin("main;f 3\n").stdout(),
        svg,
        "the second time, all are known"
    );
    assert_eq!(dir.read("palette.map"), map);
}

#[test]
fn attributes_of_functions_are_read() {
    let dir = Dir::new();
    dir.write("attrs", "f\thref=https://example.com/\twhat=1\n");
    let outcome =
        dir.cmd("fg-render").args(["--nameattr", "attrs"]).stdin("main;f 3\n").run().success();
    assert!(outcome.stdout.contains_str(r#"<a xlink:href="https://example.com/""#));
    outcome.says("invalid attribute what");
}

const SCRIPT: &str = "app 1/2 1.000000: 1000000 cpu-clock: \n\t 10 f+0x1 (/a)\n\t 20 main+0x1 (/a)\n\n\
    app 1/2 1.001000: 1000000 cpu-clock: \n\t 10 g+0x1 (/a)\n\t 20 main+0x1 (/a)\n\n\
    app 1/3 1.003000: 1000000 cpu-clock: \n\t 10 f+0x1 (/a)\n\t 20 main+0x1 (/a)\n\n\
    app 1/2 1.003000: 1000000 cpu-clock: \n\t 10 f+0x1 (/a)\n\t 20 main+0x1 (/a)\n\n";

#[test]
fn script_text_is_folded_on_the_way() {
    let dir = Dir::new();
    let folded = dir.cmd("fg-fold").arg("--unit").stdin(SCRIPT).stdout();
    let drawn = dir.cmd("fg-render").stdin(&folded[..]).stdout();
    assert!(dir.cmd("fg-render").stdin(SCRIPT).stdout() == drawn, "{folded}");
}

#[test]
fn a_flame_chart_of_samples_is_in_the_order_of_time() {
    let dir = Dir::new();
    let svg = dir.cmd("fg-render").args(["--flamechart"]).stdin(SCRIPT).stdout();
    let widths = widths(svg.to_str().unwrap());
    let ms = |widths: &[u64]| widths.iter().map(|width| width * 1_000_000).collect::<Vec<_>>();
    // A lane is as long as the recording; behind a gap, `main` is another box.
    assert_eq!((&widths["app-1/2"], &widths["app-1/3"]), (&ms(&[4]), &ms(&[4])));
    let mut mains = widths["main"].clone();
    mains.sort_unstable();
    assert_eq!(mains, ms(&[1, 1, 2]));
    assert_eq!(widths["g"], ms(&[1]));
    assert!(svg.contains_str("<title>app-1/2 (4,000,000 ns, 50.00%)"), "{svg}");
}

#[test]
fn what_a_browser_hardly_opens_is_announced() {
    let dir = Dir::new();
    let lines: String = (0..50_000).map(|i| format!("function_{i:0>100} 1\n")).collect();
    let args = ["--minwidth", "0", "-o", "x.svg"];
    let outcome = dir.cmd("fg-render").args(args).stdin(&lines[..]).run().success();
    outcome.says("MB, which keeps a browser busy for long: --min-width 0.1 or more");
    assert!(!dir.cmd("fg-render").stdin("a 1\n").run().success().stderr.contains_str("browser"));
}
