//! Empties the rings in a thread that waits for nobody.
//!
//! ```text
//!  rings ─▶ Queue ─▶ batches, in order of time ─▶ Session, a thread of its own: unwound ─▶ stream
//!             ▲────── the room of records ───────┘
//! ```
//!
//! A ring holds a sixteenth of a second. Unwinding may take longer than that, if the tables of a
//! large library are still on a disk. So may writing, if the reader of the stream is busy. So one
//! thread copies records out of the rings, and another one uses them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::open::Events;
use super::queue::Queue;
use super::sys;
use crate::perf_data::Attr;

/// How long a record may be underway, in nanoseconds: the CPU of a virtual machine can be taken
/// away while it writes. A thread does not go on before its record is written, so a record that
/// takes longer still seldom matters. Waiting costs memory.
const UNDERWAY: u64 = 10_000_000;
/// How long a few records wait before they are handed over, in nanoseconds: waking another thread
/// takes longer than unwinding a few samples.
const BETWEEN: u64 = 30_000_000;
/// Fewer records than this are few. Two processors make a fraction of it in that time.
const FEW: usize = 256;
/// How many bytes the other thread may be behind, some seconds of copied stacks. Beyond that the
/// rings have to wait after all.
const MOST_BEHIND: usize = 128 << 20;
/// The other thread is this many bytes behind only if it does not get its turn, or waits for a
/// reader.
const FAR_BEHIND: usize = 16 << 20;
/// How long we wait for room before we look after the workload again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Records in order of time.
pub(super) type Batch = Vec<Vec<u8>>;

/// The end that empties the rings.
pub(super) struct Drain {
    queue: Queue,
    attr: Attr,
    batches: Sender<Batch>,
    used: Receiver<Batch>,
    /// The bytes of batches that are not used yet.
    behind: usize,
    /// The time of the last batch, in nanoseconds.
    handed: u64,
    /// The thread that uses the batches.
    helper: Arc<sys::Helper>,
}

/// The end that batches come out of.
pub(super) struct Batches {
    batches: Receiver<Batch>,
    used: Sender<Batch>,
}

impl Drain {
    /// `queue` holds what was recorded already, in records of `attr`.
    pub(super) fn new(queue: Queue, attr: Attr, helper: Arc<sys::Helper>) -> (Drain, Batches) {
        let (send_batches, batches) = channel();
        let (send_used, used) = channel();
        let drain =
            Drain { queue, attr, batches: send_batches, used, behind: 0, handed: 0, helper };
        (drain, Batches { batches, used: send_used })
    }

    /// Takes records from the rings, and from time to time passes on those that are in order. In
    /// the `last` round it passes on all. False if nobody takes them any more.
    pub(super) fn round(&mut self, events: &mut Events<'_>, last: bool) -> bool {
        while !last && !self.has_room() {
            match self.used.recv_timeout(PATIENCE) {
                Ok(batch) => self.take_back(batch),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        let now = sys::now();
        let Drain { queue, attr, .. } = self;
        events.drain(|bytes| queue.push(bytes, attr, |_| {}));
        if !last && self.queue.len() < FEW && now < self.handed + BETWEEN {
            return true;
        }
        self.handed = now;
        let until = if last { u64::MAX } else { now.saturating_sub(UNDERWAY) };
        let batch = self.queue.take(until);
        self.behind += bytes(&batch);
        batch.is_empty() || self.batches.send(batch).is_ok()
    }

    fn has_room(&mut self) -> bool {
        while let Ok(batch) = self.used.try_recv() {
            self.take_back(batch);
        }
        if self.behind > FAR_BEHIND {
            self.helper.put_first(true);
        } else if self.behind < FAR_BEHIND / 8 {
            self.helper.put_first(false);
        }
        self.behind <= MOST_BEHIND
    }

    fn take_back(&mut self, batch: Batch) {
        self.behind -= bytes(&batch);
        self.queue.give_back(batch);
    }
}

impl Batches {
    /// Calls `each` for every batch, until there will be no more.
    pub(super) fn take<E>(self, mut each: impl FnMut(&Batch) -> Result<(), E>) -> Result<(), E> {
        for batch in &self.batches {
            each(&batch)?;
            // At the end, nobody needs the memory back.
            let _ = self.used.send(batch);
        }
        Ok(())
    }
}

fn bytes(batch: &Batch) -> usize {
    batch.iter().map(Vec::len).sum()
}
