//! Dropped indexes, from the request to the manifest.
//!
//! [`DropQueue::add`] only queues them. One publisher takes all that are waiting and publishes them by one manifest edit, however many there are: a database of
//! ten thousand tables is dropped by as many edits as the publisher finds time for meanwhile, not by ten thousand. In order:
//!
//! 1. The caller's commit, by which nothing names the index any more, is in the log. It need not be durable: sessions may commit without a sync.
//! 2. The index is queued, with where the log ended then.
//! 3. The publisher takes what waits, syncs the log, and where the log is kept in the store waits for it to be there up to what it takes: what is
//!    destroyed is never more durable than what decided it.
//! 4. The edit is published. From here on flushes and compactions leave out the index's entries.
//!
//! A crash or a close before step 4 leaves an index that nobody names, if the commit is kept; the caller's next look at the indexes that it names
//! ([`crate::Engine::retain_indexes`]) drops it. If the commit is lost with the power, the index is still there, whole. The same holds for an edit that
//! fails: the queue is emptied, with a warning, and the drop is left to the next start.
//!
//! A dropped index stays on record until no memtable and no file can hold anything of it: [`Tree::note_drops`] looks at that with every edit that
//! adds files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::health::Health;
use super::log::Log;
use super::tree::Tree;
use crate::env::failpoint;
use crate::types::{DICTIONARY_INDEX, IndexId};
use crate::{Error, ErrorKind, Result};

/// How long to sleep when nothing waits; a signal ends it sooner.
const IDLE: Duration = Duration::from_millis(500);

/// How soon to look again whether the log that a drop waits for is in the store.
const SOON: Duration = Duration::from_millis(20);

/// Dropped indexes that no edit names yet, and who publishes them.
pub struct DropQueue {
    health: Arc<Health>,
    log: Arc<Log>,
    tree: Arc<Tree>,
    /// With the end of the log when they were dropped.
    queue: Mutex<Vec<(IndexId, u64)>>,
    /// One at a time takes from the queue and publishes.
    publishing: Mutex<()>,
}

impl DropQueue {
    pub fn new(health: Arc<Health>, log: Arc<Log>, tree: Arc<Tree>) -> Self {
        Self {
            health,
            log,
            tree,
            queue: Mutex::default(),
            publishing: Mutex::new(()),
        }
    }

    /// Drops indexes for good. Returns at once; [`DropQueue::publish`] does it.
    pub fn add(&self, indexes: &[IndexId]) -> Result<()> {
        let first_unknown = self.tree.next_index();
        let wrong = |&&index: &&IndexId| index == DICTIONARY_INDEX || index >= first_unknown;
        if let Some(index) = indexes.iter().find(wrong) {
            return Err(Error::invalid(format!(
                "index {index} cannot be dropped: it was never given out"
            )));
        }
        if indexes.is_empty() {
            return Ok(());
        }
        self.health.check_writes()?;
        let logged = self.log.end();
        let mut queue = self.queue.lock();
        queue.extend(indexes.iter().map(|&index| (index, logged)));
        drop(queue);
        self.health.signal.notify();
        Ok(())
    }

    /// Drops every index that may hold data and is not in `named`; returns which.
    pub fn retain(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        let garbage = self.not_in(named)?;
        self.add(&garbage)?;
        Ok(garbage)
    }

    /// The indexes that hold keys, were not dropped, and are not in `named`.
    pub fn unnamed(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        self.tree.with_keys(self.not_in(named)?)
    }

    /// The indexes that may hold data, were not dropped, and are not in `named`.
    fn not_in(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        // In this order: a drop that is published in between is on record in the tree.
        let queue = self.queue.lock();
        let waiting: HashSet<IndexId> = queue.iter().map(|&(index, _)| index).collect();
        drop(queue);
        let named = named.iter().copied().chain([DICTIONARY_INDEX]).collect();
        let mut found = self.tree.indexes_not_in(&named)?;
        found.retain(|index| !waiting.contains(index));
        Ok(found)
    }

    /// The publisher's thread.
    pub fn run(&self) {
        while !self.health.is_closing() {
            let seen = self.health.signal.now();
            match self.publish() {
                Ok(true) => {}
                Ok(false) if self.queue.lock().is_empty() => self.health.signal.wait(seen, IDLE),
                Ok(false) => self.health.signal.wait(seen, SOON),
                Err(error) if error.kind() == ErrorKind::Interrupted => return,
                Err(error) => tracing::warn!("drop of an index, left to the next start: {error}"),
            }
        }
    }

    /// Publishes all those waiting whose log is where it has to be; returns whether there were any.
    pub fn publish(&self) -> Result<bool> {
        let _one_at_a_time = self.publishing.lock();
        // They stay in the queue until they are published: nobody may mistake them for unknown indexes.
        let (indexes, wanted) = self.ready(self.log.uploaded_end());
        if let Some(wanted) = wanted {
            self.log.want_uploaded(wanted);
        }
        if indexes.is_empty() {
            return Ok(false);
        }
        let published = self.publish_these(&indexes);
        let mut queue = self.queue.lock();
        queue.retain(|(index, _)| !indexes.contains(index));
        published.map(|()| true)
    }

    /// The indexes that may be published, and the log position that the others wait for.
    fn ready(&self, uploaded: u64) -> (HashSet<IndexId>, Option<u64>) {
        let queue = self.queue.lock();
        let mut latest = HashMap::new();
        for &(index, logged) in queue.iter() {
            let last = latest.entry(index).or_insert(logged);
            *last = logged.max(*last);
        }
        let wanted = latest.values().copied().filter(|&logged| logged > uploaded);
        let wanted = wanted.max();
        latest.retain(|_, logged| *logged <= uploaded);
        (latest.into_keys().collect(), wanted)
    }

    /// Steps 3 and 4.
    fn publish_these(&self, indexes: &HashSet<IndexId>) -> Result<()> {
        self.health.check_open()?;
        failpoint::hit("drop.before_sync")?;
        self.log.sync(self.log.end())?;
        self.tree.drop_indexes(indexes)
    }
}
