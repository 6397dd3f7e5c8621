//! Finds the graph in a picture, and reads its stacks.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bstr::ByteSlice;
use flate2::read::DeflateDecoder;

use super::{ID, VERSION};
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::leb128;
use crate::sample::{Frame, FrameId, FrameTable};
use crate::tally::{Count, Tally};
use crate::unit;

/// The most bytes that a graph may unpack to. A small file can be made to unpack to gigabytes.
const MOST_BYTES: u64 = 1 << 30;

/// The most frames in all stacks together. A tree of one long path has quadratically many.
const MOST_FRAMES: usize = 1 << 27;

/// Whether `start` is the start of any SVG or page of HTML.
pub(crate) fn is_picture(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let is_page = || text.get(..9).is_some_and(|tag| tag.eq_ignore_ascii_case(b"<!doctype"));
    text.starts_with(b"<svg")
        || (text.starts_with(b"<") && text.contains_str("<svg"))
        || (is_page() && text.contains_str("<html"))
}

/// Reads the stacks that `picture` carries, and pushes them into `sink`. It does not finish the
/// sink. Errors call the picture `name`.
///
/// # Errors
/// The picture has no graph, or one that is broken or of another version.
pub(crate) fn read(
    picture: &[u8],
    name: &str,
    frames: &mut FrameTable,
    sink: &mut dyn FoldedSink,
    tally: &mut Tally,
) -> Result<()> {
    let (at, data) = find(picture, name)?;
    let broken = || Error::Corrupt {
        input: name.into(),
        at: format!("byte {at}"),
        problem: "the folded stacks in it are broken".into(),
    };
    let bytes = unpack(data).ok_or_else(broken)?;
    let graph = Decoded::parse(&bytes, frames).ok_or_else(broken)?;
    if !graph.unit.is_empty() {
        let line = if graph.differential { unit::line_of_differential } else { unit::line };
        sink.text(&line(graph.unit))?;
    }
    graph.push(frames, sink, tally)?.ok_or_else(broken)
}

/// The position of the graph in `picture`, and its base64 text.
fn find<'a>(picture: &'a [u8], name: &str) -> Result<(usize, &'a [u8])> {
    let unsupported =
        |what: String, remedy: &str| Error::Unsupported { what, remedy: remedy.into() };
    // Take the last one, because names and notes come before the graph.
    let Some(at) = picture.rfind(ID) else {
        let old = picture.contains_str("<metadata id=\"flamepipe-folded-");
        return Err(if old {
            another_version(name)
        } else {
            unsupported(
                format!("{name} is a picture without folded stacks"),
                "draw it again with fg-render or flamegraph, which embed them by default",
            )
        });
    };
    let data = &picture[at + ID.len()..];
    let Some(data) = data.strip_prefix(format!("{VERSION}\">").as_bytes()) else {
        return Err(another_version(name));
    };
    let end = data.find_byte(b'<').unwrap_or(data.len());
    Ok((at, &data[..end]))
}

fn another_version(name: &str) -> Error {
    Error::Unsupported {
        what: format!("{name} has folded stacks in an unknown format"),
        remedy: "another version of flamepipe drew it: use that version, or draw it again".into(),
    }
}

fn unpack(data: &[u8]) -> Option<Vec<u8>> {
    let packed = STANDARD.decode(data).ok()?;
    let mut bytes = Vec::new();
    // No real graph packs that well.
    let most = (packed.len() as u64).saturating_mul(500).saturating_add(1 << 20).min(MOST_BYTES);
    let mut inflater = DeflateDecoder::new(&packed[..]).take(most + 1);
    inflater.read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// The parts of a graph.
struct Decoded<'a> {
    differential: bool,
    unit: &'a [u8],
    divisor: u64,
    names: Vec<FrameId>,
    steps: Vec<u64>,
    numbers: Vec<u64>,
    before: Vec<u64>,
    after: Vec<u64>,
}

impl<'a> Decoded<'a> {
    fn parse(mut rest: &'a [u8], frames: &mut FrameTable) -> Option<Self> {
        let flags = leb128::read(&mut rest)?;
        let len = leb128::read(&mut rest)?;
        let unit = leb128::take(&mut rest, len).filter(|unit| !unit.contains(&b'\n'))?;
        let divisor = leb128::read(&mut rest)?;
        let count = leb128::read(&mut rest)?;
        let lengths = column(&mut rest, count)?;
        let mut names = Vec::with_capacity(lengths.len());
        for len in lengths {
            let name = leb128::take(&mut rest, len)?;
            // No folder writes such a name, and as text it would be other stacks.
            if name.find_byteset(b";\n").is_some() {
                return None;
            }
            names.push(frames.intern(Frame::named(name)));
        }
        let nodes = leb128::read(&mut rest)?;
        let differential = flags & 1 != 0;
        let graph = Decoded {
            differential,
            unit,
            divisor,
            names,
            steps: column(&mut rest, nodes)?,
            numbers: column(&mut rest, nodes)?,
            before: column(&mut rest, nodes)?,
            after: if differential { column(&mut rest, nodes)? } else { Vec::new() },
        };
        rest.is_empty().then_some(graph)
    }

