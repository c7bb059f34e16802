//! Dropped indexes, from the request to the manifest.
//!
//! [`Core::drop_indexes`] only queues them. One publisher takes all that are waiting and publishes them by one manifest edit, however many there are: a database of
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
//! A dropped index stays on record until no memtable and no file can hold anything of it: [`Core::note_drops`] looks at that with every edit that
//! adds files.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use crate::env::failpoint;
use crate::manifest::{FileMeta, LEVELS, Version, VersionEdit};
use crate::types::{DICTIONARY_INDEX, IndexId, index_id_of};
use crate::{Error, ErrorKind, Result};

/// How long to sleep when nothing waits; a signal ends it sooner.
const IDLE: Duration = Duration::from_millis(500);

/// How soon to look again whether the log that a drop waits for is in the store.
const SOON: Duration = Duration::from_millis(20);

/// Dropped indexes that no edit names yet, and those whose entries may still be in memory.
#[derive(Default)]
pub struct Drops {
    /// With the end of the log when they were dropped.
    queue: Mutex<Vec<(IndexId, u64)>>,
    /// One at a time takes from the queue and publishes.
    publishing: Mutex<()>,
    /// Indexes that must stay on record until memtables up to this id are flushed.
    in_memory: Mutex<HashMap<IndexId, u64>>,
}

impl Drops {
    /// After an open: what the version has dropped may be in memtables before the one with this id.
    pub fn recovered(version: &Version, memtable: u64) -> Self {
        let dropped = version.dropped_indexes.keys();
        Self {
            in_memory: Mutex::new(dropped.map(|&index| (index, memtable)).collect()),
            ..Self::default()
        }
    }

    /// The indexes that wait to be published.
    pub fn waiting(&self) -> HashSet<IndexId> {
        self.queue.lock().iter().map(|&(index, _)| index).collect()
    }
}

impl Core {
    /// Drops indexes for good. Returns at once; [`Core::publish_drops`] does it.
    pub fn drop_indexes(&self, indexes: &[IndexId]) -> Result<()> {
        if let Some(index) = indexes.iter().find(|&&index| {
            index == DICTIONARY_INDEX || index >= self.ids.next_index.load(Ordering::Relaxed)
        }) {
            return Err(Error::invalid(format!(
                "index {index} cannot be dropped: it was never given out"
            )));
        }
        if indexes.is_empty() {
            return Ok(());
        }
        self.pipeline.check()?;
        let logged = self.wal.end();
        let mut queue = self.drops.queue.lock();
        queue.extend(indexes.iter().map(|&index| (index, logged)));
        drop(queue);
        self.signal.notify();
        Ok(())
    }

    /// The publisher's thread.
    pub(super) fn run_drops(&self) {
        while self.check_open().is_ok() {
            let seen = self.signal.now();
            match self.publish_drops() {
                Ok(true) => {}
                Ok(false) if self.drops.queue.lock().is_empty() => self.signal.wait(seen, IDLE),
                Ok(false) => self.signal.wait(seen, SOON),
                Err(error) if error.kind() == ErrorKind::Interrupted => return,
                Err(error) => tracing::warn!("drop of an index, left to the next start: {error}"),
            }
        }
    }

    /// Publishes all those waiting whose log is where it has to be; returns whether there were any.
    pub fn publish_drops(&self) -> Result<bool> {
        let _one_at_a_time = self.drops.publishing.lock();
        let uploaded = match &self.remote {
            Some(remote) => remote.uploaded(),
            None => u64::MAX,
        };
        // They stay in the queue until they are published: nobody may mistake them for unknown indexes.
        let (indexes, wanted) = self.ready_drops(uploaded);
        if let Some(wanted) = wanted {
            self.want_uploaded(wanted);
        }
        if indexes.is_empty() {
            return Ok(false);
        }
        let published = self.publish_dropped(&indexes);
        let mut queue = self.drops.queue.lock();
        queue.retain(|(index, _)| !indexes.contains(index));
        published.map(|()| true)
    }

