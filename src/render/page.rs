//! Adds to inferno's page: weights as people say them, a title with the program and the total, the
//! roots in view, a dark mode, and searches that ignore case.
//!
//! inferno's boxes, colours and zoom stay as they are. A style and a script are added behind them,
//! and the titles of boxes get other amounts.

use bstr::ByteSlice;
use memchr::memmem;

use super::CHART_TITLE;
use super::config::Config;
use crate::unit::amount;

const STYLE: &str = include_str!("page.css");
const DARK: &str = include_str!("dark.css");
const SCRIPT: &str = include_str!("page.js");

/// Titles that only name the kind of graph.
const KINDS: [&str; 2] = ["Flame Graph", "Icicle Graph"];

/// A longer title does not fit above most graphs.
const LONGEST: usize = 100;

/// The title of a graph that weighs `before` and `after`, and whose stacks all begin with `root`,
/// if there is one: `burn · 1.24 s`. A title that the user chose stays.
pub(super) fn title(
    config: &Config,
    root: Option<&str>,
    before: Option<u64>,
    after: u64,
) -> String {
    if !KINDS.contains(&&*config.title) {
        let of_chart = config.subject.as_ref().filter(|_| config.title == CHART_TITLE);
        return of_chart.unwrap_or(&config.title).clone();
    }
    let amount = |weight: u64| amount(weight as f64 * config.factor, &config.count_name);
    let subject = config.subject.as_deref().or(root).or(config.program.as_deref());
    let name = subject.unwrap_or(&config.title);
    let name = match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    match before {
        Some(before) => format!("{name} · {} → {}", amount(before), amount(after)),
        None => format!("{name} · {}", amount(after)),
    }
}

/// Adds what is ours to inferno's `svg`.
pub(super) fn dress(svg: &[u8], config: &Config) -> Vec<u8> {
    let mut page = Vec::with_capacity(svg.len() + STYLE.len() + DARK.len() + SCRIPT.len());
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    say_amounts(&svg[..end], &config.count_name, &mut page);
    page.extend_from_slice(b"<style>");
    page.extend_from_slice(STYLE.as_bytes());
    // Colours that the user chose are for both schemes.
    let default = Config::default();
    if config.bgcolors.is_none() && config.uicolor == default.uicolor {
        page.extend_from_slice(DARK.as_bytes());
    }
    page.extend_from_slice(b"</style>");
    if !config.no_javascript {
        page.extend_from_slice(b"<script><![CDATA[\n");
        page.extend_from_slice(SCRIPT.as_bytes());
        page.extend_from_slice(b"]]></script>");
    }
    page.extend_from_slice(&svg[end..]);
    page
}

/// Copies `svg`, and writes the amounts in its titles as people say them: `<title>main
/// (1,240,000,000 ns, 62.00%)</title>` becomes `<title>main (1.24 s, 62.00%)</title>`.
fn say_amounts(svg: &[u8], unit: &str, out: &mut Vec<u8>) {
    let written = format!(" {}, ", escaped(unit));
    let end = memmem::Finder::new("</title>");
    let mut rest = svg;
    while let Some(at) = end.find(rest) {
        let (before, behind) = rest.split_at(at);
        match parts(before, written.as_bytes()) {
            Some((name, weight, share)) => {
                out.extend_from_slice(name);
                out.extend_from_slice(escaped(&amount(weight, unit)).as_bytes());
                out.extend_from_slice(b", ");
                out.extend_from_slice(share);
            }
            None => out.extend_from_slice(before),
        }
        out.extend_from_slice(b"</title>");
        rest = &behind[b"</title>".len()..];
    }
    out.extend_from_slice(rest);
}

/// Splits `text` at the weight near its end: the part before it, the weight, and the share behind
/// it.
fn parts<'a>(text: &'a [u8], unit: &[u8]) -> Option<(&'a [u8], f64, &'a [u8])> {
    let (before, share) = text.rsplit_once_str(unit)?;
    let digits = before.rfind(" (")? + 2;
    let (name, weight) = before.split_at(digits);
    let weight = weight.to_str().ok()?.replace(',', "");
    Some((name, weight.parse().ok()?, share))
}

/// Text as inferno's writer escapes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_say_amounts_as_people_do() {
        let said = |svg: &str, unit: &str| {
            let mut out = Vec::new();
            say_amounts(svg.as_bytes(), unit, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (unit, inferno, ours) in [
            ("ns", "f (a) (1,240,000,000 ns, 62.00%)", "f (a) (1.24 s, 62.00%)"),
            ("ns", "all (9,990 ns, 100%)", "all (9.99 µs, 100%)"),
            ("samples", "f (1 samples, 1.00%; +0.50%)", "f (1 sample, 1.00%; +0.50%)"),
            ("a&lt;b", "f (1 a&amp;lt;b, 1.00%)", "f (1 a&amp;lt;b, 1.00%)"),
            ("ns", "f (x ns, 1.00%)", "f (x ns, 1.00%)"),
            ("ns", "f", "f"),
        ] {
            let svg = |title| format!("<g><title>{title}</title></g>");
            assert_eq!(said(&svg(inferno), unit), svg(ours));
        }
    }

    #[test]
    fn a_title_tells_program_and_total() {
        let config = |title: &str| Config {
            title: title.into(),
            count_name: "ns".into(),
            factor: 2.0,
            ..Config::default()
        };
        let flame = config("Flame Graph");
        assert_eq!(title(&flame, Some("burn"), None, 500_000_000), "burn · 1.00 s");
        assert_eq!(title(&flame, None, None, 1_000), "Flame Graph · 2.00 µs");
        assert_eq!(title(&flame, Some("burn"), Some(500), 1_000), "burn · 1.00 µs → 2.00 µs");
        assert_eq!(title(&config("Mine"), Some("burn"), None, 1), "Mine");
        let test = Config { subject: Some("app: test api".into()), ..config("Icicle Graph") };
        assert_eq!(title(&test, Some("api-0123"), None, 500_000_000), "app: test api · 1.00 s");
        let program = Config { program: Some("app".into()), ..config("Flame Graph") };
        assert_eq!(title(&program, None, None, 500_000_000), "app · 1.00 s");
        assert_eq!(title(&program, Some("burn"), None, 500_000_000), "burn · 1.00 s");
        let long = Config { subject: Some("é".repeat(101)), ..flame };
        assert_eq!(title(&long, None, None, 1), format!("{}… · 2 ns", "é".repeat(100)));
    }
}
