//! Shows how much of a long recording was read: one line on stderr, and only on a terminal.
//!
//! The line appears after half a second. It is drawn again when it changes, at most five times a
//! second. It disappears before another message, and at the end.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lock::lock;
use crate::perf_data::Progress;

/// When the line appears.
const AFTER: Duration = Duration::from_millis(500);
/// The time between two looks at the progress.
const EVERY: Duration = Duration::from_millis(200);

/// Whether the line is there. A writer to stderr holds this lock.
static SHOWN: Mutex<bool> = Mutex::new(false);

/// Standard error, with the line removed.
pub(crate) fn stderr() -> (MutexGuard<'static, bool>, io::Stderr) {
    let mut shown = lock(&SHOWN);
    let mut stderr = io::stderr();
    if std::mem::take(&mut *shown) {
        // Go to the start of the line, and clear it.
        let _ = stderr.write_all(b"\r\x1b[K");
    }
    (shown, stderr)
}

/// The thread that shows a [`Progress`]. Dropping it removes the line.
pub(crate) struct Shown {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows `progress` of a program that reads `input`, if `wanted` and if stderr is a terminal.
    pub(crate) fn start(
        name: &'static str,
        input: &str,
        progress: &Arc<Progress>,
        wanted: bool,
    ) -> Shown {
        if !wanted || !io::stderr().is_terminal() {
            return Shown { end: None, thread: None };
        }
        let (end, ended) = mpsc::channel();
        let input = input.escape_debug().to_string();
        let progress = Arc::clone(progress);
        let show = move || {
            let mut wait = AFTER;
            let mut last = String::new();
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = EVERY;
                let Some(line) = progress.get().map(|(read, whole)| line(&input, read, whole))
                else {
                    continue;
                };
                if line != last {
                    let (mut shown, mut stderr) = stderr();
                    *shown = write!(stderr, "{name}: {line}").is_ok();
                    last = line;
                }
            }
            drop(stderr());
        };
        // If there is no thread, there is no line, which does no harm.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(show).ok();
        Shown { end: Some(end), thread }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The line must be short, because a line that the terminal wraps cannot be removed.
fn line(input: &str, read: u64, whole: u64) -> String {
    let short: String =
        input.chars().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect();
    match (read as f64 * 100.0 / whole as f64) as u64 {
        100.. => format!("naming the functions in {short}"),
        percent => format!("reading {short}: {percent} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_short() {
        assert_eq!(line("perf.data", 1, 3), "reading perf.data: 33 %");
        assert_eq!(line("perf.data", 3, 3), "naming the functions in perf.data");
        assert!(line(&"x/".repeat(200), 1, 3).len() < 70);
    }
}
