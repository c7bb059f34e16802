//! Row locks: taking and giving back, alone and where several threads want the same keys; and the gaps of a scan beside many transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use smartengine::Isolation;
use smartengine::internals::cache::BlockCache;
use smartengine::internals::env::Sequence;
use smartengine::internals::env::fs::FaultFs;
use smartengine::internals::txn::batch::Batch;
use smartengine::internals::txn::locks::{LockManager, LockMode, LockWait, TxnLocks};
use smartengine::internals::txn::spill::SpillSpace;

const WAIT: LockWait = LockWait::Timeout(Duration::from_secs(60));

fn key(number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[3] = 1;
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

fn txn(id: u64) -> TxnLocks {
    TxnLocks::new(id, Isolation::RepeatableRead)
}

fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("lock and unlock, alone");
    for rows in [1u64, 10, 1000] {
        group.throughput(Throughput::Elements(rows));
        group.bench_function(format!("{rows} rows a transaction"), |b| {
            let locks = LockManager::new(u64::MAX);
            let (mut txn, mut number) = (txn(1), 0);
            b.iter(|| {
                for _ in 0..rows {
                    number += 1;
                    let granted = locks.acquire(&mut txn, &key(number), LockMode::Exclusive, WAIT);
                    granted.unwrap();
                }
                locks.release_all(&mut txn);
            });
        });
    }
    group.throughput(Throughput::Elements(1_000_000));
    group.sample_size(10);
    group.bench_function("a million rows", |b| {
        b.iter_batched(
            || LockManager::new(u64::MAX),
            |locks| {
                let mut txn = txn(1);
                for number in 0..1_000_000 {
                    let granted = locks.acquire(&mut txn, &key(number), LockMode::Shared, WAIT);
                    granted.unwrap();
                }
                locks.release_all(&mut txn);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Transactions of ten rows of `rows`, on as many threads as `threads`; how long `count` of them took on one.
fn fight(locks: &LockManager, threads: u64, rows: u64, count: u64) -> Duration {
    let done = AtomicBool::new(false);
    let work = |thread: u64, keep_on: &dyn Fn(u64) -> bool| {
        let mut sequence = Sequence::new(thread);
        let (mut id, mut round) = (thread + 1, 0);
        let mut txn = txn(id);
        while keep_on(round) {
            for _ in 0..10 {
                let key = key(sequence.below(rows));
                // The victim of a deadlock is rolled back.
                if locks
                    .acquire(&mut txn, &key, LockMode::Exclusive, WAIT)
                    .is_err()
                {
                    break;
                }
            }
            locks.release_all(&mut txn);
            id += threads;
            txn.renew(id, Isolation::RepeatableRead);
            round += 1;
        }
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let (work, done) = (&work, &done);
            scope.spawn(move || work(thread, &|_| !done.load(Ordering::Relaxed)));
        }
        let start = Instant::now();
        work(0, &|round| round < count);
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        took
    })
}

fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("ten locks and their release, contended");
    for (threads, rows) in [(4, 1 << 20), (4, 1000), (4, 20), (16, 20)] {
        group.bench_function(format!("{threads} threads, {rows} rows"), |b| {
            b.iter_custom(|count| fight(&LockManager::new(u64::MAX), threads, rows, count));
        });
    }
    group.finish();
}

/// Transactions that have written to an index, before the keys that are scanned, and not ended.
struct Open {
    txns: Vec<(TxnLocks, Batch)>,
}

impl Open {
    fn new(locks: &LockManager, count: u64, index: u32) -> Self {
        let cache = Arc::new(BlockCache::new(1 << 20));
        let fs = Arc::new(FaultFs::new());
        let space = Arc::new(SpillSpace::open(fs, "/spill", cache, 1 << 20).unwrap());
        let txns = (0..count).map(|number| {
            let mut txn = txn(1 + number);
            let mut batch = Batch::new(space.clone());
            let mut key = key(number);
            key[..4].copy_from_slice(&index.to_be_bytes());
            locks.will_write(&mut txn, &key, || batch.view().clone());
            batch.put(&key, b"");
            assert!(locks.gap_owner(&txn, &key).is_none());
            (txn, batch)
        });
        Self {
            txns: txns.collect(),
        }
    }

    fn end(self, locks: &LockManager) {
        for (mut txn, mut batch) in self.txns {
            locks.release_all(&mut txn);
            batch.clear();
        }
    }
}

/// A locking scan: of each row the gap before it, then the row.
fn scan(c: &mut Criterion) {
    const ROWS: u64 = 100_000;
    let mut group = c.benchmark_group("a locking scan of a hundred thousand rows");
    group.sample_size(10);
    for (count, index, name) in [
        (0, 1, "no open transaction"),
        (1000, 2, "1,000 that wrote to another index"),
        (1000, 1, "1,000 that wrote to the index"),
    ] {
        group.bench_function(name, |b| {
            let locks = LockManager::new(u64::MAX);
            let open = Open::new(&locks, count, index);
            b.iter(|| {
                let mut txn = txn(1_000_000);
                let mut at = key(10_000).to_vec();
                for number in 0..ROWS {
                    let row = key(20_000 + number);
                    locks.lock_gap(&mut txn, &at, &row, Some(WAIT)).unwrap();
                    let granted = locks.acquire(&mut txn, &row, LockMode::Exclusive, WAIT);
                    granted.unwrap();
                    at.clear();
                    at.extend_from_slice(&row);
                    at.push(0);
                }
                locks.release_all(&mut txn);
            });
            open.end(&locks);
        });
    }
    group.finish();
}

criterion_group!(benches, alone, contended, scan);
criterion_main!(benches);
