//! The words of a stack: of its copy, and of the memory of a process that still runs, for the part that was not copied.
//!
//! A record of the kernel holds 64 KB, and so much of a stack is copied at most. What lies above is that of the outermost callers, who
//! are the last to change, and is still there when the sample is unwound, a tenth of a second later. What it says is believed only
//! if it leads to where the thread began, by the modules' own tables: see [`Unwinder::unwind`](super::unwind::Unwinder::unwind).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::registers::Machine;

const PAGE: usize = 4096;
/// So many pages are read for one sample.
const MOST_PAGES: usize = 128;
/// So many processes are kept open.
const MOST_FILES: usize = 64;

/// The copied part of a stack, and what is above it, if that can be read.
#[derive(Clone, Copy)]
pub(super) struct Stack<'a> {
    pub(super) machine: Machine,
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
    pub(super) memory: Option<&'a Memory>,
}

impl Stack<'_> {
    pub(super) fn copied(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..)?;
        match self.machine {
            Machine::X86 => bytes.first_chunk().map(|word| u32::from_le_bytes(*word).into()),
            _ => bytes.first_chunk().map(|word| u64::from_le_bytes(*word)),
        }
    }

    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let is_above = address >= self.start.saturating_add(self.bytes.len() as u64);
        let above = || Some(self.machine.narrow(self.memory.filter(|_| is_above)?.word(address)?));
        self.copied(address).or_else(above)
    }
}

/// What can be read of others' memory.
#[derive(Default)]
pub(super) struct Memory(RefCell<Reading>);

#[derive(Default)]
struct Reading {
    /// `/proc/PID/mem`, by process.
    files: HashMap<u32, File>,
    pid: u32,
    /// The page that was read last, and where it is.
    page: Vec<u8>,
    start: u64,
    /// How many were asked for, and whether one could be read.
    pages: usize,
    was_read: bool,
}

impl Memory {
    /// Another sample, of `pid`.
    pub(super) fn begin(&self, pid: u32) {
        let mut reading = self.0.borrow_mut();
        (reading.pid, reading.pages, reading.was_read) = (pid, 0, false);
        reading.page.clear();
    }

    /// Whether anything was read for this sample.
    pub(super) fn was_read(&self) -> bool {
        self.0.borrow().was_read
    }

    /// The word at `address`, as it is now; `None` if that cannot be read, or too much was read already.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let mut reading = self.0.borrow_mut();
        let start = address & !(PAGE as u64 - 1);
        if reading.page.is_empty() || reading.start != start {
            reading.read(start)?;
        }
        let at = (address - start) as usize;
        reading.page.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
    }
}

impl Reading {
    fn read(&mut self, start: u64) -> Option<()> {
        self.page.clear();
        self.pages += 1;
        if self.pages > MOST_PAGES {
            return None;
        }
        if !self.files.contains_key(&self.pid) {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            self.files.insert(self.pid, File::open(format!("/proc/{}/mem", self.pid)).ok()?);
        }
        let mut page = std::mem::take(&mut self.page);
        page.resize(PAGE, 0);
        let read = self.files.get(&self.pid).map_or(Ok(0), |file| read_at(file, &mut page, start));
        page.truncate(read.unwrap_or(0));
        self.page = page;
        self.start = start;
        if self.page.is_empty() {
            // Another program runs there now, or none.
            self.files.remove(&self.pid);
            return None;
        }
        self.was_read = true;
        Some(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_are_read_as_they_are() {
        let words: Vec<u64> = (0..2000).collect();
        let memory = Memory::default();
        memory.begin(std::process::id());
        assert!(!memory.was_read());
        for (at, word) in words.iter().enumerate() {
            let address = &raw const words[at] as u64;
            assert_eq!(memory.word(address), Some(*word));
        }
        assert!(memory.was_read());
        assert_eq!(memory.word(0), None);
        memory.begin(u32::MAX);
        assert_eq!(memory.word(&raw const words[0] as u64), None);
        assert!(!memory.was_read(), "what could not be read says nothing");
    }
}
