//! A folder that can be watched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Watch;
use crate::error::Result;
use crate::fold::{Folder, Stage};
use crate::folded::FoldedSink;
use crate::graph::{Graph, Order};
use crate::sample::{FrameTable, Sample, SampleSink};
use crate::tally::Tally;

/// A page is renewed at most once in this time, and less often if that takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// Renewing takes at most one part in this many of the time.
const PARTS: u32 = 10;

/// Folds as a [`Folder`] does, and shows what it has so far.
pub(crate) struct Watched<S> {
    folder: Folder<S>,
    watch: Arc<Watch>,
    /// When the page may be renewed again.
    next: Instant,
}

impl<S: FoldedSink> Watched<S> {
    pub(crate) fn new(folder: Folder<S>, watch: Arc<Watch>) -> Self {
        Watched { folder, watch, next: Instant::now() }
    }

    /// The sink behind the folder.
    pub(crate) fn into_next(self) -> S {
        self.folder.into_next()
    }

    fn show(&mut self, frames: &mut FrameTable, is_last: bool) -> Result<()> {
        let start = Instant::now();
        if let Some(graph) = self.folder.so_far(frames, Graph::new(Order::Frames))? {
            self.watch.show(graph.encode()?, is_last);
        }
        let end = Instant::now();
        self.next = end + INTERVAL.max((end - start) * PARTS);
        Ok(())
    }
}

impl<S: FoldedSink> SampleSink for Watched<S> {
    fn wants(&mut self, frames: &FrameTable, sample: &Sample<'_>) -> bool {
        self.folder.wants(frames, sample)
    }

    fn is_watched(&mut self) -> bool {
        self.watch.is_wanted() && Instant::now() >= self.next
    }

    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        self.folder.sample(frames, sample)
    }

    fn pause(&mut self, frames: &mut FrameTable) -> Result<()> {
        if self.is_watched() { self.show(frames, false) } else { Ok(()) }
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.folder.text(text)
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if self.watch.is_open() {
            self.show(frames, true)?;
        }
        self.folder.finish(frames, tally)
    }
}

impl<S: FoldedSink> Stage for Watched<S> {
    type Next = S;
    type Folded = S;

    fn next_mut(&mut self) -> &mut S {
        self.folder.next_mut()
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
        let mut stage = Watched::new(folder, Arc::clone(&watch));
        let [main, leaf] = [b"main", b"leaf"].map(|name| frames.intern(Frame::named(name)));
        let push = |stage: &mut Watched<_>, frames: &mut FrameTable, stack: &[_]| {
            let sample = Sample { comm: b"app".into(), stack, ..Sample::default() };
            stage.sample(frames, &sample).unwrap();
        };
        assert!(!stage.is_watched(), "nobody waits");
        watch.is_wanted.store(true, std::sync::atomic::Ordering::Relaxed);
        stage.pause(&mut frames).unwrap();
        assert_eq!(lock_version(&watch), 0, "there is nothing to show");
        stage.next = Instant::now();
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
