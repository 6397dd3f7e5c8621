//! Stacks → pprof: gzipped protocol buffers.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::profile::Profile;
use crate::leb128;
use crate::pprof::{bytes, function, label, line, location, number, profile, sample, value_type};
use crate::tally::Recorded;
use crate::unit;

/// Writes `profile`, each of whose samples gets all `labels`.
pub(super) fn write(
    profile: &Profile,
    labels: &[(String, String)],
    recorded: &Recorded,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut packed = GzEncoder::new(out, Compression::default());
    packed.write_all(&encoded(profile, labels, recorded))?;
    packed.finish().map(drop)
}

/// Location N + 1 is position N. Function N + 1 has the string N + 3 as its name. The strings of
/// the files follow the names, then those of the labels.
fn encoded(stacks: &Profile, labels: &[(String, String)], recorded: &Recorded) -> Vec<u8> {
    let (kind, unit) = value_type(stacks);
    let mut all = Vec::new();
    let mut message = Vec::new();
    number(&mut message, value_type::TYPE, 1);
    number(&mut message, value_type::UNIT, 2);
    bytes(&mut all, profile::SAMPLE_TYPE, &message);
    let names = &stacks.names;
    let first_file = names.functions.len() as u64 + 3;
    let first_label = first_file + names.files.len() as u64;
    let mut its_labels = Vec::new();
    for key in (first_label..).step_by(2).take(labels.len()) {
        message.clear();
        number(&mut message, label::KEY, key);
        number(&mut message, label::STR, key + 1);
        bytes(&mut its_labels, sample::LABEL, &message);
    }
    let mut locations = Vec::new();
    for (stack, weight) in stacks.stacks() {
        // pprof's stacks begin at the leaf.
        locations.clear();
        stack
            .iter()
            .rev()
            .for_each(|&position| leb128::write(&mut locations, u64::from(position) + 1));
        message.clear();
        bytes(&mut message, sample::LOCATION_ID, &locations);
        number(&mut message, sample::VALUE, weight);
        message.extend_from_slice(&its_labels);
        bytes(&mut all, profile::SAMPLE, &message);
    }
    let mut its_line = Vec::new();
    for (id, position) in (1u64..).zip(&names.positions) {
        its_line.clear();
        number(&mut its_line, line::FUNCTION_ID, u64::from(position.function) + 1);
        if position.line > 0 {
            number(&mut its_line, line::LINE, position.line.into());
        }
        message.clear();
        number(&mut message, location::ID, id);
        bytes(&mut message, location::LINE, &its_line);
        bytes(&mut all, profile::LOCATION, &message);
    }
    for (id, its) in (1u64..).zip(&names.functions) {
        message.clear();
        number(&mut message, function::ID, id);
        // Without a system name, the name counts as demangled, and stays as it is.
        number(&mut message, function::NAME, id + 2);
        if let Some(file) = its.file {
            number(&mut message, function::FILENAME, first_file + u64::from(file));
        }
        bytes(&mut all, profile::FUNCTION, &message);
    }
    let functions = names.functions.iter().map(|function| function.name.as_str());
    let files = names.files.iter().map(String::as_str);
    let of_labels = labels.iter().flat_map(|(key, value)| [key.as_str(), value]);
    for text in ["", &kind, unit].into_iter().chain(functions).chain(files).chain(of_labels) {
        bytes(&mut all, profile::STRING_TABLE, text.as_bytes());
    }
    let times = [
        (profile::TIME_NANOS, recorded.began.unwrap_or(0)),
        (profile::DURATION_NANOS, recorded.span),
    ];
    for (field, time) in times.into_iter().filter(|(_, time)| *time > 0) {
        number(&mut all, field, time);
    }
    all
}

/// What values are, and their unit as pprof calls it.
fn value_type(stacks: &Profile) -> (String, &'static str) {
    match stacks.unit() {
        None => (unit::SAMPLES.into(), "count"),
        Some(unit) if unit == "ns" => ("cpu".into(), "nanoseconds"),
        Some(unit) if unit == "bytes" => ("space".into(), "bytes"),
        Some(unit) => (unit, "count"),
    }
}
