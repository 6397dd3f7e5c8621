//! Shows a profile as text: its functions, who calls them, what they call, and its heaviest paths.
//!
//! ```text
//! Folded ─▶ Top ─▶ functions: self and total of each name   ─▶ write: text, Markdown, JSON
//!               └▶ tree: callers, callees or paths, merged  ─▶
//! ```
//!
//! A total is the weight of all stacks with a name, so recursion counts once. Lines that are left
//! out are counted, so shares add up.

mod functions;
mod tree;
mod write;

use bstr::{BStr, BString, ByteSlice};
use hashbrown::HashMap;

pub use functions::{Function, Functions};
pub use tree::{LeftOut, Limits, Node, Tree, View};
pub(crate) use write::code;
pub use write::{Style, write_functions, write_tree};

use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink, OFF_CPU, ON_CPU};
use crate::sample::{FrameId, FrameTable};
use crate::stacks::Stacks;
use crate::tally::{Loss, Tally};
use crate::unit::{self, Unit};

/// How frames are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Their names.
    #[default]
    Function,
    /// By the crate or namespace that their names begin with, such as `core` in
    /// `<core::option::Option<T>>::map`, or by the module of frames without a name.
    Crate,
    /// The file that holds them, such as `/usr/bin/rg`. The folder must name frames by their
    /// modules: [`crate::fold::Config`].
    Module,
    /// The thread: the root frame of their stacks, or the one above `on-cpu` and `off-cpu`.
    Thread,
    /// Whether they belong to the kernel, to generated code, to inlined functions or to none of
    /// these. The folder must mark them: [`crate::fold::Config`].
    Kind,
}

impl By {
    /// What a row of a table stands for.
    pub fn noun(self) -> &'static str {
        match self {
            By::Function => "function",
            By::Crate => "crate",
            By::Module => "module",
            By::Thread => "thread",
            By::Kind => "kind",
        }
    }
}

/// Collects the stacks of a profile.
///
/// As long as each stack has two weights, the profile is a differential, and the second weights are
/// taken. After that, the first of two numbers belongs to the name. Memory: the distinct stacks, 4
/// bytes per frame, and 8 bytes for the weight of each.
#[derive(Default)]
pub struct Top {
    stacks: Stacks<FrameId>,
    weights: Vec<u64>,
    total: u64,
    fractions: u64,
    unit: Unit,
    differential: Option<bool>,
    room: Vec<FrameId>,
}

impl Top {
    /// The weight of all stacks.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The unit of the weights.
    pub fn unit(&self) -> &BStr {
        self.unit.known().unwrap_or(crate::unit::SAMPLES.into())
    }

    /// Whether only the second of two profiles is shown.
    pub fn is_differential(&self) -> bool {
        self.differential == Some(true)
    }

    /// Each function, or each group if the frames are summed `by` something else, with its weights.
    pub fn functions(&self, frames: &FrameTable, by: By) -> Functions {
        Functions::new(self, &Groups::new(frames, by))
    }

    /// The heaviest nodes of the stacks as a tree, seen as `view` says.
    pub fn tree(&self, frames: &FrameTable, by: By, view: &View, limits: Limits) -> Tree {
        Tree::new(self, &Groups::new(frames, by), view, limits)
    }

    fn stacks(&self) -> impl Iterator<Item = (&[FrameId], u64)> {
        self.weights.iter().enumerate().map(|(id, &weight)| (self.stacks.get(id), weight))
    }
}

impl FoldedSink for Top {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        self.fractions += u64::from(folded.has_fraction());
        // A stack with one weight shows that the first number of others belongs to their names.
        let differential = self.differential.unwrap_or(true) && folded.after.is_some();
        self.differential = Some(differential);
        let plain = if differential {
            Folded { weight: folded.after.unwrap_or(folded.weight), ..*folded }
        } else {
            folded.plain(frames, &mut room)
        };
        let id = self.stacks.intern(plain.stack);
        self.weights.resize(self.stacks.len(), 0);
        self.weights[id] = self.weights[id].saturating_add(plain.weight);
        self.total = self.total.saturating_add(plain.weight);
        self.room = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        self.differential = self.differential.or(unit::is_of_differential(line));
        Ok(())
    }

    /// # Errors
    /// There are no stacks.
    fn finish(&mut self, _: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        tally.lose(Loss::Fraction, self.fractions, 0);
        if self.total == 0 {
            return Err(Error::NoSamples { input: "the profile".into(), why: String::new() });
        }
        Ok(())
    }
}

