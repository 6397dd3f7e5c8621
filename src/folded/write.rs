//! Writes folded stacks as text.

use std::io::Write;

use rayon::prelude::*;

use super::{Folded, FoldedSink, split, split_plain};
use crate::error::{Error, Result};
use crate::sample::{FrameId, FrameTable};
use crate::tally::Tally;

/// Writes folded text.
pub struct Writer<W> {
    out: W,
    output: String,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which errors call `output`.
    pub fn new(out: W, output: impl Into<String>) -> Self {
        Writer { out, output: output.into(), line: Vec::new() }
    }

    /// The inner writer.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}

/// Appends `stack`, joined.
fn join(line: &mut Vec<u8>, frames: &FrameTable, stack: &[FrameId]) {
    for (i, &frame) in stack.iter().enumerate() {
        if i > 0 {
            line.push(b';');
        }
        line.extend_from_slice(frames.symbol(frame));
    }
}

/// Appends the line `old` with its stack replaced by `stack`. All other bytes stay.
///
/// False if the result is not the line of a stack: the stack is blank, or it looks like a comment.
pub(crate) fn restack(
    line: &mut Vec<u8>,
    frames: &FrameTable,
    old: &[u8],
    is_differential: bool,
    stack: &[FrameId],
) -> bool {
    let was = if is_differential { split(old) } else { split_plain(old) };
    let Some(was) = was else { return false };
    let start = old.len() - old.trim_ascii_start().len();
    let (Some(before), Some(behind)) = (old.get(..start), old.get(start + was.stack.len()..))
    else {
        return false;
    };
    line.extend_from_slice(before);
    join(line, frames, stack);
    line.extend_from_slice(behind);
    split(line).is_some()
}

/// Appends `folded` as a line with its newline.
pub(crate) fn format(line: &mut Vec<u8>, frames: &FrameTable, folded: &Folded<'_>) {
    join(line, frames, folded.stack);
    weights(line, folded);
    line.push(b'\n');
}

/// Appends a line for each of `all`, the original one if there is one.
fn format_all(lines: &mut Vec<u8>, frames: &FrameTable, all: &[Folded<'_>]) {
    for (at, folded) in all.iter().enumerate() {
        prefetch(frames, all, at);
        match folded.line {
            b"" => format(lines, frames, folded),
            line => lines.extend_from_slice(line),
        }
    }
}

/// Prefetches the names of the next stacks, which may be anywhere in memory.
fn prefetch(frames: &FrameTable, all: &[Folded<'_>], at: usize) {
    for (ahead, links) in [(4, 2), (2, 1), (1, 0)] {
        if let Some(next) = all.get(at + ahead) {
            next.stack.iter().for_each(|&frame| frames.prefetch(frame, links));
        }
    }
}

/// Appends the weights of `folded`.
fn weights(line: &mut Vec<u8>, folded: &Folded<'_>) {
    for weight in [Some(folded.weight), folded.after].into_iter().flatten() {
        line.push(b' ');
        number(line, weight);
    }
}

/// Appends a number in decimal digits. This is faster than std's formatting, and there is one
/// number per stack.
fn number(line: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    while let Some(digit) = digits.get_mut(start.wrapping_sub(1)) {
        *digit = b'0' + (rest % 10) as u8;
        start -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(digits.get(start..).unwrap_or_default());
}

impl<W: Write> FoldedSink for Writer<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if !folded.line.is_empty() {
            return self.write(folded.line);
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        format(&mut line, frames, folded);
        let done = self.write(&line);
        self.line = line;
        done
    }

    fn many(&mut self, frames: &mut FrameTable, pieces: &[Vec<Folded<'_>>]) -> Result<()> {
        let frames = &*frames;
        if let [piece] = pieces {
            let mut lines = std::mem::take(&mut self.line);
            lines.clear();
            format_all(&mut lines, frames, piece);
            let done = self.write(&lines);
            self.line = lines;
            return done;
        }
        let lines = pieces.par_iter().map(|piece| {
            let mut lines = Vec::new();
            format_all(&mut lines, frames, piece);
            lines
        });
        lines.collect::<Vec<_>>().iter().try_for_each(|lines| self.write(lines))
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.write(line)
    }

    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        self.out.flush().map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}
