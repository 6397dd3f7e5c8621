//! A large file of perf-script text, folded by several threads.
//!
//! The file is cut at blank lines, where samples end; each thread folds its part with tables of its own, and the parts are
//! merged. By the merge law the result is that of one thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bstr::{BString, ByteSlice};
use rayon::prelude::*;

use super::Folder;
use crate::error::{Error, Result};
use crate::folded::{FoldedSink, OFF_CPU};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::script;
use crate::tally::Tally;

/// Below this many bytes a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 8 << 20;

/// How many parts a file of `len` bytes is worth when `threads` may be used.
pub(super) fn parts(len: u64, threads: usize) -> u64 {
    (len / WORTH_A_THREAD).min(threads as u64).max(1)
}

/// Folds the file at `path` in `parts` parts into `folder`.
pub(super) fn fold<S: FoldedSink>(
    path: &Path,
    parts: u64,
    config: script::Config,
    folder: &mut Folder<S>,
    frames: &mut FrameTable,
    tally: &mut Tally,
) -> Result<()> {
    let name = path.display().to_string();
    let reading = || format!("cannot read {name}");
    let mut file = File::open(path).map_err(Error::io(reading))?;
    let borders = borders(&mut file, parts).map_err(Error::io(reading))?;
    // The first event of the file is the one that is folded, in every part.
    let event = match folder.event() {
        None => first_event(&mut file, &name)?,
        known => known,
    };
    let folds = folder.config().clone();
    let folded: Vec<Result<_>> = borders
        .par_windows(2)
        .map(|part| {
            let file = File::open(path).map_err(Error::io(reading))?;
            let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
            let mut folder = Folder::new(folds.clone(), name.clone(), Nowhere);
            folder.expect(event.clone());
            let (mut reader, part) = (script::Reader::new(config), part[0]..part[1]);
            reader.read_file(file, part, &name, &mut frames, &mut folder, &mut tally)?;
            Ok((folder, frames, tally))
        })
        .collect();
    for part in folded {
        let (part, their_frames, their_tally) = part?;
        folder.absorb(&part, &frames.absorb(&their_frames));
        tally.absorb(their_tally);
    }
    Ok(())
}

/// A folder that is absorbed pushes nothing.
struct Nowhere;

impl FoldedSink for Nowhere {
    fn folded(&mut self, _: &mut FrameTable, _: &crate::folded::Folded<'_>) -> Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

/// Where the parts begin and end: 0, the ends of samples nearest behind equal shares, and the file's length.
fn borders(file: &mut File, parts: u64) -> io::Result<Vec<u64>> {
    let len = file.metadata()?.len();
    let mut borders = vec![0];
    for part in 1..parts {
        let border = end_of_sample(file, len / parts * part)?.unwrap_or(len);
        if borders.last().is_some_and(|&last| border > last) && border < len {
            borders.push(border);
        }
    }
    borders.push(len);
    Ok(borders)
}

/// The end of the first blank line behind `from`.
fn end_of_sample(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let (mut at, mut block) = (from, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut block)?;
        if let Some(found) = block[..read].find("\n\n") {
            return Ok(Some(at + found as u64 + 2));
        }
        if read < 2 {
            return Ok(None);
        }
        // The pair may lie across two blocks: step back one byte.
        at += read as u64 - 1;
        file.seek(SeekFrom::Start(at))?;
    }
}

/// The first event that decides what is folded, if it is in the first megabyte.
fn first_event(file: &mut File, name: &str) -> Result<Option<BString>> {
    file.seek(SeekFrom::Start(0)).map_err(Error::io(|| format!("cannot read {name}")))?;
    let (mut first, mut reader) = (First(None), script::Reader::new(script::Config::default()));
    let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
    reader.read(file.take(1 << 20), name, &mut frames, &mut first, &mut tally)?;
    Ok(first.0)
}

/// Remembers the event of the first sample that has one, but for those that go beside another.
struct First(Option<BString>);

impl SampleSink for First {
    fn sample(&mut self, _: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        if self.0.is_none() && !sample.event.is_empty() && sample.event != OFF_CPU {
            self.0 = Some(sample.event.into());
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Config, Merge};
    use crate::folded::Writer;
    use proptest::prelude::*;

    fn folded(path: &Path, parts: u64) -> (Vec<u8>, Tally) {
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        let mut folder =
            Folder::new(Config::default(), "text", Merge::new(Writer::new(Vec::new(), "memory")));
        fold(path, parts, script::Config::default(), &mut folder, &mut frames, &mut tally).unwrap();
        let _ = folder.finish(&mut frames, &mut tally);
        (folder.into_next().into_next().into_inner(), tally)
    }

    proptest! {
        #[test]
        fn parts_make_no_difference(
            samples in prop::collection::vec((0usize..4, prop::collection::vec(0usize..4, 0..4), 0usize..9), 0..40),
            parts in 2u64..6,
        ) {
            let mut text = String::from("# comment\n");
            for (event, stack, gap) in samples {
                text += &format!("app 7 1.5: 10 {}: \n", ["cpu-clock", "faults", "cpu-clock:u", "off-cpu"][event]);
                for frame in stack {
                    text += &format!("\t{:>16x} f{frame}+0x1 (/a)\n", frame * 4096);
                }
                text += &"\n".repeat(gap.min(3));
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &text).unwrap();
            prop_assert_eq!(folded(file.path(), parts), folded(file.path(), 1));
        }
    }
}
