//! The programs as their users meet them: options, pages, completions, help.

use std::process::{Command, Stdio};

use bstr::ByteSlice;
use clap::CommandFactory;
use flamepipe::cli;

use crate::harness::{Dir, bin, bin_dir, cannot_run, repo};

const PROGRAMS: [&str; 10] = [
    "cargo-flamegraph",
    "fg-diff",
    "fg-export",
    "fg-filter",
    "fg-fold",
    "fg-record",
    "fg-render",
    "fg-script",
    "fg-top",
    "flamegraph",
];

/// Options of peers as their `--help` lists them: `=` takes a value, `[=]` may take one.
const COLLAPSE_PERF: &str = "--addrs --all --jit --kernel --pid --tid -q,--quiet -v,--verbose \
    --event-filter= -n,--nthreads= --skip-after= -h,--help";

const INFERNO_FLAMEGRAPH: &str = "--cp --hash --deterministic -i,--inverted \
    --truncate-text-right --negate --no-sort --pretty-xml -q,--quiet --reverse -v,--verbose --bgcolors= -c,--colors= \
    --colordiffusion --countname= --factor= --fontsize= --fonttype= --fontwidth= --uicolor= --height= --minwidth= \
    --nameattr= --nametype= --notes= --search-color= --stroke-color= --subtitle= --title= --width= --base= \
    --flamechart -h,--help";

const DIFF_FOLDED: &str = "-n,--normalize -s,--strip-hex -q,--quiet -v,--verbose -h,--help";

/// The common options of flamegraph and cargo-flamegraph.
const GRAPH: &str = "-v,--verbose -o,--output= --open --root[=] -F,--freq= -z,--compression-level[=] -c,--cmd= \
    --title= --subtitle= --deterministic -i,--inverted --reverse --notes= --min-width= --image-width= --palette= \
    --skip-after= --flamechart --ignore-status --no-inline --post-process= -h,--help -V,--version";

const FLAMEGRAPH: &str = "-p,--pid= --completions= --perfdata=";

const CARGO_FLAMEGRAPH: &str = "--dev --profile= -p,--package= -b,--bin= --target= --example= --test= --unit-test[=] \
    --unit-test-kind= --unit-bench[=] --bench= --manifest-path= -f,--features= --no-default-features -r,--release";

/// Names may come from any program, and a terminal obeys escapes.
#[test]
fn messages_and_tables_send_no_escapes_to_a_terminal() {
    let dir = Dir::new();
    dir.write("x", "root;a\x1b]0;PWNED\x07\x1b[31mx;\u{9b}31mleaf 50\nroot;ok 3\n");
    dir.write("before", "root;ok 30\n");
    dir.write("odd", "\x1b]0;PWNED\x07 line\nroot;ok 3\n");
    let sampled = "\tab 1 1.000000: 9 cycles: \n\t 12 [unknown] (/a\x1b[31mb)\n\n";
    dir.write("sampled", sampled);
    for line in [
        "fg-fold x",
        "fg-fold odd",
        "fg-fold sampled",
        "fg-fold \x1b[31mmissing",
        "fg-filter --keep ok odd",
        "fg-render odd",
        "flamegraph -o - --perfdata sampled",
        "fg-diff --fail-above 1 before x",
    ] {
        let mut words = line.split(' ');
        let said = dir.cmd(words.next().unwrap()).args(words).run().stderr;
        assert!(!said.is_empty(), "{line}");
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{line}: {said:?}");
    }
    let table = dir.cmd("fg-diff").args(["--top", "9", "before", "x"]).stdout();
    assert!(table.contains_str("a?]0"), "{table}");
    assert!(!table.contains(&b'\x1b'), "{table:?}");
}

#[test]
fn errors_name_the_file_that_was_asked_for() {
    let dir = Dir::new();
    let folded: String = (0..20_000).map(|n| format!("main;f{n} 1\n")).collect();
    dir.write("x", folded);
    for program in ["fg-fold", "fg-render", "fg-filter --keep main"] {
        let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap());
        let line = format!("ulimit -f 10; exec {program} x -o y");
        let outcome = dir.cmd("sh").env("PATH", path).args(["-c", &line]).run().code(1);
        let outcome = outcome.says("cannot write y: File too large (os error 27)\n");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.everything());
        assert_eq!(dir.names(), ["x"]);
    }
}

