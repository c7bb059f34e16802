//! The database's side of the log in the store: the threads that send it, and those who wait for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use crate::remote_wal::RemoteWal;
use crate::{Error, ErrorKind, Result, ResultExt};

/// How often a writer that sends its log looks whether another one has attached.
const LOOK: Duration = Duration::from_secs(1);

/// The pause before what the store refused is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

impl Core {
    /// An uploading thread's body.
    pub(super) fn run_upload(&self) {
        let Some(remote) = &self.remote else { return };
        if let Err(error) = remote.run(&self.wal) {
            self.end_writes(&error);
        }
    }

    /// The body of a thread that checks from time to time, while the log goes to the store, whether another writer has attached. That one cannot find the log's end
    /// as long as this one adds to it; and the sooner this one stops, the less is lost that is acknowledged here alone.
    pub(super) fn run_watch(&self) {
        let Some(remote) = &self.remote else { return };
        let (mut seen, mut again) = (remote.uploaded(), self.clock.now());
        while !self.closing.load(Ordering::Acquire) {
            let moment = self.signal.now();
            let (uploaded, now) = (remote.uploaded(), self.clock.now());
            if uploaded != seen && now >= again && self.pipeline.check().is_ok() {
                (seen, again) = (uploaded, now + LOOK);
                // A thread that commits to the manifest learns of it anyway.
                let looked = self.manifest.try_lock().map(|mut m| m.look_for_successor());
                if let Some(Err(error)) = looked {
                    self.note_fence(&error);
                }
            }
            self.signal.wait(moment, LOOK);
        }
    }

    /// Takes no more writes, because of `error`, and tells everyone who waits.
    pub fn end_writes(&self, error: &Error) {
        if self.pipeline.fail_with(error) {
            tracing::error!("no writes are taken any more: {error}");
        }
        if let Some(remote) = &self.remote
            && error.kind() == ErrorKind::Fenced
        {
            remote.fenced(error.message());
        }
        self.signal.notify();
    }

    /// Takes no more writes if an error says that another writer took over.
    fn note_fence(&self, error: &Error) {
        if error.kind() == ErrorKind::Fenced {
            self.end_writes(error);
        }
    }

    /// Sends the part of the log that the store lacks, without threads. Fails as soon as the store does.
    pub(super) fn upload_all(&self) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        let end = self.wal.end();
        while remote.uploaded() < end {
            remote.step(&self.wal, true)?;
            self.check_reachable(remote)
                .context(|| "send the log to the store")?;
        }
        Ok(())
    }

    /// Fails if the store could not be reached when the log was last sent.
    fn check_reachable(&self, remote: &RemoteWal) -> Result<()> {
        match remote.failing() {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Unavailable, why)),
        }
    }

    /// Returns once the log up to `position` is in the store, if it is kept there. Fails as soon as the store does.
    pub(super) fn uploaded_or_failing(&self, position: u64) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        remote.wait(&self.wal, position, &mut || {
            self.check_open()?;
            self.check_reachable(remote)
        })?;
        Ok(())
    }

    /// The same, waiting for as long as the store is away.
    pub(super) fn uploaded(&self, position: u64) -> Result<()> {
        match &self.remote {
            None => Ok(()),
            Some(remote) => remote
                .wait(&self.wal, position, &mut || self.check_open())
                .inspect_err(|error| self.note_fence(error)),
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
        let start = self.clock.now();
        let mut late = false;
        let waited = remote.wait(&self.wal, position, &mut || {
            self.check_open()?;
            late = self.clock.now().saturating_sub(start) >= time;
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
    pub(super) fn wait_for_upload(&self) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        let most = self.tunables.max_unuploaded_wal.load(Ordering::Relaxed);
        let waiting = || self.wal.end().saturating_sub(remote.uploaded());
        if waiting() <= most {
            return Ok(());
        }
        let start = self.clock.now();
        let enough = self.wal.end() - most;
        let in_time = self.wait_uploaded(enough, self.store_wait());
        let took = self.clock.now().saturating_sub(start);
        self.count_stall(start);
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

    /// How long a writer waits for a store that is away.
    pub(super) fn store_wait(&self) -> Duration {
        Duration::from_millis(self.tunables.store_wait_millis.load(Ordering::Relaxed))
    }

    /// Waits a little before something is tried again.
    pub(super) fn pause(&self, seen: u64, time: Duration) {
        if self.options.manual {
            self.clock.sleep(time);
        } else {
            self.signal.wait(seen, time);
        }
    }
}
