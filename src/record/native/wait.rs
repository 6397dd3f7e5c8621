//! Waits for the end of a recording: the workload's, a signal, or the time that was set.
//!
//! The first SIGINT, SIGTERM or the like ends the recording. A terminal's Ctrl-C has reached the
//! workload too; a signal that reached only us is forwarded. If that does not end the workload
//! within a second, it gets SIGTERM; at the second signal it gets SIGKILL.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGKILL, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use super::super::child;
use super::super::held_child::HeldChild;
use super::super::signals::{ending, note, noted, send};
use super::super::{Config, Ended};
use super::control::Control;
use super::drain::Drain;
use super::open::Events;
use super::queue::Queue;
use super::session::Session;
use super::{advice, sys, threads};
use crate::error::{Error, Result};

/// The most milliseconds for which we leave the rings alone. They wake us when they fill up.
const ROUND: i32 = 50;
/// The same if they cannot wake us.
const SHORT: i32 = 10;
/// How long a workload may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Signals that are caught, and times that are set.
pub(super) struct Wait {
    signals: PipeReader,
    registered: Vec<SigId>,
    /// How many signals came, and the last one.
    seen: usize,
    last: Arc<AtomicUsize>,
    control: Option<Control>,
    delay: Option<Duration>,
    duration: Option<Duration>,
    /// The duration that was set is over.
    is_over: bool,
    /// The disk was full.
    is_short: bool,
    began: Instant,
    /// When the events were started, after a delay.
    enabled: Instant,
}

impl Wait {
    /// Catches signals from now on.
    pub(super) fn new(config: &Config) -> Result<Wait> {
        let mut registered = Vec::new();
        let last = Arc::default();
        for signal in ending() {
            let noted = note(signal, &last).map_err(Error::io(|| "cannot catch signals"))?;
            registered.push(noted);
        }
        let signals = catch(&ending(), &mut registered)?;
        let control = config.control.as_ref().map(Control::open).transpose();
        let control = control.map_err(Error::io(|| "cannot open the FIFOs of --control"))?;
        let began = Instant::now();
        Ok(Wait {
            signals,
            registered,
            seen: 0,
            last,
            control,
            delay: config.delay,
            duration: config.duration,
            is_over: false,
            is_short: false,
            began,
            enabled: began,
        })
    }

    /// Lets a command go, and records to its end.
    pub(super) fn command(
        mut self,
        held: HeldChild,
        cannot: impl FnOnce(io::Error) -> Error,
        mut session: Session<'_>,
        events: &mut Events<'_>,
    ) -> Result<Ended> {
        let exits = catch(&[SIGCHLD], &mut self.registered)?;
        check_thread()?;
        // The command was forked before, so it does not inherit this priority. Once it runs, it may
        // itself keep us from running.
        let _first = sys::First::go();
        let mut running = Running { child: held.release().map_err(cannot)?, exits };
        let recorded = self.record(Some(&mut running), &[], &mut session, Queue::default(), events);
        self.is_short = is_full(&recorded, &session, events);
        let status = running.child.wait();
        if !self.is_short {
            recorded.map_err(Error::io(|| "cannot write the recording"))?;
        }
        let status = status.map_err(Error::io(|| "cannot wait for the workload"))?;
        self.advise_idle(events);
        if let Some(advice) = advice::of_rest(session.started()) {
            events.tell(&advice);
        }
        Ok(self.ended(child::outcome(status, noted(&self.last), self.is_over)))
    }

    /// Records `pids` until all have ended, or everything if there are none. `queue` holds what was
    /// recorded already.
    pub(super) fn processes(
        mut self,
        pids: &[u32],
        mut session: Session<'_>,
        queue: Queue,
        events: &mut Events<'_>,
    ) -> Result<Ended> {
        let recorded = self.record(None, pids, &mut session, queue, events);
        self.is_short = is_full(&recorded, &session, events);
        if !self.is_short {
            recorded.map_err(Error::io(|| "cannot write the recording"))?;
        }
        self.advise_idle(events);
        Ok(self.ended(0))
    }

    /// Says if the workload waited nearly all the time and that was not recorded.
    fn advise_idle(&self, events: &mut Events<'_>) {
        let Some(used) = events.used().filter(|_| !events.wanted.switches) else { return };
        if let Some(advice) = advice::of_idle(used, self.enabled.elapsed()) {
            events.tell(&advice);
        }
    }

    fn ended(&self, status: u8) -> Ended {
        Ended { status, interrupted: self.seen > 0, is_short: self.is_short, elsewhere: None }
    }

    fn record(
        &mut self,
        running: Option<&mut Running>,
        pids: &[u32],
        session: &mut Session<'_>,
        mut queue: Queue,
        events: &mut Events<'_>,
    ) -> io::Result<()> {
        queue.stack_extent = session.stack_extent();
        let helper = Arc::new(sys::Helper::default());
        let (mut drain, batches) = Drain::new(queue, events.attr(), helper.clone());
        thread::scope(|scope| {
            let writing = thread::Builder::new().spawn_scoped(scope, || {
                helper.enter_before_ordinary();
                session.write_all(batches)
            })?;
            let drained = self.drain(running, pids, &mut drain, events);
            // This ends the batches, and with them the other thread.
            drop(drain);
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(drained)
        })?;
        session.finish(events)
    }

