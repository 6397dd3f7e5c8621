//! Reads dumps of the stacks of all threads: of gdb, eu-stack, jstack and Python's faulthandler. A
//! file may hold many of them. Each stack weighs 1.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::austin::in_file;
use super::foreign::{Foreign, Reader, Stacks, native_name};
use crate::error::Result;
use crate::sample::FrameId;
use crate::unit;

/// `thread apply all bt` and `bt`.
pub(super) const GDB: Foreign = Foreign {
    name: "gdb",
    is: |start| has_frames(start, |line| gdb_frame(line).is_some()) && !is_eu_stack(start),
    reader: Reader::Stacks(|bytes, to| read(bytes, gdb, to)),
};

/// `eu-stack -p PID`.
pub(super) const EU_STACK: Foreign = Foreign {
    name: "eu-stack",
    is: |start| is_eu_stack(start) && has_frames(start, |line| eu_frame(line).is_some()),
    reader: Reader::Stacks(|bytes, to| read(bytes, eu_stack, to)),
};

/// `jstack PID`, `jcmd PID Thread.print`, and what a JVM prints after SIGQUIT.
pub(super) const JSTACK: Foreign = Foreign {
    name: "jstack",
    is: |start| start.lines().any(|line| line.starts_with(b"Full thread dump ")),
    reader: Reader::Stacks(|bytes, to| read(bytes, jstack, to)),
};

/// `faulthandler.dump_traceback()`.
pub(super) const FAULTHANDLER: Foreign = Foreign {
    name: "faulthandler",
    is: |start| {
        let mut lines = start.lines();
        lines.any(|line| line.ends_with(b"(most recent call first):"))
            && has_frames(start, |line| python_frame(line).is_some())
    },
    reader: Reader::Stacks(|bytes, to| read(bytes, faulthandler, to)),
};

/// What a line says.
enum Line<'a> {
    /// A thread, whose frames follow, leaf first.
    Thread { name: &'a [u8], pid: Option<u64>, tid: Option<u64> },
    /// A frame. It may be the leaf of a stack without a line for its thread.
    Frame { name: Cow<'a, [u8]>, is_leaf: bool },
    /// Something else. Programs and debuggers print between the stacks.
    Other,
}

fn has_frames(start: &[u8], is_frame: fn(&[u8]) -> bool) -> bool {
    start.lines().any(is_frame)
}

fn read<'a>(bytes: &'a [u8], parse: fn(&'a [u8]) -> Line<'a>, to: &mut Stacks<'_>) -> Result<()> {
    to.unit(unit::SAMPLES.as_bytes())?;
    let mut thread = None;
    let mut stack: Vec<FrameId> = Vec::new();
    let push = |thread, stack: &mut Vec<FrameId>, to: &mut Stacks<'_>| match stack.len() {
        // The JVM's own threads have no frames.
        0 => Ok(()),
        _ => to.push(thread, stack.drain(..).rev(), 1),
    };
    for line in bytes.lines() {
        match parse(line) {
            Line::Thread { name, pid, tid } => {
                push(thread, &mut stack, to)?;
                thread = to.thread(&name.to_str_lossy(), pid, tid);
            }
            Line::Frame { name, is_leaf } => {
                if is_leaf {
                    push(thread, &mut stack, to)?;
                }
                stack.push(to.frame(name));
            }
            Line::Other => {}
        }
    }
    push(thread, &mut stack, to)
}

fn gdb(line: &[u8]) -> Line<'_> {
    if let Some(header) = line.strip_prefix(b"Thread ")
        && header.first().is_some_and(u8::is_ascii_digit)
        && header.contains_str(" (")
    {
        let name = header.splitn_str(3, "\"").nth(1).unwrap_or_default();
        return Line::Thread { name, pid: None, tid: after(header, b"LWP ") };
    }
    gdb_frame(line).unwrap_or(Line::Other)
}

/// `#1  0x000055b79369419e in inner (n=0) at t.c:3`, `#0  main () at t.c:5`
fn gdb_frame(line: &[u8]) -> Option<Line<'_>> {
    let (number, rest) = numbered(line)?;
    let (rest, module) = match rest.rsplit_once_str(" from ") {
        Some((rest, module)) => (rest, module),
        None => (rest.rsplit_once_str(" at ").map_or(rest, |(rest, _)| rest), &b""[..]),
    };
    let rest = match rest.split_once_str(" in ") {
        Some((address, rest)) if address.starts_with(b"0x") => rest,
        _ => rest,
    };
    // `<signal handler called>` has no arguments.
    if !rest.ends_with(b")") && !rest.ends_with(b">") {
        return None;
    }
    let is_leaf = number == 0;
    if rest.starts_with(b"?? ") {
        return Some(Line::Frame { name: native_name(b"", module).into(), is_leaf });
    }
    let name = native_name(&rest[..gdb_arguments(rest)], b"").into();
    Some(Line::Frame { name, is_leaf })
}

