//! Formats of other profilers, through inferno's collapsers.

use std::borrow::Cow;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bstr::ByteSlice;
use inferno::collapse::{Collapse, dtrace, ghcprof, recursive, sample, vsprof, vtune, xctrace};

use super::Format;
use crate::error::{Error, Result};
use crate::tally::{Loss, Tally};

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
        Format::Script | Format::PerfData | Format::Folded => Ok(()),
    }));
    let unreadable = || Error::Format {
        input: name.into(),
        expected: format!("{format:?} output that can be read"),
    };
    let done = collapsed.map_err(|_| unreadable())?;
    done.map_err(Error::io(|| format!("cannot collapse {name}")))?;
    Ok(folded)
}
