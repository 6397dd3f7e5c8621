//! What flamegraph and cargo-flamegraph have in common: record, and draw what was recorded.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::io::{Input, Output};
use super::logger;
use super::program::{Done, Failure, report};
use super::progress::Shown;
use super::record::{RecordOptions, teller};
use super::render::GraphArgs;
use super::script::RecordingArgs;
use super::signals;
use crate::fold::{self, source};
use crate::pipeline;
use crate::record::{self, Destination, Ended, Workload};
use crate::render::{self, Palette};

/// The options of flamegraph 0.6.15 that both programs take, with its defaults.
#[derive(Args, Debug)]
pub struct GraphOptions {
    /// Show the command lines that run
    #[arg(short, long)]
    verbose: bool,

    /// Output file
    #[arg(short, long, default_value = "flamegraph.svg", value_name = "FILE")]
    output: PathBuf,

    /// Open the output file with its default program
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    recording: RecordingArgs,

    /// Pass the folded stacks through a program: its name and arguments, as shell words
    #[arg(long, value_name = "COMMAND")]
    post_process: Option<String>,

    /// Make this function the root of every stack it is on; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    skip_after: Vec<String>,

    #[command(flatten)]
    graph: GraphArgs,

    /// Leave out functions narrower than FLOAT percent
    #[arg(long, default_value_t = 0.01, value_name = "FLOAT")]
    min_width: f64,

    /// Image width in pixels [default: that of the window]
    #[arg(long, value_name = "PIXELS")]
    image_width: Option<usize>,

    /// Colour palette
    #[arg(long, value_name = "PALETTE",
          value_parser = PossibleValuesParser::new(Palette::VARIANTS).try_map(|name| name.parse::<Palette>()))]
    palette: Option<Palette>,

    /// Exit with 3 if anything was skipped, lost, truncated or left without a name
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    record: RecordOptions,
}

/// What is drawn.
pub enum Subject {
    /// What is recorded now.
    Workload(Workload),
    /// A command that gets an environment and a working directory of its own.
    Launch {
        /// The program and its arguments.
        command: Vec<OsString>,
        /// Variables on top of ours.
        env: Vec<(OsString, OsString)>,
        /// Where it runs.
        cwd: PathBuf,
    },
    /// What was recorded before.
    Recording(PathBuf),
}

impl GraphOptions {
    /// Whether the command lines are to be shown.
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// Records, draws, and passes the workload's status on, in messages under `name`.
    pub fn run(self, name: &'static str, subject: Subject) -> Result<Done> {
        logger::install(name, false, 0);
        let post_process = self.post_process_words()?;
        let mut record = self.record.config()?;
        record.backend = self.recording.backend.into();
        // Before anything runs, so that an output that cannot be written does not cost a recording.
        let output = Output::create(Some(&self.output))?;
        let (recording, ended) = match subject {
            Subject::Recording(path) => (Recording { path, temporary: None }, None),
            Subject::Workload(workload) => self.record(name, &workload, &record)?,
            Subject::Launch { command, env, cwd } => {
                (record.env, record.cwd) = (env, Some(cwd));
                self.record(name, &Workload::Command(command), &record)?
            }
        };
        let path = self.output.clone();
        let (open, strict) = (self.open, self.strict);
        let done = ended.as_ref().map_or(Done::Ok, |ended| self.record.done(ended));
        let config = self.pipeline(post_process);
        let input = Input::open(&recording.path)?;
        let label =
            if recording.temporary.is_some() { "the recording" } else { input.name.as_str() };
        let progress = Arc::default();
        let shown = Shown::start(name, label, &progress, true);
        let input = source::Input { name: label, reader: input.reader, path: input.path, progress };
        let output_name = output.name.clone();
        let (output, tally) =
            pipeline::draw(input, config, output, &output_name).map_err(|error| match &ended {
                Some(ended) if ended.status != 0 => anyhow::Error::from(error)
                    .context(format!("the workload ended with status {}", ended.status)),
                _ => error.into(),
            })?;
        drop(shown);
        output.commit()?;
        report(name, false, &format_args!("wrote {output_name}: {tally}"));
        if open {
            opener::open(&path).with_context(|| format!("cannot open {output_name}"))?;
        }
        match Done::strict(strict, &tally) {
            Done::Ok => Ok(done),
            gate => Ok(gate),
        }
    }

