//! Decides which items stay, by a tree of questions. The [`Judge`] asks each question once per
//! distinct name.

use std::ops::RangeInclusive;

use super::memo::{Memo, NameMemo};
use super::pattern::{Pattern, matches};
use crate::error::{Error, Result};
use crate::sample::{FrameId, FrameTable, Kind};
use bstr::BStr;

/// A question about one sample or one folded stack.
///
/// A list holds alternatives: one of them is enough, and an empty list never holds. A predicate is
/// read from the filter's language (`grammar.rs`) and printed in it. A question about a field that
/// an item lacks (the pid in text without pids) does not hold. If all items lack the field, the
/// filter fails.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// All of these; true if there are none.
    All(Vec<Predicate>),
    /// One of these; false if there are none.
    Any(Vec<Predicate>),
    /// Not this.
    Not(Box<Predicate>),
    /// The symbol of a frame matches.
    Frame(Vec<Pattern>),
    /// The module of a frame matches. Samples only.
    Module(Vec<Pattern>),
    /// A frame has one of these kinds. Samples only.
    Kind(Vec<Kind>),
    /// The name of the thread matches. In folded text this is the first frame, with or without its
    /// `-PID/TID`.
    Comm(Vec<Pattern>),
    /// The name of the event matches. Samples only.
    Event(Vec<Pattern>),
    /// The process is one of these.
    Pid(Vec<u32>),
    /// The thread is one of these.
    Tid(Vec<u32>),
    /// It was taken on one of these CPUs. Samples only.
    Cpu(Vec<RangeInclusive<u32>>),
    /// It was taken in one of these ranges, in nanoseconds of the recording's clock. Samples only.
    Time(Vec<RangeInclusive<u64>>),
}

/// Always true.
impl Default for Predicate {
    fn default() -> Self {
        Predicate::All(Vec::new())
    }
}

impl Predicate {
    /// Returns itself if it asks only about frames, as edits do.
    pub fn about_frames(self) -> Result<Predicate> {
        if self.is_about_frames() {
            return Ok(self);
        }
        let what = "edits look at single frames: only frame, module and kind may be used".into();
        Err(Error::Usage { what, remedy: String::new() })
    }

    /// Whether it asks only about frames, so it can be asked about a single one.
    fn is_about_frames(&self) -> bool {
        match self {
            Predicate::All(tree) | Predicate::Any(tree) => {
                tree.iter().all(Predicate::is_about_frames)
            }
            Predicate::Not(one) => one.is_about_frames(),
            Predicate::Frame(_) | Predicate::Module(_) | Predicate::Kind(_) => true,
            _ => false,
        }
    }
}

/// The item that is judged.
#[derive(Default)]
pub(super) struct Subject<'a> {
    /// The thread's name; empty if it is unknown.
    pub(super) comm: &'a BStr,
    /// Another spelling of it that may match too.
    pub(super) plain_comm: Option<&'a BStr>,
    pub(super) pid: Option<u32>,
    pub(super) tid: Option<u32>,
    pub(super) cpu: Option<u32>,
    pub(super) time: Option<u64>,
    /// Empty if it is unknown.
    pub(super) event: &'a BStr,
    pub(super) stack: &'a [FrameId],
}

/// A [`Predicate`] at work.
pub(super) enum Judge {
    All(Vec<Judge>),
    Any(Vec<Judge>),
    Not(Box<Judge>),
    Question(Question),
}

/// One leaf of the tree.
pub(super) struct Question {
    predicate: Predicate,
    /// Answers about symbols and modules.
    by_frame: Memo<Option<bool>>,
    /// Answers about comms and events.
    by_name: NameMemo,
    asked: bool,
    answered: bool,
}

impl Judge {
    pub(super) fn new(predicate: Predicate) -> Judge {
        let all = |tree: Vec<Predicate>| tree.into_iter().map(Judge::new).collect();
        match predicate {
            Predicate::All(tree) => Judge::All(all(tree)),
            Predicate::Any(tree) => Judge::Any(all(tree)),
            Predicate::Not(tree) => Judge::Not(Box::new(Judge::new(*tree))),
            predicate => Judge::Question(Question {
                predicate,
                by_frame: Memo::default(),
                by_name: NameMemo::default(),
                asked: false,
                answered: false,
            }),
        }
    }

