//! How the engine's threads wait for each other, and what they know of work that failed.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::{Error, ErrorKind, Result};

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

/// The pause before work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

struct Failure {
    kind: ErrorKind,
    message: String,
    again_at: Duration,
}

/// One kind of background work: why it failed the last time, if it did, and when it is tried again.
#[derive(Default)]
pub struct Failing(Mutex<Option<Failure>>);

impl Failing {
    /// The work failed, now by the engine's clock.
    pub fn note(&self, what: &str, error: &Error, now: Duration) {
        let mut last = self.0.lock();
        // Logged once, not at every attempt.
        if last
            .as_ref()
            .is_none_or(|last| last.message != error.message())
        {
            tracing::error!("{what} failed, trying again: {error}");
        }
        *last = Some(Failure {
            kind: error.kind(),
            message: error.message().to_owned(),
            again_at: now + RETRY,
        });
    }

    /// The work succeeded, or somebody wants it tried at once.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    /// Fails as the work did.
    pub fn check(&self) -> Result<()> {
        match &*self.0.lock() {
            None => Ok(()),
            Some(failure) => Err(Error::new(failure.kind, failure.message.clone())),
        }
    }

    /// Fails as the work did, unless trying again may help by itself.
    pub fn check_lasting(&self) -> Result<()> {
        self.check().or_else(|error| match error.kind() {
            ErrorKind::Unavailable => Ok(()),
            _ => Err(error),
        })
    }

    /// How long to wait before the next attempt; nothing if it may begin.
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        let again_at = self.0.lock().as_ref()?.again_at;
        again_at.checked_sub(now).filter(|left| !left.is_zero())
    }
}
