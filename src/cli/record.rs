//! `fg-record`: records programs.
//!
//! [`RecordOptions`] is the part that `flamegraph` shares, with the names and defaults of
//! flamegraph 0.6.15.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, value_parser};

use super::io::{Output, report, say};
use super::{Done, Failure, Program, logger, signals};
use crate::backend::Backend;
use crate::record::{Config, Destination, Ended, Notice, Workload, perf, recorder};

/// How to record.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recording")]
pub(crate) struct RecordOptions {
    /// Sampling frequency [default: 997]
    #[arg(short = 'F', long = "freq", value_name = "HZ", value_parser = value_parser!(u32).range(1..))]
    pub(crate) frequency: Option<u32>,

    /// Take a sample every EVENTS events instead of at a frequency
    #[arg(long, value_name = "EVENTS", conflicts_with = "frequency", value_parser = value_parser!(u64).range(1..))]
    pub(crate) period: Option<u64>,

    /// Event to record, in the spelling of perf; may be repeated [default: processor time]
    #[arg(short = 'e', long = "event", value_name = "EVENT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) events: Vec<String>,

    /// How to capture stacks: auto, fp, lbr, dwarf or dwarf,BYTES [default: dwarf,64000]
    #[arg(long, value_name = "MODE")]
    pub(crate) call_graph: Option<String>,

    /// Also record where threads are blocked, and for how long (Linux, not with perf)
    #[arg(long)]
    pub(crate) off_cpu: bool,

    /// Sample CPUs instead of threads, which also catches threads that live for less than a
    /// millisecond (Linux, as root or with kernel.perf_event_paranoid=0)
    #[arg(long)]
    pub(crate) per_cpu: bool,

    /// Start recording MS milliseconds after the workload
    #[arg(long, value_name = "MS")]
    pub(crate) delay: Option<u64>,

    /// End the recording and COMMAND after SECONDS
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,

    /// Compress the recording with zstd, at LEVEL if given. Recordings made without perf are small
    /// already
    #[arg(short = 'z', long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "1")]
    pub(crate) compression_level: Option<u8>,

    /// Arguments for perf, quoted as in a shell, or a script for dtrace; they replace the recording
    /// options above
    #[arg(short = 'c', long = "cmd", value_name = "ARGS")]
    pub(crate) custom_cmd: Option<String>,

    /// Run the recorder through sudo, with SUDO FLAGS if given
    #[arg(long, value_name = "SUDO FLAGS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) root: Option<String>,

    /// Exit with 0 even if the workload fails
    #[arg(long)]
    pub(crate) ignore_status: bool,
}

impl RecordOptions {
    /// The configuration.
    ///
    /// # Errors
    /// Options that make no sense together.
    pub(crate) fn config(&self) -> Result<Config> {
        let usage = |problem: &str| Err(Failure::Usage(problem.into()).into());
        if self.custom_cmd.is_some() {
            if self.frequency.is_some() {
                return usage("Cannot pass both a custom command and a frequency.");
            }
            if !self.events.is_empty() || self.call_graph.is_some() {
                return usage(
                    "--cmd cannot be combined with --event or --call-graph: name both in the custom command",
                );
            }
        }
        if self.off_cpu && !cfg!(target_os = "linux") {
            return usage("--off-cpu works only on Linux");
        }
        let Some(root) =
            self.root.as_deref().map_or(Some(None), |flags| shlex::split(flags).map(Some))
        else {
            return usage("the flags of --root have a quote that is not closed");
        };
        let Ok(duration) = self.duration.map(Duration::try_from_secs_f64).transpose() else {
            return usage("--duration needs a number of seconds");
        };
        if duration.is_some_and(|duration| duration.is_zero()) {
            return usage("--duration must be more than 0");
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

    /// The exit status of the program after a recording.
    pub(crate) fn done(&self, ended: &Ended) -> Done {
        if self.ignore_status { Done::Ok } else { Done::Workload(ended.status) }
    }
}

/// Record COMMAND or running processes, and write the recording to standard output.
///
/// On Linux only the kernel is needed. The recording is a perf.data stream, or a perf.data file if
/// it is written to a file. On macOS xctrace records, on Windows blondie or dtrace, elsewhere
/// dtrace. fg-fold reads all of these recordings. If the recording goes to standard output,
/// COMMAND's standard output goes to standard error; -o FILE leaves it unchanged.
///
/// Recording has been tested only on Linux. For macOS and Windows the code is compiled, and the
/// command lines of the profilers are tested.
#[derive(Debug, Parser)]
#[command(
    name = "fg-record",
    version,
    override_usage = "fg-record [OPTIONS] [--] COMMAND...\n       fg-record [OPTIONS] -p PID,...",
    after_help = "\
Exit status: that of COMMAND, or 128 + n if signal n killed it; 0 with -p, or if --duration ended the recording; \
1 if nothing could be recorded; 2 for wrong usage.
Environment: PERF, XCTRACE and DTRACE name the profiler to run.
Memory: on Linux 4 MB per CPU and the memory maps of the processes. If the reader of the stream is slow, up to 128 MB of \
stacks wait in memory.
If a stack is larger than the copied bytes, fg-record reads the rest from the memory of the program while it runs.

Example: fg-record ./server --port 80 | fg-fold | fg-render > flamegraph.svg"
)]
pub struct RecordArgs {
    /// Record these running processes until they end, or until Ctrl-C
    #[arg(short, long, value_name = "PID,...", value_delimiter = ',', conflicts_with = "command")]
    pid: Vec<u32>,

