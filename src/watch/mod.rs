//! Shows a recording while it goes on: a page in the browser that is renewed as samples arrive.
//!
//! ```text
//! source ─▶ stage::Watched ─▶ Folder or Lanes …  the recording is folded as always
//!                │ what came so far, with the same edits, if a page waits for it
//!                ▼
//!              Watch ◀── server::Server ◀── GET /TOKEN/graph?after=VERSION ── page
//! ```
//!
//! The stage copies its sums only while a page waits, at most once a second, and rarely enough to
//! spend at most a tenth of its time on that. The recorder writes into a buffer, so neither a page
//! nor the stage keeps it from draining the kernel's rings. A slow page gets fewer versions.

mod server;
mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use server::Server;
pub(crate) use stage::{Edits, Watched};

use crate::lock::lock;

/// The state that the stage and the server share.
#[derive(Default)]
pub(crate) struct Watch {
    is_wanted: AtomicBool,
    shown: Mutex<Shown>,
    changed: Condvar,
}

/// The newest version.
#[derive(Clone, Default)]
struct Shown {
    /// The number of the version; 0 if there is none yet.
    version: u64,
    /// The stacks, in the form that a picture carries.
    graph: Arc<[u8]>,
    /// Whether this is the last version.
    is_last: bool,
    has_ended: bool,
    /// Whether a page was opened, and the newest version that a page has.
    is_open: bool,
    given: u64,
}

impl Watch {
    /// Whether a page waits for something newer.
    fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Shows `graph`.
    fn show(&self, graph: Vec<u8>, is_last: bool) {
        let mut shown = lock(&self.shown);
        self.is_wanted.store(false, Ordering::Relaxed);
        shown.version += 1;
        shown.graph = graph.into();
        shown.is_last = is_last;
        self.changed.notify_all();
    }

    /// Whether a page was opened.
    fn is_open(&self) -> bool {
        lock(&self.shown).is_open
    }

    /// Notes that a page was opened.
    fn open(&self) {
        lock(&self.shown).is_open = true;
    }

    /// Notes that a page has this version.
    fn give(&self, version: u64) {
        let mut shown = lock(&self.shown);
        shown.given = shown.given.max(version);
        self.changed.notify_all();
    }

    /// Waits until a page has the newest version, if one is open, but not longer than `most`.
    fn wait_for_page(&self, most: Duration) {
        let is_behind = |shown: &mut Shown| shown.is_open && shown.given < shown.version;
        let _waited = self.changed.wait_timeout_while(lock(&self.shown), most, is_behind);
    }

    fn has_ended(&self) -> bool {
        lock(&self.shown).has_ended
    }

    /// Answers all waiting pages, even if there is nothing newer.
    fn end(&self) {
        lock(&self.shown).has_ended = true;
        self.changed.notify_all();
    }

    /// Waits for something newer than `version`, or for the end.
    fn newer(&self, version: u64) -> Shown {
        let mut shown = lock(&self.shown);
        while shown.version <= version && !shown.has_ended {
            self.is_wanted.store(true, Ordering::Relaxed);
            shown = self.changed.wait(shown).unwrap_or_else(PoisonError::into_inner);
        }
        shown.clone()
    }
}
