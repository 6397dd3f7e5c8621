//! The reader of perf-script text as anyone would write it first: each line is taken apart, nothing is remembered from one to the next.

use flamepipe::sample::{Frame, FrameId, FrameTable, Kind, Sample, SampleSink};
use flamepipe::script::header::Header;
use flamepipe::script::line;

/// Pushes the samples of `text` into `sink`, which is not finished. `addresses`: unknown frames are kept apart by theirs.
/// The answer is how many there were.
pub(crate) fn read(
    text: &[u8],
    addresses: bool,
    frames: &mut FrameTable,
    sink: &mut impl SampleSink,
) -> u64 {
    let mut count = 0;
    let intern = |(word, tail), frames: &mut FrameTable| intern(word, tail, addresses, frames);
    let mut open: Option<(Header<'_>, Vec<FrameId>)> = None;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"#") {
            continue;
        }
        if line.trim_ascii().is_empty() {
            count += close(&mut open, frames, sink);
            continue;
        }
        let header = Header::parse(line);
        if let Some((_, stack)) = &mut open {
            // Where samples follow one another without a blank line.
            let next = header.filter(|header| header.time.is_some() && !header.event.is_empty());
            let parts = line::split_address(line).filter(|_| line.trim_ascii_end().ends_with(b")"));
            let is_frame =
                |word: &[u8]| in_columns(line) || line::is_address(word) || next.is_none();
            let parts = parts.filter(|(word, _)| is_frame(word));
            if let Some(frame) = parts.and_then(|parts| intern(parts, frames)) {
                stack.push(frame);
                continue;
            }
            if next.is_none() {
                continue;
            }
            count += close(&mut open, frames, sink);
        }
        let Some(header) = header else { continue };
        let only = line::split_address(header.rest).filter(|(word, _)| line::is_address(word));
        let only = only.and_then(|parts| intern(parts, frames));
        open = Some((header, only.into_iter().collect()));
        if only.is_some() {
            count += close(&mut open, frames, sink);
        }
    }
    count + close(&mut open, frames, sink)
}

fn intern(word: &[u8], tail: &[u8], addresses: bool, frames: &mut FrameTable) -> Option<FrameId> {
    let line::Frame { symbol, module, .. } = line::Frame::parse(tail)?;
    let address = (addresses && symbol == "[unknown]").then(|| line::address(word));
    Some(frames.intern(Frame { symbol, module, kind: Kind::of(symbol, module), address }))
}

fn close(
    open: &mut Option<(Header<'_>, Vec<FrameId>)>,
    frames: &mut FrameTable,
    sink: &mut impl SampleSink,
) -> u64 {
    let Some((header, stack)) = open.take() else { return 0 };
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
