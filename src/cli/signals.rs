//! Handles Ctrl-C and other signals for the programs.
//!
//! A stage that reads from a pipe survives the first Ctrl-C, because the recorder at the head of
//! the pipeline ends, and its stream with it. Any other program ends at once with status 130, and
//! leaves no partial file. SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 end a program likewise.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use tempfile::NamedTempFile;

use crate::lock::lock;
#[cfg(unix)]
use crate::record::ending;

/// Files to remove if the program is interrupted.
static PARTIAL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether to survive the next Ctrl-C.
static OUTLIVE: AtomicBool = AtomicBool::new(false);

/// Creates a temporary file, which is removed if the program is interrupted. No signal comes in
/// between: its thread waits until the file is on the list.
pub(crate) fn removable(
    create: impl FnOnce() -> io::Result<NamedTempFile>,
) -> io::Result<NamedTempFile> {
    watch();
    let mut partial = partial();
    let file = create()?;
    partial.push(file.path().to_owned());
    Ok(file)
}

/// Takes a file of [`removable`] from the list.
pub(crate) fn keep_on_interrupt(path: &Path) {
    partial().retain(|partial| partial != path);
}

/// Whether other code handles signals for now, and whether one of those was seen here.
static LEFT: AtomicBool = AtomicBool::new(false);
static PASSED: AtomicBool = AtomicBool::new(false);

/// While `work` runs, it handles signals: a recorder ends its recording. Afterwards they end the
/// program.
pub(crate) fn left_to<T>(work: impl FnOnce() -> T) -> T {
    watch();
    PASSED.store(false, Ordering::SeqCst);
    LEFT.store(true, Ordering::SeqCst);
    let done = noticing(work);
    LEFT.store(false, Ordering::SeqCst);
    done
}

/// Whether a signal ended the last work that was left to handle them.
pub(crate) fn ended_work() -> bool {
    PASSED.load(Ordering::SeqCst)
}

/// Does `work`. If a signal came, waits until our thread has seen it. Otherwise that thread would
/// later take it for its own.
#[cfg(unix)]
fn noticing<T>(work: impl FnOnce() -> T) -> T {
    use signal_hook::{flag, low_level};
    use std::sync::Arc;
    let came = Arc::new(AtomicBool::new(false));
    let ids = ending().into_iter().map(|signal| flag::register(signal, Arc::clone(&came)));
    let ids: Vec<_> = ids.collect();
    let done = work();
    for id in ids.into_iter().flatten() {
        low_level::unregister(id);
    }
    for _ in 0..1000 {
        if !came.load(Ordering::SeqCst) || PASSED.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    done
}

#[cfg(not(unix))]
fn noticing<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// From now on, Ctrl-C ends the program with 130 and removes partial files, unless
/// [`outlive_interrupt`] was called.
pub(crate) fn end_on_interrupt() {
    watch();
}

/// The next Ctrl-C is for another program, whose end ends the input of this one. The second Ctrl-C
/// ends this program.
pub(crate) fn outlive_interrupt() {
    OUTLIVE.store(true, Ordering::SeqCst);
    watch();
}

fn partial() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    lock(&PARTIAL)
}

/// Starts the thread that waits for signals, once. If it cannot start, signals do what they do by
/// default.
fn watch() {
    static WATCHING: OnceLock<()> = OnceLock::new();
    WATCHING.get_or_init(spawn);
}

#[cfg(unix)]
fn spawn() {
    use signal_hook::consts::{SIGINT, SIGXFSZ};
    let Ok(mut signals) = signal_hook::iterator::Signals::new(ending()) else { return };
    // Without this a limit of file size kills us; with it, writing fails as on a full disk.
    let _ = signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default());
    let wait = move || {
        for signal in signals.forever() {
            if LEFT.load(Ordering::SeqCst) {
                PASSED.store(true, Ordering::SeqCst);
                continue;
            }
            if signal == SIGINT && OUTLIVE.swap(false, Ordering::SeqCst) {
                continue;
            }
            end(128 + signal);
        }
    };
    if std::thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
        // Without the thread, the handlers would swallow Ctrl-C. Partial files stay behind.
        let always = std::sync::Arc::new(AtomicBool::new(true));
        for signal in ending() {
            let _ = signal_hook::flag::register_conditional_default(signal, always.clone());
        }
    }
}

#[cfg(not(unix))]
fn spawn() {}

/// Ends the program at once. The other threads may be doing anything.
#[cfg(unix)]
#[expect(
    clippy::exit,
    reason = "Ctrl-C during processing stops at once, and no thread is there to return to"
)]
fn end(status: i32) {
    for path in partial().drain(..) {
        // The program is ending, and a file that cannot be removed is not worth a message.
        let _ = std::fs::remove_file(path);
    }
    drop(super::progress::stderr());
    std::process::exit(status);
}
