//! One sorted run of a transaction's writes, and an iterator over those that are not rolled back.
//!
//! A run holds own sequence numbers `first` to `last`, and every later run of the transaction greater ones. So a rollback to a savepoint drops whole
//! runs, and declares the end of at most one more dead: everything beyond a sequence number, which is all that has to be remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FileReader, FileWriter, SpillSpace};
use crate::env::fs::FsFile;
use crate::iter::{InternalIterator, LevelFiles, LevelIter};
use crate::sst::{Compression, Found, IterOptions, SstBuilder, SstIter, SstOptions, SstReader};
use crate::types::{IndexId, KeyRef, MAX_SEQ, SeqNo, index_id_of, trailer_of, user_key_of};
use crate::{Result, ResultExt};

/// Bytes at which a run's file is cut, at the least.
const LEAST_CUT: u64 = 1 << 20;

/// A run, open for reading by any thread.
pub struct Run {
    /// Its files, one after the other. No user key is in two of them.
    files: Arc<[Arc<SstReader>]>,
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
        // A filter is built in memory: files are kept small, so that it stays small beside what the transaction may take.
        let cut = space.memory().max(LEAST_CUT);
        let mut files = Vec::new();
        let mut current: Option<RunFile> = None;
        let mut ranges: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut last = Vec::new();
        while entries.valid() {
            let user_key = user_key_of(entries.key());
            let new_key = ranges.is_empty() || user_key != last.as_slice();
            if new_key {
                if ranges.is_empty() || index_id_of(user_key) != index_id_of(&last) {
                    if let Some((_, largest)) = ranges.last_mut() {
                        largest.clone_from(&last);
                    }
                    ranges.push((user_key.to_vec(), Vec::new()));
                }
                last.clear();
                last.extend_from_slice(user_key);
                if let Some(full) = current.take_if(|file| file.builder.estimated_size() >= cut) {
                    files.push(full.finish(space)?);
                }
            }
            let file = match &mut current {
                Some(file) => file,
                none => none.insert(RunFile::create(space)?),
            };
            file.builder.add(entries.key(), entries.value())?;
            entries.next()?;
        }
        if let Some((_, largest)) = ranges.last_mut() {
            *largest = last;
        }
        if let Some(file) = current {
            files.push(file.finish(space)?);
        }
        space.stats.runs.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Self {
            files: files.into(),
            newest: AtomicU64::new(MAX_SEQ),
            tier,
            ranges,
        }))
    }

    /// Ids of its files in the cache.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(|file| file.file_id())
    }

    /// How often its entries were merged.
    pub fn tier(&self) -> u8 {
        self.tier
    }

    /// The least sequence number in it.
    pub fn first(&self) -> SeqNo {
        let seqs = self.files.iter().map(|file| file.properties().smallest_seq);
        seqs.min().unwrap_or(MAX_SEQ)
    }

    /// Writes in it, also those that were rolled back since.
    pub fn entries(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.properties().entries)
            .sum()
    }

    /// Bytes of memory that it takes beside the cache.
    pub fn memory(&self) -> usize {
        self.files.iter().map(|file| file.memory()).sum()
    }

    /// The indexes that it holds writes of.
    pub fn indexes(&self) -> impl Iterator<Item = IndexId> {
        self.ranges
            .iter()
            .filter_map(|(smallest, _)| index_id_of(smallest))
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

    /// Keys of it before and behind [lower, upper), with nothing of it between them, as far as that is known without reading; none if it
    /// may have keys in the range.
    pub fn outside(&self, lower: &[u8], upper: &[u8]) -> Option<(Option<&[u8]>, Option<&[u8]>)> {
        let after = self
            .ranges
            .partition_point(|(_, largest)| largest.as_slice() < lower);
        let behind = self.ranges.get(after).map(|range| range.0.as_slice());
        if behind.is_some_and(|behind| behind < upper) {
            return None;
        }
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        Some((before.map(|range| range.1.as_slice()), behind))
    }

    /// The newest write of a key that is not rolled back; `hash` is [`crate::sst::key_hash`] of the key.
    pub fn get(&self, user_key: &[u8], hash: u64) -> Result<Option<Found>> {
        let newest = self.newest.load(Ordering::Acquire);
        let at = self
            .files
            .partition_point(|file| file.properties().largest.user_key() < user_key);
        match self.files.get(at) {
            Some(file) => file.get(user_key, hash, newest),
            None => Ok(None),
        }
    }

    /// An iterator over what is not rolled back.
    pub fn iter(self: &Arc<Self>, options: IterOptions) -> RunIter {
        let files = self.files.clone();
        RunIter {
            entries: LevelIter::new(Files { files, options }),
            run: self.clone(),
        }
    }
}

/// A file of a run being written.
struct RunFile {
    id: u64,
    file: Arc<dyn FsFile>,
    builder: SstBuilder,
}

impl RunFile {
    fn create(space: &SpillSpace) -> Result<Self> {
        let (id, file) = space.create()?;
        let writer = FileWriter {
            file: file.clone(),
            end: 0,
        };
        let options = SstOptions {
            compression: Compression::Lz4,
            ..SstOptions::default()
        };
        let builder = SstBuilder::new(Box::new(writer), options);
        Ok(Self { id, file, builder })
    }

    fn finish(self, space: &SpillSpace) -> Result<Arc<SstReader>> {
        let size = self.builder.finish()?.size;
        space.stats.bytes.fetch_add(size, Ordering::Relaxed);
        let file = Arc::new(FileReader(self.file));
        SstReader::open(file, self.id, size, space.cache.clone()).map(Arc::new)
    }
}

/// A run's files as [`LevelIter`] wants them.
struct Files {
    files: Arc<[Arc<SstReader>]>,
    options: IterOptions,
}

impl LevelFiles for Files {
    type Iter = SstIter;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn smallest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].properties().smallest.as_ref()
    }

    fn largest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].properties().largest.as_ref()
    }

    fn open(&self, i: usize) -> Result<SstIter> {
        Ok(self.files[i].iter(self.options))
    }
}

/// A cursor over a run, past what is rolled back.
pub struct RunIter {
    entries: LevelIter<Files>,
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
