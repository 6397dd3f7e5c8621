//! `fg-record`: what is typed, and what it means.
//!
//! [`RecordOptions`] is the part that `flamegraph` shares, under flamegraph 0.6.15's names and defaults.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, value_parser};

use super::io::{Output, say};
use super::script::BackendArg;
use super::{Done, Failure, Program, signals};
use crate::record::{Config, Destination, Ended, Notice, Workload, perf, recorder};

/// How to record.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recording")]
pub struct RecordOptions {
    /// Sampling frequency [default: 997]
    #[arg(short = 'F', long = "freq", value_name = "HZ", value_parser = value_parser!(u32).range(1..))]
    pub frequency: Option<u32>,

    /// Take a sample after so many events instead of at a frequency
    #[arg(long, value_name = "EVENTS", conflicts_with = "frequency", value_parser = value_parser!(u64).range(1..))]
    pub period: Option<u64>,

    /// Record this event, as perf spells it; may be repeated [default: processor time]
    #[arg(short = 'e', long = "event", value_name = "EVENT", value_parser = NonEmptyStringValueParser::new())]
    pub events: Vec<String>,

    /// How stacks are captured: auto, fp, lbr, dwarf or dwarf,BYTES [default: dwarf,64000]
    #[arg(long, value_name = "MODE")]
    pub call_graph: Option<String>,

    /// Record where threads are blocked, too, and for how long: Linux, without perf
    #[arg(long)]
    pub off_cpu: bool,

    /// Sample processors instead of threads, so that threads that live for less than a millisecond are seen, too: Linux, as root
    /// or with kernel.perf_event_paranoid at 0
    #[arg(long)]
    pub per_cpu: bool,

    /// Begin to record so many milliseconds after the workload
    #[arg(long, value_name = "MS")]
    pub delay: Option<u64>,

    /// End the recording after so many seconds, and COMMAND with it
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,

    /// Compress the recording, at zstd's LEVEL if given; without perf it is small anyway
    #[arg(short = 'z', long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "1")]
    pub compression_level: Option<u8>,

    /// perf's arguments, as shell words, or a dtrace script, instead of all that
    #[arg(short = 'c', long = "cmd", value_name = "ARGS")]
    pub custom_cmd: Option<String>,

    /// Run the recorder through sudo, with these flags of sudo's
    #[arg(long, value_name = "SUDO FLAGS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub root: Option<String>,

    /// Succeed whatever the workload's exit status
    #[arg(long)]
    pub ignore_status: bool,
}

impl RecordOptions {
    /// What is meant.
    ///
    /// # Errors
    /// Options that make no sense together.
    pub fn config(&self) -> Result<Config> {
        let usage = |problem: &str| Err(Failure::Usage(problem.into()).into());
        if self.custom_cmd.is_some() {
            if self.frequency.is_some() {
                return usage("Cannot pass both a custom command and a frequency.");
            }
            if !self.events.is_empty() || self.call_graph.is_some() {
                return usage("a custom command names its own events and call graphs");
            }
        }
        if self.off_cpu && !cfg!(target_os = "linux") {
            return usage("--off-cpu takes Linux");
        }
        let Some(root) =
            self.root.as_deref().map_or(Some(None), |flags| shlex::split(flags).map(Some))
        else {
            return usage("the flags of --root are not shell words");
        };
        let Ok(duration) = self.duration.map(Duration::try_from_secs_f64).transpose() else {
            return usage("--duration takes a number of seconds");
        };
        if duration.is_some_and(|duration| duration.is_zero()) {
            return usage("nothing can be recorded in a --duration of 0");
        }
        let usual = Config::default();
        let config = Config {
            frequency: self.frequency.unwrap_or(usual.frequency),
            period: self.period,
            delay: self.delay.map(Duration::from_millis),
            duration,
            events: self.events.clone(),
            call_graph: self.call_graph.clone().unwrap_or(usual.call_graph),
            off_cpu: self.off_cpu,
            per_cpu: self.per_cpu,
            compression: self.compression_level,
            custom: self.custom_cmd.clone(),
            root,
            ..usual
        };
        if cfg!(target_os = "linux")
            && let Err(error) = perf::custom_output(&config)
        {
            return usage(&error.to_string());
        }
        Ok(config)
    }

    /// What a recording that ended makes the program's exit status.
    pub fn done(&self, ended: &Ended) -> Done {
        if self.ignore_status { Done::Ok } else { Done::Workload(ended.status) }
    }
}