    /// The indexes that may be published, and the log position that the others wait for.
    fn ready_drops(&self, uploaded: u64) -> (HashSet<IndexId>, Option<u64>) {
        let queue = self.drops.queue.lock();
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
    fn publish_dropped(&self, indexes: &HashSet<IndexId>) -> Result<()> {
        self.check_open()?;
        failpoint::hit("drop.before_sync")?;
        self.wal.sync(self.wal.end())?;
        let mut manifest = self.manifest.lock();
        let boundary = self.ids.next_file.load(Ordering::Acquire);
        let newest_memtable = self.state.load().mem.id();
        let mut dropped_indexes: Vec<_> = indexes.iter().map(|&index| (index, boundary)).collect();
        dropped_indexes.sort_unstable();
        let edit = VersionEdit {
            dropped_indexes,
            ..VersionEdit::default()
        };
        let mut in_memory = self.drops.in_memory.lock();
        in_memory.extend(indexes.iter().map(|&index| (index, newest_memtable)));
        drop(in_memory);
        failpoint::hit("drop.before_install")?;
        self.install(&mut manifest, edit, &[])?;
        failpoint::hit("drop.installed")
    }

    /// Indexes that were dropped while a job ran may be in its output: their boundary moves past it. Those that no file can hold any more
    /// are forgotten.
    pub(super) fn note_drops(
        &self,
        edit: &mut VersionEdit,
        known: &BTreeMap<IndexId, u64>,
        now: &Version,
    ) {
        if now.dropped_indexes.is_empty() {
            return;
        }
        let next_file = self.ids.next_file.load(Ordering::Acquire);
        let new = now.dropped_indexes.keys();
        let new = new.filter(|index| !known.contains_key(index));
        edit.dropped_indexes
            .extend(new.map(|&index| (index, next_file)));
        let oldest_memtable = self
            .state
            .load()
            .memtables()
            .next_back()
            .map_or(0, |table| table.id());
        // Another job that did not know of the drop may have raised the boundary meanwhile: that of the newest version counts.
        let dropped = now.dropped_indexes.iter();
        let dropped = dropped.filter(|(index, _)| known.contains_key(index));
        let mut in_memory = self.drops.in_memory.lock();
        for index in in_no_file(dropped, now) {
            let memtable = in_memory.get(&index);
            if memtable.is_none_or(|&memtable| memtable < oldest_memtable) {
                edit.forgotten_indexes.push(index);
                in_memory.remove(&index);
            }
        }
    }
}

/// Those of the dropped indexes of which no file of `version` holds anything: each that covers one was written knowing that it is gone. Indexes come
/// in ascending order, with the file number from which on that is so.
///
/// One pass over the indexes and the files, both in key order: for each index the oldest of the files that reach over it decides.
fn in_no_file<'a>(
    dropped: impl Iterator<Item = (&'a IndexId, &'a u64)>,
    version: &Version,
) -> Vec<IndexId> {
    let mut files: Vec<(IndexId, IndexId, u64)> = (0..LEVELS)
        .flat_map(|level| version.level(level))
        .filter_map(|file| reach_of(file))
        .collect();
    files.sort_unstable();
    let mut coming = files.into_iter().peekable();
    // Files that begin at or before the index, oldest on top.
    let mut begun: BinaryHeap<(std::cmp::Reverse<u64>, IndexId)> = BinaryHeap::new();
    let mut free = Vec::new();
    for (&index, &known_from) in dropped {
        while let Some((_, last, id)) = coming.next_if(|&(first, _, _)| first <= index) {
            begun.push((std::cmp::Reverse(id), last));
        }
        while begun.peek().is_some_and(|&(_, last)| last < index) {
            begun.pop();
        }
        let oldest = begun.peek().map(|&(std::cmp::Reverse(id), _)| id);
        if oldest.is_none_or(|id| id >= known_from) {
            free.push(index);
        }
    }
    free
}

/// The first and the last index of a file, and its number.
fn reach_of(file: &FileMeta) -> Option<(IndexId, IndexId, u64)> {
    Some((
        index_id_of(file.smallest.user_key())?,
        index_id_of(file.largest.user_key())?,
        file.id,
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::compaction::touches_dropped;
    use crate::types::{InternalKeyBuf, ValueKind, encode_trailer};

    fn key(index: IndexId, seq: u64) -> InternalKeyBuf {
        let mut key = InternalKeyBuf::default();
        key.set(&index.to_be_bytes(), encode_trailer(seq, ValueKind::Put));
        key
    }

    fn file(id: u64, first: IndexId, last: IndexId) -> Arc<FileMeta> {
        Arc::new(FileMeta {
            id,
            size: 1,
            smallest: key(first, 9),
            largest: key(last, 1),
            smallest_seq: 1,
            largest_seq: 9,
            entries: 2,
            deletions: 0,
            raw_bytes: 1,
            file_seq: None,
            tail: None,
        })
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_a_look_at_every_file_finds(
            files in prop::collection::vec((0..LEVELS, 1u64..40, 0u32..60, 0u32..20), 0..30),
            dropped in prop::collection::btree_map(0u32..70, 1u64..40, 0..30),
        ) {
            let mut version = Version::default();
            for (level, id, first, more) in files {
                version.levels[level].push(file(id, first, first + more));
            }
            let slow: Vec<IndexId> = dropped
                .iter()
                .filter(|&(&index, &boundary)| {
                    let only = BTreeMap::from([(index, boundary)]);
                    !version.files().any(|(_, file)| touches_dropped(file, &only))
                })
                .map(|(&index, _)| index)
                .collect();
            prop_assert_eq!(in_no_file(dropped.iter(), &version), slow);
        }
    }
}