    /// Pushes the stack of each node in which weight ends. `None` if the tree is broken.
    fn push(
        &self,
        frames: &mut FrameTable,
        sink: &mut dyn FoldedSink,
        tally: &mut Tally,
    ) -> Result<Option<()>> {
        let mut stack = Vec::new();
        let mut pushed = 0;
        let mut below = 0usize;
        for (node, (&step, &number)) in self.steps.iter().zip(&self.numbers).enumerate() {
            let depth = usize::try_from(step).ok().and_then(|step| below.checked_sub(step));
            let Some(depth) = depth.filter(|&depth| depth <= stack.len()) else { return Ok(None) };
            below = depth + 1;
            stack.truncate(depth);
            match number.checked_sub(1) {
                None if stack.is_empty() => return Ok(None),
                None => {}
                Some(index) => match self.names.get(index as usize) {
                    Some(&name) => stack.push(name),
                    None => return Ok(None),
                },
            }
            let weight = self.before[node].saturating_mul(self.divisor);
            let after = self.after.get(node).map(|after| after.saturating_mul(self.divisor));
            let is_leaf = self.steps.get(node + 1).is_none_or(|&next| next > 0);
            if weight == 0 && after.unwrap_or(0) == 0 && !is_leaf {
                continue;
            }
            pushed += stack.len();
            if pushed > MOST_FRAMES {
                return Ok(None);
            }
            tally.read += Count::one(weight);
            tally.folded_before += 1;
            let after = after.filter(|_| self.differential);
            sink.folded(frames, &Folded { stack: &stack, weight, after, line: b"" })?;
        }
        Ok(Some(()))
    }
}

/// The next `count` numbers. Each takes at least a byte.
fn column(rest: &mut &[u8], count: u64) -> Option<Vec<u64>> {
    if count > rest.len() as u64 {
        return None;
    }
    (0..count).map(|_| leb128::read(rest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{self, Writer};
    use crate::graph::{Graph, Order};
    use flate2::Compression;
    use flate2::read::DeflateEncoder;
    use proptest::prelude::*;

    fn carried(order: Order, text: &[u8]) -> Vec<u8> {
        let mut frames = FrameTable::default();
        let mut graph = Graph::new(order);
        folded::read(text, "text", &mut frames, &mut graph, &mut Tally::default()).unwrap();
        graph.element("metadata").unwrap()
    }

    fn lines(picture: &[u8]) -> Result<String> {
        let mut frames = FrameTable::default();
        let mut writer = Writer::new(Vec::new(), "memory");
        read(picture, "x.svg", &mut frames, &mut writer, &mut Tally::default())?;
        Ok(String::from_utf8(writer.into_inner()).unwrap())
    }

    #[test]
    fn a_tree_is_merged_and_sorted() {
        let text = b"# unit: ns 0\nb 6\na;c 2\na 0\na;b;c 4\na;c 2\nz;y 0\n";
        let sorted = "# unit: ns 0\na;b;c 4\na;c 4\nb 6\nz;y 0\n";
        assert_eq!(lines(&carried(Order::Frames, text)).unwrap(), sorted);
    }

    #[test]
    fn a_chart_keeps_its_order() {
        let text = "a;b 1\na 2\na;b 3\na;b;c 1\nb 1\na 7\n";
        for order in [Order::Time, Order::Input] {
            assert_eq!(lines(&carried(order, text.as_bytes())).unwrap(), text);
        }
    }

    #[test]
    fn a_differential_keeps_both_weights() {
        let text = "a;b 1 0\na;c 0 3\n";
        assert_eq!(lines(&carried(Order::Frames, text.as_bytes())).unwrap(), text);
    }

    #[test]
    fn pictures_without_a_graph_are_refused() {
        let error = |svg: &[u8]| lines(svg).unwrap_err().to_string();
        assert!(error(b"<svg></svg>").contains("without folded stacks"));
        assert!(error(b"<metadata id=\"flamepipe-folded-2\">").contains("unknown format"));
        assert!(error(b"<metadata id=\"flamepipe-graph-4\">").contains("unknown format"));
        assert!(error(b"<metadata id=\"flamepipe-graph-3\">!</metadata>").contains("broken"));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let packed = |size: usize| {
            let zeros = vec![0; size];
            let mut deflater = DeflateEncoder::new(&zeros[..], Compression::best());
            let mut packed = Vec::new();
            deflater.read_to_end(&mut packed).unwrap();
            STANDARD.encode(packed)
        };
        assert_eq!(unpack(packed(1 << 20).as_bytes()).map(|bytes| bytes.len()), Some(1 << 20));
        assert_eq!(unpack(packed(16 << 20).as_bytes()), None);
    }

    proptest! {
        /// Any bytes give stacks or an error.
        #[test]
        fn broken_numbers_are_refused(bytes in prop::collection::vec(0u8..6, 0..40)) {
            let mut frames = FrameTable::default();
            let mut tally = Tally::default();
            let mut writer = Writer::new(Vec::new(), "memory");
            if let Some(graph) = Decoded::parse(&bytes, &mut frames) {
                let _ = graph.push(&mut frames, &mut writer, &mut tally).unwrap();
            }
        }

        #[test]
        fn stacks_come_back_in_their_order(
            stacks in prop::collection::vec((prop::collection::vec("[ab]{1,2}", 1..5), 1u64..9), 1..20),
        ) {
            let mut text = String::new();
            let mut last = None;
            for (stack, weight) in stacks {
                // Equal neighbours become one.
                if last.as_ref() != Some(&stack) {
                    text += &format!("{} {weight}\n", stack.join(";"));
                }
                last = Some(stack);
            }
            prop_assert_eq!(lines(&carried(Order::Time, text.as_bytes())).unwrap(), text);
        }
    }
}
