//! `fg-filter`: keeps, drops and edits stacks.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use super::filter_args::Rules;
use super::io::{Input, Output, report};
use super::program::{Done, Program};
use super::strict::StrictArgs;
use crate::error::Error;
use crate::filter::{Config, FoldedFilter, Heaviest, SampleFilter, Weights};
use crate::folded::{self, FoldedSink, Minimum, Writer};
use crate::input::{Format, may_be_folded};
use crate::sample::{FrameTable, SampleSink};
use crate::script;
use crate::tally::Tally;

/// The size of one read.
const BUFFER: usize = 1 << 18;

/// How much text may come before its format is known: two very deep stacks.
const SNIFF: usize = 1 << 22;

const AFTER_HELP: &str = "\
REGEX may match anywhere in a name, as in grep; ^ and $ anchor it, (?i) ignores case. If a flag is repeated, one of its \
values must match. If different flags are given, all must hold; a --drop-… flag drops what it matches. These flags see \
the names as they were read. Edits follow, in the order listed above. If several frames of a stack match an edit, the \
one nearest the root counts. Above and below are meant as in a flame graph: the root is at the bottom.

Expressions: --where takes conditions joined by `and`, `or`, `not` and parentheses. `frame NAME`, `module NAME` and \
`kind user|kernel|inlined|jit|truncated` hold if one frame of the stack matches. `comm NAME`, `event NAME`, `pid 7,8`, \
`tid 7,8`, `cpu 0..3,5` and `time 1.5..2` test the thread and the sample. `everything` always holds, `nothing` never. \
A NAME is a /regex/ that may match anywhere, a glob with * and ? that matches the whole name, or the name itself. A \
name that starts with / or contains blanks, parentheses, quotes, * or ? must be in \"quotes\".

Folded text has no modules, kinds of frames, events, CPUs or times. To filter by them, filter the script text before \
fg-fold. The first frame of folded text is taken for the comm. --pid and --tid need it to end in -PID or -PID/TID, as \
fg-fold --pid and --tid write it.

--min-weight and --top need folded stacks. They apply after all other edits, and add up all lines of a stack.

fg-filter passes on unedited items byte for byte. Without keep, drop and edit flags, fg-filter copies its input.
Memory: one line or sample, and the distinct frames, whatever the length of the input; with --min-weight or --top, all lines.

