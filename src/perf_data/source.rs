//! Yields one record after another from a whole file, or from a stream that is never held as a
//! whole.

use std::io::{self, Read};

use super::bytes::Endian;
use super::head::Head;
use super::window::{Front, Window};
use crate::mapped::Bytes;

pub(super) enum Source {
    /// A whole recording, and the range of it that is still to be read.
    Whole { bytes: Bytes, at: usize, end: usize },
    /// A stream, and the part of it that is in memory.
    Stream { input: Box<dyn Read + Send>, window: Window },
}

/// The next part of the input.
pub(super) enum Next<'a> {
    /// A record including its head, and where it starts in a whole file.
    Record(&'a [u8], Option<usize>),
    /// The input ends.
    End,
    /// The input ends in the middle of a record.
    Cut,
    /// This is not a record, so the start of the next one is unknown.
    Broken,
}

impl Source {
    pub(super) fn next(&mut self, endian: Endian) -> io::Result<Next<'_>> {
        match self {
            Source::Whole { bytes, at, end } => {
                let here = *at;
                let rest = bytes.get(here..*end).unwrap_or_default();
                let Some(head) = Head::parse(rest, endian) else {
                    return Ok(match rest.len() {
                        0 => Next::End,
                        1..Head::SIZE => Next::Cut,
                        _ => Next::Broken,
                    });
                };
                let Some(record) = rest.get(..head.size.into()) else { return Ok(Next::Cut) };
                *at += record.len();
                Ok(Next::Record(record, Some(here)))
            }
            Source::Stream { input, window } => loop {
                match window.front(endian) {
                    Front::Record(size) => return Ok(Next::Record(window.take(size), None)),
                    Front::Broken => return Ok(Next::Broken),
                    Front::Part if !fill(input, window)? => {
                        let rest = window.bytes();
                        return Ok(if rest.is_empty() { Next::End } else { Next::Cut });
                    }
                    Front::Part => {}
                }
            },
        }
    }

    /// Skips the payload behind a record. `false` if the input ends before that.
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

/// Reads more of the input. `false` at its end.
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
