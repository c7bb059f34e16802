//! A commit is acknowledged after a sync that came after its bytes: never before, never without.

use std::sync::Arc;

use smartengine::internals::env::fs::{FaultFs, Operation, PowerLoss};
use smartengine::internals::object_store::MemoryStore;
use smartengine::{Engine, ErrorKind, Index, Isolation, View, WalSync};

use crate::history::{Writer, create, in_memory};
use crate::with_others;

#[test]
fn each_commit_is_synced_before_it_is_acknowledged() {
    let _guard = with_others();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = create(in_memory(&fs, store.clone()));
    let writer = Writer::in_one_phase(0);
    for number in 1..=30 {
        let before = fs.count(Operation::Sync);
        writer.write_one(&engine).unwrap();
        assert!(fs.count(Operation::Sync) > before, "commit {number}");
        let found = in_memory(&fs.crash(PowerLoss::All), Arc::new(store.copy()));
        let after = Engine::open(found).unwrap();
        Writer::in_one_phase(0).check(&after, number..=number);
    }
}

#[test]
fn relaxed_commits_are_not_synced_until_asked_for() {
    let _guard = with_others();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let mut options = in_memory(&fs, store.clone());
    options.wal_sync = WalSync::EachSecond;
    // What is committed by files is synced in any case.
    options.transaction_memory = 1 << 20;
    options.memtable_size = 1 << 20;
    options.total_memtable_size = 4 << 20;
    let engine = create(options);
    let writer = Writer::in_one_phase(0);
    let before = engine.stats().wal_syncs;
    let start = std::time::Instant::now();
    for _ in 0..20 {
        writer.write_one(&engine).unwrap();
    }
    let syncs = engine.stats().wal_syncs - before;
    assert!(syncs <= 1 + start.elapsed().as_secs(), "{syncs} syncs");
    engine.sync_wal().unwrap();
    let found = in_memory(&fs.crash(PowerLoss::All), Arc::new(store.copy()));
    Writer::in_one_phase(0).check(&Engine::open(found).unwrap(), 20..=20);
    // Each commit may choose for itself.
    engine.set_wal_sync(WalSync::EachCommit);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(b"\0\0\0\x01mine", b"x").unwrap();
    let before = engine.stats().wal_syncs;
    txn.commit().unwrap();
    assert_eq!(engine.stats().wal_syncs, before + 1);
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_stops_writes_but_not_reads() {
    let _guard = with_others();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = create(in_memory(&fs, store.clone()));
    let writer = Writer::in_one_phase(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    fs.fail(Operation::Sync, 0, 1, ErrorKind::Unavailable);
    let error = writer.write_one(&engine).unwrap_err();
    assert!(error.message().contains("injected failure"), "{error}");
    // The device answers again, but what it holds is not known.
    let error = writer.write_one(&engine).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.message().contains("injected failure"), "{error}");
    writer.check(&engine, 5..=5);
    assert!(engine.status().contains("READ ONLY"));
    assert_eq!(engine.flush().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(engine.compact().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(
        engine
            .drop_indexes(&[Index::from_id(1)])
            .unwrap_err()
            .kind(),
        ErrorKind::ReadOnly
    );
    engine.close().unwrap();
    for loss in [PowerLoss::ProcessOnly, PowerLoss::All] {
        let found = in_memory(&fs.crash(loss), Arc::new(store.copy()));
        let engine = Engine::open(found).unwrap();
        let writer = Writer::in_one_phase(0);
        writer.check(&engine, 5..=6);
        writer.write_one(&engine).unwrap();
    }
}

#[test]
fn a_full_disk_stops_writes_and_reopening_goes_on() {
    let _guard = with_others();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = create(in_memory(&fs, store.clone()));
    let writer = Writer::in_one_phase(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    fs.fail(Operation::Write, 0, 1, ErrorKind::OutOfSpace);
    let error = writer.write_one(&engine).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(
        writer.write_one(&engine).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    writer.check(&engine, 5..=5);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert!(txn.get(b"\0\0\0\x01none", View::Newest).unwrap().is_none());
    drop(txn);
    drop(engine);
    fs.heal();
    let engine = Engine::open(in_memory(&fs, store)).unwrap();
    writer.check(&engine, 5..=5);
    writer.write_one(&engine).unwrap();
    writer.check(&engine, 6..=6);
}
