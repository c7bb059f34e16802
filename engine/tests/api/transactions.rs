//! What transactions see of each other and of themselves.

use std::time::Duration;

use smartengine::{Engine, ErrorKind, Granted, Isolation, LockMode, View, Write};

use crate::{key, small};

fn open() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    (dir, engine)
}

fn commit(engine: &Engine, name: &str, value: &[u8]) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(&key(name), value).unwrap();
    txn.commit().unwrap();
}

#[test]
fn transactions_go_from_thread_to_thread() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Send + Sync>() {}
    is_send::<smartengine::Transaction>();
    is_send::<smartengine::Cursor>();
    is_send::<smartengine::Value>();
    is_sync::<Engine>();
}

#[test]
fn levels_of_isolation_differ_in_what_a_later_statement_sees() {
    let (_dir, engine) = open();
    commit(&engine, "a", b"1");
    for (isolation, later) in [
        (Isolation::ReadUncommitted, b"2"),
        (Isolation::ReadCommitted, b"2"),
        (Isolation::RepeatableRead, b"1"),
        (Isolation::Serializable, b"1"),
    ] {
        commit(&engine, "a", b"1");
        let mut txn = engine.begin(isolation);
        assert_eq!(txn.isolation(), isolation);
        let get = |txn: &mut smartengine::Transaction, view| {
            txn.get(&key("a"), view).unwrap().unwrap().to_vec()
        };
        assert_eq!(get(&mut txn, View::Snapshot), b"1");
        commit(&engine, "a", b"2");
        assert_eq!(get(&mut txn, View::Snapshot), b"1", "the same statement");
        assert_eq!(get(&mut txn, View::Newest), b"2");
        txn.start_statement();
        assert_eq!(get(&mut txn, View::Snapshot), later, "{isolation:?}");
    }
}

#[test]
fn a_snapshot_taken_is_kept_through_everything() {
    let (_dir, engine) = open();
    commit(&engine, "a", b"1");
    let mut early = engine.begin(Isolation::RepeatableRead);
    early.take_snapshot();
    for round in 0..50u8 {
        commit(&engine, "a", &[round; 3000]);
        commit(&engine, "b", &[round; 3000]);
    }
    let mut gone = engine.begin(Isolation::RepeatableRead);
    gone.delete(&key("a")).unwrap();
    gone.commit().unwrap();
    engine.compact().unwrap();
    assert_eq!(
        &*early.get(&key("a"), View::Snapshot).unwrap().unwrap(),
        b"1"
    );
    assert!(early.get(&key("b"), View::Snapshot).unwrap().is_none());
    assert!(early.get(&key("a"), View::Newest).unwrap().is_none());
    assert_eq!(engine.stats().oldest_snapshot, Some(1));
    drop(early);
    assert_eq!(engine.stats().oldest_snapshot, None);
    engine.compact().unwrap();
    let entries: u64 = engine
        .stats()
        .levels
        .iter()
        .map(|level| level.entries)
        .sum();
    assert_eq!(entries, 1);
}

#[test]
fn a_value_outlives_the_transaction_that_read_it() {
    let (_dir, engine) = open();
    commit(&engine, "a", b"kept");
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let in_memtable = txn.get(&key("a"), View::Snapshot).unwrap().unwrap();
    engine.compact().unwrap();
    let in_file = txn.get(&key("a"), View::Snapshot).unwrap().unwrap();
    txn.put(&key("b"), b"own").unwrap();
    let own = txn.get(&key("b"), View::Snapshot).unwrap().unwrap();
    txn.rollback().unwrap();
    drop(txn);
    commit(&engine, "a", b"new");
    engine.compact().unwrap();
    engine.close().unwrap();
    assert_eq!(
        (&*in_memtable, &*in_file, &*own),
        (&b"kept"[..], &b"kept"[..], &b"own"[..])
    );
}