    /// Whether the predicate holds.
    pub(super) fn holds(&mut self, frames: &FrameTable, subject: &Subject<'_>) -> bool {
        match self {
            Judge::All(tree) => tree.iter_mut().all(|judge| judge.holds(frames, subject)),
            Judge::Any(tree) => tree.iter_mut().any(|judge| judge.holds(frames, subject)),
            Judge::Not(judge) => !judge.holds(frames, subject),
            Judge::Question(question) => {
                let answer = question.answer(frames, subject);
                question.asked = true;
                question.answered |= answer.is_some();
                answer.unwrap_or(false)
            }
        }
    }

    /// Fails if there is a question that no item could answer.
    pub(super) fn check_answered(&self, items: &str, remedy: &str) -> Result<()> {
        self.questions(&mut |question| {
            let is_fine = !question.asked || question.answered;
            if is_fine { Ok(()) } else { Err(question.no_field(&format!("the {items}"), remedy)) }
        })
    }

    /// Fails if there is a question about one of `fields`.
    pub(super) fn refuse(&self, fields: &[&str], items: &str, remedy: &str) -> Result<()> {
        self.questions(&mut |question| {
            let is_fine = !fields.contains(&question.field());
            if is_fine { Ok(()) } else { Err(question.no_field(items, remedy)) }
        })
    }

    /// Whether no question is about the stack, so it can be judged before there is one.
    pub(super) fn ignores_stacks(&self) -> bool {
        match self {
            Judge::All(tree) | Judge::Any(tree) => tree.iter().all(Judge::ignores_stacks),
            Judge::Not(judge) => judge.ignores_stacks(),
            Judge::Question(question) => !question.predicate.is_about_frames(),
        }
    }

    fn questions(&self, look: &mut impl FnMut(&Question) -> Result<()>) -> Result<()> {
        match self {
            Judge::All(tree) | Judge::Any(tree) => {
                tree.iter().try_for_each(|judge| judge.questions(look))
            }
            Judge::Not(judge) => judge.questions(look),
            Judge::Question(question) => look(question),
        }
    }
}

impl Question {
    /// The answer; `None` if the subject does not have the field.
    fn answer(&mut self, frames: &FrameTable, subject: &Subject<'_>) -> Option<bool> {
        let by_frame = &mut self.by_frame;
        let by_name = &mut self.by_name;
        match &self.predicate {
            Predicate::Frame(patterns) => Some(subject.stack.iter().any(|&frame| {
                let is_match = || Some(matches(patterns, frames.symbol(frame)));
                by_frame.get(frame.index(), is_match) == Some(true)
            })),
            Predicate::Module(patterns) => {
                let mut answer = None;
                for &frame in subject.stack {
                    let here = by_frame.get(frame.index(), || {
                        let module = frames.get(frame).module;
                        (!module.is_empty()).then(|| matches(patterns, module))
                    });
                    if here == Some(true) {
                        return here;
                    }
                    answer = answer.or(here);
                }
                answer
            }
            Predicate::Kind(kinds) => {
                Some(subject.stack.iter().any(|&frame| kinds.contains(&frames.kind(frame))))
            }
            Predicate::Comm(patterns) => (!subject.comm.is_empty()).then(|| {
                let mut is = |comm: &BStr| by_name.get(comm, || matches(patterns, comm));
                is(subject.comm) || subject.plain_comm.is_some_and(is)
            }),
            Predicate::Event(patterns) => {
                let event = subject.event;
                (!event.is_empty()).then(|| by_name.get(event, || matches(patterns, event)))
            }
            Predicate::Pid(pids) => subject.pid.map(|pid| pids.contains(&pid)),
            Predicate::Tid(tids) => subject.tid.map(|tid| tids.contains(&tid)),
            Predicate::Cpu(ranges) => {
                subject.cpu.map(|cpu| ranges.iter().any(|range| range.contains(&cpu)))
            }
            Predicate::Time(ranges) => {
                subject.time.map(|time| ranges.iter().any(|range| range.contains(&time)))
            }
            // The judge itself asks the branches of the tree.
            Predicate::All(_) | Predicate::Any(_) | Predicate::Not(_) => None,
        }
    }

