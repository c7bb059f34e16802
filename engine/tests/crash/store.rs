//! An object store that fails from time to time, for a while, or answers wrongly.

use std::sync::Arc;

use smartengine::internals::env::SystemClock;
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::{Engine, ErrorKind};

use crate::history::{Writer, check_no_garbage, create, in_memory, make_and_drop_index};
use crate::with_others;

fn rule(operation: Operation, fault: Fault, one_in: u64) -> Rule {
    Rule {
        one_in,
        ..Rule::always(operation, fault)
    }
}

#[test]
fn random_failures_lose_nothing() {
    let _guard = with_others();
    const FAULTS: [(Operation, Fault); 9] = [
        (Operation::Writer, Fault::Fail(ErrorKind::Unavailable)),
        (Operation::Append, Fault::Fail(ErrorKind::OutOfSpace)),
        (Operation::Finish, Fault::Fail(ErrorKind::Unavailable)),
        (Operation::Finish, Fault::Ambiguous(ErrorKind::Unavailable)),
        (Operation::PutIfAbsent, Fault::Fail(ErrorKind::Unavailable)),
        (
            Operation::PutIfAbsent,
            Fault::Ambiguous(ErrorKind::Unavailable),
        ),
        (Operation::Delete, Fault::Fail(ErrorKind::Unavailable)),
        (Operation::Read, Fault::Fail(ErrorKind::Unavailable)),
        (Operation::Read, Fault::BitFlip),
    ];
    for (seed, (operation, fault)) in (0u64..).zip(FAULTS) {
        let (mut fs, mut inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
        create(in_memory(&fs, inner.clone())).close().unwrap();
        let writer = Writer::new(seed);
        for generation in 0..2 {
            let clock = Arc::new(SystemClock::new());
            let store = FaultStore::with_clock(inner.clone(), clock, seed << 8 | generation);
            let mut options = in_memory(&fs, Arc::new(store.clone()));
            if operation == Operation::Read {
                // With many files in level 0 no compaction would ever get through.
                options.transaction_memory = 1 << 20;
            }
            let engine = Engine::open(options).unwrap();
            store.add(rule(operation, fault, 4));
            for step in 0..60 {
                // What fails here may fail; what is acknowledged is kept.
                if writer.write_one(&engine).is_err() {
                    break;
                }
                match step % 20 {
                    7 => drop(engine.flush()),
                    13 => drop(engine.compact()),
                    19 => drop(make_and_drop_index(&engine)),
                    _ => {}
                }
            }
            store.heal();
            let expected = *writer.expected().start();
            writer.check(&engine, expected..=expected);
            drop(engine);
            (fs, inner) = (fs.crash(PowerLoss::All), Arc::new(inner.copy()));
            let engine = Engine::open(in_memory(&fs, inner.clone())).unwrap();
            writer.check(&engine, expected..=expected + 1);
            check_no_garbage(&engine);
            drop(engine);
        }
    }
}

#[test]
fn work_that_failed_is_done_when_the_store_is_back() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let store = FaultStore::new(inner);
    let engine = create(in_memory(&fs, Arc::new(store.clone())));
    engine.set_auto_compactions(false);
    let writer = Writer::new(0);
    writer.write_one(&engine).unwrap();
    store.add(rule(
        Operation::Writer,
        Fault::Fail(ErrorKind::Unavailable),
        1,
    ));
    let error = engine.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        engine.status().contains("the last flush failed"),
        "{}",
        engine.status()
    );
    // Commits go on: the log does not need the store.
    writer.write_one(&engine).unwrap();
    store.heal();
    engine.flush().unwrap();
    assert!(!engine.status().contains("failed"));
    for _ in 0..3 {
        writer.write_one(&engine).unwrap();
        engine.flush().unwrap();
    }
    store.add(rule(
        Operation::Writer,
        Fault::Fail(ErrorKind::OutOfSpace),
        1,
    ));
    let error = engine.compact().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    store.heal();
    engine.compact().unwrap();
    writer.check(&engine, 5..=5);
    engine.close().unwrap();
}

#[test]
fn writers_that_wait_for_a_flush_that_fails_for_good_are_told() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let store = FaultStore::new(inner);
    let mut options = in_memory(&fs, Arc::new(store.clone()));
    // What is committed by files does not wait for long.
    options.transaction_memory = 1 << 20;
    let engine = create(options);
    store.add(rule(
        Operation::Append,
        Fault::Fail(ErrorKind::OutOfSpace),
        1,
    ));
    let writer = Writer::new(0);
    let error = loop {
        if let Err(error) = writer.write_one(&engine) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert!(
        error.message().contains("writes wait for a flush"),
        "{error}"
    );
    store.heal();
    engine.flush().unwrap();
    let acknowledged = *writer.expected().start();
    writer.check(&engine, acknowledged..=acknowledged);
    writer.write_one(&engine).unwrap();
}

#[test]
fn closing_while_the_store_is_away_says_so_and_loses_nothing() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let store = FaultStore::new(inner);
    let engine = create(in_memory(&fs, Arc::new(store.clone())));
    let writer = Writer::new(0);
    for _ in 0..10 {
        writer.write_one(&engine).unwrap();
    }
    store.add(rule(
        Operation::Writer,
        Fault::Fail(ErrorKind::Unavailable),
        1,
    ));
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Unavailable);
    store.heal();
    let engine = Engine::open(in_memory(&fs, Arc::new(store))).unwrap();
    writer.check(&engine, 10..=10);
}
