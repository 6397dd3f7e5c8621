//! Linux: records through the kernel itself, or through the perf program if the user asks for it or
//! only perf can do it.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;

use super::native::{self, Stream};
use super::perf::{self, Perf};
use super::{Config, Destination, Ended, Notice, Recorder, Workload};
use crate::error::{Error, Result};
use crate::perf_data::Seekable;

/// Records natively, unless the config or `PERF` asks for perf. If only perf can do it, perf
/// records, with a message.
pub(super) struct Linux;

impl Recorder for Linux {
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        if config.off_cpu {
            check_off_cpu(config)?;
        }
        if perf::is_wanted(config) {
            if config.per_cpu {
                return Err(Error::Unsupported {
                    what:
                        "perf does not support --per-cpu: it records the whole machine or threads"
                            .into(),
                    remedy: "omit --per-cpu, or omit --backend perf, -c and PERF".into(),
                });
            }
            if config.kernel_symbols {
                return Err(Error::Unsupported {
                    what: "perf does not support --kernel-symbols: it keeps a copy in its cache"
                        .into(),
                    remedy: "omit --kernel-symbols, or omit --backend perf, -c and PERF".into(),
                });
            }
            return Perf::from_env().record(workload, config, to, tell);
        }
        let perf = Perf::from_env();
        match native::Plan::new(workload, config) {
            Ok(plan) => {
                let (file, is_stdout) = match to {
                    Destination::Stream(to) => {
                        let stream = Stream { to, is_stdout: false };
                        return plan.run(workload, config, stream, tell);
                    }
                    Destination::Stdout(to) => match redirected() {
                        Some(file) => (file, true),
                        None => {
                            let stream = Stream { to, is_stdout: true };
                            return plan.run(workload, config, stream, tell);
                        }
                    },
                    Destination::File(path) => {
                        let cannot = Error::io(|| format!("cannot write {}", path.display()));
                        (File::options().write(true).open(path).map_err(cannot)?, false)
                    }
                };
                let mut file = Seekable::new(file);
                let stream = Stream { to: &mut file, is_stdout };
                let ended = plan.run(workload, config, stream, tell);
                let finished = file.finish();
                let ended = ended?;
                finished.map_err(Error::io(|| "cannot finish the recording"))?;
                Ok(ended)
            }
            Err(problem) if perf.is_there() && !config.off_cpu && !config.per_cpu => {
                tell(Notice::Change(&format!("{problem}; recording with perf")));
                perf.record(workload, config, to, tell)
            }
            Err(problem) => {
                Err(Error::NeedsPerf { what: problem.to_string(), remedy: problem.remedy().into() })
            }
        }
    }

    fn streams(&self, workload: &Workload, config: &Config) -> bool {
        !perf::is_wanted(config) && native::Plan::new(workload, config).is_ok()
    }
}

/// Our standard output, if it is a file that will hold nothing but the recording, as in
/// `fg-record ./bin > f.data`.
fn redirected() -> Option<File> {
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    let open = stdout.metadata().ok()?;
    let is_empty = open.is_file() && open.len() == 0 && stdout.stream_position().ok()? == 0;
    (is_empty && !native::appends(&stdout)).then_some(stdout)
}

/// Refuses options that do not go with `--off-cpu`.
fn check_off_cpu(config: &Config) -> Result<()> {
    let is_clock = |event: &String| {
        let (name, modifiers) = event.split_once(':').unwrap_or((event, ""));
        matches!(name, "cpu-clock" | "task-clock") && !modifiers.contains(['k', 'h'])
    };
    let (what, remedy) = if perf::is_wanted(config) {
        ("perf does not support --off-cpu", "omit --backend perf, -c and PERF")
    } else if config.raw_stacks {
        ("--off-cpu does not support --raw-stacks", "omit --raw-stacks")
    } else if config.call_graph.starts_with("lbr") {
        (
            "--off-cpu does not support lbr, because a blocked thread has no branches",
            "use --call-graph dwarf or fp with --off-cpu",
        )
    } else if config.events.len() > 1 || !config.events.iter().all(is_clock) {
        (
            "--off-cpu does not support these events, because time off the processor cannot be \
             added to them",
            "with --off-cpu, omit -e, or use cpu-clock or task-clock",
        )
    } else {
        return Ok(());
    };
    Err(Error::Unsupported { what: what.into(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    #[test]
    fn what_goes_with_off_cpu() {
        let usual = || Config { off_cpu: true, ..Config::default() };
        let with = |events: &[&str]| Config {
            events: events.iter().map(|&event| event.into()).collect(),
            ..usual()
        };
        for good in [usual(), with(&["cpu-clock"]), with(&["task-clock:u"])] {
            assert!(std::env::var_os("PERF").is_some() || check_off_cpu(&good).is_ok());
        }
        let raw = Config { raw_stacks: true, ..usual() };
        let perf = Config { backend: Backend::Perf, ..usual() };
        let lbr = Config { call_graph: "lbr".into(), ..usual() };
        for bad in [raw, perf, lbr, with(&["cycles"]), with(&["cpu-clock", "task-clock"])] {
            assert!(check_off_cpu(&bad).unwrap_err().remedy().is_some());
        }
    }
}
