//! Which items stay: a tree of questions, and the [`Judge`] that asks each once per distinct name.

use std::ops::RangeInclusive;

use super::memo::{Memo, Names};
use super::pattern::{Pattern, matches};
use crate::error::{Error, Result};
use crate::sample::{FrameId, FrameTable, Kind};
use bstr::BStr;

/// A question about one sample or one folded stack.
///
/// A list holds alternatives: one of them is enough, and an empty list holds for nothing. It is read from the filter's
/// language (`grammar.rs`), and shown in it. What an item does not tell (a pid in text without pids) holds for nothing;
/// if no item tells it, the filter fails instead of answering.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// All of these; true if there are none.
    All(Vec<Predicate>),
    /// One of these; false if there are none.
    Any(Vec<Predicate>),
    /// Not this.
    Not(Box<Predicate>),
    /// A frame of the stack has such a symbol.
    Frame(Vec<Pattern>),
    /// A frame of the stack lies in such a module. Samples only.
    Module(Vec<Pattern>),
    /// A frame of the stack is of such a kind. Samples only.
    Kind(Vec<Kind>),
    /// The thread has such a name. In folded text: the first frame, with or without its `-PID/TID`.
    Comm(Vec<Pattern>),
    /// The event has such a name. Samples only.
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
    /// Itself, if it can be asked of a single frame: edits are made to frames.
    pub fn about_frames(self) -> Result<Predicate> {
        if self.is_about_frames() {
            return Ok(self);
        }
        let what = "edits look at single frames: only frame, module and kind may be used".into();
        Err(Error::Usage { what, remedy: String::new() })
    }

    /// Whether all it asks about is frames, so that it can be asked of a single one.
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

/// What a judge looks at.
#[derive(Default)]
pub(super) struct Subject<'a> {
    /// The thread's name; empty if it is not told.
    pub(super) comm: &'a BStr,
    /// Another spelling of it that will do as well.
    pub(super) plain_comm: Option<&'a BStr>,
    pub(super) pid: Option<u32>,
    pub(super) tid: Option<u32>,
    pub(super) cpu: Option<u32>,
    pub(super) time: Option<u64>,
    /// Empty if it is not told.
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
    ask: Ask,
    asked: bool,
    told: bool,
}

enum Ask {
    Frame(Vec<Pattern>, Memo<bool>),
    Module(Vec<Pattern>, Memo<Option<bool>>),
    Kind(Vec<Kind>),
    Comm(Vec<Pattern>, Names),
    Event(Vec<Pattern>, Names),
    Pid(Vec<u32>),
    Tid(Vec<u32>),
    Cpu(Vec<RangeInclusive<u32>>),
    Time(Vec<RangeInclusive<u64>>),
}

impl Judge {
    pub(super) fn new(predicate: Predicate) -> Judge {
        let all = |tree: Vec<Predicate>| tree.into_iter().map(Judge::new).collect();
        let ask = match predicate {
            Predicate::All(tree) => return Judge::All(all(tree)),
            Predicate::Any(tree) => return Judge::Any(all(tree)),
            Predicate::Not(tree) => return Judge::Not(Box::new(Judge::new(*tree))),
            Predicate::Frame(patterns) => Ask::Frame(patterns, Memo::default()),
            Predicate::Module(patterns) => Ask::Module(patterns, Memo::default()),
            Predicate::Kind(kinds) => Ask::Kind(kinds),
            Predicate::Comm(patterns) => Ask::Comm(patterns, Names::default()),
            Predicate::Event(patterns) => Ask::Event(patterns, Names::default()),
            Predicate::Pid(pids) => Ask::Pid(pids),
            Predicate::Tid(tids) => Ask::Tid(tids),
            Predicate::Cpu(ranges) => Ask::Cpu(ranges),
            Predicate::Time(ranges) => Ask::Time(ranges),
        };
        Judge::Question(Question { ask, asked: false, told: false })
    }

    /// Whether the predicate holds.
    pub(super) fn holds(&mut self, frames: &FrameTable, subject: &Subject<'_>) -> bool {
        match self {
            Judge::All(tree) => tree.iter_mut().all(|judge| judge.holds(frames, subject)),
            Judge::Any(tree) => tree.iter_mut().any(|judge| judge.holds(frames, subject)),
            Judge::Not(judge) => !judge.holds(frames, subject),
            Judge::Question(question) => {
                let answer = question.ask.answer(frames, subject);
                question.asked = true;
                question.told |= answer.is_some();
                answer.unwrap_or(false)
            }
        }
    }

