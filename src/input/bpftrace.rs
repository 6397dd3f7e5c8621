//! Reads bpftrace's maps of stacks.
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

use bstr::ByteSlice;

use super::foreign::{Foreign, Reader, Stacks, native_name};
use super::start::telling_lines;
use crate::error::Result;
use crate::sample::FrameId;
use crate::tally::Loss;

pub(super) const BPFTRACE: Foreign = Foreign {
    name: "bpftrace",
    is: |start| telling_lines(start).any(|line| begin(line).is_some()),
    reader: Reader::Stacks(read),
};

/// Lines outside of a map of stacks are counted as odd.
fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let mut stack: Option<Stack<'_>> = None;
    for line in bytes.lines() {
        let text = line.trim_ascii();
        match &mut stack {
            _ if text.is_empty() => {}
            Some(open) => {
                if let Some((keys, count)) = end(text) {
                    open.push(keys, count, to)?;
                    stack = None;
                } else {
                    open.call(text, to);
                }
            }
            None => match begin(text) {
                Some(keys) => stack = Some(Stack { keys, frames: Vec::new() }),
                None if text.starts_with(b"Attaching ") => {}
                None => to.tally.odd(line),
            },
        }
    }
    to.tally.lose(Loss::CutShort, u64::from(stack.is_some()), 0);
    Ok(())
}

/// The stack that is being read.
struct Stack<'a> {
    /// The keys in front of it.
    keys: &'a [u8],
    /// Leaf first.
    frames: Vec<FrameId>,
}

impl Stack<'_> {
    /// Takes a line of a frame.
    fn call(&mut self, text: &[u8], to: &mut Stacks<'_>) {
        let symbol = match text.rsplit_once_str("+") {
            Some((symbol, offset)) if is_number(offset) => symbol,
            _ => text,
        };
        let name = native_name(symbol, b"");
        self.frames.push(to.frame(name));
    }

    /// Pushes this stack. `behind` are the keys behind it.
    fn push(&self, behind: &[u8], count: u64, to: &mut Stacks<'_>) -> Result<()> {
        let keys =
            [self.keys, behind].into_iter().flat_map(|keys| keys.split(|&byte| byte == b','));
        let keys = keys.map(|key| key.trim_ascii()).filter(|key| !key.is_empty());
        let mut stack: Vec<FrameId> = keys.map(|key| to.frame(key)).collect();
        stack.extend(self.frames.iter().rev());
        to.push(None, stack, count)
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
    use crate::fold::Config;
    use crate::folded::Writer;
    use crate::sample::FrameTable;
    use crate::tally::Tally;

    #[test]
    fn maps_of_stacks_are_folded() {
        let text = "Attaching 1 probe...\n^C\n\n@[\n    a::main::h459eee3a05af1eb1+38642\n    \
            f(int)+3\n    0x5541f689495641d7\n]: 1\n@[\n    foo+1\n\n    ubar+2\n, my sh, 12]: 5\n\
            @s[bash,\n    operator+\n]: 7\n@[# 1,\n    f+1\n]: 2\n@[\n    cut+1\n";
        let mut tally = Tally::default();
        let mut frames = FrameTable::default();
        let mut writer = Writer::new(Vec::new(), "memory");
        let mut stacks = Stacks {
            input: "x",
            config: Config::default(),
            frames: &mut frames,
            sink: &mut writer,
            tally: &mut tally,
            stack: Vec::new(),
        };
        read(text.as_bytes(), &mut stacks).unwrap();
        assert_eq!(
            writer.into_inner().as_bstr(),
            "0x5541f689495641d7;f;a::main 1\nmy sh;12;ubar;foo 5\nbash;operator+ 7\n? 1;f 2\n"
        );
        for loss in [Loss::Odd, Loss::CutShort, Loss::Replaced] {
            assert_eq!(tally.lost(loss).items, 1, "{loss:?}");
        }
    }
}
