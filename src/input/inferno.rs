//! Reads formats with inferno's collapsers, and with `--inferno-compat` perf-script text too.

use std::borrow::Cow;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bstr::ByteSlice;
use inferno::collapse::{
    Collapse, dtrace, ghcprof, perf, recursive, sample, vsprof, vtune, xctrace,
};

use super::foreign::{Foreign, Reader};
use crate::error::{Error, Result};
use crate::fold;
use crate::folded::{Folded, FoldedSink, begins_comment};
use crate::sample::{Frame, FrameTable};
use crate::tally::{Count, Loss, Tally};

/// The output of dtrace's `@[ustack()] = count()`.
pub(super) const DTRACE: Foreign = read_by::<dtrace::Folder>("dtrace");
/// The output of `xctrace export`.
pub(super) const XCTRACE: Foreign = read_by::<xctrace::Folder>("xctrace");
/// The output of macOS's `sample`.
pub(super) const SAMPLE: Foreign = read_by::<sample::Folder>("sample");
/// A CSV of Intel VTune.
pub(super) const VTUNE: Foreign = read_by::<vtune::Folder>("vtune");
/// A CSV of Visual Studio's profiler.
pub(super) const VSPROF: Foreign = read_by::<vsprof::Folder>("vsprof");
/// The output of GHC's `-p`.
pub(super) const GHCPROF: Foreign = read_by::<ghcprof::Folder>("ghcprof");
/// Folded text, to collapse its direct recursion. Only used if it is asked for.
pub(super) const RECURSIVE: Foreign =
    Foreign { is: |_| false, ..read_by::<recursive::Folder>("recursive") };

/// A format that the collapser `C` reads.
const fn read_by<C: Collapse + Default>(name: &'static str) -> Foreign {
    Foreign { name, is: is::<C>, reader: Reader::Text(fold::<C>) }
}

/// Asks the collapser. Some are careless with unknown text: `vsprof` panics on an empty one.
fn is<C: Collapse + Default>(start: &[u8]) -> bool {
    let text = start.to_str_lossy();
    let answer = catch_unwind(|| C::default().is_applicable(&text));
    !text.trim().is_empty() && matches!(answer, Ok(Some(true)))
}

/// Memory: the whole input and its folded text. The collapsers need valid UTF-8, so other bytes are
/// replaced and counted.
fn fold<C: Collapse + Default>(
    format: &Foreign,
    input: &mut dyn Read,
    name: &str,
    tally: &mut Tally,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(Error::io(|| format!("cannot read {name}")))?;
    let text = bytes.to_str_lossy();
    if let Cow::Owned(replaced) = &text {
        tally.lose(Loss::Replaced, replaced.matches('\u{fffd}').count() as u64, 0);
    }
    let mut text = text;
    if *format == XCTRACE {
        let (plain, replaced) = without_control_references(&text);
        tally.lose(Loss::Replaced, replaced, 0);
        text = plain.into();
    }
    let text = text.as_bytes();
    let mut folded = Vec::new();
    // inferno panics if the input is not as it expects.
    let collapse = || C::default().collapse(text, &mut folded);
    let done = catch_unwind(AssertUnwindSafe(collapse)).map_err(|_| Error::Format {
        input: name.into(),
        expected: format!("{} output that can be read", format.name),
    })?;
    done.map_err(Error::io(|| format!("cannot collapse {name}")))?;
    if *format != RECURSIVE {
        tally.lose(Loss::Replaced, replace_comments(&mut folded), 0);
    }
    Ok(folded)
}

/// Replaces the `#` at the start of lines that pass for comments: a collapser writes none. Returns
/// how many there were.
fn replace_comments(folded: &mut [u8]) -> u64 {
    let mut replaced = 0;
    for line in folded.split_mut(|&byte| byte == b'\n').filter(|line| begins_comment(line)) {
        line[0] = b'?';
        replaced += 1;
    }
    replaced
}

/// `xml` with a `?` for each reference to a control character, and how many there were. inferno
/// resolves `&#10;` in a name, which makes another line of folded text.
fn without_control_references(xml: &str) -> (String, u64) {
    let mut parts = xml.split("&#");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    let mut replaced = 0;
    for part in parts {
        let (number, rest) = part.split_once(';').unwrap_or((part, ""));
        let character = match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        if character.is_ok_and(|character| character < 0x20 || character == 0x7f) {
            replaced += 1;
            plain.push('?');
            plain.push_str(rest);
        } else {
            plain.push_str("&#");
            plain.push_str(part);
        }
    }
    (plain, replaced)
}

/// Folds perf-script text with inferno's own code, as inferno-collapse-perf does, right or wrong.
///
/// Memory: inferno's, and the folded text. Fails if inferno fails or panics.
pub(super) fn script(
    input: impl Read,
    name: &str,
    folds: &fold::Config,
    addresses: bool,
    threads: usize,
) -> Result<Vec<u8>> {
    let mut options = perf::Options::default();
    options.annotate_jit = folds.jit;
    options.annotate_kernel = folds.kernel;
    options.include_addrs = addresses;
    options.include_pid = folds.pid;
    options.include_tid = folds.tid;
    options.event_filter = folds.event.as_ref().map(|event| event.to_string());
    options.skip_after = folds.skip_after.iter().map(|symbol| symbol.to_string()).collect();
    options.nthreads = threads.max(1);
    let mut folded = Vec::new();
    let input = BufReader::with_capacity(1 << 17, input);
    let collapse = || perf::Folder::from(options).collapse(input, &mut folded);
    let done = catch_unwind(AssertUnwindSafe(collapse)).map_err(|_| Error::Usage {
        what: format!("inferno panics on {name}"),
        remedy: "fold it without --inferno-compat".into(),
    })?;
    done.map_err(Error::io(|| format!("inferno cannot collapse {name}")))?;
    Ok(folded)
}

/// Pushes the text that [`script`] folded, unchanged. [`crate::folded::read`] would treat blanks
/// and numbers at the end of names as something else.
pub(super) fn read(
    folded: &[u8],
    frames: &mut FrameTable,
    sink: &mut dyn FoldedSink,
    tally: &mut Tally,
) -> Result<()> {
    let mut stack = Vec::new();
    for line in folded.lines() {
        let Some((names, weight)) = line.rsplit_once_str(" ") else { continue };
        let Some(weight) = weight.to_str().ok().and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        stack.clear();
        stack.extend(names.split_str(";").map(|name| frames.intern(Frame::named(name))));
        tally.read += Count::one(weight);
        tally.folded_before += 1;
        sink.folded(frames, &Folded { stack: &stack, weight, ..Folded::default() })?;
    }
    Ok(())
}
