//! Reads the parts of an ELF file: its sections, which it unpacks, segments, build-id and links to
//! debug files.
//!
//! Format: the System V ABI, chapters 4 and 5, and gdb's manual, "Separate Debug Files".

use std::borrow::Cow;
use std::io::Read;

use bstr::ByteSlice;
use object::read::CompressedData;
use object::read::elf::{
    CompressionHeader, FileHeader, NoteIterator, ProgramHeader, SectionHeader,
};
use object::{CompressionFormat, Endianness, elf};

/// The most bytes that a section may unpack to. More is hostile.
const LARGEST_SECTION: u64 = 8 << 30;

/// The most bytes that .gnu_debugdata may unpack to. More is hostile.
const LARGEST_DEBUGDATA: u64 = 1 << 30;

/// A parsed ELF file. Everything borrows its bytes.
pub(super) struct Elf<'d> {
    /// `EM_X86_64` and the like.
    pub machine: u16,
    /// Whether numbers have their highest byte first.
    pub big: bool,
    /// Whether it is of the 64-bit class.
    pub wide: bool,
    /// The address of the entry point.
    pub entry: u64,
    /// In the order of the file, which is that of a symbol's section index.
    pub sections: Vec<Section<'d>>,
    /// The segments that are loaded (`PT_LOAD`).
    pub segments: Vec<Segment>,
    build_id: Option<&'d [u8]>,
}

pub(super) struct Section<'d> {
    pub name: &'d [u8],
    /// `SHT_SYMTAB` and the like.
    pub kind: u32,
    pub address: u64,
    pub size: u64,
    /// The section that belongs to it, such as a symbol table's strings.
    pub link: u32,
    /// Its bytes in the file, perhaps compressed; empty if it has none.
    pub data: &'d [u8],
    pub(super) packed: Option<(CompressionFormat, u64)>,
}

/// One loaded segment: where it is in the file and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Its size in the file, in bytes.
    pub file_size: u64,
    /// Where it starts in the file's own address space.
    pub address: u64,
    /// Whether its pages can be executed.
    pub executable: bool,
}

impl<'d> Elf<'d> {
    /// Reads the headers. `None` if these bytes are not an ELF file.
    pub(super) fn parse(data: &'d [u8]) -> Option<Elf<'d>> {
        match data.get(4)? {
            1 => Self::read::<elf::FileHeader32<Endianness>>(data),
            2 => Self::read::<elf::FileHeader64<Endianness>>(data),
            _ => None,
        }
    }

    fn read<H: FileHeader<Endian = Endianness>>(data: &'d [u8]) -> Option<Elf<'d>> {
        let header = H::parse(data).ok()?;
        let endian = header.endian().ok()?;
        // A file may have lost its section headers or its segments.
        let table = header.sections(endian, data).unwrap_or_default();
        let sections = table.iter().map(|section| {
            let packed = section.compression(endian, data).ok().flatten();
            let packed = packed.and_then(|(head, offset, size)| {
                let format = match head.ch_type(endian) {
                    elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
                    elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
                    _ => CompressionFormat::Unknown,
                };
                let end = offset.checked_add(size)?;
                let data = data.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)?;
                Some((format, head.ch_size(endian).into(), data))
            });
            Section {
                name: table.section_name(endian, section).unwrap_or_default(),
                kind: section.sh_type(endian).0,
                address: section.sh_addr(endian).into(),
                size: section.sh_size(endian).into(),
                link: section.sh_link(endian),
                data: match packed {
                    Some((_, _, data)) => data,
                    None => section.data(endian, data).unwrap_or_default(),
                },
                packed: packed.map(|(format, size, _)| (format, size)),
            }
        });
        let headers = header.program_headers(endian, data).unwrap_or_default();
        let segments = headers.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).map(
            |segment| Segment {
                offset: segment.p_offset(endian).into(),
                file_size: segment.p_filesz(endian).into(),
                address: segment.p_vaddr(endian).into(),
                executable: segment.p_flags(endian).0 & elf::PF_X.0 != 0,
            },
        );
        let mut notes = table.iter().filter_map(|section| section.notes(endian, data).ok()?);
        let in_sections = notes.find_map(|notes| build_id(notes, endian));
        let in_segments = || {
            let mut notes =
                headers.iter().filter_map(|segment| segment.notes(endian, data).ok()?);
            notes.find_map(|notes| build_id(notes, endian))
        };
        Some(Elf {
            machine: header.e_machine(endian).0,
            big: endian == Endianness::Big,
            wide: header.is_type_64(),
            entry: header.e_entry(endian).into(),
            // Sections come first, because a debug file's segments point to bytes that it lacks.
            build_id: in_sections.or_else(in_segments).filter(|id| !id.is_empty()),
            sections: sections.collect(),
            segments: segments.collect(),
        })
    }

