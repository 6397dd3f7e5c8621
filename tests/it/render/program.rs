//! fg-render as a program: its inputs, files and messages.

use super::*;
use crate::harness::bin;

#[test]
fn the_program_draws_what_the_library_draws() {
    let dir = Dir::new();
    dir.write("a", "main;f 3\n");
    let outcome = dir
        .cmd("fg-render")
        .args(["--no-embed", "--inferno", "a", "-"])
        .stdin("odd\nmain 1\n")
        .run()
        .success();
    assert_eq!(outcome.stdout, render(Config::default(), "main;f 3\nmain 1\n"));
    assert!(
        outcome.stderr.contains_str("1 odd line or record skipped, the first: “odd”"),
        "{}",
        outcome.stderr
    );
    let quiet = dir
        .cmd("fg-render")
        .args(["-q", "-o", "x.svg", "--strict", "--no-embed", "--inferno"])
        .stdin("odd\nmain;f 3\nmain 1\n")
        .run();
    let quiet = quiet.code(3);
    assert_eq!((quiet.stdout, quiet.stderr), (BString::default(), BString::default()));
    assert_eq!(dir.read("x.svg"), outcome.stdout);
    assert_eq!(dir.names(), ["a", "x.svg"]);
}

#[test]
fn names_of_pictures_that_we_cannot_draw_are_refused() {
    let dir = Dir::new();
    dir.write("in", "main;f 3\n");
    for (program, input) in [("fg-render", &["in"][..]), ("flamegraph", &["--perfdata", "in"])] {
        for name in ["a.png", "a.PDF"] {
            let outcome = dir.cmd(program).args(["-o", name]).args(input).run().code(2);
            outcome.says(&format!("cannot draw {name}: a graph is an SVG or a page (.html)"));
        }
        // What says nothing of its format is an SVG.
        dir.cmd(program).args(["-o", "graph.new"]).args(input).run().success();
        assert!(dir.read("graph.new").starts_with(b"<?xml"));
    }
    dir.cmd("fg-render").args(["--format", "svg", "-o", "a.png", "in"]).run().success();
}

/// Narrow stacks of sorted text are left out early, if the text is a file.
#[test]
fn a_file_and_a_pipe_draw_the_same() {
    let dir = Dir::new();
    let lines = (0..2000).map(|n| format!("main;f{:02};g{:03};h{n:04} {n}\n", n / 200, n / 20));
    dir.write("sorted", lines.clone().collect::<String>());
    dir.write("unsorted", lines.rev().collect::<String>());
    let options = ["--no-embed", "--minwidth", "0.2"];
    for name in ["sorted", "unsorted"] {
        let drawn = |input: std::process::Stdio| {
            let mut command = std::process::Command::new(bin("fg-render"));
            let outcome = command.args(options).stdin(input).output().unwrap();
            (BString::from(outcome.stdout), BString::from(outcome.stderr))
        };
        let redirected = drawn(std::fs::File::open(dir.path(name)).unwrap().into());
        assert_eq!(redirected.1, "fg-render: 2,000 stacks\n");
        let named = dir.cmd("fg-render").args(options).arg(name).run().success();
        let piped = dir.cmd("fg-render").args(options).stdin(dir.read(name)).run().success();
        assert!(redirected.0 == named.stdout && named.stdout == piped.stdout, "{name}");
        assert_eq!((&named.stderr, &piped.stderr), (&redirected.1, &redirected.1));
        // Text that was already read is not a part of the input.
        let mut file = std::fs::File::open(dir.path(name)).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(-100)).unwrap();
        assert!(!drawn(file.into()).1.contains_str("2,000"));
    }
}

#[test]
fn a_sample_that_looks_like_a_stack_is_one_in_a_file_too() {
    let dir = Dir::new();
    dir.write("a", "app 7 1.5: 10 cycles: 3\n");
    let named = dir.cmd("fg-render").args(["--no-embed", "a"]).run().code(1);
    let piped = dir.cmd("fg-render").arg("--no-embed").stdin(dir.read("a")).run().code(1);
    assert_eq!(named.stderr, piped.stderr.replace("standard input", "a"));
}

#[test]
fn odd_bytes_are_replaced_and_counted() {
    let dir = Dir::new();
    let outcome = dir.cmd("fg-render").stdin(b"a\x1b[1m;\xff\xfe 3\nok 2.75\n").run().success();
    assert!(outcome.stdout.contains_str("<title>a\u{fffd}[1m (3 samples"));
    outcome.says("2 names with replaced bytes").says("1 weight rounded down");
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
    let folded = dir.cmd("fg-fold").stdin(SCRIPT).stdout();
    let drawn = dir.cmd("fg-render").stdin(&folded[..]).stdout();
    assert!(dir.cmd("fg-render").stdin(SCRIPT).stdout() == drawn, "{folded}");
}

#[test]
fn a_flame_chart_of_samples_is_in_the_order_of_time() {
    let dir = Dir::new();
    let outcome = dir.cmd("fg-render").args(["--flamechart"]).stdin(SCRIPT).run().success();
    let svg = outcome.says("an output whose name ends in .html has both").stdout;
    let widths = widths(svg.to_str().unwrap());
    let ms = |widths: &[u64]| widths.iter().map(|width| width * 1_000_000).collect::<Vec<_>>();
    // A lane is as long as the recording; behind a gap, `main` is another box.
    assert_eq!((&widths["app-1/2"], &widths["app-1/3"]), (&ms(&[4]), &ms(&[4])));
    let mut mains = widths["main"].clone();
    mains.sort_unstable();
    assert_eq!(mains, ms(&[1, 1, 2]));
    assert_eq!(widths["g"], ms(&[1]));
    assert!(svg.contains_str("<title>app-1/2 (4.00 ms, 50.00%)"), "{svg}");
}

#[test]
fn what_a_browser_hardly_opens_is_announced() {
    let dir = Dir::new();
    let lines: String = (0..50_000).map(|i| format!("function_{i:0>100} 1\n")).collect();
    let args = ["--minwidth", "0", "-o", "x.svg"];
    let outcome = dir.cmd("fg-render").args(args).stdin(&lines[..]).run().success();
    outcome.says("MB, which a browser opens slowly: use --min-width 0.1 or more");
    assert!(!dir.cmd("fg-render").stdin("a 1\n").run().success().stderr.contains_str("browser"));
}
