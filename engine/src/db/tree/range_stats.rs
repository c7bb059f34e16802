//! How much a range of keys holds, estimated from the memtables and the files' indexes.
//!
//! A file that lies in the range needs no look. Of one that reaches over an end of the range the index says which share lies inside; in a distant store
//! that may have to be fetched. Statements are planned by these numbers, so it is fetched, but nobody waits long for it: after [`PATIENCE`], or where the
//! store fails, the file's entries are taken to be spread evenly over its indexes. So a listing of tables gets an answer while the store hangs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Tree;
use super::state::LiveFile;
use crate::types::{KeyRef, index_id_of};
use crate::{ErrorKind, Result};

/// How long one estimate waits for the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long, after one had to wait in vain, the next ones do not wait at all.
const HURRY: Duration = Duration::from_secs(10);

/// How soon to ask again for a thread to wait for the store.
const SOON: Duration = Duration::from_millis(2);

/// How much a range of keys holds, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeStats {
    /// Entries, old versions included.
    pub entries: u64,
    /// Bytes on disk, and in memory for what is not flushed.
    pub bytes: u64,
}

/// A range of keys, as it is asked for in a file.
#[derive(Clone, Copy)]
struct Ends<'a> {
    from: &'a [u8],
    to: &'a [u8],
}

impl Tree {
    /// Estimates what [lower, upper) holds.
    pub fn range_stats(&self, lower: &[u8], upper: &[u8]) -> Result<RangeStats> {
        let mut total = RangeStats::default();
        if lower >= upper {
            return Ok(total);
        }
        let state = self.state.load_full();
        let (from, to) = (KeyRef::before(lower), KeyRef::before(upper));
        for table in state.memtables() {
            let entries = table.estimate_between(from, to);
            total.entries += entries;
            let all = table.entries().max(1);
            total.bytes +=
                (u128::from(table.raw_bytes()) * u128::from(entries) / u128::from(all)) as u64;
        }
        let ends = Ends {
            from: lower,
            to: upper,
        };
        let mut patience = self.patience();
        let levels = state.files.levels.iter().flatten();
        for file in levels.filter(|file| file.overlaps(lower, upper)) {
            let share = self.share_between(file, ends, &mut patience)?;
            let live = file.meta.entries.saturating_sub(2 * file.meta.deletions);
            total.entries += (live as f64 * share).round() as u64;
            total.bytes += (file.meta.size as f64 * share).round() as u64;
        }
        Ok(total)
    }

    fn patience(&self) -> Duration {
        let until = Duration::from_millis(self.hurried_until.load(Ordering::Relaxed));
        match self.health.clock.now() < until {
            true => Duration::ZERO,
            false => PATIENCE,
        }
    }

    /// Which share of a file's bytes lies between the ends.
    fn share_between(
        &self,
        file: &Arc<LiveFile>,
        ends: Ends<'_>,
        patience: &mut Duration,
    ) -> Result<f64> {
        if !ends.begins_in(file) && !ends.ends_in(file) {
            return Ok(1.0);
        }
        if let Some(share) = ends.cached_share(file)? {
            return Ok(share);
        }
        let Some(prefetcher) = file.prefetcher() else {
            return ends.share(file);
        };
        let begun = self.health.clock.now();
        let left = || patience.saturating_sub(self.health.clock.now().saturating_sub(begun));
        let pending = loop {
            let (own, from, to) = (file.clone(), ends.from.to_vec(), ends.to.to_vec());
            let look = move || {
                let ends = Ends {
                    from: &from,
                    to: &to,
                };
                ends.share(&own)
            };
            match prefetcher.run(look) {
                // All its threads are busy.
                None if !left().is_zero() => self.health.clock.sleep(SOON),
                pending => break pending,
            }
        };
        let found = pending.and_then(|pending| pending.wait_for(left()));
        *patience = left();
        match found {
            Some(Err(error)) if error.kind() != ErrorKind::Unavailable => Err(error),
            Some(Ok(share)) => Ok(share),
            Some(Err(_)) | None => {
                if patience.is_zero() {
                    let until = self.health.clock.now().saturating_add(HURRY);
                    self.hurried_until
                        .store(until.as_millis() as u64, Ordering::Relaxed);
                }
                Ok(ends.even_share(file))
            }
        }
    }
}

