//! The local cache against a plain store: nothing that goes wrong on its disk may show in what is read.

mod behaviour;
mod damage;
mod model;
mod policy;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::env::fs::FaultFs;
use crate::object_store::{FaultStore, MemoryStore, ObjectReader, ObjectStore, Operation};

pub(super) const DIR: &str = "/cache";
/// A cache of this size has 31 slots.
pub(super) const SMALL: u64 = MIN_CACHE_SIZE;

/// Keys are "sst/<number>".
pub(super) fn file_of(key: &str) -> Option<u64> {
    key.strip_prefix("sst/")?.parse().ok()
}

pub(super) fn key_of(file: u64) -> String {
    format!("sst/{file}")
}

/// Bytes that differ from file to file and from place to place.
pub(super) fn content(file: u64, len: usize) -> Vec<u8> {
    let mut state = file.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A store that counts, and a cache before it.
pub(super) struct Rig {
    pub fs: FaultFs,
    pub remote: FaultStore,
    pub cached: CachedStore,
}

impl Rig {
    pub fn new(size: u64) -> Self {
        let remote = FaultStore::new(Arc::new(MemoryStore::new()));
        Self::over(FaultFs::new(), remote, size, 1)
    }

    pub fn over(fs: FaultFs, remote: FaultStore, size: u64, number: u128) -> Self {
        let cache = DiskCache::open(&fs, Path::new(DIR), size, number).unwrap();
        let cached = CachedStore::new(Arc::new(remote.clone()), Arc::new(cache), file_of);
        Self { fs, remote, cached }
    }

    /// The same after the process ended and another began.
    pub fn restart(self, size: u64, number: u128) -> Self {
        let Self { fs, remote, cached } = self;
        drop(cached);
        Self::over(fs, remote, size, number)
    }

    /// Writes an object past the cache.
    pub fn add(&self, file: u64, len: usize) -> Arc<dyn ObjectReader> {
        self.remote.put(&key_of(file), &content(file, len)).unwrap();
        self.reader(file, len)
    }

    pub fn reader(&self, file: u64, len: usize) -> Arc<dyn ObjectReader> {
        self.cached.reader_of(&key_of(file), len as u64).unwrap()
    }

    /// Writes an object through the cache.
    pub fn write(&self, file: u64, len: usize, step: usize) {
        let mut writer = self.cached.writer(&key_of(file)).unwrap();
        for part in content(file, len).chunks(step) {
            writer.append(part).unwrap();
        }
        writer.finish().unwrap();
    }

    pub fn gets(&self) -> u64 {
        self.remote.count(Operation::Read)
    }

    pub fn stats(&self) -> DiskCacheStats {
        self.cached.stats()
    }

    /// Bytes that the cache's files take.
    pub fn used(&self) -> u64 {
        let len = |name| {
            let file = self.fs.open(&Path::new(DIR).join(name), OpenMode::Read);
            file.unwrap().size().unwrap()
        };
        len("index") + len("pieces")
    }
}
