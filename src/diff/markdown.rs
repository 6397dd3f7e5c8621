//! What changed, as Markdown for a reviewer: at most 60 lines.

use std::io::{self, Write};

use super::{Mover, Movers, Scale};
use crate::tally::{counted, grouped};
use crate::top::code;

impl Movers {
    /// Writes the `most` frames that changed most. Callers that moved by the same amount as a frame
    /// that they call are left out, because they say nothing more. `callers` is a text about the
    /// frame that grew most.
    pub fn write_markdown(
        &self,
        most: usize,
        limit: Option<f64>,
        callers: impl FnOnce(&Mover) -> Option<String>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let rows = self.lowest();
        writeln!(out, "{}", self.headline(&rows, limit))?;
        if rows.is_empty() {
            return Ok(());
        }
        let change = if self.scale == Scale::Shares { "points" } else { "change" };
        writeln!(out, "\n| | function, with what it calls | before | after | {change} | noise |")?;
        writeln!(out, "|---|---|---:|---:|---:|---:|")?;
        for mover in rows.iter().take(most) {
            let [delta, before, after] = self.numbers(mover.total);
            let noise = match self.noise(mover.total) {
                Some(noise) => format!("±{noise:.2}"),
                None => "?".into(),
            };
            let mark = self.mark(mover);
            let name = code(&mover.name);
            let delta = delta.trim_end_matches(" %");
            writeln!(out, "| {mark} | {name} | {before} | {after} | {delta} | {noise} |")?;
        }
        if rows.len() > most {
            writeln!(out, "\n{} more changed less.", grouped((rows.len() - most) as u64))?;
        }
        let has_grown = |mover: &&&Mover| mover.total.delta() > 0.0 && !self.is_noise(mover.total);
        let Some(worst) = rows.iter().find(has_grown).or(rows.first()) else { return Ok(()) };
        let Some(text) = callers(worst) else { return Ok(()) };
        let name = code(&worst.name);
        writeln!(out, "\n<details><summary>Callers of {name}</summary>\n\n{text}\n</details>")
    }

    /// What the table says, in a sentence.
    fn headline(&self, rows: &[&Mover], limit: Option<f64>) -> String {
        let number = |samples: Option<u64>| {
            samples.map_or("an unknown number of samples".into(), |n| counted(n, "sample"))
        };
        let [before, after] = self.samples.map(number);
        let sizes = format!("({before} before, {after} after)");
        if rows.is_empty() {
            return format!("**Nothing changed** {sizes}");
        }
        if let Some(limit) = limit {
            let [grown, _] = self.above(limit);
            let unit =
                if self.scale == Scale::Shares { "points" } else { "% of the first profile" };
            return match grown.len() {
                0 => format!("**No function grew by more than {limit} {unit}** {sizes}"),
                many => {
                    let functions = counted(many as u64, "function");
                    format!("**{functions} grew by more than {limit} {unit}** {sizes}")
                }
            };
        }
        let Some(first) = rows.iter().find(|mover| !self.is_noise(mover.total)) else {
            let small = "every change may be chance, so record for longer to tell more";
            return format!("**The profiles are too small to tell: {small}** {sizes}");
        };
        let [delta, ..] = self.numbers(first.total);
        let delta = delta.replace(" %", " points");
        format!("**The largest change beyond noise: {} {delta}** {sizes}", code(&first.name))
    }

    /// The frames that changed most, without callers that moved by the same amount: of those with
    /// equal weights in both profiles, the one that is deepest.
    fn lowest(&self) -> Vec<&Mover> {
        let mut rows: Vec<&Mover> = Vec::new();
        for mover in &self.frames {
            match rows.iter_mut().rev().find(|row| row.total == mover.total) {
                Some(row) if row.depth < mover.depth => *row = mover,
                Some(_) => {}
                None => rows.push(mover),
            }
        }
        rows
    }

    /// Worse, better, or perhaps by chance.
    fn mark(&self, mover: &Mover) -> &'static str {
        if self.is_noise(mover.total) {
            "⚪"
        } else if mover.total.delta() > 0.0 {
            "🔴"
        } else {
            "🟢"
        }
    }
}
