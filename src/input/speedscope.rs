//! Reads the JSON of speedscope, which py-spy, rbspy, dotnet-trace and fg-export write.
//!
//! A file has one or more profiles, often one for each thread. A *sampled* one lists stacks and
//! their weights, an *evented* one says when functions were opened and closed. Nothing ran while
//! the stack was empty.

use serde::Deserialize;

use super::foreign::{Foreign, Reader, Stacks, whole};
use super::json::{self, Text, has_names};
use crate::error::Result;
use crate::folded::Moment;
use crate::sample::FrameId;
use crate::tally::Loss;
use crate::unit;

pub(super) const SPEEDSCOPE: Foreign = Foreign {
    name: "speedscope",
    is: |start| {
        has_names(start, &["https://www.speedscope.app/file-format-schema.json"])
            || has_names(start, &["shared", "frames"])
    },
    reader: Reader::Stacks(read),
};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    shared: Shared<'a>,
    #[serde(borrow)]
    profiles: Vec<Profile<'a>>,
}

#[derive(Deserialize)]
struct Shared<'a> {
    #[serde(borrow)]
    frames: Vec<Frame<'a>>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    unit: Text<'a>,
    #[serde(default)]
    samples: Vec<Vec<usize>>,
    #[serde(default)]
    weights: Vec<f64>,
    #[serde(default)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    /// `O` opens a function, `C` closes it.
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    at: f64,
    frame: usize,
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let file: File<'_> = json::parse(&text, to)?;
    let frames: Vec<_> = file.shared.frames.iter().map(|frame| to.frame(&*frame.name.0)).collect();
    let has_threads = file.profiles.len() > 1;
    for profile in &file.profiles {
        let (unit, scale) = unit_of(&profile.unit.0);
        to.unit(unit.as_bytes())?;
        let lane = match thread(&profile.name.0) {
            (_, _, None) if !has_threads => Moment::default(),
            (comm, pid, tid) => Moment { comm, pid, tid, ..Moment::default() },
        };
        profile.push_samples(&frames, lane, scale, to)?;
        profile.push_events(&frames, lane, scale, to)?;
    }
    Ok(())
}

/// The comm, process and thread of `java pid: 123 tid: 456`: of fg-export, and of speedscope if it
/// read `perf script` text.
fn thread(name: &str) -> (&str, Option<u64>, Option<u64>) {
    let split = |name, key| {
        let (comm, id) = str::rsplit_once(name, key)?;
        Some((comm, id.parse().ok()?))
    };
    let Some((rest, tid)) = split(name, " tid: ") else { return (name, None, None) };
    match split(rest, " pid: ") {
        Some((comm, pid)) => (comm, Some(pid), Some(tid)),
        None => (rest, None, Some(tid)),
    }
}

/// The unit as folded text calls it, and how many of it are one of the profile's.
fn unit_of(unit: &str) -> (&'static str, f64) {
    match unit {
        "nanoseconds" => ("ns", 1.0),
        "microseconds" => ("ns", 1e3),
        "milliseconds" => ("ns", 1e6),
        "seconds" => ("ns", 1e9),
        "bytes" => ("bytes", 1.0),
        _ => (unit::SAMPLES, 1.0),
    }
}

impl Profile<'_> {
    fn push_samples(
        &self,
        frames: &[FrameId],
        lane: Moment<'_>,
        scale: f64,
        to: &mut Stacks<'_>,
    ) -> Result<()> {
        let thread = to.thread(lane.comm, lane.pid, lane.tid);
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        let mut start = 0u64;
        for (sample, weight) in self.samples.iter().zip(weights) {
            let weight = whole(weight * scale);
            let end = start.saturating_add(weight);
            if !sample.is_empty() {
                let stack = stack(sample.iter(), frames, to)?;
                to.push_at(&Moment { start, end, ..lane }, thread, stack, weight)?;
            }
            start = end;
        }
        Ok(())
    }

    fn push_events(
        &self,
        frames: &[FrameId],
        lane: Moment<'_>,
        scale: f64,
        to: &mut Stacks<'_>,
    ) -> Result<()> {
        let thread = to.thread(lane.comm, lane.pid, lane.tid);
        let mut open: Vec<usize> = Vec::new();
        let mut last = self.events.first().map_or(0.0, |event| event.at);
        for event in &self.events {
            let start = whole(last * scale);
            let end = whole(event.at * scale);
            let weight = end.saturating_sub(start);
            last = event.at;
            if !open.is_empty() {
                let stack = stack(open.iter(), frames, to)?;
                to.push_at(&Moment { start, end, ..lane }, thread, stack, weight)?;
            }
            match &*event.kind.0 {
                "O" => open.push(event.frame),
                "C" if open.last() == Some(&event.frame) => drop(open.pop()),
                _ => to.tally.lose(Loss::Odd, 1, 0),
            }
        }
        to.tally.lose(Loss::CutShort, u64::from(!open.is_empty()), 0);
        Ok(())
    }
}

fn stack<'a>(
    numbers: impl Iterator<Item = &'a usize>,
    frames: &[FrameId],
    to: &Stacks<'_>,
) -> Result<Vec<FrameId>> {
    numbers
        .map(|&number| {
            let none = || to.corrupt(format!("frame {number}"), "there is no such frame");
            frames.get(number).copied().ok_or_else(none)
        })
        .collect()
}