#[test]
fn nothing_is_streamed_into_itself() {
    let dir = Dir::new();
    let folded = "main;f 1\n".repeat(20_000);
    let sample = "x 1 1.000000: 9 cycles: \n\t              12 f+0x1 (/a)\n\n".repeat(4_000);
    for (text, line) in [
        (&folded, "fg-filter x >>x"),
        (&folded, "fg-filter --keep main <x >>x"),
        (&sample, "fg-filter --keep f x >>x"),
        (&sample, "fg-script x >>x"),
    ] {
        dir.write("x", text);
        let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap());
        let outcome = dir.cmd("sh").env("PATH", path).args(["-c", line]).run().code(1);
        outcome.says("is also standard output");
        assert!(dir.read("x") == *text, "{line}");
    }
    // A file is replaced once all is read.
    dir.write("x", &folded);
    dir.cmd("fg-filter").args(["--keep", "main", "x", "-o", "x"]).run().success();
    assert!(dir.read("x") == folded);
}

#[test]
fn a_file_that_may_not_be_written_is_not_replaced() {
    let dir = Dir::new();
    let mode = |mode: &str, name: &str| {
        assert!(Command::new("chmod").arg(mode).arg(dir.path(name)).status().unwrap().success());
    };
    dir.write("x", "main;f 1\n");
    dir.write("old", "precious");
    std::fs::copy(bin("fg-fold"), dir.path("fg-fold")).unwrap();
    mode("755", "fg-fold");
    mode("644", "old");
    mode("777", ".");
    let nobody = ["--reuid=65534", "--clear-groups", "./fg-fold", "x", "-o"];
    let run = |to: &str| dir.cmd("setpriv").args(nobody).arg(to).run();
    if !run("new").status.success() {
        return cannot_run(
            "a_file_that_may_not_be_written_is_not_replaced",
            "it needs root and setpriv(1), to become nobody",
        );
    }
    run("old").code(1).says("cannot write old: Permission denied");
    assert_eq!(dir.read("old"), "precious");
    assert_eq!(dir.names(), ["fg-fold", "new", "old", "x"]);
}

#[test]
fn panics_of_inferno_are_errors_of_ours() {
    let dir = Dir::new();
    let sample = "Analysis of sampling app (pid 1) every 1 millisecond\nCall graph:\n    \
        100 Thread_1   DispatchQueue_1: com.appl\u{fffd}\u{fffd}.main-thread  (serial)\n    + 100 start  \
        (in libdyld.dylib) + 1  [0x7fff]\n    +   100 main  (in app) + 2  [0x10]\n    +     60 foo  \
        (in app) + 3  [0x11]\n\nTotal number in stack (recursive counted multiple, when >=5):\n";
    dir.write("x", sample);
    for program in ["fg-fold", "fg-render"] {
        let outcome =
            dir.cmd(program).arg("x").run().code(1).says("sample output that can be read");
        assert!(!outcome.stderr.contains_str("panicked"), "{}", outcome.everything());
    }
}

/// Asserts that `ours` has each option of a list, with the same short name, and that it takes a
/// value if the other does.
fn has_options<P: CommandFactory>(ours: &str, theirs: &str) {
    let mut command = P::command();
    command.build();
    for option in theirs.split_whitespace() {
        let (names, value) = match option.strip_suffix("[=]") {
            Some(names) => (names, 0..=1),
            None => match option.strip_suffix('=') {
                Some(names) => (names, 1..=1),
                None => (option, 0..=0),
            },
        };
        let (short, long) = names.split_once(',').unwrap_or(("", names));
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == long.strip_prefix("--"))
            .unwrap_or_else(|| panic!("{ours} has no {long}"));
        if !short.is_empty() {
            let short = short.chars().nth(1);
            assert_eq!(arg.get_short(), short, "{ours} {long}");
        }
        let takes = arg.get_num_args().unwrap();
        assert_eq!(
            (takes.min_values(), takes.max_values()),
            (*value.start(), *value.end()),
            "{ours} {long}"
        );
    }
}

#[test]
fn every_option_of_the_peers_is_there() {
    has_options::<cli::FoldArgs>("fg-fold", COLLAPSE_PERF);
    has_options::<cli::RenderArgs>("fg-render", INFERNO_FLAMEGRAPH);
    has_options::<cli::DiffArgs>("fg-diff", DIFF_FOLDED);
    for options in [GRAPH, FLAMEGRAPH] {
        has_options::<cli::FlamegraphArgs>("flamegraph", options);
    }
    for options in [GRAPH, CARGO_FLAMEGRAPH] {
        has_options::<cli::CargoFlamegraphArgs>("cargo-flamegraph", options);
    }
}

