//! Where records come from, one after the other: a whole file, or a stream that is never held as a whole.

use std::io::{self, Read};

use super::bytes::Endian;
use super::head::Head;
use super::map::Whole;
use super::window::{Front, Window};

/// The input.
pub(super) enum Source {
    /// All of it, and which part of it is still to be read.
    Whole { bytes: Whole, at: usize, end: usize },
    /// A stream, and what of it is in memory.
    Stream { input: Box<dyn Read + Send>, window: Window },
}

/// What comes next.
pub(super) enum Step<'a> {
    /// A record, head included, and where it is in a whole file.
    Record(&'a [u8], Option<usize>),
    /// Nothing more.
    End,
    /// The input ends in the middle of a record.
    Cut,
    /// Something that is no record: where the next one starts cannot be known.
    Broken,
}

impl Source {
    pub(super) fn next(&mut self, endian: Endian) -> io::Result<Step<'_>> {
        match self {
            Source::Whole { bytes, at, end } => {
                let (here, rest) = (*at, bytes.get(*at..*end).unwrap_or_default());
                let Some(head) = Head::parse(rest, endian) else {
                    return Ok(match rest.len() {
                        0 => Step::End,
                        1..Head::SIZE => Step::Cut,
                        _ => Step::Broken,
                    });
                };
                let Some(record) = rest.get(..head.size.into()) else { return Ok(Step::Cut) };
                *at += record.len();
                Ok(Step::Record(record, Some(here)))
            }
            Source::Stream { input, window } => loop {
                match window.front(endian) {
                    Front::Record(size) => return Ok(Step::Record(window.take(size), None)),
                    Front::Broken => return Ok(Step::Broken),
                    Front::Part if !fill(input, window)? => {
                        let rest = window.bytes();
                        return Ok(if rest.is_empty() { Step::End } else { Step::Cut });
                    }
                    Front::Part => {}
                }
            },
        }
    }

    /// Passes over the payload behind a record. `false` if the input ends before it does.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<bool> {
        match self {
            Source::Whole { at, end, .. } => {
                let target = usize::try_from(count).ok().and_then(|count| at.checked_add(count));
                *at = target.unwrap_or(*end).min(*end);
                Ok(target.is_some_and(|target| target <= *end))
            }
            Source::Stream { input, window } => {
                let mut left = count;
                loop {
                    let some = usize::try_from(left).unwrap_or(usize::MAX);
                    left -= window.take(some).len() as u64;
                    if left == 0 {
                        return Ok(true);
                    }
                    if !fill(input, window)? {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

/// Reads some more. `false` at the end of the input.
pub(super) fn fill(input: &mut impl Read, window: &mut Window) -> io::Result<bool> {
    loop {
        match input.read(window.room()) {
            Ok(count) => {
                window.filled(count);
                return Ok(count > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
