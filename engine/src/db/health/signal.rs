//! How the engine's threads wait for each other.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes background threads, and those that wait for them.
///
/// Whoever waits asks [`Signal::now`] first, then looks whether there is anything to do, then calls [`Signal::wait`]: what is
/// notified in between is not missed.
#[derive(Default)]
pub struct Signal {
    notified: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// Wakes everyone.
    pub fn notify(&self) {
        *self.notified.lock() += 1;
        self.changed.notify_all();
    }

    /// Names this moment.
    pub fn now(&self) -> u64 {
        *self.notified.lock()
    }

    /// Sleeps until something is notified after the moment `seen`, at most for `time`.
    pub fn wait(&self, seen: u64, time: Duration) {
        let mut notified = self.notified.lock();
        if *notified == seen {
            self.changed.wait_for(&mut notified, time);
        }
    }
}
