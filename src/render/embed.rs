//! The folded stacks inside their graph: an SVG can be folded, compared and drawn again, also where the picture left
//! out what is too narrow to be seen.
//!
//! ```text
//! <metadata id="flamepipe-folded-1">BASE64</metadata></svg>
//! ```
//!
//! The number is the version. Inside the base64 is zstd, and in it the lines of folded text in the order in which they came,
//! each as the count of bytes that it begins with in common with the line before, a space, and the rest: sorted
//! stacks have most of their bytes in common with their neighbours, so that there is little to pack. zstd, as its bytes are the same on every machine.

use std::io::{self, BufRead, BufReader, Read, Write};

use bstr::ByteSlice;
use zstd::stream::{read::Decoder, write::Encoder};

use crate::error::{Error, Result};
use crate::folded::{self, Folded};
use crate::sample::{FrameId, FrameTable};

const START: &str = "<metadata id=\"flamepipe-folded-";
const VERSION: &str = "1";
const END: &str = "</metadata>";

/// Larger than this, packed, nothing is embedded: 8 MiB of base64. 240,000 stacks, 127 MB of text, take 3.4 MB beside 6 MB of SVG.
const MOST: usize = 6 << 20;

/// Longer than this no line is taken for one of ours.
const LONGEST: u64 = 64 << 20;

/// So much is packed at once, in bytes: zstd is slow to start.
const BATCH: usize = 1 << 16;

/// Packs stacks as they come. Memory: what is packed, and zstd's window of 512 KiB.
#[derive(Default)]
pub(super) struct Embedder {
    packed: Option<Encoder<'static, Vec<u8>>>,
    too_large: bool,
    last: Vec<u8>,
    /// The frames of `last`, and where in it each ends; none if it was no stack of frames.
    frames: Vec<FrameId>,
    ends: Vec<usize>,
    /// Lines that are still to be packed.
    batch: Vec<u8>,
    room: Vec<u8>,
}

impl Embedder {
    /// Adds one line, as it was read or as a writer would write it.
    pub(super) fn add(&mut self, frames: &FrameTable, folded: &Folded<'_>) -> Result<()> {
        if !folded.line.is_empty() {
            return self.text(folded.line);
        }
        // What the frames in common are written as need not be written again to be compared.
        let common = self.frames.iter().zip(folded.stack).take_while(|(a, b)| a == b).count();
        self.frames.truncate(common);
        self.ends.truncate(common);
        let start = self.ends.last().copied().unwrap_or(0);
        let mut rest = std::mem::take(&mut self.room);
        rest.clear();
        for &frame in folded.stack.get(common..).unwrap_or_default() {
            if !self.frames.is_empty() {
                rest.push(b';');
            }
            rest.extend_from_slice(frames.symbol(frame));
            self.frames.push(frame);
            self.ends.push(start + rest.len());
        }
        folded::weights(&mut rest, folded);
        let added = if rest.contains(&b'\n') {
            // A frame can have a newline in its name; as text that is two lines.
            rest.clear();
            folded::format(&mut rest, frames, folded);
            self.text(&rest)
        } else {
            self.line(start, &rest)
        };
        self.room = rest;
        added
    }

