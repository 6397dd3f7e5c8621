//! A stage that can be watched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Watch;
use crate::error::Result;
use crate::fold::{self, Folder, SoFar, Stage};
use crate::folded::FoldedSink;
use crate::graph::{Graph, Order};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;

/// A page is renewed at most once in this time, and less often if that takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// Renewing takes at most one part in this many of the time.
const PARTS: u32 = 10;

/// Makes the stages between the watched one and a graph: the same as before the picture.
pub(crate) type Edits =
    Box<dyn for<'a> Fn(&'a mut Graph) -> Result<Box<dyn FoldedSink + 'a>> + Send + Sync>;

/// Does what `S` does, and shows what it has so far if someone may watch.
pub(crate) struct Watched<S> {
    stage: S,
    show: Option<Show>,
}

struct Show {
    watch: Arc<Watch>,
    order: Order,
    edits: Edits,
    /// When the page may be renewed again.
    next: Instant,
}

impl<S: SoFar> Watched<S> {
    /// A stage that nobody watches.
    pub(crate) fn unseen(stage: S) -> Self {
        Watched { stage, show: None }
    }

    /// A stage whose graph, in `order` and after `edits`, is shown in `watch`.
    pub(crate) fn new(stage: S, watch: Arc<Watch>, order: Order, edits: Edits) -> Self {
        Watched { stage, show: Some(Show { watch, order, edits, next: Instant::now() }) }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stage
    }

    fn renew(&mut self, frames: &mut FrameTable, is_last: bool) {
        let Some(show) = &mut self.show else { return };
        let start = Instant::now();
        // Edits may fail only because they see too little yet, as `grep` does without a match. A
        // failure at the end is reported for the picture.
        if let Ok(Some(graph)) = show.graph(&mut self.stage, frames) {
            show.watch.show(graph, is_last);
        }
        let end = Instant::now();
        show.next = end + INTERVAL.max((end - start) * PARTS);
    }
}

impl Show {
    /// The graph so far, in the form that a picture carries.
    fn graph(&self, stage: &mut impl SoFar, frames: &mut FrameTable) -> Result<Option<Vec<u8>>> {
        let mut graph = Graph::new(self.order);
        let mut edits = (self.edits)(&mut graph)?;
        if !stage.so_far(frames, &mut *edits)? {
            return Ok(None);
        }
        edits.finish(frames, &mut Tally::default())?;
        drop(edits);
        graph.encode().map(Some)
    }
}

impl<S: SoFar> SampleSink for Watched<S> {
    fn wants(&mut self, frames: &FrameTable, sample: &Sample<'_>) -> bool {
        self.stage.wants(frames, sample)
    }

    fn is_watched(&mut self) -> bool {
        let is_due = |show: &Show| show.watch.is_wanted() && Instant::now() >= show.next;
        self.show.as_ref().is_some_and(is_due)
    }

    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        self.stage.sample(frames, sample)
    }

    fn pause(&mut self, frames: &mut FrameTable) -> Result<()> {
        if self.is_watched() {
            self.renew(frames, false);
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.stage.text(text)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if self.show.as_ref().is_some_and(|show| show.watch.is_open()) {
            self.renew(frames, true);
        }
        self.stage.finish(frames, tally)
    }
}

impl<S: SoFar> Stage for Watched<S> {
    type Next = S::Next;
    type Folded = S::Folded;

    fn next_mut(&mut self) -> &mut S::Next {
        self.stage.next_mut()
    }

    fn folding(&mut self) -> fold::Config {
        self.stage.folding()
    }

    /// Several threads can read if nobody watches.
    fn as_folder(&mut self) -> Option<&mut Folder<S::Folded>> {
        if self.show.is_some() { None } else { self.stage.as_folder() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Config;
    use crate::folded::Writer;
    use crate::graph;
    use crate::sample::Frame;

    /// The stacks of `watch`, as a reader of the picture sees them.
    fn shown(watch: &Watch) -> String {
        let graph = String::from_utf8(watch.newer(0).graph.to_vec()).unwrap();
        let picture = format!("<metadata id=\"flamepipe-graph-3\">{graph}</metadata>");
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, "memory");
        graph::read(picture.as_bytes(), "memory", &mut frames, &mut writer, &mut tally).unwrap();
        writer.finish(&mut frames, &mut tally).unwrap();
        drop(writer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_shown_is_what_was_folded_and_changes_nothing() {
        let watch = Arc::new(Watch::default());
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut out = Vec::new();
        let folder = Folder::new(Config::default(), "memory", Writer::new(&mut out, "memory"));
        let as_is: Edits = Box::new(|graph| Ok(Box::new(graph)));
        let mut stage = Watched::new(folder, Arc::clone(&watch), Order::Frames, as_is);
        let [main, leaf] = [b"main", b"leaf"].map(|name| frames.intern(Frame::named(name)));
        let push = |stage: &mut Watched<_>, frames: &mut FrameTable, stack: &[_]| {
            let sample = Sample { comm: b"app".into(), stack, ..Sample::default() };
            stage.sample(frames, &sample).unwrap();
        };
        assert!(!stage.is_watched(), "nobody waits");
        watch.is_wanted.store(true, std::sync::atomic::Ordering::Relaxed);
        stage.pause(&mut frames).unwrap();
        assert_eq!(lock_version(&watch), 0, "there is nothing to show");
        stage.show.as_mut().unwrap().next = Instant::now();
        push(&mut stage, &mut frames, &[leaf, main]);
        stage.pause(&mut frames).unwrap();
        assert_eq!(shown(&watch), "# unit: samples 0\napp;main;leaf 1\n");
        push(&mut stage, &mut frames, &[main]);
        push(&mut stage, &mut frames, &[leaf, main]);
        assert!(!stage.is_watched(), "nobody waits for more");
        tally.read.items = 3;
        stage.finish(&mut frames, &mut tally).unwrap();
        drop(stage);
        let mut lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["# unit: samples 0", "app;main 1", "app;main;leaf 2"]);
    }

    fn lock_version(watch: &Watch) -> u64 {
        crate::lock::lock(&watch.shown).version
    }
}