/// The names that frames are summed by.
struct Groups {
    by: By,
    /// By frame, a place in `names`.
    of_frame: Vec<usize>,
    names: Vec<BString>,
}

impl Groups {
    fn new(frames: &FrameTable, by: By) -> Groups {
        // By name, because frames of several modules may share one.
        let mut ids = HashMap::new();
        let mut names = Vec::new();
        let group = |frame| {
            let name = frames.symbol(frame);
            let group = match by {
                By::Function | By::Module | By::Thread => name.to_owned(),
                By::Crate => crate_of(name).to_owned(),
                By::Kind => kind_of(name).into(),
            };
            *ids.entry(group).or_insert_with_key(|group| {
                names.push(group.clone());
                names.len() - 1
            })
        };
        let of_frame = frames.ids().map(group).collect();
        Groups { by, of_frame, names }
    }

    /// The groups of a stack, root first, in `room`.
    fn of(&self, stack: &[FrameId], room: &mut Vec<usize>) {
        let (thread, functions) = self.split_thread(stack);
        let stack = match self.by {
            By::Thread => thread,
            By::Module => functions,
            By::Function | By::Crate | By::Kind => stack,
        };
        room.clear();
        room.extend(stack.iter().map(|frame| self.of_frame[frame.index()]));
        if self.by != By::Function {
            room.dedup();
        }
    }

    /// The frame that names the thread, and those below. It is the root, or the one above it if the
    /// root says whether the thread was on the processor.
    fn split_thread<'a>(&self, stack: &'a [FrameId]) -> (&'a [FrameId], &'a [FrameId]) {
        let is_state = |frame: &FrameId| {
            let name = &self.names[self.of_frame[frame.index()]];
            [ON_CPU, OFF_CPU].contains(&name.as_slice())
        };
        match stack {
            [state, below @ ..] if is_state(state) && !below.is_empty() => below.split_at(1),
            _ => stack.split_at(stack.len().min(1)),
        }
    }
}

/// The crate or namespace in a name: the first word in front of `::`. For `[libm.so.6]` it is the
/// module, and for `f_[k]` the kernel.
fn crate_of(name: &BStr) -> &BStr {
    if name.ends_with(b"_[k]") {
        return "[kernel]".into();
    }
    if name.starts_with(b"[") && name.ends_with(b"]") {
        return name;
    }
    let Some(end) = name.find("::") else { return "[other]".into() };
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let start = name[..end].iter().rposition(|byte| !is_word(byte)).map_or(0, |at| at + 1);
    let word = name[start..end].as_bstr();
    if word.is_empty() { "[other]".into() } else { word }
}

fn kind_of(name: &BStr) -> &'static str {
    if name.ends_with(b"_[k]") {
        "kernel"
    } else if name.ends_with(b"_[j]") {
        "generated code"
    } else if name.starts_with(b"[") && name.ends_with(b"]") {
        "without a name"
    } else {
        "program"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_crates_and_kinds() {
        for (name, krate, kind) in [
            ("core::iter::map", "core", "program"),
            ("<alloc::vec::Vec<T> as core::ops::Drop>::drop", "alloc", "program"),
            ("std::vector<int>::push_back(int&&)", "std", "program"),
            ("main", "[other]", "program"),
            ("<T>::f", "[other]", "program"),
            ("do_syscall_64_[k]", "[kernel]", "kernel"),
            ("LazyCompile:*f_[j]", "[other]", "generated code"),
            ("[libm.so.6]", "[libm.so.6]", "without a name"),
        ] {
            assert_eq!(
                (crate_of(name.into()), kind_of(name.into())),
                (krate.into(), kind),
                "{name}"
            );
        }
    }
}
