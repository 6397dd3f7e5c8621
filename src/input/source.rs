//! Reads inputs of any format into one stage.

use std::io::{self, Read};

use super::foreign::Stacks;
use super::format::{Format, may_be_folded};
use super::inferno;
use super::start::{read_start, telling_lines};
use super::text::{self, TextFile};
use super::{Input, recording};
use crate::error::{Error, Result};
use crate::fold::{Folder, Stage, Worker, fold_all};
use crate::folded::{self, FoldedSink};
use crate::graph;
use crate::parallel;
use crate::sample::FrameTable;
use crate::script;
use crate::tally::Tally;

/// How inputs are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The format of all inputs. `None` recognises each by its first bytes.
    pub format: Option<Format>,
    /// Accept folded stacks with odd lines before the first stack. Otherwise they are refused.
    pub lenient: bool,
    /// Skip inputs that are empty, or have only comments. Otherwise they are refused.
    pub allow_empty: bool,
    /// How many threads may fold recordings and large files of text. 0 and 1 mean one.
    pub threads: usize,
    /// Fold perf-script text with inferno.
    pub inferno: bool,
    /// How perf.data and perf-script text become samples.
    pub script: script::Config,
}

/// The number of threads that can fold at the same time: one for each CPU.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}

/// Reads inputs into a stage, one after another. Several threads may read files of text and
/// recordings.
pub struct Source<'a> {
    config: &'a Config,
    reader: script::Reader,
    /// Inputs that wait for the ones that follow, so that several threads can read them. Only one
    /// of the two lists has any.
    texts: Vec<TextFile>,
    recordings: Vec<Input>,
}

impl<'a> Source<'a> {
    /// A source, before its first input.
    pub fn new(config: &'a Config) -> Self {
        let reader = script::Reader::new(&config.script);
        Source { config, reader, texts: Vec::new(), recordings: Vec::new() }
    }

    /// Reads all `inputs` to their ends. It finishes neither the stage nor the one behind it.
    ///
    /// It takes the next input once the one before is read, unless that is a file that several
    /// threads may fold.
    pub fn feed<S: Stage>(
        mut self,
        inputs: impl IntoIterator<Item = Input>,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        parallel::start(0);
        for input in inputs {
            self.feed_one(input, stage, frames, tally)?;
        }
        self.feed_waiting(stage, frames, tally)
    }

    fn feed_one<S: Stage>(
        &mut self,
        input: Input,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        let Input { name, mut reader, path, progress } = input;
        let (start, is_whole) = match self.config.format {
            None => match read_start(&mut reader, &name) {
                Err(Error::Empty { .. }) if self.config.allow_empty => return Ok(()),
                start => start?,
            },
            Some(_) => (Vec::new(), false),
        };
        let assumed = self.config.inferno.then_some(Format::Script);
        let told = self.config.format.or_else(|| Format::sniff(&start, is_whole)).or(assumed);
        let lenient = || (self.config.lenient && may_be_folded(&start)).then_some(Format::Folded);
        let Some(format) = told.or_else(lenient) else {
            // A filter that drops everything leaves only `# unit: ns 0`.
            if self.config.allow_empty && is_whole && telling_lines(&start).next().is_none() {
                return Ok(());
            }
            let expected =
                "perf-script text, perf.data, folded stacks or any other format this stage reads";
            return Err(Format::unknown(&name, &start, expected));
        };
        let is_text = format == Format::Script && !self.config.inferno;
        if let Some(path) = path.as_ref().filter(|_| is_text) {
            let len = path.metadata().map_or(0, |file| file.len());
            if len > 0 {
                self.feed_recordings(stage, frames, tally)?;
                self.texts.push(TextFile { name, path: path.clone(), len });
                return Ok(());
            }
        }
        let is_recording = format == Format::PerfData && !self.config.inferno;
        if path.is_some() && is_recording && self.config.threads > 1 && stage.as_folder().is_some()
        {
            self.feed_texts(stage, frames, tally)?;
            // It is opened anew by its path: many may wait, and few files may be open.
            let reader = Box::new(io::empty());
            self.recordings.push(Input { name, reader, path, progress });
            return Ok(());
        }
        self.feed_waiting(stage, frames, tally)?;
        let whole = io::Cursor::new(start).chain(reader);
        let input = Input { name, reader: Box::new(whole), path, progress };
        self.feed_now(input, format, stage, frames, tally)
    }

