//! Cursors over keys with many versions: what they show, and how far they step for it.

use std::collections::BTreeMap;

use super::*;
use crate::env::Sequence;
use crate::iter::test_support::take_moves;
use crate::{Engine, Isolation, Options, Transaction, View, WalSync};

fn key(number: u8) -> [u8; 5] {
    [0, 0, 0, 1, number]
}

fn open(dir: &tempfile::TempDir) -> Engine {
    let mut options = Options::new(dir.path());
    options.disable_auto_compactions = true;
    options.wal_sync = WalSync::EachSecond;
    // The least there is: a few hundred writes are spilled.
    options.transaction_memory = 12 << 10;
    Engine::open(options).unwrap()
}

fn put(engine: &Engine, number: u8, value: u32) {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.put(&key(number), &value.to_be_bytes()).unwrap();
    txn.commit().unwrap();
}

fn reader(engine: &Engine) -> Transaction {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.take_snapshot();
    txn
}

type Shown = Vec<(Vec<u8>, Vec<u8>)>;

/// All that a cursor shows one way, and how many moves of its sources that took.
fn show(cursor: &mut Cursor, forward: bool) -> (Shown, u64) {
    take_moves();
    let mut shown = Vec::new();
    match forward {
        true => cursor.seek_to_first().unwrap(),
        false => cursor.seek_to_last().unwrap(),
    }
    while cursor.valid() {
        shown.push((cursor.key().to_vec(), cursor.value().to_vec()));
        match forward {
            true => cursor.next().unwrap(),
            false => cursor.prev().unwrap(),
        }
    }
    if !forward {
        shown.reverse();
    }
    (shown, take_moves())
}

/// What a transaction sees, in both directions, and the moves that took.
fn see(txn: &mut Transaction) -> (Shown, u64) {
    let mut cursor = txn.cursor(&key(0)..&key(255), View::Snapshot).unwrap();
    let (forward, ahead) = show(&mut cursor, true);
    let (backward, back) = show(&mut cursor, false);
    assert_eq!(forward, backward);
    (forward, ahead + back)
}

/// Both ways over three rows, of which the middle one has any number of versions, in any of three sources.
const MOVES: u64 = 150;

#[test]
fn a_row_updated_often_since_the_snapshot_takes_no_more_steps_than_another() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    (1..4).for_each(|number| put(&engine, number, 0));
    let mut old = reader(&engine);
    let before = see(&mut old);
    (1..20_000).for_each(|value| put(&engine, 2, value));
    let mut middle = reader(&engine);
    (1..20_000).for_each(|value| put(&engine, 2, value));
    let mut deleter = engine.begin(Isolation::ReadCommitted);
    deleter.delete(&key(2)).unwrap();
    deleter.commit().unwrap();
    for flushed in [false, true] {
        let (seen, moves) = see(&mut old);
        assert_eq!(seen, before.0);
        assert!(moves <= MOVES, "{moves} moves, flushed: {flushed}");
        let (seen, moves) = see(&mut middle);
        assert_eq!(seen[1].1, 19_999u32.to_be_bytes());
        assert!(moves <= MOVES, "{moves} moves, flushed: {flushed}");
        let (seen, moves) = see(&mut reader(&engine));
        assert_eq!(seen.len(), 2);
        assert!(moves <= MOVES, "{moves} moves, flushed: {flushed}");
        engine.flush().unwrap();
    }
    drop((old, middle, deleter));
    engine.close().unwrap();
}

/// Snapshots keep versions in files, too.
#[test]
fn a_row_with_many_versions_in_files_takes_no_more_steps_than_another() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    (1..4).for_each(|number| put(&engine, number, 0));
    let mut readers = vec![reader(&engine)];
    for value in 1..3000 {
        put(&engine, 2, value);
        readers.push(reader(&engine));
        if value % 1000 == 0 {
            engine.flush().unwrap();
        }
    }
    engine.flush().unwrap();
    for at in [0, 7, 1000, 1001, 1500, 2990, 2999] {
        let (seen, moves) = see(&mut readers[at]);
        assert_eq!(seen[1].1, (at as u32).to_be_bytes());
        assert!(moves <= MOVES, "{moves} moves at {at}");
    }
    drop(readers);
    engine.close().unwrap();
}

