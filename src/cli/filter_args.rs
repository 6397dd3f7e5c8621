//! The flags that say what to keep of a profile and how to edit its stacks. They become a
//! [`Config`].

use std::ops::RangeInclusive;

use anyhow::Context;
use clap::{Args, ValueEnum};
use regex::bytes::Regex;

use crate::error::Error;
use crate::filter::{Config, Edit, Pattern, Predicate, Preset};
use crate::script::nanoseconds;

/// The flags for keeping and editing.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Rules {
    /// Which items stay
    #[command(flatten)]
    pub(crate) keep: Keep,
    /// How their stacks are edited
    #[command(flatten)]
    pub(crate) edit: EditStacks,
}

/// Which items stay.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Keep and drop")]
pub(crate) struct Keep {
    /// Keep what matches EXPR, such as 'frame std::* and not comm web'; see Expressions below
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) keep_where: Vec<Predicate>,
    /// Keep stacks that have a matching frame
    #[arg(long, value_name = "REGEX")]
    pub(crate) keep: Vec<Regex>,
    /// Drop stacks that have a matching frame
    #[arg(long, value_name = "REGEX")]
    pub(crate) drop: Vec<Regex>,
    /// Keep threads whose name matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) comm: Vec<Regex>,
    /// Drop threads whose name matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) drop_comm: Vec<Regex>,
    /// Keep stacks that have a frame in a matching module, the mapped file
    #[arg(long, value_name = "REGEX")]
    pub(crate) module: Vec<Regex>,
    /// Drop stacks that have a frame in a matching module
    #[arg(long, value_name = "REGEX")]
    pub(crate) drop_module: Vec<Regex>,
    /// Keep samples whose event matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) event: Vec<Regex>,
    /// Drop samples whose event matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) drop_event: Vec<Regex>,
    /// Keep these processes
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Drop these processes
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pub(crate) drop_pid: Vec<u32>,
    /// Keep these threads
    #[arg(long, value_name = "TID,…", value_delimiter = ',')]
    pub(crate) tid: Vec<u32>,
    /// Drop these threads
    #[arg(long, value_name = "TID,…", value_delimiter = ',')]
    pub(crate) drop_tid: Vec<u32>,
    /// Keep samples of these CPUs: 0-3,5
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = cpus)]
    pub(crate) cpu: Vec<RangeInclusive<u32>>,
    /// Drop samples of these CPUs
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = cpus)]
    pub(crate) drop_cpu: Vec<RangeInclusive<u32>>,
    /// Keep this range of time, in seconds as in the script text; both ends are included, and
    /// either may be omitted
    #[arg(long, value_name = "FROM,TO", value_delimiter = ' ', value_parser = time)]
    pub(crate) time: Vec<RangeInclusive<u64>>,
    /// Drop this range of time
    #[arg(long, value_name = "FROM,TO", value_delimiter = ' ', value_parser = time)]
    pub(crate) drop_time: Vec<RangeInclusive<u64>>,
}

/// How stacks are edited.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Edit stacks")]
pub(crate) struct EditStacks {
    /// Remove the runtime frames of these libraries from stacks of Rust programs
    #[arg(long, value_enum, value_name = "LIBRARY,…", value_delimiter = ',')]
    pub(crate) preset: Vec<PresetArg>,
    /// Remove the hash from legacy Rust names such as core::fmt::write::h0123456789abcdef
    #[arg(long)]
    pub(crate) strip_hashes: bool,
    /// Replace each match in the names of frames; $1 or ${name} inserts a group. Write [=] for an
    /// equals sign in REGEX. A frame whose name becomes empty is removed
    #[arg(long, value_name = "REGEX=TEXT", value_parser = rename)]
    pub(crate) rename: Vec<Rename>,
    /// Merge adjacent frames that match EXPR into one frame NAME; EXPR may test only frame, module
    /// and kind
    #[arg(long, value_name = "NAME=EXPR", value_parser = group)]
    pub(crate) group: Vec<Edit>,
    /// Remove matching frames; their weight goes to their callers
    #[arg(long, value_name = "REGEX")]
    pub(crate) hide: Vec<Regex>,
    /// Remove frames that match EXPR
    #[arg(long, value_name = "EXPR", value_parser = about_frames)]
    pub(crate) hide_where: Vec<Predicate>,
    /// Make the matching frame the root; drop stacks without one
    #[arg(long, value_name = "REGEX")]
    pub(crate) root_at: Vec<Regex>,
    /// Like --root-at, but with an expression: 'module *libssl*'
    #[arg(long, value_name = "EXPR", value_parser = about_frames)]
    pub(crate) root_at_where: Vec<Predicate>,
    /// Remove the callers of the matching frame, below it; stacks without one stay whole
    #[arg(long, value_name = "REGEX")]
    pub(crate) cut_below: Vec<Regex>,
    /// Like --cut-below, but with an expression
    #[arg(long, value_name = "EXPR", value_parser = about_frames)]
    pub(crate) cut_below_where: Vec<Predicate>,
    /// Remove the callees of the matching frame, above it; their weight goes to the frame
    #[arg(long, value_name = "REGEX")]
    pub(crate) cut_above: Vec<Regex>,
    /// Like --cut-above, but with an expression: 'kind kernel'
    #[arg(long, value_name = "EXPR", value_parser = about_frames)]
    pub(crate) cut_above_where: Vec<Predicate>,
    /// Merge direct recursion into one frame: a;f;f;b becomes a;f;b
    #[arg(long)]
    pub(crate) collapse_recursion: bool,
}

