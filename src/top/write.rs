//! Writes functions and trees as text, Markdown and JSON.

use std::io::{self, Write};

use bstr::{BString, ByteSlice};
use serde_json::{Value, json};

use super::tree::LeftOut;
use super::{Function, Functions, Node, Tree};
use crate::sample::printable;
use crate::tally::grouped;
use crate::unit::amount;

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// For people, in columns. Lines are cut at this width, in characters.
    #[default]
    Text,
    /// For pull requests and notes.
    Markdown,
    /// For programs. Bytes of names that are not UTF-8 are replaced.
    Json,
}

/// How weights are written.
struct Amounts<'a> {
    total: u64,
    unit: &'a str,
}

impl Amounts<'_> {
    /// `12.3 %`
    fn share(&self, weight: u64) -> String {
        match 100.0 * weight as f64 / self.total as f64 {
            share if share > 0.0 && share < 0.05 => "< 0.1 %".into(),
            share => format!("{share:.1} %"),
        }
    }

    /// `1.24 s`
    fn amount(&self, weight: u64) -> String {
        amount(weight as f64, self.unit)
    }
}

/// Writes the first `most` functions, and a line about the others. `width` is that of the terminal.
pub fn write_functions(
    functions: &Functions,
    unit: &str,
    style: Style,
    most: usize,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let amounts = Amounts { total: functions.total, unit };
    let (shown, rest) = functions.all.split_at(most.min(functions.all.len()));
    let noun = functions.by.noun();
    let own = rest.iter().fold(0u64, |sum, function| sum.saturating_add(function.own));
    match style {
        Style::Text => {
            writeln!(out, "{:>19}  {:>19}  {noun}", "self", "total")?;
            for function in shown {
                let line = [
                    column(&amounts, function.own).into_bytes(),
                    column(&amounts, function.total).into_bytes(),
                    printable(&function.name).into_owned(),
                ];
                write_cut(&line.join(&b"  "[..]), width, out)?;
            }
            if !rest.is_empty() {
                let number = grouped(rest.len() as u64);
                writeln!(out, "{}  {:>19}  {number} more", column(&amounts, own), "")?;
            }
            Ok(())
        }
        Style::Markdown => {
            writeln!(out, "| self | | total | | {noun} |\n|---:|---:|---:|---:|---|")?;
            for Function { name, own, total } in shown {
                let own = [amounts.share(*own), amounts.amount(*own)].join(" | ");
                let total = [amounts.share(*total), amounts.amount(*total)].join(" | ");
                writeln!(out, "| {own} | {total} | {} |", code(name))?;
            }
            if !rest.is_empty() {
                let own = [amounts.share(own), amounts.amount(own)].join(" | ");
                writeln!(out, "| {own} | | | {} more |", grouped(rest.len() as u64))?;
            }
            Ok(())
        }
        Style::Json => {
            let object = |Function { name, own, total }: &Function| json!({ "name": name.to_str_lossy(), "self": own, "total": total });
            let shown: Vec<Value> = shown.iter().map(object).collect();
            let table = json!({
                "unit": unit,
                "total": functions.total,
                "functions": shown,
                "left_out": { "functions": rest.len(), "self": own },
            });
            writeln!(out, "{table:#}")
        }
    }
}

/// Writes a tree, in text with two blanks for each level.
pub fn write_tree(
    tree: &Tree,
    unit: &str,
    style: Style,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let amounts = Amounts { total: tree.total, unit };
    match style {
        Style::Text => write_text(tree, &amounts, width, out),
        Style::Markdown => {
            writeln!(out, "```text")?;
            write_text(tree, &amounts, None, out)?;
            writeln!(out, "```")
        }
        Style::Json => {
            let table = json!({
                "unit": unit,
                "total": tree.total,
                "weight": tree.weight,
                "nodes": tree.roots.iter().map(json_of).collect::<Vec<_>>(),
                "left_out": json_of_rest(tree.left_out),
            });
            writeln!(out, "{table:#}")
        }
    }
}

fn write_text(
    tree: &Tree,
    amounts: &Amounts<'_>,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut left_out = tree.left_out;
    write_nodes(&tree.roots, amounts, 0, width, &mut left_out, out)?;
    let LeftOut { nodes, heaviest, .. } = left_out;
    if nodes > 0 {
        let column = column(amounts, heaviest);
        writeln!(out, "{column}  at most, in each of {} more", grouped(nodes as u64))?;
    }
    Ok(())
}

fn write_nodes(
    nodes: &[Node],
    amounts: &Amounts<'_>,
    level: usize,
    width: Option<usize>,
    left_out: &mut LeftOut,
    out: &mut impl Write,
) -> io::Result<()> {
    let indent = " ".repeat(2 * level);
    for node in nodes {
        let start = format!("{}  {indent}", column(amounts, node.weight));
        write_cut(&[start.as_bytes(), &chain(&node.names)].concat(), width, out)?;
        left_out.add(node.left_out);
        write_nodes(&node.below, amounts, level + 1, width, left_out, out)?;
    }
    Ok(())
}

/// ` 12.3 %     1.24 s`
fn column(amounts: &Amounts<'_>, weight: u64) -> String {
    format!("{:>7} {:>11}", amounts.share(weight), amounts.amount(weight))
}

/// The most names of a chain that are written: those at its ends.
const FIRST: usize = 2;
const LAST: usize = 3;

/// The names of a chain: `main > run > … 9 more … > parse > next > read`.
fn chain(names: &[BString]) -> Vec<u8> {
    let printable = |name: &BString| printable(name).into_owned();
    let left_out = names.len().saturating_sub(FIRST + LAST);
    if left_out < 2 {
        return names.iter().map(printable).collect::<Vec<_>>().join(&b" > "[..]);
    }
    let mut parts: Vec<Vec<u8>> = names[..FIRST].iter().map(printable).collect();
    parts.push(format!("… {left_out} more …").into_bytes());
    parts.extend(names[names.len() - LAST..].iter().map(printable));
    parts.join(&b" > "[..])
}

/// Writes a line, which is cut if it is wider than the terminal.
fn write_cut(line: &[u8], width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    let end = width.and_then(|width| {
        let is_wider = line.chars().nth(width).is_some();
        let last = is_wider.then(|| line.char_indices().nth(width.saturating_sub(1)))?;
        last.map(|(start, ..)| start)
    });
    match end {
        Some(end) => {
            out.write_all(&line[..end])?;
            writeln!(out, "…")
        }
        None => {
            out.write_all(line)?;
            writeln!(out)
        }
    }
}

/// A name as code in a table of Markdown.
pub(crate) fn code(name: &BString) -> String {
    let name = printable(name);
    let name = name.to_str_lossy().replace('|', "\\|");
    if name.contains('`') { format!("`` {name} ``") } else { format!("`{name}`") }
}

fn json_of(node: &Node) -> Value {
    json!({
        "names": node.names.iter().map(|name| name.to_str_lossy()).collect::<Vec<_>>(),
        "weight": node.weight,
        "self": node.own,
        "nodes": node.below.iter().map(json_of).collect::<Vec<_>>(),
        "left_out": json_of_rest(node.left_out),
    })
}

fn json_of_rest(left_out: LeftOut) -> Value {
    json!({ "nodes": left_out.nodes, "weight": left_out.weight })
}
