//! The flags that select samples. They mean what they mean to `perf script`: lists of exact names
//! and numbers.
//!
//! They become the same [`Predicate`]s as fg-filter's flags, which take expressions instead.

use std::ops::RangeInclusive;

use clap::Args;
use regex::bytes::Regex;

use super::filter_args::{cpus, some, time};
use crate::error::Error;
use crate::filter::{Config, Pattern, Predicate};

/// The flags that select samples. All must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Select samples")]
pub(crate) struct Select {
    /// Only threads with these names
    #[arg(short, long, alias = "comms", value_name = "COMM,…", value_delimiter = ',')]
    comm: Vec<String>,
    /// Only these processes
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Only these threads
    #[arg(long, value_name = "TID,…", value_delimiter = ',')]
    tid: Vec<u32>,
    /// Only these CPUs: 0-3,5
    #[arg(short = 'C', long, value_name = "CPU,…", value_delimiter = ',', value_parser = cpus)]
    cpu: Vec<RangeInclusive<u32>>,
    /// Only these events; a name without modifiers matches with all of them, so cycles selects
    /// cycles:u, too
    #[arg(long, value_name = "EVENT,…")]
    event: Vec<String>,
    /// Only this range of time, in seconds as in the text; both ends are included, and either may
    /// be omitted. Separate several ranges with blanks
    #[arg(long, value_name = "FROM,TO", value_delimiter = ' ', value_parser = time)]
    time: Vec<RangeInclusive<u64>>,
}

impl Select {
    /// The predicate; `None` if everything is wanted.
    pub(crate) fn config(self) -> Result<Option<Config>, Error> {
        let comm = self.comm.into_iter().map(Pattern::Exact).collect();
        let names = self.event.iter().flat_map(|list| events(list));
        let event = names.map(with_modifiers).collect::<Result<_, _>>()?;
        let all: Vec<Predicate> = [
            some(comm, Predicate::Comm),
            some(self.pid, Predicate::Pid),
            some(self.tid, Predicate::Tid),
            some(self.cpu, Predicate::Cpu),
            some(event, Predicate::Event),
            some(self.time, Predicate::Time),
        ]
        .into_iter()
        .flatten()
        .collect();
        let keep = Config { keep: Predicate::All(all), edits: Vec::new() };
        Ok((!keep.keeps_everything()).then_some(keep))
    }

    /// Whether the processes of samples must be known.
    pub(crate) fn asks_for_pids(&self) -> bool {
        !self.pid.is_empty()
    }
}

/// Matches the event `name`, with or without `:u`, `:ppp` and the like.
fn with_modifiers(name: &str) -> Result<Pattern, Error> {
    let pattern = format!(r"\A{}(:[A-Za-z]{{1,8}})?\z", regex::escape(name));
    Ok(Regex::new(&pattern)?.into())
}

/// Splits a list of events. Commas between slashes belong to a name: `cpu/event=0x3c,umask=0/`.
fn events(list: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    list.split(move |c: char| {
        inside ^= c == '/';
        c == ',' && !inside
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn config(flags: &[&str]) -> Option<Config> {
        let command = Select::augment_args(clap::Command::new("x").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).unwrap();
        Select::from_arg_matches(&matches).unwrap().config().unwrap()
    }

    #[test]
    fn no_flags_keep_everything() {
        assert!(config(&[]).is_none());
        assert!(config(&["--pid", "1"]).is_some());
    }

    #[test]
    fn lists_are_those_of_perf() {
        let flags = ["--comms", "a.b,c", "-C", "0-3,5", "--time", "1,2 3,", "--event", "x/a,b/,y"];
        let shown = format!("{:?}", config(&flags).unwrap().keep);
        let wanted = r#"All([Comm([Exact("a.b"), Exact("c")]), Cpu([0..=3, 5..=5]), "#;
        assert!(shown.starts_with(wanted), "{shown}");
        assert!(shown.contains("Time([1000000000..=2000000000, 3000000000..="), "{shown}");
        assert!(shown.contains(r#"Regex("\\Ax/a,b/("#) && shown.contains(r#"\\Ay("#), "{shown}");
    }

    #[test]
    fn events_match_with_any_modifiers() {
        let events: Vec<Pattern> =
            ["cycles", "sched:sched_switch"].map(|name| with_modifiers(name).unwrap()).into();
        for (event, wanted) in [
            ("cycles", true),
            ("cycles:ppp", true),
            ("cycles-ct", false),
            ("sched:sched_switch", true),
            ("sched:sched_wakeup", false),
        ] {
            assert_eq!(events.iter().any(|p| p.is_match(event.as_bytes())), wanted, "{event}");
        }
    }
}
