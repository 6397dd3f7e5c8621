//! Turns folded stacks into an SVG, which inferno draws.
//!
//! ```text
//! Folded ──▶ names, as XML can hold them ──▶ tree, with siblings in order ──▶ lines ──▶ inferno
//! ```
//!
//! inferno draws neighbouring lines that share frames as one box, so the order of the lines is the
//! graph. Lines that are sorted by bytes have `main::x` between `main` and `main;…`, which would
//! split the box of `main`. So siblings are ordered by frame. Rendering is a function: the same
//! stacks in any order give the same bytes.
//!
//! ```
//! use flamepipe::{folded, render, sample::FrameTable, tally::Tally};
//! let mut frames = FrameTable::default();
//! let mut tally = Tally::default();
//! let mut svg = Vec::new();
//! let mut renderer = render::Renderer::new(render::Config::default(), "text", &mut svg, "memory");
//! folded::read(&b"main;f 3\nmain 1\n"[..], "text", &mut frames, &mut renderer, &mut tally)?;
//! folded::FoldedSink::finish(&mut renderer, &mut frames, &mut tally)?;
//! assert!(String::from_utf8_lossy(&svg).contains("<title>main (4 samples, 100.00%)</title>"));
//! # Ok::<(), flamepipe::error::Error>(())
//! ```

mod config;
mod lines;
mod names;
mod page;
mod svg;

use std::io::Write;

use bstr::ByteSlice;

pub use config::Config;
pub use inferno::flamegraph::color;
pub use inferno::flamegraph::{FuncFrameAttrsMap, Palette};
use lines::Lines;
use names::DrawnNames;
pub use svg::frame_attributes;

use crate::error::{Error, Result};
use crate::folded::{Differential, Folded, FoldedSink, OFF_CPU, ON_CPU};
pub use crate::graph::Order;
use crate::graph::{CallTree, Graph, Path, Sequence, Store, Weight};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Count, Loss, Tally};
use crate::unit::Unit;

/// The root of the stacks that are only in the first profile, as wide as they were there.
const VANISHED: &[u8] = b"[vanished]";

/// The title of a flame chart that has no other.
pub const CHART_TITLE: &str = "Flame Chart";

/// inferno counts differences as `isize` and scales them by 150.
const MOST_OF_A_DIFFERENTIAL: u64 = i64::MAX as u64 / 150;

/// The size of an SVG, in bytes, that a browser opens well: about 45,000 boxes. Chromium takes 6 s
/// for them, 3 s for half and 16 s for twice as many.
const MOST_TO_OPEN: usize = 10_000_000;

/// The most bytes of stacks that an SVG carries. A million distinct frames take 3 MB.
const MOST_CARRIED: usize = 8 << 20;

/// Collects folded stacks and draws them when it is finished.
///
/// The profile is a differential if its unit (`# unit: ns 0 0`) or else its first stack has two
/// weights. Its boxes are as wide as the second weight, and their colours show the difference. A
/// stack with one weight then counts as unchanged. In a plain profile, the first of two numbers
/// belongs to the last frame's name.
///
/// Memory: each distinct name once, 28 bytes for each distinct stack, and 4 for each frame that it
/// does not share with the one before. At the end, the lines that are wide enough to be drawn are
/// added. Unsorted stacks need up to four times as much. The other [`Order`]s keep all stacks.
pub struct Renderer<W> {
    config: Config,
    input: String,
    out: W,
    output: String,
    names: DrawnNames,
    base: Vec<u32>,
    /// The stacks that the SVG carries.
    carried: Option<Graph>,
    store: Store,
    differential: Differential,
    seen: Count,
    total: Weight,
    texts: u64,
    outside_base: Count,
    nameless: Count,
    fractions: u64,
    /// Whether all stacks are time on or off the processor.
    times: bool,
    root: Root,
    unit: Unit,
    /// The names of the current stack.
    path: Path,
    /// A buffer for the names that are drawn.
    stack: Vec<u32>,
    plain: Vec<FrameId>,
}

