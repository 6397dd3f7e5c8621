//! The filter of folded text as one would write it in an afternoon: strings, no ids, no caches,
//! every question asked again for every frame of every line.

use std::sync::LazyLock;

use bstr::ByteSlice;
use regex::bytes::Regex;

fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// A comm with its label.
static LABEL: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s-u)^(.*)-(\d+)(?:/(\d+))?$"));

/// The text before a stack, the stack, and one or two weights.
static LINE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s-u)^(\s*)(\S.*?)((?:\s* \d+(?:\.\d*)?){1,2}\s*)$"));

/// At most one value of each flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) keep: Option<&'static str>,
    pub(crate) drop: Option<&'static str>,
    pub(crate) comm: Option<&'static str>,
    pub(crate) pid: Option<u32>,
    pub(crate) drop_tid: Option<u32>,
    pub(crate) strip_hashes: bool,
    pub(crate) rename: Option<(&'static str, &'static str)>,
    pub(crate) hide: Option<&'static str>,
    pub(crate) root_at: Option<&'static str>,
    pub(crate) cut_below: Option<&'static str>,
    pub(crate) cut_above: Option<&'static str>,
    pub(crate) collapse_recursion: bool,
}

impl Rules {
    /// The flags to type for them.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        let mut add = |flag: &str, value: Option<String>| {
            flags.extend(value.map(|value| format!("--{flag}={value}")));
        };
        add("keep", self.keep.map(Into::into));
        add("drop", self.drop.map(Into::into));
        add("comm", self.comm.map(Into::into));
        add("pid", self.pid.map(|pid| pid.to_string()));
        add("drop-tid", self.drop_tid.map(|tid| tid.to_string()));
        add("rename", self.rename.map(|(from, to)| format!("{from}={to}")));
        add("hide", self.hide.map(Into::into));
        add("root-at", self.root_at.map(Into::into));
        add("cut-below", self.cut_below.map(Into::into));
        add("cut-above", self.cut_above.map(Into::into));
        flags.extend(self.strip_hashes.then(|| "--strip-hashes".into()));
        flags.extend(self.collapse_recursion.then(|| "--collapse-recursion".into()));
        flags
    }

    /// The filtered text and the weight that was filtered out.
    pub(crate) fn filter(&self, text: &[u8]) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let mut filtered = 0;
        for line in text.lines_with_terminator() {
            let Some((before, stack, behind, weight)) = parts(line) else {
                out.extend_from_slice(line);
                continue;
            };
            // A blank behind a `;` is not a part of a name.
            let trim = |(i, name): (usize, &[u8])| match name.trim_start_with(|c| c == ' ') {
                trimmed if i > 0 && !trimmed.is_empty() => trimmed.to_vec(),
                _ => name.to_vec(),
            };
            let frames: Vec<Vec<u8>> = stack.split_str(";").enumerate().map(trim).collect();
            let kept = if self.keeps(&frames) { self.edit(frames.clone()) } else { vec![] };
            let new = if kept == frames {
                line.to_vec()
            } else {
                [before, &kept.join(&b';'), behind].concat()
            };
            if !kept.is_empty() && parts(&new).is_some() {
                out.extend_from_slice(&new);
            } else {
                filtered += weight;
            }
        }
        (out, filtered)
    }

    fn keeps(&self, frames: &[Vec<u8>]) -> bool {
        let label = LABEL.captures(&frames[0]);
        let plain = label.as_ref().map_or(&frames[0][..], |label| label.get(1).unwrap().as_bytes());
        let id = |group| {
            let id = label.as_ref()?.get(group)?;
            id.as_bytes().to_str().ok()?.parse::<u32>().ok()
        };
        self.keep.is_none_or(|keep| frames.iter().any(|frame| is(keep, frame)))
            && self.drop.is_none_or(|drop| !frames.iter().any(|frame| is(drop, frame)))
            && self.comm.is_none_or(|comm| {
                !frames[0].is_empty() && (is(comm, &frames[0]) || is(comm, plain))
            })
            && self.pid.is_none_or(|pid| id(2) == Some(pid))
            && self.drop_tid.is_none_or(|tid| id(3) != Some(tid))
    }

    /// The stack that is left; empty for none.
    fn edit(&self, mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let hash = (r"(?-u)::h[0-9a-f]{16}($|[^0-9A-Za-z_:]|_\[)", "$1");
        for (from, to) in self.strip_hashes.then_some(hash).into_iter().chain(self.rename) {
            let rename = |frame: Vec<u8>| {
                let new = regex(from).replace_all(&frame, to.as_bytes()).into_owned();
                (new == frame || !new.is_empty()).then_some(new)
            };
            frames = frames.into_iter().filter_map(rename).collect();
        }
        let find = |frames: &[Vec<u8>], at| frames.iter().position(|frame| is(at, frame));
        if let Some(hide) = self.hide {
            frames.retain(|frame| !is(hide, frame));
        }
        if let Some(root) = self.root_at {
            frames = find(&frames, root).map_or(vec![], |at| frames[at..].to_vec());
        }
        if let Some(at) = self.cut_below.and_then(|below| find(&frames, below)) {
            frames = frames[at..].to_vec();
        }
        if let Some(at) = self.cut_above.and_then(|above| find(&frames, above)) {
            frames = frames[..=at].to_vec();
        }
        if self.collapse_recursion {
            frames.dedup();
        }
        frames
    }
}

fn is(pattern: &str, name: &[u8]) -> bool {
    regex(pattern).is_match(name)
}

/// The text before the stack, the stack, the text behind it, and the first weight in that.
type Parts<'a> = (&'a [u8], &'a [u8], &'a [u8], u64);

fn parts(line: &[u8]) -> Option<Parts<'_>> {
    if line.trim_ascii() == b"#" || line.trim_ascii().starts_with(b"# ") {
        return None;
    }
    let [before, mut stack, mut behind] = LINE.captures(line)?.extract().1;
    // In `main; 1 2` the 1 is a function.
    if stack.ends_with(b";") && behind.fields().count() == 2 {
        let blanks = behind.len() - behind.trim_ascii_start().len();
        let end = before.len() + stack.len() + blanks + behind.fields().next()?.len();
        (stack, behind) = (&line[before.len()..end], &line[end..]);
    }
    let weight = behind.fields().next()?.split_str(".").next()?;
    Some((before, stack, behind, weight.to_str().ok()?.parse().ok()?))
}
