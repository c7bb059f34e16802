//! SSTs alone, in memory: lookups, seeks, scans, merges and building.
//!
//! Two shapes of data: `row` is a table's primary key (12-byte keys, 190-byte half-compressible values), `index` a secondary index (16-byte
//! keys, empty values). Everything is cached, so what is measured is the engine's own work.

use std::hint::black_box;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smartengine::Result;
use smartengine::internals::cache::BlockCache;
use smartengine::internals::iter::{InternalIterator, MergingIterator};
use smartengine::internals::sst::{
    Compression, IterOptions, SstBuilder, SstIter, SstOptions, SstReader, key_hash,
};
use smartengine::internals::types::{InternalKeyBuf, KeyRef, MAX_SEQ, ValueKind};
use smartengine::object_store::{ObjectReader, ObjectWriter};

const ENTRIES: u64 = 300_000;

#[derive(Clone, Default)]
struct Object(Arc<Mutex<Vec<u8>>>);

impl ObjectWriter for Object {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Contents(Bytes);

impl ObjectReader for Contents {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Row,
    Index,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Index => "index",
        }
    }

    fn key(self, i: u64) -> Vec<u8> {
        match self {
            Self::Row => [&7u32.to_be_bytes()[..], &(2 * i).to_be_bytes()].concat(),
            Self::Index => [
                &8u32.to_be_bytes()[..],
                &(i as u32 / 3 * 7).to_be_bytes(),
                &(2 * i).to_be_bytes(),
            ]
            .concat(),
        }
    }

    fn value(self, i: u64) -> Vec<u8> {
        match self {
            Self::Row => {
                let mut value = vec![b' '; 190];
                let mut state = i;
                for slot in value[..96].chunks_exact_mut(8) {
                    state = mix(state);
                    slot.copy_from_slice(&state.to_le_bytes());
                }
                value
            }
            Self::Index => Vec::new(),
        }
    }
}

fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state ^ (state >> 29)
}

/// Entries `first`, `first + step` … as internal key and value.
fn entries(shape: Shape, first: u64, step: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    (first..ENTRIES)
        .step_by(step as usize)
        .map(|i| {
            let key = InternalKeyBuf::new(&shape.key(i), i + 1, ValueKind::Put);
            (key.as_bytes().to_vec(), shape.value(i))
        })
        .collect()
}

fn build(entries: &[(Vec<u8>, Vec<u8>)], compression: Compression) -> Bytes {
    let object = Object::default();
    let options = SstOptions {
        compression,
        ..SstOptions::default()
    };
    let mut builder = SstBuilder::new(Box::new(object.clone()), options);
    for (key, value) in entries {
        builder.add(key, value).unwrap();
    }
    builder.finish().unwrap();
    let bytes = std::mem::take(&mut *object.0.lock().unwrap());
    bytes.into()
}

/// Opens an SST with all its blocks in the cache.
fn open(bytes: Bytes, file_id: u64, cache: &Arc<BlockCache>) -> Arc<SstReader> {
    let size = bytes.len() as u64;
    let reader = SstReader::open(Arc::new(Contents(bytes)), file_id, size, cache.clone()).unwrap();
    let reader = Arc::new(reader);
    scan(&mut reader.iter(IterOptions::default()));
    reader.may_contain(0).unwrap();
    reader
}

fn scan(iter: &mut impl InternalIterator) -> usize {
    let mut bytes = 0;
    iter.seek_to_first().unwrap();
    while iter.valid() {
        bytes += black_box(iter.key()).len() + black_box(iter.value()).len();
        iter.next().unwrap();
    }
    bytes
}

fn scan_back(iter: &mut impl InternalIterator) -> usize {
    let mut bytes = 0;
    iter.seek_to_last().unwrap();
    while iter.valid() {
        bytes += black_box(iter.key()).len() + black_box(iter.value()).len();
        iter.prev().unwrap();
    }
    bytes
}

fn reads(c: &mut Criterion) {
    for shape in [Shape::Row, Shape::Index] {
        let cache = Arc::new(BlockCache::new(512 << 20));
        let reader = open(build(&entries(shape, 0, 1), Compression::Lz4), 1, &cache);
        let mut group = c.benchmark_group(format!("sst/{}", shape.name()));
        let present: Vec<Vec<u8>> = (0..65_536).map(|i| shape.key(mix(i) % ENTRIES)).collect();
        let absent: Vec<Vec<u8>> = (0..65_536)
            .map(|i| {
                let mut key = shape.key(mix(i) % ENTRIES);
                *key.last_mut().unwrap() |= 1;
                key
            })
            .collect();
        let mut turn = 0;
        let mut pick = move || {
            turn = (turn + 1) % 65_536;
            turn
        };
        group.bench_function("get", |b| {
            b.iter(|| {
                let key = &present[pick()];
                black_box(reader.get(key, key_hash(key), MAX_SEQ).unwrap()).is_some()
            });
        });
        group.bench_function("get_absent", |b| {
            b.iter(|| {
                let key = &absent[pick()];
                black_box(reader.get(key, key_hash(key), MAX_SEQ).unwrap()).is_some()
            });
        });
        let mut iter = reader.iter(IterOptions::default());
        group.bench_function("seek", |b| {
            b.iter(|| {
                iter.seek(KeyRef::before(&present[pick()])).unwrap();
                black_box(iter.key().len())
            });
        });
        group.bench_function("seek_next_100", |b| {
            b.iter(|| {
                iter.seek(KeyRef::before(&present[pick()])).unwrap();
                for _ in 0..100 {
                    iter.next().unwrap();
                }
                black_box(iter.valid())
            });
        });
        group.bench_function("seek_for_prev", |b| {
            b.iter(|| {
                iter.seek_for_prev(KeyRef::before(&present[pick()]))
                    .unwrap();
                black_box(iter.valid())
            });
        });
        group.throughput(Throughput::Elements(ENTRIES));
        group.sample_size(20);
        group.bench_function("scan", |b| b.iter(|| scan(&mut iter)));
        group.bench_function("scan_back", |b| b.iter(|| scan_back(&mut iter)));
        group.finish();
    }
}

fn merges(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group
        .throughput(Throughput::Elements(ENTRIES))
        .sample_size(20);
    for sources in [1, 2, 4, 8] {
        let cache = Arc::new(BlockCache::new(512 << 20));
        let iters: Vec<SstIter> = (0..sources)
            .map(|i| {
                let bytes = build(&entries(Shape::Row, i, sources), Compression::Lz4);
                open(bytes, i, &cache).iter(IterOptions::default())
            })
            .collect();
        let mut merged = MergingIterator::new(iters);
        group.bench_with_input(BenchmarkId::new("scan", sources), &(), |b, ()| {
            b.iter(|| scan(&mut merged));
        });
    }
    group.finish();
}

fn builds(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    group
        .throughput(Throughput::Elements(ENTRIES))
        .sample_size(10);
    for shape in [Shape::Row, Shape::Index] {
        let entries = entries(shape, 0, 1);
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let id = BenchmarkId::new(shape.name(), format!("{compression:?}"));
            group.bench_with_input(id, &(), |b, ()| {
                b.iter(|| build(&entries, compression).len());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, reads, merges, builds);
criterion_main!(benches);
