//! Which blocks of each file the cache holds, so that forgetting a file costs what the file has there and not a walk of the whole cache.
//!
//! A block is noted by the caller that holds the cache's place for it and is about to load it, and struck out when the cache evicts it. The cache calls
//! [`Lifecycle`] with a shard of its own locked, so nothing here calls the cache while it holds a lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Lifecycle;

use super::{BlockKey, BuildKeyHasher, CachedBlock};

const SHARDS: usize = 32;

type Offsets = HashSet<u64, BuildKeyHasher>;

/// The offsets of cached blocks, by file.
#[derive(Default)]
pub(super) struct FileBlocks {
    shards: [Shard; SHARDS],
}

/// Apart from its neighbours' cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<u64, Offsets, BuildKeyHasher>>);

impl FileBlocks {
    fn shard(&self, file_id: u64) -> &Mutex<HashMap<u64, Offsets, BuildKeyHasher>> {
        &self.shards[file_id as usize % SHARDS].0
    }

    /// The block is about to come into the cache.
    pub fn note(&self, key: BlockKey) {
        let mut files = self.shard(key.file_id).lock();
        files.entry(key.file_id).or_default().insert(key.offset);
    }

    /// The block is no longer in the cache, or did not get there.
    pub fn strike(&self, key: BlockKey) {
        let mut files = self.shard(key.file_id).lock();
        if let Some(offsets) = files.get_mut(&key.file_id) {
            offsets.remove(&key.offset);
            if offsets.is_empty() {
                files.remove(&key.file_id);
            }
        }
    }

    /// Forgets the file and returns its blocks.
    pub fn take(&self, file_id: u64) -> impl Iterator<Item = BlockKey> {
        let offsets = self.shard(file_id).lock().remove(&file_id);
        let offsets = offsets.into_iter().flatten();
        offsets.map(move |offset| BlockKey { file_id, offset })
    }

    /// How many blocks are noted.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| shard.0.lock().values().map(HashSet::len).sum::<usize>())
            .sum()
    }
}

/// Strikes out what is evicted.
#[derive(Clone)]
pub(super) struct StrikeEvicted(pub Arc<FileBlocks>);

impl Lifecycle<BlockKey, CachedBlock> for StrikeEvicted {
    /// What was evicted is kept until the cache's lock is free again; as a rule one block makes room for one.
    type RequestState = [Option<CachedBlock>; 2];

    fn on_evict(&self, state: &mut Self::RequestState, key: BlockKey, block: CachedBlock) {
        self.0.strike(key);
        if let Some(free) = state.iter_mut().find(|kept| kept.is_none()) {
            *free = Some(block);
        }
    }
}
