//! Reads the samples of a trace that has them beside its events, as Hermes writes them:
//!
//! ```text
//! {"traceEvents": […], "samples": [{"ts": "11550", "pid": 1, "tid": "2", "sf": 2}, …],
//!  "stackFrames": {"1": {"name": "[root]"}, "2": {"name": "f(http://…:1:1)", "parent": 1}}}
//! ```
//!
//! A sample lasts until the next one of its thread. The last one has no length.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::foreign::{Node, Stacks, whole};
use super::json::{self, Number, Text};
use crate::error::Result;
use crate::folded::Moment;

#[derive(Deserialize)]
struct Sample<'a> {
    ts: Number,
    #[serde(borrow, default)]
    pid: Text<'a>,
    #[serde(borrow, default)]
    tid: Text<'a>,
    #[serde(borrow)]
    sf: Text<'a>,
}

#[derive(Deserialize)]
struct StackFrame<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow)]
    parent: Option<Text<'a>>,
}

/// Takes all samples. `name` calls a thread by its process and its number.
pub(super) fn push(
    samples: &RawValue,
    frames: &RawValue,
    name: impl Fn(&Text<'_>, &Text<'_>) -> String,
    to: &mut Stacks<'_>,
) -> Result<()> {
    let samples: Vec<Sample<'_>> = json::parse(samples.get(), to)?;
    let frames: BTreeMap<Text<'_>, StackFrame<'_>> = json::parse(frames.get(), to)?;
    let numbers: BTreeMap<&Text<'_>, usize> =
        frames.keys().enumerate().map(|(at, id)| (id, at)).collect();
    let mut tree = Vec::with_capacity(frames.len());
    for frame in frames.values() {
        let caller = frame.parent.as_ref().and_then(|parent| numbers.get(parent)).copied();
        tree.push(Node { frame: Some(to.frame(function(&frame.name.0))), caller, weight: 0 });
    }
    let first = samples.iter().map(|sample| sample.ts.0).fold(f64::INFINITY, f64::min);
    let mut lanes: BTreeMap<(&Text<'_>, &Text<'_>), Vec<&Sample<'_>>> = BTreeMap::new();
    for sample in &samples {
        lanes.entry((&sample.pid, &sample.tid)).or_default().push(sample);
    }
    let mut path = Vec::new();
    for ((pid, tid), samples) in lanes {
        let comm = name(pid, tid);
        let (pid, tid) = (pid.number(), tid.number());
        let thread = to.thread(&comm, pid, tid);
        let lane = Moment { comm: &comm, pid, tid, ..Moment::default() };
        for (at, sample) in samples.iter().enumerate() {
            let Some(&node) = numbers.get(&sample.sf) else {
                return Err(to.corrupt("a sample", "its stack frame is not there"));
            };
            let time = |sample: &Sample<'_>| whole((sample.ts.0 - first) * 1e3);
            let start = time(sample);
            let end = samples.get(at + 1).map_or(start, |next| time(next));
            to.path(&tree, &tree[node], &mut path)?;
            let stack = path.iter().rev().copied();
            to.push_at(&Moment { start, end, ..lane }, thread, stack, end.saturating_sub(start))?;
        }
    }
    Ok(())
}

/// `f` of `f(http://localhost/app.js:1:20)`.
fn function(name: &str) -> &str {
    match name.split_once('(') {
        Some((function, place)) if !function.is_empty() && place.contains(':') => function,
        _ => name,
    }
}
