//! The engine as a whole: filling it, reading it from its caches, and committing from many threads.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use smartengine::internals::env::Sequence;
use smartengine::{Engine, Isolation, Options, Transaction, View, WalSync};

const ROWS: u64 = 200_000;
const BATCH: u64 = 1000;

fn key(number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[3] = 1;
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A row of 100 bytes that compress to about a half.
fn value(number: u64) -> [u8; 100] {
    let mut sequence = Sequence::new(number);
    let mut value = [0; 100];
    for word in value[..48].chunks_exact_mut(8) {
        word.copy_from_slice(&sequence.next_u64().to_le_bytes());
    }
    value
}

fn options(dir: &tempfile::TempDir) -> Options {
    let mut options = Options::new(dir.path());
    options.wal_sync = WalSync::EachSecond;
    options
}

fn open() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir)).unwrap();
    (dir, engine)
}

fn again(txn: &mut Transaction) {
    txn.commit().unwrap();
    txn.restart(Isolation::ReadCommitted).unwrap();
}

/// Rows with even numbers, all in files.
fn filled() -> (tempfile::TempDir, Engine) {
    let (dir, engine) = open();
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for number in 0..ROWS {
        txn.put(&key(2 * number), &value(number)).unwrap();
        if number % BATCH == BATCH - 1 {
            again(&mut txn);
        }
    }
    drop(txn);
    engine.compact().unwrap();
    (dir, engine)
}

fn fill(c: &mut Criterion) {
    let mut group = c.benchmark_group("fill");
    group.throughput(Throughput::Elements(BATCH));
    for (name, random) in [("sequential", false), ("random", true)] {
        let (_dir, engine) = open();
        let mut sequence = Sequence::new(1);
        let mut next = 0;
        group.bench_function(name, |b| {
            b.iter_batched(
                || engine.begin(Isolation::ReadCommitted),
                |mut txn| {
                    for _ in 0..BATCH {
                        next += 1;
                        let number = if random { sequence.next_u64() } else { next };
                        txn.put(&key(number), &value(next)).unwrap();
                    }
                    txn.commit().unwrap();
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn get(c: &mut Criterion) {
    let (_dir, engine) = filled();
    let mut group = c.benchmark_group("get");
    for (name, offset) in [("hit", 0), ("miss", 1)] {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let mut sequence = Sequence::new(2);
        group.bench_function(name, |b| {
            b.iter(|| {
                let number = 2 * sequence.below(ROWS) + offset;
                black_box(txn.get(&key(number), View::Snapshot).unwrap())
            });
        });
    }
    let mut sequence = Sequence::new(3);
    group.bench_function("hit, a transaction each", |b| {
        b.iter(|| {
            let mut txn = engine.begin(Isolation::ReadCommitted);
            let found = txn.get(&key(2 * sequence.below(ROWS)), View::Snapshot);
            txn.commit().unwrap();
            black_box(found.unwrap())
        });
    });
    group.finish();
}

fn scan(c: &mut Criterion) {
    let (_dir, engine) = filled();
    let mut group = c.benchmark_group("scan");
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(4);
    group.bench_function("seek", |b| {
        b.iter(|| {
            let lower = key(2 * sequence.below(ROWS));
            let mut cursor = txn.cursor(&lower..&key(u64::MAX), View::Snapshot).unwrap();
            cursor.seek_to_first().unwrap();
            black_box(cursor.value()[0])
        });
    });
    let mut cursor = txn.cursor(&key(0)..&key(u64::MAX), View::Snapshot).unwrap();
    group.bench_function("seek, one cursor", |b| {
        b.iter(|| {
            cursor.seek(&key(2 * sequence.below(ROWS))).unwrap();
            black_box(cursor.value()[0])
        });
    });
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    group.bench_function("forward", |b| {
        b.iter(|| {
            let mut sum = 0;
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                sum += u64::from(cursor.value()[0]);
                cursor.next().unwrap();
            }
            black_box(sum)
        });
    });
    group.bench_function("backward", |b| {
        b.iter(|| {
            let mut sum = 0;
            cursor.seek_to_last().unwrap();
            while cursor.valid() {
                sum += u64::from(cursor.value()[0]);
                cursor.prev().unwrap();
            }
            black_box(sum)
        });
    });
    group.finish();
}

/// Runs `reads` point reads of the newest versions, or of a snapshot each, on as many threads as `threads`; how long they took.
fn read_from(engine: &Engine, threads: u64, reads: u64, view: View) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut sequence = Sequence::new(thread);
                let mut txn = engine.begin(Isolation::ReadCommitted);
                for _ in 0..reads.div_ceil(threads) {
                    txn.start_statement();
                    // Few enough for the processor's caches: what is measured is the way to them.
                    let key = key(2 * sequence.below(1000));
                    black_box(txn.get(&key, view).unwrap());
                }
            });
        }
    });
    start.elapsed()
}

