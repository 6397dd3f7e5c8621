//! Filters folded stacks.

use bstr::ByteSlice;

use super::Config;
use super::edit::{Editor, Outcome, Slot};
use super::memo::Memo;
use super::predicate::{Judge, Subject};
use crate::error::Result;
use crate::folded::{self, Folded, FoldedSink};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Count, Tally};

/// The fields that folded text does not have.
const MISSING: [&str; 5] = ["module", "kind of frame", "event", "cpu", "time"];

const REMEDY: &str =
    "filter the script text before it is folded: fg-script | fg-filter … | fg-fold";

/// A stage that passes on the folded stacks that stay.
///
/// The first frame counts as the comm. It has a pid and a tid if it ends in `-PID` or `-PID/TID`,
/// as folding with `--pid` or `--tid` writes it. Stacks that become equal by an edit are not
/// merged. Memory: a few bytes per distinct frame.
pub struct FoldedFilter<S> {
    judge: Judge,
    editor: Editor,
    labels: Memo<Label>,
    filtered: Count,
    slots: Vec<Slot>,
    stack: Vec<FrameId>,
    line: Vec<u8>,
    next: S,
}

impl<S: FoldedSink> FoldedFilter<S> {
    /// A filter in front of `next`. Fails if `config` asks about fields that folded stacks do not
    /// have, such as modules or times.
    pub fn new(config: Config, next: S) -> Result<Self> {
        let judge = Judge::new(config.keep);
        let editor = Editor::new(config.edits);
        judge.refuse(&MISSING, "folded stacks", REMEDY)?;
        editor.refuse(&MISSING, "folded stacks", REMEDY)?;
        Ok(FoldedFilter {
            judge,
            editor,
            labels: Memo::default(),
            filtered: Count::default(),
            slots: Vec::new(),
            stack: Vec::new(),
            line: Vec::new(),
            next,
        })
    }

    /// The sink behind the filter.
    pub fn into_inner(self) -> S {
        self.next
    }

    fn holds(&mut self, frames: &FrameTable, stack: &[FrameId]) -> bool {
        let mut subject = Subject { stack, ..Subject::default() };
        if let Some(&first) = stack.first() {
            subject.comm = frames.symbol(first);
            let label = self.labels.get(first.index(), || Label::of(subject.comm));
            subject.plain_comm = subject.comm.get(..label.comm).map(|comm| comm.as_bstr());
            subject.pid = label.pid;
            subject.tid = label.tid;
        }
        self.judge.holds(frames, &subject)
    }

    fn edit(&mut self, frames: &mut FrameTable, stack: &[FrameId]) -> Outcome {
        if self.editor.is_idle() {
            return Outcome::Unchanged;
        }
        let from = stack.iter().enumerate().map(|(at, &frame)| Slot { frame, at });
        let outcome = self.editor.edit(frames, from, &mut self.slots);
        self.stack.clear();
        self.stack.extend(self.slots.iter().map(|slot| slot.frame));
        outcome
    }
}

impl<S: FoldedSink> FoldedSink for FoldedFilter<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let outcome = if self.holds(frames, folded.stack) {
            self.edit(frames, folded.stack)
        } else {
            Outcome::Gone
        };
        let edited = match outcome {
            Outcome::Unchanged => return self.next.folded(frames, folded),
            // The rest of the line stays the same: a fraction, a second weight, a missing last
            // newline.
            Outcome::Changed if !folded.line.is_empty() => {
                self.line.clear();
                let is_differential = folded.after.is_some();
                let Self { line, stack, .. } = self;
                folded::restack(line, frames, folded.line, is_differential, stack)
                    .then(|| Folded { line: &self.line, ..folded.with_stack(&self.stack) })
            }
            Outcome::Changed => Some(folded.with_stack(&self.stack)),
            Outcome::Gone => None,
        };
        match edited {
            Some(edited) => self.next.folded(frames, &edited),
            None => {
                self.filtered += Count::one(folded.weight);
                Ok(())
            }
        }
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.next.text(line)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        tally.filtered += self.filtered;
        let remedy = "fold with --pid or --tid, which add them to the first frame";
        self.judge.check_answered("folded stacks", remedy)?;
        self.next.finish(frames, tally)
    }
}

/// The parts of the first frame: `web-123/456` is comm `web`, pid 123, tid 456. `web-?/456` has no
/// pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label {
    /// The length of the comm.
    comm: usize,
    pid: Option<u32>,
    tid: Option<u32>,
}

