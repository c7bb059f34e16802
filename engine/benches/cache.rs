//! The block cache: what forgetting a file costs while the cache is full of others' blocks, and what a block costs on its way in.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use smartengine::internals::cache::{BlockCache, BlockKey, BlockKind, CachedBlock};
use smartengine::internals::format::block::Block;
use smartengine::internals::format::block_builder::BlockBuilder;
use smartengine::internals::types::KeyRef;

const CAPACITY: u64 = 1 << 30;
const BLOCK_BYTES: usize = 4000;
/// Of a file.
const BLOCKS: u64 = 500;

fn block() -> CachedBlock {
    let mut builder = BlockBuilder::new(16);
    builder.add(KeyRef::at(b"key", 1), &[1; BLOCK_BYTES]);
    let raw = builder.finish(<[u8]>::to_vec);
    CachedBlock::Entries(Arc::new(Block::parse(raw.into()).unwrap()))
}

/// Loads the first `blocks` of a file.
fn load(cache: &BlockCache, file_id: u64, blocks: u64, block: &CachedBlock) {
    for offset in 0..blocks {
        let key = BlockKey { file_id, offset };
        cache
            .get_or_load(key, BlockKind::Data, || Ok(block.clone()))
            .unwrap();
    }
}

/// A cache of 1 GiB, full. All share one block's bytes; the cache charges them as if each had its own.
fn full() -> (BlockCache, CachedBlock) {
    let (cache, block) = (BlockCache::new(CAPACITY), block());
    let mut file_id = 1;
    while cache.stats().usage < CAPACITY / 100 * 98 {
        load(&cache, file_id, BLOCKS, &block);
        file_id += 1;
    }
    (cache, block)
}

fn erase(c: &mut Criterion) {
    let (cache, block) = full();
    let mut group = c.benchmark_group("erase a file from a full cache of 1 GiB");
    let mut file_id = 1 << 40;
    for blocks in [0, 1, 16, BLOCKS] {
        group.bench_function(format!("{blocks} blocks"), |b| {
            b.iter_batched(
                || {
                    file_id += 1;
                    load(&cache, file_id, blocks, &block);
                    HashSet::from([file_id])
                },
                |ids| cache.erase_files(&ids),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn miss(c: &mut Criterion) {
    let (cache, block) = full();
    let mut offset = 0;
    c.bench_function("load a block into a full cache", |b| {
        b.iter(|| {
            offset += 1;
            let key = BlockKey {
                file_id: 1 << 50 | offset >> 9,
                offset,
            };
            cache
                .get_or_load(key, BlockKind::Data, || Ok(block.clone()))
                .unwrap()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = erase, miss
}
criterion_main!(benches);
