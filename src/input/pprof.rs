//! Reads the profiles of pprof: Go's, and those of many others. fg-export writes them too.
//!
//! A profile may have several values for each stack, such as `samples` and `cpu`. They are the
//! events of other formats: one of them is folded, by default the one that the profile names, or
//! the last one, which is what `go tool pprof` shows.

use bstr::ByteSlice;
use hashbrown::HashMap;

use super::foreign::{Foreign, Reader, Stacks, native_name};
use crate::error::{Error, Result};
use crate::pprof::{
    Value, fields, function, label, line, location, mapping, profile, sample, value_type,
};
use crate::sample::FrameId;
use crate::tally::Loss;
use crate::unit;

pub(super) const PPROF: Foreign = Foreign { name: "pprof", is, reader: Reader::Events(read) };

/// The type of the values comes before everything that is as long, but not before all numbers.
fn is(start: &[u8]) -> bool {
    for field in fields(start) {
        match field {
            Some((profile::SAMPLE_TYPE, Value::Bytes(first))) => return is_type(first),
            Some((profile::TIME_NANOS..=profile::DEFAULT_SAMPLE_TYPE, Value::Number(_))) => {}
            Some((profile::PERIOD_TYPE, Value::Bytes(message))) if is_type(message) => {}
            _ => return false,
        }
    }
    false
}

/// Whether a message has only the numbers of two strings.
fn is_type(message: &[u8]) -> bool {
    let is_string =
        |field| matches!(field, Some((value_type::TYPE | value_type::UNIT, Value::Number(_))));
    !message.is_empty() && message.len() < 24 && fields(message).all(is_string)
}

/// The messages of a profile.
#[derive(Default)]
struct Profile<'a> {
    strings: Vec<&'a [u8]>,
    types: Vec<Type<'a>>,
    /// The string that names the type to show.
    shown: u64,
    samples: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    mappings: Vec<&'a [u8]>,
}

/// A type of values, and their unit.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: &'a [u8],
    unit: &'a [u8],
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let mut profile = Profile::default();
    let mut types = Vec::new();
    for field in fields(bytes) {
        let (number, value) = checked(field, to)?;
        match number {
            profile::SAMPLE_TYPE => types.push(value.bytes()),
            profile::SAMPLE => profile.samples.push(value.bytes()),
            profile::MAPPING => profile.mappings.push(value.bytes()),
            profile::LOCATION => profile.locations.push(value.bytes()),
            profile::FUNCTION => profile.functions.push(value.bytes()),
            profile::STRING_TABLE => profile.strings.push(value.bytes()),
            profile::DEFAULT_SAMPLE_TYPE => profile.shown = value.number(),
            _ => {}
        }
    }
    for message in types {
        let [name, unit] = numbers(message, [value_type::TYPE, value_type::UNIT], to)?;
        let [name, unit] = [name, unit].map(|text| profile.string(text));
        profile.types.push(Type { name, unit });
    }
    let locations = profile.frames(to)?;
    let wanted = profile.wanted(to)?;
    for &number in &wanted {
        let (unit, _) = profile.types[number].unit();
        to.unit(unit)?;
    }
    for message in &profile.samples {
        profile.push(message, &locations, &wanted, to)?;
    }
    Ok(())
}

fn checked<T>(field: Option<T>, to: &Stacks<'_>) -> Result<T> {
    field.ok_or_else(|| to.corrupt("its protocol buffers", "a message is cut short"))
}

/// The numbers in these fields of a message, or 0.
fn numbers<const N: usize>(message: &[u8], wanted: [u64; N], to: &Stacks<'_>) -> Result<[u64; N]> {
    let mut found = [0; N];
    for field in fields(message) {
        let (number, value) = checked(field, to)?;
        if let Some(at) = wanted.iter().position(|wanted| *wanted == number) {
            found[at] = value.number();
        }
    }
    Ok(found)
}

impl<'a> Type<'a> {
    /// The unit as folded text calls it, and how many of it are one of the profile's.
    fn unit(&self) -> (&'a [u8], u64) {
        match self.unit {
            b"nanoseconds" | b"ns" => (b"ns", 1),
            b"microseconds" | b"us" => (b"ns", 1_000),
            b"milliseconds" | b"ms" => (b"ns", 1_000_000),
            b"seconds" | b"s" => (b"ns", 1_000_000_000),
            b"bytes" | b"byte" => (b"bytes", 1),
            b"kilobytes" | b"kb" => (b"bytes", 1 << 10),
            b"megabytes" | b"mb" => (b"bytes", 1 << 20),
            _ if matches!(self.name, b"samples" | b"sample") => (unit::SAMPLES.as_bytes(), 1),
            _ => (self.name, 1),
        }
    }
}

