//! `fg-top`: a profile as text.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Parser, ValueEnum};
use regex::bytes::Regex;

use super::folding::{FoldedInputs, FoldingArgs, fold_inputs, write_report};
use super::io::{Output, report};
use super::logger;
use super::program::{Done, Failure, Program};
use super::script::ReadingArgs;
use super::strict::StrictArgs;
use crate::fold::{self};
use crate::input::{self};
use crate::top::{By, Limits, Style, Top, View, write_functions, write_tree};

/// Print the heaviest functions of a profile, who calls them, or what they call.
///
/// Reads whatever fg-fold reads: perf.data, perf-script text, folded stacks, graphs, and the
/// formats of other profilers.
///
/// The self weight of a function is that of the stacks that end in it. Its total is that of all
/// stacks that contain it. If the input is a differential, its second profile is printed.
///
/// --callers, --callees and --tree merge stacks where they share frames, and print the heaviest
/// nodes of the tree. A chain of nodes without branches takes one line. Percentages are those of
/// the whole profile. The last line of a table, and of each level of a tree, sums up what is left
/// out.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fg-top",
    version,
    after_help = "Examples:\n  \
      fg-top perf.data                          the heaviest functions\n  \
      fg-top --callers '^malloc$' app.folded    who calls malloc\n  \
      fg-record ./app | fg-top --tree           where the time goes, from the roots\n  \
      fg-top --by crate --format md app.svg     a table for a pull request\n\
      Memory: the distinct stacks, 4 bytes for each of their frames and 8 for each weight."
)]
pub struct TopArgs {
    /// Profiles, which are added up; `-` is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print at most N functions or nodes
    #[arg(short = 'n', long, value_name = "N", default_value_t = 30)]
    lines: usize,

    /// Sort functions by total instead of self weight
    #[arg(long, conflicts_with = "view")]
    total: bool,

    /// Print the callers of functions whose names match REGEX
    #[arg(long, value_name = "REGEX", group = "view")]
    callers: Option<Regex>,

    /// Print the callees of functions whose names match REGEX
    #[arg(long, value_name = "REGEX", group = "view")]
    callees: Option<Regex>,

    /// Print the heaviest paths from the roots
    #[arg(long, group = "view")]
    tree: bool,

    /// Print at most N levels of a tree
    #[arg(long, value_name = "N", requires = "view")]
    depth: Option<usize>,

    /// What to sum up
    #[arg(long, value_enum, default_value = "function")]
    by: ByWhat,

    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: TextFormat,

    #[command(flatten)]
    folding: FoldingArgs,

    #[command(flatten)]
    reading: ReadingArgs,

    /// Write to FILE, which is replaced only once the output is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    strict: StrictArgs,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,

    /// Show which files the names are read from
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// What `--by` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ByWhat {
    /// Functions by name.
    Function,
    /// The crates or namespaces of functions; the modules of frames without a name.
    Crate,
    /// The files that hold functions: programs, libraries, the kernel. Folded stacks have none.
    Module,
    /// Threads by name.
    Thread,
    /// Kernel, program, generated code, frames without a name.
    Kind,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TextFormat {
    /// Columns.
    Text,
    /// Markdown.
    Md,
    /// JSON: unit, total, and functions or nodes.
    Json,
}

impl TopArgs {
    fn by(&self) -> By {
        match self.by {
            ByWhat::Function => By::Function,
            ByWhat::Crate => By::Crate,
            ByWhat::Module => By::Module,
            ByWhat::Thread => By::Thread,
            ByWhat::Kind => By::Kind,
        }
    }

    fn style(&self) -> Style {
        match self.format {
            TextFormat::Text => Style::Text,
            TextFormat::Md => Style::Markdown,
            TextFormat::Json => Style::Json,
        }
    }

    fn view(&self) -> Option<View> {
        let callers = self.callers.clone().map(View::Callers);
        let callees = self.callees.clone().map(View::Callees);
        callers.or(callees).or(self.tree.then_some(View::Paths))
    }

    fn fold(&self) -> Result<FoldedInputs<Top>> {
        let mut folding = self.folding.config();
        let is_below = folding.by_event || folding.cpu || !folding.skip_after.is_empty();
        if matches!(self.by, ByWhat::Thread | ByWhat::Module) && is_below {
            let problem = format!(
                "--by {} needs the threads as roots: omit --skip-after, --event-filter all, and cpu and \
                 event in --split",
                self.by().noun()
            );
            return Err(Failure::Usage(problem).into());
        }
        if matches!(self.by, ByWhat::Crate | ByWhat::Kind) {
            folding = fold::Config { kernel: true, jit: true, ..folding };
        }
        folding.modules = matches!(self.by, ByWhat::Module);
        let config = input::Config {
            script: self.reading.config(),
            threads: input::threads(),
            ..input::Config::default()
        };
        let top = Top::default();
        fold_inputs(Self::NAME, self.quiet, &self.files, &config, folding, top)
    }
}

impl Program for TopArgs {
    const NAME: &'static str = "fg-top";

    fn run(self) -> Result<Done> {
        logger::install(Self::NAME, self.quiet, self.verbose);
        let mut output = Output::create(self.output.as_deref())?;
        let quality = self.folding.open_report()?;
        let FoldedInputs { sink: top, frames, tally } = self.fold()?;
        if top.is_differential() {
            log::warn!(
                "the input compares two profiles: printing the second \
                 (fg-diff --top 20 BEFORE AFTER prints what changed)"
            );
        }
        let is_marked = |frame| frames.symbol(frame).ends_with(b"_[k]");
        if matches!(self.by, ByWhat::Kind)
            && tally.folded_before > 0
            && !frames.ids().any(is_marked)
        {
            log::warn!(
                "no function is marked as the kernel's: if the stacks hold some, they count as the \
                 program's (fold the recording with fg-fold --all, or let fg-top read the recording)"
            );
        }
        if matches!(self.by, ByWhat::Module) && tally.folded_before > 0 {
            log::warn!(
                "stacks that are folded already have no modules: their functions are listed instead (let \
                 fg-top read the recording)"
            );
        }
        let unit = top.unit().to_string();
        let width = if self.output.is_none() { super::io::terminal_width() } else { None };
        let written = match self.view() {
            None => {
                let mut functions = top.functions(&frames, self.by());
                if self.total {
                    functions.by_total();
                }
                write_functions(&functions, &unit, self.style(), self.lines, width, &mut output)
            }
            Some(view) => {
                let levels = self.depth.unwrap_or(usize::MAX);
                let limits = Limits { nodes: self.lines, levels };
                let tree = top.tree(&frames, self.by(), &view, limits);
                if tree.weight == 0 {
                    bail!(
                        "no {} of the profile matches (fg-top without --callers and --callees prints the names)",
                        self.by().noun()
                    );
                }
                write_tree(&tree, &unit, self.style(), width, &mut output)
            }
        };
        written.with_context(|| format!("cannot write {}", output.name))?;
        output.commit()?;
        write_report(quality, &tally)?;
        report(Self::NAME, self.quiet, &tally);
        Ok(self.strict.done(Self::NAME, &tally))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn one_view_at_a_time() {
        TopArgs::command().debug_assert();
        let is_taken = |line: &str| TopArgs::try_parse_from(line.split(' ')).is_ok();
        assert!(is_taken("fg-top --callers ^f$ --depth 3 x"));
        assert!(!is_taken("fg-top --callers f --tree"));
        assert!(!is_taken("fg-top --callers ("));
        assert!(!is_taken("fg-top --depth 3"));
        assert!(!is_taken("fg-top --tree --total"));
    }
}