/// Records COMMAND, or what runs already, and streams the recording to standard output.
///
/// On Linux nothing but the kernel is needed, and the recording is a perf.data stream, or a perf.data file where it goes
/// to one; on macOS xctrace records, on Windows blondie or dtrace, elsewhere dtrace. fg-fold reads them all. While the
/// recording has standard output, what COMMAND prints there goes to standard error; with -o FILE it is left alone.
///
/// Recording was tested on Linux alone: for macOS and Windows it is compiled, and the command lines are tested.
#[derive(Debug, Parser)]
#[command(
    name = "fg-record",
    version,
    override_usage = "fg-record [OPTIONS] [--] COMMAND...\n       fg-record [OPTIONS] -p PID,...",
    after_help = "\
Exit status: that of COMMAND, 128 + n if signal n killed it; 0 with -p, and if --duration ended it; 1 if nothing could be recorded; 2 usage.
Environment: PERF, XCTRACE and DTRACE name the profiler's program.
Memory: on Linux 4 MB for each CPU, and the maps of the processes; the stream is passed on as it comes, with up to 128 MB of stacks in between \
where it is read slowly.
If a stack is larger than the bytes that are copied, the rest is read from the memory of the program while it still runs.

Example: fg-record ./server --port 80 | fg-fold | fg-render > flamegraph.svg"
)]
pub struct RecordArgs {
    /// Record these running processes, until they end or Ctrl-C
    #[arg(short, long, value_name = "PID,...", value_delimiter = ',', conflicts_with = "command")]
    pid: Vec<u32>,

    /// Record everything on this machine, until Ctrl-C
    #[arg(short, long = "all-cpus", conflicts_with = "pid")]
    all_cpus: bool,

    /// Write the recording to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Who records on Linux: flamepipe itself, or the perf program, which -c and a set PERF ask for too
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = BackendArg::Native)]
    backend: BackendArg,

    /// Record copied stacks as they are, as perf would: 64 KB a sample instead of a quarter
    #[arg(long)]
    raw_stacks: bool,

    /// Write the names of the kernel's functions into the recording, for readers who may not see its addresses
    #[arg(long)]
    kernel_symbols: bool,

    /// Be guided by another process through two FIFOs, as perf
    #[arg(long, value_name = "COMMANDS,ANSWERS", hide = true)]
    control: Option<String>,

    /// Show the command lines that run
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// The program to record, with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present_any = ["pid", "all_cpus"])]
    command: Vec<OsString>,

    #[command(flatten)]
    record: RecordOptions,
}

/// Says what a recorder tells: command lines only if asked.
pub(super) fn teller(name: &'static str, verbose: bool, quiet: bool) -> impl FnMut(Notice<'_>) {
    move |notice| match notice {
        _ if quiet => {}
        Notice::Line(line) if verbose => say(name, format_args!("{line}")),
        Notice::Line(_) => {}
        Notice::Change(change) => say(name, format_args!("{change}")),
    }
}

/// Why `-a` takes no command: perf runs one, which most often is a sleep, and records until it ends.
fn no_command(command: &[OsString]) -> String {
    let seconds = match command {
        [program, seconds] if program == "sleep" => seconds.to_str(),
        _ => None,
    };
    let seconds = seconds.and_then(|seconds| seconds.parse::<f64>().ok());
    match seconds {
        Some(seconds) => format!(
            "-a records everything and runs no command: -a --duration {seconds} records for {seconds} seconds"
        ),
        None => "-a records everything and runs no command: record that alone, without -a, or start it beside -a \
             --duration SECONDS"
            .into(),
    }
}

impl RecordArgs {
    fn workload(&self) -> Workload {
        if self.all_cpus {
            Workload::System
        } else if self.pid.is_empty() {
            Workload::Command(self.command.clone())
        } else {
            Workload::Pids(self.pid.clone())
        }
    }
}

impl Program for RecordArgs {
    const NAME: &'static str = "fg-record";

