//! `fg-diff`: compares two profiles, as folded stacks with both weights or as a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bstr::{BString, ByteSlice};
use clap::{ArgAction, Parser, ValueEnum};

use super::io::{self, Input, Output, report};
use super::logger;
use super::program::{Done, Failure, Program};
use super::progress::Shown;
use super::script::ReadingArgs;
use super::strict::StrictArgs;
use crate::diff::{Config, Differ, Mover, Movers, Scale};
use crate::error::Error;
use crate::fold::{self, Folder};
use crate::folded::{FoldedSink, Writer};
use crate::input::{self, Source};
use crate::sample::{FrameTable, SampleSink};
use crate::tally::{Tally, counted};
use crate::top::{By, Limits, Style, Top, View, write_tree};

/// Compare two profiles. Writes folded stacks with both weights for a differential flame graph, or
/// with --top a table.
///
/// A profile may be anything that fg-fold reads: folded stacks, perf-script text, perf.data, or a
/// graph of fg-render.
///
/// `fg-diff before.folded after.folded | fg-render > diff.svg` draws frames as wide as they are in
/// the second profile. A frame is red if it weighs more than in the first profile, and blue if it
/// weighs less. Stacks that are only in the first profile are drawn under a root frame of their
/// own, `[vanished]`, as wide as they were there.
///
/// The smaller profile is scaled to the total of the larger one unless --absolute is given. In the
/// graph, in the table and for --fail-above, the weight of a frame includes all that it calls, so a
/// parent changes if its child does. A recursive frame counts once in a stack.
///
/// The output is sorted by frames. Memory grows with the distinct stacks of both profiles, not with
/// their length.
#[derive(Debug, Parser)]
#[command(name = "fg-diff", version)]
pub struct DiffArgs {
    /// The first profile; `-` is standard input
    #[arg(value_name = "PATH1")]
    pub(crate) before: PathBuf,

    /// The second profile
    #[arg(value_name = "PATH2")]
    pub(crate) after: PathBuf,

    /// Scale the smaller profile to the total of the larger one; this is the default
    #[arg(short, long)]
    pub(crate) normalize: bool,

    /// Replace hexadecimal numbers, such as addresses, by 0x...
    #[arg(short, long)]
    pub(crate) strip_hex: bool,

    /// Write a table of the N frames that changed most, with their total and self weights, instead
    /// of folded stacks
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,

    /// Write the table in this format [default: text]
    #[arg(long, value_enum)]
    pub(crate) format: Option<TableFormat>,

    /// The same as --format json
    #[arg(long, requires = "top", conflicts_with = "format")]
    pub(crate) json: bool,

    /// Compare weights instead of shares, and write them unscaled
    #[arg(long, conflicts_with = "normalize")]
    pub(crate) absolute: bool,

    /// Omit the `# unit` line, the first line, from which fg-render takes the unit of the weights
    #[arg(long)]
    pub(crate) no_unit: bool,

    /// Exit with 3 if a frame's total grew by more than PCT percentage points, and by more than
    /// chance explains. If the numbers of samples are known, chance fails one of a hundred
    /// comparisons at most, however many frames are compared
    #[arg(long, value_name = "PCT", value_parser = percent)]
    pub(crate) fail_above: Option<f64>,

    /// Write nothing, and exit with 0, if neither profile has samples
    #[arg(long, conflicts_with = "fail_above")]
    pub(crate) allow_empty: bool,

    /// How perf.data is read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    /// Write to FILE, which is replaced only once the output is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) strict: StrictArgs,

    /// Print only errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Show which files the names are read from
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TableFormat {
    /// Columns.
    Text,
    /// Markdown, for a pull request. Callers that moved as much as what they call are left out.
    Md,
    /// `unit` (percent or weight), the weights `before` and `after`, the numbers of `samples`, and
    /// `frames`. Each of them has `frame`, `mark` (new, vanished or empty), `noise`, `total` and
    /// `self`, both with `before`, `after` and `change`.
    Json,
    /// Lines for GitLab's metrics report and Prometheus.
    Openmetrics,
}

impl DiffArgs {
    pub(crate) fn config(&self) -> Config {
        Config { normalize: !self.absolute, strip_hex: self.strip_hex }
    }

