//! Recognises the format of an input. No other code does.

use bstr::ByteSlice;

use super::foreign::Foreign;
use super::mistaken::{self, Mistaken};
use super::start::{TELLING, telling_lines};
use super::{
    async_profiler, austin, bpftrace, chrome, dump, firefox, inferno, pprof, speedscope, stackprof,
    v8,
};
use crate::error::Error;
use crate::folded;
use crate::graph;
use crate::perf_data;
use crate::script::header::Header;
use crate::script::line;

/// The formats of other profilers with signs of their own.
static FOREIGN: [Foreign; 14] = [
    pprof::PPROF,
    speedscope::SPEEDSCOPE,
    firefox::FIREFOX,
    // A trace may have pieces of a .cpuprofile.
    chrome::CHROME,
    v8::CPUPROFILE,
    v8::HEAPPROFILE,
    stackprof::STACKPROF,
    async_profiler::ASYNC_PROFILER,
    austin::AUSTIN,
    dump::GDB,
    dump::EU_STACK,
    dump::JSTACK,
    dump::FAULTHANDLER,
    bpftrace::BPFTRACE,
];

/// The formats that inferno recognises. It is careless with other text.
static BY_INFERNO: [Foreign; 7] = [
    inferno::DTRACE,
    inferno::XCTRACE,
    inferno::SAMPLE,
    inferno::VTUNE,
    inferno::VSPROF,
    inferno::GHCPROF,
    inferno::RECURSIVE,
];

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text of `perf script` and fg-script.
    Script,
    /// The recordings of `perf record` and fg-record, as a file or as a stream.
    PerfData,
    /// The folded stacks of fg-fold.
    Folded,
    /// A graph of ours that carries its stacks.
    Svg,
    /// The output of another profiler.
    Foreign(&'static Foreign),
}

impl Format {
    /// All formats.
    pub fn all() -> impl Iterator<Item = Format> {
        let ours = [Format::Script, Format::PerfData, Format::Folded, Format::Svg];
        ours.into_iter().chain(FOREIGN.iter().chain(&BY_INFERNO).map(Format::Foreign))
    }

    /// Its name in `--format`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Script => "perf",
            Format::PerfData => "perfdata",
            Format::Folded => "folded",
            Format::Svg => "svg",
            Format::Foreign(foreign) => foreign.name,
        }
    }

    /// The format of an input that starts with `start`; `is_whole` says that there is no more of
    /// it. `None` if no format fits.
    pub fn sniff(start: &[u8], is_whole: bool) -> Option<Format> {
        if perf_data::sniff(start) {
            return Some(Format::PerfData);
        }
        // A line that is cut may look like anything. Leave it out, unless it is the only line.
        let whole = match start.rfind_byte(b'\n') {
            Some(end) if !is_whole => &start[..=end],
            _ => start,
        };
        if is_script(whole) {
            return Some(Format::Script);
        }
        if let Some(foreign) = FOREIGN.iter().find(|foreign| (foreign.is)(start)) {
            return Some(Format::Foreign(foreign));
        }
        if is_folded(whole) {
            return Some(Format::Folded);
        }
        if graph::is_picture(start) {
            return Some(Format::Svg);
        }
        if Mistaken::of(start).is_some() {
            return None;
        }
        BY_INFERNO
            .iter()
            .find(|foreign| (foreign.is)(whole))
            .map(Format::Foreign)
            .or_else(|| is_nameless_script(whole).then_some(Format::Script))
            .or_else(|| is_half_folded(whole).then_some(Format::Folded))
    }

    /// The format of a stream of which more may come, unless it `ended`. `None` if the text so far
    /// does not decide. More text never changes an answer.
    pub(crate) fn sniff_stream(start: &[u8], ended: bool) -> Option<Format> {
        if ended {
            return Format::sniff(start, true);
        }
        if perf_data::sniff(start) {
            return Some(Format::PerfData);
        }
        let whole = start.rfind_byte(b'\n').map_or(&b""[..], |end| &start[..=end]);
        if is_script(whole) {
            return Some(Format::Script);
        }
        let is_enough = telling_lines(whole).count() == TELLING;
        if is_enough { Format::sniff(whole, true) } else { None }
    }

    /// The error of an input called `name` that starts with `start` and has none of the `expected`
    /// formats, a phrase.
    pub(crate) fn unknown(name: &str, start: &[u8], expected: &str) -> Error {
        match Mistaken::of(start) {
            Some(mistaken) if !perf_data::sniff(start) => mistaken.refuse(name),
            _ => Error::Format { input: name.into(), expected: expected.into() },
        }
    }
}

