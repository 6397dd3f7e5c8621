//! Which of the formats an input is in.

use bstr::ByteSlice;
use inferno::collapse::{Collapse, dtrace, ghcprof, sample, vsprof, vtune, xctrace};

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
    pub const NAMES: [(&'static str, Format); 11] = [
        ("perf", Format::Script),
        ("perfdata", Format::PerfData),
        ("folded", Format::Folded),
        ("svg", Format::Svg),
        ("dtrace", Format::Dtrace),
        ("xctrace", Format::Xctrace),
        ("sample", Format::Sample),
        ("vtune", Format::Vtune),
        ("vsprof", Format::Vsprof),
        ("ghcprof", Format::Ghcprof),
        ("recursive", Format::Recursive),
    ];

    /// The format of an input that starts with `start`, of which the last line may be cut; `None` if it is none of ours.
    pub fn sniff(start: &[u8]) -> Option<Format> {
        if perf_data::sniff(start) {
            return Some(Format::PerfData);
        }
        // A cut line may look like anything; an input of one line has no other.
        let whole = start.rfind_byte(b'\n').map_or(start, |end| &start[..=end]);
        if is_script(whole) {
            return Some(Format::Script);
        }
        if is_folded(whole) {
            return Some(Format::Folded);
        }
        if embed::is_svg(start) {
            return Some(Format::Svg);
        }
        foreign(&whole.to_str_lossy()).or_else(|| is_half_folded(whole).then_some(Format::Folded))
    }
}

/// Lines that say something, up to a few.
fn telling_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.lines().filter(|line| !line.starts_with(b"#") && !line.trim_ascii().is_empty()).take(20)
}

/// A sample's first line, with its time or with a frame behind it. Odd lines may come first.
fn is_script(text: &[u8]) -> bool {
    let mut lines = telling_lines(text).peekable();
    while let Some(first) = lines.next() {
        let Some(header) = Header::parse(first) else { continue };
        let framed = lines.peek().is_some_and(|next| is_frame(next));
        if framed || (header.time.is_some() && !header.event.is_empty()) {
            return true;
        }
    }
    false
}

fn is_frame(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_whitespace)
        && line::split_address(text).is_some_and(|(word, tail)| {
            line::is_address(word) && line::Frame::parse(tail).is_some()
        })
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

/// Asks inferno's collapsers. They are careless with text they do not know: `vsprof` panics on an empty one.
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

    #[test]
    fn formats_are_told_apart() {
        let script = "java 25607 4794564.109216: cycles: \n\t    7f53 main+0x1 (/bin/a)\n\n";
        for (text, format) in [
            (script, Some(Format::Script)),
            (
                "# captured on: today\n#\nodd line\njava 12 1.5: 9 cycles:u: \n",
                Some(Format::Script),
            ),
            ("java 123\n\t    7f53 main+0x1 (/bin/a)\n\n", Some(Format::Script)),
            ("main;a 1\nmain 2\n", Some(Format::Folded)),
            ("main 2", Some(Format::Folded)),
            ("odd\nmain 2\n", Some(Format::Folded)),
            ("odd\nodder\nmain 2\n", None),
            ("# c\nmain;a 10 12\n", Some(Format::Folded)),
            ("PERFILE2\x10\0\0\0\0\0\0\0", Some(Format::PerfData)),
            (
                "\n\n              unix`_sys_sysenter_post_swapgs+0x149\n              libc.so.1`main+0x1\n                5\n\n",
                Some(Format::Dtrace),
            ),
            ("<svg>\n</svg>\n", Some(Format::Svg)),
            ("hello world\n", None),
            ("", None),
        ] {
            assert_eq!(Format::sniff(text.as_bytes()), format, "{text:?}");
        }
    }
}
