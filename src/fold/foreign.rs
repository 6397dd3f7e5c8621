//! Formats of other profilers, and perf's where it is wanted so, through inferno's collapsers if it
//! has one.

use std::borrow::Cow;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bstr::ByteSlice;
use inferno::collapse::{
    Collapse, dtrace, ghcprof, perf, recursive, sample, vsprof, vtune, xctrace,
};

use super::{Config, Format, bpftrace};
use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink};
use crate::sample::{Frame, FrameTable};
use crate::tally::{Count, Loss, Tally};

/// Folded text out of `input`, which is of a foreign `format`.
///
/// Memory: the whole input and its folded text, as the collapsers want text that is UTF-8 throughout; bytes that are not
/// are replaced and counted.
pub(super) fn collapse(
    format: Format,
    mut input: impl Read,
    name: &str,
    tally: &mut Tally,
) -> Result<Vec<u8>> {
    if format == Format::Bpftrace {
        return bpftrace::collapse(input, name, tally);
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(Error::io(|| format!("cannot read {name}")))?;
    let text = bytes.to_str_lossy();
    if let Cow::Owned(replaced) = &text {
        tally.lose(Loss::Replaced, replaced.matches('\u{fffd}').count() as u64, 0);
    }
    let text = text.as_bytes();
    let mut folded = Vec::new();
    // inferno asserts what it expects of its input; ours may be anything.
    let collapsed = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Dtrace => dtrace::Folder::default().collapse(text, &mut folded),
        Format::Xctrace => xctrace::Folder::default().collapse(text, &mut folded),
        Format::Sample => sample::Folder::default().collapse(text, &mut folded),
        Format::Vtune => vtune::Folder::default().collapse(text, &mut folded),
        Format::Vsprof => vsprof::Folder::default().collapse(text, &mut folded),
        Format::Ghcprof => ghcprof::Folder::default().collapse(text, &mut folded),
        Format::Recursive => recursive::Folder::default().collapse(text, &mut folded),
        Format::Script | Format::PerfData | Format::Folded | Format::Svg | Format::Bpftrace => {
            Ok(())
        }
    }));
    let unreadable = || {
        let known = Format::NAMES.iter().find(|(_, known)| *known == format);
        let format = known.map_or("text", |(name, _)| name);
        Error::Format { input: name.into(), expected: format!("{format} output that can be read") }
    };
    let done = collapsed.map_err(|_| unreadable())?;
    done.map_err(Error::io(|| format!("cannot collapse {name}")))?;
    Ok(folded)
}

/// perf-script text as inferno-collapse-perf folds it, right or wrong, by its own code.
///
/// Memory: inferno's, and the folded text. Fails where it fails or panics.
pub(super) fn script(
    input: impl Read,
    name: &str,
    config: &Config,
    threads: usize,
) -> Result<Vec<u8>> {
    let mut options = perf::Options::default();
    options.annotate_jit = config.jit;
    options.annotate_kernel = config.kernel;
    options.include_addrs = config.addresses;
    options.include_pid = config.pid;
    options.include_tid = config.tid;
    options.event_filter = config.event.as_ref().map(|event| event.to_string());
    options.skip_after = config.skip_after.iter().map(|symbol| symbol.to_string()).collect();
    options.nthreads = threads.max(1);
    let mut folded = Vec::new();
    let input = BufReader::with_capacity(1 << 17, input);
    let collapse = || perf::Folder::from(options).collapse(input, &mut folded);
    let done = catch_unwind(AssertUnwindSafe(collapse)).map_err(|_| Error::Unsupported {
        what: format!("inferno panics on {name}"),
        remedy: "fold it without --inferno-compat".into(),
    })?;
    done.map_err(Error::io(|| format!("inferno cannot collapse {name}")))?;
    Ok(folded)
}

/// Pushes what [`script`] folded, to the byte: [`crate::folded::read`] would take blanks and numbers at the end of names for something
/// else.
pub(super) fn read(
    folded: &[u8],
    frames: &mut FrameTable,
    sink: &mut impl FoldedSink,
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