/// Whether there is the first line of a sample, with its time or with a frame behind it. Odd lines
/// may come first.
fn is_script(text: &[u8]) -> bool {
    if mistaken::passes_for_script(text) {
        return false;
    }
    let mut lines = telling_lines(text).peekable();
    while let Some(first) = lines.next() {
        let Some(header) = Header::parse(first) else { continue };
        let has_event = !header.event.is_empty();
        let is_framed = lines.peek().is_some_and(|next| is_frame(next));
        // `rg 42 cycles:`
        let ends_with_event = header.rest.is_empty() && header.tid.is_some();
        if is_framed || (has_event && (header.time.is_some() || ends_with_event)) {
            return true;
        }
    }
    false
}

/// Whether there are only frames, as `perf script -F ip,sym,dso` prints them, or a thread's name,
/// a period or an event before the frames of each sample, as with `-F comm,ip,sym`.
fn is_nameless_script(text: &[u8]) -> bool {
    let mut lines = telling_lines(text).filter(|line| !line::is_note(line)).peekable();
    let mut frames = 0;
    while let Some(line) = lines.next() {
        let mut is_followed = || lines.peek().is_none_or(|next| is_frame(next));
        if is_frame(line) {
            frames += 1;
        } else if !(Header::bare(line).is_some() && is_followed()) {
            return false;
        }
    }
    frames > 0
}

/// Whether a line is indented and starts with an address.
fn is_frame(text: &[u8]) -> bool {
    let is_indented = text.first().is_some_and(u8::is_ascii_whitespace);
    let has_module = || {
        let (word, tail) = line::split_address(text)?;
        Some(line::is_address(word) && line::Frame::parse(tail).is_some())
    };
    is_indented && (has_module().unwrap_or(false) || line::split_bare(text).is_some())
}

fn is_folded(text: &[u8]) -> bool {
    if mistaken::passes_for_folded(text) {
        return false;
    }
    let mut lines = telling_lines(text).peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            folded::split(line).is_some() && !line.first().is_some_and(u8::is_ascii_whitespace)
        })
}

/// Whether this is folded text with some odd lines, which are skipped and counted.
fn is_half_folded(text: &[u8]) -> bool {
    let odd = telling_lines(text).filter(|line| folded::split(line).is_none()).count();
    telling_lines(text).count() > odd && telling_lines(text).count() >= 2 * odd
}

/// Whether an input that starts with `start` may be folded text: one line is a stack, or all lines
/// are comments.
pub(crate) fn may_be_folded(start: &[u8]) -> bool {
    Mistaken::of(start).is_none() && has_stack(start)
}

fn has_stack(start: &[u8]) -> bool {
    start.lines().any(|line| folded::split(line).is_some()) || start.lines().all(folded::is_comment)
}

#[cfg(test)]
mod tests {
    use super::super::start::SNIFFED;
    use super::super::start::read_start;
    use super::*;

    const SCRIPT: &str = "# captured on: Mon\n\nrg 42 [001] 12.345678:   1001001 cycles:u: \n\t   \
                          55e1d4a0 main+0x10 (/bin/rg)\n\n";
    const DTRACE: &str = "\n\n              unix`_sys_sysenter_post_swapgs+0x149\n              \
                          libc.so.1`main+0x1\n                5\n\n";

