//! Graphs hold their folded stacks: what was drawn can be folded again, to the byte.

use bstr::{BString, ByteSlice};
use flamepipe::fold::{Folder, Merge};
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::input;
use flamepipe::render::{Config, Renderer};
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::tally::Tally;
use proptest::prelude::*;

use crate::harness::Dir;

fn render(config: Config, text: &[u8]) -> Vec<u8> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
    folded::read(text, "text", &mut frames, &mut renderer, &mut tally).unwrap();
    renderer.finish(&mut frames, &mut tally).unwrap();
    renderer.into_inner()
}

fn fold(input: &[u8]) -> Vec<u8> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(Default::default(), "input", merge);
    let input = input::Input::new("input", std::io::Cursor::new(input.to_vec()));
    let config = input::Config::default();
    let source = input::Source::new(&config);
    source.feed([input], &mut folder, &mut frames, &mut tally).unwrap();
    folder.finish(&mut frames, &mut tally).unwrap();
    folder.into_next().into_next().into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Names have any bytes, stacks may be narrow, and graphs may show a part of the profile or
    /// turn it around.
    #[test]
    fn folding_a_graph_gives_back_the_stacks(
        stacks in prop::collection::vec((prop::collection::vec("[a-cé!]{1,4}", 1..5), 1u64..100_000), 1..20),
        mode in 0usize..3,
    ) {
        let mut text = b"# unit: ns\nmain 100000\n".to_vec();
        for (stack, weight) in &stacks {
            text.extend_from_slice(b"main\xff;");
            text.extend_from_slice(stack.join(";").as_bytes());
            text.extend_from_slice(format!(" {weight}\n").as_bytes());
        }
        let config = Config { reverse: mode == 1, min_width: [0.01, 5.0, 50.0][mode], ..Config::default() };
        let svg = render(config, &text);
        prop_assert_eq!(BString::from(fold(&svg)), BString::from(fold(&text)));
    }
}

#[test]
fn it_is_the_graph_without_them_and_one_element_more() {
    let text = b"main;f 3\nmain;\xff\xfe 1\n";
    let with = BString::from(render(Config::default(), text));
    let without = BString::from(render(Config { embed: false, ..Config::default() }, text));
    let start = with.find("<metadata id=\"flamepipe-graph-3\">").unwrap();
    let end = with.find("</metadata>\n").unwrap() + "</metadata>\n".len();
    assert_eq!([&with[..start], &with[end..]].concat().as_bstr(), without);
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(with.to_str().unwrap(), options).unwrap();
}

#[test]
fn a_name_or_a_note_cannot_take_their_place() {
    let fake = "<metadata id=\"flamepipe-graph-3\">AAAA</metadata></svg>";
    let text = format!("main;{fake} 3\n");
    let config = Config { notes: fake.into(), ..Config::default() };
    assert_eq!(fold(&render(config, text.as_bytes())), text.as_bytes());
}

#[test]
fn all_programs_that_draw_embed_unless_told_not_to() {
    let dir = Dir::new();
    let folded = "main;f 3\nmain;g 1\n";
    dir.write("folded", folded);
    for (program, args) in [
        ("fg-render", &["-q", "folded", "-o", "x.svg"][..]),
        ("flamegraph", &["--perfdata", "folded", "-o", "x.svg"]),
    ] {
        dir.cmd(program).args(args).run().success();
        assert_eq!(dir.cmd("fg-fold").arg("x.svg").stdout(), folded, "{program}");
        dir.cmd(program).args(args).arg("--no-embed").run().success();
        dir.cmd("fg-fold")
            .arg("x.svg")
            .run()
            .code(1)
            .says("x.svg is a picture without folded stacks")
            .says("which embed them by default");
    }
}
