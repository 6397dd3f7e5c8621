//! A profile for the viewers of other tools.
//!
//! ```text
//! Folded ─┬▶ Export   pprof       gzipped protocol buffers: go tool pprof, Grafana, Perfetto
//!         │           callgrind   text: callgrind_annotate, kcachegrind
//! Sample ─┴▶          speedscope  JSON: speedscope
//!                     firefox     JSON: the Firefox Profiler
//!                     chrome      JSON: a flame chart for Perfetto, chrome://tracing
//! ```
//!
//! An [`Export`] is a sink of folded stacks, so whatever fg-fold reads can be exported. Each
//! distinct name is written once. The formats with times and threads take samples too, and the
//! stacks of other profilers with their times. What has no time follows what came before.

mod callgrind;
mod chrome;
mod firefox;
mod pprof;
mod profile;
mod speedscope;
mod timed;

use std::io::Write;
use std::path::Path;

use profile::Profile;
use timed::{Moments, Timed};

use crate::error::{Error, Result};
use crate::fold::{self, Stage, Threads, Weighing};
use crate::folded::{Folded, FoldedSink, Moment};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;

/// What a profile is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Gzipped protocol buffers.
    Pprof,
    /// JSON.
    Speedscope,
    /// The costs of functions and calls, as text.
    Callgrind,
    /// The processed profile of the Firefox Profiler, in JSON.
    Firefox,
    /// Trace events, in JSON.
    Chrome,
}

impl Format {
    /// The format that the name of a file tells: `x.pb.gz`, `x.pprof`, `callgrind.out.x`,
    /// `x.callgrind`, `x.trace.json`, `x.json.gz`, `x.json`.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".pb.gz", ".pprof"]) {
            Some(Format::Pprof)
        } else if ends(&[".callgrind"]) || name.starts_with("callgrind.out") {
            Some(Format::Callgrind)
        } else if ends(&[".trace.json", ".trace.json.gz"]) {
            Some(Format::Chrome)
        } else if ends(&[".json.gz", ".firefox.json"]) {
            Some(Format::Firefox)
        } else {
            ends(&[".json"]).then_some(Format::Speedscope)
        }
    }

    /// Whether it has times and threads, so it should get samples that are folded as `config` says.
    pub fn takes_samples(self, config: &fold::Config) -> bool {
        match self {
            Format::Firefox | Format::Chrome => true,
            // Its profiles are threads: other root frames come from the folder.
            Format::Speedscope => {
                let rest = fold::Config { event: None, skip_after: Vec::new(), ..config.clone() };
                !rest.asks_samples()
            }
            Format::Pprof | Format::Callgrind => false,
        }
    }

    /// Whether it has the lines of functions, or at least their files.
    pub fn has_lines(self) -> bool {
        self != Format::Chrome
    }

    /// Fails if it cannot hold what is folded as `config` says.
    ///
    /// # Errors
    /// A trace shows time, not numbers of samples.
    pub fn check(self, config: &fold::Config) -> Result<()> {
        if self == Format::Chrome && config.weighing == Weighing::Samples {
            let what =
                "a trace shows how long functions took, not how many samples they have".into();
            let remedy = "omit --weight samples".into();
            return Err(Error::Usage { what, remedy });
        }
        Ok(())
    }

    /// The largest sum of weights. Larger numbers are not exact in JavaScript and Perl.
    fn most(self) -> u64 {
        match self {
            Format::Pprof => i64::MAX as u64,
            _ => 1 << 53,
        }
    }
}

/// Writes a profile, once it is finished.
///
/// Memory: 4 bytes for each frame of each stack, the names, and the profile before it is packed. Of
/// samples also the distinct stacks, and 32 bytes for each.
pub struct Export<W> {
    format: Format,
    title: String,
    out: W,
    output: String,
    threads: Threads,
    profile: Profile,
    labels: Vec<(String, String)>,
    moments: Moments,
    /// When the next sample without a time begins.
    now: u64,
}

