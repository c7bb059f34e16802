//! One sorted run of a transaction's writes, and an iterator over what of it is not rolled back.
//!
//! A run holds own sequence numbers `first` to `last`, and every later run of the transaction greater ones. So a rollback to a savepoint drops whole
//! runs, and of at most one more it makes the end dead: everything beyond a sequence number, which is all that has to be remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FileReader, FileWriter, SpillSpace};
use crate::iter::InternalIterator;
use crate::sst::{Compression, Found, IterOptions, SstBuilder, SstIter, SstOptions, SstReader};
use crate::types::{IndexId, KeyRef, MAX_SEQ, SeqNo, index_id_of, trailer_of, user_key_of};
use crate::{Result, ResultExt};

/// A run, open for reading by any thread.
pub struct Run {
    reader: Arc<SstReader>,
    /// The greatest sequence number that is not rolled back.
    newest: AtomicU64,
    /// Runs merged into it, one by one or in steps: 0 for none.
    tier: u8,
    /// The least and the greatest user key of each index in it, ascending. Rows written in key order are in few runs then.
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Run {
    /// Writes all that `entries` yields, which has to ascend, and opens it. `None` if that is nothing.
    pub fn write<I: InternalIterator>(
        space: &SpillSpace,
        entries: &mut I,
        tier: u8,
    ) -> Result<Option<Self>> {
        Self::write_all(space, entries, tier).context(|| {
            format!(
                "write a run of the transaction to {}",
                space.dir().display()
            )
        })
    }

    fn write_all<I: InternalIterator>(
        space: &SpillSpace,
        entries: &mut I,
        tier: u8,
    ) -> Result<Option<Self>> {
        entries.seek_to_first()?;
        if !entries.valid() {
            return Ok(None);
        }
        let (id, file) = space.create()?;
        let writer = FileWriter {
            file: file.clone(),
            end: 0,
        };
        let options = SstOptions {
            compression: Compression::Lz4,
            ..SstOptions::default()
        };
        let mut builder = SstBuilder::new(Box::new(writer), options);
        let mut ranges: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut last = Vec::new();
        while entries.valid() {
            let user_key = user_key_of(entries.key());
            if ranges.is_empty() || index_id_of(user_key) != index_id_of(&last) {
                if let Some((_, largest)) = ranges.last_mut() {
                    largest.clone_from(&last);
                }
                ranges.push((user_key.to_vec(), Vec::new()));
            }
            last.clear();
            last.extend_from_slice(user_key);
            builder.add(entries.key(), entries.value())?;
            entries.next()?;
        }
        if let Some((_, largest)) = ranges.last_mut() {
            *largest = last;
        }
        let size = builder.finish()?.size;
        let file = Arc::new(FileReader(file));
        let reader = SstReader::open(file, id, size, space.cache.clone())?;
        space.stats.runs.fetch_add(1, Ordering::Relaxed);
        space.stats.bytes.fetch_add(size, Ordering::Relaxed);
        Ok(Some(Self {
            reader: Arc::new(reader),
            newest: AtomicU64::new(MAX_SEQ),
            tier,
            ranges,
        }))
    }

    /// Its id in the cache.
    pub fn id(&self) -> u64 {
        self.reader.file_id()
    }

    /// How often its entries were merged.
    pub fn tier(&self) -> u8 {
        self.tier
    }

    /// The least sequence number in it.
    pub fn first(&self) -> SeqNo {
        self.reader.properties().smallest_seq
    }

    /// Writes in it, also those that were rolled back since.
    pub fn entries(&self) -> u64 {
        self.reader.properties().entries
    }

    /// Bytes of memory that it takes beside the cache.
    pub fn memory(&self) -> usize {
        self.reader.memory()
    }

    /// The indexes that it holds writes of.
    pub fn indexes(&self) -> impl Iterator<Item = IndexId> {
        let indexes = self.reader.properties().indexes.iter();
        indexes.map(|stats| stats.index_id)
    }

    /// Rolls back all writes of it from `seq` on.
    pub fn kill_from(&self, seq: SeqNo) {
        let newest = seq.saturating_sub(1);
        self.newest.fetch_min(newest, Ordering::AcqRel);
    }

    /// Whether the write with this sequence number is not rolled back.
    fn is_live(&self, seq: SeqNo) -> bool {
        seq <= self.newest.load(Ordering::Acquire)
    }

    /// Whether its range of user keys of that index includes `user_key`.
    pub fn covers(&self, user_key: &[u8]) -> bool {
        let after = self
            .ranges
            .partition_point(|(_, largest)| largest.as_slice() < user_key);
        let range = self.ranges.get(after);
        range.is_some_and(|(smallest, _)| smallest.as_slice() <= user_key)
    }

    /// Whether its range of user keys of some index meets [lower, upper).
    pub fn overlaps(&self, lower: &[u8], upper: &[u8]) -> bool {
        let after = self
            .ranges
            .partition_point(|(_, largest)| largest.as_slice() < lower);
        let range = self.ranges.get(after);
        range.is_some_and(|(smallest, _)| smallest.as_slice() < upper)
    }

    /// The newest write of a key that is not rolled back; `hash` is [`crate::sst::key_hash`] of the key.
    pub fn get(&self, user_key: &[u8], hash: u64) -> Result<Option<Found>> {
        let newest = self.newest.load(Ordering::Acquire);
        self.reader.get(user_key, hash, newest)
    }

    /// An iterator over what is not rolled back.
    pub fn iter(self: &Arc<Self>, options: IterOptions) -> RunIter {
        RunIter {
            entries: self.reader.iter(options),
            run: self.clone(),
        }
    }
}

/// A cursor over a run, past what is rolled back.
pub struct RunIter {
    entries: SstIter,
    run: Arc<Run>,
}

impl RunIter {
    /// Whether it stands on a write that was rolled back since it came there.
    pub fn is_dead(&self) -> bool {
        self.entries.valid() && !self.stands_on_live()
    }

    fn stands_on_live(&self) -> bool {
        let key = KeyRef {
            user: &[],
            trailer: trailer_of(self.entries.key()),
        };
        self.run.is_live(key.seq())
    }

    fn skip_forward(&mut self) -> Result<()> {
        while self.is_dead() {
            self.entries.next()?;
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<()> {
        while self.is_dead() {
            self.entries.prev()?;
        }
        Ok(())
    }
}

impl InternalIterator for RunIter {
    fn valid(&self) -> bool {
        self.entries.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.entries.seek_to_first()?;
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.entries.seek_to_last()?;
        self.skip_backward()
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.entries.seek(target)?;
        self.skip_forward()
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.entries.seek_for_prev(target)?;
        self.skip_backward()
    }

    fn next(&mut self) -> Result<()> {
        self.entries.next()?;
        self.skip_forward()
    }

    fn prev(&mut self) -> Result<()> {
        self.entries.prev()?;
        self.skip_backward()
    }

    fn key(&self) -> &[u8] {
        self.entries.key()
    }

    fn value(&self) -> &[u8] {
        self.entries.value()
    }
}