    /// The identity of this build of the module: the note `NT_GNU_BUILD_ID`.
    pub(super) fn build_id(&self) -> Option<&'d [u8]> {
        self.build_id
    }

    /// The section called `name`.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section<'d>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether the section called `name` has content.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.section(name).is_some_and(|section| !section.data.is_empty())
    }

    pub(super) fn has_dwarf(&self) -> bool {
        self.has(b".debug_info") || self.has(b".zdebug_info")
    }

    /// The unpacked content of the section called `name`, or of its old form `.zdebug_…`. Empty if
    /// there is none, or if it cannot be unpacked.
    pub(super) fn content(&self, name: &str) -> Cow<'d, [u8]> {
        if let Some(section) = self.section(name.as_bytes()) {
            return section.unpacked().unwrap_or_default();
        }
        let old = name.strip_prefix(".debug_").map(|rest| format!(".zdebug_{rest}"));
        let old = old.and_then(|old| self.section(old.as_bytes()));
        old.and_then(Section::unpacked_gnu).unwrap_or_default()
    }

    /// The first `len` bytes of what [`content`](Elf::content) returns. The rest stays packed.
    pub(super) fn start_of(&self, name: &str, len: usize) -> Cow<'d, [u8]> {
        let packed = self.section(name.as_bytes()).and_then(|section| {
            let (format, size) = section.packed?;
            (format == CompressionFormat::Zlib && (len as u64) < size).then_some(section.data)
        });
        let Some(packed) = packed else { return self.content(name) };
        let mut start = vec![0; len];
        match flate2::read::ZlibDecoder::new(packed).read_exact(&mut start) {
            Ok(()) => Cow::Owned(start),
            Err(_) => self.content(name),
        }
    }

    /// The content of the section called `name`; empty if it is compressed.
    pub(super) fn plain(&self, name: &str) -> &'d [u8] {
        let section = self.section(name.as_bytes()).filter(|section| section.packed.is_none());
        section.map_or(b"", |section| section.data)
    }

    /// The unpacked size of all compressed sections together, in bytes, as they state it.
    pub(super) fn packed_size(&self) -> u64 {
        let sizes = self.sections.iter().filter_map(|section| section.packed);
        sizes.fold(0, |sum, (_, size)| sum.saturating_add(size))
    }

    /// The name of the debug file (`.gnu_debuglink`) and its checksum.
    pub(super) fn debug_link(&self) -> Option<(&'d [u8], u32)> {
        let data = self.section(b".gnu_debuglink")?.data;
        let end = data.find_byte(0)?;
        // The name, its zero, zeros up to a multiple of four, the checksum.
        let sum: [u8; 4] = data.get((end + 4) & !3..)?.get(..4)?.try_into().ok()?;
        let sum = if self.big { u32::from_be_bytes(sum) } else { u32::from_le_bytes(sum) };
        Some((data.get(..end)?, sum))
    }

    /// The path of the file that several debug files share (`.gnu_debugaltlink`), and its build-id.
    pub(super) fn alt_link(&self) -> Option<(&'d [u8], &'d [u8])> {
        let (path, id) = self.section(b".gnu_debugaltlink")?.data.split_once_str("\0")?;
        Some((path, id))
    }
}

impl<'d> Section<'d> {
    /// Its unpacked content; `None` if it cannot be unpacked.
    pub(super) fn unpacked(&self) -> Option<Cow<'d, [u8]>> {
        match self.packed {
            None => Some(Cow::Borrowed(self.data)),
            Some((format, size)) => unpack(format, self.data, size),
        }
    }

    /// The content of a `.zdebug_` section: `ZLIB`, the size as eight bytes, highest first, then
    /// zlib.
    fn unpacked_gnu(&self) -> Option<Cow<'d, [u8]>> {
        let (size, data) = self.data.strip_prefix(b"ZLIB")?.split_first_chunk::<8>()?;
        unpack(CompressionFormat::Zlib, data, u64::from_be_bytes(*size))
    }
}

/// The note `NT_GNU_BUILD_ID`, if it is among `notes`.
fn build_id<'d, H: FileHeader<Endian = Endianness>>(
    mut notes: NoteIterator<'d, H>,
    endian: Endianness,
) -> Option<&'d [u8]> {
    std::iter::from_fn(|| notes.next().ok().flatten())
        .find(|note| note.name() == elf::ELF_NOTE_GNU && note.n_type(endian).0 == 3)
        .map(|note| note.desc())
}

fn unpack(format: CompressionFormat, data: &[u8], size: u64) -> Option<Cow<'_, [u8]>> {
    if size > most_unpacked(data, LARGEST_SECTION) {
        log::warn!("a section was not read, because it would unpack to {size} bytes");
        return None;
    }
    CompressedData { format, data, uncompressed_size: size }.decompress().ok()
}

/// How many bytes `data` may unpack to. zlib expands up to 1032 times and zstd more, but the
/// sections of real programs at most 83 times.
fn most_unpacked(data: &[u8], largest: u64) -> u64 {
    (data.len() as u64).saturating_mul(100).saturating_add(1 << 20).min(largest)
}

/// Four or eight bytes as a number.
pub(super) fn number(bytes: &[u8], big: bool) -> u64 {
    let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if big { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) }
}

/// Unpacks `.gnu_debugdata`.
pub(super) fn unxz(packed: &[u8]) -> Option<Vec<u8>> {
    // The largest dictionary of xz's presets is 64 MB.
    let decoder = xz4rust::XzDecoder::in_heap_with_alloc_dict_size(1 << 16, 64 << 20);
    let size = std::num::NonZeroUsize::new(1 << 16)?;
    let input = std::io::Cursor::new(packed.to_vec());
    let reader = xz4rust::XzReader::new_with_buffer_size_and_decoder(input, size, decoder);
    let mut bytes = Vec::new();
    reader.take(most_unpacked(packed, LARGEST_DEBUGDATA)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_claims_to_unpack_to_too_much_is_not_unpacked() {
        assert!(unpack(CompressionFormat::Zlib, b"x", 1 << 40).is_none());
        // Small enough for any section, but not for one of this size.
        let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut bomb, &vec![0; 4 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 5000);
        assert!(unpack(CompressionFormat::Zlib, &bomb, 4 << 20).is_none());
        assert!(unpack(CompressionFormat::Zstandard, b"x", 100).is_none());
        assert!(Elf::parse(b"\x7fELF\x02\x01").is_none());
        assert!(Elf::parse(b"").is_none());
    }
}
