//! Collects stacks into one graph, and converts it to and from the form that a picture carries.
//!
//! Every picture holds its stacks, so it can be folded, compared and drawn again, even if the
//! picture leaves out what is too narrow to see. [`Graph`] collects the stacks, [`Graph::encode`]
//! packs them, and [`read`] finds them in a file and unpacks them.
//!
//! ```text
//! <metadata id="flamepipe-graph-3">BASE64</metadata>                                  in an SVG
//! <script type="application/octet-stream" id="flamepipe-graph-3">BASE64</script>      in a page
//! ```
//!
//! `3` is the version of the format. The base64 text is a raw deflate stream, which a browser
//! unpacks with `DecompressionStream("deflate-raw")`. It holds unsigned LEB128 numbers and the
//! bytes of names:
//!
//! 1. Flags. 1: a differential, with two weights. 2: a flame chart, whose siblings are in order of
//!    time, the last one first. 4: siblings are in the order of the input. Without 2 and 4, equal
//!    stacks are one and siblings are sorted by the bytes of their names.
//! 2. The unit of weights: its length and its bytes. It is empty if it is not known.
//! 3. The greatest common divisor of all weights. Weights are divided by it.
//! 4. The number of names, the length of each, and the bytes of all.
//! 5. The number of nodes, and the nodes of the call tree in preorder, as columns: the steps, the
//!    names, the weights, and for a differential the weights of the second profile. A step is the
//!    depth of the node before, plus 1, minus the node's own depth: 0 for a child, 1 for a sibling.
//!    A name is counted from 1. Name 0 is no frame: the weight is the parent's own, at this place
//!    among its children; only flags 2 and 4 need it. A weight is what ends in the node itself.
//!
//! Columns of like numbers compress well: real profiles take 1 to 2 bytes a node with all names.

mod decode;
mod encode;
mod names;
mod tree;

pub(crate) use decode::{is_picture, read};
pub(crate) use names::{Names, Path};
pub(crate) use tree::{CallTree, Sequence, Weight};

use crate::error::Result;
use crate::folded::{Differential, Folded, FoldedSink};
use crate::sample::FrameTable;
use crate::tally::Tally;
use crate::unit::Unit;

/// The start of the element's id. The version follows.
const ID: &str = "id=\"flamepipe-graph-";
const VERSION: &str = "3";

/// The order in which stacks are drawn, left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Siblings by name. Equal stacks are one.
    #[default]
    Frames,
    /// In the order of the input. Neighbours that share frames share boxes.
    Input,
    /// The last stack first, as every flame graph tool draws a flame chart.
    Time,
}

/// Collects stacks.
///
/// Memory: each distinct name once, and the stacks as a [`CallTree`], or in the other [`Order`]s
/// all stacks.
pub(crate) struct Graph {
    order: Order,
    names: Names,
    path: Path,
    store: Store,
    /// Unknown before the first stack.
    differential: Differential,
    unit: Unit,
}

/// The stacks of a graph, or of a picture.
pub(crate) enum Store {
    /// Merged and sorted.
    Tree(CallTree),
    /// In the order of the input.
    Sequence(Sequence),
}

impl Store {
    pub(crate) fn new(order: Order) -> Self {
        match order {
            Order::Frames => Store::Tree(CallTree::default()),
            Order::Input | Order::Time => Store::Sequence(Sequence::default()),
        }
    }

    /// Adds a stack of numbers of `names`.
    pub(crate) fn add(&mut self, names: &Names, stack: &[u32], weight: Weight) {
        match self {
            Store::Tree(tree) => tree.add(names, stack, weight),
            Store::Sequence(sequence) => sequence.add(stack, weight),
        }
    }
}

impl Graph {
    pub(crate) fn new(order: Order) -> Self {
        Graph {
            order,
            names: Names::default(),
            path: Path::default(),
            store: Store::new(order),
            differential: Differential::default(),
            unit: Unit::default(),
        }
    }

    /// The base64 text that a picture carries, or nothing if there are no stacks.
    pub(crate) fn encode(self) -> Result<Vec<u8>> {
        let differential = self.differential.is_known();
        let mut columns = encode::Columns::default();
        match self.store {
            Store::Sequence(stacks) => stacks.visit(|stack, weight| columns.add(stack, weight)),
            Store::Tree(tree) => {
                let ranks = self.names.ranks();
                tree.visit(&ranks, |_| false, false, |stack, weight| columns.add(stack, weight));
            }
        }
        let header = encode::Header { order: self.order, differential, unit: self.unit.known() };
        columns.pack(&header, &self.names)
    }

    /// The element that carries the graph: `<TAG id="…">BASE64</NAME>`.
    pub(crate) fn element(self, tag: &str) -> Result<Vec<u8>> {
        let data = self.encode()?;
        let name = tag.split(' ').next().unwrap_or(tag);
        let start = format!("<{tag} {ID}{VERSION}\">");
        let end = format!("</{name}>\n");
        Ok([start.as_bytes(), &data, end.as_bytes()].concat())
    }
}

impl FoldedSink for Graph {
    /// Adds a stack. The unit or else the first stack decides whether the graph is a differential.
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        self.differential.note(folded);
        if folded.stack.is_empty() {
            return Ok(());
        }
        let after = folded.after.unwrap_or(folded.weight);
        let weight = Weight { before: folded.weight, after };
        self.path.set(&mut self.names, frames, folded.stack);
        self.store.add(&self.names, self.path.names(), weight);
        Ok(())
    }

    /// Notes the unit of a `# unit: …` line.
    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        self.differential.note_line(line);
        Ok(())
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}
