//! What locks and snapshots are built from: one place, so that a model checker can put its own in.

use std::sync::atomic::AtomicUsize;

pub use parking_lot::{Condvar, Mutex, RwLock};
pub use std::sync::atomic;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, atomic::Ordering::Relaxed);
}

/// A number of this thread's: threads have numbers in the order in which they first asked.
pub fn thread_number() -> usize {
    THREAD.with(|number| *number)
}
