//! Reads the profiles of V8: `.cpuprofile` (`node --cpu-prof`, Chrome, Deno) and `.heapprofile`
//! (`node --heap-prof`). Both are call trees. In a .cpuprofile its nodes are a list, but the one of
//! v8-profiler is a tree, as that of a .heapprofile.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::foreign::{Foreign, Node, Reader, Stacks, whole};
use super::json::{self, Text, has_names};
use crate::error::Result;
use crate::folded::Moment;
use crate::sample::FrameId;
use crate::unit;

pub(super) const CPUPROFILE: Foreign = Foreign {
    name: "cpuprofile",
    is: |start| {
        has_names(start, &["nodes", "callFrame"])
            || has_names(start, &["head", "functionName", "hitCount"])
    },
    reader: Reader::Stacks(read_cpu),
};

pub(super) const HEAPPROFILE: Foreign = Foreign {
    name: "heapprofile",
    is: |start| has_names(start, &["head", "callFrame"]),
    reader: Reader::Stacks(read_heap),
};

/// The deepest call tree that is read. V8 records at most 128 frames of allocations, and 255 of
/// time.
const DEEPEST: usize = 256;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CallFrame<'a> {
    #[serde(borrow)]
    function_name: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    /// From 0.
    line_number: f64,
}

impl CallFrame<'_> {
    /// `None` for the root of the tree. A function without a name has its place.
    fn frame(&self, to: &mut Stacks<'_>) -> Option<FrameId> {
        let file = self.url.0.rsplit(['/', '\\']).next().unwrap_or_default();
        match &*self.function_name.0 {
            "(root)" => None,
            "" if file.is_empty() => Some(to.frame("(anonymous)")),
            "" => {
                let line = whole(self.line_number + 1.0);
                Some(to.frame(format!("(anonymous {file}:{line})")))
            }
            name => Some(to.frame(name)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CpuProfile<'a> {
    #[serde(borrow)]
    pub(super) nodes: Vec<CpuNode<'a>>,
    pub(super) start_time: Option<f64>,
    pub(super) end_time: Option<f64>,
    /// The node of each sample.
    pub(super) samples: Option<Vec<u64>>,
    /// The microseconds from the sample before to each sample.
    pub(super) time_deltas: Option<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CpuNode<'a> {
    id: u64,
    #[serde(borrow)]
    call_frame: CallFrame<'a>,
    hit_count: Option<u64>,
    children: Option<Vec<u64>>,
    parent: Option<u64>,
}

fn read_cpu(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let place = |name| text.find(name).unwrap_or(usize::MAX);
    if place("\"head\"") < place("\"nodes\"") {
        return read_tree(&text, to)?.push_times(to);
    }
    let profile: CpuProfile<'_> = json::parse(&text, to)?;
    profile.push(Moment::default(), None, to)
}

impl CpuProfile<'_> {
    /// Takes the stacks of `thread`. `lane` says whose they are, and when the first sample was
    /// taken.
    pub(super) fn push(
        &self,
        lane: Moment<'_>,
        thread: Option<FrameId>,
        to: &mut Stacks<'_>,
    ) -> Result<()> {
        let numbers: hashbrown::HashMap<u64, usize> =
            self.nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let mut tree = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let caller = node.parent.and_then(|parent| numbers.get(&parent)).copied();
            tree.push(Node { frame: node.call_frame.frame(to), caller, weight: 0 });
        }
        for (at, node) in self.nodes.iter().enumerate() {
            for callee in node.children.iter().flatten().filter_map(|id| numbers.get(id)) {
                tree[*callee].caller = Some(at);
            }
        }
        match (&self.samples, &self.time_deltas) {
            (Some(samples), Some(deltas)) if !samples.is_empty() => {
                to.unit(b"ns")?;
                let until_first = deltas.first().map_or(0, |delta| whole(delta * 1e3));
                let mut start = lane.start.saturating_add(until_first);
                let mut path = Vec::new();
                for (id, time) in samples.iter().zip(self.times(deltas)) {
                    let moment = Moment { start, end: start.saturating_add(time), ..lane };
                    start = moment.end;
                    let Some(&node) = numbers.get(id) else {
                        // The piece of a trace that had it was not kept.
                        to.push(None, [], time)?;
                        continue;
                    };
                    if to.keeps_times() {
                        to.path(&tree, &tree[node], &mut path)?;
                        to.push_at(&moment, thread, path.iter().rev().copied(), time)?;
                    } else {
                        let weight = &mut tree[node].weight;
                        *weight = weight.saturating_add(time);
                    }
                }
            }
            _ => {
                to.unit(unit::SAMPLES.as_bytes())?;
                for (node, its) in tree.iter_mut().zip(&self.nodes) {
                    node.weight = its.hit_count.unwrap_or(0);
                }
            }
        }
        to.push_tree(thread, &tree)
    }

    /// How long each sample lasts: until the next one, or until the end, in nanoseconds.
    fn times(&self, deltas: &[f64]) -> Vec<u64> {
        let to_last: f64 = deltas.iter().sum();
        let whole_time = self.end_time.zip(self.start_time).map_or(0.0, |(end, start)| end - start);
        let until_next = deltas.iter().skip(1).copied();
        until_next.chain([whole_time - to_last]).map(|delta| whole(delta * 1e3)).collect()
    }
}

