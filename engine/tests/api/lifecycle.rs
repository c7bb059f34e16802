//! Opening, closing, and being stopped.

use std::sync::atomic::{AtomicU64, Ordering};

use smartengine::{Engine, ErrorKind, Index, Isolation, LockMode, Options, View};

use crate::{key, small};

#[test]
fn one_engine_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let error = Engine::open(small(dir.path())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("LOCK"), "{error}");
    // The first one is none the worse for it.
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    drop((txn, engine));
    Engine::open(small(dir.path())).unwrap();
}

#[test]
fn a_directory_is_not_given_free_while_a_transaction_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    engine.close().unwrap();
    let error = txn.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert!(Engine::open(small(dir.path())).is_err());
    drop(txn);
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert!(txn.get(&key("a"), View::Snapshot).unwrap().is_none());
}

#[test]
fn a_second_writer_of_a_store_takes_it_over() {
    use std::sync::Arc;
    let store = Arc::new(smartengine::internals::object_store::MemoryStore::new());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = |dir: &tempfile::TempDir, name: &str| {
        let mut options = small(dir.path());
        // It knows nothing of the first one's log.
        options.accept_lost_log = true;
        options.store = Some(store.clone());
        options.writer = name.to_owned();
        Engine::open(options).unwrap()
    };
    let first = open(&dirs[0], "one");
    let mut txn = first.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    first.flush().unwrap();
    let second = open(&dirs[1], "two");
    txn.restart(Isolation::RepeatableRead).unwrap();
    txn.insert(&key("b"), b"2").unwrap();
    txn.commit().unwrap();
    let error = first.flush().unwrap_err();
    assert!(
        error.message().contains("fenced by epoch 2, writer two"),
        "{error}"
    );
    txn.restart(Isolation::RepeatableRead).unwrap();
    txn.insert(&key("c"), b"3").unwrap();
    let error = txn.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().contains("fenced by epoch 2"), "{error}");
    let mut reader = second.begin(Isolation::RepeatableRead);
    assert!(reader.get(&key("a"), View::Snapshot).unwrap().is_some());
    assert!(reader.get(&key("b"), View::Snapshot).unwrap().is_none());
}

#[test]
fn options_out_of_range_are_named() {
    let dir = tempfile::tempdir().unwrap();
    type Change = fn(&mut Options);
    let broken: [(&str, Change); 7] = [
        ("block_size", |o| o.block_size = 100),
        ("memtable_size", |o| o.memtable_size = 1),
        ("total_memtable_size", |o| o.total_memtable_size = 65 << 10),
        ("level_multiplier", |o| o.level_multiplier = 1),
        ("zstd_level", |o| o.zstd_level = 40),
        ("compression", |o| o.compression.clear()),
        ("compaction_threads", |o| o.compaction_threads = 0),
    ];
    for (name, change) in broken {
        let mut options = Options::new(dir.path());
        change(&mut options);
        let error = Engine::open(options).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(name), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_poisoned_engine_reads_and_says_why_it_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    engine.poison("the moon is full");
    engine.poison("something else");
    txn.restart(Isolation::RepeatableRead).unwrap();
    txn.insert(&key("b"), b"2").unwrap();
    let error = txn.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.message().contains("the moon is full"), "{error}");
    txn.restart(Isolation::RepeatableRead).unwrap();
    assert_eq!(&*txn.get(&key("a"), View::Snapshot).unwrap().unwrap(), b"1");
    assert!(txn.get(&key("b"), View::Newest).unwrap().is_none());
    // What has nothing to write can be committed.
    txn.commit().unwrap();
    assert!(engine.status().contains("the moon is full"));
    drop(txn);
    engine.close().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert!(txn.get(&key("a"), View::Snapshot).unwrap().is_some());
}

