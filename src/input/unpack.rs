//! Decompresses and decodes inputs while they are read: gzip, zstd, xz, UTF-16 and byte order
//! marks.
//!
//! The first bytes say how an input is encoded (RFC 1952, RFC 8878, the .xz file format; the byte
//! order mark U+FEFF).

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How many first bytes are needed to recognise the encoding.
const TELLING: u64 = 6;
/// Compressed text may also be UTF-16. Nobody compresses an input more often than this.
const LAYERS: usize = 4;
/// An input is refused if it unpacks to more than this many bytes and to more than [`RATIO`] times
/// its size.
const LARGE: u64 = 1 << 30;
const RATIO: u64 = 1000;

/// The bytes of an input.
pub(crate) type Bytes = Box<dyn Read + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zstd,
    Xz,
    Utf8,
    Utf16 { big: bool },
}

impl Coding {
    fn of(start: &[u8]) -> Option<Coding> {
        const SIGNS: [(&[u8], Coding); 6] = [
            (b"\x1f\x8b\x08", Coding::Gzip),
            (b"\x28\xb5\x2f\xfd", Coding::Zstd),
            (b"\xfd7zXZ\0", Coding::Xz),
            (b"\xef\xbb\xbf", Coding::Utf8),
            (b"\xff\xfe", Coding::Utf16 { big: false }),
            (b"\xfe\xff", Coding::Utf16 { big: true }),
        ];
        SIGNS.into_iter().find(|(sign, _)| start.starts_with(sign)).map(|(_, coding)| coding)
    }
}

/// The plain bytes of the input called `name`, and whether they differ from those of `reader`.
///
/// # Errors
/// The input cannot be read, or is compressed in an unknown way. Broken compressed data fails while
/// it is read.
///
/// Memory: a window of the packed data, up to 128 MiB if the packer asked for one.
pub(crate) fn plain(name: &str, reader: Bytes) -> Result<(Bytes, bool)> {
    let mut reader = reader;
    for layer in 0..LAYERS {
        let mut start = Vec::new();
        let reading = || format!("cannot read {name}");
        (&mut reader).take(TELLING).read_to_end(&mut start).map_err(Error::io(reading))?;
        let coding = Coding::of(&start);
        refuse_others(name, &start)?;
        let whole: Bytes = Box::new(Cursor::new(start).chain(reader));
        let Some(coding) = coding else { return Ok((whole, layer > 0)) };
        reader = undo(coding, whole).map_err(Error::io(reading))?;
    }
    Err(Error::Unreadable {
        input: name.into(),
        why: format!("is compressed more than {LAYERS} times"),
        remedy: "decompress it first".into(),
    })
}

/// Whether an input that starts with `start` is compressed or encoded.
pub(crate) fn is_coded(start: &[u8]) -> bool {
    Coding::of(start).is_some() || refuse_others("", start).is_err()
}

/// Fails for compressors that are not supported.
fn refuse_others(name: &str, start: &[u8]) -> Result<()> {
    const OTHERS: [(&[u8], &str, &str); 4] = [
        (b"BZh", "bzip2", "bunzip2 -c"),
        (b"PK\x03\x04", "zip", "unzip -p"),
        (b"7z\xbc\xaf\x27\x1c", "7z", "7z x -so"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    ];
    match OTHERS.iter().find(|(sign, ..)| start.starts_with(sign)) {
        Some((_, packer, unpack)) => Err(Error::Unreadable {
            input: name.into(),
            why: format!("is compressed with {packer}, which cannot be read"),
            remedy: format!("decompress it in the pipeline with `{unpack}`"),
        }),
        None => Ok(()),
    }
}

fn undo(coding: Coding, reader: Bytes) -> io::Result<Bytes> {
    if let Coding::Utf8 = coding {
        let mut mark = [0; 3];
        let mut reader = reader;
        reader.read_exact(&mut mark)?;
        return Ok(reader);
    }
    let packed = Arc::new(AtomicU64::new(0));
    let counted = BufReader::with_capacity(1 << 16, Counted { reader, count: Arc::clone(&packed) });
    let unpacked: Bytes = match coding {
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(counted)?),
        Coding::Xz => Box::new(Xz::new(counted)),
        Coding::Utf16 { big } => Box::new(Utf16::new(counted, big)),
        Coding::Utf8 => Box::new(counted),
    };
    Ok(Box::new(Bounded { reader: unpacked, read: 0, packed }))
}

/// Counts the bytes that are read.
struct Counted<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails if a small input becomes so large that it must be a mistake or an attack.
struct Bounded<R> {
    reader: R,
    read: u64,
    packed: Arc<AtomicU64>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read += read as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        if self.read > LARGE && self.read / RATIO > packed {
            let why = format!(
                "it decompresses to more than {} GiB, {RATIO} times its size: if that is right, decompress it yourself",
                LARGE >> 30
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(read)
    }
}

/// Unpacks one .xz stream after the other, with the zeros that may lie between them.
struct Xz<R> {
    reader: R,
    decoder: Box<xz4rust::XzDecoder<'static>>,
    /// Whether a stream has ended and the next one has not begun.
    is_between: bool,
}

impl<R: BufRead> Xz<R> {
    fn new(reader: R) -> Self {
        // 64 MiB is the dictionary of `xz -9`.
        let decoder = xz4rust::XzDecoder::in_heap_with_alloc_dict_size(1 << 16, 64 << 20);
        Xz { reader, decoder, is_between: false }
    }
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.reader.fill_buf()?;
            if self.is_between {
                let zeros = input.iter().take_while(|&&byte| byte == 0).count();
                if input.is_empty() {
                    return Ok(0);
                }
                self.is_between = zeros == input.len();
                self.reader.consume(zeros);
                continue;
            }
            if input.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = self.decoder.decode(input, buffer);
            let step = step.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (used, made) = match step {
                xz4rust::XzNextBlockResult::NeedMoreData(used, made) => (used, made),
                xz4rust::XzNextBlockResult::EndOfStream(used, made) => {
                    self.decoder.reset();
                    self.is_between = true;
                    (used, made)
                }
            };
            self.reader.consume(used);
            if made > 0 {
                return Ok(made);
            }
        }
    }
}

