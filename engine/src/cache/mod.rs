//! The block cache: uncompressed blocks of all SSTs, shared by all readers, within a number of bytes. ([`disk`] is the other cache: stored bytes, on a disk.)
//!
//! It is sharded by block; a hit takes a shard's lock for reading and marks the block as used, no more. What is kept is decided by a
//! CLOCK-PRO variant (crate `quick_cache`), so a long scan does not push out blocks that are asked for again and again. Concurrent
//! misses of one block load it once. A block is charged its uncompressed length and [`ENTRY_OVERHEAD`].

pub mod disk;
mod files;

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};

use self::files::{FileBlocks, StrikeEvicted};
use crate::Result;
use crate::format::block::Block;
use crate::format::filter::FilterBlock;

/// What a block is for; statistics are kept by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Entries of a file.
    Data = 0,
    /// A partition of a file's index.
    Index = 1,
    /// A file's filter.
    Filter = 2,
}

const KINDS: usize = 3;

/// What a cached block takes beyond its bytes: its handles, and its place in the cache's tables.
pub const ENTRY_OVERHEAD: u64 = 256;

/// Bytes of capacity that a shard should have at least, so that the largest usual blocks (filters) fit many times.
const SHARD_BYTES: u64 = 8 << 20;
const MAX_SHARDS: u64 = 64;

/// Used to size the cache's tables; blocks are usually near this.
const USUAL_BLOCK_BYTES: u64 = 16 << 10;

/// A block in the cache.
#[derive(Clone, Debug)]
pub enum CachedBlock {
    /// Data or index.
    Entries(Arc<Block>),
    /// Filter.
    Filter(Arc<FilterBlock>),
}

impl CachedBlock {
    fn charge(&self) -> u64 {
        let bytes = match self {
            Self::Entries(block) => block.data().len(),
            Self::Filter(filter) => filter.data().len(),
        };
        bytes as u64 + ENTRY_OVERHEAD
    }
}

/// Which block: file and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockKey {
    /// The file's id, unique among the files that use this cache.
    pub file_id: u64,
    /// The block's offset in it.
    pub offset: u64,
}

impl Hash for BlockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.file_id);
        state.write_u64(self.offset);
    }
}

/// Hashes [`BlockKey`]s: two multiplications, enough for numbers that no adversary chooses.
#[derive(Clone, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28db);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Default)]
struct BuildKeyHasher;

impl BuildHasher for BuildKeyHasher {
    type Hasher = KeyHasher;
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher::default()
    }
}

#[derive(Clone)]
struct ByCharge;

impl Weighter<BlockKey, CachedBlock> for ByCharge {
    fn weight(&self, _: &BlockKey, block: &CachedBlock) -> u64 {
        block.charge()
    }
}

/// Counters are spread over cache lines, so that cores do not fight over them.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    hits: [AtomicU64; KINDS],
    misses: [AtomicU64; KINDS],
}

const STRIPES: usize = 16;

/// Hits and misses of one kind of block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Lookups that found the block.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

/// A cache's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Data blocks.
    pub data: KindStats,
    /// Index partitions.
    pub index: KindStats,
    /// Filters.
    pub filter: KindStats,
    /// Bytes charged now.
    pub usage: u64,
    /// Bytes allowed.
    pub capacity: u64,
    /// Number of blocks.
    pub blocks: u64,
}

/// A cache of blocks. See the module's description.
pub struct BlockCache {
    cache: Cache<BlockKey, CachedBlock, ByCharge, BuildKeyHasher, StrikeEvicted>,
    files: Arc<FileBlocks>,
    counters: [Counters; STRIPES],
}

impl BlockCache {
    /// A cache of `capacity` bytes. With 0 nothing is kept.
    pub fn new(capacity: u64) -> Self {
        let shards = (capacity / SHARD_BYTES).clamp(1, MAX_SHARDS);
        let blocks = usize::try_from(capacity / USUAL_BLOCK_BYTES).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .shards(shards as usize)
            .estimated_items_capacity(blocks.max(32 * shards as usize))
            .weight_capacity(capacity);
        let files = Arc::<FileBlocks>::default();
        let strike = StrikeEvicted(files.clone());
        let cache = match options.build() {
            Ok(options) => Cache::with_options(options, ByCharge, BuildKeyHasher, strike),
            // All that it asks for is set above.
            Err(_) => Cache::with(blocks, capacity, ByCharge, BuildKeyHasher, strike),
        };
        Self {
            cache,
            files,
            counters: Default::default(),
        }
    }

    /// The block if it is in the cache.
    #[inline]
    pub fn get(&self, key: BlockKey, kind: BlockKind) -> Option<CachedBlock> {
        let found = self.cache.get(&key);
        let stripe = (key.offset >> 12 ^ key.file_id) as usize % STRIPES;
        let counters = &self.counters[stripe];
        let counter = match found {
            Some(_) => &counters.hits[kind as usize],
            None => &counters.misses[kind as usize],
        };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// The block, from the cache or else from `load`, whose result is kept. Of several concurrent callers one loads.
    #[inline]
    pub fn get_or_load(
        &self,
        key: BlockKey,
        kind: BlockKind,
        load: impl FnOnce() -> Result<CachedBlock>,
    ) -> Result<CachedBlock> {
        match self.get(key, kind) {
            Some(found) => Ok(found),
            None => self.load(key, load),
        }
    }

    /// The block, from `load`, whose result is kept, unless another caller has loaded it since [`BlockCache::get`] missed it.
    #[cold]
    pub fn load(
        &self,
        key: BlockKey,
        load: impl FnOnce() -> Result<CachedBlock>,
    ) -> Result<CachedBlock> {
        self.cache.get_or_insert_with(&key, || {
            // While this has the place nobody else does, so that the block is not struck out before it is there.
            self.files.note(key);
            load().inspect_err(|_| self.files.strike(key))
        })
    }

    /// Forgets all blocks of files that are gone, at the cost of what they have in the cache. A block that is being loaded just then may stay until it
    /// is evicted.
    pub fn erase_files(&self, file_ids: &HashSet<u64>) {
        for key in file_ids.iter().flat_map(|&id| self.files.take(id)) {
            self.cache.remove(&key);
        }
    }

    /// Changes how many bytes are allowed; blocks beyond them are dropped.
    pub fn set_capacity(&self, capacity: u64) {
        self.cache.set_capacity(capacity);
    }

    /// The counters now.
    pub fn stats(&self) -> CacheStats {
        let kind = |kind: BlockKind| {
            let sum = |pick: fn(&Counters) -> &[AtomicU64; KINDS]| {
                self.counters
                    .iter()
                    .map(|counters| pick(counters)[kind as usize].load(Relaxed))
                    .sum()
            };
            KindStats {
                hits: sum(|counters| &counters.hits),
                misses: sum(|counters| &counters.misses),
            }
        };
        CacheStats {
            data: kind(BlockKind::Data),
            index: kind(BlockKind::Index),
            filter: kind(BlockKind::Filter),
            usage: self.cache.weight(),
            capacity: self.cache.capacity(),
            blocks: self.cache.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
