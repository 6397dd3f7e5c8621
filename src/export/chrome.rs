//! Samples → trace events of Chrome: a flame chart with a lane for each thread.
//!
//! A function that is in one sample and in the next goes on between them.

use std::io::{self, Write};

use serde_json::json;

use super::profile::{Names, Profile};
use super::timed::{Lane, Timed};

pub(super) fn write(profile: &Profile, timed: &Timed, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut events = Events { out, names: &profile.names, is_begun: false, open: Vec::new() };
    for (number, lane) in (1..).zip(&timed.lanes) {
        let Lane { comm, pid, tid, samples } = lane;
        let id = Id { pid: pid.unwrap_or(0), tid: tid.unwrap_or(number) };
        events.name(id, comm)?;
        let mut now = 0;
        for sample in samples {
            if sample.start > now {
                events.go_to(id, now, [].into_iter())?;
            }
            let positions = timed.stacks[sample.stack].iter().map(|it| it.position);
            events.go_to(id, sample.start - timed.from, positions)?;
            now = sample.end - timed.from;
        }
        events.go_to(id, now, [].into_iter())?;
    }
    let id = Id { pid: 0, tid: 0 };
    let mut now = 0;
    for (stack, weight) in profile.stacks() {
        events.go_to(id, now, stack.iter().copied())?;
        now += weight;
    }
    events.go_to(id, now, [].into_iter())?;
    writeln!(out, "\n]}}")
}

/// A thread.
#[derive(Clone, Copy)]
struct Id {
    pid: u64,
    tid: u64,
}

struct Events<'a> {
    out: &'a mut dyn Write,
    names: &'a Names,
    is_begun: bool,
    /// The functions that run.
    open: Vec<u32>,
}

impl Events<'_> {
    fn event(&mut self, event: &serde_json::Value) -> io::Result<()> {
        let comma = if std::mem::replace(&mut self.is_begun, true) { "," } else { "" };
        write!(self.out, "{comma}\n{event}")
    }

    fn name(&mut self, Id { pid, tid }: Id, name: &str) -> io::Result<()> {
        let args = json!({ "name": name });
        let event =
            json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": args });
        self.event(&event)
    }

    /// Ends and begins functions, so that those at `positions` run from `time` on, in nanoseconds.
    fn go_to(&mut self, id: Id, time: u64, positions: impl Iterator<Item = u32>) -> io::Result<()> {
        let stack: Vec<u32> = positions.map(|position| self.names.function(position)).collect();
        let common = self.open.iter().zip(&stack).take_while(|(a, b)| a == b).count();
        while self.open.len() > common {
            let ended = self.open.pop().unwrap_or_default();
            self.step("E", id, time, ended)?;
        }
        for &function in &stack[common..] {
            self.open.push(function);
            self.step("B", id, time, function)?;
        }
        Ok(())
    }

    /// A function begins or ends. Some readers want its name both times.
    fn step(
        &mut self,
        phase: &str,
        Id { pid, tid }: Id,
        time: u64,
        function: u32,
    ) -> io::Result<()> {
        let name = &self.names.functions[function as usize].name;
        let microseconds = time as f64 / 1e3;
        self.event(
            &json!({ "ph": phase, "name": name, "pid": pid, "tid": tid, "ts": microseconds }),
        )
    }
}
