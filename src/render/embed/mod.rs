//! The folded stacks inside their graph: an SVG can be folded, compared and drawn again, also where the picture left
//! out what is too narrow to be seen.
//!
//! ```text
//! <metadata id="flamepipe-folded-2">BASE64</metadata></svg>
//! ```
//!
//! The number is the version. Inside the base64 is zstd, and in it the lines of folded text in the order in which they came, [coded](code) by what they
//! have in common, so that there is little to pack. zstd, as its bytes are the same on every machine.

mod base64;
mod code;
mod decode;

use std::io::{self, BufReader, Read, Write};

use bstr::ByteSlice;
use code::Coder;
use decode::Decoder;
use zstd::stream::{read, write::Encoder};

use crate::error::{Error, Result};
use crate::folded::{self, Folded};
use crate::sample::FrameTable;

const START: &str = "<metadata id=\"flamepipe-folded-";
const VERSION: &str = "2";
const END: &str = "</metadata>";

/// Larger than this, packed, nothing is embedded: 8 MiB of base64. 100,000 stacks, 34 MB of text, take 1.5 MB beside as much SVG.
const MOST: usize = 6 << 20;

/// Of more stacks nothing is embedded either: they would hardly take less, and it is told before they are packed.
pub(super) const MOST_STACKS: u64 = 1 << 18;

/// So much is packed at once, in bytes: zstd is slow to start.
const BATCH: usize = 1 << 16;

/// Packs stacks as they come. Memory: what is packed, each name once, and zstd's window of 512 KiB.
#[derive(Default)]
pub(super) struct Embedder {
    packed: Option<Encoder<'static, Vec<u8>>>,
    is_off: bool,
    stacks: u64,
    coder: Coder,
    /// Lines that are still to be packed.
    batch: Vec<u8>,
    room: Vec<u8>,
}

impl Embedder {
    /// Adds one line, as it was read or as a writer would write it.
    pub(super) fn add(&mut self, frames: &FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.stacks += 1;
        if self.stacks > MOST_STACKS {
            self.refuse_many();
        }
        if self.is_off || self.coder.stack(&mut self.batch, frames, folded) {
            return self.pack_batch();
        }
        if !folded.line.is_empty() {
            return self.text(folded.line);
        }
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        folded::format(&mut room, frames, folded);
        let added = self.text(&room);
        self.room = room;
        added
    }

    /// Adds many that were not read from lines.
    pub(super) fn add_all(
        &mut self,
        frames: &FrameTable,
        pieces: &[Vec<Folded<'_>>],
    ) -> Result<()> {
        let many = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if self.stacks + many > MOST_STACKS {
            self.refuse_many();
            return Ok(());
        }
        pieces.iter().flatten().try_for_each(|folded| self.add(frames, folded))
    }

    /// Adds lines as they are.
    pub(super) fn text(&mut self, text: &[u8]) -> Result<()> {
        if self.is_off {
            return Ok(());
        }
        ByteSlice::lines(text).for_each(|line| self.coder.line(&mut self.batch, line));
        self.pack_batch()
    }

    fn pack_batch(&mut self) -> Result<()> {
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
            self.refuse(&format!("they take more than {} MiB, although compressed", MOST >> 20));
        }
        Ok(())
    }

    /// Embeds nothing, as there are too many, and says so.
    pub(super) fn refuse_many(&mut self) {
        self.refuse(&format!("more than {} of them", crate::tally::grouped(MOST_STACKS)));
    }

    fn refuse(&mut self, why: &str) {
        if !self.is_off {
            log::warn!("not embedding the folded stacks: {why}");
            *self = Embedder { is_off: true, ..Embedder::default() };
        }
    }

    /// Puts what was packed at the end of `svg`.
    pub(super) fn finish(mut self, svg: &mut Vec<u8>) -> Result<()> {
        if !self.batch.is_empty() {
            self.pack()?;
        }
        let (Some(packed), Some(end)) = (self.packed, svg.rfind("</svg>")) else { return Ok(()) };
        let packed = packed.finish().map_err(packing())?;
        let start = format!("{START}{VERSION}\">").into_bytes();
        let element = [start, base64::encode(&packed), format!("{END}\n").into_bytes()].concat();
        svg.splice(end..end, element);
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
            format!("{name} is an SVG without folded stacks"),
            "draw it again with fg-render or flamegraph, which embed them by default",
        );
    };
    let rest = &svg[at + START.len()..];
    let Some(data) = rest.strip_prefix(format!("{VERSION}\">").as_bytes()) else {
        return unsupported(
            format!("{name} has folded stacks in an unknown format"),
            "another version of flamepipe drew it: use that version, or draw it again",
        );
    };
    let data = data.find(END).map_or(data, |end| &data[..end]);
    let broken = || Error::Corrupt {
        input: name.into(),
        at: format!("byte {at}"),
        problem: "the folded stacks in it are broken".into(),
    };
    let packed = base64::decode(data).ok_or_else(broken)?;
    let lines = read::Decoder::new(io::Cursor::new(packed)).map_err(|_| broken())?;
    Ok(Decoder::new(BufReader::new(lines)))
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
    fn what_is_no_graph_of_ours_is_refused() {
        let error = |svg: &[u8]| folded_text(svg, "x.svg").err().unwrap().to_string();
        assert!(error(b"<svg></svg>").contains("without folded stacks"));
        assert!(error(b"<metadata id=\"flamepipe-folded-1\">").contains("unknown format"));
        assert!(error(b"<metadata id=\"flamepipe-folded-2\">!</metadata>").contains("broken"));
        let packed = base64::encode(&zstd::encode_all(&b"1 a 1\n"[..], 1).unwrap());
        let svg = [format!("{START}{VERSION}\">").as_bytes(), &packed, END.as_bytes()].concat();
        assert!(unpacked(&svg).is_err(), "found out while it is read");
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

        let many = vec![Folded { line: b"a 1\n", ..Folded::default() }; MOST_STACKS as usize];
        let is_embedded = |pieces: &[Vec<Folded<'_>>]| {
            let mut embedder = Embedder::default();
            embedder.add_all(&FrameTable::default(), pieces).unwrap();
            !embedder.is_off
        };
        assert!(is_embedded(std::slice::from_ref(&many)));
        assert!(!is_embedded(&[many.clone(), many[..1].to_vec()]));
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
