//! Whether the engine works: what all of its parts know of each other's trouble, and how they wait for each other.
//!
//! It knows no other part. Its locks are held for moments.

mod failing;
mod signal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::failing::Failing;
pub use self::signal::Signal;
use crate::env::Clock;
use crate::options::Options;
use crate::txn::gate::Gate;
use crate::{Error, ErrorKind, Result};

/// The pause before what the store refused is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

/// See the module's description.
pub struct Health {
    pub clock: Arc<dyn Clock>,
    /// Notified whenever there may be something to do, or something waited for has come.
    pub signal: Signal,
    pub flush: Failing,
    pub compaction: Failing,
    pub manifest: Failing,
    /// Writers that had to wait, and for how long in all.
    pub stalls: AtomicU64,
    pub stall_micros: AtomicU64,
    gate: Arc<Gate>,
    closing: AtomicBool,
    /// Nobody notifies an engine without threads.
    manual: bool,
}

impl Health {
    pub fn new(options: &Options) -> Self {
        Self {
            clock: options.clock.clone(),
            signal: Signal::default(),
            flush: Failing::default(),
            compaction: Failing::default(),
            manifest: Failing::default(),
            stalls: AtomicU64::new(0),
            stall_micros: AtomicU64::new(0),
            gate: Arc::default(),
            closing: AtomicBool::new(false),
            manual: options.manual,
        }
    }

    /// Through which all commits go.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// From now on the engine is closing.
    pub fn begin_to_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Fails once the engine is closing.
    pub fn check_open(&self) -> Result<()> {
        if self.is_closing() {
            return Err(Error::new(ErrorKind::Interrupted, "the engine is closing"));
        }
        Ok(())
    }

    /// Fails if no writes are taken any more.
    pub fn check_writes(&self) -> Result<()> {
        self.gate.check()
    }

    /// Takes no more writes, because of `error`, and tells everyone who waits.
    pub fn end_writes(&self, error: &Error) {
        if self.gate.close_with(error) {
            tracing::error!("no writes are taken any more: {error}");
        }
        self.signal.notify();
    }

    /// Takes no more writes if an error says that another writer took over.
    pub fn note_fence(&self, error: &Error) {
        if error.kind() == ErrorKind::Fenced {
            self.end_writes(error);
        }
    }

    /// Waits a little before something is tried again, at most until something is notified after the moment `seen`.
    pub fn pause(&self, seen: u64, time: Duration) {
        if self.manual {
            self.clock.sleep(time);
        } else {
            self.signal.wait(seen, time);
        }
    }

    /// A writer had to wait, since `start`.
    pub fn count_stall(&self, start: Duration) {
        let took = self.clock.now().saturating_sub(start);
        self.stalls.fetch_add(1, Ordering::Relaxed);
        self.stall_micros
            .fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}
