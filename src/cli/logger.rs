//! Prints the `log` messages of the library and of other crates as messages of the program.

use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::io;
use crate::lock::lock;

/// The warnings so far, each once.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger {
    name: &'static str,
    quiet: bool,
}

/// From now on, prints each message as `name: …`, and each warning once. `verbose` adds levels. If
/// `quiet`, nothing is printed, but [`warnings`] still has the warnings.
pub(crate) fn install(name: &'static str, quiet: bool, verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let logger = Logger { name, quiet };
    // If there is another logger, it gets the messages.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// The warnings so far.
pub(crate) fn warnings() -> Vec<String> {
    lock(&WARNINGS).clone()
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = record.args().to_string();
            if record.level() <= Level::Warn {
                let mut warnings = lock(&WARNINGS);
                if warnings.contains(&message) {
                    return;
                }
                warnings.push(message.clone());
            }
            if !self.quiet {
                io::say(self.name, format_args!("{message}"));
            }
        }
    }

    fn flush(&self) {}
}