    /// Empties the rings until all is over.
    fn drain(
        &mut self,
        mut running: Option<&mut Running>,
        pids: &[u32],
        drain: &mut Drain,
        events: &mut Events<'_>,
    ) -> io::Result<()> {
        // When the recording was ended, and after how many signals.
        let mut stopped: Option<(Instant, usize)> = None;
        let mut insisted = false;
        // A recording that cannot be written ends; the workload is waited for all the same.
        let mut is_taken = true;
        loop {
            let woken = self.sleep(running.as_deref(), events);
            let now = Instant::now();
            if self.delay.is_some_and(|delay| now - self.began >= delay) {
                self.delay = None;
                self.enabled = now;
                events.enable()?;
            }
            if woken.signal {
                self.seen += self.signals.read(&mut [0; 64])?;
            }
            self.is_over = self.duration.is_some_and(|duration| now - self.began >= duration);
            let mut is_time = self.is_over;
            if woken.control
                && let Some(control) = &mut self.control
            {
                is_time |= control.obey()?;
            }
            is_time |= !is_taken;
            let pid = running.as_ref().map(|running| running.child.id());
            if stopped.is_none() && (self.seen > 0 || is_time) {
                events.disable();
                stopped = Some((now, self.seen.min(1)));
                if let Some(pid) = pid.filter(|_| is_time || !sys::has_the_terminal()) {
                    send(pid, SIGINT);
                }
            }
            if let Some((since, signals)) = stopped
                && let Some(pid) = pid
            {
                if self.seen > signals {
                    send(pid, SIGKILL);
                } else if now - since >= GRACE && !insisted {
                    send(pid, SIGTERM);
                    insisted = true;
                }
            }
            is_taken = is_taken && drain.round(events, false);
            let over = match &mut running {
                Some(running) => running.has_ended(woken.child)?,
                None if pids.is_empty() => stopped.is_some(),
                None => stopped.is_some() || pids.iter().all(|&pid| threads::has_ended(pid)),
            };
            if over {
                events.disable();
                drain.round(events, true);
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do.
    fn sleep(&self, running: Option<&Running>, events: &Events<'_>) -> Woken {
        // A descriptor of -1 is none.
        let child = running.map_or(-1, |running| running.exits.as_raw_fd());
        let control = self.control.as_ref().map_or(-1, Control::fd);
        let mut fds = [self.signals.as_raw_fd(), child, control].map(sys::readable).to_vec();
        fds.extend(events.poll());
        sys::poll(&mut fds, ROUND);
        let (own, rings) = fds.split_at_mut(3);
        // The ring of a thread that is gone says so for ever: leave it alone for a while.
        let is_gone = |fd: &libc::pollfd| fd.revents & !libc::POLLIN != 0;
        if own.iter().all(|fd| fd.revents == 0) && rings.iter().any(is_gone) {
            sys::poll(own, SHORT);
        }
        let is = |at: usize| own.get(at).is_some_and(|fd| fd.revents != 0);
        Woken { signal: is(0), child: is(1), control: is(2) }
    }
}

/// Whether the disk is full. Then the recording ends with what is there.
fn is_full(recorded: &io::Result<()>, session: &Session<'_>, events: &mut Events<'_>) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = |error: &io::Error| {
        matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) && session.has_begun
    };
    match recorded {
        Err(error) if full(error) => {
            events.tell(&format!(
                "the recording ends here, and the graph shows what came before: {error}"
            ));
            true
        }
        _ => false,
    }
}

/// The reason why a wait ended.
struct Woken {
    signal: bool,
    child: bool,
    control: bool,
}

/// A command that was let go.
struct Running {
    child: Child,
    /// Says that a child of ours has ended, or was stopped.
    exits: PipeReader,
}

impl Running {
    /// Whether it is over. If `told`, there is something to read in `exits`.
    fn has_ended(&mut self, told: bool) -> io::Result<bool> {
        if told {
            // It does not matter how many bytes came.
            let _ = self.exits.read(&mut [0; 64])?;
        }
        // We ask in any case, because the program that started us may have blocked the signal.
        Ok(self.child.try_wait()?.is_some())
    }
}

/// Fails if the system has no more threads. Recording needs one more than there are now, and once
/// the workload runs it would be too late.
fn check_thread() -> Result<()> {
    let thread = thread::Builder::new().spawn(|| ());
    let ended = thread.map(thread::JoinHandle::join);
    ended.map(drop).map_err(Error::io(|| "cannot start a thread"))
}

/// A pipe that gets a byte for each of `signals` that comes.
fn catch(signals: &[i32], registered: &mut Vec<SigId>) -> Result<PipeReader> {
    let cannot = || Error::io(|| "cannot catch signals");
    let (reader, writer) = io::pipe().map_err(cannot())?;
    for &signal in signals {
        let writer = writer.try_clone().map_err(cannot())?;
        registered.push(pipe::register(signal, writer).map_err(cannot())?);
    }
    Ok(reader)
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.registered.drain(..).for_each(|signal| {
            unregister(signal);
        });
    }
}
