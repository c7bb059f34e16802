//! Flushes: which memtables become files, and when, and how far the log is let go of for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::health::Health;
use super::log::Log;
use super::tree::Tree;
use super::tree::state::Obsolete;
use super::writer::Writer;
use crate::env::failpoint;
use crate::flush::flush_memtables;
use crate::manifest::VersionEdit;
use crate::memtable::MemTable;
use crate::{ErrorKind, Result, ResultExt};

/// How long the thread sleeps when there is nothing to do; a signal wakes it sooner.
const IDLE: Duration = Duration::from_millis(500);

/// How soon to look again whether the commits that still write to a full memtable are done.
const SOON: Duration = Duration::from_millis(1);

/// How long to wait for a notification before looking again all the same.
const WAIT: Duration = Duration::from_millis(20);

/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_millis(100);

/// See the module's description.
pub struct Flusher {
    health: Arc<Health>,
    log: Arc<Log>,
    tree: Arc<Tree>,
    writer: Arc<Writer>,
    /// One flush at a time; held while the store is waited for.
    flushing: Mutex<()>,
    /// Whether no thread flushes.
    manual: bool,
    pub flushes: AtomicU64,
    pub flush_bytes: AtomicU64,
}

impl Flusher {
    pub fn new(
        health: Arc<Health>,
        log: Arc<Log>,
        tree: Arc<Tree>,
        writer: Arc<Writer>,
        manual: bool,
    ) -> Self {
        Self {
            health,
            log,
            tree,
            writer,
            flushing: Mutex::new(()),
            manual,
            flushes: AtomicU64::new(0),
            flush_bytes: AtomicU64::new(0),
        }
    }

    /// The thread's body.
    pub fn run(&self) {
        let health = &self.health;
        while !health.is_closing() {
            let seen = health.signal.now();
            let pause = health.flush.pause(health.clock.now());
            if self.tree.tuning.is_paused() || pause.is_some() || health.check_writes().is_err() {
                health.signal.wait(seen, pause.unwrap_or(IDLE));
                continue;
            }
            let begun = health.clock.now();
            match self.flush_once() {
                Ok(true) => health.flush.clear(),
                Ok(false) if self.tree.state().immutable.is_empty() => {
                    health.signal.wait(seen, IDLE);
                }
                Ok(false) => health.signal.wait(seen, SOON),
                Err(error) if error.kind() == ErrorKind::Interrupted => return,
                Err(error) => {
                    health
                        .flush
                        .note("flush", &error, begun, health.clock.now());
                    health.signal.notify();
                }
            }
        }
    }

    /// Does what the thread would do now, once; whether there was anything.
    pub fn work(&self) -> bool {
        let health = &self.health;
        let now = health.clock.now();
        if self.tree.tuning.is_paused()
            || health.check_writes().is_err()
            || health.flush.pause(now).is_some()
        {
            return false;
        }
        match self.flush_once() {
            Ok(done) => {
                health.flush.clear();
                done
            }
            Err(error) => {
                health.flush.note("flush", &error, now, health.clock.now());
                false
            }
        }
    }

    /// Flushes the immutable memtables that are quiet, oldest first. Whether there was any.
    fn flush_once(&self) -> Result<bool> {
        let _one_at_a_time = self.flushing.lock();
        self.health.check_writes()?;
        let state = self.tree.kept_state();
        let ready: Vec<Arc<MemTable>> = state
            .immutable
            .iter()
            .rev()
            .take_while(|table| table.is_quiet())
            .cloned()
            .collect();
        let Some(newest) = ready.last() else {
            return Ok(false);
        };
        // What follows from the floor is not only what the memtables hold: that a prepared transaction was rolled back lets go of its prepare.
        let (floor, decided) = self.writer.wal_floor_without(newest);
        self.log.sync(decided)?;
        self.log.uploaded_or_failing(decided)?;
        let rules = self.tree.drop_rules(&state.files.version);
        let known = state.files.version.dropped_indexes.clone();
        let files = flush_memtables(&ready, rules, self.tree.output_spec(0))?;
        failpoint::hit("flush.written")?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let largest_seq = files.iter().map(|file| file.largest_seq).max();
        let mut manifest = self.tree.manifest();
        let now = manifest.current();
        let first_chunk = self.log.remote().map(|log| log.first_chunk(floor));
        let mut edit = VersionEdit {
            wal_floor: Some(floor),
            last_seq: largest_seq.map(|seq| seq.max(now.last_seq)),
            added: files.into_iter().map(|file| (0, file)).collect(),
            first_chunk,
            ..VersionEdit::default()
        };
        self.tree.note_drops(&mut edit, &known, &now);
        self.tree.install(&mut manifest, edit, &ready)?;
        drop(manifest);
        failpoint::hit("flush.installed")?;
        if let (Some(remote), Some(first)) = (self.log.remote(), first_chunk) {
            for chunk in remote.release(first) {
                self.tree.tell_obsolete(Obsolete::Chunk(chunk));
            }
        }
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.log.release(floor)?;
        Ok(true)
    }

    /// Writes all memtables to files and waits for it. Fails as soon as an attempt fails that began since.
    pub fn flush(&self) -> Result<()> {
        self.flush_unless_failed(self.health.clock.now())
    }

    /// The same for a close, which does not wait for a further attempt where one is known to have failed.
    pub fn flush_or_failing(&self) -> Result<()> {
        self.flush_unless_failed(Duration::ZERO)
    }

    /// Fails as soon as it is known of an attempt that began at `start` or later that it failed.
    fn flush_unless_failed(&self, start: Duration) -> Result<()> {
        let health = &self.health;
        self.writer.rotate();
        let newest = self.tree.state().mem.id();
        health.flush.clear();
        health.signal.notify();
        loop {
            let seen = health.signal.now();
            if !self.has_older(newest) {
                return Ok(());
            }
            health.check_open()?;
            health.check_writes()?;
            health
                .flush
                .check_since(start)
                .and_then(|()| health.manifest.check_since(start))
                .context(|| "flush")?;
            if !(self.tree.tuning.is_paused() || self.manual) || !self.flush_once()? {
                health.pause(seen, WAIT);
            }
        }
    }

    /// Flushes every memtable older than the one with this id; tries again while the store is only away.
    pub fn flush_older(&self, memtable: u64) -> Result<()> {
        let health = &self.health;
        loop {
            let seen = health.signal.now();
            if !self.has_older(memtable) {
                return Ok(());
            }
            let begun = health.clock.now();
            match self.flush_once() {
                Ok(true) => health.flush.clear(),
                // An older commit still writes.
                Ok(false) => health.pause(seen, SOON),
                Err(error) => {
                    health.check_open()?;
                    health.check_writes()?;
                    health
                        .flush
                        .note("flush", &error, begun, health.clock.now());
                    health.flush.check_lasting()?;
                    health.pause(seen, RETRY);
                }
            }
        }
    }

    /// Whether memtables older than the one with this id wait to be flushed.
    fn has_older(&self, memtable: u64) -> bool {
        let state = self.tree.state();
        state.immutable.iter().any(|table| table.id() < memtable)
    }
}
