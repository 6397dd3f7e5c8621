//! Turns bpftrace's maps of stacks into folded text.
//!
//! ```text
//! @[
//!     alacritty::main+38642      leaf first, with offsets
//!     __libc_start_main+243
//!     0x5541f689495641d7         an address, if there is no name
//! , bash]: 5                     other keys, such as the comm, and the count
//! ```
//!
//! A stack may be a kernel stack, a blank line and a user stack.

use std::io::{BufRead, BufReader, Read};

use bstr::ByteSlice;

use super::foreign::{Foreign, Reader};
use super::start::telling_lines;
use crate::error::{Error, Result};
use crate::fold::{Config, name};
use crate::sample::Frame;
use crate::tally::Tally;

pub(super) const BPFTRACE: Foreign = Foreign {
    name: "bpftrace",
    is: |start| telling_lines(start).any(|line| begin(line).is_some()),
    reader: Reader::Text(|_, input, name, tally| collapse(input, name, tally)),
};

/// Folds `input`, which errors call `name`, to folded text. Lines outside of a map of stacks are
/// counted as odd.
///
/// Memory: the folded text.
fn collapse(input: impl Read, name: &str, tally: &mut Tally) -> Result<Vec<u8>> {
    let mut folded = Vec::new();
    let mut stack: Option<Stack> = None;
    let mut reader = BufReader::with_capacity(1 << 16, input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let reading = || format!("cannot read {name}");
        if reader.read_until(b'\n', &mut line).map_err(Error::io(reading))? == 0 {
            break;
        }
        let text = line.trim_ascii();
        match &mut stack {
            _ if text.is_empty() => {}
            Some(open) => {
                if let Some((keys, count)) = end(text) {
                    open.write(keys, count, &mut folded);
                    stack = None;
                } else {
                    open.push(text);
                }
            }
            None => match begin(text) {
                Some(keys) => stack = Some(Stack { keys: keys.to_vec(), frames: Vec::new() }),
                None if text.starts_with(b"Attaching ") => {}
                None => tally.odd(&line),
            },
        }
    }
    if stack.is_some() {
        tally.lose(crate::tally::Loss::CutShort, 1, 0);
    }
    Ok(folded)
}

/// The stack that is being read.
struct Stack {
    /// The keys in front of it.
    keys: Vec<u8>,
    /// Leaf first.
    frames: Vec<Vec<u8>>,
}

impl Stack {
    fn push(&mut self, text: &[u8]) {
        let symbol = match text.rsplit_once_str("+") {
            Some((symbol, offset)) if is_number(offset) => symbol,
            _ => text,
        };
        let frame = Frame::named(symbol);
        name::names(&frame, false, &Config::default(), |name| self.frames.push(name.to_vec()));
    }

    /// Appends the line of this stack. `keys` are the keys behind it.
    fn write(&self, keys: &[u8], count: u64, folded: &mut Vec<u8>) {
        let keys = [&self.keys[..], keys].map(|keys| keys.split(|&byte| byte == b','));
        let keys = keys.into_iter().flatten().map(|key| key.trim_ascii().replace(";", ":"));
        let keys = keys.filter(|key| !key.is_empty());
        let frames: Vec<_> = keys.chain(self.frames.iter().rev().cloned()).collect();
        folded.extend_from_slice(&frames.join(&b';'));
        folded.extend_from_slice(format!(" {count}\n").as_bytes());
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// The text behind the bracket of `@[` or `@stacks[bash,`.
fn begin(text: &[u8]) -> Option<&[u8]> {
    let (map, keys) = text.strip_prefix(b"@")?.split_once_str("[")?;
    let is_name = map.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (is_name && !keys.contains(&b']')).then_some(keys)
}

/// The other keys and the count of `]: 1` or `, bash]: 5`.
fn end(text: &[u8]) -> Option<(&[u8], u64)> {
    let (keys, count) = text.rsplit_once_str("]: ")?;
    let is_end = keys.is_empty() || keys.starts_with(b",");
    if is_end { Some((keys, count.to_str().ok()?.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_stacks_are_folded() {
        let text = "Attaching 1 probe...\n^C\n\n@[\n    a::main::h459eee3a05af1eb1+38642\n    \
            f(int)+3\n    0x5541f689495641d7\n]: 1\n@[\n    foo+1\n\n    ubar+2\n, my sh, 12]: 5\n\
            @s[bash,\n    operator+\n]: 7\n@[\n    cut+1\n";
        let mut tally = Tally::default();
        let folded = collapse(text.as_bytes(), "x", &mut tally).unwrap();
        assert_eq!(
            folded.as_bstr(),
            "0x5541f689495641d7;f;a::main 1\nmy sh;12;ubar;foo 5\nbash;operator+ 7\n"
        );
        let lost = |loss| tally.lost(loss).items;
        assert_eq!((lost(crate::tally::Loss::Odd), lost(crate::tally::Loss::CutShort)), (1, 1));
    }
}
