//! Filters samples.

use super::Config;
use super::edit::{Editor, Outcome, Slot};
use super::predicate::{Judge, Subject};
use crate::error::Result;
use crate::sample::{FrameId, FrameTable, Place, Sample, SampleSink};
use crate::tally::{Count, Tally};

/// A stage that passes on the samples that stay.
///
/// A sample whose stack does not change keeps its text. A changed stack must be written again, so
/// its frames keep their `places` if the source gives them. Memory: a few bytes per distinct frame.
pub struct SampleFilter<S> {
    judge: Judge,
    /// The judge does not need a stack.
    early: bool,
    editor: Editor,
    filtered: Count,
    slots: Vec<Slot>,
    stack: Vec<FrameId>,
    places: Vec<Place>,
    next: S,
}

impl<S: SampleSink> SampleFilter<S> {
    /// A filter in front of `next`.
    pub fn new(config: Config, next: S) -> Self {
        let judge = Judge::new(config.keep);
        SampleFilter {
            early: judge.ignores_stacks(),
            judge,
            editor: Editor::new(config.edits),
            filtered: Count::default(),
            slots: Vec::new(),
            stack: Vec::new(),
            places: Vec::new(),
            next,
        }
    }

    /// The sink behind the filter.
    pub fn into_inner(self) -> S {
        self.next
    }
}

impl<S> SampleFilter<S> {
    fn leave_out(&mut self, sample: &Sample<'_>) {
        self.filtered += Count::one(sample.weight());
    }
}

impl<S: SampleSink> SampleSink for SampleFilter<S> {
    fn wants(&mut self, frames: &FrameTable, sample: &Sample<'_>) -> bool {
        let wanted = !self.early || self.judge.holds(frames, &subject(sample));
        if !wanted {
            self.leave_out(sample);
        }
        wanted && self.next.wants(frames, sample)
    }

    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        let outcome = if !self.judge.holds(frames, &subject(sample)) {
            Outcome::Gone
        } else if self.editor.is_idle() {
            Outcome::Unchanged
        } else {
            let leaf_first = sample.stack.iter().enumerate();
            let from = leaf_first.rev().map(|(at, &frame)| Slot { frame, at });
            self.editor.edit(frames, from, &mut self.slots)
        };
        match outcome {
            Outcome::Unchanged => self.next.sample(frames, sample),
            Outcome::Gone => {
                self.leave_out(sample);
                Ok(())
            }
            Outcome::Changed => {
                let leaf_first = self.slots.iter().rev();
                self.stack.clear();
                self.stack.extend(leaf_first.clone().map(|slot| slot.frame));
                self.places.clear();
                self.places.extend(leaf_first.filter_map(|slot| sample.places.get(slot.at)));
                let edited =
                    Sample { stack: &self.stack, places: &self.places, text: b"", ..*sample };
                self.next.sample(frames, &edited)
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.next.text(text)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        tally.filtered += self.filtered;
        let remedy = "record and script with that field, or omit the option";
        self.judge.check_answered("samples", remedy)?;
        self.next.finish(frames, tally)
    }
}

fn subject<'a>(sample: &Sample<'a>) -> Subject<'a> {
    Subject {
        comm: sample.comm,
        plain_comm: None,
        pid: sample.pid,
        tid: sample.tid,
        cpu: sample.cpu,
        time: sample.time,
        event: sample.event,
        stack: sample.stack,
    }
}

#[cfg(test)]
mod tests {
    use bstr::BString;
    use regex::bytes::Regex;

    use super::super::{Edit, Pattern, Predicate};
    use super::*;
    use crate::sample::Frame;

    /// The stack as text, the addresses, the text.
    type Seen = Vec<(String, Vec<u64>, BString)>;

    /// Collects the samples and the text.
    #[derive(Default)]
    struct Collect(Seen);

