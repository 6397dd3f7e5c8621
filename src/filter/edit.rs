//! Edits stacks: cuts them, renames frames and removes them.
//!
//! Directions are those of a flame graph: the root is at the bottom, and callees are above their
//! callers.

use bstr::{BString, ByteSlice};
use regex::bytes::Regex;

use super::memo::Memo;
use super::predicate::{Judge, Predicate, Subject};
use crate::error::{Error, Result};
use crate::sample::{Frame, FrameId, FrameTable, Kind};

/// One change to a stack. Its predicate may ask about symbol, module and kind of a frame. If
/// several frames match, the one nearest to the root counts.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Makes the matching frame the root, and drops stacks without one.
    RootAt(Predicate),
    /// Cuts off the callers of the matching frame. Stacks without one stay whole.
    CutBelow(Predicate),
    /// Cuts off the callees of the matching frame, which gets their weight.
    CutAbove(Predicate),
    /// Removes matching frames. Their weight stays with their callers.
    Hide(Predicate),
    /// Replaces runs of matching frames by one frame of this name; see [`Edit::group`].
    Group(BString, Predicate),
    /// Replaces every match in a symbol; see [`Edit::rename`].
    Rename(Regex, BString),
    /// Shows a function that calls itself directly once: `a;f;f;b` becomes `a;f;b`.
    CollapseRecursion,
}

impl Edit {
    /// Replaces every match of `pattern` in a symbol by `replacement`, in which `$1` or `${name}`
    /// stand for the match of a group. A frame whose name becomes empty is removed.
    ///
    /// Fails if the replacement has a `;` or a newline, because these end frames and lines of
    /// folded text.
    pub fn rename(pattern: Regex, replacement: &[u8]) -> Result<Edit> {
        check_name(replacement)?;
        Ok(Edit::Rename(pattern, replacement.into()))
    }

    /// Replaces adjacent frames that match `which` by one frame `name`, in the place of the
    /// topmost.
    ///
    /// Fails if the name is empty or has a `;` or a newline, or if the predicate asks about more
    /// than frames.
    pub fn group(name: &[u8], which: Predicate) -> Result<Edit> {
        check_name(name)?;
        if name.is_empty() {
            let what = "a group needs a name".into();
            return Err(Error::Usage { what, remedy: String::new() });
        }
        Ok(Edit::Group(name.into(), which.about_frames()?))
    }

    /// Removes the hash of Rust's legacy names: `core::fmt::write::h0123456789abcdef` becomes
    /// `core::fmt::write`, also before a mark such as `_[i]` or ` (.llvm.123)`.
    pub fn strip_hashes() -> Result<Edit> {
        let hash = Regex::new(r"(?-u)::h[0-9a-f]{16}(_\[[a-z]\]|[^0-9A-Za-z_:]|$)");
        Edit::rename(hash?, b"$1")
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.find_byteset(b";\n").is_none() {
        return Ok(());
    }
    let what = format!("{:?} cannot be a frame's name", name.as_bstr());
    let remedy = "omit `;` and newlines, which end frames and lines".into();
    Err(Error::Usage { what, remedy })
}

/// One frame of a stack under edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) frame: FrameId,
    /// Its index in the original stack.
    pub(super) at: usize,
}

/// The result of editing a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Unchanged,
    Changed,
    /// Nothing is left.
    Gone,
}

/// A list of [`Edit`]s at work.
pub(super) struct Editor(Vec<Rule>);

enum Rule {
    RootAt(Marks),
    CutBelow(Marks),
    CutAbove(Marks),
    Hide(Marks),
    Group(BString, Marks),
    Rename { pattern: Regex, replacement: BString, names: Memo<Option<FrameId>> },
    CollapseRecursion,
}

/// Which frames match, once per distinct frame.
struct Marks(Judge, Memo<bool>);

impl Marks {
    fn new(which: Predicate) -> Marks {
        Marks(Judge::new(which), Memo::default())
    }

    fn has(&mut self, frames: &FrameTable, slot: &Slot) -> bool {
        let Marks(judge, memo) = self;
        let stack = &[slot.frame];
        memo.get(slot.frame.index(), || {
            judge.holds(frames, &Subject { stack, ..Subject::default() })
        })
    }

    /// The index of the matching frame nearest to the root.
    fn find(&mut self, frames: &FrameTable, stack: &[Slot]) -> Option<usize> {
        stack.iter().position(|slot| self.has(frames, slot))
    }
}

