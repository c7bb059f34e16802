//! The local cache of object pieces as the engine uses it: in front of the given store, and only for SSTs.
//!
//! A cache that cannot be opened costs no more than the cache: the engine runs without it, a line in the log and its report say why.

use std::sync::Arc;

use crate::cache::disk::{CachedStore, DiskCache, DiskCacheStats};
use crate::manifest::parse_sst_key;
use crate::object_store::ObjectStore;
use crate::options::Options;

/// What became of the options.
#[derive(Default)]
pub struct PersistentCache {
    store: Option<Arc<CachedStore>>,
    failure: Option<String>,
}

impl PersistentCache {
    /// Puts the cache that `options` ask for before `store`, whose number is `number`.
    pub fn before(
        store: Arc<dyn ObjectStore>,
        number: u128,
        options: &Options,
    ) -> (Self, Arc<dyn ObjectStore>) {
        if options.persistent_cache_size == 0 || options.store.is_none() {
            return (Self::default(), store);
        }
        let dir = options.persistent_cache_dir();
        let size = options.persistent_cache_size;
        match DiskCache::open(&*options.fs, &dir, size, number) {
            Ok(cache) => {
                let cached = CachedStore::new(store, Arc::new(cache), parse_sst_key);
                let cached = Arc::new(cached);
                let opened = Self {
                    store: Some(cached.clone()),
                    failure: None,
                };
                (opened, cached)
            }
            Err(error) => {
                tracing::error!("{error}; the engine runs without it");
                let failed = Self {
                    store: None,
                    failure: Some(error.message().to_owned()),
                };
                (failed, store)
            }
        }
    }

    /// The counters now; `None` if no cache was asked for.
    pub fn stats(&self) -> Option<DiskCacheStats> {
        match (&self.store, &self.failure) {
            (Some(store), _) => Some(store.stats()),
            (None, Some(failure)) => Some(DiskCacheStats {
                off: Some(failure.clone()),
                ..DiskCacheStats::default()
            }),
            (None, None) => None,
        }
    }
}