/// If inferno is installed, the lists above are compared with its `--help`.
#[test]
fn the_lists_are_the_peers() {
    for (peer, list) in [
        ("inferno-collapse-perf", COLLAPSE_PERF),
        ("inferno-flamegraph", INFERNO_FLAMEGRAPH),
        ("inferno-diff-folded", DIFF_FOLDED),
    ] {
        let Ok(help) = Command::new(peer).arg("--help").stdin(Stdio::null()).output() else {
            // The lists above were copied from inferno. Only if it is installed can they be
            // checked.
            return eprintln!(
                "\n!!! the_lists_are_the_peers COMPARED NOTHING: {peer} is not installed\n"
            );
        };
        let listed = |word: &&str| {
            list.split([' ', ',']).any(|option| option.trim_end_matches(['=', '[', ']']) == *word)
        };
        let help = help.stdout.to_str_lossy();
        let options = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let names = options.flat_map(|line| {
            line.split([' ', ','])
                .filter(|word| word.len() > 1)
                .take_while(|word| word.starts_with('-'))
        });
        let names: Vec<&str> = names.map(|name| name.trim_end_matches('.')).collect();
        assert!(names.len() > 5, "{help}");
        let unlisted: Vec<_> = names.iter().filter(|name| !listed(name)).collect();
        assert!(unlisted.is_empty(), "{peer} has {unlisted:?} too");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let dir = Dir::new();
    for program in PROGRAMS {
        let help = dir.cmd(program).arg("--help").stdout().to_str_lossy().into_owned();
        assert!(help.contains("Usage: "), "{program}: {help}");
        assert!(
            help.to_lowercase().contains("memory"),
            "{program} --help does not state its memory"
        );
        let short = dir.cmd(program).arg("-h").stdout();
        assert!(short.contains_str("--"), "{program}");
        let version = dir.cmd(program).arg("-V").stdout();
        assert!(
            version.ends_with_str(format!("{}\n", env!("CARGO_PKG_VERSION"))),
            "{program}: {version}"
        );
        dir.cmd(program)
            .arg("--no-such-option")
            .run()
            .code(2)
            .says("--no-such-option")
            .says("--help");
    }
    assert!(
        dir.cmd("cargo-flamegraph")
            .args(["flamegraph", "-h"])
            .stdout()
            .contains_str("Usage: cargo flamegraph ")
    );
    assert!(dir.names().is_empty());
}

#[test]
fn the_short_help_fits_on_a_screen() {
    let dir = Dir::new();
    for (program, groups) in [
        ("flamegraph", &["Graph:", "Recording:", "Examples:"][..]),
        ("cargo-flamegraph", &["Target:", "Build:", "Graph:", "Recording:", "Examples:"]),
    ] {
        let short = dir.cmd(program).arg("-h").stdout();
        assert!(short.lines().count() <= 45, "{short}");
        let long = dir.cmd(program).arg("--help").stdout();
        assert!(long.lines().count() > 200, "{long}");
        for help in [&short, &long] {
            let places: Vec<_> =
                groups.iter().map(|group| help.find(format!("\n{group}\n"))).collect();
            assert!(places.iter().all(Option::is_some), "{program}: {places:?} in {help}");
            let examples = help.lines().filter(|line| {
                line.contains_str(" flamegraph -")
                    || line.starts_with_str("  cargo")
                    || line.starts_with_str("  flamegraph")
            });
            assert!(examples.count() >= 4, "{help}");
        }
        let help = long.to_str_lossy();
        assert!(!help.contains("\nOptions:\n"), "an option has no group: {help}");
    }
    let help = dir.cmd("cargo-flamegraph").arg("--help").stdout();
    assert!(help.find("\nTarget:") < help.find("\nGraph:"), "cargo's options come first");
}

/// In bash, cargo's own completions are wrapped; in fish, ours are added to them; zsh finds ours by
/// name.
#[cfg(unix)]
#[test]
fn cargo_flamegraph_completes_as_it_is_typed() {
    let dir = Dir::new();
    let script = dir.cmd("cargo-flamegraph").args(["--generate", "bash"]).stdout();
    dir.write("completions", &script);
    let complete = |line: &str| {
        let words = line.split(' ').count();
        let run = format!(
            "_cargo() {{ COMPREPLY=(of-cargo); }}; . ./completions; COMP_WORDS=({line}); COMP_CWORD={}; \
             $(complete -p cargo | sed 's/.*-F \\([^ ]*\\).*/\\1/') cargo; echo \"${{COMPREPLY[@]}}\"",
            words - 1
        );
        dir.cmd("bash").args(["-c", &run]).stdout().to_str_lossy().trim().to_owned()
    };
    assert_eq!(complete("cargo flamegraph --no-debu"), "--no-debuginfo");
    assert_eq!(complete("cargo build --rel"), "of-cargo");
    let fish = dir.cmd("cargo-flamegraph").args(["--generate", "fish"]).stdout();
    assert!(fish.contains_str("complete -c cargo -n '__fish_seen_subcommand_from flamegraph' "));
    let zsh = dir.cmd("cargo-flamegraph").args(["--generate", "zsh"]).stdout();
    assert!(zsh.contains_str("_cargo-flamegraph() {"), "cargo's completions call it");
}

#[cfg(target_os = "linux")]
#[test]
fn the_doctor_knows_the_machine_and_the_program() {
    let dir = Dir::new();
    let records = crate::record::can_record("the_doctor_knows_the_machine_and_the_program");
    let doctor = |args: &[&str]| dir.cmd("flamegraph").arg("--doctor").args(args).run();
    let found = doctor(&["--json"]).code(if records { 0 } else { 1 }).stdout;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found["records"], records);
    let program = crate::harness::bin("flamegraph");
    let found = doctor(&[program.to_str().unwrap()]).stdout;
    let typed = doctor(&["--", program.to_str().unwrap(), "--flag"]).stdout;
    assert!(typed.contains_str("symbols: functions have names"), "{typed}");
    let cargo = dir.cmd("cargo-flamegraph").args(["flamegraph", "--doctor"]).arg(&program);
    assert_eq!(cargo.run().stdout.lines().count(), found.lines().count());
    dir.cmd("cargo-flamegraph").args(["flamegraph", "--json"]).run().code(2).says("add --doctor");
    for line in ["recording: ", "kernel.perf_event_paranoid: ", "symbols: functions have names"] {
        assert!(found.contains_str(line), "{line} in {found}");
    }
    let go = "__attribute__((section(\".gopclntab\"))) int table = 1; int main(void) { return 0; }";
    let source = dir.write("go.c", go);
    let mut cc = std::process::Command::new("cc");
    cc.args(["-Wl,--build-id=none", "-o"]).arg(dir.path("go")).arg(source);
    assert!(cc.status().unwrap().success());
    let found = doctor(&["./go"]).stdout;
    assert!(found.contains_str("frame pointers: Go keeps them"), "{found}");
    assert!(found.contains_str("build with Go 1.24 or newer"), "{found}");
    let found = doctor(&["no-such-program"]).code(1).says("recording would fail").stdout;
    assert!(found.contains_str("error no-such-program: no such program can be run"), "{found}");
    dir.cmd("flamegraph").args(["--json", "true"]).run().code(2).says("--doctor");
}

