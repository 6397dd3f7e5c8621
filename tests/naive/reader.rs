//! The reader of perf-script text as anyone would write it first: each line is taken apart, nothing
//! is remembered from one to the next.

use bstr::ByteSlice;
use flamepipe::sample::{Frame, FrameId, FrameTable, Kind, Sample, SampleSink};
use flamepipe::script::header::Header;
use flamepipe::script::line;

/// Pushes the samples of `text` into `sink`, which is not finished. `addresses`: unknown frames are
/// kept apart by theirs. The answer is how many there were.
pub(crate) fn read(
    text: &[u8],
    addresses: bool,
    frames: &mut FrameTable,
    sink: &mut impl SampleSink,
) -> u64 {
    let mut count = 0;
    let intern = |parts, frames: &mut FrameTable| intern(parts, addresses, frames);
    let mut open: Option<Open<'_>> = None;
    let mut at_start = true;
    // Whether the first line is a frame, and whether it may be only a name.
    let mut begins = None;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"#") {
            continue;
        }
        if line.trim_ascii().is_empty() {
            at_start = true;
            count += close(&mut open, frames, sink);
            continue;
        }
        let header = Header::parse(line);
        if let Some(Open { stack, single, .. }) = &mut open {
            // Samples may follow one another without a blank line.
            let next = header.filter(|header| header.time.is_some() && !header.event.is_empty());
            let parts = line::split_address(line).filter(|_| line.trim_ascii_end().ends_with(b")"));
            let is_frame = |word: &[u8]| {
                (in_columns(line) && !*single) || line::is_address(word) || next.is_none()
            };
            let parts = parts.filter(|(word, _)| is_frame(word) && !(*single && next.is_some()));
            let frame = parts.and_then(|parts| intern(parts, frames));
            let bare = || line::split_bare(line).filter(|_| next.is_none());
            if let Some(frame) = frame.or_else(|| Some(intern_bare(bare()?, addresses, frames))) {
                if std::mem::take(single) {
                    stack.clear();
                }
                stack.push(frame);
                continue;
            }
            if next.is_none() {
                continue;
            }
            count += close(&mut open, frames, sink);
        }
        let bare = Header::bare(line).filter(|_| header.is_none());
        let has_period = bare.is_some_and(|bare| bare.period.is_some());
        let with_frame = header.is_none() && begins_with_frame(line) && !has_period;
        let (by_frame, by_bare) =
            *begins.get_or_insert((with_frame, !with_frame && bare.is_some()));
        let is_first = std::mem::take(&mut at_start);
        let may_be_nameless = is_first && by_frame;
        if let Some(header) = bare.filter(|_| is_first && by_bare) {
            open = Some(Open { header, stack: Vec::new(), single: false });
            continue;
        }
        let Some(header) = header else {
            let parts = line::split_address(line).filter(|(word, _)| line::is_address(word));
            let is_indented = line[0] == b' ' || line[0] == b'\t';
            if may_be_nameless && is_indented {
                let frame = parts.and_then(|parts| intern(parts, frames));
                let bare = || Some(intern_bare(line::split_bare(line)?, addresses, frames));
                if let Some(frame) = frame.or_else(bare) {
                    open =
                        Some(Open { header: Header::default(), stack: vec![frame], single: false });
                    if line[0] != b'\t' {
                        count += close(&mut open, frames, sink);
                        at_start = true;
                    }
                }
            }
            continue;
        };
        let rest = header.rest.split_once_str(" => ").map_or(&**header.rest, |(from, _)| from);
        let starts = [&b")\t"[..], b") \t", b") insn: "];
        let end = starts.iter().filter_map(|start| rest.find(start)).min();
        let rest = end.map_or(rest, |end| &rest[..=end]).trim_ascii_end();
        let only = line::split_address(rest).filter(|(word, _)| line::is_address(word));
        let only = only.and_then(|parts| intern(parts, frames));
        let bare = || line::split_bare(rest).filter(|(word, _)| word.len() >= 6);
        let only = only.or_else(|| Some(intern_bare(bare()?, addresses, frames)));
        let single = only.is_some();
        open = Some(Open { header, stack: only.into_iter().collect(), single });
    }
    count + close(&mut open, frames, sink)
}

fn begins_with_frame(line: &[u8]) -> bool {
    let parts = line::split_address(line).filter(|(word, _)| line::is_address(word));
    let is_frame = parts.is_some_and(|(_, tail)| line::Frame::parse(tail).is_some());
    matches!(line[0], b' ' | b'\t') && (is_frame || line::split_bare(line).is_some())
}

struct Open<'a> {
    header: Header<'a>,
    stack: Vec<FrameId>,
    /// The only frame stood on the first line.
    single: bool,
}

fn intern(
    (word, tail): (&[u8], &[u8]),
    addresses: bool,
    frames: &mut FrameTable,
) -> Option<FrameId> {
    Some(put(word, line::Frame::parse(tail)?, false, addresses, frames))
}

fn intern_bare((word, tail): (&[u8], &[u8]), addresses: bool, frames: &mut FrameTable) -> FrameId {
    put(word, line::Frame::without_module(tail), true, addresses, frames)
}

fn put(
    word: &[u8],
    parts: line::Frame<'_>,
    is_bare: bool,
    addresses: bool,
    frames: &mut FrameTable,
) -> FrameId {
    let line::Frame { symbol, module, .. } = parts;
    let address = (addresses && symbol == "[unknown]").then(|| line::address(word));
    let mut kind = Kind::of(symbol, module);
    let is_nowhere = is_bare || (symbol == "[unknown]" && module == "[unknown]");
    let is_high = (0xffff_0000_0000_0000..0xffff_ffff_ffff_f000).contains(&line::address(word));
    if kind == Kind::User && is_nowhere && is_high {
        kind = Kind::Kernel;
    }
    frames.intern(Frame { symbol, module, kind, address, line: None })
}

fn close(open: &mut Option<Open<'_>>, frames: &mut FrameTable, sink: &mut impl SampleSink) -> u64 {
    let Some(Open { header, stack, .. }) = open.take() else { return 0 };
    if stack.is_empty() && !header.is_sure() {
        return 0;
    }
    let Header { comm, pid, tid, cpu, time, period, event, .. } = header;
    let sample =
        Sample { comm, pid, tid, cpu, time, period, event, stack: &stack, ..Sample::default() };
    sink.sample(frames, &sample).unwrap();
    1
}

/// Whether it starts as perf prints frames, `\t%16lx `.
fn in_columns(line: &[u8]) -> bool {
    let column = line.strip_prefix(b"\t").and_then(|rest| rest.get(..16)).unwrap_or_default();
    let word: Vec<u8> = column.iter().copied().skip_while(|&byte| byte == b' ').collect();
    let is_word = !word.is_empty() && word.iter().all(|byte| (b'!'..=0x7f).contains(byte));
    is_word && line.get(17) == Some(&b' ')
}