Grammar:
  expr  = all { \"or\" all }
  all   = one { \"and\" one }
  one   = \"not\" one | \"(\" expr \")\" | \"everything\" | \"nothing\"
        | ( \"frame\" | \"module\" | \"comm\" | \"event\" ) name
        | \"kind\" ( \"user\" | \"kernel\" | \"inlined\" | \"jit\" | \"truncated\" )
        | ( \"pid\" | \"tid\" ) number { \",\" number }
        | \"cpu\" cpus { \",\" cpus }
        | \"time\" [ seconds ] \"..\" [ seconds ]
  cpus  = number [ \"..\" number ]
  name  = \"/\" regex \"/\" | glob | word | '\"' exact '\"'

Recipes:
  # keep some threads; the quality line counts the rest
  fg-filter --comm '^web' app.script | fg-fold > web.folded
  # drop the stacks that wait
  fg-filter --drop 'park|epoll_wait|futex_wait' stacks.folded | fg-render > busy.svg
  # show what a function does, whoever calls it
  fg-filter --root-at '^net::serve$' stacks.folded | fg-render > serve.svg
  # show who calls a function, and how often
  fg-filter --keep memcpy --cut-above memcpy stacks.folded | fg-render --reverse > callers.svg
  # merge a library into one frame
  fg-filter --group 'btree=frame btree::*' stacks.folded
  # merge the kernel into one frame; folded stacks do not mark its frames, so filter the script text
  fg-filter --group 'kernel=kind kernel' app.script | fg-fold
  # keep one second of two CPUs
  fg-filter --time 12,13 --cpu 0-1 app.script | fg-fold
  # remove the runtime frames of Rust
  fg-filter --preset std,tokio,async --strip-hashes stacks.folded
  # combine conditions
  fg-filter --where '(comm web* or frame fs::*) and not frame /alloc|free/' stacks.folded
  # keep the ten heaviest stacks
  fg-filter --top 10 stacks.folded
  # drop the stacks that are too light to see
  fg-filter --min-weight 0.1% stacks.folded | fg-render > clean.svg
  # merge two profiles, and a thread pool into one thread
  cat stacks.folded more.folded | fg-filter --rename '^(worker)-[0-9]+=$1' | fg-fold";

/// Keep, drop and edit stacks of folded text or perf-script text. The output has the format of the
/// input.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "fg-filter", version, after_help = AFTER_HELP)]
pub struct FilterArgs {
    /// Folded stacks or perf-script text [default: standard input]
    pub(crate) input: Option<PathBuf>,
    /// Write to FILE [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Format of the input
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatArg,
    /// Print only errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) strict: StrictArgs,

    /// What to keep, what to drop, how to edit
    #[command(flatten)]
    pub(crate) rules: Rules,

    /// Drop folded stacks that weigh less: 500, or 0.1% of the total that is left
    #[arg(long, value_name = "WEIGHT", value_parser = Minimum::from_str, help_heading = "Heavy stacks")]
    pub(crate) min_weight: Option<Minimum>,
    /// Keep only the N heaviest folded stacks
    #[arg(long, value_name = "N", help_heading = "Heavy stacks")]
    pub(crate) top: Option<usize>,
}

/// A `--format`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum FormatArg {
    /// Detected from the first lines
    #[default]
    Auto,
    /// Folded stacks
    Folded,
    /// perf-script text
    Script,
}

impl FilterArgs {
    /// The configuration: what to keep and how to edit.
    ///
    /// # Errors
    /// An expression or an edit has an error.
    pub fn config(self) -> Result<Config, Error> {
        self.rules.config()
    }
}

impl Program for FilterArgs {
    const NAME: &'static str = "fg-filter";

    fn run(self) -> anyhow::Result<Done> {
        let config = self.rules.config()?;
        let weights = Weights { minimum: self.min_weight, top: self.top };
        if config.keeps_everything() && weights.keeps_everything() && !self.strict.is_given() {
            let mut input = match &self.input {
                Some(path) => Input::open_as_it_is(path)?,
                None => Input::stdin_as_it_is()?,
            };
            let mut output = Output::create(self.output.as_deref())?;
            output.refuse(&input)?;
            copy(&mut input, &mut output)?;
            output.commit()?;
            return Ok(Done::Ok);
        }
        let mut input = match &self.input {
            Some(path) => Input::open(path)?,
            None => Input::stdin()?,
        };
        let mut output = Output::create(self.output.as_deref())?;
        output.refuse(&input)?;
        let (start, format) = match self.format {
            FormatArg::Auto => start(&mut input)?,
            FormatArg::Folded => (Vec::new(), Format::Folded),
            FormatArg::Script => (Vec::new(), Format::Script),
        };
        let Input { name, reader, .. } = input;
        let reader = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(reader));
        let tally = match format {
            Format::Script if !weights.keeps_everything() => {
                let what =
                    format!("--min-weight and --top need folded stacks, but {name} has samples");
                let remedy = "fold them first: fg-fold | fg-filter --top 10".into();
                return Err(Error::Usage { what, remedy }.into());
            }
            Format::Script => filter_script(reader, &name, config, &mut output)?,
            _ => filter_folded(reader, &name, config, weights, &mut output)?,
        };
        output.commit()?;
        report(Self::NAME, self.quiet, &tally);
        Ok(self.strict.done(Self::NAME, &tally))
    }
}

fn filter_folded(
    reader: impl BufRead,
    input: &str,
    config: Config,
    weights: Weights,
    output: &mut Output,
) -> Result<Tally, Error> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let name = output.name.clone();
    let heaviest = Heaviest::new(weights, Writer::new(output, name));
    let mut filter = FoldedFilter::new(config, heaviest)?;
    folded::read(reader, input, &mut frames, &mut filter, &mut tally)?;
    filter.finish(&mut frames, &mut tally)?;
    Ok(tally)
}

fn filter_script(
    reader: impl Read,
    input: &str,
    config: Config,
    output: &mut Output,
) -> Result<Tally, Error> {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let name = output.name.clone();
    let asks =
        script::Config { text: true, places: !config.edits.is_empty(), ..Default::default() };
    let mut filter = SampleFilter::new(config, script::Writer::new(output, name));
    script::Reader::new(&asks).read(reader, input, &mut frames, &mut filter, &mut tally)?;
    filter.finish(&mut frames, &mut tally)?;
    Ok(tally)
}

/// Copies everything.
fn copy(input: &mut Input, output: &mut Output) -> anyhow::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = read(input, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        output.write_all(bytes).with_context(|| format!("cannot write {}", output.name))?;
    }
}

/// Reads until the format is known. Returns what was read so far, and whether it has samples or
/// folded stacks.
fn start(input: &mut Input) -> anyhow::Result<(Vec<u8>, Format)> {
    let mut start = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = read(input, &mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        start.extend_from_slice(bytes);
        let ended = read == 0 || start.len() >= SNIFF;
        let has_line = bytes.contains(&b'\n');
        let format = if ended || has_line { Format::sniff_stream(&start, ended) } else { None };
        match format {
            Some(format @ (Format::Folded | Format::Script)) => return Ok((start, format)),
            // Odd lines are passed on, and so is text without a stack.
            None if ended && may_be_folded(&start) => return Ok((start, Format::Folded)),
            None if !ended => {}
            _ => {
                let expected = "folded stacks or perf-script text";
                return Err(Format::unknown(&input.name, &start, expected).into());
            }
        }
    }
}

fn read(input: &mut Input, buffer: &mut [u8]) -> anyhow::Result<usize> {
    loop {
        match input.reader.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.with_context(|| format!("cannot read {}", input.name)),
        }
    }
}