/// Turns UTF-16 into UTF-8, without the byte order mark. Invalid parts become U+FFFD.
struct Utf16<R> {
    reader: R,
    big: bool,
    /// The first byte of a unit, if a buffer ended inside the unit.
    half: Option<u8>,
    /// The first unit of a pair.
    high: Option<u16>,
    out: Vec<u8>,
    taken: usize,
    is_begun: bool,
}

impl<R: BufRead> Utf16<R> {
    fn new(reader: R, big: bool) -> Self {
        let out = Vec::new();
        Utf16 { reader, big, half: None, high: None, out, taken: 0, is_begun: false }
    }

    /// Fills `out` with what comes next; leaves it empty at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.taken = 0;
        while self.out.is_empty() {
            let bytes = self.reader.fill_buf()?;
            let is_end = bytes.is_empty();
            let mut units: Vec<u16> = self.high.take().into_iter().collect();
            for &byte in bytes {
                match self.half.take() {
                    Some(first) if self.big => units.push(u16::from_be_bytes([first, byte])),
                    Some(first) => units.push(u16::from_le_bytes([first, byte])),
                    None => self.half = Some(byte),
                }
            }
            let read = bytes.len();
            self.reader.consume(read);
            if !is_end && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
                self.high = units.pop();
            }
            if is_end && self.half.take().is_some() {
                units.push(0xfffd);
            }
            let mut units = &units[..];
            if !self.is_begun && !units.is_empty() {
                self.is_begun = true;
                units = units.strip_prefix(&[0xfeff]).unwrap_or(units);
            }
            for character in char::decode_utf16(units.iter().copied()) {
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            if is_end {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.out.len() {
            self.fill()?;
        }
        let read = buffer.len().min(self.out.len() - self.taken);
        buffer[..read].copy_from_slice(&self.out[self.taken..self.taken + read]);
        self.taken += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    /// At most `.1` bytes a read.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.1.min(buffer.len()).min(self.0.len());
            buffer[..read].copy_from_slice(&self.0[..read]);
            self.0.drain(..read);
            Ok(read)
        }
    }

    fn unpack(bytes: &[u8], step: usize) -> io::Result<(Vec<u8>, bool)> {
        let opened = plain("x", Box::new(Slow(bytes.to_vec(), step)));
        let (mut reader, is_other) = opened.map_err(io::Error::other)?;
        let mut all = Vec::new();
        reader.read_to_end(&mut all)?;
        Ok((all, is_other))
    }

    /// `printf 'a;b 1\n' | xz`
    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21,
        0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x05, 0x61, 0x3b, 0x62,
        0x20, 0x31, 0x0a, 0x00, 0x00, 0x00, 0x6f, 0xbd, 0x30, 0x52, 0xd6, 0x1e, 0x4b, 0x92, 0x00,
        0x01, 0x1e, 0x06, 0xc1, 0x2f, 0xa4, 0x1d, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x04, 0x59, 0x5a,
    ];

    #[test]
    fn all_that_is_packed_is_unpacked() {
        let text = "a;\u{e9}\u{1f600} 1\nb 2\n";
        let twice = text.repeat(2).into_bytes();
        let plain = text.as_bytes();
        let zstd = zstd::encode_all(plain, 1).unwrap();
        for (packed, expected, is_other) in [
            (plain.to_vec(), plain, false),
            (b"".to_vec(), &b""[..], false),
            (b"a".to_vec(), b"a", false),
            ([b"\xef\xbb\xbf", plain].concat(), plain, true),
            (utf16(text, false), plain, true),
            (utf16(text, true), plain, true),
            (gzip(plain), plain, true),
            (gzip(plain).repeat(2), &twice, true),
            (zstd.clone(), plain, true),
            (zstd.repeat(2), &twice, true),
            (gzip(&utf16(text, false)), plain, true),
        ] {
            for step in [1, 3, 1000] {
                let unpacked = unpack(&packed, step).unwrap();
                assert_eq!(unpacked, (expected.to_vec(), is_other), "{packed:?} {step}");
            }
        }
        let padded = [XZ, &[0; 4], XZ].concat();
        for step in [1, 9, 1000] {
            assert_eq!(unpack(&padded, step).unwrap(), (b"a;b 1\na;b 1\n".to_vec(), true));
        }
        assert_eq!(unpack(b"\xff\xfea", 9).unwrap().0, "\u{fffd}".as_bytes(), "half a unit");
        assert!(unpack(&gzip(plain)[..20], 9).is_err());
        assert!(unpack(&XZ[..20], 9).is_err());
    }

    #[test]
    fn other_packers_are_named() {
        for start in ["BZh91AY", "PK\x03\x04xx"] {
            let error = plain("x", Box::new(start.as_bytes())).err().unwrap();
            assert!(error.to_string().starts_with("x is compressed with "), "{error}");
            assert!(is_coded(start.as_bytes()));
        }
        assert!(!is_coded(b"a;b 1\n"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = zstd::encode_all(io::repeat(b'a').take(LARGE + (1 << 20)), 1).unwrap();
        let (mut reader, _) = plain("x", Box::new(Cursor::new(zeros))).unwrap();
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("decompresses to more than 1 GiB"), "{error}");
    }
}
