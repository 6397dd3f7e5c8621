//! The folder as anyone would write it first: a regex for each kind of line, a map of strings. Slow
//! and obvious.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bstr::ByteSlice;
use flamepipe::fold::{Config, name};
use flamepipe::sample::{Frame, Kind};
use regex::bytes::Regex;

static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    let who = r"^(?<comm>.*?) *(?:(?<pid>\d+)/)?(?<tid>\d+|-1) +(?:\[(?<cpu>\d+)\] +)?";
    let what = r"(?<time>\d+\.\d+): *(?:(?<period>\d+) +)?(?<event>[^ ]+):(?: +(?<rest>.*))?$";
    Regex::new(&format!("(?-u){who}{what}")).unwrap()
});

static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)^[ \t]*(?<pc>[^ ]+) (?<symbol>.*?)(?:\+0x(?<offset>[0-9a-fA-F]*))? *\((?<module>[^ ]*)\)$").unwrap()
});

#[derive(Default)]
struct Sample {
    root: Vec<u8>,
    java: bool,
    wanted: bool,
    period: u64,
    addresses: bool,
    /// Names, leaf first.
    stack: Vec<Vec<u8>>,
    cut: bool,
    any: bool,
}

/// Folds perf-script text whose modules hold no blanks. `addresses`: unknown frames are kept apart
/// by theirs.
pub(crate) fn fold(text: &[u8], config: &Config, addresses: bool) -> Vec<u8> {
    let mut sums = BTreeMap::<Vec<u8>, u64>::new();
    let event: Option<Vec<u8>> = match &config.event {
        Some(event) => Some(event.to_vec()),
        None => most_frequent(text),
    };
    let mut sample: Option<Sample> = None;
    for line in text.lines() {
        if line.starts_with(b"#") {
            continue;
        }
        let line = line.trim_ascii_end();
        if line.is_empty() {
            add(sample.take(), &mut sums);
        } else if let Some(open) = &mut sample {
            frame(line, open, config);
        } else if let Some(parts) = HEADER.captures(line) {
            let named = parts["event"].to_vec();
            let wanted = event.as_ref().is_none_or(|event| base(event) == base(&named));
            let field = |name: &str| {
                parts.name(name).map(|found| found.as_bytes().to_str_lossy().into_owned())
            };
            let mut root: Vec<u8> = parts["comm"]
                .trim_ascii()
                .iter()
                .map(|&b| if b == b' ' { b'_' } else { b })
                .collect();
            let java = root.starts_with(b"java");
            let or_unknown = |id: Option<String>| id.unwrap_or("?".into());
            if config.tid {
                root.extend(
                    format!("-{}/{}", or_unknown(field("pid")), or_unknown(field("tid"))).bytes(),
                );
            } else if config.pid {
                root.extend(format!("-{}", or_unknown(field("pid"))).bytes());
            }
            let period = field("period").map_or(1, |period| period.parse().unwrap());
            let mut open = Sample { root, java, wanted, period, addresses, ..Sample::default() };
            let rest = parts.name("rest").map_or(&b""[..], |rest| rest.as_bytes().trim_ascii());
            if !rest.is_empty() && frame(rest, &mut open, config) {
                add(Some(open), &mut sums);
            } else {
                sample = Some(open);
            }
        }
    }
    add(sample, &mut sums);
    let mut out = Vec::new();
    for (stack, sum) in sums {
        out.extend_from_slice(&stack);
        out.extend(format!(" {sum}\n").bytes());
    }
    out
}

/// The event with the most samples among those with the longest chains; of several the first.
fn most_frequent(text: &[u8]) -> Option<Vec<u8>> {
    let mut events: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    let mut open: Option<(Vec<u8>, usize)> = None;
    for line in text.lines().chain([&b""[..]]) {
        let line = line.trim_ascii_end();
        if let (None, Some(parts)) = (&open, HEADER.captures(line)) {
            open = Some((base(&parts["event"]).to_vec(), 0));
        } else if let (Some((_, frames)), true) = (&mut open, FRAME.is_match(line)) {
            // An inlined function is no caller.
            *frames += usize::from(!line.ends_with_str(" (inlined)"));
        } else if let (Some((event, frames)), true) = (open.clone(), line.is_empty()) {
            open = None;
            match events.iter_mut().find(|(known, ..)| *known == event) {
                Some((_, depth, count)) => {
                    (*depth, *count) = (frames.min(2).max(*depth), *count + 1)
                }
                None => events.push((event, frames.min(2), 1)),
            }
        }
    }
    let mut best: Option<(Vec<u8>, usize, usize)> = None;
    for (event, depth, count) in events {
        if best.as_ref().is_none_or(|best| (depth, count) > (best.1, best.2)) {
            best = Some((event, depth, count));
        }
    }
    best.map(|(event, ..)| event)
}

fn frame(line: &[u8], sample: &mut Sample, config: &Config) -> bool {
    let Some(parts) = FRAME.captures(line) else { return false };
    sample.any = true;
    if sample.cut {
        return true;
    }
    let symbol = match parts["symbol"].trim_ascii() {
        b"" => &b" "[..],
        symbol => symbol,
    };
    let module = &parts["module"];
    let address =
        u64::from_str_radix(&parts["pc"].to_str_lossy(), 16).ok().filter(|_| sample.addresses);
    let kind = Kind::of_module(module);
    let frame = Frame { symbol: symbol.into(), module: module.into(), kind, address, line: None };
    let mut names = Vec::new();
    name::names(&frame, sample.java, config, |name| names.push(name.to_vec()));
    sample.stack.extend(names.into_iter().rev());
    sample.cut = config.skip_after.iter().any(|after| *after == *name::readable(symbol));
    true
}

fn add(sample: Option<Sample>, sums: &mut BTreeMap<Vec<u8>, u64>) {
    let Some(sample) = sample.filter(|sample| sample.any && sample.wanted) else { return };
    let mut stack = sample.stack;
    if !sample.cut {
        stack.push(sample.root);
    }
    stack.reverse();
    *sums.entry(stack.join(&b';')).or_default() += sample.period;
}

/// The tests' events have modifiers but no hybrid halves.
fn base(event: &[u8]) -> &[u8] {
    event.split_str(":").next().unwrap()
}
