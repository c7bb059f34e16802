//! Many threads at once, with flushes and compactions under them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smartengine::internals::env::Sequence;
use smartengine::internals::env::fs::FaultFs;
use smartengine::internals::object_store::MemoryStore;
use smartengine::{Engine, ErrorKind, Index, Isolation, LockMode, View};

use crate::run::small_options;

const ACCOUNTS: u64 = 50;
const START: u64 = 1000;

fn account(index: Index, number: u64) -> Vec<u8> {
    index.key(number.to_be_bytes())
}

fn amount(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

/// Padded, so that memtables fill.
fn value(amount: u64, draw: u64) -> Vec<u8> {
    let mut bytes = amount.to_le_bytes().to_vec();
    let mut sequence = Sequence::new(draw);
    for _ in 0..draw % 60 {
        bytes.extend(sequence.next_u64().to_le_bytes());
    }
    bytes
}

fn transfer(engine: &Engine, index: Index, sequence: &mut Sequence) -> Result<(), ErrorKind> {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    let (from, to) = (sequence.below(ACCOUNTS), sequence.below(ACCOUNTS));
    if from == to {
        return Ok(());
    }
    let mut balances = Vec::new();
    for number in [from, to] {
        let key = account(index, number);
        txn.lock(&key, LockMode::Exclusive).map_err(|e| e.kind())?;
        let row = txn.get(&key, View::Newest).unwrap().unwrap();
        balances.push(amount(&row));
    }
    let sum = balances[0].min(sequence.below(50));
    for (number, balance) in [(from, balances[0] - sum), (to, balances[1] + sum)] {
        let key = account(index, number);
        // A row moves away and back in one transaction.
        if sequence.below(4) == 0 {
            txn.delete(&key).unwrap();
        }
        txn.put(&key, &value(balance, sequence.next_u64())).unwrap();
    }
    match sequence.below(10) {
        0 => txn.rollback().unwrap(),
        _ => txn.commit().unwrap(),
    }
    Ok(())
}

/// Counts the money as one snapshot shows it, forwards and backwards.
fn audit(engine: &Engine, index: Index) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn.cursor(&index.all(), View::Snapshot).unwrap();
    let mut forward = BTreeMap::new();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        forward.insert(cursor.key().to_vec(), amount(cursor.value()));
        cursor.next().unwrap();
    }
    assert_eq!(forward.len() as u64, ACCOUNTS);
    assert_eq!(forward.values().sum::<u64>(), ACCOUNTS * START);
    let mut backward = BTreeMap::new();
    cursor.seek_to_last().unwrap();
    while cursor.valid() {
        backward.insert(cursor.key().to_vec(), amount(cursor.value()));
        cursor.prev().unwrap();
    }
    assert_eq!(forward, backward);
    for (key, balance) in &forward {
        let row = txn.get(key, View::Snapshot).unwrap().unwrap();
        assert_eq!(amount(&row), *balance);
    }
}

#[test]
fn money_is_neither_made_nor_lost_by_transfers_from_many_threads() {
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(small_options(&fs, &store)).unwrap();
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..ACCOUNTS {
        txn.insert(&account(index, number), &value(START, number))
            .unwrap();
    }
    txn.commit().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|seed| {
                let engine = &engine;
                scope.spawn(move || {
                    let mut sequence = Sequence::new(seed);
                    let mut deadlocks = 0;
                    for _ in 0..400 {
                        match transfer(engine, index, &mut sequence) {
                            Ok(()) => {}
                            Err(ErrorKind::Deadlock) => deadlocks += 1,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    deadlocks
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    audit(&engine, index);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.flush().unwrap();
                engine.compact().unwrap();
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    audit(&engine, index);
    drop(txn);
    let stats = engine.stats();
    assert_eq!((stats.row_locks, stats.snapshots), (0, 0));
    assert!(stats.flushes > 0 && stats.compactions > 0);
    drop(engine);
    let engine = Engine::open(small_options(&fs, &store)).unwrap();
    audit(&engine, index);
}

#[test]
fn indexes_come_and_go_while_others_are_written() {
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(small_options(&fs, &store)).unwrap();
    let stays = engine.create_index().unwrap();
    std::thread::scope(|scope| {
        for seed in 0..3u64 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..15u64 {
                    let index = engine.create_index().unwrap();
                    for part in 0..4u64 {
                        let mut txn = engine.begin(Isolation::RepeatableRead);
                        for number in 0..50u64 {
                            let draw = seed << 32 | round << 16 | part << 8 | number;
                            txn.put(&account(index, part << 8 | number), &value(1, draw))
                                .unwrap();
                            txn.put(
                                &account(stays, seed << 32 | part << 8 | number),
                                &value(round, draw),
                            )
                            .unwrap();
                        }
                        txn.commit().unwrap();
                    }
                    engine.drop_indexes(&[index]).unwrap();
                }
            });
        }
    });
    engine.compact().unwrap();
    let check = |engine: &Engine| {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
        cursor.seek_to_first().unwrap();
        let mut count = 0;
        while cursor.valid() {
            assert_eq!(Index::of(cursor.key()), Some(stays));
            assert_eq!(amount(cursor.value()), 14);
            count += 1;
            cursor.next().unwrap();
        }
        assert_eq!(count, 3 * 4 * 50);
    };
    check(&engine);
    engine.close().unwrap();
    let engine = Engine::open(small_options(&fs, &store)).unwrap();
    check(&engine);
    assert_eq!(engine.retain_indexes(&[stays]).unwrap(), []);
}
