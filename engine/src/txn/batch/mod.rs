//! A transaction's own writes, in key order, before they are committed.
//!
//! Every write is an entry of a skip list with a sequence number from [`OWN_WRITE_SEQ`] up, so that the transaction's readers merge
//! it with committed data as the newest versions. A later write of the same key is a further, newer entry. Rolling back to a
//! savepoint kills the entries written since; what they covered shows again. At commit the newest live entry of each key is encoded.
//!
//! A list that has grown beyond the transaction's memory is written as a sorted run ([`crate::txn::spill`]), and an empty one takes its place:
//! so a batch is a list and any number of runs, each newer than the ones before. Once there are `FAN_IN` runs of a size, they are
//! merged into one, which keeps their number, and with it open files and the cost of a lookup, logarithmic. All live versions stay in
//! runs, since a rollback may uncover them. Memory: the list, up to the transaction's memory; as much again for as long as an idle cursor
//! looks at a list that was spilled; and for each run its top index, a few bytes for each MiB.

mod own_iter;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use own_iter::OwnIter;
pub use view::{BatchView, Nearby};

use super::record::OpWriter;
use super::spill::{Run, SpillSpace};
use crate::iter::{InternalIterator, MergingIterator};
use crate::memtable::{InsertHint, MemIter, NodeRef, SkipList};
use crate::sst::{Found, IterOptions, key_hash};
use crate::types::{IndexId, KeyRef, OWN_WRITE_SEQ, SeqNo, ValueKind, encode_trailer, index_id_of};
use crate::{Error, Result};

/// First chunk of a batch's arena, in bytes.
const FIRST_CHUNK: usize = 2 << 10;

/// Rows are often written in the order of one of their indexes: each has its own place in the list then.
const HINTS: usize = 4;

/// How many runs of a size are merged into one.
const FAN_IN: usize = 32;

/// Bytes that a merge may read ahead of all its runs together.
const MERGE_READAHEAD: usize = 4 << 20;

/// The writes of one transaction.
pub struct Batch {
    list: Arc<SkipList>,
    /// Live entries of the list, in the order in which they were written.
    written: Vec<NodeRef>,
    next: SeqNo,
    /// Where each index was last written to, several indexes sharing one.
    hints: Box<[InsertHint; HINTS]>,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    /// Writes in the runs.
    spilled: usize,
    /// Bytes of memory that the runs take.
    runs_memory: usize,
    view: Arc<BatchView>,
    space: Arc<SpillSpace>,
}

/// What a transaction last wrote to a key.
pub enum OwnWrite {
    /// An iterator that stands on it.
    Memory(MemIter),
    /// It was spilled.
    Spilled(Found),
}

impl OwnWrite {
    /// Whether the key was set or removed.
    pub fn kind(&self) -> Result<ValueKind> {
        match self {
            Self::Memory(position) => KeyRef::decode(position.key())
                .kind()
                .ok_or_else(|| Error::corruption("own write of an unknown kind")),
            Self::Spilled(found) => Ok(found.kind),
        }
    }
}

impl Batch {
    /// An empty batch, which spills to `space`.
    pub fn new(space: Arc<SpillSpace>) -> Self {
        let list = Arc::new(SkipList::new(FIRST_CHUNK));
        Self {
            view: Arc::new(BatchView::new(list.clone())),
            list,
            written: Vec::new(),
            next: OWN_WRITE_SEQ,
            hints: Box::default(),
            runs: Vec::new(),
            spilled: 0,
            runs_memory: 0,
            space,
        }
    }

    /// What others see of it, now and until [`Batch::clear`].
    pub fn view(&self) -> &Arc<BatchView> {
        &self.view
    }