    /// Fails if there is a question that not one item could answer.
    pub(super) fn check_told(&self, items: &str, remedy: &str) -> Result<()> {
        self.questions(&mut |question| match question.asked && !question.told {
            true => Err(Error::NoField {
                items: format!("the {items}"),
                field: question.ask.field().into(),
                remedy: remedy.into(),
            }),
            false => Ok(()),
        })
    }

    /// Fails if there is a question about one of `fields`.
    pub(super) fn refuse(&self, fields: &[&str], items: &str, remedy: &str) -> Result<()> {
        self.questions(&mut |question| match fields.contains(&question.ask.field()) {
            true => Err(Error::NoField {
                items: items.into(),
                field: question.ask.field().into(),
                remedy: remedy.into(),
            }),
            false => Ok(()),
        })
    }

    /// Whether no question is about the stack, so that it can be judged before there is one.
    pub(super) fn ignores_stacks(&self) -> bool {
        match self {
            Judge::All(tree) | Judge::Any(tree) => tree.iter().all(Judge::ignores_stacks),
            Judge::Not(judge) => judge.ignores_stacks(),
            Judge::Question(question) => !question.ask.is_about_frames(),
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

impl Ask {
    /// The answer; `None` where the subject does not tell.
    fn answer(&mut self, frames: &FrameTable, subject: &Subject<'_>) -> Option<bool> {
        match self {
            Ask::Frame(patterns, memo) => {
                Some(subject.stack.iter().any(|&frame| {
                    memo.get(frame.index(), || matches(patterns, frames.symbol(frame)))
                }))
            }
            Ask::Module(patterns, memo) => {
                let mut answer = None;
                for &frame in subject.stack {
                    let here = memo.get(frame.index(), || {
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
            Ask::Kind(kinds) => {
                Some(subject.stack.iter().any(|&frame| kinds.contains(&frames.kind(frame))))
            }
            Ask::Comm(patterns, names) => (!subject.comm.is_empty()).then(|| {
                let mut is = |comm: &BStr| names.get(comm, || matches(patterns, comm));
                is(subject.comm) || subject.plain_comm.is_some_and(is)
            }),
            Ask::Event(patterns, names) => {
                let event = subject.event;
                (!event.is_empty()).then(|| names.get(event, || matches(patterns, event)))
            }
            Ask::Pid(pids) => subject.pid.map(|pid| pids.contains(&pid)),
            Ask::Tid(tids) => subject.tid.map(|tid| tids.contains(&tid)),
            Ask::Cpu(ranges) => {
                subject.cpu.map(|cpu| ranges.iter().any(|range| range.contains(&cpu)))
            }
            Ask::Time(ranges) => {
                subject.time.map(|time| ranges.iter().any(|range| range.contains(&time)))
            }
        }
    }

    fn is_about_frames(&self) -> bool {
        matches!(self, Ask::Frame(..) | Ask::Module(..) | Ask::Kind(_))
    }

    fn field(&self) -> &'static str {
        match self {
            Ask::Frame(..) => "frames",
            Ask::Module(..) => "module",
            Ask::Kind(_) => "kind of frame",
            Ask::Comm(..) => "comm",
            Ask::Event(..) => "event",
            Ask::Pid(_) => "pid",
            Ask::Tid(_) => "tid",
            Ask::Cpu(_) => "cpu",
            Ask::Time(_) => "time",
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
    fn what_nobody_tells_is_a_mistake() {
        let not = Predicate::Not(Box::new(Predicate::Tid(vec![1])));
        let mut judge = Judge::new(Predicate::All(vec![not]));
        let frames = FrameTable::default();
        judge.check_told("samples", "").expect("nothing was asked yet");
        assert!(judge.holds(&frames, &Subject::default()));
        let error = judge.check_told("samples", "").unwrap_err();
        assert_eq!(error.to_string(), "the samples have no tid");
        assert!(!judge.holds(&frames, &Subject { tid: Some(1), ..Subject::default() }));
        judge.check_told("samples", "").expect("one of two told it");
        assert!(judge.refuse(&["tid"], "stacks", "").is_err());
        assert!(judge.refuse(&["pid"], "stacks", "").is_ok());
    }
}
