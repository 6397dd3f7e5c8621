//! The filter's language: what it means, what it says of mistakes, and that any text is safe.

use flamepipe::error::Result;
use flamepipe::filter::{Config, Predicate, SampleFilter};
use flamepipe::sample::{Frame, FrameId, FrameTable, Kind, Sample, SampleSink};
use flamepipe::tally::Tally;
use proptest::prelude::*;

#[path = "../naive/expression.rs"]
mod naive;

use naive::{Expr, Seen};

/// The whole message for `text`, without the line that shows the expression.
#[track_caller]
fn fails(text: &str, expected: &str, caret: &str) {
    let error = text.parse::<Predicate>().unwrap_err();
    assert_eq!(error.to_string(), format!("expected {expected}\n  {text}\n  {caret}"));
}

#[test]
fn errors_point_at_the_character() {
    let one =
        "frame, module, comm, event, kind, pid, tid, cpu, time, not, everything, nothing or (";
    let name = "a name: /regex/, a glob with * or ?, a word, or one in \"quotes\"";
    fails("", one, "^");
    fails("  ", one, "  ^");
    fails("frmae x", one, "^");
    fails("frame x and", one, "           ^");
    fails("frame x and pdi 7", one, "            ^");
    fails("()", one, " ^");
    fails("frame x adn comm y", "and, or or the end", "        ^");
    fails("frame x)", "and, or or the end", "       ^");
    fails("(frame \u{e9} or comm y", "and, or or )", "                  ^");
    fails("frame", name, "     ^");
    fails("not frame ( ", name, "          ^");
    fails("frame and", "a name; to use \"and\" as a name, put it in quotes", "      ^");
    fails("comm \"web", "a \" that ends the name", "     ^");
    fails(
        "frame /x",
        "a / that ends the regex; put a name that starts with / in quotes",
        "      ^",
    );
    let behind = "a blank after the regex; put a name that starts with / in quotes";
    fails("module /lib/x.so", behind, "            ^");
    fails("frame /a(/ or comm x", "a regex, but unclosed group", "      ^");
    fails("kind kern", "user, kernel, inlined, jit or truncated", "     ^");
    fails("pid 7,x", "a number, or several with commas", "    ^");
    fails("cpu 3..1", "numbers or ranges: 0..3,5", "    ^");
    fails("time 5", "seconds FROM..TO, FROM.. or ..TO", "     ^");
    let error = "frame x\n\t!".parse::<Predicate>().unwrap_err().to_string();
    assert_eq!(error, "expected and, or or the end\n  frame x  !\n           ^");
    let deep = "not ".repeat(101) + "frame x";
    assert!(deep.parse::<Predicate>().unwrap_err().to_string().starts_with("expected at most 100"));
}

#[test]
fn expressions_are_shown_as_they_are_typed() {
    for text in [
        "frame main",
        r"frame /a\/b$/ and not comm web-?",
        "pid 7,8 or tid 9 and cpu 0..3,5",
        "(kind jit or kind user) and (frame \"a b\" and event cycles:*)",
        "not (module \"/bin/x\" or not not nothing)",
        "time 1.500000000.. or time ..2.000000000 or everything",
    ] {
        assert_eq!(text.parse::<Predicate>().unwrap().to_string(), text);
    }
}

/// Says whether anything came through.
#[derive(Default)]
struct Came(bool);

impl SampleSink for Came {
    fn sample(&mut self, _: &mut FrameTable, _: &Sample<'_>) -> Result<()> {
        self.0 = true;
        Ok(())
    }
    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["main", "f", "a b", "and", "x::y", "/lib/f", "", "\u{e9}\"\\"])
}

