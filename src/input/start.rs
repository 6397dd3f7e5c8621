//! Reads the start of an input, which tells its format.

use std::io::Read;

use bstr::ByteSlice;

use crate::error::{Error, Result};

/// How many bytes are read to recognise a format, and how many at most if lines are long.
pub(super) const SNIFFED: u64 = 64 << 10;
const MOST_SNIFFED: u64 = 64 << 20;
/// A zero byte among this many means that the input is a binary file.
const TELLING_BYTES: usize = 4096;
/// How many lines are examined.
pub(super) const TELLING: usize = 20;

/// The first few lines that are neither blank nor comments.
pub(super) fn telling_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.lines();
    lines.filter(|line| !line.starts_with(b"#") && !line.trim_ascii().is_empty()).take(TELLING)
}

/// Reads as much of `reader` as [`Format::sniff`](super::Format::sniff) needs: at least one line,
/// however long it is. Also returns whether that is the whole input.
///
/// # Errors
/// The input, called `name`, cannot be read, or is blank.
pub(crate) fn read_start(reader: &mut impl Read, name: &str) -> Result<(Vec<u8>, bool)> {
    let mut start = Vec::new();
    loop {
        let before = start.len();
        let more = if before == 0 { SNIFFED } else { before as u64 };
        let reading = || format!("cannot read {name}");
        reader.by_ref().take(more).read_to_end(&mut start).map_err(Error::io(reading))?;
        let whole = start.rfind_byte(b'\n').map_or(&b""[..], |end| &start[..=end]);
        let is_binary = || start.get(..TELLING_BYTES).unwrap_or(&start).contains(&0);
        let is_enough = telling_lines(whole).next().is_some()
            || start.len() as u64 >= MOST_SNIFFED
            || is_binary();
        let is_end = ((start.len() - before) as u64) < more;
        if is_end && start.trim_ascii().is_empty() {
            return Err(Error::Empty { input: name.into() });
        }
        if is_enough || is_end {
            return Ok((start, is_end));
        }
    }
}