impl<W: Write> Export<W> {
    /// Writes to `out`, which errors call `output`. Viewers call the profile `title`.
    pub fn new(
        format: Format,
        title: impl Into<String>,
        out: W,
        output: impl Into<String>,
    ) -> Self {
        let title = title.into();
        Export {
            format,
            threads: Threads::new(fold::Config::default(), title.clone()),
            title,
            out,
            output: output.into(),
            profile: Profile::default(),
            labels: Vec::new(),
            moments: Moments::default(),
            now: 0,
        }
    }

    /// Gives all samples these labels, keys and values. Only pprof has labels.
    pub fn labelled(mut self, labels: Vec<(String, String)>) -> Self {
        self.labels = labels;
        self
    }

    /// Folds samples as `config` says.
    pub fn folding(mut self, config: fold::Config) -> Self {
        self.threads = Threads::new(config, self.title.clone());
        self
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, timed: &Timed, tally: &Tally) -> Result<()> {
        let Export { format, title, out, output, profile, labels, .. } = self;
        let written = match format {
            Format::Pprof => {
                pprof::write(profile, labels, &tally.recorded.clone().unwrap_or_default(), out)
            }
            Format::Speedscope => speedscope::write(profile, timed, title, out),
            Format::Callgrind => callgrind::write(profile, title, out),
            Format::Firefox => firefox::write(profile, timed, title, out),
            Format::Chrome => chrome::write(profile, timed, out),
        };
        written.and_then(|()| out.flush()).map_err(Error::io(|| format!("cannot write {output}")))
    }
}

impl<W: Write> FoldedSink for Export<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.profile.folded(frames, folded)
    }

    fn keeps_times(&self) -> bool {
        // Bytes have no times.
        self.format.takes_samples(&fold::Config::default())
            && self.profile.unit().as_deref() != Some("bytes")
    }

    fn timed(
        &mut self,
        frames: &mut FrameTable,
        folded: &Folded<'_>,
        moment: &Moment<'_>,
    ) -> Result<()> {
        self.moments.push(frames, &mut self.profile, folded, moment);
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.profile.text(line)
    }

    /// # Errors
    /// There are no samples, or more weight than the format can count.
    fn finish(&mut self, _: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        self.profile.check(self.format.most(), tally)?;
        self.write(&Timed::default(), tally)
    }
}

/// For formats with times.
impl<W: Write> SampleSink for Export<W> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        let time = sample.time.or(Some(self.now));
        self.now = self.now.saturating_add(sample.weight());
        self.threads.sample(frames, &Sample { time, ..*sample });
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.threads.text(text);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let lanes = self.threads.pieces();
        if lanes.is_empty() {
            self.threads.diagnose()?;
        }
        let quality = self.threads.quality(frames, &lanes);
        self.threads.count(quality, tally);
        let mut timed = Timed::of(lanes, &self.threads, &mut self.profile, frames);
        let is_clock = self.profile.unit().as_deref() == Some("ns");
        std::mem::take(&mut self.moments).append_to(&mut timed, is_clock);
        self.profile.check(self.format.most(), tally)?;
        self.write(&timed, tally)
    }
}

impl<W: Write> Stage for Export<W> {
    type Next = Self;
    type Folded = Self;

    fn next_mut(&mut self) -> &mut Self {
        self
    }

    fn folding(&mut self) -> fold::Config {
        self.threads.config().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_the_format() {
        for (name, format) in [
            ("a.pb.gz", Some(Format::Pprof)),
            ("A.PPROF", Some(Format::Pprof)),
            ("x/a.speedscope.json", Some(Format::Speedscope)),
            ("a.json", Some(Format::Speedscope)),
            ("callgrind.out.7", Some(Format::Callgrind)),
            ("a.callgrind", Some(Format::Callgrind)),
            ("a.json.gz", Some(Format::Firefox)),
            ("a.trace.json", Some(Format::Chrome)),
            ("a.svg", None),
            ("json", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
