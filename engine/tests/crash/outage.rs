//! The store is away for a while, answers late, or its answers are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smartengine::internals::env::SystemClock;
use smartengine::internals::env::fs::FaultFs;
use smartengine::internals::object_store::{
    Fault, FaultStore, MemoryStore, Operation, Rule, Wrapped, Wrapper,
};
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Error, ErrorKind};

use crate::history::{Writer, check_no_garbage, create, in_store};
use crate::with_others;

fn away() -> Rule {
    Rule {
        operation: None,
        ..Rule::always(Operation::PutIfAbsent, Fault::Fail(ErrorKind::Unavailable))
    }
}

#[test]
fn local_commits_go_on_to_a_bound_and_all_heals_by_itself() {
    let _guard = with_others();
    let inner = Arc::new(MemoryStore::new());
    let store = FaultStore::new(inner.clone());
    let mut options = in_store(&FaultFs::new(), Arc::new(store.clone()));
    options.max_unuploaded_wal = 128 << 10;
    // Nothing but the bound is to stop them.
    options.memtable_size = 8 << 20;
    options.total_memtable_size = 16 << 20;
    options.total_wal_size = 16 << 20;
    options.transaction_memory = 1 << 20;
    let engine = create(options);
    let writer = Writer::new(0);
    for _ in 0..10 {
        writer.write_one(&engine).unwrap();
    }
    store.add(away());
    let error = loop {
        if let Err(error) = writer.write_one(&engine) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("max_unuploaded_wal"), "{error}");
    assert!(error.message().contains("injected failure"), "{error}");
    let reached = *writer.expected().start();
    assert!(reached > 20, "{reached}");
    // Reads go on.
    writer.check(&engine, reached..=reached);
    assert!(
        engine.status().contains("injected failure"),
        "{}",
        engine.status()
    );
    let failing = engine.remote_wal().unwrap();
    assert!(failing.failing.is_some() && failing.ended.is_none());
    store.heal();
    let start = Instant::now();
    while writer.write_one(&engine).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let end = engine.log_end();
    assert!(engine.wait_uploaded(end, Duration::from_secs(20)).unwrap());
    assert!(engine.remote_wal().unwrap().failing.is_none());
    drop(engine);
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, reached + 1..=reached + 1);
    check_no_garbage(&engine);
}

#[test]
fn a_commit_that_waits_for_the_store_waits_until_it_is_back() {
    let _guard = with_others();
    let inner = Arc::new(MemoryStore::new());
    let store = FaultStore::new(inner.clone());
    let engine = create(in_store(&FaultFs::new(), Arc::new(store.clone())));
    let writer = Writer::in_store(0);
    writer.write_one(&engine).unwrap();
    store.add(away());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| writer.write_one(&engine));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        // Others see it: it is in the local log.
        store.heal();
        waiting.join().unwrap().unwrap();
    });
    drop(engine);
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, 2..=2);
}

#[test]
fn answers_that_are_lost_or_late_are_nobody_elses() {
    let _guard = with_others();
    for (seed, fault) in [
        Fault::Ambiguous(ErrorKind::Unavailable),
        Fault::Fail(ErrorKind::Unavailable),
        Fault::Delay(Duration::from_millis(3)),
    ]
    .into_iter()
    .enumerate()
    {
        let inner = Arc::new(MemoryStore::new());
        let clock = Arc::new(SystemClock::new());
        let store = FaultStore::with_clock(inner.clone(), clock, seed as u64);
        let engine = create(in_store(&FaultFs::new(), Arc::new(store.clone())));
        store.add(Rule {
            one_in: 3,
            ..Rule::always(Operation::PutIfAbsent, fault)
        });
        let writers: Vec<Writer> = (0..3).map(Writer::in_store).collect();
        std::thread::scope(|scope| {
            for writer in &writers {
                let engine = &engine;
                scope.spawn(move || {
                    for _ in 0..6 {
                        writer.write_one(engine).unwrap();
                    }
                });
            }
        });
        store.heal();
        engine.flush().unwrap();
        drop(engine);
        let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
        for writer in &writers {
            writer.check(&engine, 6..=6);
        }
    }
}

#[test]
fn an_idle_engine_sends_nothing() {
    let _guard = with_others();
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let engine = create(in_store(&FaultFs::new(), Arc::new(store.clone())));
    let writer = Writer::new(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    engine.compact().unwrap();
    // What is removed late is removed by then, and the last look for another writer, at most a second after the last chunk, is done.
    std::thread::sleep(Duration::from_millis(2500));
    let operations = [
        Operation::Put,
        Operation::PutIfAbsent,
        Operation::Writer,
        Operation::Get,
        Operation::GetRange,
        Operation::Reader,
        Operation::Read,
        Operation::Size,
        Operation::List,
        Operation::Delete,
    ];
    let count = || operations.map(|operation| store.count(operation));
    let before = count();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(count(), before);
}

#[test]
fn closing_sends_all_of_the_log() {
    let _guard = with_others();
    let inner = Arc::new(MemoryStore::new());
    let mut options = in_store(&FaultFs::new(), inner.clone());
    options.wal_upload_interval = Duration::from_secs(3600);
    options.wal_upload_size = 1 << 20;
    let engine = create(options);
    let writer = Writer::new(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, 5..=5);
}

/// A store that fails every put to the manifest after a while, once it is away.
struct SlowlyFailing {
    inner: MemoryStore,
    away: AtomicBool,
    /// Attempts that have begun.
    attempts: AtomicU64,
}

impl Wrapper for SlowlyFailing {
    fn inner(&self) -> &dyn ObjectStore {
        &self.inner
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> smartengine::Result<()> {
        if self.away.load(Ordering::SeqCst) && key.starts_with("manifest/") {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(700));
            return Err(Error::new(ErrorKind::Unavailable, "injected failure"));
        }
        self.inner.put_if_absent(key, data)
    }
}

#[test]
fn a_close_waits_for_no_further_attempt_once_one_has_failed() {
    let _guard = with_others();
    let store = Arc::new(Wrapped(SlowlyFailing {
        inner: MemoryStore::new(),
        away: AtomicBool::new(false),
        attempts: AtomicU64::new(0),
    }));
    let engine = create(in_store(&FaultFs::new(), store.clone()));
    Writer::new(0).write_one(&engine).unwrap();
    store.away.store(true, Ordering::SeqCst);
    let error = engine.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // From the beginning of an attempt on: none begins by itself while that goes on.
    let failed = store.attempts.load(Ordering::SeqCst);
    while store.attempts.load(Ordering::SeqCst) == failed {
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = engine.close().unwrap_err();
    assert!(error.message().contains("injected failure"), "{error}");
    assert_eq!(store.attempts.load(Ordering::SeqCst), failed + 1);
}
