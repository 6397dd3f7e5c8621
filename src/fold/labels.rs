//! Prepares a profile for merging with others: labels say where it comes from, and a factor makes
//! profiles of different sampling rates comparable.

use bstr::BString;

use crate::error::Result;
use crate::folded::{Folded, FoldedSink};
use crate::sample::{Frame, FrameId, FrameTable};
use crate::tally::Tally;

/// A stage that puts labels such as `host=a` in front of each stack, as root frames, and multiplies
/// weights.
///
/// Each weight is rounded such that the sum of all is right. Stacks whose weight becomes 0 are left
/// out.
pub struct Labels<S> {
    labels: Vec<BString>,
    factor: Option<f64>,
    /// What rounding has taken from the weights so far, before and after.
    rests: [f64; 2],
    roots: Vec<FrameId>,
    stack: Vec<FrameId>,
    next: S,
}

impl<S: FoldedSink> Labels<S> {
    /// A stage in front of `next`.
    pub fn new(labels: Vec<BString>, factor: Option<f64>, next: S) -> Self {
        let rests = [0.0; 2];
        Labels { labels, factor, rests, roots: Vec::new(), stack: Vec::new(), next }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    fn scaled(&mut self, weight: u64, side: usize) -> u64 {
        let Some(factor) = self.factor else { return weight };
        let exact = weight as f64 * factor + self.rests[side];
        let rounded = exact.round().max(0.0);
        self.rests[side] = exact - rounded;
        rounded as u64
    }
}

impl<S: FoldedSink> FoldedSink for Labels<S> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if self.roots.len() < self.labels.len() {
            self.roots.extend(self.labels.iter().map(|label| frames.intern(Frame::named(label))));
        }
        let weight = self.scaled(folded.weight, 0);
        let after = folded.after.map(|after| self.scaled(after, 1));
        if self.factor.is_some() && weight == 0 && after.unwrap_or(0) == 0 {
            return Ok(());
        }
        self.stack.clear();
        self.stack.extend_from_slice(&self.roots);
        self.stack.extend_from_slice(folded.stack);
        self.next.folded(frames, &Folded { stack: &self.stack, weight, after, line: b"" })
    }

    fn many(&mut self, frames: &mut FrameTable, pieces: &[Vec<Folded<'_>>]) -> Result<()> {
        if self.labels.is_empty() && self.factor.is_none() {
            return self.next.many(frames, pieces);
        }
        pieces.iter().flatten().try_for_each(|folded| self.folded(frames, folded))
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.next.text(line)
    }

    fn no_unit(&mut self) {
        self.next.no_unit();
    }

    fn distinct(&mut self) {
        self.next.distinct();
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        self.next.finish(frames, tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded::{self, Writer};

    fn labelled(labels: &[&str], factor: Option<f64>, text: &str) -> String {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let labels = labels.iter().map(|&label| label.into()).collect();
        let mut stage = Labels::new(labels, factor, Writer::new(Vec::new(), "memory"));
        folded::read(text.as_bytes(), "text", &mut frames, &mut stage, &mut tally).unwrap();
        stage.finish(&mut frames, &mut tally).unwrap();
        String::from_utf8(stage.into_next().into_inner()).unwrap()
    }

    #[test]
    fn labels_are_roots_and_sums_are_scaled() {
        let labels = ["host=a", "build=b c"];
        assert_eq!(
            labelled(&labels, None, "x;y 3\nz 4 5\n"),
            "host=a;build=b c;x;y 3\nhost=a;build=b c;z 4 5\n"
        );
        assert_eq!(labelled(&[], Some(2.5), "x 2\ny 4 8\n"), "x 5\ny 10 20\n");
        let thirds = "a 1\nb 1\nc 1\nd 1\ne 1\nf 1\n";
        assert_eq!(labelled(&[], Some(1.0 / 3.0), thirds), "b 1\ne 1\n");
    }
}
