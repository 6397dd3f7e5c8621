//! Fills one folder from several threads.
//!
//! Each thread takes the next portion of the input, so a slow thread delays nobody for long. Each
//! has tables of its own, which it keeps from portion to portion. At the end they are merged into
//! those of the first thread. By the merge law the result is that of one thread.

use std::iter::Enumerate;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec;

use super::Folder;
use crate::error::Result;
use crate::folded::{Folded, FoldedSink};
use crate::lock::lock;
use crate::sample::FrameTable;
use crate::tally::Tally;

/// Folds one portion after another, and keeps what it learns from them.
pub(crate) trait Worker<P>: Send {
    /// Folds `portion` into `folder`.
    fn fold<S: FoldedSink>(
        &mut self,
        portion: P,
        folder: &mut Folder<S>,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<()>;
}

/// Lets `workers` fold the `portions` into `folder`. Each takes the next one that is left.
pub(crate) fn fold_all<P: Send, S: FoldedSink>(
    portions: Vec<P>,
    workers: impl IntoIterator<Item = impl Worker<P>>,
    folder: &mut Folder<S>,
    frames: &mut FrameTable,
    tally: &mut Tally,
) -> Result<()> {
    folder.begin_portions();
    let queue = Queue::new(portions);
    let mut workers = workers.into_iter();
    // The first worker runs on this thread. The tables of the others are merged into its.
    let mine = workers.next();
    let mut others: Vec<_> = workers.map(|worker| (worker, None)).collect();
    rayon::in_place_scope(|scope| {
        for (worker, folded) in &mut others {
            let queue = &queue;
            let mut folder = folder.beside(Nowhere);
            scope.spawn(move |_| {
                let mut frames = FrameTable::default();
                queue.work(worker, &mut folder, &mut frames);
                *folded = Some((folder, frames));
            });
        }
        if let Some(mut worker) = mine {
            queue.work(&mut worker, folder, frames);
        }
    });
    queue.tell(tally)?;
    for (mut theirs, their_frames) in others.into_iter().filter_map(|(_, folded)| folded) {
        folder.absorb(&mut theirs, &frames.absorb(&their_frames));
    }
    Ok(())
}

/// The portions that are left, and the tallies of those that are done.
struct Queue<P> {
    left: Mutex<Enumerate<vec::IntoIter<P>>>,
    done: Mutex<Vec<(usize, Result<Tally>)>>,
    failed: AtomicBool,
}

impl<P: Send> Queue<P> {
    fn new(portions: Vec<P>) -> Self {
        let left = Mutex::new(portions.into_iter().enumerate());
        Queue { left, done: Mutex::default(), failed: AtomicBool::new(false) }
    }

    /// Folds the next portion until nothing is left or an error occurred.
    fn work<S: FoldedSink>(
        &self,
        worker: &mut impl Worker<P>,
        folder: &mut Folder<S>,
        frames: &mut FrameTable,
    ) {
        while let Some((at, portion)) = self.next() {
            let mut tally = Tally::default();
            folder.start_portion(at as u64 + 1);
            let folded = worker.fold(portion, folder, frames, &mut tally);
            self.failed.fetch_or(folded.is_err(), Ordering::Relaxed);
            lock(&self.done).push((at, folded.map(|()| tally)));
        }
    }

    fn next(&self) -> Option<(usize, P)> {
        if self.failed.load(Ordering::Relaxed) { None } else { lock(&self.left).next() }
    }

    /// Adds up the tallies, or returns the first error, in the order of the portions.
    fn tell(self, tally: &mut Tally) -> Result<()> {
        let mut done = std::mem::take(&mut *lock(&self.done));
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().try_for_each(|(_, told)| told.map(|told| tally.absorb(told)))
    }
}

/// A folder that is absorbed pushes nothing.
struct Nowhere;

impl FoldedSink for Nowhere {
    fn folded(&mut self, _: &mut FrameTable, _: &Folded<'_>) -> Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &mut FrameTable, _: &mut Tally) -> Result<()> {
        Ok(())
    }
}