#[test]
fn closing_under_commits_loses_none_that_was_acknowledged() {
    for round in 0..5u64 {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(small(dir.path())).unwrap();
        let acknowledged = AtomicU64::new(0);
        let mut txns: Vec<_> = (0..4)
            .map(|_| engine.begin(Isolation::RepeatableRead))
            .collect();
        std::thread::scope(|scope| {
            for (thread, txn) in txns.iter_mut().enumerate() {
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    for number in 0.. {
                        txn.restart(Isolation::RepeatableRead).unwrap();
                        txn.insert(&key(&format!("{thread} {number}")), &[7; 500])
                            .unwrap();
                        match txn.commit() {
                            Ok(()) => acknowledged.fetch_add(1, Ordering::SeqCst),
                            Err(error) => {
                                let closed = [ErrorKind::Interrupted, ErrorKind::ReadOnly];
                                assert!(closed.contains(&error.kind()), "{error:?}");
                                break;
                            }
                        };
                    }
                });
            }
            while acknowledged.load(Ordering::SeqCst) < 100 * round {
                std::thread::yield_now();
            }
            engine.close().unwrap();
        });
        drop(txns);
        let engine = Engine::open(small(dir.path())).unwrap();
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
        cursor.seek_to_first().unwrap();
        let mut found = 0;
        while cursor.valid() {
            found += 1;
            cursor.next().unwrap();
        }
        assert_eq!(found, acknowledged.into_inner());
    }
}

#[test]
fn a_dropped_engine_leaves_all_commits_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let engine = Engine::open(small(dir.path())).unwrap();
        let mut txn = engine.begin(Isolation::RepeatableRead);
        for earlier in 0..round {
            let row = txn.get(&key(&earlier.to_string()), View::Snapshot);
            assert!(row.unwrap().is_some(), "{earlier} of {round}");
        }
        txn.insert(&key(&round.to_string()), &[1; 1000]).unwrap();
        txn.commit().unwrap();
        txn.restart(Isolation::RepeatableRead).unwrap();
        txn.insert(&key("never committed"), b"x").unwrap();
        assert_eq!(engine.stats().epoch, round + 1);
    }
    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(engine.retain_indexes(&[Index::from_id(1)]).unwrap(), []);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("never committed"), b"x").unwrap();
}

#[test]
fn closing_lets_a_waiting_transaction_go_on_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut holder = engine.begin(Isolation::RepeatableRead);
    holder.lock(&key("a"), LockMode::Exclusive).unwrap();
    let mut waiter = engine.begin(Isolation::RepeatableRead);
    let waiter_id = waiter.id();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| waiter.lock(&key("a"), LockMode::Shared).map(|_| ()));
        while engine.stats().lock_waits == 0 {
            std::thread::yield_now();
        }
        engine.interrupt(waiter_id);
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    });
    engine.close().unwrap();
    holder.rollback().unwrap();
}

#[test]
fn index_ids_are_never_given_out_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let engine = Engine::open(small(dir.path())).unwrap();
        for count in [1, 300, 2] {
            for index in engine.create_indexes(count).unwrap() {
                assert!(index.id() > last);
                last = index.id();
            }
        }
        for index in [Index::from_id(last + 1), Index::DICTIONARY] {
            let error = engine.drop_indexes(&[index]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}

#[test]
fn indexes_that_nobody_names_are_counted_while_they_hold_keys() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let indexes = engine.create_indexes(4).unwrap();
    let named = &indexes[..1];
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for at in [0, 1, 3] {
        txn.put(&indexes[at].key("row"), b"x").unwrap();
    }
    txn.commit().unwrap();
    assert_eq!(
        engine.unnamed_indexes(named).unwrap(),
        [indexes[1], indexes[3]]
    );
    engine.flush().unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.delete(&indexes[3].key("row")).unwrap();
    txn.commit().unwrap();
    // The file's range has the third as well, which never held anything.
    assert_eq!(engine.unnamed_indexes(named).unwrap(), [indexes[1]]);
    engine.drop_indexes(&indexes[1..2]).unwrap();
    assert_eq!(engine.unnamed_indexes(named).unwrap(), []);
}
