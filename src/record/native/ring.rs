//! The ring buffer that the kernel shares with us: one for each CPU.
//!
//! Source: `struct perf_event_mmap_page` in `include/uapi/linux/perf_event.h`.
#![expect(unsafe_code, reason = "memory that the kernel writes to")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: usize = 4096;
/// Where in the first page the kernel says how far it has written, and we how far we have read.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
/// The length of a record is at its byte 6, as a `u16`.
const SIZE: usize = 6;

/// A mapped ring buffer.
#[derive(Debug)]
pub(super) struct Ring {
    base: *mut u8,
    /// The bytes of data, a power of two; a page of the kernel's comes first.
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

    /// Hands over each whole record that is there, and frees its place.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        let head = self.word(HEAD).load(Ordering::Acquire);
        let mut tail = self.word(TAIL).load(Ordering::Relaxed);
        while tail < head {
            let at = (tail as usize) & (self.size - 1);
            // SAFETY: records start at multiples of 8, so that their heads are in one piece, and all between tail and
            // head is written and stays as it is until we move the tail.
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
        // SAFETY: mapped by us, with this size; nothing that was lent outlives us.
        unsafe { libc::munmap(self.base.cast(), self.page + self.size) };
    }
}

fn page_size() -> usize {
    // SAFETY: a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(PAGE)
}
