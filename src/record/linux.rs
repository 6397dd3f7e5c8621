//! Linux: the kernel itself, or the perf program where it is asked for or knows more.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::perf::{self, Perf};
use super::{Config, Destination, Ended, Notice, Recorder, Workload, native};
use crate::error::{Error, Result};
use crate::perf_data::seekable;

/// Records natively, unless the config or `PERF` asks for perf. What only perf can do it does, and that is told.
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
            if config.kernel_symbols {
                return Err(Error::Unsupported {
                    what: "perf does not record --kernel-symbols: it keeps a copy in its cache"
                        .into(),
                    remedy: "leave it out, or leave out --backend perf, -c and PERF".into(),
                });
            }
            return Perf::from_env().record(workload, config, to, tell);
        }
        let perf = Perf::from_env();
        match native::Plan::new(workload, config) {
            Ok(plan) => {
                let ended = match to {
                    Destination::File(path) => {
                        let ended = plan.run(workload, config, to, tell)?;
                        seekable::in_place(path).map(|()| ended)
                    }
                    Destination::Stdout(stream) => {
                        let file = redirected();
                        let to = Destination::Stdout(&mut *stream);
                        let ended = plan.run(workload, config, to, tell)?;
                        stream.flush().and_then(|()| finish(file)).map(|()| ended)
                    }
                    Destination::Stream(_) => return plan.run(workload, config, to, tell),
                };
                ended.map_err(Error::io(|| "cannot finish the recording"))
            }
            Err(problem) if perf.is_there() && !config.off_cpu => {
                tell(Notice::Change(&format!("{problem}: recording with perf")));
                perf.record(workload, config, to, tell)
            }
            Err(what) => Err(Error::Unsupported {
                what,
                remedy:
                    "perf may know it: install it (linux-perf, linux-tools), or name it with PERF"
                        .into(),
            }),
        }
    }

    fn streams(&self, workload: &Workload, config: &Config) -> bool {
        !perf::is_wanted(config) && native::Plan::new(workload, config).is_ok()
    }
}

/// Our standard output and its path where it is a file, as in `fg-record ./bin > f.data`, and the recording will be all there is in it.
fn redirected() -> Option<(File, PathBuf)> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    let (open, path) = (stdout.metadata().ok()?, fs::read_link("/proc/self/fd/1").ok()?);
    // The name of a file that was removed leads nowhere, or to another file.
    let named = fs::metadata(&path).ok()?;
    let same = (open.dev(), open.ino()) == (named.dev(), named.ino());
    (same && open.is_file() && open.len() == 0).then_some((stdout, path))
}

/// Makes a file of the stream that is in [`redirected`] output. What others write to it afterwards goes behind.
fn finish(file: Option<(File, PathBuf)>) -> io::Result<()> {
    let Some((mut stdout, path)) = file else { return Ok(()) };
    seekable::in_place(&path)?;
    stdout.seek(SeekFrom::End(0)).map(drop)
}

/// What does not go with `--off-cpu`, and what does.
fn check_off_cpu(config: &Config) -> Result<()> {
    let is_clock = |event: &String| {
        let (name, modifiers) = event.split_once(':').unwrap_or((event, ""));
        matches!(name, "cpu-clock" | "task-clock") && !modifiers.contains(['k', 'h'])
    };
    let (what, remedy) = if perf::is_wanted(config) {
        ("perf does not record --off-cpu", "leave out --backend perf, -c and PERF")
    } else if config.raw_stacks {
        ("--off-cpu records no raw stacks", "leave out --raw-stacks")
    } else if config.call_graph.starts_with("lbr") {
        ("a blocked thread has no branches (lbr)", "use --call-graph dwarf or fp with --off-cpu")
    } else if config.events.len() > 1 || !config.events.iter().all(is_clock) {
        (
            "time off the processor cannot be added to the events that were asked for",
            "with --off-cpu, leave out -e, or name one of cpu-clock and task-clock",
        )
    } else {
        return Ok(());
    };
    Err(Error::Unsupported { what: what.into(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Backend;

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
