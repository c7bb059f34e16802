//! What is known of background work that failed.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// The pause before work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

struct Failure {
    kind: ErrorKind,
    message: String,
    /// When the attempt that failed had begun.
    begun: Duration,
    again_at: Duration,
}

/// One kind of background work: why it failed the last time, if it did, and when it is tried again.
#[derive(Default)]
pub struct Failing(Mutex<Option<Failure>>);

impl Failing {
    /// The work failed: an attempt that had begun at `begun`, now by the engine's clock.
    pub fn note(&self, what: &str, error: &Error, begun: Duration, now: Duration) {
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
            // Of several attempts at once one that began earlier may be the last to fail.
            begun: last.as_ref().map_or(begun, |last| last.begun.max(begun)),
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

    /// Fails as an attempt did that began at `start` or later: what failed before says nothing to somebody who came then.
    pub fn check_since(&self, start: Duration) -> Result<()> {
        match &*self.0.lock() {
            Some(failure) if failure.begun >= start => {
                Err(Error::new(failure.kind, failure.message.clone()))
            }
            _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_began_before_is_nobodys_failure_who_came_since() {
        let (failing, second) = (Failing::default(), Duration::from_secs(1));
        let error = Error::new(ErrorKind::Unavailable, "away");
        failing.note("flush", &error, 3 * second, 5 * second);
        assert_eq!(failing.check().unwrap_err().message(), "away");
        failing.check_since(4 * second).unwrap();
        let told = failing.check_since(3 * second).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Unavailable);
        assert_eq!(failing.pause(5 * second), Some(RETRY));
    }
}
