//! Generates man pages from the `clap` commands that parse options, for the hidden `--generate man`
//! of every program.
//!
//! clap_mangen makes the usual sections. The text below the options in `--help` becomes further
//! sections: a line that starts with one of `SECTIONS`, such as `Memory: the distinct frames.`,
//! starts a section, and indented lines are examples. fg-folded(5) and fg-script(5) are written by
//! hand.

use std::io::Write;

use bstr::ByteSlice;
use clap::builder::PossibleValue;
use clap::{Arg, Command};
use clap_mangen::Man;

/// The date of the last release, which readers show at the foot of a page.
const DATE: &str = "2026-11-22";

/// Our pages, each with the related ones.
const PAGES: [(&str, &str); 10] = [
    ("cargo-flamegraph", "flamegraph(1), cargo(1), perf-record(1)"),
    ("fg-diff", "fg-fold(1), fg-render(1), fg-folded(5)"),
    ("fg-export", "fg-fold(1), fg-top(1), fg-render(1), fg-folded(5)"),
    ("fg-filter", "fg-script(1), fg-fold(1), fg-render(1), fg-folded(5), fg-script(5)"),
    (
        "fg-fold",
        "fg-record(1), fg-script(1), fg-filter(1), fg-diff(1), fg-render(1), fg-folded(5), fg-script(5)",
    ),
    ("fg-record", "fg-script(1), fg-fold(1), flamegraph(1), perf-record(1)"),
    ("fg-render", "fg-fold(1), fg-filter(1), fg-diff(1), fg-folded(5)"),
    ("fg-script", "fg-record(1), fg-fold(1), fg-filter(1), perf-script(1), fg-script(5)"),
    ("fg-top", "fg-fold(1), fg-diff(1), fg-filter(1), fg-folded(5)"),
    (
        "flamegraph",
        "cargo-flamegraph(1), fg-record(1), fg-script(1), fg-fold(1), fg-filter(1), fg-diff(1), fg-render(1), fg-top(1), fg-export(1), \
         fg-folded(5), fg-script(5)",
    ),
];

/// The starts of lines that become sections.
const SECTIONS: [&str; 8] = [
    "Environment",
    "Example",
    "Examples",
    "Exit status",
    "Expressions",
    "Grammar",
    "Memory",
    "Recipes",
];

/// The page of the program called `name`, in roff.
pub(crate) fn page(command: Command, name: &'static str) -> std::io::Result<Vec<u8>> {
    let version = command.get_version().unwrap_or_default().to_owned();
    let extra = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let man = Man::new(command.mut_args(with_values).name(name));
    let title = name.to_uppercase().replace('-', "\\-");
    let mut page = Vec::new();
    writeln!(page, ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '")?;
    writeln!(page, ".TH {title} 1 \"{DATE}\" \"flamepipe {version}\" \"User Commands\"")?;
    let mut sections = Vec::new();
    man.render_name_section(&mut sections)?;
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    for line in sections.lines() {
        // Each section repeats the preamble of the page.
        if !line.contains_str(".ds Aq ") {
            page.extend_from_slice(&quoted_in_bold(line.trim_ascii_end()));
            page.push(b'\n');
        }
    }
    further(&mut page, &extra.unwrap_or_default())?;
    if let Some((_, others)) = PAGES.iter().find(|(page, _)| *page == name) {
        writeln!(page, ".SH SEE ALSO")?;
        for other in others.split_inclusive(", ").map(str::trim_end) {
            let (other, section) = other.split_once('(').unwrap_or((other, ""));
            writeln!(page, ".BR {} ({section}", escaped(other))?;
        }
    }
    Ok(page)
}

/// Adds an option's values to its text, as in `--help`, instead of a list with a line for each.
fn with_values(arg: Arg) -> Arg {
    let values: Vec<String> = arg.get_possible_values().iter().map(shown).collect();
    let takes_values = arg.get_action().takes_values();
    match arg.get_long_help().or(arg.get_help()).map(ToString::to_string) {
        Some(help) if takes_values && !values.is_empty() && !arg.is_hide_possible_values_set() => {
            arg.hide_possible_values(true).long_help(format!("{help}: {}", values.join(", ")))
        }
        _ => arg,
    }
}

fn shown(value: &PossibleValue) -> String {
    match value.get_help() {
        Some(help) => format!("{} ({help})", value.get_name()),
        None => value.get_name().to_owned(),
    }
}

/// Writes the text below the options in `--help`.
fn further(page: &mut Vec<u8>, text: &str) -> std::io::Result<()> {
    let mut titled = false;
    let mut example = false;
    let mut gap = false;
    let mut listed = false;
    for line in text.lines() {
        if line.is_empty() {
            gap = true;
            continue;
        }
        let indented = line.starts_with("  ");
        if indented != example {
            if indented && !listed {
                writeln!(page, ".SH EXAMPLES")?;
            }
            writeln!(page, "{}", if indented { ".nf" } else { ".fi" })?;
            example = indented;
            titled = indented;
            gap = false;
        }
        let section = if indented { None } else { section(line) };
        listed = false;
        match section {
            // `Recipes:` is the title of the lines below it.
            Some((title, "")) => {
                listed = true;
                writeln!(page, ".SH {}", title.to_uppercase())?;
            }
            Some(("Example", command)) => {
                writeln!(page, ".SH EXAMPLE\n.nf")?;
                write_text(page, command)?;
                writeln!(page, ".fi")?;
                titled = true;
            }
            Some((title, text)) => {
                writeln!(page, ".SH {}", title.to_uppercase())?;
                write_text(page, &sentence(text))?;
                titled = true;
            }
            None => {
                if !titled {
                    writeln!(page, ".SH NOTES")?;
                    titled = true;
                } else if gap {
                    writeln!(page, ".PP")?;
                }
                write_text(page, line.strip_prefix("  ").unwrap_or(line))?;
            }
        }
        gap = false;
    }
    if example { writeln!(page, ".fi") } else { Ok(()) }
}

/// The title and the text of a section: `Exit status: that of COMMAND`.
fn section(line: &str) -> Option<(&str, &str)> {
    let (title, text) = line.split_once(':')?;
    SECTIONS.contains(&title).then_some((title, text.trim_start()))
}

/// The text with a capital letter, unless it starts with a name.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let is_word = word.chars().all(|c| c.is_ascii_lowercase() || c == ',');
    match text.split_at_checked(1).filter(|_| is_word) {
        Some((first, rest)) => first.to_uppercase() + rest,
        None => text.to_owned(),
    }
}

