//! Index ids, counters, and work that someone asks for: flush and compaction.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::counters::{Raise, decode_value};
use super::cursor::Cursor;
use crate::iter::InternalIterator;
use crate::manifest::{LEVELS, VersionEdit};
use crate::types::{DICTIONARY_INDEX, IndexId, KeyRef, index_id_of};
use crate::{Error, ErrorKind, Result, ResultExt};

/// Index ids that are reserved by one manifest edit.
const INDEX_STEP: u32 = 256;

/// How long to wait for a notification before looking again all the same.
const WAIT: Duration = Duration::from_millis(20);

impl Core {
    /// The committed value of a counter.
    pub fn counter(&self, key: &[u8]) -> Result<u64> {
        loop {
            let gone = match self.counters.get(key) {
                Ok(value) => return Ok(value),
                Err(gone) => gone,
            };
            let read = self.read_counter(key)?;
            let visible = self.snapshots.visible();
            if let Some(value) = self.counters.learn(key, read, gone, visible) {
                return Ok(value);
            }
        }
    }

    fn read_counter(&self, key: &[u8]) -> Result<u64> {
        match self.get_newest(key)?.1 {
            None => Ok(0),
            Some(row) => decode_value(&row),
        }
    }

    /// The intent to raise a counter to `value`, if it is less.
    pub fn raise(&self, key: &[u8], value: u64) -> Result<Option<Raise>> {
        loop {
            self.counter(key)?;
            // Or it went since.
            if let Some(raise) = self.counters.raise(key, value) {
                return Ok(raise);
            }
        }
    }

    /// Reserves `count` index ids and returns the first.
    pub fn allocate_indexes(&self, count: u32) -> Result<IndexId> {
        let patience = self.store_wait();
        let Some(mut manifest) = self.manifest.try_lock_for(patience) else {
            self.manifest_failing.check()?;
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the manifest is being written since {patience:?}"),
            ));
        };
        let first = self.ids.next_index.load(Ordering::Relaxed);
        let after = first
            .checked_add(count)
            .filter(|&after| after < u32::MAX - INDEX_STEP);
        let Some(after) = after else {
            return Err(Error::new(ErrorKind::Internal, "index ids are used up"));
        };
        if after > self.ids.index_ceiling.load(Ordering::Relaxed) {
            let ceiling = after + INDEX_STEP;
            let edit = VersionEdit {
                index_ceiling: Some(ceiling),
                ..VersionEdit::default()
            };
            // That it took effect all the same would harm nobody.
            self.install_within(&mut manifest, edit, &[], Some(patience))?;
            self.ids.index_ceiling.store(ceiling, Ordering::Relaxed);
        }
        self.ids.next_index.store(after, Ordering::Relaxed);
        Ok(first)
    }

    /// Drops every index that holds data and is not in `named`; returns which.
    pub fn retain_indexes(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        let garbage = self.not_in(named)?;
        self.drop_indexes(&garbage)?;
        Ok(garbage)
    }

    /// The indexes that hold keys, were not dropped, and are not in `named`.
    pub fn unnamed_indexes(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        let guard = Arc::new(self.snapshots.take());
        let mut found = Vec::new();
        for index in self.not_in(named)? {
            let (lower, upper) = (index.to_be_bytes(), index.saturating_add(1).to_be_bytes());
            let mut cursor = Cursor::new(self, guard.clone(), None, &lower, &upper)?;
            cursor.seek_to_first()?;
            if cursor.valid() {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// The indexes that may hold data, were not dropped, and are not in `named`.
    fn not_in(&self, named: &[IndexId]) -> Result<Vec<IndexId>> {
        let named: HashSet<IndexId> = named.iter().copied().chain([DICTIONARY_INDEX]).collect();
        let ceiling = self.ids.next_index.load(Ordering::Relaxed);
        let mut present = BTreeSet::new();
        // In this order: a drop that is published in between is in the second.
        let waiting = self.drops.waiting();
        let state = self.state.load_full();
        for table in state.memtables() {
            let mut position = table.iter();
            position.seek_to_first()?;
            while position.valid() {
                let Some(index) = index_id_of(position.key()) else {
                    break;
                };
                present.insert(index);
                let Some(next) = index.checked_add(1) else {
                    break;
                };
                position.seek(KeyRef::before(&next.to_be_bytes()))?;
            }
        }
        for level in 0..LEVELS {
            for file in state.files.version.level(level) {
                let first = index_id_of(file.smallest.user_key());
                let last = index_id_of(file.largest.user_key());
                if let (Some(first), Some(last)) = (first, last) {
                    present.extend(first..=last.min(ceiling.saturating_sub(1)));
                }
            }
        }
        let dropped = &state.files.version.dropped_indexes;
        Ok(present
            .into_iter()
            .filter(|index| {
                let known = dropped.contains_key(index) || waiting.contains(index);
                *index < ceiling && !named.contains(index) && !known
            })
            .collect())
    }

    /// Writes all memtables to files and waits for it. Fails as soon as an attempt fails.
    pub fn flush(&self) -> Result<()> {
        let guard = self.write_lock.lock();
        self.rotate_locked();
        drop(guard);
        let newest = self.state.load().mem.id();
        self.flush_failing.clear();
        self.signal.notify();
        loop {
            let seen = self.signal.now();
            let state = self.state.load();
            if state.immutable.iter().all(|table| table.id() >= newest) {
                return Ok(());
            }
            drop(state);
            self.check_open()?;
            self.pipeline.check()?;
            self.flush_failing
                .check()
                .and_then(|()| self.manifest_failing.check())
                .context(|| "flush")?;
            let paused = self.tunables.pause_background_work.load(Ordering::Relaxed);
            if !(paused || self.options.manual) || !self.flush_once()? {
                self.pause(seen, WAIT);
            }
        }
    }

    /// Flushes, then compacts everything to the bottom level, and waits for it. Fails as soon as an attempt fails.
    pub fn compact(&self) -> Result<()> {
        // Nothing of what was dropped before is to be left.
        self.publish_drops()?;
        self.flush()?;
        self.compacting.lock().everything += 1;
        self.compaction_failing.clear();
        self.signal.notify();
        let result = self.wait_for_compaction();
        self.compacting.lock().everything -= 1;
        result
    }

    fn wait_for_compaction(&self) -> Result<()> {
        loop {
            let seen = self.signal.now();
            self.check_open()?;
            if self.tunables.pause_background_work.load(Ordering::Relaxed) {
                return Err(Error::invalid(
                    "background work is paused: compaction would never end",
                ));
            }
            if self.compaction_is_done().context(|| "compact")? {
                return Ok(());
            }
            if !self.options.manual || !self.work()? {
                self.pause(seen, WAIT);
            }
        }
    }
}