    impl SampleSink for Collect {
        fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
            let stack: Vec<String> =
                sample.stack.iter().map(|&id| frames.symbol(id).to_string()).collect();
            let places = sample.places.iter().map(|place| place.address).collect();
            self.0.push((stack.join(" "), places, sample.text.into()));
            Ok(())
        }
        fn text(&mut self, text: &[u8]) -> Result<()> {
            self.0.push(("text".into(), vec![], text.into()));
            Ok(())
        }
        fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
            Ok(())
        }
    }

    /// Filters one sample `leaf mid mid root` of comm `web`, pid 7.
    fn filter(config: Config) -> (Seen, Result<Tally>) {
        let mut frames = FrameTable::default();
        let stack =
            ["leaf", "mid", "mid", "root"].map(|name| frames.intern(Frame::named(name.as_bytes())));
        let places = [1, 2, 3, 4].map(|address| Place { address, offset: Some(0) });
        let sample = Sample {
            comm: "web".into(),
            pid: Some(7),
            time: Some(1_000),
            period: Some(10),
            stack: &stack,
            places: &places,
            text: b"web 7 ...\n\n",
            ..Sample::default()
        };
        let mut filter = SampleFilter::new(config, Collect::default());
        let mut tally = Tally::default();
        filter.text(b"# cmdline\n").unwrap();
        filter.sample(&mut frames, &sample).unwrap();
        let finished = filter.finish(&mut frames, &mut tally).map(|()| tally);
        (filter.into_inner().0, finished)
    }

    fn regex(text: &str) -> Vec<Pattern> {
        vec![Regex::new(text).unwrap().into()]
    }

    #[test]
    fn the_default_passes_everything_on() {
        let (seen, tally) = filter(Config::default());
        assert_eq!(seen[0].2, "# cmdline\n");
        let want = ("leaf mid mid root".into(), vec![1, 2, 3, 4], "web 7 ...\n\n".into());
        assert_eq!(seen[1], want);
        assert_eq!(tally.unwrap(), Tally::default());
    }

    #[test]
    fn dropped_samples_are_counted() {
        let drop = Predicate::Not(Box::new(Predicate::Comm(regex("web"))));
        let (seen, tally) = filter(Config { keep: drop, ..Config::default() });
        assert_eq!(seen.len(), 1);
        assert_eq!(tally.unwrap().filtered, Count { items: 1, weight: 10 });
        let edits = vec![Edit::RootAt(Predicate::Frame(regex("nowhere")))];
        let (seen, tally) = filter(Config { edits, ..Config::default() });
        assert_eq!(seen.len(), 1);
        assert_eq!(tally.unwrap().filtered, Count { items: 1, weight: 10 });
    }

    #[test]
    fn edited_samples_lose_their_text_and_keep_their_places() {
        for (edit, stack, places) in [
            (Edit::RootAt(Predicate::Frame(regex("mid"))), "leaf mid mid", vec![1, 2, 3]),
            (Edit::CutAbove(Predicate::Frame(regex("mid"))), "mid root", vec![3, 4]),
            (Edit::CollapseRecursion, "leaf mid root", vec![1, 2, 4]),
            (Edit::Hide(Predicate::Frame(regex("mid"))), "leaf root", vec![1, 4]),
            (
                Edit::rename(Regex::new("id$").unwrap(), b"ain").unwrap(),
                "leaf main main root",
                vec![1, 2, 3, 4],
            ),
        ] {
            let (seen, _) = filter(Config { edits: vec![edit.clone()], ..Config::default() });
            assert_eq!(seen[1], (stack.into(), places, "".into()), "{edit:?}");
        }
    }

    #[test]
    fn a_field_that_no_sample_has_is_an_error() {
        let asks = |keep| filter(Config { keep, ..Config::default() }).1;
        assert!(asks(Predicate::Pid(vec![8])).is_ok());
        assert!(asks(Predicate::Time(vec![0..=2])).is_ok());
        for (keep, field) in [
            (Predicate::Tid(vec![8]), "tid"),
            (Predicate::Module(regex("x")), "module"),
            (Predicate::Event(regex("x")), "event"),
        ] {
            assert!(asks(keep).unwrap_err().to_string().ends_with(field));
        }
    }
}