#[test]
fn an_error_undoes_all_writes_of_one_call_and_names_the_culprit() {
    let (_dir, engine) = open();
    commit(&engine, "there", b"1");
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(&key("mine"), b"before").unwrap();
    let (place, error) = txn
        .apply(&[
            Write::Put(&key("mine"), b"after"),
            Write::Insert(&key("new"), b"x"),
            Write::Insert(&key("there"), b"y"),
        ])
        .unwrap_err();
    assert_eq!((place, error.kind()), (2, ErrorKind::Duplicate));
    assert_eq!(
        &*txn.get(&key("mine"), View::Snapshot).unwrap().unwrap(),
        b"before"
    );
    assert!(txn.get(&key("new"), View::Snapshot).unwrap().is_none());
    // Writes of one call follow each other: what was deleted can be inserted, what was inserted cannot.
    txn.apply(&[
        Write::Delete(&key("there")),
        Write::Insert(&key("there"), b"2"),
    ])
    .unwrap();
    let (place, error) = txn
        .apply(&[
            Write::Insert(&key("twice"), b"1"),
            Write::Insert(&key("twice"), b"2"),
        ])
        .unwrap_err();
    assert_eq!((place, error.kind()), (1, ErrorKind::Duplicate));
    txn.commit().unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert_eq!(
        &*txn.get(&key("there"), View::Snapshot).unwrap().unwrap(),
        b"2"
    );
}

#[test]
fn writes_of_one_call_are_done_in_order_up_to_the_first_that_fails() {
    let (_dir, engine) = open();
    let (k, a, b) = (key("k"), key("a"), key("b"));
    for name in ["k", "a", "b"] {
        commit(&engine, name, b"old");
    }
    let mut txn = engine.begin(Isolation::RepeatableRead);
    // An update whose new key is equal to the old one: looking at all inserts first would find the row a duplicate of itself.
    txn.apply(&[Write::LockDelete(&k), Write::Insert(&k, b"new")])
        .unwrap();
    assert_eq!(&*txn.get(&k, View::Newest).unwrap().unwrap(), b"new");
    // Of two duplicates the first is named, and the other stays as it was, without a lock.
    let n = key("n");
    let writes = [
        Write::Insert(&n, b"1"),
        Write::InsertForUpdate(&a, b"1"),
        Write::InsertForUpdate(&b, b"1"),
    ];
    let (place, error) = txn.apply(&writes).unwrap_err();
    assert_eq!((place, error.kind()), (1, ErrorKind::Duplicate));
    let mut other = engine.begin(Isolation::RepeatableRead);
    for (key, free) in [(&n, true), (&a, false), (&b, true)] {
        let lock = other.try_lock(key, LockMode::Exclusive);
        assert_eq!(lock.is_ok(), free, "{}", key.escape_ascii());
    }
    drop(other);
    txn.commit().unwrap();
    let mut reader = engine.begin(Isolation::RepeatableRead);
    assert_eq!(&*reader.get(&k, View::Snapshot).unwrap().unwrap(), b"new");
}

#[test]
fn an_ended_transaction_does_nothing() {
    let (_dir, engine) = open();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.commit().unwrap();
    assert_eq!(
        txn.put(&key("a"), b"").unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Invalid);
    let lock = txn.lock(&key("a"), LockMode::Exclusive);
    assert_eq!(lock.unwrap_err().kind(), ErrorKind::Invalid);
    txn.rollback().unwrap();
    drop(txn);
    assert_eq!(engine.stats().active_transactions, 0);
    assert_eq!(engine.stats().row_locks, 0);
}

