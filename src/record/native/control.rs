//! Two FIFOs by which another process guides a recorder, as with perf's `--control=fifo:…`. We
//! answer the line `ping` once all events are open; `stop` ends the recording.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Both FIFOs, open.
pub(super) struct Control {
    commands: File,
    answers: File,
}

impl Control {
    pub(super) fn open((commands, answers): &(PathBuf, PathBuf)) -> io::Result<Control> {
        // Open at both ends, so that neither side waits for the other.
        let open = |path: &PathBuf| {
            File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
        };
        Ok(Control { commands: open(commands)?, answers: open(answers)? })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.commands.as_raw_fd()
    }

    /// Answers commands. True if one says to stop.
    pub(super) fn obey(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 256];
        let read = match self.commands.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let mut stops = false;
        for line in buffer.get(..read).unwrap_or_default().split(|&byte| byte == b'\n') {
            match line {
                b"ping" => self.answers.write_all(b"ack\n")?,
                b"stop" => stops = true,
                _ => {}
            }
        }
        Ok(stops)
    }
}
