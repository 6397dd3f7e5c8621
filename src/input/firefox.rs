//! Reads profiles of the Firefox Profiler in its processed format, as samply and
//! profiler.firefox.com save them.
//!
//! A profile is made of tables, whose columns are lists: a sample has a stack, a stack has a frame
//! and the stack of its caller, a frame has a function, and a function has a name. Since 2025 all
//! threads share the tables.

use serde::Deserialize;

use super::foreign::{Foreign, Node, Reader, Stacks, whole};
use super::json::{self, Text, has_names};
use crate::error::Result;
use crate::folded::Moment;
use crate::tally::Loss;
use crate::unit;

pub(super) const FIREFOX: Foreign = Foreign {
    name: "firefox",
    is: |start| has_names(start, &["meta", "preprocessedProfileVersion"]),
    reader: Reader::Stacks(read),
};

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(default)]
    meta: Meta,
    #[serde(borrow)]
    shared: Option<Shared<'a>>,
    #[serde(borrow)]
    threads: Vec<Thread<'a>>,
}

#[derive(Default, Deserialize)]
struct Meta {
    symbolicated: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shared<'a> {
    stack_table: Option<StackTable>,
    frame_table: Option<FrameTable>,
    func_table: Option<FuncTable>,
    #[serde(borrow)]
    string_array: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    pid: Text<'a>,
    #[serde(borrow, default)]
    tid: Text<'a>,
    #[serde(borrow)]
    samples: Samples<'a>,
    stack_table: Option<StackTable>,
    frame_table: Option<FrameTable>,
    func_table: Option<FuncTable>,
    #[serde(borrow)]
    string_array: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Samples<'a> {
    stack: Vec<Option<usize>>,
    /// In milliseconds.
    time: Option<Vec<f64>>,
    /// Each since the one before, as Firefox writes them; `time` otherwise.
    time_deltas: Option<Vec<f64>>,
    weight: Option<Vec<f64>>,
    #[serde(borrow, default)]
    weight_type: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StackTable {
    frame: Vec<usize>,
    /// The stack of the caller.
    prefix: Option<Vec<Option<usize>>>,
    /// How far before a stack its caller's is; 0 if there is none. Newer than `prefix`.
    prefix_offset: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct FrameTable {
    func: Vec<usize>,
}

#[derive(Deserialize)]
struct FuncTable {
    name: Vec<usize>,
}

struct Tables<'a> {
    stacks: &'a StackTable,
    frames: &'a FrameTable,
    functions: &'a FuncTable,
    strings: &'a [Text<'a>],
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let profile: Profile<'_> = json::parse(&text, to)?;
    if profile.meta.symbolicated == Some(false) {
        log::warn!(
            "{} has addresses instead of names: open it in the Firefox Profiler with `samply load`, and fold the profile that you save there",
            to.input
        );
    }
    for thread in &profile.threads {
        let missing = || to.corrupt("a thread", "it has no tables of stacks and functions");
        let tables = thread.tables(profile.shared.as_ref()).ok_or_else(missing)?;
        let Some(mut tree) = tables.tree(to) else {
            return Err(to.corrupt("a thread", "its tables refer to what is not there"));
        };
        let (unit, scale) = match &*thread.samples.weight_type.0 {
            "tracing-ms" => ("ns", 1e6),
            "bytes" => ("bytes", 1.0),
            _ => (unit::SAMPLES, 1.0),
        };
        to.unit(unit.as_bytes())?;
        let pid = thread.pid.number();
        let tid = thread.tid.number();
        let root = to.thread(&thread.name.0, pid, tid);
        let lane = Moment { comm: &thread.name.0, pid, tid, ..Moment::default() };
        let times = if to.keeps_times() { thread.samples.times() } else { None };
        let mut path = Vec::new();
        for (at, stack) in thread.samples.stack.iter().enumerate() {
            let weights = thread.samples.weight.as_ref();
            let weight = weights.map_or(Some(1.0), |weights| weights.get(at).copied());
            let weight = weight.unwrap_or(1.0) * scale;
            // The difference of two profiles has negative weights.
            to.tally.lose(Loss::Odd, u64::from(weight < 0.0), 0);
            match stack {
                None => to.push(root, [], whole(weight))?,
                Some(stack) => {
                    let missing = || to.corrupt("a sample", "its stack is not there");
                    let node = tree.get_mut(*stack).ok_or_else(missing)?;
                    match times.as_deref() {
                        Some(times) => {
                            let start = times.get(at).copied().unwrap_or(0);
                            let end = times.get(at + 1).copied().unwrap_or(start);
                            to.path(&tree, &tree[*stack], &mut path)?;
                            let moment = Moment { start, end, ..lane };
                            to.push_at(&moment, root, path.iter().rev().copied(), whole(weight))?;
                        }
                        None => node.weight = node.weight.saturating_add(whole(weight)),
                    }
                }
            }
        }
        to.push_tree(root, &tree)?;
    }
    Ok(())
}

impl<'a> Thread<'a> {
    /// The tables of this thread, or else the shared ones.
    fn tables(&'a self, shared: Option<&'a Shared<'a>>) -> Option<Tables<'a>> {
        let stacks = shared.and_then(|shared| shared.stack_table.as_ref());
        let frames = shared.and_then(|shared| shared.frame_table.as_ref());
        let functions = shared.and_then(|shared| shared.func_table.as_ref());
        let strings = shared.and_then(|shared| shared.string_array.as_ref());
        Some(Tables {
            stacks: self.stack_table.as_ref().or(stacks)?,
            frames: self.frame_table.as_ref().or(frames)?,
            functions: self.func_table.as_ref().or(functions)?,
            strings: self.string_array.as_ref().or(strings)?,
        })
    }
}

impl Samples<'_> {
    /// When samples were taken, in nanoseconds.
    fn times(&self) -> Option<Vec<u64>> {
        let times = self.time.iter().flatten().copied();
        let mut now = 0.0;
        let deltas = self.time_deltas.iter().flatten().map(|delta| {
            now += delta;
            now
        });
        let times: Vec<u64> = times.chain(deltas).map(|time| whole(time * 1e6)).collect();
        (times.len() >= self.stack.len()).then_some(times)
    }
}

impl StackTable {
    /// The stack of the caller of the stack `at`.
    fn caller(&self, at: usize) -> Option<usize> {
        match (&self.prefix, &self.prefix_offset) {
            (Some(prefix), _) => *prefix.get(at)?,
            (None, Some(offsets)) => {
                at.checked_sub(*offsets.get(at)?).filter(|caller| *caller != at)
            }
            (None, None) => None,
        }
    }
}

impl Tables<'_> {
    /// The stacks as a tree. `None` if a table refers to what is not there.
    fn tree(&self, to: &mut Stacks<'_>) -> Option<Vec<Node>> {
        let name = |&at: &usize| Some(to.frame(&*self.strings.get(at)?.0));
        let functions: Vec<_> = self.functions.name.iter().map(name).collect::<Option<_>>()?;
        let node = |(at, frame): (usize, &usize)| {
            let function = functions.get(*self.frames.func.get(*frame)?)?;
            Some(Node { frame: Some(*function), caller: self.stacks.caller(at), weight: 0 })
        };
        self.stacks.frame.iter().enumerate().map(node).collect()
    }
}
