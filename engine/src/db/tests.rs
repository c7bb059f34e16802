//! The engine as a whole: what is committed is read, also after a flush, a compaction, and another open.

use super::*;
use std::sync::atomic::Ordering;

use crate::ErrorKind;

fn key(number: u32) -> Vec<u8> {
    [&1u32.to_be_bytes()[..], &number.to_be_bytes()].concat()
}

fn small(dir: &std::path::Path) -> Options {
    let mut options = Options::new(dir);
    options.memtable_size = 64 << 10;
    options.total_memtable_size = 256 << 10;
    options.target_file_size = 64 << 10;
    options.base_level_size = 128 << 10;
    options.block_cache_size = 1 << 20;
    options
}

fn count(engine: &Engine) -> (u32, u32) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn.cursor(&key(0)..&key(u32::MAX), View::Snapshot).unwrap();
    let mut forward = 0;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        forward += 1;
        cursor.next().unwrap();
    }
    let mut backward = 0;
    cursor.seek_to_last().unwrap();
    while cursor.valid() {
        backward += 1;
        cursor.prev().unwrap();
    }
    (forward, backward)
}

#[test]
fn data_survives_flush_compaction_and_reopening() {
    const KEYS: u32 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..KEYS {
        txn.insert(&key(number.reverse_bits() >> 8), &number.to_le_bytes())
            .unwrap();
        if number % 100 == 99 {
            txn.commit().unwrap();
            txn.restart(Isolation::RepeatableRead).unwrap();
        }
    }
    drop(txn);
    let expected = count(&engine);
    assert_eq!(expected.0, expected.1);
    assert!(expected.0 > KEYS / 2);
    assert!(engine.stats().flushes > 0, "{}", engine.status());
    drop(engine);

    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(count(&engine), expected);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut doomed = Vec::new();
    let mut cursor = txn.cursor(&key(0)..&key(u32::MAX), View::Snapshot).unwrap();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        doomed.push(cursor.key().to_vec());
        cursor.next().unwrap();
        if cursor.valid() {
            cursor.next().unwrap();
        }
    }
    drop(cursor);
    for key in &doomed {
        txn.delete(key).unwrap();
    }
    txn.commit().unwrap();
    drop(txn);
    engine.compact().unwrap();
    let stats = engine.stats();
    assert_eq!(
        stats
            .levels
            .iter()
            .map(|level| level.deletions)
            .sum::<u64>(),
        0,
        "{}",
        engine.status()
    );
    let left = expected.0 - doomed.len() as u32;
    assert_eq!(count(&engine), (left, left));
    engine.close().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(count(&engine), (left, left));
}

#[test]
fn duplicates_and_lock_conflicts_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut first = engine.begin(Isolation::RepeatableRead);
    first.insert(&key(1), b"x").unwrap();
    assert_eq!(
        first.insert(&key(1), b"y").unwrap_err().kind(),
        ErrorKind::Duplicate
    );
    let mut second = engine.begin(Isolation::RepeatableRead);
    second.set_lock_wait_timeout(std::time::Duration::from_millis(20));
    assert_eq!(
        second.insert(&key(1), b"z").unwrap_err().kind(),
        ErrorKind::LockTimeout
    );
    assert!(second.get(&key(1), View::Snapshot).unwrap().is_none());
    first.commit().unwrap();
    assert!(second.get(&key(1), View::Snapshot).unwrap().is_none());
    assert_eq!(
        second.insert(&key(1), b"z").unwrap_err().kind(),
        ErrorKind::Duplicate
    );
    assert_eq!(&*second.get(&key(1), View::Newest).unwrap().unwrap(), b"x");
}

#[test]
fn dropped_indexes_leave_no_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let indexes = engine.create_indexes(2).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..5000u32 {
        for index in &indexes {
            txn.put(&index.key(number.to_be_bytes()), &[7; 50]).unwrap();
        }
    }
    txn.commit().unwrap();
    drop(txn);
    engine.flush().unwrap();
    engine.drop_indexes(&indexes[..1]).unwrap();
    engine.compact().unwrap();
    let entries: u64 = engine
        .stats()
        .levels
        .iter()
        .map(|level| level.entries)
        .sum();
    assert_eq!(entries, 5000);
    assert_eq!(engine.retain_indexes(&[]).unwrap(), [indexes[1]]);
    engine.compact().unwrap();
    assert_eq!(engine.stats().sst_files(), 0, "{}", engine.status());
    engine.flush().unwrap();
}

#[test]
fn counters_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let counter = b"\0\0\0\0C1";
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.raise_counter(counter, 10).unwrap();
    txn.rollback().unwrap();
    txn.restart(Isolation::RepeatableRead).unwrap();
    txn.raise_counter(counter, 7).unwrap();
    txn.commit().unwrap();
    assert_eq!(engine.counter(counter).unwrap(), 10);
    drop(txn);
    engine.close().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(engine.counter(counter).unwrap(), 10);
}

#[test]
fn counters_are_right_however_few_are_remembered() {
    const COUNTERS: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    engine.core.transactions.writer.counters.set_most(4);
    let name = |counter: u64| [&b"\0\0\0\0C"[..], &counter.to_be_bytes()].concat();
    let next: Vec<_> = (0..COUNTERS)
        .map(|_| std::sync::atomic::AtomicU64::new(0))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, next) = (&engine, &next);
            scope.spawn(move || {
                let mut sequence = crate::env::Sequence::new(thread);
                for round in 0..1500u64 {
                    let mut txn = engine.begin(Isolation::ReadCommitted);
                    let mut raised = Vec::new();
                    for _ in 0..1 + sequence.below(3) {
                        let counter = sequence.below(COUNTERS);
                        let value = 1 + next[counter as usize].fetch_add(1, Ordering::Relaxed);
                        txn.raise_counter(&name(counter), value).unwrap();
                        raised.push((counter, value));
                    }
                    match round % 5 {
                        0 => txn.rollback().unwrap(),
                        1 => {
                            let id = format!("{thread}-{round}");
                            txn.prepare(id.as_bytes(), false).unwrap();
                            txn.rollback().unwrap();
                        }
                        _ => txn.commit().unwrap(),
                    }
                    for (counter, value) in raised {
                        assert!(engine.counter(&name(counter)).unwrap() >= value);
                    }
                }
            });
        }
    });
    let check = |engine: &Engine| {
        for (counter, next) in (0..).zip(&next) {
            let value = next.load(Ordering::Relaxed);
            assert_eq!(engine.counter(&name(counter)).unwrap(), value);
        }
    };
    check(&engine);
    assert!(engine.core.transactions.writer.counters.len() <= 8);
    drop(engine);
    check(&Engine::open(small(dir.path())).unwrap());
}
