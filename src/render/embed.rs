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
use crate::sample::FrameTable;

const START: &str = "<metadata id=\"flamepipe-folded-";
const VERSION: &str = "1";
const END: &str = "</metadata>";

/// Larger than this, packed, nothing is embedded: 8 MiB of base64. 240,000 stacks, 127 MB of text, take 3.4 MB beside 6 MB of SVG.
const MOST: usize = 6 << 20;

/// Longer than this no line is taken for one of ours.
const LONGEST: u64 = 64 << 20;

/// Packs stacks as they come. Memory: what is packed, and zstd's window of 512 KiB.
#[derive(Default)]
pub(super) struct Embedder {
    packed: Option<Encoder<'static, Vec<u8>>>,
    too_large: bool,
    last: Vec<u8>,
    room: Vec<u8>,
}

impl Embedder {
    /// Adds one line, as it was read or as a writer would write it.
    pub(super) fn add(&mut self, frames: &FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        if folded.line.is_empty() {
            folded::format(&mut room, frames, folded);
        }
        let added = self.text(if folded.line.is_empty() { &room } else { folded.line });
        self.room = room;
        added
    }

    /// Adds lines as they are.
    pub(super) fn text(&mut self, text: &[u8]) -> Result<()> {
        let added = ByteSlice::lines(text).try_for_each(|line| self.line(line));
        added.map_err(Error::io(|| "cannot pack the folded stacks"))
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.too_large {
            return Ok(());
        }
        let packed = match &mut self.packed {
            Some(packed) => packed,
            none => none.insert(Encoder::new(Vec::new(), 1)?),
        };
        let shared = folded::common_prefix(&self.last, line);
        write!(packed, "{shared} ")?;
        packed.write_all(&line[shared..])?;
        packed.write_all(b"\n")?;
        if packed.get_ref().len() > MOST {
            *self = Embedder { too_large: true, ..Embedder::default() };
            log::warn!(
                "the graph is without its folded stacks: packed, they are larger than {} MiB",
                MOST >> 20
            );
            return Ok(());
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&line[shared..]);
        Ok(())
    }

    /// Puts what was packed at the end of `svg`.
    pub(super) fn finish(self, svg: &mut Vec<u8>) -> Result<()> {
        let (Some(packed), Some(end)) = (self.packed, svg.rfind("</svg>")) else { return Ok(()) };
        let packed = packed.finish().map_err(Error::io(|| "cannot pack the folded stacks"))?;
        let element = format!("{START}{VERSION}\">{}{END}\n", base64(&packed));
        svg.splice(end..end, element.into_bytes());
        Ok(())
    }
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