    fn no_field(&self, items: &str, remedy: &str) -> Error {
        let field = self.field().into();
        Error::NoField { items: items.into(), field, remedy: remedy.into() }
    }

    fn field(&self) -> &'static str {
        match self.predicate {
            Predicate::Frame(_) => "frames",
            Predicate::Module(_) => "module",
            Predicate::Kind(_) => "kind of frame",
            Predicate::Comm(_) => "comm",
            Predicate::Event(_) => "event",
            Predicate::Pid(_) => "pid",
            Predicate::Tid(_) => "tid",
            Predicate::Cpu(_) => "cpu",
            Predicate::Time(_) => "time",
            Predicate::All(_) | Predicate::Any(_) | Predicate::Not(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;
    use crate::sample::Frame;

    fn holds(predicate: &Predicate, subject: &Subject<'_>) -> bool {
        Judge::new(predicate.clone()).holds(&FrameTable::default(), subject)
    }

    #[test]
    fn trees_are_logic() {
        let subject = Subject { pid: Some(7), time: Some(50), ..Subject::default() };
        let pid = |pid| Predicate::Pid(vec![1, pid]);
        assert!(holds(&Predicate::default(), &subject));
        assert!(!holds(&Predicate::Any(vec![]), &subject));
        assert!(holds(&Predicate::Any(vec![pid(6), pid(7)]), &subject));
        assert!(!holds(&Predicate::All(vec![pid(6), pid(7)]), &subject));
        assert!(holds(&Predicate::Not(Box::new(pid(6))), &subject));
        assert!(holds(&Predicate::Time(vec![0..=1, 50..=50]), &subject));
        assert!(!holds(&Predicate::Time(vec![0..=49]), &subject));
    }

    #[test]
    fn modules_are_any_frame_and_names_are_searched() {
        let mut frames = FrameTable::default();
        let stack = ["/bin/rg", "", "/lib/libc.so.6"]
            .map(|module| frames.intern(Frame { module: module.into(), ..Frame::named(b"f") }));
        let subject = Subject { stack: &stack, comm: "web-1".into(), ..Subject::default() };
        let regex = |text: &str| vec![Regex::new(text).unwrap().into()];
        for (predicate, want) in [
            (Predicate::Module(regex("libc")), true),
            (Predicate::Module(regex("^libc")), false),
            (Predicate::Module(regex("^$")), false),
            (Predicate::Frame(regex("^f$")), true),
            (Predicate::Comm(regex("eb")), true),
            (Predicate::Comm(regex("EB")), false),
            (Predicate::Event(regex("")), false),
        ] {
            assert_eq!(
                Judge::new(predicate.clone()).holds(&frames, &subject),
                want,
                "{predicate:?}"
            );
        }
    }

    #[test]
    fn a_field_that_no_item_has_is_a_mistake() {
        let not = Predicate::Not(Box::new(Predicate::Tid(vec![1])));
        let mut judge = Judge::new(Predicate::All(vec![not]));
        let frames = FrameTable::default();
        judge.check_answered("samples", "").expect("nothing was asked yet");
        assert!(judge.holds(&frames, &Subject::default()));
        let error = judge.check_answered("samples", "").unwrap_err();
        assert_eq!(error.to_string(), "the samples have no tid");
        assert!(!judge.holds(&frames, &Subject { tid: Some(1), ..Subject::default() }));
        judge.check_answered("samples", "").expect("one of two told it");
        assert!(judge.refuse(&["tid"], "stacks", "").is_err());
        assert!(judge.refuse(&["pid"], "stacks", "").is_ok());
    }
}
