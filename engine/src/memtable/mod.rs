//! The memtable: the newest committed versions, in memory, sorted.
//!
//! A memtable takes the writes of the commit groups that were assigned to it, from several threads at once. Once it is full it becomes
//! immutable: no group is assigned any more, and as soon as the assigned ones have written ([`MemTable::is_quiet`]) its contents never
//! change. It is dropped after a manifest edit has put its contents into SSTs; the WAL is kept until then.

mod arena;
mod skiplist;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use skiplist::{InsertHint, NodeRef, SkipList};

use crate::Result;
use crate::iter::InternalIterator;
use crate::types::{KeyRef, SeqNo, ValueKind, user_key_of};

/// A memtable's arena grows by chunks of this fraction of the memtable's size, so that it never takes much more than it may.
const CHUNK_FRACTION: u64 = 16;
const MIN_CHUNK: u64 = 4 << 10;
const MAX_CHUNK: u64 = 1 << 20;

/// One memtable.
pub struct MemTable {
    list: SkipList,
    id: u64,
    wal_start: AtomicU64,
    wal_end: AtomicU64,
    entries: AtomicU64,
    raw_bytes: AtomicU64,
    writers: AtomicUsize,
}

impl MemTable {
    /// An empty one that is to grow to `size` bytes. `wal_start` is the WAL position of the first record that may be written to it.
    pub fn new(id: u64, wal_start: u64, size: u64) -> Self {
        let chunk = (size / CHUNK_FRACTION).clamp(MIN_CHUNK, MAX_CHUNK) as usize;
        Self {
            list: SkipList::with_max_chunk(chunk, chunk),
            id,
            wal_start: AtomicU64::new(wal_start),
            wal_end: AtomicU64::new(wal_start),
            entries: AtomicU64::new(0),
            raw_bytes: AtomicU64::new(0),
            writers: AtomicUsize::new(0),
        }
    }

    /// Tells memtables of one engine apart; a younger one has a greater id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The WAL position from which its records begin.
    pub fn wal_start(&self) -> u64 {
        self.wal_start.load(Ordering::Acquire)
    }

    /// Lowers [`MemTable::wal_start`]: what it holds comes in part from an older record.
    pub fn keep_log_from(&self, position: u64) {
        self.wal_start.fetch_min(position, Ordering::AcqRel);
    }

    /// The WAL position after the last record assigned to it.
    pub fn wal_end(&self) -> u64 {
        self.wal_end.load(Ordering::Acquire)
    }

    /// Announces a writer whose WAL record ends at `wal_end`; it calls [`MemTable::finish_write`] when done.
    pub fn begin_write(&self, wal_end: u64) {
        self.writers.fetch_add(1, Ordering::AcqRel);
        self.wal_end.fetch_max(wal_end, Ordering::AcqRel);
    }

    /// Ends what [`MemTable::begin_write`] began; `entries` and `raw_bytes` (keys and values) were added.
    pub fn finish_write(&self, entries: u64, raw_bytes: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether no announced writer is still writing.
    pub fn is_quiet(&self) -> bool {
        self.writers.load(Ordering::Acquire) == 0
    }

    /// Adds a version. Versions are unique: a commit writes a key at most once.
    pub fn insert(
        &self,
        user_key: &[u8],
        seq: SeqNo,
        kind: ValueKind,
        value: &[u8],
        hint: &mut InsertHint,
    ) {
        let key = KeyRef {
            user: user_key,
            trailer: crate::types::encode_trailer(seq, kind),
        };
        self.list.insert(key, value, hint);
    }

    /// An iterator that stands on the newest version of `user_key` that `snapshot` sees.
    pub fn find(self: &Arc<Self>, user_key: &[u8], snapshot: SeqNo) -> Option<MemIter> {
        let position = self.list.at_or_after(KeyRef::at(user_key, snapshot));
        let (key, _) = position.entry(&self.list);
        (position.valid() && user_key_of(key) == user_key).then(|| MemIter {
            owner: Owner::Table(self.clone()),
            position,
        })
    }

    /// Bytes it takes from the system.
    pub fn allocated(&self) -> usize {
        self.list.allocated()
    }

    /// Number of versions in it.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes of keys and values in it.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing was written to it.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many versions lie between two keys, estimated.
    pub fn estimate_between(&self, lower: KeyRef<'_>, upper: KeyRef<'_>) -> u64 {
        self.list.estimate_between(lower, upper)
    }

    /// Whether nothing was written to it and nobody is about to. It stays so until a writer is announced.
    pub fn is_unused(&self) -> bool {
        // In this order: who was still writing has written by then.
        self.is_quiet() && self.is_empty()
    }

    /// An iterator that keeps the memtable alive.
    pub fn iter(self: &Arc<Self>) -> MemIter {
        MemIter {
            owner: Owner::Table(self.clone()),
            position: skiplist::Position::END,
        }
    }
}

enum Owner {
    Table(Arc<MemTable>),
    List(Arc<SkipList>),
}

/// An iterator over a memtable, or over any skip list.
pub struct MemIter {
    owner: Owner,
    position: skiplist::Position,
}

impl MemIter {
    /// Over a list that is not a memtable's, such as a transaction's batch.
    pub fn over(list: Arc<SkipList>) -> Self {
        Self {
            owner: Owner::List(list),
            position: skiplist::Position::END,
        }
    }

    /// One that stands on the newest live entry of `user_key` in such a list, if there is one.
    pub fn find_in(list: &Arc<SkipList>, user_key: &[u8]) -> Option<Self> {
        let position = list.at_or_after(KeyRef::before(user_key));
        let (key, _) = position.entry(list);
        (position.valid() && user_key_of(key) == user_key).then(|| Self {
            owner: Owner::List(list.clone()),
            position,
        })
    }

    /// Whether it stands on an entry that was killed since it came there.
    pub fn is_dead(&self) -> bool {
        self.position.is_dead()
    }

    fn list(&self) -> &SkipList {
        match &self.owner {
            Owner::Table(table) => &table.list,
            Owner::List(list) => list,
        }
    }
}

impl InternalIterator for MemIter {
    fn valid(&self) -> bool {
        self.position.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.position = self.list().first();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.position = self.list().last();
        Ok(())
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.position = self.list().at_or_after(target);
        Ok(())
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.position = self.list().at_or_before(target);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.position = self.list().after(self.position);
        Ok(())
    }

    fn next_key(&mut self) -> Result<()> {
        self.position = self.list().after_key(self.position);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.position = self.list().before(self.position);
        Ok(())
    }

    fn key(&self) -> &[u8] {
        self.position.entry(self.list()).0
    }

    fn value(&self) -> &[u8] {
        self.position.entry(self.list()).1
    }
}