    /// Sets a key's value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.write(key, ValueKind::Put, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.write(key, ValueKind::Delete, &[]);
    }

    fn write(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) {
        let index = index_id_of(key).unwrap_or_default();
        let hint = &mut self.hints[index as usize % HINTS];
        let key = KeyRef {
            user: key,
            trailer: encode_trailer(self.next, kind),
        };
        self.written.push(self.list.insert(key, value, hint));
        self.next += 1;
    }

    /// What the transaction last wrote to a key, if anything.
    pub fn find(&self, key: &[u8]) -> Result<Option<OwnWrite>> {
        if !self.written.is_empty()
            && let Some(position) = MemIter::find_in(&self.list, key)
        {
            return Ok(Some(OwnWrite::Memory(position)));
        }
        if self.runs.is_empty() {
            return Ok(None);
        }
        let hash = key_hash(key);
        for run in self.runs.iter().rev().filter(|run| run.covers(key)) {
            if let Some(found) = run.get(key, hash)? {
                return Ok(Some(OwnWrite::Spilled(found)));
            }
        }
        Ok(None)
    }

    /// Whether nothing is written, or all of it was rolled back.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.runs.is_empty()
    }

    /// Number of writes that were not rolled back, several of one key counted each; of a run that is rolled back in part, all count.
    pub fn len(&self) -> usize {
        self.written.len() + self.spilled
    }

    /// Bytes of memory it takes.
    pub fn allocated(&self) -> usize {
        self.list_memory() + self.runs_memory
    }

    fn list_memory(&self) -> usize {
        self.list.allocated() + self.written.capacity() * size_of::<NodeRef>()
    }

    /// Replaces the runs from place `kept` on and returns the old ones. The caller then publishes the new state to others.
    fn replace_runs(&mut self, kept: usize, by: Option<Run>) -> Vec<Arc<Run>> {
        let old = self.runs.split_off(kept);
        self.runs.extend(by.map(Arc::new));
        self.spilled = self.runs.iter().map(|run| run.entries() as usize).sum();
        self.runs_memory = self.runs.iter().map(|run| run.memory()).sum();
        old
    }

    /// Whether a part of it lies in runs.
    pub fn is_spilled(&self) -> bool {
        !self.runs.is_empty()
    }

    /// The indexes that its runs hold writes of.
    pub fn spilled_indexes(&self) -> BTreeSet<IndexId> {
        self.runs.iter().flat_map(|run| run.indexes()).collect()
    }

    /// The place to which [`Batch::rollback_to`] can return.
    pub fn savepoint(&self) -> usize {
        (self.next - OWN_WRITE_SEQ) as usize
    }

    /// Undoes every write since `savepoint`.
    pub fn rollback_to(&mut self, savepoint: usize) {
        let from = OWN_WRITE_SEQ + savepoint as u64;
        while let Some(node) = self.written.pop_if(|node| self.list.seq_of(*node) >= from) {
            self.list.kill(node);
        }
        let kept = self.runs.partition_point(|run| run.first() < from);
        if let Some(last) = kept.checked_sub(1).and_then(|last| self.runs.get(last)) {
            last.kill_from(from);
        }
        if kept < self.runs.len() {
            let dropped = self.replace_runs(kept, None);
            for run in &dropped {
                run.kill_from(from);
            }
            self.view.set(Some(&self.list), &self.runs);
            self.space.forget(&dropped);
        }
    }

    /// Spills if it takes more than its memory. After an error it is as it was before.
    #[inline]
    pub fn spill_if_full(&mut self) -> Result<()> {
        if self.list_memory() as u64 <= self.space.memory() || self.list.is_empty() {
            return Ok(());
        }
        self.spill()
    }

    /// Writes the list as a run. After an error it is as it was before.
    #[cold]
    pub fn spill(&mut self) -> Result<()> {
        let mut entries = MemIter::over(self.list.clone());
        let run = Run::write(&self.space, &mut entries, 0)?;
        drop(entries);
        if self.runs.is_empty() && run.is_some() {
            let spilled = &self.space.stats().transactions;
            spilled.fetch_add(1, Ordering::Relaxed);
        }
        self.replace_runs(self.runs.len(), run);
        self.written = Vec::new();
        *self.hints = Default::default();
        self.empty_list();
        self.merge_runs()
    }

    /// Merges the newest runs while there are enough of a size.
    fn merge_runs(&mut self) -> Result<()> {
        while let Some(from) = self.runs.len().checked_sub(FAN_IN) {
            let tier = self.runs[from].tier();
            if self.runs[from..].iter().any(|run| run.tier() != tier) {
                return Ok(());
            }
            let options = IterOptions {
                readahead: MERGE_READAHEAD / FAN_IN,
                ..IterOptions::sequential()
            };
            let all = self.runs[from..].iter().rev();
            let mut merged = MergingIterator::new(all.map(|run| run.iter(options)).collect());
            let run = Run::write(&self.space, &mut merged, tier.saturating_add(1))?;
            let old = self.replace_runs(from, run);
            self.view.set(Some(&self.list), &self.runs);
            self.space.forget(&old);
        }
        Ok(())
    }

    /// Makes the list an empty one, of the same memory if nobody else looks at it, and shows others that and the runs.
    fn empty_list(&mut self) {
        self.view.set(None, &self.runs);
        match Arc::get_mut(&mut self.list) {
            Some(list) => list.clear(),
            // A cursor or a value that was read still looks at it.
            None => self.list = Arc::new(SkipList::new(FIRST_CHUNK)),
        }
        self.view.set(Some(&self.list), &self.runs);
    }

    /// An iterator for reading everything once, which reads ahead at most `readahead` bytes of all runs together.
    pub fn iter_once(&self, readahead: usize) -> OwnIter {
        let options = IterOptions {
            readahead: readahead / self.runs.len().max(1),
            ..IterOptions::sequential()
        };
        OwnIter::new(self.view.clone(), None, options)
    }

    /// Calls `each` with the newest live entry of every key that is in memory, in key order: of all, if the batch is not spilled.
    pub fn for_each_in_memory(&self, mut each: impl FnMut(&[u8], ValueKind, &[u8])) {
        let mut last = None;
        for (encoded, value) in self.list.entries() {
            let key = KeyRef::decode(encoded);
            // Of several entries of one key the newest comes first.
            if last.replace(key.user) == Some(key.user) {
                continue;
            }
            // Every entry was written by `write`, so its kind is known.
            if let Some(kind) = key.kind() {
                each(key.user, kind, value);
            }
        }
    }

    /// Appends its operations to `ops`. Only for a batch that is not spilled.
    pub fn encode(&self, ops: &mut OpWriter) {
        self.for_each_in_memory(|key, kind, value| ops.push(kind, key, value));
    }

    /// Forgets everything, keeping what memory can be kept.
    pub fn clear(&mut self) {
        const KEEP: usize = 1024;
        *self.hints = Default::default();
        self.written.clear();
        self.written.shrink_to(KEEP);
        let runs = self.replace_runs(0, None);
        if !self.list.is_empty() || !runs.is_empty() {
            self.empty_list();
        }
        self.space.forget(&runs);
        self.next = OWN_WRITE_SEQ;
    }
}