impl Editor {
    pub(super) fn new(edits: Vec<Edit>) -> Editor {
        let step = |edit| match edit {
            Edit::RootAt(which) => Rule::RootAt(Marks::new(which)),
            Edit::CutBelow(which) => Rule::CutBelow(Marks::new(which)),
            Edit::CutAbove(which) => Rule::CutAbove(Marks::new(which)),
            Edit::Hide(which) => Rule::Hide(Marks::new(which)),
            Edit::Group(name, which) => Rule::Group(name, Marks::new(which)),
            Edit::Rename(pattern, replacement) => {
                Rule::Rename { pattern, replacement, names: Memo::default() }
            }
            Edit::CollapseRecursion => Rule::CollapseRecursion,
        };
        Editor(edits.into_iter().map(step).collect())
    }

    /// Fails if a step asks about one of `fields`.
    pub(super) fn refuse(&self, fields: &[&str], items: &str, remedy: &str) -> Result<()> {
        self.0.iter().try_for_each(|step| match step {
            Rule::RootAt(Marks(judge, _))
            | Rule::CutBelow(Marks(judge, _))
            | Rule::CutAbove(Marks(judge, _))
            | Rule::Hide(Marks(judge, _))
            | Rule::Group(_, Marks(judge, _)) => judge.refuse(fields, items, remedy),
            Rule::Rename { .. } | Rule::CollapseRecursion => Ok(()),
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// Edits the frames of `from`, root first, into `stack`.
    pub(super) fn edit(
        &mut self,
        frames: &mut FrameTable,
        from: impl ExactSizeIterator<Item = Slot> + Clone,
        stack: &mut Vec<Slot>,
    ) -> Outcome {
        stack.clear();
        stack.extend(from.clone());
        for step in &mut self.0 {
            if !step.apply(frames, stack) {
                return Outcome::Gone;
            }
        }
        if from.len() == stack.len() && from.eq(stack.iter().copied()) {
            Outcome::Unchanged
        } else if stack.is_empty() {
            Outcome::Gone
        } else {
            Outcome::Changed
        }
    }
}

impl Rule {
    /// Applies the step. False if the stack must be dropped.
    fn apply(&mut self, frames: &mut FrameTable, stack: &mut Vec<Slot>) -> bool {
        match self {
            Rule::RootAt(marks) => match marks.find(frames, stack) {
                Some(root) => drop(stack.drain(..root)),
                None => return false,
            },
            Rule::CutBelow(marks) => {
                if let Some(root) = marks.find(frames, stack) {
                    stack.drain(..root);
                }
            }
            Rule::CutAbove(marks) => {
                if let Some(leaf) = marks.find(frames, stack) {
                    stack.truncate(leaf + 1);
                }
            }
            Rule::Hide(marks) => stack.retain(|slot| !marks.has(frames, slot)),
            Rule::Group(name, marks) => {
                stack.dedup_by(|above, below| {
                    let both = marks.has(frames, above) && marks.has(frames, below);
                    if both {
                        *below = *above;
                    }
                    both
                });
                for slot in stack {
                    if marks.has(frames, slot) {
                        slot.frame = frames.intern(Frame::named(name));
                    }
                }
            }
            Rule::Rename { pattern, replacement, names } => stack.retain_mut(|slot| {
                let old = slot.frame;
                let new = names.get(old.index(), || rename(frames, old, pattern, replacement));
                slot.frame = new.unwrap_or(old);
                new.is_some()
            }),
            Rule::CollapseRecursion => stack.dedup_by(|above, below| {
                let same = is_recursion(frames, above.frame, below.frame);
                // The topmost call stays, because it called the next function.
                if same
                    && (above.frame == below.frame || frames.get(above.frame).kind != Kind::Inlined)
                {
                    *below = *above;
                }
                same
            }),
        }
        true
    }
}

/// The frame with its new name; `None` if that is empty.
fn rename(
    frames: &mut FrameTable,
    frame: FrameId,
    pattern: &Regex,
    replacement: &[u8],
) -> Option<FrameId> {
    let old = frames.get(frame);
    if !pattern.is_match(old.symbol) {
        return Some(frame);
    }
    let symbol = pattern.replace_all(old.symbol, replacement).into_owned();
    if symbol.is_empty() {
        return None;
    }
    // The old frame borrows from the table that the new one is added to.
    let module = old.module.to_owned();
    let new = Frame {
        symbol: symbol.as_bstr(),
        module: module.as_bstr(),
        kind: old.kind,
        address: old.address,
        line: None,
    };
    Some(frames.intern(new))
}

/// Whether two neighbours are one function: the same frame, or one inlined into itself.
fn is_recursion(frames: &FrameTable, above: FrameId, below: FrameId) -> bool {
    let inlined = |frame| frames.get(frame).kind == Kind::Inlined;
    above == below
        || (frames.symbol(above) == frames.symbol(below) && (inlined(above) || inlined(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(text: &str) -> Predicate {
        Predicate::Frame(vec![Regex::new(text).unwrap().into()])
    }

    /// Edits `a;b;c`. The result is `-` for a stack that is gone, and starts with `=` for an
    /// unchanged one.
    fn edited(edits: Vec<Edit>, stack: &str) -> String {
        let mut frames = FrameTable::default();
        let ids: Vec<FrameId> =
            stack.split(';').map(|name| frames.intern(Frame::named(name.as_bytes()))).collect();
        let from = ids.iter().enumerate().map(|(at, &frame)| Slot { frame, at });
        let mut to = Vec::new();
        let outcome = Editor::new(edits).edit(&mut frames, from, &mut to);
        let text: Vec<String> =
            to.iter().map(|slot| frames.symbol(slot.frame).to_string()).collect();
        match outcome {
            Outcome::Gone => "-".into(),
            Outcome::Changed => text.join(";"),
            Outcome::Unchanged => format!("={}", text.join(";")),
        }
    }

    #[test]
    fn the_match_nearest_the_root_counts() {
        for (edit, want) in [
            (Edit::RootAt(regex("^f")), "f;g;f2;h"),
            (Edit::RootAt(regex("main")), "=main;f;g;f2;h"),
            (Edit::RootAt(regex("x")), "-"),
            (Edit::CutBelow(regex("f")), "f;g;f2;h"),
            (Edit::CutBelow(regex("x")), "=main;f;g;f2;h"),
            (Edit::CutAbove(regex("^f")), "main;f"),
            (Edit::CutAbove(regex("h")), "=main;f;g;f2;h"),
            (Edit::Hide(regex("f|main")), "g;h"),
            (Edit::Hide(regex("")), "-"),
        ] {
            assert_eq!(edited(vec![edit.clone()], "main;f;g;f2;h"), want, "{edit:?}");
        }
    }

    #[test]
    fn names_change_by_replacement() {
        let rename = |from: &str, to: &str| {
            vec![Edit::rename(Regex::new(from).unwrap(), to.as_bytes()).unwrap()]
        };
        assert_eq!(edited(rename("^std::(.*)$", "$1!"), "std::io;x;std::io"), "io!;x;io!");
        assert_eq!(edited(rename("i", "ii"), "iio;x"), "iiiio;x");
        assert_eq!(edited(rename("a|b", ""), "a;ab;c;;"), "c;;");
        assert_eq!(edited(rename("q", ""), "a"), "=a");
        assert_eq!(edited(rename("a", "a"), "a"), "=a");
        assert!(Edit::rename(Regex::new("a").unwrap(), b"a;b").is_err());
    }

    #[test]
    fn hashes_are_stripped_where_they_are_hashes() {
        let strip = |name: &str| edited(vec![Edit::strip_hashes().unwrap()], name);
        for (name, want) in [
            ("core::fmt::write::h0123456789abcdef", "core::fmt::write"),
            ("<a as b>::f::h0123456789abcdef_[i]", "<a as b>::f_[i]"),
            ("f::h0123456789abcdef (.llvm.12)", "f (.llvm.12)"),
            ("f::h0123456789abcdef::{{closure}}", "=f::h0123456789abcdef::{{closure}}"),
            ("f::h0123456789ABCDEF", "=f::h0123456789ABCDEF"),
            ("f::h0123456789abcdef0", "=f::h0123456789abcdef0"),
            ("f::h01234567", "=f::h01234567"),
        ] {
            assert_eq!(strip(name), want);
        }
    }

    #[test]
    fn edits_apply_in_order() {
        let rename = Edit::rename(Regex::new("g").unwrap(), b"f").unwrap();
        let root = Edit::RootAt(regex("f"));
        let collapse = Edit::CollapseRecursion;
        assert_eq!(edited(vec![rename.clone(), root.clone(), collapse.clone()], "m;g;f;x"), "f;x");
        assert_eq!(edited(vec![root, rename, collapse.clone()], "m;g;f;x"), "f;x");
        assert_eq!(edited(vec![collapse.clone()], "a;a;b;a;a;a"), "a;b;a");
        assert_eq!(edited(vec![collapse], "a;b;a"), "=a;b;a");
    }

    #[test]
    fn recursion_keeps_the_call_that_called_on() {
        let mut frames = FrameTable::default();
        let f = frames.intern(Frame { module: "/bin/a".into(), ..Frame::named(b"f") });
        let inlined = frames.intern(Frame { kind: Kind::Inlined, ..Frame::named(b"f") });
        let mut collapse = |stack: &[FrameId]| {
            let from = stack.iter().enumerate().map(|(at, &frame)| Slot { frame, at });
            let mut to = Vec::new();
            Editor::new(vec![Edit::CollapseRecursion]).edit(&mut frames, from, &mut to);
            to
        };
        assert_eq!(collapse(&[f, f, f]), [Slot { frame: f, at: 2 }]);
        assert_eq!(collapse(&[f, inlined]), [Slot { frame: f, at: 0 }]);
        assert_eq!(collapse(&[inlined, f]), [Slot { frame: f, at: 1 }]);
    }
}