/// Where the values of the arguments start: at the first ` (` outside of brackets.
fn gdb_arguments(frame: &[u8]) -> usize {
    let mut depth = 0;
    for (at, &byte) in frame.iter().enumerate() {
        match byte {
            b' ' if depth == 0 && at > 0 && frame[at + 1..].starts_with(b"(") => return at,
            b'<' | b'(' => depth += 1,
            b'>' | b')' => depth -= 1,
            _ => {}
        }
    }
    // The brackets of `operator<` have no partner.
    frame.rfind(" (").unwrap_or(frame.len())
}

fn is_eu_stack(start: &[u8]) -> bool {
    start.lines().any(|line| line.starts_with(b"TID ") && line.ends_with(b":"))
}

fn eu_stack(line: &[u8]) -> Line<'_> {
    if line.starts_with(b"TID ") {
        return Line::Thread { name: b"", pid: None, tid: after(line, b"TID ") };
    }
    eu_frame(line).unwrap_or(Line::Other)
}

/// `#0  0x00007fdb866e4f16 pause`, with `-m` followed by ` - /lib/libc.so.6`.
fn eu_frame(line: &[u8]) -> Option<Line<'_>> {
    let (number, rest) = numbered(line)?;
    let (address, name) = rest.split_once_str(" ").unwrap_or((rest, b""));
    if !address.starts_with(b"0x") {
        return None;
    }
    let (name, module) = match name.strip_prefix(b"- ") {
        Some(module) => (&b""[..], module),
        None => name.split_once_str(" - ").unwrap_or((name, b"")),
    };
    let is_leaf = number == 0;
    Some(Line::Frame { name: native_name(name, module).into(), is_leaf })
}

fn jstack(line: &[u8]) -> Line<'_> {
    if let Some(header) = line.strip_prefix(b"\"") {
        // A name may hold quotes, but what follows it holds none.
        let Some((name, rest)) = header.rsplit_once_str("\"") else { return Line::Other };
        return Line::Thread { name, pid: None, tid: after(rest, b"nid=") };
    }
    match line.trim_ascii_start().strip_prefix(b"at ") {
        Some(frame) => Line::Frame { name: java_method(frame).into(), is_leaf: false },
        None => Line::Other,
    }
}

/// `java.lang.Thread.sleep` of `java.lang.Thread.sleep(java.base@17.0.15/Native Method)`, and of
/// `app//java.base@17.0.15/java.lang.Thread.sleep(Native Method)`.
fn java_method(frame: &[u8]) -> &[u8] {
    let name = frame.find_byte(b'(').map_or(frame, |end| &frame[..end]);
    let mut name = name;
    // The name of a hidden class has a slash too: `Main$$Lambda$14/0x0000000800c03000.run`.
    while let Some((module, rest)) = name.split_once_str("/")
        && !module.contains(&b'$')
    {
        name = rest;
    }
    name
}

fn faulthandler(line: &[u8]) -> Line<'_> {
    if let Some(header) = line.strip_suffix(b"(most recent call first):") {
        // Python 3.14 has names: `Thread 0x00007f60c801d6c0 [worker] (most recent call first):`.
        let name = header.find_byte(b'[').map_or(&b""[..], |start| &header[start + 1..]);
        let name = name.trim_ascii_end().strip_suffix(b"]").unwrap_or_default();
        return Line::Thread { name, pid: None, tid: after(header, b"hread ") };
    }
    python_frame(line).unwrap_or(Line::Other)
}

/// `  File "/app/main.py", line 2 in parse`
fn python_frame(line: &[u8]) -> Option<Line<'_>> {
    let (path, rest) = line.strip_prefix(b"  File \"")?.rsplit_once_str("\", line ")?;
    let (_, function) = rest.split_once_str(" in ")?;
    Some(Line::Frame { name: in_file(function, path).into(), is_leaf: false })
}

/// The number of a frame and what follows it: `#12 0x…`.
fn numbered(line: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = line.strip_prefix(b"#")?.split_once_str(" ")?;
    Some((number.to_str().ok()?.parse().ok()?, rest.trim_ascii()))
}

/// The number after `word`, decimal or, with `0x`, hexadecimal.
fn after(text: &[u8], word: &[u8]) -> Option<u64> {
    let (_, rest) = text.split_once_str(word)?;
    let (digits, radix) = rest.strip_prefix(b"0x").map_or((rest, 10), |hex| (hex, 16));
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let len = digits.iter().take_while(|byte| is_digit(byte)).count();
    u64::from_str_radix(digits[..len].to_str().ok()?, radix).ok()
}