/// In memory, and in the runs of a transaction that was spilled.
#[test]
fn a_row_written_often_by_the_transaction_itself_takes_no_more_steps_than_another() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    (1..4).for_each(|number| put(&engine, number, 0));
    for times in [50, 20_000] {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        for value in 1..=times {
            txn.put(&key(2), &u32::to_be_bytes(value)).unwrap();
        }
        let (seen, moves) = see(&mut txn);
        assert_eq!(seen[1].1, u32::to_be_bytes(times));
        // Runs of two sizes beside the list: each is one source more.
        assert!(moves <= 6 * MOVES, "{moves} moves");
        txn.delete(&key(2)).unwrap();
        let (seen, moves) = see(&mut txn);
        assert_eq!(seen.len(), 2);
        assert!(moves <= 6 * MOVES, "{moves} moves");
    }
    engine.close().unwrap();
}

/// Of own writes that were rolled back while the cursor was ahead of them, however many, only those are passed over.
#[test]
fn an_own_write_behind_many_that_were_rolled_back_shows() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    (1..4).for_each(|number| put(&engine, number, 0));
    for times in [5, 30, 3000] {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.put(&key(2), b"kept").unwrap();
        let savepoint = txn.savepoint();
        for value in 1..=times {
            txn.put(&key(2), &u32::to_be_bytes(value)).unwrap();
        }
        let mut cursor = txn.cursor(&key(0)..&key(255), View::Snapshot).unwrap();
        cursor.seek_to_first().unwrap();
        let mut back = txn.cursor(&key(0)..&key(255), View::Snapshot).unwrap();
        back.seek_to_last().unwrap();
        (0..100).for_each(|value| put(&engine, 2, value));
        txn.rollback_to(savepoint);
        cursor.next().unwrap();
        assert_eq!((cursor.key(), cursor.value()), (&key(2)[..], &b"kept"[..]));
        back.prev().unwrap();
        assert_eq!((back.key(), back.value()), (&key(2)[..], &b"kept"[..]));
    }
    engine.close().unwrap();
}

/// Few keys, versions by the hundred, flushes in between: each of many snapshots shows what was committed then, with its own writes over it.
#[test]
fn every_snapshot_of_rows_with_many_versions_shows_its_own() {
    for seed in 0..6 {
        let mut sequence = Sequence::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let engine = open(&dir);
        let mut model = BTreeMap::new();
        let mut readers: Vec<(Transaction, BTreeMap<Vec<u8>, Vec<u8>>)> = Vec::new();
        for value in 0..1500u32 {
            let number = sequence.below(5) as u8;
            // One key is written far more often than the others.
            let number = if sequence.below(4) > 0 { 2 } else { number };
            let mut txn = engine.begin(Isolation::ReadCommitted);
            if sequence.below(6) == 0 {
                txn.delete(&key(number)).unwrap();
                model.remove(&key(number)[..]);
            } else {
                txn.put(&key(number), &value.to_be_bytes()).unwrap();
                model.insert(key(number).to_vec(), value.to_be_bytes().to_vec());
            }
            txn.commit().unwrap();
            if sequence.below(8) == 0 {
                readers.push((reader(&engine), model.clone()));
            }
            if sequence.below(200) == 0 {
                engine.flush().unwrap();
            }
            if sequence.below(500) == 0 {
                engine.compact().unwrap();
            }
        }
        for (txn, model) in &mut readers {
            for _ in 0..sequence.below(3) {
                let number = sequence.below(5) as u8;
                for value in 0..sequence.below(20) as u32 {
                    txn.put(&key(number), &value.to_be_bytes()).unwrap();
                    model.insert(key(number).to_vec(), value.to_be_bytes().to_vec());
                }
                if sequence.below(3) == 0 {
                    txn.delete(&key(number)).unwrap();
                    model.remove(&key(number)[..]);
                }
            }
            let expected: Shown = model.clone().into_iter().collect();
            assert_eq!(see(txn).0, expected, "seed {seed}");
            for number in 0..5 {
                let found = txn.get(&key(number), View::Snapshot).unwrap();
                let found = found.map(|value| value.to_vec());
                assert_eq!(found.as_ref(), model.get(&key(number)[..]), "seed {seed}");
            }
        }
        drop(readers);
        engine.close().unwrap();
    }
}
