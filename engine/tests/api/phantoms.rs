//! From REPEATABLE READ on, nobody adds to a range that a locking read has seen.

use std::time::Duration;

use smartengine::{
    Engine, ErrorKind, Isolation, LockMode, ReadSpec, Reader, Result, RowWait, Transaction, Write,
};

use crate::small;

fn key(number: u8) -> [u8; 5] {
    [0, 0, 0, 1, number]
}

/// An engine with the keys 10, 20 … 90.
fn filled(dir: &std::path::Path) -> Engine {
    let engine = Engine::open(small(dir)).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in (10..100).step_by(10) {
        txn.insert(&key(number), b"old").unwrap();
    }
    txn.commit().unwrap();
    engine
}

/// Reads and locks [from, to).
fn read_locked(txn: &mut Transaction, from: u8, to: u8, wait: RowWait) -> Result<Vec<u8>> {
    let spec = ReadSpec {
        lock: Some(LockMode::Shared),
        wait,
        row_index: None,
    };
    let mut reader = Reader::new();
    reader.open(txn, &key(from)..&key(to), spec)?;
    let mut found = Vec::new();
    while let Some(entry) = reader.next(txn)? {
        found.push(entry.key[4]);
    }
    Ok(found)
}

fn add(engine: &Engine, number: u8, wait: Duration) -> Result<()> {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.set_lock_wait_timeout(wait);
    txn.insert(&key(number), b"new")?;
    txn.commit()
}

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(100);

#[test]
fn a_range_read_with_locks_stays_as_it_is_from_repeatable_read_on() {
    for isolation in [
        Isolation::ReadUncommitted,
        Isolation::ReadCommitted,
        Isolation::RepeatableRead,
        Isolation::Serializable,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let engine = filled(dir.path());
        let mut reader = engine.begin(isolation);
        let before = read_locked(&mut reader, 20, 50, RowWait::Wait).unwrap();
        assert_eq!(before, [20, 30, 40]);
        let phantoms = isolation < Isolation::RepeatableRead;
        for number in [21, 35, 49] {
            let added = add(&engine, number, SHORT);
            assert_eq!(added.is_ok(), phantoms, "{isolation:?} {number}");
            if let Err(error) = added {
                assert_eq!(error.kind(), ErrorKind::LockTimeout);
            }
        }
        for number in [19, 51, 99] {
            add(&engine, number, SHORT).unwrap();
        }
        let after = read_locked(&mut reader, 20, 50, RowWait::Wait).unwrap();
        assert_eq!(after == before, !phantoms, "{isolation:?} {after:?}");
        // It may add to the range itself.
        reader.insert(&key(22), b"own").unwrap();
        reader.commit().unwrap();
        add(&engine, 36, SHORT).unwrap();
        engine.close().unwrap();
    }
}

#[test]
fn an_entry_added_under_a_rows_lock_waits_for_the_gap_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let engine = filled(dir.path());
    let mut reader = engine.begin(Isolation::Serializable);
    read_locked(&mut reader, 20, 50, RowWait::Wait).unwrap();
    let mut writer = engine.begin(Isolation::RepeatableRead);
    writer.set_lock_wait_timeout(SHORT);
    let (inside, present) = (key(33), key(60));
    let (place, error) = writer
        .apply(&[Write::Put(&present, b"1"), Write::Add(&inside, b"2")])
        .unwrap_err();
    assert_eq!((place, error.kind()), (1, ErrorKind::LockTimeout));
    // Nothing of it is left.
    assert!(!writer.has_writes());
    std::thread::scope(|scope| {
        let waits = engine.stats().lock_waits;
        let thread = scope.spawn(|| add(&engine, 33, LONG));
        while engine.stats().lock_waits == waits {
            std::thread::yield_now();
        }
        reader.rollback().unwrap();
        thread.join().unwrap().unwrap();
    });
    drop((reader, writer));
    engine.close().unwrap();
}

#[test]
fn a_locking_read_sees_what_was_added_before_it_or_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = filled(dir.path());
    for committed in [true, false] {
        let mut writer = engine.begin(Isolation::ReadCommitted);
        writer.insert(&key(25), b"new").unwrap();
        let mut reader = engine.begin(Isolation::RepeatableRead);
        let error = read_locked(&mut reader, 20, 30, RowWait::NoWait).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LockNotAvailable);
        std::thread::scope(|scope| {
            let waits = engine.stats().lock_waits;
            let thread = scope.spawn(|| {
                reader.set_lock_wait_timeout(LONG);
                let found = read_locked(&mut reader, 20, 30, RowWait::Wait).unwrap();
                reader.rollback().unwrap();
                found
            });
            while engine.stats().lock_waits == waits {
                std::thread::yield_now();
            }
            if committed {
                writer.commit().unwrap();
            } else {
                writer.rollback().unwrap();
            }
            let found = thread.join().unwrap();
            assert_eq!(found.contains(&25), committed);
        });
        let mut cleaner = engine.begin(Isolation::ReadCommitted);
        cleaner.delete(&key(25)).unwrap();
        cleaner.commit().unwrap();
    }
    engine.close().unwrap();
}

#[test]
fn ranges_read_and_added_to_by_many_threads_never_change_under_their_readers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = filled(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let engine = &engine;
            scope.spawn(move || {
                let mut sequence = smartengine::internals::env::Sequence::new(thread);
                for _ in 0..150 {
                    let mut txn = engine.begin(Isolation::RepeatableRead);
                    let from = sequence.below(90) as u8;
                    // Long ones pass many keys that others add ahead of them.
                    let width = if sequence.below(4) == 0 { 90 } else { 10 };
                    let (to, wait) = (from + width, RowWait::Wait);
                    // Victims of deadlocks roll back and go on.
                    let Ok(before) = read_locked(&mut txn, from, to, wait) else {
                        continue;
                    };
                    let Ok(after) = read_locked(&mut txn, from, to, wait) else {
                        continue;
                    };
                    assert_eq!(before, after);
                    let number = sequence.below(100) as u8;
                    let written = match sequence.below(3) {
                        0 => txn
                            .lock(&key(number), LockMode::Exclusive)
                            .and_then(|_| txn.delete(&key(number))),
                        _ => txn.insert(&key(number), b"new"),
                    };
                    if written.is_ok() {
                        txn.commit().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(engine.stats().row_locks, 0);
    engine.close().unwrap();
}

/// A rollback to a savepoint brings back what was removed after it, and cannot wait for a gap that somebody has locked meanwhile.
#[test]
fn a_key_that_was_added_and_removed_again_still_stands_in_the_way_of_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let engine = filled(dir.path());
    let mut writer = engine.begin(Isolation::Serializable);
    writer.insert(&key(15), b"new").unwrap();
    let savepoint = writer.savepoint();
    writer.apply(&[Write::LockDelete(&key(15))]).unwrap();
    let mut reader = engine.begin(Isolation::Serializable);
    let refused = read_locked(&mut reader, 11, 20, RowWait::NoWait).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LockNotAvailable);
    writer.rollback_to(savepoint);
    writer.commit().unwrap();
    assert_eq!(
        read_locked(&mut reader, 11, 20, RowWait::NoWait).unwrap(),
        [15]
    );
}
