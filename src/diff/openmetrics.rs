//! What changed, as OpenMetrics: lines that GitLab's metrics report and Prometheus read.

use std::io::{self, Write};

use super::{Mover, Movers, Scale};

impl Movers {
    /// Writes the `most` frames that changed most: the total of each in the second profile, its
    /// change, and the noise if it is known.
    pub fn write_openmetrics(&self, most: usize, out: &mut impl Write) -> io::Result<()> {
        let (total, change) = match self.scale {
            Scale::Shares => ("total_percent", "change_points"),
            Scale::Absolute => ("total_weight", "change_weight"),
        };
        let frames = &self.frames[..most.min(self.frames.len())];
        metric(out, frames, total, |mover| Some(mover.total.after))?;
        metric(out, frames, change, |mover| Some(mover.total.delta()))?;
        if self.scale == Scale::Shares {
            metric(out, frames, "noise_points", |mover| self.noise(mover.total))?;
        }
        writeln!(out, "# EOF")
    }
}

/// Writes a metric with a line for each frame that has a value.
fn metric(
    out: &mut impl Write,
    frames: &[Mover],
    name: &str,
    value: impl Fn(&Mover) -> Option<f64>,
) -> io::Result<()> {
    writeln!(out, "# TYPE flamepipe_{name} gauge")?;
    for mover in frames {
        let Some(value) = value(mover).filter(|value| value.is_finite()) else { continue };
        let name_of = mover.name.to_string();
        let function = name_of.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        writeln!(out, "flamepipe_{name}{{function=\"{function}\"}} {value}")?;
    }
    Ok(())
}
