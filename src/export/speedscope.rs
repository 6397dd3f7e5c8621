//! Stacks → the JSON of speedscope, whose schema is file-format-schema.json of that project.
//!
//! Each thread of a recording is a profile of its own, with its samples in the order of time. If
//! weights are times, an empty stack fills the time in which a thread has no samples.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::profile::{Function, Profile};
use super::timed::{Lane, Timed};

pub(super) fn write(
    profile: &Profile,
    timed: &Timed,
    title: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let names = &profile.names;
    // The viewer takes the line for that of a function, and each of another line for another one.
    let frame = |(number, function): (u32, &Function)| match names.file(number) {
        Some(file) => json!({ "name": function.name, "file": file }),
        None => json!({ "name": function.name }),
    };
    let frames: Vec<_> = (0..).zip(&names.functions).map(frame).collect();
    let function = |position: &u32| names.function(*position);
    let stacks: Vec<Vec<u32>> = timed
        .stacks
        .iter()
        .map(|stack| stack.iter().map(|named| names.function(named.position)).collect())
        .collect();
    let folded: Vec<(Vec<u32>, u64)> = profile
        .stacks()
        .map(|(stack, weight)| (stack.iter().map(function).collect(), weight))
        .collect();
    let lane = |lane| Sampled::of_lane(lane, timed, &stacks);
    let mut profiles: Vec<Sampled<'_>> = timed.lanes.iter().map(lane).collect();
    let weight = |lane: &Lane| lane.samples.iter().map(|sample| sample.weight).sum::<u64>();
    let heaviest = (0..profiles.len()).max_by_key(|&at| weight(&timed.lanes[at])).unwrap_or(0);
    let mut folded_before = Sampled::new(title.into(), unit(profile));
    folded.iter().for_each(|(stack, weight)| folded_before.push(stack, *weight));
    if !folded_before.samples.is_empty() {
        profiles.push(folded_before);
    }
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("flamepipe ", env!("CARGO_PKG_VERSION")),
        "name": title,
        "activeProfileIndex": heaviest,
        "shared": { "frames": frames },
    });
    // The stacks of large profiles must not be copied.
    let mut whole = file.to_string();
    whole.pop();
    write!(out, "{whole},\"profiles\":")?;
    serde_json::to_writer(&mut *out, &profiles)?;
    writeln!(out, "}}")
}

/// `java pid: 123 tid: 456`, as speedscope calls the threads of `perf script` text.
fn name(Lane { comm, pid, tid, .. }: &Lane) -> String {
    let id = |what, id: &Option<u64>| id.map_or(String::new(), |id| format!(" {what}: {id}"));
    format!("{comm}{}{}", id("pid", pid), id("tid", tid))
}

fn unit(profile: &Profile) -> &'static str {
    match profile.unit().as_deref() {
        Some("ns") => "nanoseconds",
        Some("bytes") => "bytes",
        _ => "none",
    }
}

/// A list of stacks and their weights.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<&'a [u32]>,
    weights: Vec<u64>,
}

impl<'a> Sampled<'a> {
    fn new(name: String, unit: &'static str) -> Self {
        let samples = Vec::new();
        let weights = Vec::new();
        Sampled { kind: "sampled", name, unit, start_value: 0, end_value: 0, samples, weights }
    }

    /// The samples of a thread. Equal ones without a gap between them become one.
    fn of_lane(lane: &Lane, timed: &Timed, stacks: &'a [Vec<u32>]) -> Self {
        let unit = if timed.is_clock { "nanoseconds" } else { "none" };
        let mut profile = Sampled::new(name(lane), unit);
        // When the sample before ended.
        let mut ended = timed.from;
        let mut last = None;
        for sample in &lane.samples {
            let now = timed.from + profile.end_value;
            if timed.is_clock && sample.start > ended && sample.start > now {
                profile.push(&[], sample.start - now);
                last = None;
            }
            match profile.weights.last_mut() {
                Some(weight) if last == Some(sample.stack) => {
                    *weight += sample.weight;
                    profile.end_value += sample.weight;
                }
                _ => profile.push(&stacks[sample.stack], sample.weight),
            }
            last = Some(sample.stack);
            ended = sample.end;
        }
        profile
    }

    fn push(&mut self, stack: &'a [u32], weight: u64) {
        self.samples.push(stack);
        self.weights.push(weight);
        self.end_value += weight;
    }
}
