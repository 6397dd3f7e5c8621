//! Tests fg-render: the SVG is XML, siblings are in order of frames, and if that is the order of
//! bytes, the SVG is inferno's.

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
mod program;

fn try_render(config: Config, text: &[u8]) -> flamepipe::error::Result<(Vec<u8>, Tally)> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    // A graph that is compared with inferno's has no additions of ours. embed.rs tests those.
    let config = Config { embed: false, inferno: true, ..config };
    let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
    folded::read(text, "text", &mut frames, &mut renderer, &mut tally)?;
    renderer.finish(&mut frames, &mut tally)?;
    Ok((renderer.into_inner(), tally))
}

#[track_caller]
fn render(config: Config, text: impl AsRef<[u8]>) -> String {
    String::from_utf8(try_render(config, text.as_ref()).unwrap().0).unwrap()
}

/// A box: its title, its width in units of weight, and its place.
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
        let mut options = Options::default();
        let mut svg = Vec::new();
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

    /// Names have only letters, so bytes and frames sort alike, except that equal names merge.
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

    /// Whatever a name contains, each frame's boxes weigh as much as its stacks, and a root is one
    /// box.
    #[test]
    fn every_frame_is_drawn_with_its_weight(
        stacks in prop::collection::vec((prop::collection::vec("[ #0-9a:.\u{1}é]{0,4}", 1..4), 1u64..9), 1..20),
        reverse: bool,
    ) {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let config = Config { min_width: 0.0, reverse, ..Config::default() };
        let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
        let mut roots = BTreeMap::<String, Vec<u64>>::new();
        let mut total = 0;
        let mut inner = 0;
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
    // The first line decides the kind of profile.
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
fn the_unit_decides_before_the_first_stack_does() {
    let dir = Dir::new();
    // fg-fold writes a unit with one weight, fg-diff one with two.
    let title = |profile: &str| {
        let svg = dir.cmd("fg-render").stdin(profile).run();
        svg.code(0).stdout.contains_str("GC Thread 0\u{200b} (12")
    };
    assert!(title("# unit: ns 0\nGC Thread 0 12\nmain 3\n"));
    assert!(!title("# unit: ns 0 0\nGC Thread 0 12\nmain 3 3\n"));
    // Without a unit, the first stack may be mistaken.
    let mistaken = "GC Thread 0 12\nmain 3\nmain;f 5\n";
    for format in ["svg", "html"] {
        let run = dir.cmd("fg-render").args(["--format", format]).stdin(mistaken).run();
        run.code(0).says("2 stacks have one weight, although the first has two");
    }
    dir.cmd("fg-render").args(["--strict"]).stdin(mistaken).run().code(3);
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
