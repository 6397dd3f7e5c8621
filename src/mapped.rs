//! Holds the bytes of a file, mapped if the system can do that, so that only the pages that are
//! used are read.
//!
//! A mapped file may be overwritten in place by another process. Then its bytes change: readers
//! check every bound and never rely on reading the same byte twice. If it is cut short, the system
//! sends SIGBUS to whoever reads behind its new end. On Linux we catch that and put zeros there,
//! which no reader takes for something else: names and tables are missing, and a recording is
//! broken from there on.
#![expect(unsafe_code, reason = "mapping a file is unsafe, as another process may change it")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The content of a file.
pub(crate) enum Bytes {
    /// The mapped file.
    Mapped(Mapped),
    /// A copy: the file was read or unpacked, or came from a process.
    Owned(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Owned(Vec::new())
    }
}

/// Files up to this size are read. That costs little, and protects from programs such as `cp`,
/// which overwrite a file in place.
const SMALL: u64 = 1 << 20;

impl Bytes {
    /// Reads or maps the file at `path`, for use over a long time.
    pub(crate) fn open(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        let size = file.metadata()?.len();
        if size > SMALL {
            return Ok(Bytes::Mapped(Mapped::new(&file)?));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(SMALL).read_to_end(&mut bytes)?;
        Ok(Bytes::Owned(bytes))
    }

    /// Maps the file at `path`, for a short look at a few of its pages.
    #[cfg(target_os = "linux")]
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        let file = regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::Owned(Vec::new()));
        }
        Ok(Bytes::Mapped(Mapped::new(&file)?))
    }

    /// Maps a recording, which is read once from its start to its end.
    pub(crate) fn of_recording(mut file: &File) -> io::Result<Bytes> {
        if let Ok(mapped) = Mapped::new(file) {
            #[cfg(unix)]
            let _ = mapped.map.advise(memmap2::Advice::Sequential);
            return Ok(Bytes::Mapped(mapped));
        }
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Bytes::Owned(bytes))
    }
}

/// Opens only regular files: the name of a module may be that of a device or a pipe.
fn regular(path: &Path) -> io::Result<File> {
    // The check comes before opening, because opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

pub(crate) struct Mapped {
    // Fields are dropped in this order: no other mapping comes under this guard.
    #[cfg(target_os = "linux")]
    _guard: guard::Guard,
    map: Mmap,
}

impl Mapped {
    fn new(file: &File) -> io::Result<Mapped> {
        // SAFETY: the mapping is private and read-only. The head of this file says what becomes of
        // it if the file changes.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapped {
            #[cfg(target_os = "linux")]
            _guard: guard::Guard::new(map.as_ptr_range()),
            map,
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(mapped) => &mapped.map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Catches SIGBUS.
#[cfg(target_os = "linux")]
mod guard {
    use std::ops::Range;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};

    /// A range of addresses. The list of them only grows, and each is used again, so that the
    /// handler can walk it at any time.
    struct Guarded {
        /// 0 if it is not used.
        start: AtomicUsize,
        end: AtomicUsize,
        next: Option<&'static Guarded>,
    }

    static LIST: AtomicPtr<Guarded> = AtomicPtr::new(ptr::null_mut());

    fn list() -> impl Iterator<Item = &'static Guarded> {
        // SAFETY: null, or one of those that are never freed.
        let first = unsafe { LIST.load(SeqCst).as_ref() };
        std::iter::successors(first, |guarded| guarded.next)
    }

    /// Guards a range until it is dropped.
    pub(super) struct Guard(&'static Guarded);

    impl Guard {
        pub(super) fn new(range: Range<*const u8>) -> Guard {
            /// In use, but not for any address yet.
            const TAKEN: usize = usize::MAX;
            watch();
            let take = |guarded: &&Guarded| {
                guarded.start.compare_exchange(0, TAKEN, SeqCst, SeqCst).is_ok()
            };
            let guarded = list().find(take).unwrap_or_else(|| add(TAKEN));
            guarded.end.store(range.end as usize, SeqCst);
            guarded.start.store(range.start as usize, SeqCst);
            Guard(guarded)
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.start.store(0, SeqCst);
        }
    }

    /// A new range at the front of the list.
    fn add(start: usize) -> &'static Guarded {
        let guarded = Guarded { start: start.into(), end: 0.into(), next: None };
        let guarded = Box::leak(Box::new(guarded));
        loop {
            guarded.next = list().next();
            let next = guarded.next.map_or(ptr::null_mut(), |next| ptr::from_ref(next).cast_mut());
            if LIST.compare_exchange(next, guarded, SeqCst, SeqCst).is_ok() {
                return guarded;
            }
        }
    }

    /// The action of SIGBUS before, and the size of a page.
    static BEFORE: OnceLock<(libc::sigaction, usize)> = OnceLock::new();

    /// Catches SIGBUS from now on.
    fn watch() {
        BEFORE.get_or_init(|| {
            // SAFETY: zeros are a valid `sigaction`; the calls fill one in and read the other.
            unsafe {
                let mut before: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before);
                let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
                (before, page)
            }
        });
    }

    /// Puts zeros behind the end of the file, and returns to the instruction that reads there. If
    /// the address is not ours, that instruction meets what SIGBUS did before.
    extern "C" fn handle(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let Some((before, page)) = BEFORE.get() else { return };
        // SAFETY: the system passes a valid pointer.
        let at = unsafe { (*info).si_addr() } as usize;
        for guarded in list() {
            let start = guarded.start.load(SeqCst);
            let end = guarded.end.load(SeqCst);
            if start <= at && at < end && start != 0 && fill(at / page * page, end) {
                return;
            }
        }
        // SAFETY: the action that the system gave us.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }

    /// Maps zeros.
    fn fill(start: usize, end: usize) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let at = start as *mut libc::c_void;
        // SAFETY: the range is that of a mapping of ours, which its owner still holds, because it
        // reads from it. The owner unmaps it all.
        let zeros = unsafe { libc::mmap(at, end - start, libc::PROT_READ, flags, -1, 0) };
        zeros != libc::MAP_FAILED
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_is_shortened_reads_as_zeros() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for _ in 0..3 {
            file.as_file().set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(&vec![7; 3 << 20]).unwrap();
            let others = [0; 3].map(|_| Bytes::open(file.path()).unwrap());
            let bytes = Bytes::open(file.path()).unwrap();
            assert!(matches!(bytes, Bytes::Mapped(_)));
            drop(others);
            file.as_file().set_len(10_000).unwrap();
            let (before, behind) = bytes.split_at(10_000);
            let count = |bytes: &[u8], byte| bytes.iter().filter(|&&it| it == byte).count();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert_eq!(count(behind, 0), behind.len()));
                }
            });
            assert_eq!(count(before, 7), before.len());
        }
    }
}