    fn post_process_words(&self) -> Result<Option<Vec<String>>> {
        let Some(line) = &self.post_process else { return Ok(None) };
        match shlex::split(line) {
            Some(words) if !words.is_empty() => Ok(Some(words)),
            _ => Err(Failure::Usage(format!("--post-process {line:?} is no command")).into()),
        }
    }

    fn record(
        &self,
        name: &'static str,
        workload: &Workload,
        config: &record::Config,
    ) -> Result<(Recording, Option<Ended>)> {
        let mut tell = teller(name, self.verbose);
        let temporary = temporary_beside(&self.output)?;
        let path = temporary.path().to_owned();
        signals::remove_on_interrupt(&path);
        let ended = signals::left_to(|| {
            record::recorder().record(workload, config, Destination::File(&path), &mut tell)
        })?;
        let recording = match ended.elsewhere.clone() {
            Some(path) => Recording { path, temporary: None },
            None => Recording { path, temporary: Some(temporary) },
        };
        Ok((recording, Some(ended)))
    }

    fn pipeline(self, post_process: Option<Vec<String>>) -> pipeline::Config {
        let mut render = render::Config {
            min_width: self.min_width,
            width: self.image_width,
            ..render::Config::default()
        };
        if let Some(palette) = self.palette {
            render.colors = palette;
        }
        self.graph.apply(&mut render);
        let skip_after = self.skip_after.into_iter().map(Into::into).collect();
        pipeline::Config {
            source: source::Config {
                recording: self.recording.config(),
                ..source::Config::default()
            },
            fold: fold::Config { skip_after, ..fold::Config::default() },
            post_process,
            render,
        }
    }
}

/// A recording, and the file to be removed after it was drawn.
struct Recording {
    path: PathBuf,
    temporary: Option<tempfile::NamedTempFile>,
}

/// A recording can be gigabytes: it is kept where the output goes, not in a small /tmp, if that is a file.
fn temporary_beside(output: &Path) -> Result<tempfile::NamedTempFile> {
    // Absolute, as the recorder may run elsewhere.
    let output = std::path::absolute(output).context("cannot find the working directory")?;
    let folder =
        output.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".flamepipe-").suffix(".recording");
    // What is in /dev is memory.
    let beside = if output.starts_with("/dev") { None } else { builder.tempfile_in(folder).ok() };
    beside.map_or_else(|| builder.tempfile(), Ok).context("cannot make a file for the recording")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        graph: GraphOptions,
    }

    fn parse(line: &str) -> GraphOptions {
        Cli::parse_from(std::iter::once("x").chain(line.split_whitespace())).graph
    }

    #[test]
    fn no_flags_mean_the_default() {
        assert_eq!(parse("").record.config().unwrap(), record::Config::default());
        assert_eq!(parse("").output, Path::new("flamegraph.svg"));
        assert_eq!(parse("").pipeline(None), pipeline::Config::default());
    }

    #[test]
    fn options_mean_what_they_say() {
        let graph = parse(
            "--no-inline --skip-after a --skip-after b --min-width 2 --image-width 700 --palette aqua -i --post-process cat",
        );
        let words = graph.post_process_words().unwrap();
        let config = graph.pipeline(words);
        assert!(config.source.recording.no_inline && config.render.inverted);
        assert_eq!(config.fold.skip_after, ["a", "b"]);
        assert_eq!((config.render.min_width, config.render.width), (2.0, Some(700)));
        assert_eq!(config.render.colors, "aqua".parse().unwrap());
        assert_eq!(config.post_process, Some(vec!["cat".into()]));
    }
}