    /// Record the whole machine until Ctrl-C
    #[arg(short, long = "all-cpus", conflicts_with = "pid")]
    all_cpus: bool,

    /// Write the recording to FILE [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Recorder on Linux; -c and the variable PERF also select perf
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = Backend::Native)]
    backend: Backend,

    /// Keep copied stacks as they are, as perf does: 64 KB per sample instead of 0.25 KB
    #[arg(long)]
    raw_stacks: bool,

    /// Store the names of kernel functions in the recording, for readers who may not see kernel
    /// addresses
    #[arg(long)]
    kernel_symbols: bool,

    /// Obey another process through two FIFOs, as perf does
    #[arg(long, value_name = "COMMANDS,ANSWERS", hide = true)]
    control: Option<String>,

    /// Show the command lines that are run
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,

    /// The program to record, with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present_any = ["pid", "all_cpus"])]
    command: Vec<OsString>,

    #[command(flatten)]
    record: RecordOptions,
}

/// Prints a recorder's messages. Command lines are printed only if asked for.
pub(super) fn teller(name: &'static str, verbose: bool, quiet: bool) -> impl FnMut(Notice<'_>) {
    move |notice| match notice {
        _ if quiet => {}
        Notice::Line(line) if verbose => say(name, format_args!("{line}")),
        Notice::Line(_) => {}
        // Each change once: cargo flamegraph records each test with the same ones.
        Notice::Change(change) => log::warn!("{change}"),
    }
}

/// The error of `-a` with a command. perf runs a command, usually a sleep, and records until it
/// ends.
fn no_command(command: &[OsString]) -> String {
    let seconds = match command {
        [program, seconds] if program == "sleep" => seconds.to_str(),
        _ => None,
    };
    let seconds = seconds.and_then(|seconds| seconds.parse::<f64>().ok());
    match seconds {
        Some(seconds) => format!(
            "-a records the whole machine and runs no command: use -a --duration {seconds} to record for {seconds} seconds"
        ),
        None => "-a records the whole machine and runs no command: record the command without -a, or start it \
             yourself and use -a --duration SECONDS"
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
        let workload = self.workload();
        let mut config = self.record.config()?;
        (config.backend, config.raw_stacks) = (self.backend, self.raw_stacks);
        config.quiet = self.quiet;
        config.kernel_symbols = self.kernel_symbols;
        let control = self.control.as_ref().and_then(|fifos| fifos.split_once(','));
        config.control = control.map(|(commands, answers)| (commands.into(), answers.into()));
        logger::install(Self::NAME, self.quiet, 0);
        let mut tell = teller(Self::NAME, self.verbose, self.quiet);
        let mut record = |to: Destination<'_>| {
            signals::left_to(|| recorder().record(&workload, &config, to, &mut tell))
        };
        if cfg!(target_os = "linux")
            && let Some(file) = perf::custom_output(&config)?
        {
            if self.output.is_some() {
                let problem = format!(
                    "the custom command already writes the recording to {}: omit -o",
                    file.display()
                );
                return Err(Failure::Usage(problem).into());
            }
            return Ok(self.record.done(&record(Destination::File(&file))?));
        }
        let mut output = Output::create_recording(self.output.as_deref())?;
        let ended = match output.file().map(ToOwned::to_owned) {
            Some(file) => record(Destination::File(&file))?,
            None if output.is_stdout => record(Destination::Stdout(&mut output))?,
            None => record(Destination::Stream(&mut output))?,
        };
        if ended.is_short
            && let Some(old) = output.keep_old()?
        {
            let what = "the disk is full: the recording that was there before is now";
            report(Self::NAME, self.quiet, &format_args!("{what} {}", old.display()));
        }
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
        assert!(said("-a -- sleep 10").ends_with("use -a --duration 10 to record for 10 seconds"));
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
        let ended = Ended { status: 7, interrupted: false, is_short: false, elsewhere: None };
        let done = |line| parse(line).unwrap().record.done(&ended);
        assert_eq!(done("x"), Done::Workload(7));
        assert_eq!(done("--ignore-status x"), Done::Ok);
    }
}