#[test]
fn the_pages_are_up_to_date() {
    let dir = Dir::new();
    let mut pages = vec!["fg-folded.5".to_owned(), "fg-script.5".to_owned()];
    for program in PROGRAMS {
        let page = dir.cmd(program).args(["--generate", "man"]).stdout();
        let kept = std::fs::read(repo().join(format!("man/{program}.1"))).unwrap();
        assert!(page == kept, "man/{program}.1 is not up to date: run scripts/man");
        assert!(page.contains_str(".SH SEE ALSO"), "{program}");
        pages.push(format!("{program}.1"));
    }
    let mut kept: Vec<String> = std::fs::read_dir(repo().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    kept.sort();
    assert_eq!(kept, pages, "a page for each program, and nothing else");
    let mut lint = Command::new("mandoc");
    lint.args(["-T", "lint", "-W", "warning"]).args(&kept).current_dir(repo().join("man"));
    let Ok(lint) = lint.stdin(Stdio::null()).output() else {
        return cannot_run("the_pages_are_up_to_date", "there is no mandoc");
    };
    assert!(lint.stdout.is_empty(), "{}", lint.stdout.to_str_lossy());
}

#[test]
fn pages_refer_to_pages_of_ours() {
    let names =
        std::fs::read_dir(repo().join("man")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    for name in &names {
        let page =
            std::fs::read_to_string(repo().join("man").join(name)).unwrap().replace("\\-", "-");
        for line in page.lines() {
            let reference = match line.split(' ').collect::<Vec<_>>()[..] {
                [".Xr", other, section, ..] => format!("{other}.{section}"),
                [".BR", other, section, ..] => format!("{other}.{}", &section[1..2]),
                _ => continue,
            };
            let ours =
                ["fg-", "flamegraph", "cargo-"].iter().any(|start| reference.starts_with(start));
            assert!(!ours || names.contains(&reference), "{name} refers to {reference}");
            assert_ne!(reference, *name);
        }
    }
}

#[test]
fn every_program_completes_in_every_shell() {
    let dir = Dir::new();
    let mut missing = Vec::new();
    for program in PROGRAMS {
        for (shell, check) in [
            ("bash", &["bash", "-n"][..]),
            ("zsh", &["zsh", "-n"]),
            ("fish", &["fish", "--no-execute"]),
            ("elvish", &[]),
            ("powershell", &[]),
        ] {
            let completions = dir.cmd(program).args(["--generate", shell]).stdout();
            assert!(completions.contains_str(program), "{program} in {shell}");
            assert!(!completions.contains_str("message-format"), "it is hidden");
            let Some((checker, flags)) = check.split_first() else { continue };
            let file = dir.write(&format!("{program}.{shell}"), &completions);
            match Command::new(checker).args(flags).arg(&file).stdin(Stdio::null()).output() {
                Ok(checked) => {
                    assert!(
                        checked.status.success(),
                        "{program} in {shell}: {}",
                        checked.stderr.to_str_lossy()
                    );
                }
                Err(_) if missing.contains(checker) => {}
                Err(_) => missing.push(*checker),
            }
        }
        dir.cmd(program).args(["--generate", "tcsh"]).run().code(2).says("bash");
    }
    let flag = dir.cmd("flamegraph").args(["--completions", "bash"]).stdout();
    assert_eq!(flag, dir.read("flamegraph.bash"), "flamegraph has a flag for it too, as in 0.6.15");
    dir.cmd("flamegraph").args(["--completions", "tcsh"]).run().code(2).says("bash");
    if !missing.is_empty() {
        cannot_run(
            "every_program_completes_in_every_shell",
            &format!("not installed: {missing:?}"),
        );
    }
}

#[test]
fn completions_complete() {
    let dir = Dir::new();
    if !Command::new("bash")
        .args(["-c", "type complete"])
        .output()
        .is_ok_and(|o| o.status.success())
    {
        return cannot_run("completions_complete", "there is no bash");
    }
    dir.write("fg-fold.bash", dir.cmd("fg-fold").args(["--generate", "bash"]).stdout());
    let script = ". ./fg-fold.bash; f=$(complete -p fg-fold); f=${f#*-F }; \
                  COMP_WORDS=(fg-fold --event); COMP_CWORD=1; ${f%% *} fg-fold --event fg-fold; echo \"${COMPREPLY[@]}\"";
    let done =
        Command::new("bash").args(["-c", script]).current_dir(dir.path(".")).output().unwrap();
    assert_eq!(done.stdout.as_bstr(), "--event-filter\n", "{}", done.stderr.to_str_lossy());
}

#[test]
fn nothing_is_drawn_for_nothing() {
    let dir = Dir::new();
    dir.cmd("flamegraph").run().code(2).says("nothing to record: name a command").says("--help");
    dir.cmd("flamegraph").args(["-p", "1", "true"]).run().code(2);
    dir.cmd("flamegraph").args(["--perfdata", "x", "-p", "1"]).run().code(2);
    dir.cmd("flamegraph").args(["--perfdata", "x", "true"]).run().code(2);
    dir.cmd("flamegraph")
        .args(["--post-process", "sed 's/x", "true"])
        .run()
        .code(2)
        .says("is not a command");
    dir.cmd("flamegraph")
        .args(["--post-process", " ", "true"])
        .run()
        .code(2)
        .says("is not a command");
    dir.cmd("flamegraph").args(["--palette", "pink", "true"]).run().code(2).says("possible values");
    dir.cmd("flamegraph").args(["--min-width", "wide", "true"]).run().code(2).says("--min-width");
    assert!(dir.names().is_empty(), "{:?}", dir.names());
}

#[test]
fn the_programs_are_where_the_tests_look() {
    for program in PROGRAMS {
        assert!(bin(program).is_file(), "{program}");
    }
}

/// fg-fold has --format, flamegraph has not.
#[test]
fn a_remedy_has_the_options_of_the_program() {
    let dir = Dir::new();
    dir.write("x", "hello\n");
    let ways = "\n  name the format with --format, or check the file\n";
    dir.cmd("fg-fold").args(["x"]).run().code(1).says(ways);
    dir.cmd("flamegraph").args(["--perfdata", "x"]).run().code(1).says("\n  check the file\n");
}