fn write_text(page: &mut Vec<u8>, text: &str) -> std::io::Result<()> {
    let text = escaped(text);
    // A line that starts with one of these would be a command of roff.
    let guard = if text.starts_with(['.', '\'']) { "\\&" } else { "" };
    page.extend_from_slice(&quoted_in_bold(format!("{guard}{text}").as_bytes()));
    writeln!(page)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Writes `` `fg-fold` `` in bold, as man pages show what to type.
fn quoted_in_bold(line: &[u8]) -> Vec<u8> {
    let mut pieces = line.split_str("`");
    let mut bold: Vec<u8> = pieces.next().unwrap_or_default().to_vec();
    if line.find_iter("`").count() % 2 == 1 {
        return line.to_vec();
    }
    for (i, piece) in pieces.enumerate() {
        bold.extend_from_slice(if i % 2 == 0 { b"\\fB" } else { b"\\fR" });
        bold.extend_from_slice(piece);
    }
    bold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_below_the_options_becomes_sections() {
        let text = "Regexes are searched.\nMemory: one line.\n\n  fg-fold x | `head`\n  .y";
        let mut page = Vec::new();
        further(&mut page, text).unwrap();
        assert_eq!(
            page.to_str_lossy(),
            ".SH NOTES\nRegexes are searched.\n.SH MEMORY\nOne line.\n.SH EXAMPLES\n.nf\n\
             fg\\-fold x | \\fBhead\\fR\n\\&.y\n.fi\n"
        );
    }

    #[test]
    fn sections_are_those_of_the_list() {
        assert_eq!(section("Exit status: 0"), Some(("Exit status", "0")));
        assert_eq!(section("Recipes:"), Some(("Recipes", "")));
        for line in ["Samples have no sum: so", "Folded: ", "https://x"] {
            assert_eq!(section(line), None, "{line}");
        }
    }

    #[test]
    fn names_of_programs_stay_in_lower_case() {
        let mut page = Vec::new();
        further(&mut page, "Example: fg-record ./server").unwrap();
        assert_eq!(page.to_str_lossy(), ".SH EXAMPLE\n.nf\nfg\\-record ./server\n.fi\n");
        assert_eq!(sentence("fg-fold reads"), "fg-fold reads");
        assert_eq!(sentence("the distinct frames"), "The distinct frames");
        assert_eq!(sentence("0 done"), "0 done");
    }

    #[test]
    fn single_backticks_stay() {
        assert_eq!(quoted_in_bold(b"a ` b"), b"a ` b");
    }
}
