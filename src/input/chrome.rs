//! Reads Chrome's trace events: Chrome itself, rustc, clang, ninja, py-spy and many others.
//!
//! ```text
//! {"ph": "X", "name": "f", "ts": 5, "dur": 9, "pid": 1, "tid": 1}    a function, complete
//! {"ph": "B", "name": "f", "ts": 5, …} … {"ph": "E", "ts": 14, …}    its begin and its end
//! {"ph": "M", "name": "thread_name", "args": {"name": "main"}, …}    the name of a thread
//! ```
//!
//! A stack weighs the time in which its last function was the innermost one. Other events, such as
//! counters and asynchronous ones, have no stacks and are left out. If the trace has profiles of
//! JavaScript, those are read instead (`devtools.rs`). A trace whose functions take no
//! time may have samples (`trace_samples.rs`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::devtools::{self, Profiles};
use super::foreign::{Foreign, Reader, Stacks, whole};
use super::json::{self, Number, Text, has_names};
use super::trace_samples;
use crate::error::Result;
use crate::folded::Moment;
use crate::sample::FrameId;
use crate::tally::Loss;

pub(super) const CHROME: Foreign = Foreign {
    name: "chrome",
    is: |start| {
        let is_list = start.trim_ascii_start().first() == Some(&b'[');
        has_names(start, &["traceEvents"]) || is_list && has_names(start, &["ph"])
    },
    reader: Reader::Stacks(read),
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(rename = "ph", borrow)]
    phase: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    /// In microseconds.
    ts: Option<Number>,
    dur: Option<Number>,
    #[serde(borrow)]
    pid: Text<'a>,
    #[serde(borrow)]
    tid: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

/// What `args` of a name has.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

/// A step of a thread, in nanoseconds.
struct Step {
    at: u64,
    what: What,
}

enum What {
    Begin(FrameId),
    End,
    /// With its end.
    Complete(FrameId, u64),
}

impl Step {
    fn takes_time(&self) -> bool {
        !matches!(self.what, What::Complete(_, end) if end == self.at)
    }

    /// Sorts the steps of a thread. Of functions that begin together, the longest one is the caller
    /// of the others.
    fn order(&self) -> (u64, u64) {
        let end = match self.what {
            What::Begin(_) | What::End => u64::MAX,
            What::Complete(_, end) => end,
        };
        (self.at, u64::MAX - end)
    }
}

#[derive(Default)]
struct Lane<'a> {
    name: Text<'a>,
    steps: Vec<Step>,
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let mut trace = Trace::default();
    let mut reader = serde_json::Deserializer::from_str(&text);
    match Events(&mut trace).deserialize(&mut reader) {
        // A list need not be closed, so that a writer can be killed.
        Err(error) if error.is_eof() && !trace.events.is_empty() => {
            to.tally.lose(Loss::CutShort, 1, 0)
        }
        read => read.map_err(|error| json::corrupt(&error, to))?,
    }
    let Trace { events, samples, stack_frames } = trace;
    to.unit(b"ns")?;
    let times = events.iter().filter_map(|event| event.ts).map(|ts| ts.0);
    let first = times.fold(f64::INFINITY, f64::min);
    let mut lanes: BTreeMap<(Text<'_>, Text<'_>), Lane<'_>> = BTreeMap::new();
    let mut processes = BTreeMap::new();
    let mut profiles = Profiles::default();
    for event in events {
        let Event { phase, name, ts, dur, pid, tid, id, args } = event;
        if devtools::is_piece(&phase, &name) {
            profiles.add([name, pid, tid, id], args, to);
            continue;
        }
        if &*phase.0 == "M" {
            let Some(Ok(named)) = args.map(|args| serde_json::from_str::<Named<'_>>(args.get()))
            else {
                continue;
            };
            match &*name.0 {
                "thread_name" => lanes.entry((pid, tid)).or_default().name = named.name,
                "process_name" => drop(processes.insert(pid, named.name)),
                _ => {}
            }
            continue;
        }
        let at = whole((ts.map_or(first, |ts| ts.0) - first) * 1e3);
        let what = match &*phase.0 {
            "B" => What::Begin(to.frame(&*name.0)),
            "E" => What::End,
            "X" => {
                let duration = whole(dur.map_or(0.0, |duration| duration.0) * 1e3);
                What::Complete(to.frame(&*name.0), at.saturating_add(duration))
            }
            _ => continue,
        };
        lanes.entry((pid, tid)).or_default().steps.push(Step { at, what });
    }
    let has_threads = lanes.values().filter(|lane| !lane.steps.is_empty()).count() > 1;
    let thread_name = |lane: Option<&Lane<'_>>, pid: &Text<'_>, tid: &Text<'_>| match (
        lane.map_or("", |lane| &lane.name.0),
        processes.get(pid),
    ) {
        ("", Some(process)) => process.0.to_string(),
        ("", None) if has_threads => format!("thread {}", tid.0),
        (name, _) => name.to_owned(),
    };
    let name = |pid: &Text<'_>, tid: &Text<'_>| {
        thread_name(lanes.get(&(pid.clone(), tid.clone())), pid, tid)
    };
    if !profiles.is_empty() {
        log::warn!(
            "{} has profiles of JavaScript, which are read; the tasks in which it ran are left out",
            to.input
        );
        return profiles.push(first, name, to);
    }
    if let (Some(samples), Some(frames)) = (samples, stack_frames) {
        if !lanes.values().flat_map(|lane| &lane.steps).any(Step::takes_time) {
            return trace_samples::push(samples, frames, name, to);
        }
        log::warn!("{} has functions, which are read, and samples, which are left out", to.input);
    }
    lanes.retain(|_, lane| !lane.steps.is_empty());
    for ((pid, tid), mut lane) in lanes {
        let name = thread_name(Some(&lane), &pid, &tid);
        let pid = pid.number();
        let tid = tid.number();
        let thread = to.thread(&name, pid, tid);
        let moment = Moment { comm: &name, pid, tid, ..Moment::default() };
        lane.steps.sort_by_key(Step::order);
        let mut walk = Walk { to, thread, moment, open: Vec::new(), now: 0 };
        lane.steps.iter().try_for_each(|step| walk.step(step))?;
        walk.finish()?;
    }
    Ok(())
}