fn pattern() -> impl Strategy<Value = naive::Pattern> {
    use naive::Pattern;
    prop_oneof![
        name().prop_map(|name| Pattern::Exact(name.into())),
        prop::sample::select(vec!["^f", "/", "", "x|a", r"\W", "\\\\"])
            .prop_map(|regex| Pattern::Regex(regex.into())),
        prop::sample::select(vec!["*", "f*", "?", "*b", "m?in", "x::?", "/*/?"])
            .prop_map(|glob| Pattern::Glob(glob.into())),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    let ids = || prop::collection::vec(0..4u32, 1..3);
    let one = prop_oneof![
        4 => (prop::sample::select(vec!["frame", "module", "comm", "event"]), pattern())
            .prop_map(|(field, pattern)| Expr::Name(field, pattern)),
        1 => (0..naive::KINDS.len()).prop_map(Expr::Kind),
        1 => (prop::sample::select(vec!["pid", "tid", "cpu"]), ids())
            .prop_map(|(field, ids)| Expr::Number(field, ids)),
        1 => (0..9u64, 0..9u64).prop_map(|(a, b)| Expr::Time(a.min(b), a.max(b))),
    ];
    one.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|inner| Expr::Not(inner.into())),
        ]
    })
}

fn seen() -> impl Strategy<Value = Seen> {
    let frame = (name(), name(), 0..naive::KINDS.len());
    let number = || prop::option::of(0..4u32);
    let time = prop::option::of(0..9u64);
    (prop::collection::vec(frame, 0..4), name(), name(), (number(), number(), number()), time)
        .prop_map(|(stack, comm, event, (pid, tid, cpu), time)| Seen {
            stack,
            comm,
            event,
            pid,
            tid,
            cpu,
            time,
        })
}

/// Whether the filter lets a sample through, for each of a run of them.
fn filtered(keep: Predicate, seen: &[Seen]) -> Vec<bool> {
    let mut frames = FrameTable::default();
    let mut filter = SampleFilter::new(Config { keep, ..Config::default() }, Came::default());
    let mut kept = Vec::new();
    let mut before = 0;
    for seen in seen {
        let frame = |&(symbol, module, kind): &(&'static str, &'static str, usize)| {
            let kind = [Kind::User, Kind::Kernel, Kind::Inlined, Kind::Jit, Kind::Truncated][kind];
            frames.intern(Frame {
                symbol: symbol.into(),
                module: module.into(),
                kind,
                ..Frame::default()
            })
        };
        let stack: Vec<FrameId> = seen.stack.iter().map(frame).collect();
        let sample = Sample {
            comm: seen.comm.into(),
            event: seen.event.into(),
            pid: seen.pid,
            tid: seen.tid,
            cpu: seen.cpu,
            time: seen.time.map(|seconds| seconds * 1_000_000_000),
            stack: &stack,
            ..Sample::default()
        };
        filter.sample(&mut frames, &sample).unwrap();
        let mut tally = Tally::default();
        let _ = filter.finish(&mut frames, &mut tally);
        kept.push(tally.filtered.items == before);
        before = tally.filtered.items;
    }
    kept
}

proptest! {
    /// Questions that are asked once per distinct frame are answered as if asked each time.
    #[test]
    fn evaluation_equals_the_naive_twin(
        expr in expr(),
        seen in prop::collection::vec(seen(), 1..6),
    ) {
        let text = expr.text();
        let keep: Predicate = text.parse().unwrap();
        let want: Vec<bool> = seen.iter().map(|seen| expr.holds(seen)).collect();
        prop_assert_eq!(filtered(keep, &seen), want, "{}", text);
    }

    #[test]
    fn what_is_shown_reads_as_the_same(expr in expr()) {
        let parsed: Predicate = expr.text().parse().unwrap();
        let again: Predicate = parsed.to_string().parse().unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{parsed:?}"));
    }

    #[test]
    fn any_text_is_read_or_refused(
        text in prop_oneof![
            any::<String>(),
            "(frame|comm|pid|time|cpu|kind|and|or|not|[(]|[)]|/|\"|\\\\|[*]|7|[.][.]|,|\u{e9}| ){0,24}",
        ],
    ) {
        match text.parse::<Predicate>() {
            Ok(parsed) => {
                let again: Predicate = parsed.to_string().parse().unwrap();
                prop_assert_eq!(format!("{again:?}"), format!("{parsed:?}"));
            }
            Err(error) => prop_assert!(error.to_string().ends_with('^')),
        }
    }
}
