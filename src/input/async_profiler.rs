//! Reads the flame graphs of async-profiler: pages of HTML that hold the call tree as a script.
//!
//! ```text
//! const cpool = [
//! 'all',
//! ' Main.main',        a name; its first character says how many characters it shares with the
//! '%run',              name before: ' ' none, '%' five
//! ];
//! f(3,0,0,100)         name × 8 + kind, depth, distance to the frame before, width
//! u(11,60)             a callee of the frame before
//! n(19)                the next callee; without a width, that of the frame before. The first call
//!                      is often `n`: it is at depth 0
//! ```
//!
//! Before version 3, all frames were `f(depth,left,width,kind,'name')`.

use bstr::ByteSlice;

use super::foreign::{Foreign, Reader, Stacks};
use crate::error::Result;
use crate::sample::FrameId;
use crate::tally::Loss;

pub(super) const ASYNC_PROFILER: Foreign = Foreign {
    name: "async-profiler",
    is: |start| {
        let has_tree = start.contains_str("cpool") || start.contains_str("function f(level");
        start.contains_str("<html") && start.contains_str("async-profiler") && has_tree
    },
    reader: Reader::Stacks(read),
};

/// A call of the script, which draws a frame.
struct Call {
    level: usize,
    width: u64,
    frame: FrameId,
}

/// The frames that lead to the last one.
struct Open {
    frame: FrameId,
    /// The weight that belongs to no callee so far.
    own: u64,
}

fn read(bytes: &[u8], to: &mut Stacks<'_>) -> Result<()> {
    let text = to.text(bytes);
    let mut names: Vec<String> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut last = None;
    let mut is_pool = false;
    for line in text.lines() {
        if line.starts_with("const cpool") {
            is_pool = true;
        } else if let Some(quoted) = line.strip_prefix('\'').filter(|_| is_pool) {
            let packed = unquoted(quoted);
            names.push(unpacked(names.last().map_or("", |name| name), &packed));
        } else if let Some(call) = call(line, &names, last.as_ref(), to) {
            while open.len() > call.level {
                close(&mut open, to)?;
            }
            if call.level > open.len() {
                to.tally.odd(line.as_bytes());
                continue;
            }
            if let Some(caller) = open.last_mut() {
                to.tally.lose(Loss::Odd, u64::from(caller.own < call.width), 0);
                caller.own = caller.own.saturating_sub(call.width);
            }
            open.push(Open { frame: call.frame, own: call.width });
            last = Some(call);
        }
    }
    while !open.is_empty() {
        close(&mut open, to)?;
    }
    Ok(())
}

/// Takes what belongs to the innermost frame itself. The outermost one is `all`.
fn close(open: &mut Vec<Open>, to: &mut Stacks<'_>) -> Result<()> {
    let own = open.last().map_or(0, |last| last.own);
    to.push(None, open.iter().skip(1).map(|open| open.frame), own)?;
    open.pop();
    Ok(())
}

/// The text up to the quote that ends it.
fn unquoted(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => break,
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// A name that shares its first characters with the name `before`.
fn unpacked(before: &str, packed: &str) -> String {
    let mut characters = packed.chars();
    match characters.next() {
        // The first name, `all`, is as it is.
        _ if before.is_empty() => packed.into(),
        None => String::new(),
        Some(shared) => {
            let shared = (shared as usize).saturating_sub(' ' as usize);
            before.chars().take(shared).chain(characters).collect()
        }
    }
}

/// The call in a line of the script, after the call `last`.
fn call(line: &str, names: &[String], last: Option<&Call>, to: &mut Stacks<'_>) -> Option<Call> {
    let function = line.chars().next().filter(|name| "fun".contains(*name))?;
    let arguments = line.get(1..)?.strip_prefix('(')?;
    if let Some((numbers, name)) = arguments.split_once('\'') {
        let mut numbers = numbers.split(',').map_while(|number| number.parse().ok());
        let [level, _, width, kind] = [(); 4].map(|()| numbers.next());
        let frame = frame(&unquoted(name), kind?, to);
        return Some(Call { level: usize::try_from(level?).ok()?, width: width?, frame });
    }
    let arguments = &arguments[..arguments.find(')')?];
    let mut numbers = arguments.split(',').map_while(|number| number.trim().parse::<u64>().ok());
    let key = numbers.next()?;
    let name = names.get(usize::try_from(key >> 3).ok()?)?;
    let level = match function {
        'f' => {
            let level = usize::try_from(numbers.next()?).ok()?;
            numbers.next()?;
            level
        }
        'u' => last?.level + 1,
        _ => last.map_or(0, |last| last.level),
    };
    let width = numbers.next().filter(|width| *width > 0).or(last.map(|last| last.width))?;
    Some(Call { level, width, frame: frame(name, key & 7, to) })
}

/// A frame with the mark of its kind, if that is wanted.
fn frame(name: &str, kind: u64, to: &mut Stacks<'_>) -> FrameId {
    const JIT: [u64; 2] = [1, 6];
    const KERNEL: u64 = 5;
    let mark = if kind == KERNEL && to.config.kernel {
        "_[k]"
    } else if JIT.contains(&kind) && to.config.jit {
        "_[j]"
    } else {
        ""
    };
    to.frame(format!("{name}{mark}"))
}