/// Goes through the steps of a thread.
struct Walk<'a, 'b> {
    to: &'a mut Stacks<'b>,
    thread: Option<FrameId>,
    moment: Moment<'a>,
    /// The functions that run, each with its end if that is known.
    open: Vec<(FrameId, Option<u64>)>,
    now: u64,
}

impl Walk<'_, '_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.close_until(step.at)?;
        match step.what {
            What::Begin(frame) => self.open.push((frame, None)),
            What::Complete(frame, end) => self.open.push((frame, Some(end))),
            What::End => match self.open.last() {
                Some((_, None)) => drop(self.open.pop()),
                _ => self.to.tally.lose(Loss::Odd, 1, 0),
            },
        }
        Ok(())
    }

    /// Ends the functions that end before `time`.
    fn close_until(&mut self, time: u64) -> Result<()> {
        while let Some(&(_, Some(end))) = self.open.last()
            && end <= time
        {
            self.go_on(end)?;
            self.open.pop();
        }
        self.go_on(time)
    }

    fn go_on(&mut self, time: u64) -> Result<()> {
        let passed = time.saturating_sub(self.now);
        let moment = Moment { start: self.now, end: time, ..self.moment };
        self.now = self.now.max(time);
        if self.open.is_empty() {
            return Ok(());
        }
        let stack = self.open.iter().map(|(frame, _)| *frame);
        self.to.push_at(&moment, self.thread, stack, passed)
    }

    fn finish(mut self) -> Result<()> {
        let mut unended = 0;
        while let Some(&(_, end)) = self.open.last() {
            match end {
                Some(end) => self.go_on(end)?,
                None => unended += 1,
            }
            self.open.pop();
        }
        self.to.tally.lose(Loss::CutShort, u64::from(unended > 0), 0);
        Ok(())
    }
}

/// The parts of a trace.
#[derive(Default)]
struct Trace<'a> {
    events: Vec<Event<'a>>,
    samples: Option<&'a RawValue>,
    stack_frames: Option<&'a RawValue>,
}

/// Reads the events of a list, or of an object with a list. What comes before an error stays.
struct Events<'v, 'a>(&'v mut Trace<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Events<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Events<'_, 'a> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element::<Event<'a>>()? {
            let is_piece = devtools::is_piece(&event.phase, &event.name);
            if is_piece || matches!(&*event.phase.0, "B" | "E" | "X" | "M") {
                self.0.events.push(event);
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Text<'_>>()? {
            match &*key.0 {
                "traceEvents" => object.next_value_seed(Events(self.0))?,
                "samples" => self.0.samples = Some(object.next_value()?),
                "stackFrames" => self.0.stack_frames = Some(object.next_value()?),
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