fn read_heap(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    to.unit(b"bytes")?;
    let profile = read_tree(&text, to)?;
    to.push_tree(None, &profile.tree)
}

fn read_tree(text: &str, to: &mut Stacks<'_>) -> Result<TreeProfile> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let mut profile = TreeProfile::default();
    let read = WholeTree { to, profile: &mut profile }.deserialize(&mut reader);
    read.map_err(|error| json::corrupt(&error, to))?;
    Ok(profile)
}

/// A profile whose nodes are a tree.
#[derive(Default)]
struct TreeProfile {
    tree: Vec<Node>,
    /// The numbers of the nodes, by which samples call them.
    ids: Vec<u64>,
    samples: Vec<u64>,
    /// When the samples were taken, in microseconds.
    timestamps: Vec<f64>,
    /// In seconds.
    end_time: f64,
}

impl TreeProfile {
    /// Takes the times of its samples, or else their numbers. A sample lasts until the next one.
    fn push_times(&mut self, to: &mut Stacks<'_>) -> Result<()> {
        let numbers: hashbrown::HashMap<u64, usize> =
            self.ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        if self.timestamps.is_empty() {
            to.unit(unit::SAMPLES.as_bytes())?;
            return to.push_tree(None, &self.tree);
        }
        if self.timestamps.len() < self.samples.len() {
            return Err(to.corrupt("its samples", "some have no time"));
        }
        to.unit(b"ns")?;
        let first = self.timestamps[0];
        let ends = self.timestamps.iter().skip(1).copied().chain([self.end_time * 1e6]);
        let mut path = Vec::new();
        for ((start, end), id) in self.timestamps.iter().zip(ends).zip(&self.samples) {
            let Some(&node) = numbers.get(id) else {
                return Err(to.corrupt("a sample", "its node is not there"));
            };
            let [start, end] = [*start, end].map(|time| whole((time - first) * 1e3));
            to.path(&self.tree, &self.tree[node], &mut path)?;
            let moment = Moment { start, end, ..Moment::default() };
            let weight = end.saturating_sub(start);
            to.push_at(&moment, None, path.iter().rev().copied(), weight)?;
        }
        Ok(())
    }
}

/// Reads the whole file into `profile`.
struct WholeTree<'a, 'b> {
    to: &'a mut Stacks<'b>,
    profile: &'a mut TreeProfile,
}

/// Reads a node, its callees and theirs.
struct TreeNode<'a, 'b> {
    to: &'a mut Stacks<'b>,
    profile: &'a mut TreeProfile,
    caller: Option<usize>,
    depth: usize,
}

/// Reads the callees of a node.
struct Callees<'a, 'b>(TreeNode<'a, 'b>);

impl<'de> DeserializeSeed<'de> for WholeTree<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WholeTree<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a profile")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Text<'_>>()? {
            let WholeTree { to, profile } = &mut self;
            match &*key.0 {
                "head" => {
                    object.next_value_seed(TreeNode { to, profile, caller: None, depth: 0 })?;
                }
                "endTime" => profile.end_time = object.next_value()?,
                // A .heapprofile has objects here. Nobody needs them.
                "samples" => {
                    let samples: &RawValue = object.next_value()?;
                    profile.samples = serde_json::from_str(samples.get()).unwrap_or_default();
                }
                "timestamps" => profile.timestamps = object.next_value()?,
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for TreeNode<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TreeNode<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a node of the call tree")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let TreeNode { to, profile, caller, depth } = self;
        if depth > DEEPEST {
            let deep = format!("the call tree is deeper than {DEEPEST} functions");
            return Err(serde::de::Error::custom(deep));
        }
        let at = profile.tree.len();
        profile.tree.push(Node { caller, ..Node::default() });
        profile.ids.push(0);
        // The tree of a .cpuprofile has the function in the node itself.
        let mut function = None::<CallFrame<'_>>;
        while let Some(key) = object.next_key::<Text<'_>>()? {
            match &*key.0 {
                "callFrame" => function = Some(object.next_value()?),
                "functionName" => {
                    function.get_or_insert_default().function_name = object.next_value()?;
                }
                "url" => function.get_or_insert_default().url = object.next_value()?,
                "lineNumber" => {
                    function.get_or_insert_default().line_number = object.next_value()?;
                }
                "id" => profile.ids[at] = object.next_value()?,
                "hitCount" => profile.tree[at].weight = object.next_value()?,
                "selfSize" => profile.tree[at].weight = whole(object.next_value()?),
                "children" => {
                    let caller = Some(at);
                    let callees = TreeNode { to, profile, caller, depth: depth + 1 };
                    object.next_value_seed(Callees(callees))?;
                }
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        profile.tree[at].frame = function.and_then(|function| function.frame(to));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Callees<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Callees<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let TreeNode { to, profile, caller, depth } = self.0;
        while list.next_element_seed(TreeNode { to, profile, caller, depth })?.is_some() {}
        Ok(())
    }
}