    /// Adds many that were not read from lines.
    pub(super) fn add_all(
        &mut self,
        frames: &FrameTable,
        pieces: &[Vec<Folded<'_>>],
    ) -> Result<()> {
        for piece in pieces {
            for (at, folded) in piece.iter().enumerate() {
                folded::prefetch(frames, piece, at);
                self.add(frames, folded)?;
            }
        }
        Ok(())
    }

    /// Adds lines as they are.
    pub(super) fn text(&mut self, text: &[u8]) -> Result<()> {
        self.frames.clear();
        self.ends.clear();
        ByteSlice::lines(text).try_for_each(|line| self.line(0, line))
    }

    /// Adds a line that begins with as many bytes of the one before as `start` says, and goes on with `rest`.
    fn line(&mut self, start: usize, rest: &[u8]) -> Result<()> {
        if self.too_large {
            return Ok(());
        }
        let same = folded::common_prefix(self.last.get(start..).unwrap_or_default(), rest);
        let new = rest.get(same..).unwrap_or_default();
        folded::number(&mut self.batch, (start + same) as u64);
        self.batch.push(b' ');
        self.batch.extend_from_slice(new);
        self.batch.push(b'\n');
        self.last.truncate(start + same);
        self.last.extend_from_slice(new);
        if self.batch.len() < BATCH { Ok(()) } else { self.pack() }
    }

    fn pack(&mut self) -> Result<()> {
        let packed = match &mut self.packed {
            Some(packed) => packed,
            none => none.insert(Encoder::new(Vec::new(), 1).map_err(packing())?),
        };
        packed.write_all(&self.batch).map_err(packing())?;
        self.batch.clear();
        if packed.get_ref().len() > MOST {
            *self = Embedder { too_large: true, ..Embedder::default() };
            log::warn!(
                "the graph is without its folded stacks: packed, they are larger than {} MiB",
                MOST >> 20
            );
        }
        Ok(())
    }

    /// Puts what was packed at the end of `svg`.
    pub(super) fn finish(mut self, svg: &mut Vec<u8>) -> Result<()> {
        if !self.batch.is_empty() {
            self.pack()?;
        }
        let (Some(packed), Some(end)) = (self.packed, svg.rfind("</svg>")) else { return Ok(()) };
        let packed = packed.finish().map_err(packing())?;
        let element = format!("{START}{VERSION}\">{}{END}\n", base64(&packed));
        svg.splice(end..end, element.into_bytes());
        Ok(())
    }
}

fn packing() -> impl FnOnce(io::Error) -> Error {
    Error::io(|| "cannot pack the folded stacks")
}

/// Whether `start` is the beginning of an SVG, anybody's.
pub(crate) fn is_svg(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    text.starts_with(b"<svg") || (text.starts_with(b"<") && text.contains_str("<svg"))
}

/// The folded text that is embedded in `svg`, which errors call `name`.
///
/// # Errors
/// There is none in it, or none that this version reads. Broken text is found out while it is read.
pub(crate) fn folded_text(svg: &[u8], name: &str) -> Result<impl Read + use<>> {
    let unsupported =
        |what: String, remedy: &str| Err(Error::Unsupported { what, remedy: remedy.into() });
    // The last one: names and notes are before it, whatever they say.
    let Some(at) = svg.rfind(START) else {
        return unsupported(
            format!("{name} is an SVG without folded stacks in it"),
            "draw it again: fg-render and flamegraph embed them unless they are told not to",
        );
    };
    let rest = &svg[at + START.len()..];
    let Some(data) = rest.strip_prefix(format!("{VERSION}\">").as_bytes()) else {
        return unsupported(
            format!("{name} has its folded stacks in a form that is not known here"),
            "a newer flamepipe drew it: use that, or draw it again",
        );
    };
    let data = data.find(END).map_or(data, |end| &data[..end]);
    let broken = || Error::Corrupt {
        input: name.into(),
        at: format!("byte {at}"),
        problem: "the folded stacks in it are broken".into(),
    };
    let packed = unbase64(data).ok_or_else(broken)?;
    let lines = Decoder::new(io::Cursor::new(packed)).map_err(|_| broken())?;
    Ok(Lines { coded: BufReader::new(lines), line: Vec::new(), at: 0, rest: Vec::new() })
}

/// Lines as they were before each lost what it shared with its predecessor.
struct Lines<R> {
    coded: R,
    line: Vec<u8>,
    /// How much of `line` was read.
    at: usize,
    rest: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Restores the next line, with its newline; false at the end.
    fn restore(&mut self) -> io::Result<bool> {
        self.rest.clear();
        // A few bytes can be made to unpack to gigabytes.
        let mut limited = (&mut self.coded).take(LONGEST);
        if limited.read_until(b'\n', &mut self.rest)? == 0 {
            return Ok(false);
        }
        let is_whole = limited.limit() > 0;
        let parts = self.rest.split_once_str(" ").and_then(|(shared, rest)| {
            let shared = shared.to_str().ok()?.parse::<usize>().ok()?;
            (is_whole && shared < self.line.len().max(1)).then_some((shared, rest))
        });
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the stacks in it are broken");
        let (shared, rest) = parts.ok_or_else(broken)?;
        self.line.truncate(shared);
        self.line.extend_from_slice(rest);
        self.at = 0;
        Ok(true)
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.restore()? {
            return Ok(0);
        }
        let read = (&self.line[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

/// The bytes of base64 text, between whose digits may be white space; `None` if it is none.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    let digits = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    for digit in digits.take_while(|byte| **byte != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn embedded(lines: &[&[u8]]) -> Vec<u8> {
        let (frames, mut embedder) = (FrameTable::default(), Embedder::default());
        for line in lines {
            embedder.add(&frames, &Folded { line, ..Folded::default() }).unwrap();
        }
        let mut svg = b"<svg></svg>\n".to_vec();
        embedder.finish(&mut svg).unwrap();
        svg
    }

    fn unpacked(svg: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        folded_text(svg, "x.svg").unwrap().read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn base64_is_what_everybody_knows() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(unbase64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(unbase64(b"Zm 9\nv"), Some(b"foo".to_vec()));
        assert_eq!(unbase64(b"Zm9<"), None);
    }

    #[test]
    fn what_is_no_graph_of_ours_is_refused() {
        let error = |svg: &[u8]| folded_text(svg, "x.svg").err().unwrap().to_string();
        assert!(error(b"<svg></svg>").contains("without folded stacks"));
        assert!(error(b"<metadata id=\"flamepipe-folded-2\">").contains("not known here"));
        assert!(error(b"<metadata id=\"flamepipe-folded-1\">!</metadata>").contains("broken"));
        let cut = |lines: &[u8]| {
            let packed = base64(&zstd::encode_all(lines, 1).unwrap());
            unpacked(format!("{START}{VERSION}\">{packed}{END}").as_bytes())
        };
        assert_eq!(cut(b"0 a 1\n2 23\n").unwrap(), b"a 1\na 23\n");
        for lines in [&b"1 a 1\n"[..], b"x\n", b"0 a 1\n9 2\n", b"-1 a 2\n"] {
            assert!(cut(lines).is_err(), "{:?}", lines.as_bstr());
        }
        assert!(cut(&vec![b'0'; LONGEST as usize + 1]).is_err());
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 32) as u32
        };
        let line: Vec<u8> = (0..MOST / 2).flat_map(|_| noise().to_le_bytes()).collect();
        assert_eq!(embedded(&[&line]).len(), "<svg></svg>\n".len());
    }

    proptest! {
        #[test]
        fn what_is_embedded_comes_out(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 1..20)) {
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|mut line| {
                line.retain(|byte| !b"\r\n".contains(byte));
                line.push(b'\n');
                line
            }).collect();
            let svg = embedded(&lines.iter().map(|line| &line[..]).collect::<Vec<_>>());
            prop_assert_eq!(unpacked(&svg).unwrap(), lines.concat());
            prop_assert!(svg.is_ascii());
        }
    }
}
