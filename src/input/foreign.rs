//! A format of another profiler, and where its reader puts the stacks.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use bstr::ByteSlice;

use crate::error::{Error, Result};
use crate::fold::{self, name, thread_name};
use crate::folded::{self, Folded, FoldedSink, Moment};
use crate::sample::{Frame, FrameId, FrameTable, printable};
use crate::tally::{Count, Loss, Tally};
use crate::unit;

/// A format of another profiler. An input is read as a whole.
#[derive(Clone, Copy)]
pub struct Foreign {
    /// Its name in `--format`.
    pub(super) name: &'static str,
    /// Whether an input that starts with these bytes has this format.
    pub(super) is: fn(&[u8]) -> bool,
    pub(super) reader: Reader,
}

/// How an input is read.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// To folded text. Errors call the input by the name.
    Text(fn(&Foreign, &mut dyn Read, &str, &mut Tally) -> Result<Vec<u8>>),
    /// To stacks of one event.
    Stacks(fn(&[u8], &mut Stacks<'_>) -> Result<()>),
    /// To stacks of the wanted events.
    Events(fn(&[u8], &mut Stacks<'_>) -> Result<()>),
}

impl Foreign {
    /// Whether the options about samples have an effect, as far as the format has what they ask
    /// for: processes, threads, events.
    pub(super) fn heeds(&self, config: &fold::Config) -> bool {
        let mut rest =
            fold::Config { pid: false, tid: false, merge_threads: false, ..config.clone() };
        match self.reader {
            Reader::Text(_) => return false,
            Reader::Stacks(_) => {}
            Reader::Events(_) => {
                rest.event = None;
                rest.by_event = false;
            }
        }
        !rest.asks_samples()
    }

    /// Reads `input` to its end and pushes its stacks into `to`.
    pub(super) fn read(&self, input: &mut dyn Read, mut to: Stacks<'_>) -> Result<()> {
        match self.reader {
            Reader::Text(fold) => {
                let text = fold(self, input, to.input, to.tally)?;
                folded::read(&text[..], to.input, to.frames, to.sink, to.tally)
            }
            Reader::Stacks(read) | Reader::Events(read) => {
                let mut bytes = Vec::new();
                let reading = || format!("cannot read {}", to.input);
                input.read_to_end(&mut bytes).map_err(Error::io(reading))?;
                read(&bytes, &mut to)
            }
        }
    }
}

impl PartialEq for Foreign {
    fn eq(&self, other: &Foreign) -> bool {
        self.name == other.name
    }
}

impl Eq for Foreign {}

impl fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// Takes the stacks of an input.
pub(super) struct Stacks<'a> {
    /// The name of the input in errors.
    pub(super) input: &'a str,
    /// Which threads and events are wanted.
    pub(super) config: fold::Config,
    pub(super) frames: &'a mut FrameTable,
    pub(super) sink: &'a mut dyn FoldedSink,
    pub(super) tally: &'a mut Tally,
    /// Room for a stack.
    pub(super) stack: Vec<FrameId>,
}

impl Stacks<'_> {
    /// The error of an input that is broken `at` a place.
    pub(super) fn corrupt(&self, at: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Corrupt { input: self.input.into(), at: at.into(), problem: problem.into() }
    }

    /// The input as text. Bytes that are not UTF-8 are replaced and counted.
    pub(super) fn text<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        let text = bytes.to_str_lossy();
        if let Cow::Owned(replaced) = &text {
            self.tally.lose(Loss::Replaced, replaced.matches('\u{fffd}').count() as u64, 0);
        }
        text
    }

    /// The frame of a function. What folded text cannot hold in a name is replaced.
    pub(super) fn frame(&mut self, name: impl AsRef<[u8]>) -> FrameId {
        let mut name = printable(name.as_ref().trim_ascii());
        if name.is_empty() {
            name = b"[unknown]".into();
        }
        if name.contains(&b';') {
            name = name.replace(";", ":").into();
        }
        if folded::begins_comment(&name) {
            self.tally.lose(Loss::Replaced, 1, 0);
            name.to_mut()[0] = b'?';
        }
        self.frames.intern(Frame::named(&name))
    }

    /// The root frame of a thread. `None` if the input does not tell threads apart.
    pub(super) fn thread(
        &mut self,
        comm: &str,
        pid: Option<u64>,
        tid: Option<u64>,
    ) -> Option<FrameId> {
        let asked = self.config.pid && pid.is_some() || self.config.tid && tid.is_some();
        if comm.is_empty() && !asked {
            return None;
        }
        let comm = printable(comm.as_bytes());
        let name = thread_name(comm.as_bstr(), pid, tid, &self.config);
        Some(self.frames.intern(Frame::named(&name)))
    }

    /// Says what weights count.
    pub(super) fn unit(&mut self, unit: &[u8]) -> Result<()> {
        self.sink.text(&unit::line(unit))
    }

    /// Takes a stack, root first, below the root frame of its thread.
    pub(super) fn push(
        &mut self,
        thread: Option<FrameId>,
        stack: impl IntoIterator<Item = FrameId>,
        weight: u64,
    ) -> Result<()> {
        if weight == 0 {
            return Ok(());
        }
        self.tally.read += Count::one(weight);
        self.tally.folded_before += 1;
        self.stack.clear();
        self.stack.extend(thread);
        let roots = self.stack.len();
        self.stack.extend(stack);
        if self.stack.len() == roots {
            self.tally.lose(Loss::NoStack, 1, weight);
            return Ok(());
        }
        let folded = Folded { stack: &self.stack, weight, ..Folded::default() };
        self.sink.folded(self.frames, &folded)
    }

    /// Whether stacks should come one by one, with their times.
    pub(super) fn keeps_times(&self) -> bool {
        self.sink.keeps_times()
    }

    /// Takes a stack like [`push`](Stacks::push), of a `moment`. `thread` is its root frame.
    pub(super) fn push_at(
        &mut self,
        moment: &Moment<'_>,
        thread: Option<FrameId>,
        stack: impl IntoIterator<Item = FrameId>,
        weight: u64,
    ) -> Result<()> {
        if !self.keeps_times() {
            return self.push(thread, stack, weight);
        }
        self.stack.clear();
        self.stack.extend(stack);
        if weight == 0 || self.stack.is_empty() {
            return self.push(thread, [], weight);
        }
        self.tally.read += Count::one(weight);
        self.tally.folded_before += 1;
        let folded = Folded { stack: &self.stack, weight, ..Folded::default() };
        self.sink.timed(self.frames, &folded, &Moment { root: thread, ..*moment })
    }

    /// Takes the stacks of a call tree.
    pub(super) fn push_tree(&mut self, thread: Option<FrameId>, tree: &[Node]) -> Result<()> {
        let mut path = Vec::new();
        for node in tree.iter().filter(|node| node.weight > 0) {
            self.path(tree, node, &mut path)?;
            self.push(thread, path.iter().rev().copied(), node.weight)?;
        }
        Ok(())
    }

    /// The functions from a node of a call tree to its root.
    pub(super) fn path(&self, tree: &[Node], node: &Node, path: &mut Vec<FrameId>) -> Result<()> {
        path.clear();
        let mut next = Some(node);
        let mut steps = 0;
        while let Some(node) = next {
            path.extend(node.frame);
            next = node.caller.and_then(|caller| tree.get(caller));
            steps += 1;
            if steps > tree.len() {
                return Err(self.corrupt("its call tree", "a function is its own caller"));
            }
        }
        Ok(())
    }
}

/// A function in a call tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Node {
    /// `None` for the root of the tree, which is no function.
    pub(super) frame: Option<FrameId>,
    /// The index of its caller.
    pub(super) caller: Option<usize>,
    /// What was measured in the function itself.
    pub(super) weight: u64,
}

/// The name of a native function as fg-fold writes it: without arguments. One without a name has
/// that of its module, if there is one.
pub(super) fn native_name(symbol: &[u8], module: &[u8]) -> Vec<u8> {
    let symbol = if symbol.is_empty() { b"[unknown]" } else { symbol };
    let module = if module.is_empty() { b"[unknown]" } else { module };
    let frame = Frame { module: module.into(), ..Frame::named(symbol) };
    let mut names = Vec::new();
    name::names(&frame, false, &fold::Config::default(), |name| names = name.to_vec());
    names
}

/// The whole number closest to a weight; 0 for what is none.
pub(super) fn whole(weight: f64) -> u64 {
    weight.round() as u64
}