impl Ends<'_> {
    fn begins_in(&self, file: &LiveFile) -> bool {
        file.meta.smallest.user_key() < self.from
    }

    fn ends_in(&self, file: &LiveFile) -> bool {
        self.to <= file.meta.largest.user_key()
    }

    /// The share by the file's index, which is read where it has to be.
    fn share(&self, file: &LiveFile) -> Result<f64> {
        let reader = file.reader()?;
        let offset = |key: &[u8]| reader.approximate_offset(KeyRef::before(key)).map(Some);
        let share = self.share_by(file, offset)?;
        Ok(share.unwrap_or_else(|| self.even_share(file)))
    }

    /// The same if the file is open and what has to be read is in the cache.
    fn cached_share(&self, file: &LiveFile) -> Result<Option<f64>> {
        let Some(reader) = file.open_reader() else {
            return Ok(None);
        };
        self.share_by(file, |key| reader.cached_offset(KeyRef::before(key)))
    }

    fn share_by(
        &self,
        file: &LiveFile,
        offset: impl Fn(&[u8]) -> Result<Option<u64>>,
    ) -> Result<Option<f64>> {
        let start = match self.begins_in(file) {
            true => offset(self.from)?,
            false => Some(0),
        };
        let end = match self.ends_in(file) {
            true => offset(self.to)?,
            false => Some(file.meta.size),
        };
        let size = file.meta.size.max(1) as f64;
        let share = start.zip(end);
        Ok(share.map(|(start, end)| end.saturating_sub(start) as f64 / size))
    }

    /// The share if each index that the file reaches over had as much in it, and a range within one index half of that.
    fn even_share(&self, file: &LiveFile) -> f64 {
        let ids = |key: &[u8]| index_id_of(key).map_or(0.0, f64::from);
        let first = ids(file.meta.smallest.user_key());
        let last = ids(file.meta.largest.user_key());
        let from = ids(self.from).clamp(first, last);
        let to = ids(self.to).clamp(first, last + 1.0);
        (to - from).max(0.5) / (last - first + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockCache;
    use crate::db::tree::state::FileContext;
    use crate::manifest::FileMeta;
    use crate::object_store::MemoryStore;
    use crate::types::{IndexId, InternalKeyBuf, ValueKind};

    fn key(index: IndexId, number: u32) -> Vec<u8> {
        [index.to_be_bytes(), number.to_be_bytes()].concat()
    }

    #[test]
    fn without_its_index_a_file_is_taken_to_be_even() {
        let meta = FileMeta {
            id: 1,
            size: 1000,
            smallest: InternalKeyBuf::new(&key(3, 5), 1, ValueKind::Put),
            largest: InternalKeyBuf::new(&key(6, 5), 1, ValueKind::Put),
            smallest_seq: 1,
            largest_seq: 1,
            entries: 100,
            deletions: 0,
            raw_bytes: 1000,
            file_seq: None,
            tail: None,
        };
        let context = FileContext {
            store: Arc::new(MemoryStore::new()),
            cache: Arc::new(BlockCache::new(0)),
            prefetcher: None,
            obsolete: crossbeam_channel::unbounded().0,
        };
        let file = LiveFile::new(Arc::new(meta), Arc::new(context));
        for (from, to, share) in [
            (key(3, 0), key(4, 0), 0.25),
            (key(4, 0), key(6, 0), 0.5),
            (key(6, 0), key(7, 0), 0.25),
            (key(5, 1), key(5, 2), 0.125),
            (key(0, 0), key(5, 0), 0.5),
            (key(4, 0), key(99, 0), 0.75),
        ] {
            let ends = Ends {
                from: &from,
                to: &to,
            };
            assert_eq!(ends.even_share(&file), share, "{from:?} {to:?}");
        }
    }
}
