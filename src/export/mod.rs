//! A profile for the viewers of other tools: pprof and speedscope.
//!
//! ```text
//! Folded ─▶ Pprof       gzipped protocol buffers, for `go tool pprof`, Grafana, Perfetto
//!        └▶ Speedscope  JSON, for speedscope
//! ```
//!
//! Both are sinks of folded stacks, so whatever fg-fold reads can be exported. Each distinct name is
//! written once. What stacks do not have is not there: times, addresses, modules and lines.

mod pprof;
mod speedscope;

use std::borrow::Cow;
use std::path::Path;

use bstr::ByteSlice;

pub use pprof::Pprof;
pub use speedscope::Speedscope;

use crate::sample::{FrameId, FrameTable};

/// What a profile is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Gzipped protocol buffers.
    Pprof,
    /// JSON.
    Speedscope,
}

impl Format {
    /// The format that the name of a file tells: `x.pb.gz`, `x.pprof`, `x.speedscope.json`, `x.json`.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".pb.gz", ".pprof"]) {
            Some(Format::Pprof)
        } else {
            ends(&[".json"]).then_some(Format::Speedscope)
        }
    }
}

/// The names of a profile, each with a number from 0 in order of first use.
#[derive(Default)]
struct Names {
    numbers: Vec<Option<usize>>,
    names: Vec<String>,
    /// Names with bytes that are not UTF-8.
    replaced: u64,
}

impl Names {
    fn number(&mut self, frames: &FrameTable, frame: FrameId) -> usize {
        if self.numbers.len() <= frame.index() {
            self.numbers.resize(frames.len().max(frame.index() + 1), None);
        }
        *self.numbers[frame.index()].get_or_insert_with(|| {
            let name = frames.symbol(frame).to_str_lossy();
            self.replaced += u64::from(matches!(name, Cow::Owned(_)));
            self.names.push(name.into_owned());
            self.names.len() - 1
        })
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
            ("a.svg", None),
            ("json", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
