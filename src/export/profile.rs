//! The stacks of a profile, with numbers instead of names.

use std::borrow::Cow;

use bstr::{BString, ByteSlice};
use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Loss, Tally};
use crate::unit::Unit;

/// Collects stacks. In a line with two numbers, the first one belongs to the name.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) names: Names,
    pub(super) unit: Unit,
    /// The positions of all stacks, root first, one behind the other.
    numbers: Vec<u32>,
    /// Where each stack ends, and its weight.
    ends: Vec<(usize, u64)>,
    pub(super) weight: u64,
    fractions: u64,
    room: Vec<FrameId>,
}

impl Profile {
    /// The stacks, root first, with their weights.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, &(end, weight))| (&self.numbers[start..end], weight))
    }

    /// The unit of the weights, if it is known.
    pub(super) fn unit(&self) -> Option<String> {
        self.unit.known().map(ToString::to_string)
    }

    /// Takes a stack.
    pub(super) fn push(&mut self, frames: &FrameTable, stack: &[FrameId], weight: u64) {
        for &frame in stack {
            let number = self.names.number(frames, frame);
            self.numbers.push(number);
        }
        self.ends.push((self.numbers.len(), weight));
        self.weight = self.weight.saturating_add(weight);
    }

    /// Counts what a format cannot hold whose largest number is `most`.
    ///
    /// # Errors
    /// There are no samples, or more weight than that.
    pub(super) fn check(&self, most: u64, tally: &mut Tally) -> Result<()> {
        if self.weight == 0 {
            return Err(Error::NoSamples { input: "the profile".into(), why: String::new() });
        }
        if self.weight > most {
            return Err(Error::Overflow { of: "the profile".into(), most });
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        tally.lose(Loss::Replaced, self.names.replaced, 0);
        Ok(())
    }
}

impl FoldedSink for Profile {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let mut room = std::mem::take(&mut self.room);
        self.fractions += u64::from(folded.has_fraction());
        let plain = folded.plain(frames, &mut room);
        self.push(frames, plain.stack, plain.weight);
        self.room = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.unit.note_line(line);
        Ok(())
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}

/// The names of a profile. Positions in functions have numbers from 0, in order of first use, and
/// so have functions. They are the same if lines are not known.
#[derive(Default)]
pub(super) struct Names {
    numbers: Vec<Option<u32>>,
    pub(super) positions: Vec<Position>,
    pub(super) functions: Vec<Function>,
    pub(super) files: Vec<String>,
    function_ids: HashMap<(Option<u32>, Option<u32>), u32>,
    file_ids: HashMap<BString, u32>,
    /// Names with bytes that are not UTF-8.
    replaced: u64,
}

/// A position in a function.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) function: u32,
    /// 0 if it is not known.
    pub(super) line: u32,
}

/// A function.
pub(super) struct Function {
    pub(super) name: String,
    /// The number of its file, if that is known.
    pub(super) file: Option<u32>,
}

impl Names {
    /// The number of the position of `frame`.
    pub(super) fn number(&mut self, frames: &FrameTable, frame: FrameId) -> u32 {
        if self.numbers.len() <= frame.index() {
            self.numbers.resize(frames.len().max(frame.index() + 1), None);
        }
        if let Some(number) = self.numbers[frame.index()] {
            return number;
        }
        let line = frames.line(frame);
        let file = line.map(|line| {
            let next = self.files.len() as u32;
            *self.file_ids.entry(line.file.into()).or_insert_with(|| {
                self.files.push(line.file.to_str_lossy().into_owned());
                next
            })
        });
        let next = self.functions.len() as u32;
        let key = (frames.symbol_number(frame), file);
        let function = *self.function_ids.entry(key).or_insert_with(|| {
            let name = frames.symbol(frame).to_str_lossy();
            self.replaced += u64::from(matches!(name, Cow::Owned(_)));
            self.functions.push(Function { name: name.into_owned(), file });
            next
        });
        self.positions.push(Position { function, line: line.map_or(0, |line| line.line) });
        let number = self.positions.len() as u32 - 1;
        self.numbers[frame.index()] = Some(number);
        number
    }

    /// The number of the function at a position.
    pub(super) fn function(&self, position: u32) -> u32 {
        self.positions[position as usize].function
    }

    /// The file of a function.
    pub(super) fn file(&self, function: u32) -> Option<&str> {
        Some(&self.files[self.functions[function as usize].file? as usize])
    }
}
