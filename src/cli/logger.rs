//! Prints the `log` messages of the library and of other crates as messages of the program.

use std::collections::HashSet;
use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};

use super::io;
use crate::lock::lock;

struct Logger {
    name: &'static str,
    said: Mutex<HashSet<String>>,
}

/// From now on, prints each warning once, as `name: …`. `verbose` adds levels, and `quiet` silences
/// all.
pub(crate) fn install(name: &'static str, quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Off,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        (_, 2) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let logger = Logger { name, said: Mutex::default() };
    // If there is another logger, it gets the messages.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = record.args().to_string();
            let mut said = lock(&self.said);
            if said.insert(message.clone()) {
                io::say(self.name, format_args!("{message}"));
            }
        }
    }

    fn flush(&self) {}
}
