//! Which of the formats an input is in: the only place that looks.

use std::io::Read;

use bstr::ByteSlice;
use inferno::collapse::{Collapse, dtrace, ghcprof, sample, vsprof, vtune, xctrace};

use super::stranger::Stranger;
use crate::error::{Error, Result};
use crate::folded;
use crate::perf_data;
use crate::render::embed;
use crate::script::header::Header;
use crate::script::line;

/// A format that can be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `perf script` and fg-script write.
    Script,
    /// What `perf record` and fg-record write, as a file or as a stream.
    PerfData,
    /// What fg-fold writes.
    Folded,
    /// A graph of ours, with the folded stacks in it.
    Svg,
    /// What bpftrace's `@[ustack] = count()` prints.
    Bpftrace,
    /// What dtrace's `@[ustack()] = count()` prints.
    Dtrace,
    /// What `xctrace export` writes.
    Xctrace,
    /// What macOS's `sample` writes.
    Sample,
    /// A CSV of Intel VTune.
    Vtune,
    /// A CSV of Visual Studio's profiler.
    Vsprof,
    /// What GHC's `-p` writes.
    Ghcprof,
    /// Folded text of which direct recursion is to be collapsed. Never guessed.
    Recursive,
}

impl Format {
    /// All formats, with the names `--format` takes.
    pub const NAMES: [(&'static str, Format); 12] = [
        ("perf", Format::Script),
        ("perfdata", Format::PerfData),
        ("folded", Format::Folded),
        ("svg", Format::Svg),
        ("bpftrace", Format::Bpftrace),
        ("dtrace", Format::Dtrace),
        ("xctrace", Format::Xctrace),
        ("sample", Format::Sample),
        ("vtune", Format::Vtune),
        ("vsprof", Format::Vsprof),
        ("ghcprof", Format::Ghcprof),
        ("recursive", Format::Recursive),
    ];

    /// The format of an input that starts with `start`, or `is_whole`; `None` if it is none of
    /// ours.
    pub fn sniff(start: &[u8], is_whole: bool) -> Option<Format> {
        if perf_data::sniff(start) {
            return Some(Format::PerfData);
        }
        // A cut line may look like anything; an input of one line has no other.
        let whole = match start.rfind_byte(b'\n') {
            Some(end) if !is_whole => &start[..=end],
            _ => start,
        };
        if is_script(whole) {
            return Some(Format::Script);
        }
        if is_folded(whole) {
            return Some(Format::Folded);
        }
        if embed::is_svg(start) {
            return Some(Format::Svg);
        }
        if Stranger::of(start).is_some() {
            return None;
        }
        if telling_lines(whole).any(is_bpftrace) {
            return Some(Format::Bpftrace);
        }
        foreign(&whole.to_str_lossy())
            .or_else(|| is_nameless_script(whole).then_some(Format::Script))
            .or_else(|| is_half_folded(whole).then_some(Format::Folded))
    }

    /// The same for an input of which more may come, unless it `ended`. `None` if the text so far
    /// does not decide, and more text never changes an answer.
    pub fn sniff_stream(start: &[u8], ended: bool) -> Option<Format> {
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

    /// Reads so much of `reader` that [`sniff`](Format::sniff) can tell its format: a line at
    /// least, however long it is. The answer says too whether that is all of it.
    ///
    /// # Errors
    /// The input, called `name`, cannot be read, or has nothing in it but blanks.
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

    /// The error of an input called `name` that starts with `start` and is in none of the formats
    /// `expected`, a phrase.
    pub(crate) fn unknown(name: &str, start: &[u8], expected: &str) -> Error {
        match Stranger::of(start) {
            Some(stranger) if !perf_data::sniff(start) => stranger.refuse(name),
            _ => Error::Format { input: name.into(), expected: expected.into() },
        }
    }
}

/// How much is looked at to tell the format, in bytes, and how much of an input of long lines.
pub(crate) const SNIFFED: u64 = 64 << 10;
const MOST_SNIFFED: u64 = 64 << 20;
/// A zero among so many bytes is one of a binary file.
const TELLING_BYTES: usize = 4096;
/// How many lines are looked at.
const TELLING: usize = 20;

/// Lines that say something, up to a few.
fn telling_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.lines();
    lines.filter(|line| !line.starts_with(b"#") && !line.trim_ascii().is_empty()).take(TELLING)
}

/// A sample's first line, with its time or with a frame behind it. Odd lines may come first.
fn is_script(text: &[u8]) -> bool {
    let mut lines = telling_lines(text).peekable();
    while let Some(first) = lines.next() {
        let Some(header) = Header::parse(first) else { continue };
        let is_framed = lines.peek().is_some_and(|next| is_frame(next));
        let has_event = !header.event.is_empty();
        // `rg 42 cycles:`
        let ends_with_event = header.rest.is_empty() && header.tid.is_some();
        if is_framed || (has_event && (header.time.is_some() || ends_with_event)) {
            return true;
        }
    }
    false
}

/// Nothing but frames, as `perf script -F ip,sym,dso` prints them.
fn is_nameless_script(text: &[u8]) -> bool {
    let mut lines = telling_lines(text).filter(|line| !line::is_note(line)).peekable();
    lines.peek().is_some() && lines.all(is_frame)
}

/// A line that is indented and starts with an address.
fn is_frame(text: &[u8]) -> bool {
    let is_indented = text.first().is_some_and(u8::is_ascii_whitespace);
    let has_module = || {
        let (word, tail) = line::split_address(text)?;
        Some(line::is_address(word) && line::Frame::parse(tail).is_some())
    };
    is_indented && (has_module().unwrap_or(false) || line::split_bare(text).is_some())
}

/// `@[` or `@stacks[`: a key of a map that goes on in the next line.
fn is_bpftrace(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"@") else { return false };
    let word =
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    rest[word..].starts_with(b"[") && !rest.contains(&b']')
}