#[test]
fn locks_are_kept_to_the_end_or_given_back_by_hand() {
    let (_dir, engine) = open();
    let mut one = engine.begin(Isolation::RepeatableRead);
    let mut two = engine.begin(Isolation::RepeatableRead);
    two.set_lock_wait_timeout(Duration::from_millis(1));
    assert_eq!(one.lock(&key("a"), LockMode::Shared).unwrap(), Granted::New);
    assert_eq!(
        one.lock(&key("b"), LockMode::Exclusive).unwrap(),
        Granted::New
    );
    two.lock(&key("a"), LockMode::Shared).unwrap();
    let error = two.try_lock(&key("b"), LockMode::Shared).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockNotAvailable);
    let error = two.insert(&key("b"), b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockTimeout);
    one.unlock(&key("b"));
    two.insert(&key("b"), b"").unwrap();
    let savepoint = one.savepoint();
    one.insert(&key("c"), b"").unwrap();
    one.rollback_to(savepoint);
    assert!(!one.has_writes());
    assert_eq!(one.locked_keys(), 1, "the insertion's own lock is gone");
    one.lock(&key("c"), LockMode::Exclusive).unwrap();
    assert!(two.try_lock(&key("c"), LockMode::Shared).is_err());
    one.rollback().unwrap();
    two.try_lock(&key("c"), LockMode::Shared).unwrap();
}

#[test]
fn a_cursor_follows_savepoints_and_turns_anywhere() {
    let (_dir, engine) = open();
    for name in ["b", "d", "f"] {
        commit(&engine, name, b"committed");
    }
    engine.flush().unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(&key("c"), b"own").unwrap();
    let savepoint = txn.savepoint();
    txn.put(&key("d"), b"own").unwrap();
    txn.delete(&key("f")).unwrap();
    txn.put(&key("g"), b"own").unwrap();
    let mut cursor = txn.cursor(&key("")..&key("z"), View::Snapshot).unwrap();
    let at = |cursor: &smartengine::Cursor| {
        let name = String::from_utf8(cursor.key().get(4..).unwrap_or_default().to_vec());
        let value = String::from_utf8(cursor.value().to_vec());
        (name.unwrap(), value.unwrap())
    };
    let own = |name: &str| (name.to_owned(), "own".to_owned());
    let committed = |name: &str| (name.to_owned(), "committed".to_owned());
    cursor.seek(&key("c")).unwrap();
    assert_eq!(at(&cursor), own("c"));
    // What is undone no longer shows, though the cursor had reached it; what it covered does.
    txn.rollback_to(savepoint);
    cursor.next().unwrap();
    assert_eq!(at(&cursor), committed("d"));
    cursor.next().unwrap();
    assert_eq!(at(&cursor), committed("f"));
    cursor.prev().unwrap();
    assert_eq!(at(&cursor), committed("d"));
    cursor.prev().unwrap();
    assert_eq!(at(&cursor), own("c"));
    cursor.prev().unwrap();
    assert_eq!(at(&cursor), committed("b"));
    cursor.next().unwrap();
    assert_eq!(at(&cursor), own("c"));
    txn.put(&key("a"), b"own").unwrap();
    cursor.seek_to_first().unwrap();
    assert_eq!(at(&cursor), own("a"));
    cursor.prev().unwrap();
    assert!(!cursor.valid());
    cursor.next().unwrap();
    assert!(!cursor.valid());
}

#[test]
fn a_row_and_a_counter_of_one_name_do_not_go_together() {
    let (_dir, engine) = open();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(b"\0\0\0\0c", &1u64.to_be_bytes()).unwrap();
    txn.raise_counter(b"\0\0\0\0c", 5).unwrap();
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Invalid);
    engine.flush().unwrap();
}

#[test]
fn counters_rise_by_rollback_and_from_many_threads() {
    let (dir, engine) = open();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let engine = &engine;
            scope.spawn(move || {
                for step in 0..50u64 {
                    let mut txn = engine.begin(Isolation::RepeatableRead);
                    txn.raise_counter(b"\0\0\0\0c", step * 4 + thread).unwrap();
                    match step % 2 {
                        0 => txn.commit().unwrap(),
                        _ => txn.rollback().unwrap(),
                    }
                    assert!(engine.counter(b"\0\0\0\0c").unwrap() >= step * 4 + thread);
                }
            });
        }
    });
    assert_eq!(engine.counter(b"\0\0\0\0c").unwrap(), 199);
    engine.close().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(engine.counter(b"\0\0\0\0c").unwrap(), 199);
    assert_eq!(engine.counter(b"\0\0\0\0other").unwrap(), 0);
}

