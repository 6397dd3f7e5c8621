//! Reads the profiles of Ruby's stackprof: `stackprof --json FILE`.
//!
//! ```text
//! {"mode": "wall", "interval": 1000, "frames": {"7": {"name": "Object#a"}, …},
//!  "raw": [2, 7, 8, 1, …], "raw_timestamp_deltas": [1162, …]}
//! ```
//!
//! `raw` is a list of stacks: how many frames, the frames with the root first, and how many samples
//! in a row had them. Each sample lasts as long as its delta says, in microseconds, or one
//! interval.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::Deserialize;

use super::foreign::{Foreign, Reader, Stacks, whole};
use super::json::{self, Text, has_names};
use crate::error::{Error, Result};
use crate::folded::Moment;
use crate::sample::FrameId;
use crate::unit;

pub(super) const STACKPROF: Foreign = Foreign {
    name: "stackprof",
    is: |start| has_names(start, &["version", "mode", "interval", "gc_samples", "frames"]),
    reader: Reader::Stacks(read),
};

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow)]
    mode: Text<'a>,
    #[serde(default)]
    interval: Option<f64>,
    #[serde(borrow)]
    frames: BTreeMap<Text<'a>, Function<'a>>,
    raw: Option<Vec<u64>>,
    #[serde(default)]
    raw_timestamp_deltas: Vec<f64>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let profile: Profile<'_> = json::parse(&text, to)?;
    let Some(raw) = &profile.raw else {
        return Err(Error::Unreadable {
            input: to.input.into(),
            why: "is a profile of stackprof that keeps no stacks".into(),
            remedy: "record it with `raw: true`".into(),
        });
    };
    let interval = profile.interval.unwrap_or(1.0);
    let (sample_weight, unit) = match &*profile.mode.0 {
        "wall" | "cpu" => (interval * 1e3, "ns"),
        "object" => (interval, "objects"),
        _ => (1.0, unit::SAMPLES),
    };
    to.unit(unit.as_bytes())?;
    let names = profile.frames.iter().filter_map(|(id, function)| Some((id.number()?, function)));
    let frames: HashMap<u64, FrameId> =
        names.map(|(id, function)| (id, to.frame(&*function.name.0))).collect();
    let broken = |to: &Stacks<'_>| to.corrupt("raw", "a stack ends too early, or has no frame");
    let mut deltas = profile.raw_timestamp_deltas.iter().filter(|_| &*profile.mode.0 == "wall");
    let mut start = 0u64;
    let mut rest = &raw[..];
    while let Some((&many, behind)) = rest.split_first() {
        let many = usize::try_from(many).unwrap_or(usize::MAX);
        let (ids, behind) = behind.split_at_checked(many).ok_or_else(|| broken(to))?;
        let (&samples, behind) = behind.split_first().ok_or_else(|| broken(to))?;
        rest = behind;
        let stack: Option<Vec<FrameId>> = ids.iter().map(|id| frames.get(id).copied()).collect();
        let stack = stack.ok_or_else(|| broken(to))?;
        let mut timed = 0;
        let in_time = deltas.by_ref().take(usize::try_from(samples).unwrap_or(usize::MAX));
        let lasted: f64 = in_time.inspect(|_| timed += 1).map(|delta| delta * 1e3).sum();
        let weight = whole(lasted + samples.saturating_sub(timed) as f64 * sample_weight);
        let end = start.saturating_add(weight);
        let moment = Moment { start, end, ..Moment::default() };
        to.push_at(&moment, None, stack, weight)?;
        start = end;
    }
    Ok(())
}
