//! Reads the profiles of V8: `.cpuprofile` (`node --cpu-prof`, Chrome, Deno) and `.heapprofile`
//! (`node --heap-prof`). Both are call trees.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::foreign::{Foreign, Node, Reader, Stacks, whole};
use super::json::{self, Text, has_names};
use crate::error::Result;
use crate::folded::Moment;
use crate::sample::FrameId;
use crate::unit;

pub(super) const CPUPROFILE: Foreign = Foreign {
    name: "cpuprofile",
    is: |start| has_names(start, &["nodes", "callFrame"]),
    reader: Reader::Stacks(read_cpu),
};

pub(super) const HEAPPROFILE: Foreign = Foreign {
    name: "heapprofile",
    is: |start| has_names(start, &["head", "callFrame"]),
    reader: Reader::Stacks(read_heap),
};

/// The deepest call tree of a .heapprofile. V8 records at most 128 frames.
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
    let mut reader = serde_json::Deserializer::from_str(&text);
    reader.disable_recursion_limit();
    to.unit(b"bytes")?;
    let mut tree = Vec::new();
    let read = HeapProfile { to, tree: &mut tree }.deserialize(&mut reader);
    read.map_err(|error| json::corrupt(&error, to))?;
    to.push_tree(None, &tree)
}

/// Reads the whole file into `tree`.
struct HeapProfile<'a, 'b> {
    to: &'a mut Stacks<'b>,
    tree: &'a mut Vec<Node>,
}

/// Reads a node, its callees and theirs.
struct HeapNode<'a, 'b> {
    to: &'a mut Stacks<'b>,
    tree: &'a mut Vec<Node>,
    caller: Option<usize>,
    depth: usize,
}

/// Reads the callees of a node.
struct Callees<'a, 'b>(HeapNode<'a, 'b>);

impl<'de> DeserializeSeed<'de> for HeapProfile<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeapProfile<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a profile")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Text<'_>>()? {
            if key.0 == "head" {
                let HeapProfile { to, tree } = &mut HeapProfile { to: self.to, tree: self.tree };
                object.next_value_seed(HeapNode { to, tree, caller: None, depth: 0 })?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for HeapNode<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeapNode<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a node of the call tree")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let HeapNode { to, tree, caller, depth } = self;
        if depth > DEEPEST {
            let deep = format!("the call tree is deeper than {DEEPEST} functions");
            return Err(serde::de::Error::custom(deep));
        }
        let at = tree.len();
        tree.push(Node { caller, ..Node::default() });
        while let Some(key) = object.next_key::<Text<'_>>()? {
            match &*key.0 {
                "callFrame" => tree[at].frame = object.next_value::<CallFrame<'_>>()?.frame(to),
                "selfSize" => tree[at].weight = whole(object.next_value()?),
                "children" => {
                    let caller = Some(at);
                    let callees = HeapNode { to, tree, caller, depth: depth + 1 };
                    object.next_value_seed(Callees(callees))?;
                }
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
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
        let HeapNode { to, tree, caller, depth } = self.0;
        while list.next_element_seed(HeapNode { to, tree, caller, depth })?.is_some() {}
        Ok(())
    }
}