    /// All stages get these answers.
    const TABLE: [(&str, Option<&str>); 57] = [
        ("java 25607 4794564.109216: cycles: \n\t    7f53 main+0x1 (/bin/a)\n\n", Some("perf")),
        (SCRIPT, Some("perf")),
        ("# captured on: today\n#\nodd line\njava 12 1.5: 9 cycles:u: \n", Some("perf")),
        ("java 123\n\t    7f53 main+0x1 (/bin/a)\n\n", Some("perf")),
        ("rg  4242 \n\t    55e1d4a0 main (/bin/rg)\n", Some("perf")),
        ("rg 42 12.5: sched:sched_switch: prev_prio 120\n", Some("perf")),
        ("rg 42 cycles: \n", Some("perf")),
        ("rg 42 12.5: cycles: \n\t    55e1d4a0 main\n", Some("perf")),
        ("rg 42 \n\t    55e1d4a0 main\n", Some("perf")),
        ("rg 42 12.5: cycles: \n55e1d4a0 main (/bin/rg)\n", Some("perf")),
        ("rg\t42 [001] 12.5:\t\t9 cycles:u:\n  55e1d4a0\tmain (/bin/rg)\n", Some("perf")),
        ("rg  12.5:   9 cycles: \n\t    55e1d4a0 main (/bin/rg)\n", Some("perf")),
        ("WARNING: 0 is unexpected.\nrg 42 12.5: cycles: \n", Some("perf")),
        ("\n\t    55e1d4a0 main (/bin/rg)\n\n", Some("perf")),
        ("\n\t    55e1d4a0 main\n\n\n\t    55e1d4a0 f\n\n", Some("perf")),
        ("main;a 1\nmain 2\n", Some("folded")),
        ("main;f 1\n", Some("folded")),
        ("main 2", Some("folded")),
        (" main;f 1\n", Some("folded")),
        ("main; f 1\n", Some("folded")),
        ("main;std::f 1.5 2\n", Some("folded")),
        ("odd\nmain 2\n", Some("folded")),
        ("# note\nodd\nmain 1", Some("folded")),
        ("# c\nmain;a 10 12\n", Some("folded")),
        ("[unknown];f 1\n{closure} 2\n", Some("folded")),
        ("PERFILE2\x10\0\0\0\0\0\0\0", Some("perfdata")),
        (DTRACE, Some("dtrace")),
        ("Attaching 1 probe...\n\n@[\n    main+3\n]: 1\n", Some("bpftrace")),
        ("@[\n    main+3\n, bash]: 5\n", Some("bpftrace")),
        ("@stacks[\n    main+3\n]: 1\n", Some("bpftrace")),
        ("<svg>\n</svg>\n", Some("svg")),
        ("<?xml version=\"1.0\"?>\n<svg>\n", Some("svg")),
        ("odd\nodder\nmain 2\n", None),
        ("odd\n", None),
        ("hello world\n", None),
        ("events: Ir\n\nfl=a.c\nfn=main\n16 400\n17 20\n18 5\n3 300\n4 600\n", None),
        ("{\"traceEvents\": [\n 1,\n 2\n]}\n", Some("chrome")),
        ("[{\"ph\": \"X\"}]", Some("chrome")),
        ("{\"shared\": {\"frames\": []}}", Some("speedscope")),
        ("{\"nodes\": [{\"callFrame\": {}}]}", Some("cpuprofile")),
        ("{\"head\": {\"callFrame\": {}}}", Some("heapprofile")),
        ("{\"meta\": {\"preprocessedProfileVersion\": 5}}", Some("firefox")),
        ("{\"a\": 1}", None),
        ("\x0a\x04\x08\x01\x10\x02\x0a\x04\x08\x03\x10\x04", Some("pprof")),
        ("H\x05\x0a\x04\x08\x01\x10\x02", Some("pprof")),
        ("Thread 2 (LWP 7 \"a\"):\n#0  0x1 in f () from /x\n", Some("gdb")),
        ("#0  main () at t.c:5\n", Some("gdb")),
        ("PID 7 - process\nTID 7:\n#0  0x1 main\n", Some("eu-stack")),
        ("2026-12-01 04:28:19\nFull thread dump OpenJDK\n\n", Some("jstack")),
        ("Stack (most recent call first):\n  File \"a.py\", line 2 in f\n", Some("faulthandler")),
        ("# austin: 3.7.0\n\nP1;T0:2;a.py:f:3 4\n", Some("austin")),
        ("<html>async-profiler const cpool = [\n", Some("async-profiler")),
        ("# Overhead  Command  Symbol\n  10.31%  p  [.] f 1\n   2.3%  p  [.] g 2\n", None),
        ("PERFILE2\0\0", Some("perfdata")),
        ("# note\n\n", None),
        ("\n", None),
        ("", None),
    ];

    #[test]
    fn formats_are_told_apart() {
        for (text, format) in TABLE {
            let told = Format::sniff(text.as_bytes(), true);
            assert_eq!(told.map(Format::name), format, "{text:?}");
            assert_eq!(Format::sniff_stream(text.as_bytes(), true), told, "{text:?}");
        }
    }

    #[test]
    fn more_text_does_not_change_the_answer() {
        for (text, format) in TABLE {
            for end in 0..text.len() {
                let part = Format::sniff_stream(&text.as_bytes()[..end], false);
                assert!(part.is_none() || part.map(Format::name) == format, "{:?}", &text[..end]);
            }
        }
    }

    #[test]
    fn the_first_line_may_be_long() {
        let long = format!("# c\n{} 1\nb 2\n", "f;".repeat(SNIFFED as usize));
        let (start, is_whole) = read_start(&mut long.as_bytes(), "x").unwrap();
        assert_eq!(Format::sniff(&start, is_whole), Some(Format::Folded));
        for empty in ["", " \n\n"] {
            assert!(read_start(&mut empty.as_bytes(), "x").is_err());
        }
        let mut zeros = std::io::repeat(0);
        assert_eq!(read_start(&mut zeros, "x").unwrap().0.len() as u64, SNIFFED);
    }
}