impl Label {
    fn of(frame: &[u8]) -> Label {
        let number = |text: &[u8]| {
            let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            if digits { text.to_str().ok()?.parse::<u32>().ok() } else { None }
        };
        let split = || {
            let dash = frame.rfind_byte(b'-')?;
            let ids = frame.get(dash + 1..)?;
            let (pid, tid) = match ids.split_once_str("/") {
                Some((pid, tid)) => (pid, Some(number(tid)?)),
                None => (ids, None),
            };
            let pid = if pid == b"?" { None } else { Some(number(pid)?) };
            Some(Label { comm: dash, pid, tid })
        };
        split().unwrap_or(Label { comm: frame.len(), pid: None, tid: None })
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::super::{Edit, Pattern, Predicate};
    use super::*;
    use crate::folded::{Writer, read};

    fn filter(config: Config, text: &str) -> (String, Result<Tally>) {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut filter = FoldedFilter::new(config, Writer::new(Vec::new(), "memory")).unwrap();
        read(text.as_bytes(), "text", &mut frames, &mut filter, &mut tally).unwrap();
        let finished = filter.finish(&mut frames, &mut tally).map(|()| tally);
        (String::from_utf8(filter.into_inner().into_inner()).unwrap(), finished)
    }

    fn regex(text: &str) -> Vec<Pattern> {
        vec![Regex::new(text).unwrap().into()]
    }

    #[test]
    fn labels_tell_pids_and_tids() {
        let label = |comm, pid, tid| Label { comm, pid, tid };
        for (frame, want) in [
            ("web", label(3, None, None)),
            ("web-12", label(3, Some(12), None)),
            ("web-12/34", label(3, Some(12), Some(34))),
            ("my-web-?/34", label(6, None, Some(34))),
            ("kworker/0:1-mm", label(14, None, None)),
            ("web-12/x", label(8, None, None)),
            ("web-99999999999", label(15, None, None)),
            ("-", label(1, None, None)),
            ("", label(0, None, None)),
        ] {
            assert_eq!(Label::of(frame.as_bytes()), want, "{frame}");
        }
    }

    #[test]
    fn comms_match_with_and_without_their_label() {
        let text = "web-1/2;a 1\nweb;a 2\npool-1-thread-2;a 3\n";
        let keep = |pattern| {
            filter(Config { keep: Predicate::Comm(regex(pattern)), ..Config::default() }, text).0
        };
        assert_eq!(keep("^web$"), "web-1/2;a 1\nweb;a 2\n");
        assert_eq!(keep("^pool-1-thread-2$"), "pool-1-thread-2;a 3\n");
        assert_eq!(keep("a"), "pool-1-thread-2;a 3\n");
    }

    #[test]
    fn the_rest_of_a_line_stays() {
        let edits = vec![Edit::CutAbove(Predicate::Frame(regex("^b")))];
        let (text, tally) = filter(
            Config { edits, ..Config::default() },
            "# note\n a;b;c  1.50\r\na;x 1.5\nodd\n\na;b;c 1 2\na;b;c 4",
        );
        assert_eq!(text, "# note\n a;b  1.50\r\na;x 1.5\nodd\n\na;b 1 2\na;b 4");
        assert_eq!(tally.unwrap().read, Count { items: 4, weight: 7 });
    }

    #[test]
    fn a_stack_of_which_no_line_can_be_made_is_filtered_out() {
        let (text, tally) = filter(
            Config {
                edits: vec![Edit::RootAt(Predicate::Frame(regex("^(# .|)$")))],
                ..Config::default()
            },
            "a; 1\na;# x 2\na;;b 4\n",
        );
        assert_eq!((text.as_str(), tally.unwrap().filtered.weight), (";b 4\n", 3));
    }

    #[test]
    fn fields_that_folded_text_lacks_are_refused() {
        let new = |keep| {
            let config = Config { keep, ..Config::default() };
            FoldedFilter::new(config, Writer::new(Vec::new(), "memory")).map(|_| ())
        };
        assert!(new(Predicate::Time(vec![])).is_err());
        let not = Predicate::Not(Box::new(Predicate::Event(vec![])));
        let error = new(not).unwrap_err();
        assert_eq!(error.to_string(), "folded stacks have no event");
        assert!(new(Predicate::Pid(vec![1])).is_ok());
        let pid = || Config { keep: Predicate::Pid(vec![1]), ..Config::default() };
        assert!(filter(pid(), "a;b 1\n").1.is_err());
        assert!(filter(pid(), "").1.is_ok());
        assert_eq!(filter(pid(), "a;b 1\na-1;b 2\na-2;b 3\n").0, "a-1;b 2\n");
    }
}