fn is_folded(text: &[u8]) -> bool {
    let mut lines = telling_lines(text).peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            folded::split(line).is_some() && !line.first().is_some_and(u8::is_ascii_whitespace)
        })
}

/// Folded text with odd lines in it, which are skipped and counted.
fn is_half_folded(text: &[u8]) -> bool {
    let odd = telling_lines(text).filter(|line| folded::split(line).is_none()).count();
    telling_lines(text).count() > odd && telling_lines(text).count() >= 2 * odd
}

/// Asks inferno's collapsers. They are careless with text they do not know: `vsprof` panics on an
/// empty one.
fn foreign(text: &str) -> Option<Format> {
    type Applies = fn(&str) -> Option<bool>;
    let candidates: [(Format, Applies); 6] = [
        (Format::Xctrace, |text| xctrace::Folder::default().is_applicable(text)),
        (Format::Dtrace, |text| dtrace::Folder::default().is_applicable(text)),
        (Format::Sample, |text| sample::Folder::default().is_applicable(text)),
        (Format::Vtune, |text| vtune::Folder::default().is_applicable(text)),
        (Format::Vsprof, |text| vsprof::Folder::default().is_applicable(text)),
        (Format::Ghcprof, |text| ghcprof::Folder::default().is_applicable(text)),
    ];
    let applies = |applicable: Applies| {
        std::panic::catch_unwind(|| applicable(text)).is_ok_and(|answer| answer == Some(true))
    };
    if text.trim().is_empty() {
        return None;
    }
    candidates.into_iter().find(|(_, applicable)| applies(*applicable)).map(|(format, _)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "# captured on: Mon\n\nrg 42 [001] 12.345678:   1001001 cycles:u: \n\t   \
                          55e1d4a0 main+0x10 (/bin/rg)\n\n";
    const DTRACE: &str = "\n\n              unix`_sys_sysenter_post_swapgs+0x149\n              \
                          libc.so.1`main+0x1\n                5\n\n";

    /// Whatever stage asks gets these answers.
    const TABLE: [(&str, Option<Format>); 42] = [
        (
            "java 25607 4794564.109216: cycles: \n\t    7f53 main+0x1 (/bin/a)\n\n",
            Some(Format::Script),
        ),
        (SCRIPT, Some(Format::Script)),
        ("# captured on: today\n#\nodd line\njava 12 1.5: 9 cycles:u: \n", Some(Format::Script)),
        ("java 123\n\t    7f53 main+0x1 (/bin/a)\n\n", Some(Format::Script)),
        ("rg  4242 \n\t    55e1d4a0 main (/bin/rg)\n", Some(Format::Script)),
        ("rg 42 12.5: sched:sched_switch: prev_prio 120\n", Some(Format::Script)),
        ("rg 42 cycles: \n", Some(Format::Script)),
        ("rg 42 12.5: cycles: \n\t    55e1d4a0 main\n", Some(Format::Script)),
        ("rg 42 \n\t    55e1d4a0 main\n", Some(Format::Script)),
        ("rg 42 12.5: cycles: \n55e1d4a0 main (/bin/rg)\n", Some(Format::Script)),
        ("rg\t42 [001] 12.5:\t\t9 cycles:u:\n  55e1d4a0\tmain (/bin/rg)\n", Some(Format::Script)),
        ("rg  12.5:   9 cycles: \n\t    55e1d4a0 main (/bin/rg)\n", Some(Format::Script)),
        ("WARNING: 0 is unexpected.\nrg 42 12.5: cycles: \n", Some(Format::Script)),
        ("\n\t    55e1d4a0 main (/bin/rg)\n\n", Some(Format::Script)),
        ("\n\t    55e1d4a0 main\n\n\n\t    55e1d4a0 f\n\n", Some(Format::Script)),
        ("main;a 1\nmain 2\n", Some(Format::Folded)),
        ("main;f 1\n", Some(Format::Folded)),
        ("main 2", Some(Format::Folded)),
        (" main;f 1\n", Some(Format::Folded)),
        ("main; f 1\n", Some(Format::Folded)),
        ("main;std::f 1.5 2\n", Some(Format::Folded)),
        ("odd\nmain 2\n", Some(Format::Folded)),
        ("# note\nodd\nmain 1", Some(Format::Folded)),
        ("# c\nmain;a 10 12\n", Some(Format::Folded)),
        ("[unknown];f 1\n{closure} 2\n", Some(Format::Folded)),
        ("PERFILE2\x10\0\0\0\0\0\0\0", Some(Format::PerfData)),
        (DTRACE, Some(Format::Dtrace)),
        ("Attaching 1 probe...\n\n@[\n    main+3\n]: 1\n", Some(Format::Bpftrace)),
        ("@[\n    main+3\n, bash]: 5\n", Some(Format::Bpftrace)),
        ("@stacks[\n    main+3\n]: 1\n", Some(Format::Bpftrace)),
        ("<svg>\n</svg>\n", Some(Format::Svg)),
        ("<?xml version=\"1.0\"?>\n<svg>\n", Some(Format::Svg)),
        ("odd\nodder\nmain 2\n", None),
        ("odd\n", None),
        ("hello world\n", None),
        ("events: Ir\n\nfl=a.c\nfn=main\n16 400\n17 20\n18 5\n3 300\n4 600\n", None),
        ("{\"traceEvents\": [\n 1,\n 2\n]}\n", None),
        ("# Overhead  Command  Symbol\n  10.31%  p  [.] f 1\n   2.3%  p  [.] g 2\n", None),
        ("PERFILE2\0\0", Some(Format::PerfData)),
        ("# note\n\n", None),
        ("\n", None),
        ("", None),
    ];

    #[test]
    fn formats_are_told_apart() {
        for (text, format) in TABLE {
            assert_eq!(Format::sniff(text.as_bytes(), true), format, "{text:?}");
            assert_eq!(Format::sniff_stream(text.as_bytes(), true), format, "{text:?}");
        }
    }

    #[test]
    fn more_text_does_not_change_the_answer() {
        for (text, format) in TABLE {
            for end in 0..text.len() {
                let part = Format::sniff_stream(&text.as_bytes()[..end], false);
                assert!(part.is_none() || part == format, "{:?}", &text[..end]);
            }
        }
    }

    #[test]
    fn the_first_line_may_be_long() {
        let long = format!("# c\n{} 1\nb 2\n", "f;".repeat(SNIFFED as usize));
        let (start, is_whole) = Format::read_start(&mut long.as_bytes(), "x").unwrap();
        assert_eq!(Format::sniff(&start, is_whole), Some(Format::Folded));
        for empty in ["", " \n\n"] {
            assert!(Format::read_start(&mut empty.as_bytes(), "x").is_err());
        }
        let mut zeros = std::io::repeat(0);
        assert_eq!(Format::read_start(&mut zeros, "x").unwrap().0.len() as u64, SNIFFED);
    }
}
