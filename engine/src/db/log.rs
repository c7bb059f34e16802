//! The log as the database has it: the local one, and where it is kept in the store as well, those who send it there and those who wait for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::health::Health;
use crate::options::Options;
use crate::remote_wal::RemoteWal;
use crate::wal::{Wal, WalRange, WalStats};
use crate::{Error, ErrorKind, Result, ResultExt};

/// The time between two syncs of what was committed without one.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// See the module's description.
pub struct Log {
    health: Arc<Health>,
    wal: Wal,
    remote: Option<Arc<RemoteWal>>,
    /// Bytes that may wait for the store.
    max_unuploaded: AtomicU64,
    store_wait_millis: AtomicU64,
}

impl Log {
    pub fn new(
        health: Arc<Health>,
        wal: Wal,
        remote: Option<RemoteWal>,
        options: &Options,
    ) -> Self {
        let remote = remote.map(Arc::new);
        if let Some(remote) = remote.clone() {
            health.gate().tell(move |kind, why| {
                if kind == ErrorKind::Fenced {
                    remote.fenced(why);
                }
            });
        }
        let log = Self {
            health,
            wal,
            remote,
            max_unuploaded: AtomicU64::new(0),
            store_wait_millis: AtomicU64::new(0),
        };
        log.set_limits(options.max_unuploaded_wal, options.store_wait);
        log
    }

    /// Changes how many bytes may wait for the store before writers wait too, and for how long they do before they fail.
    pub fn set_limits(&self, max_unuploaded: u64, store_wait: Duration) {
        self.max_unuploaded.store(max_unuploaded, Ordering::Relaxed);
        self.store_wait_millis
            .store(store_wait.as_millis() as u64, Ordering::Relaxed);
    }

    /// How long a writer waits for a store that is away.
    pub fn store_wait(&self) -> Duration {
        Duration::from_millis(self.store_wait_millis.load(Ordering::Relaxed))
    }

    /// The log in the store, where it is kept there.
    pub fn remote(&self) -> Option<&RemoteWal> {
        self.remote.as_deref()
    }

    /// Whether it is kept in the store as well.
    pub fn is_shared(&self) -> bool {
        self.remote.is_some()
    }

    /// Appends a record, in pieces.
    pub fn append(&self, record: &[&[u8]]) -> Result<WalRange> {
        let range = self.wal.append(record)?;
        if let Some(remote) = &self.remote {
            remote.appended();
        }
        Ok(range)
    }

    /// The position after the last record.
    pub fn end(&self) -> u64 {
        self.wal.end()
    }

    /// Makes what is before `position` durable locally.
    pub fn sync(&self, position: u64) -> Result<()> {
        self.wal.sync(position)
    }

    /// The same if `wanted`.
    pub fn sync_if(&self, wanted: bool, position: u64) -> Result<()> {
        match wanted {
            true => self.wal.sync(position),
            false => Ok(()),
        }
    }

    /// Lets go of the local log before `floor`.
    pub fn release(&self, floor: u64) -> Result<()> {
        self.wal.release(floor)
    }

    /// Ends the local log. Nothing is appended any more.
    pub fn close(&self) -> Result<()> {
        self.wal.close()
    }

    pub fn stats(&self) -> WalStats {
        self.wal.stats()
    }

    /// Up to where what follows from it may go to the store: what is uploaded, or all where it is kept here alone.
    pub fn uploaded_end(&self) -> u64 {
        match &self.remote {
            Some(remote) => remote.uploaded(),
            None => u64::MAX,
        }
    }

    /// Pieces that were cut for the store.
    pub fn cut_chunks(&self) -> u64 {
        self.remote().map_or(0, RemoteWal::cut_chunks)
    }

    /// Syncs from time to time what was committed without a sync of its own: by the engine's options, by a commit's choice, or by a rollback that
    /// kept counters. A thread's body.
    pub fn run_sync(&self) {
        while !self.health.is_closing() {
            let seen = self.health.signal.now();
            let behind = self.wal.synced() < self.wal.end();
            if behind
                && self.health.check_writes().is_ok()
                && let Err(error) = self.wal.sync(self.wal.end())
            {
                tracing::error!("sync of the log failed: {error}");
                self.health.end_writes(&error);
            }
            self.health.signal.wait(seen, SYNC_INTERVAL);
        }
    }

