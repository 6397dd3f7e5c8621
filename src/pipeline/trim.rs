//! Edits folded stacks before any other program gets them: applies presets, and completes the names
//! of threads that the kernel has cut.

use std::collections::HashMap;

use bstr::ByteSlice;

use crate::error::Result;
use crate::filter::{Config, FoldedFilter, Preset};
use crate::folded::{Folded, FoldedSink, OFF_CPU, ON_CPU};
use crate::sample::{Frame, FrameId, FrameTable};
use crate::tally::Tally;

/// The kernel keeps this many bytes of a thread's name.
const KEPT: usize = 15;

/// What is edited.
#[derive(Clone, Debug, Default)]
pub(super) struct Trim {
    /// The frames that are left out.
    pub(super) presets: Vec<Preset>,
    /// The whole names of threads.
    pub(super) threads: Vec<String>,
}

impl Trim {
    /// Whether nothing is edited.
    pub(super) fn is_empty(&self) -> bool {
        self.presets.is_empty() && self.threads.is_empty()
    }

    /// A sink that edits stacks for `next`.
    pub(super) fn before<S: FoldedSink>(self, next: S) -> Result<FoldedFilter<WholeNames<S>>> {
        let mut edits = Vec::new();
        for preset in self.presets {
            edits.extend(preset.edits()?);
        }
        let next = WholeNames::new(self.threads, next);
        FoldedFilter::new(Config { edits, ..Config::default() }, next)
    }
}

/// Replaces the names of threads that were cut. Names that were cut to the same are told apart by
/// the functions of their stacks, because libtest names a thread after its test function.
pub(super) struct WholeNames<S> {
    next: S,
    /// The whole names by what was kept of them.
    whole: HashMap<Vec<u8>, Vec<String>>,
    /// A buffer for a stack.
    stack: Vec<FrameId>,
}

impl<S> WholeNames<S> {
    fn new(threads: Vec<String>, next: S) -> Self {
        let mut whole: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
        for name in threads {
            if let Some(kept) = name.as_bytes().get(..KEPT) {
                whole.entry(kept.to_vec()).or_default().push(name);
            }
        }
        WholeNames { next, whole, stack: Vec::new() }
    }

    pub(super) fn into_next(self) -> S {
        self.next
    }

    /// The place of the thread in `stack`, root first, and its whole name.
    fn find(&self, frames: &FrameTable, stack: &[FrameId]) -> Option<(usize, &str)> {
        let name_of = |at: usize| stack.get(at).map(|&frame| frames.symbol(frame).as_bytes());
        let is_state = name_of(0).is_some_and(|root| [ON_CPU, OFF_CPU].contains(&root));
        let at = usize::from(is_state);
        let names = self.whole.get(name_of(at)?)?;
        if let [only] = names.as_slice() {
            return Some((at, only));
        }
        let mut functions = stack[at + 1..].iter().map(|&frame| frames.symbol(frame).as_bytes());
        let found = functions
            .find_map(|function| names.iter().find(|name| is_within(function, name.as_bytes())));
        Some((at, found?))
    }
}

/// Whether `function` is the test called `name`, or a closure of it: `crate::name::{{closure}}`.
fn is_within(function: &[u8], name: &[u8]) -> bool {
    let path = function.split_once_str("::").map(|(_, path)| path);
    let rest = path.and_then(|path| path.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"::"))
}

impl<S: FoldedSink> FoldedSink for WholeNames<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let Some((at, name)) = self.find(frames, folded.stack) else {
            return self.next.folded(frames, folded);
        };
        let whole = frames.intern(Frame::named(name.as_bytes()));
        self.stack.clear();
        self.stack.extend_from_slice(folded.stack);
        self.stack[at] = whole;
        self.next.folded(frames, &Folded { stack: &self.stack, ..*folded })
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.next.text(line)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        self.next.finish(frames, tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::Writer;

    #[test]
    fn cut_names_become_whole() {
        let names = ["tests::first_with_more", "tests::first_with_less", "other::test_of_it"];
        let threads = names.map(str::to_owned).to_vec();
        let trim = Trim { threads, ..Trim::default() };
        assert!(!trim.is_empty() && Trim::default().is_empty());
        let mut sink = trim.before(Writer::new(Vec::new(), "memory")).unwrap();
        let mut frames = FrameTable::default();
        for stack in [
            &["tests::first_wi", "main", "app::tests::first_with_less::{{closure}}", "f"][..],
            &["off-cpu", "tests::first_wi", "app::tests::first_with_more"],
            &["tests::first_wi", "app::tests::first_with_more_of_it"],
            &["other::test_of_", "f"],
            &["other::test_of_it_all", "f"],
        ] {
            let stack: Vec<_> =
                stack.iter().map(|name| frames.intern(Frame::named(name.as_bytes()))).collect();
            let folded = Folded { stack: &stack, weight: 1, after: None, line: b"" };
            sink.folded(&mut frames, &folded).unwrap();
        }
        sink.finish(&mut frames, &mut Tally::default()).unwrap();
        let text = sink.into_inner().into_next().into_inner();
        assert_eq!(
            text.to_str().unwrap(),
            "tests::first_with_less;main;app::tests::first_with_less::{{closure}};f 1\n\
             off-cpu;tests::first_with_more;app::tests::first_with_more 1\n\
             tests::first_wi;app::tests::first_with_more_of_it 1\n\
             other::test_of_it;f 1\n\
             other::test_of_it_all;f 1\n"
        );
    }
}
