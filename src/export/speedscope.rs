//! Stacks → the JSON of speedscope, whose schema is file-format-schema.json of that project.

use std::io::{self, Write};

use serde_json::json;

use super::profile::Profile;

pub(super) fn write(profile: &Profile, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let unit = match profile.unit().as_deref() {
        Some("ns") => "nanoseconds",
        Some("bytes") => "bytes",
        _ => "none",
    };
    let frames: Vec<_> = profile.names.all.iter().map(|name| json!({ "name": name })).collect();
    let (samples, weights): (Vec<_>, Vec<_>) = profile.stacks().unzip();
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("flamepipe ", env!("CARGO_PKG_VERSION")),
        "name": title,
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": [{
            "type": "sampled",
            "name": title,
            "unit": unit,
            "startValue": 0,
            "endValue": profile.weight,
            "samples": samples,
            "weights": weights,
        }],
    });
    writeln!(out, "{file}")
}
