//! An engine with a local cache of its store's objects.

use std::sync::Arc;

use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::{Engine, Isolation, Options};

fn options(dir: &tempfile::TempDir, store: &FaultStore) -> Options {
    let mut options = Options::new(dir.path());
    options.store = Some(Arc::new(store.clone()));
    options.persistent_cache_size = 64 << 20;
    options.block_cache_size = 1 << 20;
    options
}

fn key(n: u32) -> Vec<u8> {
    [7u32.to_be_bytes(), n.to_be_bytes()].concat()
}

fn value(n: u32) -> Vec<u8> {
    let mut state = n;
    (0..300)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn fill(engine: &Engine) {
    for part in 0..4 {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        for n in part * 5000..(part + 1) * 5000 {
            txn.put(&key(n), &value(n)).unwrap();
        }
        txn.commit().unwrap();
        engine.flush().unwrap();
    }
    engine.compact().unwrap();
}

fn read_all(engine: &Engine) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for n in (0..20_000).step_by(7) {
        let found = txn.get(&key(n), smartengine::View::Snapshot).unwrap();
        assert_eq!(found.unwrap()[..], value(n)[..]);
    }
}

#[test]
fn what_this_server_wrote_is_read_from_its_disk_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store)).unwrap();
    fill(&engine);
    read_all(&engine);
    assert_eq!(store.count(Operation::Read), 0);
    engine.close().unwrap();
    let engine = Engine::open(options(&dir, &store)).unwrap();
    read_all(&engine);
    assert_eq!(store.count(Operation::Read), 0);
    let stats = engine.stats();
    assert!(stats.persistent_cache_hits > 100);
    assert_eq!(stats.persistent_cache_misses, 0);
    // Only what is live is held.
    assert_eq!(stats.persistent_cache_bytes, stats.sst_bytes());
    let report = engine.status();
    assert!(report.contains("PERSISTENT CACHE"), "{report}");
    assert!(report.contains("hit rate 100.00 %"), "{report}");
    engine.close().unwrap();
}

#[test]
fn another_store_or_a_broken_directory_never_shows_in_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store)).unwrap();
    fill(&engine);
    engine.close().unwrap();
    // Another store in the same cache directory.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = FaultStore::new(Arc::new(MemoryStore::new()));
    let mut given = options(&elsewhere, &other);
    given.persistent_cache_dir = Some(dir.path().join("cache"));
    let engine = Engine::open(given).unwrap();
    assert_eq!(engine.stats().persistent_cache_bytes, 0);
    engine.close().unwrap();
    // The first one finds its pieces gone, and then a file where the directory was.
    let engine = Engine::open(options(&dir, &store)).unwrap();
    read_all(&engine);
    assert!(store.count(Operation::Read) > 0);
    engine.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    std::fs::write(dir.path().join("cache"), "not a directory").unwrap();
    let engine = Engine::open(options(&dir, &store)).unwrap();
    read_all(&engine);
    let report = engine.status();
    assert!(report.contains("OFF until the next start"), "{report}");
    engine.close().unwrap();
}

#[test]
fn bits_that_the_store_flips_once_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store)).unwrap();
    fill(&engine);
    engine.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let engine = Engine::open(options(&dir, &store)).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.get(&key(0), smartengine::View::Snapshot).unwrap();
    for n in (0..20_000).step_by(500) {
        store.add(Rule::once(Operation::Read, Fault::BitFlip));
        // The flip is in the middle of what was fetched: it is noticed now or, by another block's reader, later.
        let found = txn.get(&key(n), smartengine::View::Snapshot);
        if let Ok(found) = found {
            assert_eq!(found.unwrap()[..], value(n)[..]);
        }
    }
    store.heal();
    drop(txn);
    read_all(&engine);
    engine.close().unwrap();
}
