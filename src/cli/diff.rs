//! `fg-diff`: two files of folded stacks in, one with both weights out.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{ArgAction, Parser};

use super::io::{self, Input, Output};
use super::logger;
use super::program::{Done, Failure, Program, report};
use crate::diff::{Config, Differ};
use crate::error::Error;
use crate::folded::{self, FoldedSink, Writer};
use crate::sample::FrameTable;
use crate::tally::Tally;

/// Compares two profiles: folded stacks with both weights, for a differential flame graph.
///
/// `fg-diff before.folded after.folded | fg-render > diff.svg` draws frames as wide as they are in the second profile,
/// red where they weigh more than in the first, blue where less. Stacks that vanished have no width there: draw
/// `fg-diff after.folded before.folded | fg-render --negate` too.
///
/// The output is sorted by frames. Memory grows with the distinct stacks of both profiles, not with their length.
#[derive(Debug, Parser)]
#[command(name = "fg-diff", version)]
pub struct DiffArgs {
    /// The first profile, folded stacks; `-` is standard input
    #[arg(value_name = "PATH1")]
    pub before: PathBuf,

    /// The second profile
    #[arg(value_name = "PATH2")]
    pub after: PathBuf,

    /// Scale the first profile to the total of the second
    #[arg(short, long)]
    pub normalize: bool,

    /// Replace hexadecimal numbers (addresses) by 0x...
    #[arg(short, long)]
    pub strip_hex: bool,

    /// Write to this file, which is replaced only once it is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Exit with 3 if something in the input was skipped
    #[arg(long)]
    pub strict: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more (-v, -vv, -vvv)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

impl DiffArgs {
    /// What was meant.
    pub fn config(&self) -> Config {
        Config { normalize: self.normalize, strip_hex: self.strip_hex }
    }
}

impl Program for DiffArgs {
    const NAME: &'static str = "fg-diff";

    fn run(self) -> Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        let stdin = Path::new("-");
        if self.before == stdin && self.after == stdin {
            let problem = "standard input can be one of the two profiles, not both";
            return Err(Failure::Usage(problem.into()).into());
        }
        let inputs = [Input::open(&self.before)?, Input::open(&self.after)?];
        let names = inputs.each_ref().map(|input| input.name.clone());
        let output = Output::create(self.output.as_deref())?;
        let output_name = output.name.clone();
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        let mut differ = Differ::new(self.config(), Writer::new(output, output_name));
        for (i, input) in inputs.into_iter().enumerate() {
            if i == 1 {
                differ.second();
            }
            let reader = BufReader::with_capacity(1 << 16, input.reader);
            folded::read(reader, &input.name, &mut frames, &mut differ, &mut tally)?;
        }
        let totals = differ.totals();
        if totals == [0, 0] {
            return Err(nothing(&names, &tally).into());
        }
        for (name, _) in names.iter().zip(totals).filter(|(_, total)| *total == 0 && !self.quiet) {
            io::say(Self::NAME, format_args!("{name} has no samples: all stacks are the other's"));
        }
        differ.finish(&mut frames, &mut tally)?;
        differ.into_inner().into_inner().commit()?;
        report(Self::NAME, self.quiet, &tally);
        Ok(Done::strict(self.strict, &tally))
    }
}

/// Why there is nothing to compare.
fn nothing([before, after]: &[String; 2], tally: &Tally) -> Error {
    let input = format!("{before}, like {after},");
    match (tally.read.items, tally.example()) {
        (0, Some(_)) => Error::Format { input, expected: "folded stacks (`main;f 42`)".into() },
        (0, None) => Error::Empty { input },
        _ => Error::NoSamples { input, why: ": all weights are 0".into() },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_flags_mean_the_default() {
        DiffArgs::command().debug_assert();
        let config = |args: &[&str]| DiffArgs::parse_from([&["fg-diff"], args].concat()).config();
        assert_eq!(config(&["a", "b"]), Config::default());
        assert_eq!(config(&["-n", "-s", "a", "b"]), Config { normalize: true, strip_hex: true });
    }
}
