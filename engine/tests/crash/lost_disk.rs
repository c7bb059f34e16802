//! The local disk is gone, or has less than the store: what the store acknowledged is there.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::{Engine, ErrorKind};

use crate::history::{Writer, check_no_garbage, create, in_memory, in_store, make_and_drop_index};
use crate::power::Gated;
use crate::with_others;

/// Lets the writers work, with flushes, compactions and index drops beside them, and returns the store as it was at some moment, and what has to be in
/// it of each writer.
fn store_at_some_moment(
    engine: &Engine,
    gated: &Gated,
    writers: &[Writer],
    seed: u64,
) -> (MemoryStore, Vec<RangeInclusive<u64>>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in writers {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.write_one(engine).unwrap();
                }
            });
        }
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                make_and_drop_index(engine).unwrap();
                engine.flush().unwrap();
                if seed.is_multiple_of(2) {
                    engine.compact().unwrap();
                }
            }
        });
        std::thread::sleep(Duration::from_millis(60 + seed % 7 * 11));
        let (least, copy) = gated.catch(|inner| {
            let least: Vec<u64> = writers.iter().map(|w| *w.expected().start()).collect();
            (least, inner.copy())
        });
        // One more may be under way, and one acknowledged but not noted.
        let expected = least.iter().map(|&least| least..=least + 2).collect();
        stop.store(true, Ordering::Relaxed);
        (copy, expected)
    })
}

#[test]
fn nothing_that_the_store_acknowledged_is_lost_with_the_disk() {
    let _guard = with_others();
    let mut inner = MemoryStore::new();
    let writers: Vec<Writer> = (0..4).map(Writer::in_store).collect();
    for seed in 0..8 {
        let gated = Arc::new(Gated::new(inner));
        let options = in_store(&FaultFs::new(), gated.clone());
        let engine = match seed {
            0 => create(options),
            _ => Engine::open(options).unwrap(),
        };
        let (copy, expected) = store_at_some_moment(&engine, &gated, &writers, seed);
        drop(engine);
        // Another machine, an empty disk.
        let store = Arc::new(copy);
        let engine = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
        for (writer, expected) in writers.iter().zip(expected) {
            writer.check(&engine, expected);
        }
        check_no_garbage(&engine);
        engine.close().unwrap();
        inner = store.copy();
    }
}

#[test]
fn what_is_acknowledged_locally_is_lost_from_its_end_at_most() {
    let _guard = with_others();
    for seed in 0..4 {
        let gated = Arc::new(Gated::new(MemoryStore::new()));
        let engine = create(in_store(&FaultFs::new(), gated.clone()));
        let writers: Vec<Writer> = (0..3).map(Writer::new).collect();
        let (copy, expected) = store_at_some_moment(&engine, &gated, &writers, seed);
        drop(engine);
        let engine = Engine::open(in_store(&FaultFs::new(), Arc::new(copy))).unwrap();
        for (writer, expected) in writers.iter().zip(expected) {
            // Whole transactions, the first n of each.
            writer.check(&engine, 0..=*expected.end());
        }
        check_no_garbage(&engine);
    }
}

#[test]
fn a_log_that_the_store_does_not_have_is_found_locally_and_sent() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let store = FaultStore::new(inner.clone());
    let mut options = in_store(&fs, Arc::new(store.clone()));
    // What is committed by files waits for the store.
    options.transaction_memory = 1 << 20;
    options.total_memtable_size = 16 << 20;
    let engine = create(options);
    let writer = Writer::new(0);
    for _ in 0..20 {
        writer.write_one(&engine).unwrap();
    }
    store.add(Rule {
        key_contains: "wal/".to_owned(),
        ..Rule::always(Operation::PutIfAbsent, Fault::Fail(ErrorKind::Unavailable))
    });
    for _ in 0..20 {
        writer.write_one(&engine).unwrap();
    }
    let fs = fs.crash(PowerLoss::All);
    drop(engine);
    store.heal();
    let engine = Engine::open(in_store(&fs, inner.clone())).unwrap();
    writer.check(&engine, 40..=40);
    // It was sent before anything else.
    drop(engine);
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, 40..=40);
}

#[test]
fn a_local_log_that_lost_its_end_goes_on_from_the_stores() {
    let _guard = with_others();
    let (mut fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    create(in_store(&fs, inner.clone())).close().unwrap();
    let writer = Writer::in_store(0);
    for round in 1..=6 {
        let engine = Engine::open(in_store(&fs, inner.clone())).unwrap();
        for _ in 0..7 {
            writer.write_one(&engine).unwrap();
        }
        // Commits that wait for the store are not synced here.
        fs = fs.crash(PowerLoss::All);
        drop(engine);
        let engine = Engine::open(in_store(&fs, inner.clone())).unwrap();
        writer.check(&engine, 7 * round..=7 * round);
        if round % 2 == 0 {
            check_no_garbage(&engine);
        }
        drop(engine);
    }
}

#[test]
fn a_store_without_a_log_gets_one_and_is_not_opened_without_it_again() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let writer = Writer::new(0);
    let engine = create(in_memory(&fs, inner.clone()));
    for _ in 0..10 {
        writer.write_one(&engine).unwrap();
    }
    drop(engine);
    // Its log is here and nowhere else.
    let elsewhere = Engine::open(in_store(&FaultFs::new(), inner.clone()));
    assert_eq!(elsewhere.err().unwrap().kind(), ErrorKind::NotFound);
    let engine = Engine::open(in_store(&fs, inner.clone())).unwrap();
    writer.check(&engine, 10..=10);
    drop(engine);
    let error = Engine::open(in_memory(&fs, inner.clone())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("remote_wal"), "{error}");
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, 10..=10);
}

#[test]
fn a_missing_chunk_is_damage() {
    let _guard = with_others();
    let inner = Arc::new(MemoryStore::new());
    let mut options = in_store(&FaultFs::new(), inner.clone());
    // All of the log is needed as long as nothing is flushed.
    options.transaction_memory = 1 << 20;
    options.memtable_size = 8 << 20;
    options.total_memtable_size = 16 << 20;
    options.total_wal_size = 16 << 20;
    let engine = create(options);
    let writer = Writer::in_store(0);
    for _ in 0..10 {
        writer.write_one(&engine).unwrap();
    }
    drop(engine);
    let chunks = smartengine::object_store::ObjectStore::list(&*inner, "wal/", "", 1000).unwrap();
    assert!(chunks.len() > 8, "{chunks:?}");
    for chunk in &chunks[..chunks.len() - 2] {
        let copy = inner.copy();
        smartengine::object_store::ObjectStore::delete(&copy, &chunk.key).unwrap();
        let error = Engine::open(in_store(&FaultFs::new(), Arc::new(copy)))
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{}", chunk.key);
        assert!(error.message().contains("wal/"), "{error}");
    }
}