impl<'a> Profile<'a> {
    fn string(&self, number: u64) -> &'a [u8] {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.strings.get(at))
            .copied()
            .unwrap_or_default()
    }

    /// The numbers of the wanted types.
    fn wanted(&self, to: &Stacks<'_>) -> Result<Vec<usize>> {
        let find = |name: &[u8]| self.types.iter().rposition(|its| its.name == name);
        if let Some(event) = &to.config.event {
            let names: Vec<_> = self.types.iter().map(|its| its.name.to_str_lossy()).collect();
            let why = format!(" of the wanted event: it has {}", names.join(", "));
            let nothing = || Error::NoSamples { input: to.input.into(), why };
            return Ok(vec![find(event).ok_or_else(nothing)?]);
        }
        if to.config.by_event {
            return Ok((0..self.types.len()).collect());
        }
        let shown = self.string(self.shown);
        let shown = if shown.is_empty() { None } else { find(shown) };
        Ok(shown.or(self.types.len().checked_sub(1)).into_iter().collect())
    }

    /// The frames of each location, leaf first.
    fn frames(&self, to: &mut Stacks<'_>) -> Result<HashMap<u64, Vec<FrameId>>> {
        let mut files = HashMap::new();
        for message in &self.mappings {
            let [id, file] = numbers(message, [mapping::ID, mapping::FILENAME], to)?;
            files.insert(id, self.string(file));
        }
        let mut functions = HashMap::new();
        for message in &self.functions {
            let [id, name] = numbers(message, [function::ID, function::NAME], to)?;
            functions.insert(id, to.frame(self.string(name)));
        }
        let mut all = HashMap::new();
        for message in &self.locations {
            let [id, file] = numbers(message, [location::ID, location::MAPPING_ID], to)?;
            let mut frames = Vec::new();
            for (number, value) in fields(message).flatten() {
                if number == location::LINE {
                    let [function] = numbers(value.bytes(), [line::FUNCTION_ID], to)?;
                    frames.extend(functions.get(&function));
                }
            }
            if frames.is_empty() {
                let file = files.get(&file).copied().unwrap_or_default();
                frames.push(to.frame(native_name(b"", file)));
            }
            all.insert(id, frames);
        }
        Ok(all)
    }

    /// Pushes the `wanted` values of a sample.
    fn push(
        &self,
        message: &[u8],
        locations: &HashMap<u64, Vec<FrameId>>,
        wanted: &[usize],
        to: &mut Stacks<'_>,
    ) -> Result<()> {
        let mut ids = Vec::new();
        let mut values = Vec::new();
        let mut thread = Thread::default();
        for field in fields(message) {
            let (number, value) = checked(field, to)?;
            match number {
                sample::LOCATION_ID => ids.extend(value.numbers()),
                sample::VALUE => values.extend(value.numbers()),
                sample::LABEL => thread.note(self, value.bytes(), to)?,
                _ => {}
            }
        }
        let thread = to.thread(&thread.comm.to_str_lossy(), thread.pid, thread.tid);
        let frames = ids.iter().rev().filter_map(|id| locations.get(id));
        let stack: Vec<FrameId> = frames.flat_map(|frames| frames.iter().rev()).copied().collect();
        for &number in wanted {
            let Some(&value) = values.get(number) else { continue };
            // The difference of two profiles has negative values.
            if value > i64::MAX as u64 {
                to.tally.lose(Loss::Odd, 1, 0);
                continue;
            }
            let its = self.types[number];
            let event = to.config.by_event.then(|| to.frame(its.name));
            let weight = value.saturating_mul(its.unit().1);
            to.push(event, thread.into_iter().chain(stack.iter().copied()), weight)?;
        }
        Ok(())
    }
}

/// What the labels of a sample say about its thread.
#[derive(Default)]
struct Thread<'a> {
    comm: &'a [u8],
    pid: Option<u64>,
    tid: Option<u64>,
}

impl<'a> Thread<'a> {
    fn note(&mut self, profile: &Profile<'a>, message: &[u8], to: &Stacks<'_>) -> Result<()> {
        let [key, text, number] = numbers(message, [label::KEY, label::STR, label::NUM], to)?;
        let text = profile.string(text);
        let number = || text.to_str().ok().and_then(|digits| digits.parse().ok()).or(Some(number));
        match profile.string(key) {
            b"thread" | b"thread_name" | b"thread name" | b"comm" => self.comm = text,
            b"pid" | b"process_id" => self.pid = number(),
            b"tid" | b"thread_id" | b"thread id" => self.tid = number(),
            _ => {}
        }
        Ok(())
    }
}