impl<W: Write> Renderer<W> {
    /// A renderer to `out`. Errors call the input `input` and the output `output`. Nothing is
    /// written before the end, and nothing at all if there is nothing to draw.
    pub fn new(
        config: Config,
        input: impl Into<String>,
        out: W,
        output: impl Into<String>,
    ) -> Self {
        let mut names = DrawnNames::default();
        let base = config.base.iter().map(|name| names.names.intern(name.as_bytes())).collect();
        let carried = config.embed.then(|| Graph::new(config.order));
        let store = Store::new(config.order);
        Renderer {
            config,
            input: input.into(),
            out,
            output: output.into(),
            names,
            base,
            carried,
            store,
            differential: Differential::default(),
            seen: Count::default(),
            total: Weight::default(),
            texts: 0,
            outside_base: Count::default(),
            nameless: Count::default(),
            fractions: 0,
            times: true,
            root: Root::default(),
            unit: Unit::default(),
            path: Path::default(),
            stack: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Sets the unit of weights, if the configuration has the default. inferno's page has it in the
    /// title too.
    fn count_in(&mut self, unit: &str) {
        let default = Config::default();
        if self.config.count_name != default.count_name || unit == default.count_name {
            return;
        }
        self.config.count_name = unit.into();
        if self.config.inferno && [&*default.title, CHART_TITLE].contains(&&*self.config.title) {
            self.config.title += &format!(" ({unit})");
        }
    }

    /// The colours of frames, with those that this graph added. `None` if the configuration had
    /// none.
    pub fn take_palette_map(&mut self) -> Option<color::PaletteMap> {
        self.config.palette_map.take()
    }

    /// Explains why there is nothing to draw.
    fn nothing(&self, tally: &Tally) -> Error {
        let input = self.input.clone();
        let stacks = crate::tally::grouped(self.seen.items);
        if self.seen.items > 0 && self.outside_base.items == self.seen.items {
            let base = self.config.base.join(", ");
            return Error::NoSamples {
                input,
                why: format!(": none of {stacks} stacks contains {base}"),
            };
        }
        Seen { stacks: self.seen.items, texts: self.texts }.nothing(&self.input, tally)
    }

    /// Adds a stack to the graph.
    fn place(&mut self, frames: &FrameTable, folded: &Folded<'_>) {
        let weight = Weight { before: folded.weight, after: folded.after.unwrap_or(folded.weight) };
        self.seen.items += 1;
        self.root.note(folded.stack.first().copied());
        self.times =
            self.times && folded.stack.first().is_some_and(|&root| is_time(frames.symbol(root)));

        self.path.set(&mut self.names.names, frames, folded.stack);
        if self.base.is_empty() && !self.config.reverse && self.names.are_trimmed(self.path.names())
        {
            self.total.add(weight);
            self.store.add(&self.names.names, self.path.names(), weight);
            return;
        }
        let mut stack = std::mem::take(&mut self.stack);
        stack.clear();
        stack.extend_from_slice(self.path.names());
        if !self.base.is_empty() {
            match stack.iter().rposition(|name| self.base.contains(name)) {
                Some(base) => drop(stack.drain(..base)),
                None => {
                    self.outside_base += Count::one(weight.after);
                    self.stack = stack;
                    return;
                }
            }
        }
        if self.config.reverse {
            stack.reverse();
        }
        self.names.trim(&mut stack);
        if stack.is_empty() {
            self.nameless += Count::one(weight.after);
        } else {
            self.total.add(weight);
            self.store.add(&self.names.names, &stack, weight);
        }
        self.stack = stack;
    }

    /// The lines to draw, in their order.
    fn lines(&mut self, differential: bool) -> Lines {
        let empty = Store::Sequence(Sequence::default());
        let sequence = match std::mem::replace(&mut self.store, empty) {
            Store::Sequence(sequence) => sequence,
            Store::Tree(mut tree) => {
                let vanished =
                    differential.then(|| tree.vanished(self.names.names.intern(VANISHED)));
                let width = vanished.as_ref().map_or(0, CallTree::width);
                let narrow = svg::narrow(&self.config, self.total.after.saturating_add(width));
                let ranks = self.names.names.ranks();
                let mut sequence = Sequence::default();
                for tree in std::iter::once(tree).chain(vanished) {
                    let line = |stack: &[u32], weight| sequence.add(stack, weight);
                    tree.visit(&ranks, &narrow, differential, line);
                }
                sequence
            }
        };
        if !differential {
            sequence.visit(|stack, _| {
                if let Some(&last) = stack.last() {
                    self.names.ends_line(last);
                }
            });
        }
        let mut lines = Lines::new(differential);
        sequence.visit(|stack, weight| lines.push(&self.names, stack, weight));
        lines
    }
}

/// The first frame of all stacks, if they have the same.
#[derive(Clone, Copy, Default)]
enum Root {
    #[default]
    None,
    One(FrameId),
    Several,
}

impl Root {
    fn note(&mut self, root: Option<FrameId>) {
        *self = match (*self, root) {
            (Root::None, Some(root)) => Root::One(root),
            (Root::One(one), Some(root)) if one != root => Root::Several,
            (same, _) => same,
        };
    }

    fn only(self) -> Option<FrameId> {
        match self {
            Root::One(root) => Some(root),
            Root::None | Root::Several => None,
        }
    }
}

/// Puts the stacks at the end of the SVG.
fn embed(svg: &mut Vec<u8>, carried: Graph) -> Result<()> {
    let element = carried.element("metadata")?;
    if element.len() > MOST_CARRIED {
        log::warn!(
            "not embedding the folded stacks: they take {} MB, although compressed",
            element.len() / 1_000_000
        );
    } else if let Some(end) = svg.rfind("</svg>") {
        svg.splice(end..end, element);
    }
    Ok(())
}

/// What an input had, if there is nothing to draw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) stacks: u64,
    pub(crate) texts: u64,
}

impl Seen {
    /// Explains why there is nothing to draw.
    pub(crate) fn nothing(&self, input: &str, tally: &Tally) -> Error {
        let input = input.to_owned();
        if self.stacks > 0 {
            let stacks = crate::tally::grouped(self.stacks);
            let why = format!(" that can be drawn: {stacks} stacks have no weight or no frames");
            return Error::NoSamples { input, why };
        }
        if tally.filtered.items > 0 {
            let why =
                format!(" left: {} were filtered out", crate::tally::grouped(tally.filtered.items));
            return Error::NoSamples { input, why };
        }
        if tally.lost(Loss::Odd).items > 0 {
            return Error::Format { input, expected: "folded stacks (`main;f 42`)".into() };
        }
        if self.texts == 0 && tally.read.items == 0 {
            return Error::Empty { input };
        }
        Error::NoSamples { input, why: String::new() }
    }
}

/// Whether a root is time on or off the processor, which is in nanoseconds.
pub(crate) fn is_time(root: &[u8]) -> bool {
    root == ON_CPU || root == OFF_CPU
}

impl<W: Write> FoldedSink for Renderer<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let differential = self.differential.note(folded);
        self.fractions += u64::from(folded.has_fraction());
        let mut room = std::mem::take(&mut self.plain);
        let folded = if differential { *folded } else { folded.plain(frames, &mut room) };
        if let Some(carried) = &mut self.carried {
            carried.folded(frames, &folded)?;
        }
        self.place(frames, &folded);
        self.plain = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        self.differential.note_line(line);
        if let Some(carried) = &mut self.carried {
            carried.text(line)?;
        }
        self.texts += 1;
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let differential = self.differential.is_known();
        let has_vanished = differential && self.config.order == Order::Frames;
        if self.total.after == 0 && !(has_vanished && self.total.before > 0) {
            return Err(self.nothing(tally));
        }
        let most = if differential { MOST_OF_A_DIFFERENTIAL } else { u64::MAX - 1 };
        if self.total.before.max(self.total.after) > most {
            return Err(Error::Unsupported {
                what: format!("the weights in {} add up to more than {most}", self.input),
                remedy: "divide the weights, and use --factor to show the original ones".into(),
            });
        }
        tally.filtered += self.outside_base;
        tally.lose(Loss::NoStack, self.nameless.items, self.nameless.weight);
        tally.lose(Loss::Replaced, self.names.names.replaced(), 0);
        tally.lose(Loss::Fraction, self.fractions, 0);
        self.differential.count(tally);
        if let Some(unit) = self.unit.known().map(|unit| unit.to_string()) {
            self.count_in(&unit);
        } else if self.times {
            self.count_in("ns");
        }
        if self.config.order == Order::Time && !self.config.inferno {
            log::warn!(
                "a flame chart in an SVG has no axis of time and no names of lanes: an output whose name \
                 ends in .html has both"
            );
        }
        let lines = self.lines(differential);
        if !self.config.inferno {
            let before = differential.then_some(self.total.before);
            let root = self.root.only().map(|root| frames.symbol(root).to_str_lossy());
            self.config.title =
                page::title(&self.config, root.as_deref(), before, self.total.after);
        }
        let mut svg = svg::draw(&mut self.config, &lines)?;
        if !self.config.inferno {
            svg = page::dress(&svg, &self.config);
        }
        if svg.len() > MOST_TO_OPEN {
            log::warn!(
                "the graph has {} MB, which a browser opens slowly: use --min-width {} or more to omit narrow frames",
                svg.len() / 1_000_000,
                (10.0 * self.config.min_width).max(0.1),
            );
        }
        if let Some(carried) = self.carried.take() {
            embed(&mut svg, carried)?;
        }
        let written = self.out.write_all(&svg).and_then(|()| self.out.flush());
        written.map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}