    /// Reads an input of this format to its end.
    fn feed_now<S: Stage>(
        &mut self,
        input: Input,
        format: Format,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        let Input { name, mut reader, path, progress } = input;
        let folds = stage.folding();
        let heeds_all = match format {
            Format::Script | Format::PerfData => true,
            Format::Foreign(foreign) => foreign.heeds(&folds),
            Format::Folded | Format::Svg => false,
        };
        if !heeds_all && folds.asks_samples() {
            log::warn!(
                "{name} has stacks that are folded already: options about samples (threads, CPUs, events, weights, \
                 --skip-after) have no effect on them"
            );
        }
        match format {
            Format::Script if self.config.inferno => {
                let text = inferno::script(
                    reader,
                    &name,
                    &folds,
                    self.config.script.addresses,
                    self.config.threads,
                )?;
                inferno::read(&text, frames, stage.next_mut(), tally)
            }
            Format::PerfData if self.config.inferno => Err(Error::Unreadable {
                input: name,
                why: "is perf.data, which inferno does not read".into(),
                remedy: "convert it to text with fg-script, and fold that".into(),
            }),
            Format::Script => self.reader.read(reader, &name, frames, stage, tally),
            Format::PerfData => {
                // The writer of the stream may still be recording. A folder can name frames late,
                // but a writer of text cannot.
                let mut config = self.config.script.clone();
                config.live |= path.is_none() && stage.as_folder().is_some();
                let recording = Input { name, reader, path, progress };
                recording::read(&config, recording, frames, stage, tally)
            }
            Format::Folded => folded::read(
                io::BufReader::with_capacity(1 << 17, reader),
                &name,
                frames,
                stage.next_mut(),
                tally,
            ),
            Format::Svg => {
                let mut picture = Vec::new();
                let cannot = Error::io(|| format!("cannot read {name}"));
                reader.read_to_end(&mut picture).map_err(cannot)?;
                graph::read(&picture, &name, frames, stage.next_mut(), tally)
            }
            Format::Foreign(foreign) => {
                let sink = stage.next_mut();
                let to =
                    Stacks { input: &name, config: folds, frames, sink, tally, stack: Vec::new() };
                foreign.read(&mut reader, to)
            }
        }
    }

    fn feed_waiting<S: Stage>(
        &mut self,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        self.feed_texts(stage, frames, tally)?;
        self.feed_recordings(stage, frames, tally)
    }

    /// Reads the waiting recordings.
    fn feed_recordings<S: Stage>(
        &mut self,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        let recordings = std::mem::take(&mut self.recordings);
        if recordings.len() < 2 || stage.as_folder().is_none() {
            return recordings.into_iter().try_for_each(|recording| {
                recording::read(&self.config.script, recording, frames, stage, tally)
            });
        }
        let Some(folder) = stage.as_folder() else { return Ok(()) };
        let threads = self.config.threads.min(recordings.len());
        let workers = (0..threads).map(|_| ByItself(&self.config.script));
        fold_all(recordings, workers, folder, frames, tally)
    }

    /// Reads the waiting files of text.
    fn feed_texts<S: Stage>(
        &mut self,
        stage: &mut S,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        let files = std::mem::take(&mut self.texts);
        let threads = text::worth(&files, self.config.threads);
        if threads > 1
            && let Some(folder) = stage.as_folder()
        {
            return text::fold(&files, threads, &self.config.script, folder, frames, tally);
        }
        for file in files {
            let open = file.open()?;
            let part = 0..file.len;
            self.reader.read_file(open, part, &file.name, frames, stage, tally)?;
        }
        Ok(())
    }
}

/// Folds each recording by itself.
struct ByItself<'a>(&'a script::Config);

impl Worker<Input> for ByItself<'_> {
    fn fold<S: FoldedSink>(
        &mut self,
        recording: Input,
        folder: &mut Folder<S>,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()> {
        recording::read(self.0, recording, frames, folder, tally)
    }
}
