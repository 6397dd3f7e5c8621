//! Starts the threads that share work.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::ThreadPoolBuilder;

/// Makes sure that this thread may use rayon, with this many threads or, if 0, one for each CPU.
///
/// Otherwise rayon would start its threads when they are first needed, and panic if it cannot. If
/// the system refuses them, this thread does all the work.
pub(crate) fn start(threads: usize) {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let built = ThreadPoolBuilder::new().num_threads(threads).build_global();
    // An error without a cause says that the threads are there already.
    if let Some(why) = built.as_ref().err().and_then(Error::source) {
        log::warn!("one thread does all the work, because there can be no others: {why}");
        REFUSED.store(true, Ordering::SeqCst);
    }
    if REFUSED.load(Ordering::SeqCst) {
        let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        // This thread stays in the pool.
        std::mem::forget(alone);
    }
}