    /// An uploading thread's body.
    pub fn run_upload(&self) {
        let Some(remote) = &self.remote else { return };
        if let Err(error) = remote.run(&self.wal) {
            self.health.end_writes(&error);
        }
    }

    /// Tells the uploading threads to end.
    pub fn stop_upload(&self) {
        if let Some(remote) = &self.remote {
            remote.stop();
        }
    }

    /// Sends what is due, without threads; whether there was anything.
    pub fn upload_due(&self) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        remote.step(&self.wal, false).unwrap_or_else(|error| {
            self.health.end_writes(&error);
            false
        })
    }

    /// Sends what the store lacks, without threads. Fails as soon as the store does.
    pub fn upload_all(&self) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        let end = self.wal.end();
        while remote.uploaded() < end {
            remote.step(&self.wal, true)?;
            check_reachable(remote).context(|| "send the log to the store")?;
        }
        Ok(())
    }

    /// Returns once the log up to `position` is in the store, if it is kept there. Fails as soon as the store does.
    pub fn uploaded_or_failing(&self, position: u64) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        remote.wait(&self.wal, position, &mut || {
            self.health.check_open()?;
            check_reachable(remote)
        })?;
        Ok(())
    }

    /// The same, waiting for as long as the store is away.
    pub fn uploaded(&self, position: u64) -> Result<()> {
        match &self.remote {
            None => Ok(()),
            Some(remote) => remote
                .wait(&self.wal, position, &mut || self.health.check_open())
                .inspect_err(|error| self.health.note_fence(error)),
        }
    }

    /// Has the log sent up to `position` without delay.
    pub fn want_uploaded(&self, position: u64) {
        if let Some(remote) = &self.remote {
            remote.want(position);
        }
    }

    /// Whether the log up to `position` is in the store; waits for it up to `time`. [`ErrorKind::Fenced`] if it will never be.
    pub fn wait_uploaded(&self, position: u64, time: Duration) -> Result<bool> {
        let Some(remote) = &self.remote else {
            return Ok(true);
        };
        let clock = &self.health.clock;
        let start = clock.now();
        let mut late = false;
        let waited = remote.wait(&self.wal, position, &mut || {
            self.health.check_open()?;
            late = clock.now().saturating_sub(start) >= time;
            match late {
                true => Err(Error::new(ErrorKind::Unavailable, "not in the store yet")),
                false => Ok(()),
            }
        });
        match waited {
            Err(_) if late => Ok(false),
            waited => waited.map(|()| true),
        }
    }

    /// Holds a writer while too much of the log waits for the store. Fails with [`ErrorKind::Unavailable`], naming the cause, if that lasts.
    pub fn wait_for_upload(&self) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        let most = self.max_unuploaded.load(Ordering::Relaxed);
        let waiting = || self.wal.end().saturating_sub(remote.uploaded());
        if waiting() <= most {
            return Ok(());
        }
        let start = self.health.clock.now();
        let enough = self.wal.end() - most;
        let in_time = self.wait_uploaded(enough, self.store_wait());
        let took = self.health.clock.now().saturating_sub(start);
        self.health.count_stall(start);
        if in_time? {
            return Ok(());
        }
        let why = remote
            .trouble()
            .map_or_else(|| "it is slow".to_owned(), |(_, why)| why);
        Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "{} bytes of log wait for the store, {most} are allowed (max_unuploaded_wal), and after {took:.1?} it is no better: {why}",
                waiting()
            ),
        ))
    }
}

/// Fails if the store could not be reached when the log was last sent.
fn check_reachable(remote: &RemoteWal) -> Result<()> {
    match remote.failing() {
        None => Ok(()),
        Some(why) => Err(Error::new(ErrorKind::Unavailable, why)),
    }
}
