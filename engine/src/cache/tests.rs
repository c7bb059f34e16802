use std::sync::Barrier;

use super::*;
use crate::format::block_builder::BlockBuilder;
use crate::types::KeyRef;
use crate::{Error, ErrorKind};

fn block(value_len: usize) -> CachedBlock {
    let mut builder = BlockBuilder::new(16);
    builder.add(KeyRef::at(b"key", 1), &vec![1; value_len]);
    let raw = builder.finish(<[u8]>::to_vec);
    CachedBlock::Entries(Arc::new(Block::parse(raw.into()).unwrap()))
}

fn key(file_id: u64, offset: u64) -> BlockKey {
    BlockKey { file_id, offset }
}

#[test]
fn loads_once_counts_and_erases() {
    let cache = BlockCache::new(64 << 20);
    for _ in 0..3 {
        cache
            .get_or_load(key(1, 0), BlockKind::Index, || Ok(block(100)))
            .unwrap();
    }
    cache
        .get_or_load(key(2, 0), BlockKind::Data, || Ok(block(100)))
        .unwrap();
    let stats = cache.stats();
    assert_eq!((stats.index.hits, stats.index.misses), (2, 1));
    assert_eq!((stats.data.hits, stats.data.misses), (0, 1));
    assert_eq!(stats.filter, KindStats::default());
    assert_eq!(stats.blocks, 2);
    assert_eq!(stats.usage, 2 * block(100).charge());
    cache.erase_files(&std::collections::HashSet::from([1]));
    assert!(cache.get(key(1, 0), BlockKind::Index).is_none());
    assert!(cache.get(key(2, 0), BlockKind::Data).is_some());
}

#[test]
fn stays_within_its_capacity() {
    for capacity in [0, 100_000, 32 << 20] {
        let cache = BlockCache::new(capacity);
        for offset in 0..5000 {
            cache
                .get_or_load(key(1, offset), BlockKind::Data, || Ok(block(16_000)))
                .unwrap();
            assert!(cache.stats().usage <= capacity);
        }
        if capacity > 0 {
            assert!(cache.stats().usage > capacity / 2);
        }
        cache.set_capacity(capacity / 2);
        assert!(cache.stats().usage <= capacity / 2 + 1);
    }
}

#[test]
fn an_error_is_not_kept() {
    let cache = BlockCache::new(1 << 20);
    let failed = cache.get_or_load(key(1, 0), BlockKind::Data, || Err(Error::corruption("bad")));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Corruption);
    cache
        .get_or_load(key(1, 0), BlockKind::Data, || Ok(block(1)))
        .unwrap();
}

#[test]
fn concurrent_misses_load_once() {
    let cache = BlockCache::new(1 << 20);
    let loads = AtomicU64::new(0);
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                cache
                    .get_or_load(key(9, 9), BlockKind::Data, || {
                        loads.fetch_add(1, Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(block(10))
                    })
                    .unwrap();
            });
        }
    });
    assert_eq!(loads.load(Relaxed), 1);
}