/// Rows that are written all the time, between ones that are not, as snapshots of every age see them in both directions.
#[test]
fn many_versions_of_a_key_are_passed_over_both_ways() {
    let (_dir, engine) = open();
    let names = ["a", "hot", "hot2", "z"];
    for name in names {
        commit(&engine, name, b"first");
    }
    let mut readers = Vec::new();
    for round in 0..60u8 {
        commit(&engine, "hot", &[round]);
        commit(&engine, "hot2", &[round]);
        if round % 20 == 19 {
            let mut txn = engine.begin(Isolation::RepeatableRead);
            txn.delete(&key("hot2")).unwrap();
            txn.commit().unwrap();
        }
        if round % 10 == 9 {
            let mut reader = engine.begin(Isolation::RepeatableRead);
            reader.take_snapshot();
            readers.push((round, reader));
        }
    }
    for (round, mut reader) in readers {
        let mut expected = vec![
            (key("a"), b"first".to_vec()),
            (key("hot"), vec![round]),
            (key("hot2"), vec![round]),
            (key("z"), b"first".to_vec()),
        ];
        if round % 20 == 19 {
            expected.remove(2);
        }
        for own in [false, true] {
            if own {
                for number in 0..20 {
                    reader.put(&key("hot"), &[200, number]).unwrap();
                }
                expected[1].1 = vec![200, 19];
            }
            let mut cursor = reader
                .cursor(&key("")..&key("\u{7f}"), View::Snapshot)
                .unwrap();
            let mut found = Vec::new();
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                found.push((cursor.key().to_vec(), cursor.value().to_vec()));
                cursor.next().unwrap();
            }
            assert_eq!(found, expected, "round {round}");
            cursor.seek_to_last().unwrap();
            while let Some(last) = found.pop() {
                assert_eq!((cursor.key(), cursor.value()), (&*last.0, &*last.1));
                cursor.prev().unwrap();
            }
            assert!(!cursor.valid());
        }
    }
}

#[test]
fn locks_of_writes_that_are_undone_are_given_back_and_a_duplicate_stays_shared() {
    let (_dir, engine) = open();
    commit(&engine, "there", b"1");
    let free = |name: &str, mode| {
        let mut other = engine.begin(Isolation::RepeatableRead);
        other.try_lock(&key(name), mode).is_ok()
    };
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let duplicate = [
        Write::Insert(&key("new"), b"x"),
        Write::LockDelete(&key("old")),
        Write::Insert(&key("there"), b"y"),
    ];
    txn.apply(&duplicate).unwrap_err();
    assert!(free("new", LockMode::Exclusive) && free("old", LockMode::Exclusive));
    assert!(free("there", LockMode::Shared) && !free("there", LockMode::Exclusive));

    // Somebody else only reads the duplicate.
    let mut other = engine.begin(Isolation::RepeatableRead);
    other.set_lock_wait_timeout(Duration::ZERO);
    let (_, error) = other
        .apply(&[Write::Insert(&key("there"), b"z")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
    let (_, error) = other
        .apply(&[Write::InsertForUpdate(&key("there"), b"z")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockTimeout);
    drop((txn, other));

    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.apply(&[Write::InsertForUpdate(&key("there"), b"z")])
        .unwrap_err();
    assert!(!free("there", LockMode::Shared));
    txn.lock(&key("read"), LockMode::Exclusive).unwrap();
    txn.insert(&key("before"), b"1").unwrap();
    let savepoint = txn.savepoint();
    txn.insert(&key("after"), b"1").unwrap();
    txn.insert(&key("read"), b"1").unwrap();
    txn.rollback_to(savepoint);
    assert!(free("after", LockMode::Exclusive));
    assert!(!free("read", LockMode::Shared), "locked for itself");
    assert!(!free("before", LockMode::Shared));
}
