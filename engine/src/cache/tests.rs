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

#[test]
fn what_is_noted_of_files_is_what_the_cache_holds() {
    for capacity in [0, 1 << 20, 64 << 20] {
        let cache = BlockCache::new(capacity);
        let fill = |files: std::ops::Range<u64>| {
            for number in 0..2000 {
                let key = key(files.start + number % (files.end - files.start), number);
                cache
                    .get_or_load(key, BlockKind::Data, || Ok(block(4000)))
                    .unwrap();
            }
            assert_eq!(cache.files.len() as u64, cache.stats().blocks);
        };
        fill(0..100);
        let failed = cache.get_or_load(key(7, 9999), BlockKind::Data, || {
            Err(Error::corruption("bad"))
        });
        assert!(failed.is_err());
        cache.erase_files(&HashSet::from_iter(0..50));
        assert!((0..2000).all(|number| {
            let file = number % 100;
            file >= 50 || cache.get(key(file, number), BlockKind::Data).is_none()
        }));
        assert_eq!(cache.files.len() as u64, cache.stats().blocks);
        fill(200..210);
        cache.set_capacity(capacity / 2);
        assert_eq!(cache.files.len() as u64, cache.stats().blocks);
        cache.erase_files(&HashSet::from_iter(0..300));
        assert_eq!((cache.files.len(), cache.stats().blocks), (0, 0));
    }
}

#[test]
fn threads_that_load_evict_and_erase_leave_nothing_behind() {
    let cache = BlockCache::new(1 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..20_000u64 {
                    let draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 ^ thread;
                    let key = key(draw % 16, draw / 16 % 64);
                    cache
                        .get_or_load(key, BlockKind::Data, || Ok(block(3000)))
                        .unwrap();
                    if number % 50 == 0 {
                        cache.erase_files(&HashSet::from([draw % 16]));
                    }
                }
            });
        }
    });
    assert!(cache.files.len() as u64 >= cache.stats().blocks);
    cache.erase_files(&HashSet::from_iter(0..16));
    assert_eq!(cache.files.len(), 0);
}
