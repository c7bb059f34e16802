//! An engine whose store is far away: round trips are counted.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::Compression;
use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::{Engine, Index, Isolation, Options, View};

const INDEX: u32 = 7;

fn store() -> FaultStore {
    FaultStore::new(Arc::new(MemoryStore::new()))
}

fn options(dir: &Path, store: &FaultStore) -> Options {
    let mut options = Options::new(dir);
    options.wal_sync = smartengine::WalSync::EachSecond;
    options.store = Some(Arc::new(store.clone()));
    options.prefetch = 16;
    options.compression = vec![Compression::None];
    options
}

fn key(n: u32) -> Vec<u8> {
    [INDEX.to_be_bytes(), n.to_be_bytes()].concat()
}

/// Commits and flushes these rows.
fn add(engine: &Engine, rows: impl IntoIterator<Item = u32>, value: &[u8]) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for n in rows {
        txn.put(&key(n), value).unwrap();
    }
    txn.commit().unwrap();
    engine.flush().unwrap();
}

fn get(engine: &Engine, n: u32) -> usize {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let found = txn.get(&key(n), View::Snapshot).unwrap();
    found.map_or(0, |value| value.len())
}

#[test]
fn a_cold_lookup_takes_two_reads_however_large_the_file_is() {
    for (rows, len, block_size) in [
        (10, 10, 16 << 10),
        (5_000, 200, 16 << 10),
        (30_000, 300, 16 << 10),
        // Filter and index are far larger than what is read at once where their length is not known.
        (300_000, 20, 1 << 10),
        // A block is larger than a piece of the persistent cache.
        (300, 100_000, 16 << 10),
    ] {
        for cache in [0, 256 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let store = store();
            let given = || {
                let mut options = options(dir.path(), &store);
                options.block_size = block_size;
                options.persistent_cache_size = cache;
                options
            };
            let engine = Engine::open(given()).unwrap();
            add(&engine, 0..rows, &vec![b'x'; len]);
            engine.close().unwrap();
            for n in [0, rows / 2, rows - 1] {
                let _ = std::fs::remove_dir_all(dir.path().join("cache"));
                let engine = Engine::open(given()).unwrap();
                assert_eq!(engine.stats().sst_files(), 1);
                let before = store.count(Operation::Read);
                assert_eq!(get(&engine, n), len);
                let reads = store.count(Operation::Read) - before;
                assert!(reads <= 2, "{rows} rows of {len}: {reads} reads");
                // An absent key stops at the filter.
                let before = store.count(Operation::Read);
                assert_eq!(get(&engine, u32::MAX - n), 0);
                assert_eq!(store.count(Operation::Read), before);
                let others = [Operation::Get, Operation::GetRange, Operation::Size];
                let asked = || others.map(|operation| store.count(operation));
                let before = asked();
                get(&engine, rows / 3);
                assert_eq!(asked(), before);
                engine.close().unwrap();
            }
        }
    }
}

#[test]
fn a_cold_lookup_among_many_files_takes_two_round_trips() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let given = || {
        let mut options = options(dir.path(), &store);
        options.disable_auto_compactions = true;
        options
    };
    let engine = Engine::open(given()).unwrap();
    add(&engine, 0..1000, b"of the bottom level");
    engine.compact().unwrap();
    for file in 0..7 {
        // Each overlaps all others, and only the first has the key that is sought.
        add(&engine, (0..1000).filter(|n| n % 7 == file), b"newer");
    }
    engine.close().unwrap();
    let engine = Engine::open(given()).unwrap();
    let trip = Duration::from_millis(100);
    store.add(Rule::always(Operation::Read, Fault::Delay(trip)));
    let begun = Instant::now();
    assert_eq!(get(&engine, 7 * 60), 5);
    let taken = begun.elapsed();
    assert!(taken >= 2 * trip && taken < 4 * trip, "{taken:?}");
    assert!(store.count(Operation::Read) <= 9);
    store.heal();
    engine.close().unwrap();
}

#[test]
fn files_are_opened_when_they_are_read_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let given = || {
        let mut options = options(dir.path(), &store);
        options.target_file_size = 64 << 10;
        options
    };
    let engine = Engine::open(given()).unwrap();
    add(&engine, 0..60_000, &[b'x'; 200]);
    engine.close().unwrap();
    let before = [Operation::Reader, Operation::Read].map(|operation| store.count(operation));
    let engine = Engine::open(given()).unwrap();
    assert!(engine.stats().sst_files() > 100);
    let after = [Operation::Reader, Operation::Read].map(|operation| store.count(operation));
    assert_eq!(before, after);
    engine.close().unwrap();
}

