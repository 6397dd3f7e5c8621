//! Reads and writes perf.data, as a file and as a stream.
//!
//! ```text
//!   Source               Session                        Order                   Reader
//!   a mapped file  ───▶  attrs, ids, names, features    two rounds, sorted ───▶ Item
//!   or a stream    record│ COMPRESSED ─▶ Inflate ─┐        ▲
//!                        └◀───────── records ─────┘────────┘ place and time
//! ```
//!
//! A *recording* is a sequence of *records*. The reader lends the kernel's records (SAMPLE, MMAP,
//! FORK, …) to the caller as [`Item`]s in order of time, and handles perf's own records itself. It
//! never copies a record of a mapped file, and copies a record of a pipe once. An *attr* says what
//! an *event* records. A record carries the *id* of its event.
//!
//! [`mod@write`] is the other direction, for our own recorder.
//!
//! A broken recording is read as far as it goes, for example if its recorder was killed. That gives
//! a [warning](Reader::warnings) and counts in the tally. No length in the input is trusted before
//! the bytes are there.
//!
//! ```no_run
//! use flamepipe::perf_data::{Reader, Record};
//!
//! let mut reader = Reader::open(&std::fs::File::open("perf.data").unwrap(), "perf.data")?;
//! while let Some(item) = reader.next_item()? {
//!     if let (Record::Sample(sample), Some(event)) = (item.record, item.event) {
//!         println!("{:?} {} {:x?}", sample.tid, event.name, sample.ip);
//!     }
//! }
//! # Ok::<(), flamepipe::error::Error>(())
//! ```
//!
//! Sources: perf_event_open(2), `include/uapi/linux/perf_event.h` and
//! `tools/perf/Documentation/perf.data-file-format.txt` of the Linux kernel.

mod attr;
mod bytes;
mod compressed;
mod describe;
mod event;
mod feature;
mod head;
mod header;
mod id;
mod order;
mod reader;
mod record;
pub(crate) mod sample;
mod seekable;
mod session;
mod share;
mod source;
#[cfg(test)]
mod tests;
mod window;
pub mod write;

pub(crate) use attr::{Attr, sample_type};
pub(crate) use bytes::{Cursor, Endian, Words};
pub(crate) use event::Event;
pub(crate) use feature::{BuildId, Clock, Features};
pub(crate) use head::Head;
pub use head::{CpuMode, kind};
pub(crate) use header::is_old;
pub use header::sniff;
pub(crate) use id::SampleId;

pub use reader::Progress;
pub use reader::{Item, Reader};
pub(crate) use record::Task;
pub use record::{FileId, Ksymbol, Mmap, Record};
pub(crate) use sample::{RawSample, Read};
pub use seekable::Seekable;
pub use share::Shares;