/// A `--preset`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PresetArg {
    /// Start of programs and threads
    Std,
    /// Scheduler
    Tokio,
    /// Joins and bridges
    Rayon,
    /// Polls; async closures get the name of their function
    Async,
    /// Harness
    Criterion,
    /// Harness
    Divan,
    /// Harness of tests and benchmarks
    Libtest,
}

impl From<PresetArg> for Preset {
    fn from(preset: PresetArg) -> Preset {
        match preset {
            PresetArg::Std => Preset::Std,
            PresetArg::Tokio => Preset::Tokio,
            PresetArg::Rayon => Preset::Rayon,
            PresetArg::Async => Preset::Async,
            PresetArg::Criterion => Preset::Criterion,
            PresetArg::Divan => Preset::Divan,
            PresetArg::Libtest => Preset::Libtest,
        }
    }
}

fn about_frames(text: &str) -> Result<Predicate, Error> {
    text.parse::<Predicate>()?.about_frames()
}

fn group(text: &str) -> anyhow::Result<Edit> {
    let (name, which) = text.split_once('=').context("expected NAME=EXPR")?;
    Ok(Edit::group(name.as_bytes(), which.parse()?)?)
}

/// A `--rename`.
#[derive(Clone, Debug)]
pub(crate) struct Rename(Regex, String);

fn rename(text: &str) -> anyhow::Result<Rename> {
    let (pattern, to) = text.split_once('=').context("expected REGEX=TEXT")?;
    let rename = Rename(Regex::new(pattern)?, to.into());
    Edit::rename(rename.0.clone(), rename.1.as_bytes())?;
    Ok(rename)
}

/// `5` or `0-3`.
pub(super) fn cpus(text: &str) -> anyhow::Result<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let cpu =
        |text: &str| text.parse().with_context(|| format!("{text:?} is not the number of a CPU"));
    let range = cpu(first)?..=cpu(last)?;
    anyhow::ensure!(!range.is_empty(), "the range ends before it begins");
    Ok(range)
}

/// `12.5,13` in nanoseconds.
pub(super) fn time(text: &str) -> anyhow::Result<RangeInclusive<u64>> {
    let (from, to) = text.split_once(',').context("expected FROM,TO")?;
    let end = |text: &str, open| match text {
        "" => Ok(open),
        _ => nanoseconds(text.as_bytes())
            .with_context(|| format!("{text:?} is not a time in seconds")),
    };
    let range = end(from, 0)?..=end(to, u64::MAX)?;
    anyhow::ensure!(!range.is_empty(), "the range ends before it begins");
    Ok(range)
}

impl Rules {
    pub(crate) fn config(self) -> Result<Config, Error> {
        Ok(Config { keep: self.keep.predicate(), edits: self.edit.edits()? })
    }
}

impl Keep {
    fn predicate(self) -> Predicate {
        let mut all = Vec::new();
        let mut add = |keep: Option<Predicate>, drop: Option<Predicate>| {
            all.extend(keep);
            all.extend(drop.map(|drop| Predicate::Not(Box::new(drop))));
        };
        add(any(self.keep_where), None);
        add(names(self.keep, Predicate::Frame), names(self.drop, Predicate::Frame));
        add(names(self.comm, Predicate::Comm), names(self.drop_comm, Predicate::Comm));
        add(names(self.module, Predicate::Module), names(self.drop_module, Predicate::Module));
        add(names(self.event, Predicate::Event), names(self.drop_event, Predicate::Event));
        add(some(self.pid, Predicate::Pid), some(self.drop_pid, Predicate::Pid));
        add(some(self.tid, Predicate::Tid), some(self.drop_tid, Predicate::Tid));
        add(some(self.cpu, Predicate::Cpu), some(self.drop_cpu, Predicate::Cpu));
        add(some(self.time, Predicate::Time), some(self.drop_time, Predicate::Time));
        Predicate::All(all)
    }
}

