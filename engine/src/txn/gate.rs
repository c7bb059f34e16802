//! Whether commits are taken, and if not, why: one gate for all who bring about or need to know that they are not.
//!
//! It is closed for good, by the first of two causes. If a write or a sync failed, the log may hold more or less than was acknowledged: nothing goes on. If
//! another writer took over, the log here is sound, and nothing that is in it is in doubt here: nothing new is accepted, but what was accepted goes
//! on, and so do decisions about prepared transactions, on which others may have built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

type Listener = Arc<dyn Fn(ErrorKind, &str) + Send + Sync>;

/// See the module's description.
#[derive(Default)]
pub struct Gate {
    /// The first cause.
    cause: Mutex<Option<(ErrorKind, String)>>,
    closed: AtomicBool,
    /// Whether the log or a commit under way has failed, rather than that another writer took over.
    unsound: AtomicBool,
    listeners: Mutex<Vec<Listener>>,
}

impl Gate {
    /// Has `listener` called with every cause from now on, after it has taken effect.
    pub fn tell(&self, listener: impl Fn(ErrorKind, &str) + Send + Sync + 'static) {
        self.listeners.lock().push(Arc::new(listener));
    }

    /// Closes it: commits under way and later ones fail with [`ErrorKind::ReadOnly`], naming `why`. Whether this was the first cause.
    pub fn close(&self, why: &str) -> bool {
        self.shut(ErrorKind::ReadOnly, why, false)
    }

    /// The same because of an error. Where that is [`ErrorKind::Fenced`], later ones fail so, and commits under way and decisions do not.
    pub fn close_with(&self, error: &Error) -> bool {
        let fenced = error.kind() == ErrorKind::Fenced;
        self.shut(kind_after(error), error.message(), fenced)
    }

    /// A commit under way has failed: those behind it would wait for it.
    pub fn lose(&self, error: &Error) {
        self.shut(kind_after(error), error.message(), false);
    }

    fn shut(&self, kind: ErrorKind, why: &str, sound: bool) -> bool {
        let mut cause = self.cause.lock();
        let first = cause.is_none();
        cause.get_or_insert_with(|| (kind, why.to_owned()));
        drop(cause);
        if !sound {
            self.unsound.store(true, Ordering::Release);
        }
        self.closed.store(true, Ordering::Release);
        let listeners = self.listeners.lock().clone();
        for listener in listeners {
            listener(kind, why);
        }
        first
    }

    /// Fails if it was closed.
    pub fn check(&self) -> Result<()> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let cause = self.cause.lock().clone();
        let (kind, why) = cause.unwrap_or((ErrorKind::ReadOnly, String::new()));
        let reason = match kind {
            ErrorKind::Fenced => "since another writer has taken over",
            _ => "since an earlier one may not have been kept",
        };
        Err(Error::new(
            kind,
            format!("no writes are taken, {reason}: {why}"),
        ))
    }

    /// Fails if it was closed, unless that another writer took over is all that happened.
    pub fn check_sound(&self) -> Result<()> {
        match self.unsound.load(Ordering::Acquire) {
            true => self.check(),
            false => Ok(()),
        }
    }
}

/// How commits fail after an error.
fn kind_after(error: &Error) -> ErrorKind {
    match error.kind() {
        ErrorKind::Fenced => ErrorKind::Fenced,
        _ => ErrorKind::ReadOnly,
    }
}
