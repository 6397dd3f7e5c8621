//! Reads the text of austin, a profiler of Python: folded stacks whose roots are a process and a
//! thread, and whose weights are microseconds, or bytes.
//!
//! ```text
//! # austin: 3.7.0
//! # mode: wall
//!
//! P42;T0:7;/app/main.py:<module>:9;/app/main.py:parse:3 10073
//! ```

use bstr::ByteSlice;

use super::foreign::{Foreign, Reader, Stacks};
use crate::error::Result;
use crate::folded;
use crate::sample::FrameId;

pub(super) const AUSTIN: Foreign = Foreign {
    name: "austin",
    is: |start| start.lines().any(|line| line.starts_with(b"# austin: ")),
    reader: Reader::Stacks(read),
};

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let is_memory = bytes.lines().any(|line| line == b"# mode: memory");
    let (unit, scale) = if is_memory { ("bytes", 1) } else { ("ns", 1000) };
    to.unit(unit.as_bytes())?;
    for line in bytes.lines() {
        let Some(parts) = folded::split_plain(line) else {
            if !folded::is_comment(line) {
                to.tally.odd(line);
            }
            continue;
        };
        let mut names = parts.stack.split_str(";").peekable();
        let pid = names.next_if(|name| number(name, b'P').is_some());
        let tid = names.next_if(|name| number(name, b'T').is_some());
        let pid = pid.and_then(|name| number(name, b'P'));
        let tid = tid.and_then(|name| number(name, b'T'));
        let thread = to.thread("", pid, tid);
        let stack: Vec<FrameId> = names.map(|name| to.frame(function(name))).collect();
        to.push(thread, stack, parts.weight.saturating_mul(scale))?;
    }
    Ok(())
}

/// `42` of `P42`, `7` of `T0:7` and `Tx7f`.
fn number(name: &[u8], kind: u8) -> Option<u64> {
    let id = name.strip_prefix(&[kind])?;
    let id = id.rsplit_str(":").next()?.to_str().ok()?;
    id.strip_prefix("0x").map_or_else(|| id.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// `parse (main.py)` of `/app/main.py:parse:3`.
fn function(name: &[u8]) -> Vec<u8> {
    let mut parts = name.rsplitn_str(3, ":");
    let _line = parts.next();
    match (parts.next(), parts.next()) {
        (Some(function), Some(file)) => in_file(function, file),
        _ => name.to_vec(),
    }
}

/// `parse (main.py)`: names of Python's functions say little without their file.
pub(super) fn in_file(function: &[u8], path: &[u8]) -> Vec<u8> {
    let file = path.rsplit(|byte| b"/\\".contains(byte)).next().unwrap_or_default();
    [function, b" (", file, b")"].concat()
}