impl EditStacks {
    /// The edits, in the order of `--help`, in whatever order they were typed.
    fn edits(self) -> Result<Vec<Edit>, Error> {
        let mut edits = Vec::new();
        for preset in self.preset {
            edits.extend(Preset::from(preset).edits()?);
        }
        if self.strip_hashes {
            edits.push(Edit::strip_hashes()?);
        }
        for Rename(pattern, to) in self.rename {
            edits.push(Edit::rename(pattern, to.as_bytes())?);
        }
        edits.extend(self.group);
        edits.extend(frames(self.hide, self.hide_where).map(Edit::Hide));
        edits.extend(frames(self.root_at, self.root_at_where).map(Edit::RootAt));
        edits.extend(frames(self.cut_below, self.cut_below_where).map(Edit::CutBelow));
        edits.extend(frames(self.cut_above, self.cut_above_where).map(Edit::CutAbove));
        edits.extend(self.collapse_recursion.then_some(Edit::CollapseRecursion));
        Ok(edits)
    }
}

/// The frames that an edit is about, if one of its two flags was typed.
fn frames(names: Vec<Regex>, wheres: Vec<Predicate>) -> Option<Predicate> {
    let names = self::names(names, Predicate::Frame);
    any(wheres.into_iter().chain(names).collect())
}

/// A predicate that holds if one of these does; `None` if there are none.
fn any(questions: Vec<Predicate>) -> Option<Predicate> {
    match <[Predicate; 1]>::try_from(questions) {
        Ok([only]) => Some(only),
        Err(several) => some(several, Predicate::Any),
    }
}

/// The predicate of a flag with expressions for names, if it was typed.
fn names(values: Vec<Regex>, meaning: fn(Vec<Pattern>) -> Predicate) -> Option<Predicate> {
    some(values.into_iter().map(Pattern::from).collect(), meaning)
}

/// The predicate of a flag, if it was typed.
pub(super) fn some<T, M>(values: Vec<T>, meaning: impl FnOnce(Vec<T>) -> M) -> Option<M> {
    (!values.is_empty()).then(|| meaning(values))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn config(flags: &[&str]) -> Config {
        let command = Rules::augment_args(clap::Command::new("x").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).unwrap();
        Rules::from_arg_matches(&matches).unwrap().config().unwrap()
    }

    #[test]
    fn no_flags_are_the_default() {
        assert_eq!(format!("{:?}", config(&[])), format!("{:?}", Config::default()));
        assert!(config(&[]).keeps_everything());
        assert!(!config(&["--collapse-recursion"]).keeps_everything());
        assert!(!config(&["--pid", "1"]).keeps_everything());
    }

    #[test]
    fn flags_become_a_predicate_and_edits_in_a_fixed_order() {
        let config = config(&[
            "--cut-above=c",
            "--rename=a=b=c",
            "--strip-hashes",
            "--keep=x",
            "--keep=-y",
            "--drop-pid=1,2",
            "--drop-pid=3",
        ]);
        let shown = format!("{config:?}");
        assert!(
            shown.contains(
                r#"All([Frame([Regex(Regex("x")), Regex(Regex("-y"))]), Not(Pid([1, 2, 3]))])"#
            ),
            "{shown}"
        );
        let [Edit::Rename(..), Edit::Rename(a, b), Edit::CutAbove(_)] = &config.edits[..] else {
            panic!("{shown}");
        };
        assert_eq!((a.as_str(), &b[..]), ("a", &b"b=c"[..]));
    }

    #[test]
    fn cpus_are_numbers_or_ranges() {
        assert_eq!((cpus("5").unwrap(), cpus("0-3").unwrap()), (5..=5, 0..=3));
        for text in ["", "-", "3-", "-3", "3-1", "x", "1-2-3"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(time("1.5,2").unwrap(), 1_500_000_000..=2_000_000_000);
        assert_eq!(time(",0.000000001").unwrap(), 0..=1);
        assert_eq!(time("12345.678901,").unwrap(), 12_345_678_901_000..=u64::MAX);
        for text in ["", "1", "2,1", "a,", "-1,", "1.,2", "1e3,", "1,2,3", "99999999999999999999,"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
