//! Transactions committed in two phases, with closes and crashes between the two.

use smartengine::{Engine, ErrorKind, Index, Isolation, LockMode, Transaction, View};

use crate::{key, small};

fn value(engine: &Engine, name: &str) -> Option<Vec<u8>> {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    let found = txn.get(&key(name), View::Snapshot).unwrap();
    found.map(|value| value.to_vec())
}

fn prepare(engine: &Engine, name: &str, value: &[u8]) -> Transaction {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key(name), value).unwrap();
    txn.prepare(name.as_bytes(), false).unwrap();
    txn
}

fn names(engine: &Engine) -> Vec<Vec<u8>> {
    let all = engine.prepared();
    all.iter().map(|prepared| prepared.name.to_vec()).collect()
}

#[test]
fn a_prepared_transaction_shows_nothing_and_can_only_be_decided() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = prepare(&engine, "a", b"1");
    assert!(txn.is_prepared());
    assert_eq!(value(&engine, "a"), None);
    assert_eq!(
        txn.put(&key("b"), b"").unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        txn.prepare(b"again", false).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let mut other = engine.begin(Isolation::RepeatableRead);
    assert_eq!(
        other
            .try_lock(&key("a"), LockMode::Shared)
            .unwrap_err()
            .kind(),
        ErrorKind::LockNotAvailable
    );
    txn.commit().unwrap();
    assert_eq!(value(&engine, "a").as_deref(), Some(&b"1"[..]));
    other.try_lock(&key("a"), LockMode::Shared).unwrap();

    prepare(&engine, "b", b"1").rollback().unwrap();
    assert_eq!(value(&engine, "b"), None);
    let too_long = engine
        .begin(Isolation::RepeatableRead)
        .prepare(&[0; 256], false);
    assert_eq!(too_long.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn sessions_hand_prepared_transactions_over() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    engine.detach(prepare(&engine, "a", b"1")).unwrap();
    let running = engine.begin(Isolation::RepeatableRead);
    assert_eq!(
        engine.detach(running).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let mut same = engine.begin(Isolation::RepeatableRead);
    same.prepare(b"a", false).unwrap();
    assert_eq!(engine.detach(same).unwrap_err().kind(), ErrorKind::Invalid);
    let all = engine.prepared();
    assert_eq!((all.len(), &*all[0].indexes), (1, &[Index::from_id(1)][..]));
    assert!(engine.take_prepared(b"b").is_none());
    let mut taken = engine.take_prepared(b"a").unwrap();
    assert!(engine.prepared().is_empty());
    taken.commit().unwrap();
    assert!(value(&engine, "a").is_some());
}

#[test]
fn what_is_not_decided_is_found_again_with_its_locks() {
    for close in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Engine::open(small(dir.path())).unwrap();
        let mut known = prepare(&engine, "known", b"1");
        known.note_in_coordinator(true).unwrap();
        let later = prepare(&engine, "later", b"2");
        drop((known, later));
        for decided in 0..3 {
            if close {
                engine.close().unwrap();
            } else {
                drop(engine);
            }
            engine = Engine::open(small(dir.path())).unwrap();
            let mut left = names(&engine);
            left.sort();
            assert_eq!(left, [&b"known"[..], b"later"][decided.min(2)..].to_vec());
            if decided == 0 {
                assert!(
                    engine.prepared()[0].in_coordinator && !engine.prepared()[1].in_coordinator
                );
                let mut other = engine.begin(Isolation::RepeatableRead);
                let locked = other.try_lock(&key("later"), LockMode::Exclusive);
                assert_eq!(locked.unwrap_err().kind(), ErrorKind::LockNotAvailable);
                engine.take_prepared(b"known").unwrap().commit().unwrap();
            } else if decided == 1 {
                engine.take_prepared(b"later").unwrap().rollback().unwrap();
            }
        }
        assert_eq!(value(&engine, "known").as_deref(), Some(&b"1"[..]));
        assert_eq!(value(&engine, "later"), None);
    }
}

/// The log is kept for a prepare, however much is flushed after it, before and after its commit.
#[test]
fn flushes_leave_the_log_of_a_prepared_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::open(small(dir.path())).unwrap();
    drop(prepare(&engine, "prepared", b"1"));
    for round in 0..3u8 {
        for number in 0..200u32 {
            let mut txn = engine.begin(Isolation::RepeatableRead);
            let name = format!("row {}", number % 50);
            txn.put(&key(&name), &[round; 1000]).unwrap();
            txn.commit().unwrap();
        }
        engine.flush().unwrap();
        engine.compact().unwrap();
        drop(engine);
        engine = Engine::open(small(dir.path())).unwrap();
        assert_eq!(names(&engine), [b"prepared"]);
        // The log is replayed from the prepare on, over what is in files already.
        assert_eq!(value(&engine, "row 7").unwrap(), [round; 1000]);
    }
    engine.take_prepared(b"prepared").unwrap().commit().unwrap();
    for _ in 0..2 {
        drop(engine);
        engine = Engine::open(small(dir.path())).unwrap();
        assert_eq!(value(&engine, "prepared").as_deref(), Some(&b"1"[..]));
    }
    engine.flush().unwrap();
    engine.compact().unwrap();
    let entries: u64 = engine
        .stats()
        .levels
        .iter()
        .map(|level| level.entries)
        .sum();
    assert_eq!(entries, 51);
    drop(engine);
    engine = Engine::open(small(dir.path())).unwrap();
    assert!(engine.prepared().is_empty());
    assert_eq!(value(&engine, "prepared").as_deref(), Some(&b"1"[..]));
}

#[test]
fn counters_are_kept_whatever_becomes_of_a_prepared_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    for (number, name) in [b"one", b"two"].into_iter().enumerate() {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.raise_counter(name, 5).unwrap();
        txn.prepare(name, true).unwrap();
        if number == 0 {
            txn.rollback().unwrap();
        }
    }
    drop(engine);
    let engine = Engine::open(small(dir.path())).unwrap();
    assert_eq!(names(&engine), [b"two"]);
    assert_eq!(
        (
            engine.counter(b"one").unwrap(),
            engine.counter(b"two").unwrap()
        ),
        (5, 5)
    );
}

/// Prepared with much memory, found again with little.
#[test]
fn a_prepared_transaction_is_whole_whatever_memory_the_next_open_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.transaction_memory = 4 << 20;
    let engine = Engine::open(options).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..100 {
        txn.put(&key(&format!("row {number}")), &[number; 4000])
            .unwrap();
    }
    txn.prepare(b"large", true).unwrap();
    drop(txn);
    drop(engine);
    let mut options = small(dir.path());
    options.transaction_memory = 64 << 10;
    let engine = Engine::open(options).unwrap();
    engine.take_prepared(b"large").unwrap().commit().unwrap();
    for number in 0..100 {
        let found = value(&engine, &format!("row {number}"));
        assert!(found == Some(vec![number; 4000]), "row {number}");
    }
}
