//! `--root`: only the recorder is root. We fork the workload, hold it, and let it run as our own
//! user. sudo runs us once more as the recorder, whose stream comes back through a pipe, so all
//! files are the caller's.

use std::ffi::OsString;
use std::time::Instant;

use super::super::child::{self, Stdout};
use super::super::{Config, Ended, Notice, Workload, held_child, privileged};
use super::{Stream, kernel};
use crate::error::{Error, Result};

/// The first argument that makes any of our programs fg-record.
pub(crate) const AS_RECORDER: &str = "--as-fg-record";

/// Runs the recorder through sudo.
pub(in super::super) fn run(
    workload: &Workload,
    config: &Config,
    stream: Stream<'_>,
    tell: &mut dyn FnMut(Notice<'_>),
) -> Result<Ended> {
    let Stream { to, is_stdout } = stream;
    let stdout = if is_stdout { Stdout::Stream(to) } else { Stdout::Beside(to) };
    // We read the recording, not root.
    let kernel_symbols = config.kernel_symbols || kernel::is_hidden();
    let config = &Config { kernel_symbols, ..config.clone() };
    let remedy = "install sudo, or run this command as root";
    let mut line = |workload: &Workload, control: Option<&str>| {
        let line = privileged(command_line(workload, config, control)?, config);
        tell(Notice::Line(&child::shown(&line)));
        Ok(line)
    };
    let began = Instant::now();
    let exit = match workload {
        Workload::Command(command) => {
            held_child::run(command, config, stdout, remedy, |pid, fifos| {
                line(&Workload::Pids(vec![pid]), Some(fifos))
            })?
        }
        _ => child::run(&line(workload, None)?, &Config::default(), stdout, remedy)?,
    };
    if exit.streamed == 0 && exit.signal.is_none() {
        return Err(Error::Child {
            program: "sudo".into(),
            status: exit.status,
            said: ": nothing was recorded; the reason is given above".into(),
        });
    }
    let is_over = config.duration.is_some_and(|duration| began.elapsed() >= duration);
    let status = exit.workload.map_or(0, |status| child::outcome(status, exit.signal, is_over));
    Ok(Ended { status, interrupted: exit.signal.is_some(), is_short: false, elsewhere: None })
}

/// Our own program as fg-record, with the options of `config`.
fn command_line(
    workload: &Workload,
    config: &Config,
    control: Option<&str>,
) -> Result<Vec<OsString>> {
    let program =
        std::env::current_exe().map_err(Error::io(|| "cannot find the path of this program"))?;
    let mut line = vec![program.into_os_string(), AS_RECORDER.into()];
    let mut add = |words: &[&str]| line.extend(words.iter().map(OsString::from));
    match config.period {
        Some(period) => add(&["--period", &period.to_string()]),
        None => add(&["-F", &config.frequency.to_string()]),
    }
    for event in &config.events {
        add(&["-e", event]);
    }
    add(&["--call-graph", &config.call_graph]);
    for (wanted, flag) in [
        (config.raw_stacks, "--raw-stacks"),
        (config.kernel_symbols, "--kernel-symbols"),
        (config.off_cpu, "--off-cpu"),
        (config.per_cpu, "--per-cpu"),
    ] {
        if wanted {
            add(&[flag]);
        }
    }
    if let Some(delay) = config.delay {
        add(&["--delay", &delay.as_millis().to_string()]);
    }
    if let Some(duration) = config.duration {
        add(&["--duration", &duration.as_secs_f64().to_string()]);
    }
    if let Some(control) = control {
        add(&["--control", control]);
    }
    match workload {
        Workload::Pids(pids) => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            add(&["-p", &pids.join(",")]);
        }
        _ => add(&["-a"]),
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_asks_for_what_the_config_asks_for() {
        let config = Config {
            events: vec!["cpu-clock".into()],
            raw_stacks: true,
            kernel_symbols: true,
            per_cpu: true,
            duration: Some(std::time::Duration::from_millis(1500)),
            ..Config::default()
        };
        let line = command_line(&Workload::Pids(vec![1, 2]), &config, Some("a,b")).unwrap();
        let words: Vec<_> = line[1..].iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(
            words.join(" "),
            "--as-fg-record -F 997 -e cpu-clock --call-graph dwarf,64000 --raw-stacks \
             --kernel-symbols --per-cpu --duration 1.5 --control a,b -p 1,2"
        );
    }
}