fn scan(engine: &Engine, forward: bool) -> u32 {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn
        .cursor(&Index::from_id(INDEX).all(), View::Snapshot)
        .unwrap();
    let mut seen = 0;
    match forward {
        true => cursor.seek_to_first().unwrap(),
        false => cursor.seek_to_last().unwrap(),
    }
    let mut last = None;
    while cursor.valid() {
        let now = cursor.key().to_vec();
        let ordered = last.is_none_or(|last| (last < now) == forward);
        assert!(ordered);
        last = Some(now);
        seen += 1;
        match forward {
            true => cursor.next().unwrap(),
            false => cursor.prev().unwrap(),
        }
    }
    seen
}

#[test]
fn a_scan_reads_ahead_of_itself_in_parallel_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let given = |prefetch| {
        let mut options = options(dir.path(), &store);
        options.prefetch = prefetch;
        options.target_file_size = 4 << 20;
        options
    };
    let engine = Engine::open(given(0)).unwrap();
    add(&engine, 0..40_000, &[b'x'; 400]);
    engine.close().unwrap();
    let rule = Rule::always(Operation::Read, Fault::Delay(Duration::from_millis(20)));
    // A store of this run's own, so that its counts are.
    let run = |prefetch, forward| {
        let store = FaultStore::new(Arc::new(store.clone()));
        let mut options = given(prefetch);
        options.store = Some(Arc::new(store.clone()));
        let engine = Engine::open(options).unwrap();
        assert!(engine.stats().sst_files() >= 4);
        let before = store.count(Operation::Read);
        store.add(rule.clone());
        assert_eq!(scan(&engine, forward), 40_000);
        let reads = store.count(Operation::Read) - before;
        engine.close().unwrap();
        (reads, store.most_at_once(Operation::Read))
    };
    for forward in [true, false] {
        let (serial, one) = run(0, forward);
        let (ahead, many) = run(16, forward);
        println!(
            "16 MiB, forward: {forward}: {serial} reads, {one} at once; with reads ahead {ahead}, {many} at once"
        );
        assert_eq!(one, 1);
        assert!(many >= 4, "{many} reads at once");
        assert!(ahead <= serial, "{ahead} reads where {serial} do");
    }
}

#[test]
fn a_short_scan_fetches_little() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let engine = Engine::open(options(dir.path(), &store)).unwrap();
    add(&engine, 0..40_000, &[b'x'; 400]);
    engine.close().unwrap();
    let engine = Engine::open(options(dir.path(), &store)).unwrap();
    get(&engine, 0);
    let before = store.count(Operation::Read);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn
        .cursor(&key(20_000)..&key(20_100), View::Snapshot)
        .unwrap();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        cursor.next().unwrap();
    }
    // 40 KiB are at most four blocks.
    let reads = store.count(Operation::Read) - before;
    assert!(reads <= 6, "{reads}");
    drop((cursor, txn));
    engine.close().unwrap();
}

#[test]
fn scans_survive_a_store_that_fails_now_and_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let given = || {
        let mut options = options(dir.path(), &store);
        options.target_file_size = 1 << 20;
        options.persistent_cache_size = 4 << 20;
        options
    };
    let engine = Engine::open(given()).unwrap();
    add(&engine, 0..40_000, &[b'x'; 400]);
    store.add(Rule {
        one_in: 20,
        ..Rule::always(
            Operation::Read,
            Fault::Fail(smartengine::ErrorKind::Unavailable),
        )
    });
    let mut whole = 0;
    for round in 0..40 {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let mut cursor = txn.cursor(&key(0)..&key(40_000), View::Snapshot).unwrap();
        let mut seen = 0;
        let mut step = cursor.seek_to_first();
        while step.is_ok() && cursor.valid() {
            assert_eq!(cursor.key(), key(seen), "round {round}");
            seen += 1;
            step = cursor.next();
        }
        match step {
            Ok(()) => {
                assert_eq!(seen, 40_000);
                whole += 1;
            }
            Err(error) => assert_eq!(error.kind(), smartengine::ErrorKind::Unavailable),
        }
    }
    println!("{whole} of 40 scans were whole");
    store.heal();
    assert_eq!(scan(&engine, true), 40_000);
    engine.close().unwrap();
}
