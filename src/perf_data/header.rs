//! Reads the start of a recording: the magic, the byte order, and where the parts of a file are.
//!
//! ```text
//! file   header 104 B │ attrs: (attr, place of ids)* │ ids │ records │ feature table │ features
//! pipe   header  16 B │ records, among them HEADER_ATTR and HEADER_FEATURE
//! ```
//!
//! Source: `tools/perf/Documentation/perf.data-file-format.txt`.

use super::bytes::{Cursor, Endian};
use crate::error::{Error, Result};

/// The numbers of the features: `HEADER_*` in perf's header.h.
pub(super) mod number {
    pub(crate) const BUILD_ID: u64 = 2;
    pub(crate) const HOSTNAME: u64 = 3;
    pub(crate) const OSRELEASE: u64 = 4;
    pub(crate) const VERSION: u64 = 5;
    pub(crate) const ARCH: u64 = 6;
    pub(crate) const NRCPUS: u64 = 7;
    pub(crate) const CPUDESC: u64 = 8;
    pub(crate) const CPUID: u64 = 9;
    pub(crate) const TOTAL_MEM: u64 = 10;
    pub(crate) const CMDLINE: u64 = 11;
    pub(crate) const EVENT_DESC: u64 = 12;
    pub(crate) const PMU_MAPPINGS: u64 = 16;
    pub(crate) const SAMPLE_TIME: u64 = 21;
    pub(crate) const COMPRESSED: u64 = 27;
    pub(crate) const CLOCK_DATA: u64 = 29;
}

/// `PERFILE2` as a number in the machine's byte order.
const LITTLE: &[u8; 8] = b"PERFILE2";
const BIG: &[u8; 8] = b"2ELIFREP";
/// The size of the header of a file.
pub(super) const FILE_SIZE: u64 = 104;
/// The size of the header of a pipe.
pub(super) const PIPE_SIZE: u64 = 16;

/// Whether an input that starts with `bytes` is a perf.data file or stream of either byte order.
/// Eight bytes suffice.
pub fn sniff(bytes: &[u8]) -> bool {
    bytes.starts_with(LITTLE) || bytes.starts_with(BIG) || is_old(bytes)
}

/// Whether an input that starts with `bytes` has perf's first format, which only perf can read.
pub(crate) fn is_old(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PERFFILE") || bytes.starts_with(b"ELIFFREP")
}

/// A part of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// In bytes from the start of the file.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
}

impl Section {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Section> {
        Some(Section { offset: cursor.u64()?, size: cursor.u64()? })
    }

    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The section's bytes, or the part of them that the file has.
    pub(super) fn of<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(file.len());
        file.get(clamp(self.offset)..clamp(self.end())).unwrap_or_default()
    }
}

/// The start of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Pipe(Endian),
    File(FileHeader),
}

/// Where the parts of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub endian: Endian,
    /// The size of one entry of `attrs`: a `perf_event_attr` and the [`Section`] of its ids.
    pub attr_size: u64,
    pub attrs: Section,
    /// The records. Its size is 0 if the recorder was killed.
    pub data: Section,
    /// If bit n is set, feature n has an entry in the table after the data.
    pub features: [u64; 4],
}

impl Header {
    /// Reads the header of the input called `name` from its first `bytes`, at least [`FILE_SIZE`]
    /// of a whole file.
    pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Header> {
        let endian = match bytes.first_chunk::<8>() {
            Some(LITTLE) => Endian::Little,
            Some(BIG) => Endian::Big,
            _ if bytes.is_empty() => return Err(Error::Empty { input: name.into() }),
            Some(_) if is_old(bytes) => {
                return Err(Error::NeedsPerf {
                    what: format!("{name} is a perf.data file from before Linux 3.3"),
                    remedy: "record it again, or read it with perf script (--backend perf)".into(),
                });
            }
            _ => {
                let expected = "a perf.data file".into();
                return Err(Error::Format { input: name.into(), expected });
            }
        };
        let mut cursor = Cursor::new(&bytes[8..], endian);
        let corrupt = |problem: &str| Error::Corrupt {
            input: name.into(),
            at: "byte 8".into(),
            problem: problem.into(),
        };
        match cursor.u64() {
            Some(PIPE_SIZE) => Ok(Header::Pipe(endian)),
            Some(FILE_SIZE..) => file(&mut cursor)
                .map(Header::File)
                .ok_or_else(|| corrupt("the perf.data header is cut short")),
            Some(_) => Err(corrupt("the perf.data header has an impossible size")),
            None => Err(corrupt("the perf.data header is cut short")),
        }
    }

    pub(super) fn endian(&self) -> Endian {
        match self {
            Header::Pipe(endian) | Header::File(FileHeader { endian, .. }) => *endian,
        }
    }
}

fn file(cursor: &mut Cursor<'_>) -> Option<FileHeader> {
    let attr_size = cursor.u64()?;
    let attrs = Section::parse(cursor)?;
    let data = Section::parse(cursor)?;
    let _event_types = Section::parse(cursor)?;
    let mut features = [0; 4];
    for word in &mut features {
        *word = cursor.u64()?;
    }
    Some(FileHeader { endian: cursor.endian(), attr_size, attrs, data, features })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics() {
        assert!(sniff(b"PERFILE2\x68") && sniff(b"2ELIFREP"));
        assert!(sniff(b"PERFFILE\x68") && is_old(b"PERFFILE") && !is_old(b"PERFILE2"));
        assert!(!sniff(b"PERFILE") && !sniff(b"rg 12 3.4: cycles:"));
        assert!(matches!(Header::parse(b"", "x"), Err(Error::Empty { .. })));
        assert!(matches!(Header::parse(b"PERFFILE\0", "x"), Err(Error::NeedsPerf { .. })));
        assert!(matches!(Header::parse(b"main;f 1\n", "x"), Err(Error::Format { .. })));
        assert!(matches!(Header::parse(b"PERFILE2\x68\0\0", "x"), Err(Error::Corrupt { .. })));
        let pipe = b"2ELIFREP\0\0\0\0\0\0\0\x10";
        assert_eq!(Header::parse(pipe, "x").ok(), Some(Header::Pipe(Endian::Big)));
    }

    #[test]
    fn sections_are_clamped_to_the_file() {
        let section = |offset, size| Section { offset, size };
        assert_eq!(section(1, 2).of(b"abcd"), b"bc");
        assert_eq!(section(3, u64::MAX).of(b"abcd"), b"d");
        assert_eq!(section(9, 1).of(b"abcd"), b"");
    }
}