    fn run(self) -> Result<Done> {
        if self.all_cpus && !self.command.is_empty() {
            return Err(Failure::Usage(no_command(&self.command)).into());
        }
        let (workload, mut config) = (self.workload(), self.record.config()?);
        (config.backend, config.raw_stacks) = (self.backend.into(), self.raw_stacks);
        config.kernel_symbols = self.kernel_symbols;
        let control = self.control.as_ref().and_then(|fifos| fifos.split_once(','));
        config.control = control.map(|(commands, answers)| (commands.into(), answers.into()));
        let mut tell = teller(Self::NAME, self.verbose, self.quiet);
        let mut record = |to: Destination<'_>| {
            signals::left_to(|| recorder().record(&workload, &config, to, &mut tell))
        };
        if cfg!(target_os = "linux")
            && let Some(file) = perf::custom_output(&config)?
        {
            if self.output.is_some() {
                let problem = format!("the custom command records to {} already", file.display());
                return Err(Failure::Usage(problem).into());
            }
            return Ok(self.record.done(&record(Destination::File(&file))?));
        }
        let mut output = Output::create_binary(self.output.as_deref())?;
        let ended = match output.file().map(ToOwned::to_owned) {
            Some(file) => record(Destination::File(&file))?,
            None => record(Destination::Stdout(&mut output))?,
        };
        output.commit()?;
        Ok(self.record.done(&ended))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<RecordArgs, clap::Error> {
        RecordArgs::try_parse_from(std::iter::once("fg-record").chain(line.split(' ')))
    }

    fn config(line: &str) -> Result<Config> {
        parse(line)?.record.config()
    }

    fn command(words: &str) -> Workload {
        Workload::Command(words.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn the_command_is_sound() {
        RecordArgs::command().debug_assert();
    }

    #[test]
    fn no_flags_are_the_default() {
        assert_eq!(config("./bin").unwrap(), Config::default());
    }

    #[test]
    fn commands_work_with_and_without_dashes() {
        for line in ["./bin --flag -F 1", "-- ./bin --flag -F 1", "-F 99 -v -- ./bin --flag -F 1"] {
            assert_eq!(parse(line).unwrap().workload(), command("./bin --flag -F 1"), "{line}");
        }
        assert_eq!(parse("./bin -- x").unwrap().workload(), command("./bin -- x"));
        assert!(parse("--no-such-flag ./bin").is_err());
    }

    #[test]
    fn processes_come_with_commas() {
        assert_eq!(parse("-p 1,2").unwrap().workload(), Workload::Pids(vec![1, 2]));
        assert_eq!(parse("-a").unwrap().workload(), Workload::System);
        for line in ["-p 1 ./bin", "-a -p 1", "-v", "-p x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_command_as_a_length_of_time_is_explained() {
        let said = |line: &str| no_command(&parse(line).unwrap().command);
        assert!(said("-a -- sleep 10").ends_with("-a --duration 10 records for 10 seconds"));
        assert!(said("-a sleep 0.5").contains("--duration 0.5 "));
        assert!(said("-a ./bin").contains("without -a"));
    }

    #[test]
    fn optional_values() {
        assert_eq!(config("-z -- ./bin").unwrap().compression, Some(1));
        assert_eq!(config("-z 3 ./bin").unwrap().compression, Some(3));
        assert_eq!(config("--root ./bin").unwrap().root, Some(vec![]));
        let flags = Some(vec!["-E".into(), "-u".into()]);
        assert_eq!(
            parse("--root=-E ./bin").unwrap().record.config().unwrap().root,
            Some(vec!["-E".into()])
        );
        let spaced = RecordArgs::try_parse_from(["fg-record", "--root=-E -u", "x"]).unwrap();
        assert_eq!(spaced.record.config().unwrap().root, flags);
    }

    #[test]
    fn a_custom_command_stands_alone() {
        let problem = config("-c record -F 9 ./bin").unwrap_err().to_string();
        assert_eq!(problem, "Cannot pass both a custom command and a frequency.");
        assert!(config("-c record -e cycles ./bin").is_err());
        // Elsewhere it is a script of dtrace's.
        assert_eq!(config("-c ' ./bin").is_err(), cfg!(target_os = "linux"), "an open quote");
    }

    #[test]
    fn what_records_nothing_is_refused() {
        for line in ["-F 0 x", "--period 0 x", "--duration 0 x", "--duration nan x", "-e= x"] {
            assert!(config(line).is_err(), "{line}");
        }
        // Elsewhere it is a script of dtrace's.
        assert_eq!(config("--cmd= x").is_err(), cfg!(target_os = "linux"));
    }

    #[test]
    fn the_status_is_the_workloads() {
        let ended = Ended { status: 7, interrupted: false, elsewhere: None };
        let done = |line| parse(line).unwrap().record.done(&ended);
        assert_eq!(done("x"), Done::Workload(7));
        assert_eq!(done("--ignore-status x"), Done::Ok);
    }
}
