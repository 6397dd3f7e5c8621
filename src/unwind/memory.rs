//! Reads the words of a stack from its copy, or from the memory of a process that still runs.
//!
//! The kernel copies at most 64 KB of a stack, the most that a record holds. The rest belongs to
//! the outermost callers, which change last, so it is still there when the sample is unwound a
//! tenth of a second later. It is believed only if it leads to the root by the modules' own tables:
//! see `Unwinder::unwind`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::registers::Machine;

/// How many bytes of code are read at an address. The longest instruction has 15.
pub(super) const LONGEST: usize = 16;
const PAGE: usize = 4096;
/// The most pages that are read for one sample.
const MOST_PAGES: usize = 128;
/// The most files of processes that are kept open.
const MOST_FILES: usize = 64;
/// How often, in samples, code is read again: a JIT may have replaced it.
const MOST_SAMPLES: u64 = 1000;
/// The most pages of code that are kept.
const MOST_CODE: usize = 4096;

/// The first bytes of `code`, padded with zeros. `None` if it is empty.
pub(super) fn padded(code: &[u8]) -> Option<[u8; LONGEST]> {
    let mut bytes = [0; LONGEST];
    let length = code.len().min(LONGEST);
    bytes[..length].copy_from_slice(&code[..length]);
    (length > 0).then_some(bytes)
}

/// The copied part of a stack, and the memory that holds the rest if it can be read.
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

/// The memory of other processes.
#[derive(Default)]
pub(super) struct Memory(RefCell<Reading>);

#[derive(Default)]
struct Reading {
    /// `/proc/PID/mem`, by process.
    files: HashMap<u32, File>,
    pid: u32,
    /// The page that was read last.
    page: Vec<u8>,
    /// The address of that page.
    start: u64,
    /// How many pages were asked for.
    pages: usize,
    /// Whether one of them could be read.
    was_read: bool,
    /// Pages of code, by process and address; `None` if they cannot be read.
    code: HashMap<(u32, u64), Option<Box<[u8]>>>,
    samples: u64,
}

impl Memory {
    /// Begins another sample of process `pid`.
    pub(super) fn begin(&self, pid: u32) {
        let mut reading = self.0.borrow_mut();
        reading.pid = pid;
        reading.pages = 0;
        reading.was_read = false;
        reading.page.clear();
        reading.samples += 1;
        if reading.samples.is_multiple_of(MOST_SAMPLES) || reading.code.len() > MOST_CODE {
            reading.code.clear();
        }
    }

    /// A number that changes when code is read again.
    pub(super) fn generation(&self) -> u64 {
        self.0.borrow().samples / MOST_SAMPLES
    }

    /// The code at `address` of process `pid`, padded with zeros.
    pub(super) fn code(&self, pid: u32, address: u64) -> Option<[u8; LONGEST]> {
        let mut reading = self.0.borrow_mut();
        let mut bytes = [0; LONGEST];
        let mut copied = 0;
        while copied < LONGEST {
            let at = address.checked_add(copied as u64)?;
            let start = at & !(PAGE as u64 - 1);
            let Some(page) = reading.code_page(pid, start) else { break };
            let rest = page.get((at - start) as usize..).unwrap_or_default();
            let length = rest.len().min(LONGEST - copied);
            if length == 0 {
                break;
            }
            bytes[copied..copied + length].copy_from_slice(&rest[..length]);
            copied += length;
        }
        (copied > 0).then_some(bytes)
    }

    /// Whether the code around `address` of process `pid` has changed since it was read. If so, all
    /// code of the process will be read again.
    pub(super) fn has_new_code(&self, pid: u32, address: u64) -> bool {
        let mut reading = self.0.borrow_mut();
        let start = address & !(PAGE as u64 - 1);
        let new = reading.load(pid, start);
        let old = reading.code.get(&(pid, start)).and_then(Option::as_deref);
        if new.as_deref() == old {
            return false;
        }
        reading.code.retain(|&(owner, _), _| owner != pid);
        true
    }

    /// Whether anything was read for this sample.
    pub(super) fn was_read(&self) -> bool {
        self.0.borrow().was_read
    }

    /// Reads the mapped pages of process `pid` between `from` and `to`, so that the kernel creates
    /// them, full of zeros. It copies a stack up to the first page that nobody touched.
    #[cfg(target_os = "linux")]
    pub(super) fn touch(&self, pid: u32, from: u64, to: u64) {
        let mut reading = self.0.borrow_mut();
        let Some(file) = reading.file(pid) else { return };
        let mut at = from;
        while at < to && read_at(file, &mut [0], at).is_ok_and(|read| read > 0) {
            at = (at & !(PAGE as u64 - 1)) + PAGE as u64;
        }
    }

    /// The word at `address` now. `None` if it cannot be read, or if too much was read already.
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
        self.page = self.load(self.pid, start)?;
        self.start = start;
        self.was_read = true;
        Some(())
    }

    fn code_page(&mut self, pid: u32, start: u64) -> Option<&[u8]> {
        if !self.code.contains_key(&(pid, start)) {
            let page = self.load(pid, start).map(Vec::into_boxed_slice);
            self.code.insert((pid, start), page);
        }
        self.code.get(&(pid, start))?.as_deref()
    }

    /// The page at `start` of process `pid` now.
    fn load(&mut self, pid: u32, start: u64) -> Option<Vec<u8>> {
        let mut page = vec![0; PAGE];
        let read = self.file(pid).and_then(|file| read_at(file, &mut page, start).ok());
        page.truncate(read.unwrap_or(0));
        if page.is_empty() {
            // The process ended, or runs another program.
            self.files.remove(&pid);
            return None;
        }
        Some(page)
    }

    fn file(&mut self, pid: u32) -> Option<&File> {
        if !self.files.contains_key(&pid) {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            self.files.insert(pid, File::open(format!("/proc/{pid}/mem")).ok()?);
        }
        self.files.get(&pid)
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
        assert!(!memory.was_read(), "nothing could be read");
    }
}
