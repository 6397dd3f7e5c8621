//! The ring buffer that the kernel shares with us: one for each CPU.
//!
//! Source: `struct perf_event_mmap_page` in `include/uapi/linux/perf_event.h`.
#![expect(unsafe_code, reason = "memory that the kernel writes to")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: usize = 4096;
/// Where the first page holds how far the kernel has written, and how far we have read.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
/// The length of a record is at its byte 6, as a `u16`.
const SIZE: usize = 6;

/// A mapped ring buffer.
#[derive(Debug)]
pub(super) struct Ring {
    base: *mut u8,
    /// The bytes of data, a power of two. One page, for the head and the tail, comes before them.
    size: usize,
    page: usize,
    scratch: Vec<u8>,
}

impl Ring {
    /// Maps the ring of `event`, with `size` bytes of data, a power of two.
    pub(super) fn map(event: &OwnedFd, size: usize) -> io::Result<Ring> {
        let page = page_size();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the system likes; it is unmapped when we are dropped.
        let base = unsafe {
            let fd = event.as_raw_fd();
            libc::mmap(ptr::null_mut(), page + size, access, libc::MAP_SHARED, fd, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Ring { base: base.cast(), size, page, scratch: Vec::new() })
    }

    /// Hands over each whole record in the ring, and frees its place.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        let head = self.word(HEAD).load(Ordering::Acquire);
        let mut tail = self.word(TAIL).load(Ordering::Relaxed);
        while tail < head {
            let at = (tail as usize) & (self.size - 1);
            // SAFETY: records start at multiples of 8, so that their heads are in one piece. The
            // kernel has written all between tail and head, and leaves it until we move the tail.
            let length = unsafe {
                let data = self.base.add(self.page);
                let length = ptr::read_unaligned(data.add(at + SIZE).cast::<u16>());
                usize::from(length)
            };
            if length < 8 {
                break;
            }
            let first = length.min(self.size - at);
            // SAFETY: as above: both pieces lie within the data and within what is written.
            let (whole, rest) = unsafe {
                let data = self.base.add(self.page);
                (
                    std::slice::from_raw_parts(data.add(at), first),
                    std::slice::from_raw_parts(data, length - first),
                )
            };
            if rest.is_empty() {
                each(whole);
            } else {
                self.scratch.clear();
                self.scratch.extend_from_slice(whole);
                self.scratch.extend_from_slice(rest);
                each(&self.scratch);
            }
            tail += length as u64;
            self.word(TAIL).store(tail, Ordering::Release);
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: an aligned word of the first page, which both sides use as an atomic.
        unsafe { &*self.base.add(at).cast::<AtomicU64>() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by us, with this size; no borrow outlives us.
        unsafe { libc::munmap(self.base.cast(), self.page + self.size) };
    }
}

fn page_size() -> usize {
    // SAFETY: a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(PAGE)
}

#[cfg(test)]
impl Ring {
    /// A ring in memory of our own, to be written by a test in the kernel's place.
    pub(super) fn in_memory(size: usize) -> Ring {
        let page = page_size();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping where the system likes; it is unmapped when the ring is dropped.
        let base = unsafe { libc::mmap(ptr::null_mut(), page + size, access, how, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Ring { base: base.cast(), size, page, scratch: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Ring {
        /// Writes a record as the kernel does: if it finds room, byte by byte around the end.
        fn write(&self, record: &[u8]) -> bool {
            let head = self.word(HEAD).load(Ordering::Relaxed);
            let tail = self.word(TAIL).load(Ordering::Acquire);
            if self.size as u64 - (head - tail) < record.len() as u64 {
                return false;
            }
            for (at, byte) in record.iter().enumerate() {
                let at = (head as usize + at) % self.size;
                // SAFETY: within the data, which nobody reads before the head has moved.
                unsafe { self.base.add(self.page + at).write(*byte) };
            }
            self.word(HEAD).store(head + record.len() as u64, Ordering::Release);
            true
        }
    }

    /// A record of `words` words, a head among them, whose other bytes are `fill`.
    fn record(words: usize, fill: u8) -> Vec<u8> {
        let mut record = vec![fill; 8 * words];
        record[SIZE..SIZE + 2].copy_from_slice(&(8 * words as u16).to_ne_bytes());
        record
    }

    proptest! {
        /// The twin is a queue: what found room comes out, whole and in order, wherever the ring
        /// wraps around.
        #[test]
        fn what_goes_in_comes_out(
            steps in proptest::collection::vec((1usize..40, any::<u8>(), 0u8..4), 1..200)
        ) {
            let mut ring = Ring::in_memory(1024);
            let mut queue = Vec::new();
            for (words, fill, drains) in steps {
                let record = record(words, fill);
                if ring.write(&record) {
                    queue.push(record);
                }
                if drains == 0 {
                    let mut drained = Vec::new();
                    ring.drain(|record| drained.push(record.to_vec()));
                    prop_assert_eq!(&drained, &queue);
                    queue.clear();
                }
            }
            let mut drained = Vec::new();
            ring.drain(|record| drained.push(record.to_vec()));
            prop_assert_eq!(drained, queue);
        }
    }

    #[test]
    fn a_record_without_a_length_ends_the_round() {
        let mut ring = Ring::in_memory(1024);
        assert!(ring.write(&[0; 16]));
        ring.drain(|_| panic!("there is no record"));
    }
}
