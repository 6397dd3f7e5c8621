//! The output of the recorders of macOS, the BSDs and Windows, made here in the documented formats:
//! `xctrace export`, and dtrace's `ustack()`, which blondie writes too.

use std::collections::BTreeMap;
use std::fmt::Write;

use inferno::collapse::{Collapse, dtrace, xctrace};
use proptest::prelude::*;

use crate::harness::Dir;

/// Stacks, root first, with names as the systems write them.
fn stacks() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let names = [
        "start",
        "main",
        "app::run",
        "std::rt::lang_start_internal::hfc27b745d167a74d",
        "dyld4::prepare(dyld4::APIs&, dyld3::MachOAnalyzer const*)",
        "_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$::drop::h0123456789abcdef",
        "0x18d3df0f1",
    ];
    let stack = prop::collection::vec(prop::sample::select(names.to_vec()), 1..6);
    prop::collection::vec(stack, 1..12)
}

/// `xctrace export`: leaf first. A backtrace or a frame that was there before is a reference to it.
fn xctrace_xml(stacks: &[Vec<&str>]) -> String {
    let mut xml = "<?xml version=\"1.0\"?>\n<trace-query-result>\n\
        <node xpath='//trace-toc[1]/run[1]/data[1]/table[11]'>"
        .to_owned();
    let mut backtraces = BTreeMap::new();
    let mut frames = BTreeMap::new();
    let mut id = 9;
    for stack in stacks {
        xml += "<row>";
        if let Some(known) = backtraces.get(stack) {
            write!(xml, "<backtrace ref=\"{known}\"/></row>").unwrap();
            continue;
        }
        id += 1;
        backtraces.insert(stack, id);
        write!(xml, "<backtrace id=\"{id}\">").unwrap();
        for frame in stack.iter().rev() {
            match frames.get(frame) {
                Some(known) => write!(xml, "<frame ref=\"{known}\"/>").unwrap(),
                None => {
                    id += 1;
                    frames.insert(frame, id);
                    let name = frame.replace('&', "&amp;").replace('<', "&lt;");
                    write!(xml, "<frame id=\"{id}\" name=\"{name}\" addr=\"0x{id:x}\"></frame>")
                        .unwrap();
                }
            }
        }
        xml += "</backtrace></row>";
    }
    xml + "</node>\n</trace-query-result>\n"
}

/// dtrace's `@[ustack()] = count()`: leaf first, each frame with its module and offset, and then
/// the count.
fn dtrace_text(stacks: &[Vec<&str>]) -> String {
    let mut text = "\n\n".to_owned();
    for (i, stack) in stacks.iter().enumerate() {
        for (depth, frame) in stack.iter().rev().enumerate() {
            writeln!(text, "              app`{frame}+0x{depth:x}").unwrap();
        }
        writeln!(text, "                {}\n", i + 1).unwrap();
    }
    text
}

fn sorted(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn folds_alike(text: &str, format: &str, mut inferno: impl Collapse, weight: usize) {
    let mut theirs = Vec::new();
    inferno.collapse(text.as_bytes(), &mut theirs).unwrap();
    let dir = Dir::new();
    for args in [&["-q"][..], &["-q", "--format", format]] {
        let ours = dir.cmd("fg-fold").args(args).stdin(text).stdout();
        assert_eq!(sorted(&ours), sorted(&theirs), "{text}");
        let weights = sorted(&ours)
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
            .sum::<usize>();
        assert_eq!(weights, weight, "{text}");
    }
}

#[test]
fn a_newline_in_a_name_of_xctraces_export_forges_no_stack() {
    let name = "a\nforged;x 9\nb";
    let xml = xctrace_xml(&[vec!["main", "é", name]]);
    let xml =
        xml.replace("a\nforged", "a&#10;forged").replace("9\nb", "9&#xA;b").replace('é', "&#233;");
    let outcome = Dir::new().cmd("fg-fold").stdin(&xml).run().success();
    let outcome = outcome.says("2 names with replaced bytes");
    assert_eq!(outcome.stdout, "main;é;a?forged;x 9?b 1\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn xctraces_export_folds_as_inferno_folds_it(stacks in stacks()) {
        folds_alike(&xctrace_xml(&stacks), "xctrace", xctrace::Folder::default(), stacks.len());
    }

    #[test]
    fn dtraces_text_folds_as_inferno_folds_it(stacks in stacks()) {
        let weight = stacks.len() * (stacks.len() + 1) / 2;
        folds_alike(&dtrace_text(&stacks), "dtrace", dtrace::Folder::default(), weight);
    }
}
