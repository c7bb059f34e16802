//! Work that writes to the log and leaves no rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Isolation, Options, View};

use crate::{key, small};

/// A log of 1 MiB at most, or about that.
const LOG: u64 = 1 << 20;

fn options(dir: &tempfile::TempDir, store: &Arc<MemoryStore>, remote: bool) -> Options {
    let mut options = small(dir.path());
    options.store = Some(store.clone());
    options.total_wal_size = LOG;
    options.remote_wal = remote;
    options.wal_upload_interval = Duration::from_millis(1);
    options.wal_upload_size = 16 << 10;
    options.gc_grace = Duration::ZERO;
    options
}

/// Prepares a transaction of some kilobytes and rolls it back.
fn prepare_and_roll_back(engine: &Engine, number: u64) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.put(&key("row"), &[number as u8; 8 << 10]).unwrap();
    txn.prepare(&number.to_be_bytes(), false).unwrap();
    txn.rollback().unwrap();
}

fn chunks(store: &MemoryStore) -> usize {
    store.list("wal/", "", 100_000).unwrap().len()
}

/// Waits until flush and removal have caught up.
fn settles(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(20) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn prepares_and_rollbacks_alone_do_not_make_the_log_grow() {
    for remote in [false, true] {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
        let engine = Engine::open(options(&dir, &store, remote)).unwrap();
        for number in 0..1500 {
            prepare_and_roll_back(&engine, number);
        }
        let stats = engine.stats();
        assert!(stats.wal_bytes_written > 10 * LOG);
        assert!(
            settles(|| {
                // Who writes sees that it is time for a flush.
                prepare_and_roll_back(&engine, 1);
                engine.stats().wal_bytes_live <= LOG
            }),
            "{remote}: {} bytes of log",
            engine.stats().wal_bytes_live
        );
        assert!(settles(|| engine.stats().wal_segments <= 20));
        if remote {
            assert!(
                settles(|| chunks(&store) < 150),
                "{} chunks",
                chunks(&store)
            );
        }
        // What follows is replayed, and what went before is not asked for.
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.put(&key("row"), b"kept").unwrap();
        txn.commit().unwrap();
        engine.sync_wal().unwrap();
        drop((txn, engine));
        let engine = Engine::open(options(&dir, &store, remote)).unwrap();
        assert!(engine.prepared().is_empty());
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let found = txn.get(&key("row"), View::Snapshot).unwrap();
        assert_eq!(&*found.unwrap(), b"kept");
    }
}

#[test]
fn a_prepare_that_is_not_decided_keeps_its_log_whatever_is_rolled_back_after_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store, false)).unwrap();
    let mut kept = engine.begin(Isolation::RepeatableRead);
    kept.put(&key("kept"), b"prepared").unwrap();
    kept.prepare(b"kept", true).unwrap();
    engine.detach(kept).unwrap();
    for number in 0..300 {
        prepare_and_roll_back(&engine, number);
    }
    engine.flush().unwrap();
    engine.close().unwrap();
    let engine = Engine::open(options(&dir, &store, false)).unwrap();
    let mut kept = engine.take_prepared(b"kept").unwrap();
    for number in 0..300 {
        prepare_and_roll_back(&engine, number);
    }
    kept.commit().unwrap();
    // With nothing but its decision in the log the next open finds the rows all the same.
    engine.flush().unwrap();
    drop((kept, engine));
    let engine = Engine::open(options(&dir, &store, false)).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let found = txn.get(&key("kept"), View::Snapshot).unwrap();
    assert_eq!(&*found.unwrap(), b"prepared");
}

#[test]
fn a_flush_with_nothing_new_writes_nothing() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store, false)).unwrap();
    let manifests = || store.list("manifest/", "", 1000).unwrap().len();
    prepare_and_roll_back(&engine, 1);
    let before = manifests();
    for _ in 0..5 {
        engine.flush().unwrap();
    }
    assert_eq!(manifests(), before + 1);
}
