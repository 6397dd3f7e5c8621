//! A page that lists the graphs of several tests, the heaviest first.

use std::cmp::Reverse;
use std::fmt::Write;

use super::html::escape;
use crate::tally::{counted, percent};
use crate::top::Function;
use crate::unit::amount;

const SKELETON: &str = include_str!("index.html");

/// A test and its graph.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) failed: Option<String>,
    /// What was recorded; `None` if it ended before the first sample.
    pub(crate) profile: Option<Profile>,
}

pub(crate) struct Profile {
    /// The graph's name in the folder of the page, which needs no escaping.
    pub(crate) file: String,
    /// The weight of all stacks.
    pub(crate) total: u64,
    pub(crate) unit: String,
    /// The functions with the largest weights of their own.
    pub(crate) heaviest: Vec<Function>,
}

/// The page about `entries` of `title`.
pub(crate) fn page(title: &str, mut entries: Vec<Entry>) -> String {
    entries.sort_by_key(|entry| Reverse(entry.profile.as_ref().map(|profile| profile.total)));
    let failed = entries.iter().filter(|entry| entry.failed.is_some()).count();
    let mut summary = counted(entries.len() as u64, "graph");
    if failed > 0 {
        let _ = write!(summary, ", {failed} failed");
    }
    let mut rows = String::new();
    for entry in &entries {
        row(entry, &mut rows);
    }
    // The rows come last, because names may hold any text.
    let page = SKELETON.replace("{title}", &escape(title)).replace("{summary}", &summary);
    page.replacen("{rows}", &rows, 1)
}

fn row(entry: &Entry, out: &mut String) {
    let name = escape(&entry.name);
    let failed = entry.failed.as_ref().map(|how| format!(" <b>{how}</b>")).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = match &entry.profile {
        None => writeln!(out, "<tr><td>{name}{failed}<td>no samples<td></tr>"),
        Some(Profile { file, total, unit, heaviest }) => {
            let weight = escape(&amount(*total as f64, unit));
            let functions = heaviest.iter().map(|Function { name, own, .. }| {
                format!("<li>{} {}", percent(*own, *total), escape(&name.to_string()))
            });
            let functions: String = functions.collect();
            writeln!(
                out,
                "<tr><td><a href=\"{file}\">{name}</a>{failed}<td>{weight}<td><ol>{functions}</ol></tr>"
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_listed_by_weight() {
        let entry = |name: &str, failed: Option<&str>, total: Option<u64>| Entry {
            name: name.into(),
            failed: failed.map(str::to_owned),
            profile: total.map(|total| Profile {
                file: format!("{name}.svg"),
                total,
                unit: "ns".into(),
                heaviest: vec![Function { name: "f<T>".into(), own: total / 4, total }],
            }),
        };
        let page = page(
            "app: lib <app>",
            vec![
                entry("{rows}<", Some("exited with 101"), None),
                entry("light", None, Some(4_000_000)),
                entry("heavy", None, Some(2_000_000_000)),
            ],
        );
        assert!(
            page.contains("<h1>app: lib &lt;app&gt;</h1>\n<p>3 graphs, 1 failed</p>"),
            "{page}"
        );
        let rows = page.split_once("<tbody>\n").unwrap().1.split_once("</tbody>").unwrap().0;
        assert_eq!(
            rows,
            "<tr><td><a href=\"heavy.svg\">heavy</a><td>2.00 s<td><ol><li>25.0 % f&lt;T&gt;</ol></tr>\n\
             <tr><td><a href=\"light.svg\">light</a><td>4.00 ms<td><ol><li>25.0 % f&lt;T&gt;</ol></tr>\n\
             <tr><td>{rows}&lt; <b>exited with 101</b><td>no samples<td></tr>\n"
        );
    }
}