    /// The format of the table, if one is wanted.
    fn table(&self) -> Option<TableFormat> {
        let json = self.json.then_some(TableFormat::Json);
        json.or(self.format).or(self.top.map(|_| TableFormat::Text))
    }

    fn scale(&self) -> Scale {
        if self.absolute { Scale::Absolute } else { Scale::Shares }
    }

    /// Folds `input` into the current profile. If there are no samples, the profile is empty, and
    /// the answer says why.
    fn fold<S: FoldedSink>(
        &self,
        input: Input,
        frames: &mut FrameTable,
        differ: &mut Differ<S>,
        tally: &mut Tally,
    ) -> Result<Option<Error>> {
        let Input { name, reader, path, .. } = input;
        let progress = Arc::default();
        let _shown = Shown::start(Self::NAME, &name, &progress, !self.quiet);
        let input = input::Input { name: name.clone(), reader, path, progress };
        let config = input::Config { script: self.reading.config(), ..Default::default() };
        let folding = fold::Config { no_unit: self.no_unit, ..fold::Config::default() };
        let mut folder = Folder::new(folding, name, differ.part());
        let mut mine = Tally::default();
        let folded = Source::new(&config)
            .feed([input], &mut folder, frames, &mut mine)
            .and_then(|()| folder.finish(frames, &mut mine));
        tally.absorb(mine);
        match folded {
            Ok(()) => Ok(None),
            Err(error @ (Error::Empty { .. } | Error::NoSamples { .. })) => Ok(Some(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Says which frames grew too much, if any, and what to do about it.
    fn gate(&self, movers: &Movers) -> Done {
        let Some(limit) = self.fail_above else { return Done::Ok };
        let [grown, chance] = movers.above(limit);
        let unit = if self.absolute { "% of the first profile" } else { "percentage points" };
        if let Some(first) = chance.first().filter(|_| !self.quiet) {
            let [delta, ..] = movers.numbers(first.total);
            let noise = movers.noise(first.total).unwrap_or_default();
            io::say(
                Self::NAME,
                format_args!(
                    "{} grew by more than {limit} {unit}, but that may be chance ({}: {delta}, noise ±{noise:.2}): \
                     record for longer to tell",
                    counted(chance.len() as u64, "frame"),
                    first.name
                ),
            );
        }
        if grown.is_empty() {
            return Done::Ok;
        }
        io::say(
            Self::NAME,
            format_args!(
                "{} grew by more than {limit} {unit}:",
                counted(grown.len() as u64, "frame")
            ),
        );
        for mover in grown.iter().take(SHOWN) {
            let [delta, before, after] = movers.numbers(mover.total);
            let mark = if mover.mark().is_empty() { "" } else { " (new)" };
            io::say_more(format_args!("  {delta:>10}  {before} → {after}  {}{mark}", mover.name));
        }
        if grown.len() > SHOWN {
            io::say_more(format_args!(
                "  and {} more: --top {} shows all",
                grown.len() - SHOWN,
                movers.frames.len()
            ));
        }
        io::say_more(format_args!(
            "  if that is intended, raise --fail-above, or use {} as the new baseline",
            self.after.display()
        ));
        Done::Gate
    }
}

/// The rows of a table if --top does not say how many.
const ROWS: usize = 15;

/// The most callers of the worst frame that are shown.
const CALLERS: usize = 20;

/// The callers of a function in a profile, as Markdown.
fn callers(profile: &Top, frames: &FrameTable, name: &BString) -> Option<String> {
    let exactly = format!("^{}$", regex::escape(&name.to_str_lossy()));
    let view = View::Callers(regex::bytes::Regex::new(&exactly).ok()?);
    let limits = Limits { nodes: CALLERS, levels: usize::MAX };
    let tree = profile.tree(frames, By::Function, &view, limits);
    let mut out = Vec::new();
    write_tree(&tree, &profile.unit().to_str_lossy(), Style::Markdown, None, &mut out).ok()?;
    let text = String::from_utf8_lossy(&out).into_owned();
    (tree.weight > 0).then(|| text.trim_end().to_owned())
}

/// The most frames that a failed gate names.
const SHOWN: usize = 10;

impl Program for DiffArgs {
    const NAME: &'static str = "fg-diff";

    fn run(self) -> Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        let stdin = Path::new("-");
        if self.before == stdin && self.after == stdin {
            let problem = "standard input can be only one of the two profiles";
            return Err(Failure::Usage(problem.into()).into());
        }
        let inputs = [Input::open(&self.before)?, Input::open(&self.after)?];
        let names = inputs.each_ref().map(|input| input.name.clone());
        let output = Output::create(self.output.as_deref())?;
        let output_name = output.name.clone();
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut differ = Differ::new(self.config(), Writer::new(output, output_name.clone()));
        let [before, after] = inputs;
        let first = self.fold(before, &mut frames, &mut differ, &mut tally)?;
        differ.second();
        let second = self.fold(after, &mut frames, &mut differ, &mut tally)?;
        differ.count(&mut tally);
        let totals = differ.totals();
        if totals == [0, 0] && self.allow_empty {
            differ.into_inner().into_inner().commit()?;
            report(Self::NAME, self.quiet, &tally);
            return Ok(self.strict.done(Self::NAME, &tally));
        }
        if totals == [0, 0] {
            return Err(first.or(second).unwrap_or_else(|| nothing(&names)).into());
        }
        for (name, _) in names.iter().zip(totals).filter(|(_, total)| *total == 0) {
            if self.fail_above.is_some() {
                return Err(
                    Error::NoSamples { input: name.clone(), why: " to compare".into() }.into()
                );
            }
            if !self.quiet {
                let all = "has no samples: the output has only the stacks of the other profile";
                io::say(Self::NAME, format_args!("{name} {all}"));
            }
        }
        // Take the frames now, because the differ pushes its stacks when it is finished.
        let format = self.table();
        let wanted = format.is_some() || self.fail_above.is_some();
        let movers = wanted.then(|| differ.movers(&frames, self.scale()));
        let output = match (format, &movers) {
            (Some(format), Some(movers)) => {
                let most = self.top.unwrap_or(ROWS);
                let second = differ.second_profile(&mut frames)?;
                let callers = |mover: &Mover| callers(&second, &frames, &mover.name);
                let mut output = differ.into_inner().into_inner();
                let written = match format {
                    TableFormat::Text => movers.write_text(most, &mut output),
                    TableFormat::Json => movers.write_json(most, &mut output),
                    TableFormat::Openmetrics => movers.write_openmetrics(most, &mut output),
                    TableFormat::Md => {
                        movers.write_markdown(most, self.fail_above, callers, &mut output)
                    }
                };
                written.with_context(|| format!("cannot write {output_name}"))?;
                output
            }
            _ => {
                differ.finish(&mut frames, &mut tally)?;
                differ.into_inner().into_inner()
            }
        };
        output.commit()?;
        report(Self::NAME, self.quiet, &tally);
        match movers.map(|movers| self.gate(&movers)) {
            Some(Done::Gate) => Ok(Done::Gate),
            _ => Ok(self.strict.done(Self::NAME, &tally)),
        }
    }
}

/// The warning if both profiles have stacks but no weight.
fn nothing([before, after]: &[String; 2]) -> Error {
    Error::NoSamples { input: before.clone(), why: format!(": all weights are 0, as in {after}") }
}

/// A limit of `--fail-above`.
fn percent(text: &str) -> Result<f64> {
    let limit: f64 = text.parse().context("expected a number")?;
    anyhow::ensure!(limit.is_finite() && limit >= 0.0, "it must be 0 or more");
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_flags_mean_the_default() {
        DiffArgs::command().debug_assert();
        let config = |args: &[&str]| DiffArgs::parse_from([&["fg-diff"], args].concat()).config();
        assert_eq!(config(&["--absolute", "a", "b"]), Config::default());
        let shares = Config { normalize: true, ..Config::default() };
        assert_eq!(config(&["a", "b"]), shares);
        assert_eq!(config(&["-n", "-s", "a", "b"]), Config { strip_hex: true, ..shares });
    }
}
