//! The help of flamegraph and cargo-flamegraph: a short `-h` with what people use most, and a
//! `--help` in groups.
//!
//! The options are defined in files that other programs share, so the groups are set here.

use clap::{Arg, ArgAction, Command};

/// The groups of `--help` by the names of the fields.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Target",
        &[
            "package",
            "workspace",
            "bin",
            "example",
            "test",
            "unit_test",
            "unit_test_kind",
            "bench",
            "unit_bench",
            "per_test",
            "per_bench",
            "lib",
            "bins",
        ],
    ),
    (
        "Build",
        &[
            "dev",
            "profile",
            "target",
            "no_run",
            "no_debuginfo",
            "manifest_path",
            "features",
            "all_features",
            "no_default_features",
            "release",
            "target_dir",
            "jobs",
            "locked",
            "offline",
            "frozen",
            "config",
            "unstable",
            "ignore_rust_version",
            "color",
            "timings",
            "keep_going",
        ],
    ),
    (
        "Graph",
        &[
            "outputs",
            "top",
            "open",
            "live",
            "title",
            "subtitle",
            "notes",
            "inverted",
            "reverse",
            "flame_chart",
            "palette",
            "deterministic",
            "min_width",
            "image_width",
            "inferno",
            "no_embed",
            "strict",
            "report",
        ],
    ),
    (
        "Stacks",
        &[
            "preset",
            "keep_harness",
            "skip_after",
            "event_filter",
            "weight",
            "split",
            "merge_threads",
            "post_process",
        ],
    ),
    (
        "Names of functions",
        &[
            "no_inline",
            "backend",
            "perf_compat",
            "symfs",
            "kallsyms",
            "vmlinux",
            "debug_dir",
            "debuginfod",
        ],
    ),
    (
        "Recording",
        &[
            "pid",
            "perf_file",
            "frequency",
            "period",
            "events",
            "call_graph",
            "off_cpu",
            "per_cpu",
            "delay",
            "duration",
            "compression_level",
            "custom_cmd",
            "root",
            "ignore_status",
            "keep",
        ],
    ),
];

/// What `-h` shows, with a text for one line if that of `--help` is longer.
const SHORT: [(&str, &str); 24] = [
    ("package", ""),
    ("bin", ""),
    ("example", ""),
    ("test", "Integration test to run"),
    ("unit_test", "Library or binary whose unit tests to run"),
    ("bench", ""),
    ("per_test", "Draw a graph of each test alone; --per-bench: of each benchmark"),
    ("features", ""),
    ("dev", ""),
    ("profile", ""),
    ("outputs", "The graph: an SVG, or a page of HTML"),
    ("open", ""),
    ("live", "Show the graph in a browser while the program runs"),
    ("flame_chart", "Draw what each thread did in the course of time"),
    ("preset", "Leave out the runtime frames of std, tokio, rayon, …"),
    ("keep_harness", "Keep the frames of the test and benchmark harness"),
    ("pid", ""),
    ("perf_file", ""),
    ("frequency", ""),
    ("off_cpu", "Also record where threads are blocked, and for how long"),
    ("duration", ""),
    ("doctor", "Examine this machine, and the program BIN"),
    ("verbose", ""),
    ("quiet", ""),
];

const OTHERS: &str = "Other options";

/// Groups the options, and hides most of them in `-h`. `examples` stand below both.
pub(crate) fn grouped(command: Command, examples: &str) -> Command {
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help);
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(help.help("Print the most important options; --help prints all"))
        .arg(version.help("Print the version").hide_short_help(true))
        .mut_args(|arg| {
            let id = arg.get_id().as_str();
            let group = GROUPS.iter().find(|(_, ids)| ids.contains(&id));
            let short = SHORT.iter().find(|(shown, _)| *shown == id);
            let is_short = short.is_some() || id == "help";
            let arg = match group {
                Some((heading, _)) => arg.help_heading(*heading),
                None if arg.is_positional() || arg.is_hide_set() => arg,
                None => arg.help_heading(OTHERS),
            };
            match short {
                Some((_, text)) if !text.is_empty() => shortened(arg, text),
                _ if is_short => arg,
                // A man page has the long texts of what `-h` hides.
                _ => {
                    let long = arg.get_long_help().or(arg.get_help()).cloned();
                    arg.long_help(long.unwrap_or_default()).hide_short_help(true)
                }
            }
        })
        .after_help(format!("Examples:\n{examples}"))
        .after_long_help(format!("Examples:\n{examples}\n\n{more}"))
}

/// Has `text` in `-h`, and all that it says now in `--help`.
fn shortened(arg: Arg, text: &'static str) -> Arg {
    let values: Vec<_> = arg.get_possible_values();
    let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
    let long = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    if names.is_empty() || !arg.get_action().takes_values() {
        return arg.long_help(long).help(text);
    }
    let long = format!("{long}: {}", names.join(", "));
    arg.long_help(long).help(text).hide_possible_values(true)
}
