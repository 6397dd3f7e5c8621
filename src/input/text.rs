//! Folds files of perf-script text with several threads.
//!
//! ```text
//! files      ├────── a ──────┤├─ b ─┤├──────── c ────────┤
//! portions   ├─ 1 ─┤├─ 2 ─┤├─ 3 ─┤├─ 4 ─┤├─ 5 ─┤├─ 6 ─┤├ 7 ┤
//! ```
//!
//! Portions have about the same size, and end at blank lines, where samples end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bstr::ByteSlice;

use crate::error::{Error, Result};
use crate::fold::{Folder, Worker, fold_all};
use crate::folded::FoldedSink;
use crate::sample::FrameTable;
use crate::script;
use crate::tally::Tally;

/// Below this many bytes a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 8 << 20;
/// The size of a portion in bytes. At the end, a thread waits at most as long as one portion takes.
const PORTION: u64 = if cfg!(test) { 200 } else { 8 << 20 };

/// A file of perf-script text.
pub(super) struct TextFile {
    /// Its name in errors.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) len: u64,
}

impl TextFile {
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::io(|| format!("cannot read {}", self.name)))
    }
}

/// How many of `threads` are worth using for `files`.
pub(super) fn worth(files: &[TextFile], threads: usize) -> usize {
    usize::try_from(total(files) / WORTH_A_THREAD).unwrap_or(threads).clamp(1, threads.max(1))
}

/// Folds `files` into `folder` with this many `threads`.
pub(super) fn fold<S: FoldedSink>(
    files: &[TextFile],
    threads: usize,
    config: &script::Config,
    folder: &mut Folder<S>,
    frames: &mut FrameTable,
    tally: &mut Tally,
) -> Result<()> {
    let portions = cut(files, (total(files) / PORTION).max(threads as u64))?;
    let readers = (0..threads).map(|_| script::Reader::new(config));
    fold_all(portions, readers, folder, frames, tally)
}

impl Worker<Portion<'_>> for script::Reader {
    fn fold<S: FoldedSink>(
        &mut self,
        portion: Portion<'_>,
        folder: &mut Folder<S>,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        for (file, part) in portion {
            self.read_file(file.open()?, part, &file.name, frames, folder, tally)?;
        }
        Ok(())
    }
}

fn total(files: &[TextFile]) -> u64 {
    files.iter().map(|file| file.len).sum()
}

/// Parts of files, which a thread folds one after another.
type Portion<'a> = Vec<(&'a TextFile, Range<u64>)>;

/// Cuts `files` into portions of equal size. Each goes on to the end of its last sample.
fn cut(files: &[TextFile], portions: u64) -> Result<Vec<Portion<'_>>> {
    let size = total(files) / portions;
    let mut all = Vec::new();
    let mut portion = Portion::new();
    // Where the next portion should begin, counted from the start of this file.
    let mut border = size;
    let mut left = portions - 1;
    for file in files {
        let mut start = 0;
        while left > 0 && border < file.len {
            let doing = || format!("cannot read {}", file.name);
            let end = end_of_sample(&mut file.open()?, border).map_err(Error::io(doing))?;
            let end = end.unwrap_or(file.len);
            if end > start {
                portion.push((file, start..end));
                all.push(std::mem::take(&mut portion));
            }
            start = end.max(start);
            border += size;
            left -= 1;
        }
        if start < file.len {
            portion.push((file, start..file.len));
        }
        border = border.saturating_sub(file.len);
    }
    all.push(portion);
    Ok(all)
}

/// The end of the first blank line behind `from`.
fn end_of_sample(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut block = vec![0; 1 << 16];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Config, Merge};
    use crate::folded::Writer;
    use crate::sample::SampleSink;
    use proptest::prelude::*;
    use std::path::Path;

    /// Writes `texts` to files.
    fn files(folder: &Path, texts: &[String]) -> Vec<TextFile> {
        let write = |(i, text): (usize, &String)| {
            let path = folder.join(i.to_string());
            std::fs::write(&path, text).unwrap();
            TextFile { name: i.to_string(), path, len: text.len() as u64 }
        };
        texts.iter().enumerate().map(write).collect()
    }

    fn folded(files: &[TextFile], threads: usize) -> (Vec<u8>, Tally) {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let merge = Merge::new(Writer::new(Vec::new(), "memory"));
        let folder = Folder::new(Config::default(), "text", merge);
        let mut folder = folder.parallel(true);
        let config = script::Config::default();
        fold(files, threads, &config, &mut folder, &mut frames, &mut tally).unwrap();
        let _ = folder.finish(&mut frames, &mut tally);
        (folder.into_next().into_next().into_inner(), tally)
    }

    /// Folds all texts as one.
    fn by_one(texts: &[String]) -> (Vec<u8>, Tally) {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let merge = Merge::new(Writer::new(Vec::new(), "memory"));
        let mut folder = Folder::new(Config::default(), "text", merge);
        let mut reader = script::Reader::new(&script::Config::default());
        reader
            .read(texts.concat().as_bytes(), "text", &mut frames, &mut folder, &mut tally)
            .unwrap();
        let _ = folder.finish(&mut frames, &mut tally);
        (folder.into_next().into_next().into_inner(), tally)
    }

    proptest! {
        #[test]
        fn portions_make_no_difference(
            texts in prop::collection::vec(
                prop::collection::vec((0usize..4, prop::collection::vec(0usize..4, 0..4), 0usize..9), 0..30),
                0..4,
            ),
            threads in 2usize..6, portions in 2u64..6,
        ) {
            let texts: Vec<String> = texts.into_iter().map(|samples| {
                let mut text = String::from("# comment\n");
                for (event, stack, gap) in samples {
                    text += &format!("{} 7 1.5: 10 {}: \n", ["app", "java"][gap % 2], ["cpu-clock", "faults", "cpu-clock:u", "off-cpu"][event]);
                    for frame in stack {
                        let name = ["main+0x1 (/a)", "f(int) (/a)", "[unknown] (/a)", "La/b;.c->Ld;.e (/tmp/perf-7.map)"][frame];
                        text += &format!("\t{:>16x} {name}\n", frame * 4096);
                    }
                    text += &"\n".repeat(gap.min(3));
                }
                text + "\n"
            }).collect();
            let dir = tempfile::tempdir().unwrap();
            let files = files(dir.path(), &texts);
            prop_assert_eq!(folded(&files, threads), by_one(&texts));
            let cuts = cut(&files, portions).unwrap();
            prop_assert!(cuts.len() as u64 <= portions);
            let whole: String = cuts.iter().flatten().map(|(file, part)| {
                let text = &texts[file.name.parse::<usize>().unwrap()];
                &text[part.start as usize..part.end as usize]
            }).collect();
            prop_assert_eq!(whole, texts.concat());
        }
    }

    #[test]
    fn portions_are_of_one_size() {
        let dir = tempfile::tempdir().unwrap();
        let sample = "app 7 1.5: 10 cpu-clock: \n\t            1000 f+0x1 (/a)\n\n";
        let files = files(dir.path(), &[30, 1, 0, 9].map(|samples| sample.repeat(samples)));
        let samples = |portion: Portion<'_>| {
            let bytes: u64 = portion.into_iter().map(|(_, part)| part.end - part.start).sum();
            bytes / sample.len() as u64
        };
        let sizes: Vec<_> = cut(&files, 4).unwrap().into_iter().map(samples).collect();
        assert!(sizes.len() == 4 && sizes.iter().all(|size| (9..=11).contains(size)), "{sizes:?}");
    }
}
