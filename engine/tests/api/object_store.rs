//! What the engine asks of its store is counted, and nothing is asked while nothing happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::object_store::{RequestKind, RequestStats};
use smartengine::{Engine, ErrorKind, Isolation, View};

use crate::{key, small};

fn of(engine: &Engine, kind: RequestKind) -> RequestStats {
    let stats = engine.object_store_stats();
    stats.into_iter().find(|one| one.kind == kind).unwrap()
}

fn requests(engine: &Engine) -> u64 {
    let stats = engine.object_store_stats();
    stats.iter().map(|one| one.requests).sum()
}

#[test]
fn requests_are_counted_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let faults = FaultStore::new(Arc::new(MemoryStore::new()));
    let mut options = small(dir.path());
    options.store = Some(Arc::new(faults.clone()));
    let engine = Engine::open(options).unwrap();
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.put(&key("a"), &[7; 10_000]).unwrap();
    txn.commit().unwrap();
    drop(txn);
    let before = of(&engine, RequestKind::PutIfAbsent);
    engine.flush().unwrap();
    let after = of(&engine, RequestKind::PutIfAbsent);
    // The sorted file and the edit that installs it.
    assert_eq!(after.requests, before.requests + 2);
    assert!(after.bytes_sent > before.bytes_sent);
    let mut txn = engine.begin(Isolation::ReadCommitted);
    assert!(txn.get(&key("a"), View::Newest).unwrap().is_some());
    assert!(of(&engine, RequestKind::Get).bytes_received > 0);
    drop(txn);
    faults.add(Rule::once(
        Operation::Finish,
        Fault::Fail(ErrorKind::Unavailable),
    ));
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.put(&key("b"), b"1").unwrap();
    txn.commit().unwrap();
    drop(txn);
    let _ = engine.flush();
    assert_eq!(of(&engine, RequestKind::PutIfAbsent).errors, 1);
    let report = engine.status();
    let section = report.split("OBJECT STORE").nth(1).unwrap();
    let section = section.split("\n\n").next().unwrap();
    for word in ["p99 ms", "put_if_absent", "get"] {
        assert!(section.contains(word), "{report}");
    }
    assert!(!section.contains("multipart"), "{report}");
    engine.close().unwrap();
}

#[test]
fn an_idle_engine_asks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.store = Some(Arc::new(MemoryStore::new()));
    let engine = Engine::open(options).unwrap();
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.put(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    drop(txn);
    engine.flush().unwrap();
    let before = requests(&engine);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(requests(&engine), before);
    engine.close().unwrap();
}

#[test]
fn many_small_commits_leave_a_log_that_is_read_soon() {
    const COMMITS: u32 = 5000;
    let store = Arc::new(MemoryStore::new());
    let open = |dir: &tempfile::TempDir| {
        let mut options = small(dir.path());
        options.store = Some(store.clone());
        options.remote_wal = true;
        options.memtable_size = 64 << 20;
        options.total_memtable_size = 256 << 20;
        options.total_wal_size = 1 << 30;
        Engine::open(options).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    for number in 0..COMMITS {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        txn.put(&key(&number.to_string()), b"1").unwrap();
        txn.commit().unwrap();
        // Each is a piece of the log.
        let sent = engine.wait_uploaded(engine.log_end(), Duration::from_secs(60));
        assert!(sent.unwrap());
    }
    let end = Instant::now() + Duration::from_secs(60);
    while engine.stats().flushes == 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let next = open(&elsewhere);
    let read = of(&next, RequestKind::Get).requests;
    assert!((100..2000).contains(&read), "{read} requests");
    let mut txn = next.begin(Isolation::ReadCommitted);
    for number in 0..COMMITS {
        let found = txn.get(&key(&number.to_string()), View::Newest);
        assert!(found.unwrap().is_some(), "{number}");
    }
}