fn get_from_threads(c: &mut Criterion) {
    let (_dir, engine) = filled();
    let mut group = c.benchmark_group("get from threads");
    group.throughput(Throughput::Elements(1));
    for (name, view) in [
        ("newest", View::Newest),
        ("a snapshot each", View::Snapshot),
    ] {
        for threads in [1, 4, 16] {
            group.bench_function(format!("{name}, {threads} threads"), |b| {
                b.iter_custom(|reads| read_from(&engine, threads, reads, view));
            });
        }
    }
    group.finish();
}

/// Three rows, of which the middle one was updated so many times since `reader` took its snapshot.
fn hot_row(updates: u64) -> (tempfile::TempDir, Engine, Transaction) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.memtable_size = 1 << 30;
    options.total_memtable_size = 2 << 30;
    options.total_wal_size = 4 << 30;
    let engine = Engine::open(options).unwrap();
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for number in [1, 2, 3] {
        txn.put(&key(number), b"old").unwrap();
    }
    again(&mut txn);
    let mut reader = engine.begin(Isolation::RepeatableRead);
    reader.take_snapshot();
    for update in 0..updates {
        txn.put(&key(2), &update.to_be_bytes()).unwrap();
        again(&mut txn);
    }
    drop(txn);
    (dir, engine, reader)
}

fn hot(c: &mut Criterion) {
    let mut group = c.benchmark_group("a row updated since the snapshot");
    group.sample_size(20);
    for updates in [0, 1, 1_000_000] {
        let (_dir, _engine, mut txn) = hot_row(updates);
        let mut cursor = txn.cursor(&key(0)..&key(9), View::Snapshot).unwrap();
        group.bench_function(format!("{updates} times, forward"), |b| {
            b.iter(|| {
                cursor.seek(&key(2)).unwrap();
                black_box(cursor.value()[0])
            });
        });
        group.bench_function(format!("{updates} times, backward"), |b| {
            b.iter(|| {
                cursor.seek_before(&key(3)).unwrap();
                black_box(cursor.value()[0])
            });
        });
        group.bench_function(format!("{updates} times, get"), |b| {
            b.iter(|| black_box(txn.get(&key(2), View::Snapshot).unwrap()));
        });
    }
    group.finish();
}

/// Runs `commits` commits of one row each on `threads` threads and returns how long it took.
fn commit_from(engine: &Engine, threads: u64, commits: u64, numbers: &AtomicU64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut txn = engine.begin(Isolation::ReadCommitted);
                for _ in 0..commits.div_ceil(threads) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    txn.put(&key(number), &value(number)).unwrap();
                    again(&mut txn);
                }
            });
        }
    });
    start.elapsed()
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for (name, sync) in [
        ("each second", WalSync::EachSecond),
        ("each commit", WalSync::EachCommit),
    ] {
        for threads in [1, 4, 16] {
            let (_dir, engine) = open();
            engine.set_wal_sync(sync);
            let numbers = AtomicU64::new(0);
            group.bench_function(format!("synced {name}, {threads} threads"), |b| {
                b.iter_custom(|commits| commit_from(&engine, threads, commits, &numbers));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = fill, get, get_from_threads, scan, hot, commit
}
criterion_main!(benches);
