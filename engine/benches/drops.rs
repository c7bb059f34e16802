//! Dropping many indexes one by one, as DROP DATABASE does, and what a flush costs while many are on record.
//!
//! Once each, since it takes what it takes: `cargo bench -p smartengine --bench drops`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::internals::manifest::Manifest;
use smartengine::internals::object_store::{
    Fault, FaultStore, LocalStore, MemoryStore, Operation, Rule,
};
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Index, Isolation, Options, WalSync};

fn options(dir: &tempfile::TempDir, store: &Arc<dyn ObjectStore>) -> Options {
    let mut options = Options::new(dir.path().join("engine"));
    options.store = Some(store.clone());
    options.wal_sync = WalSync::EachSecond;
    options.disable_auto_compactions = true;
    options
}

/// Indexes with a row each, in files.
fn make_indexes(engine: &Engine, count: u32, row_bytes: usize) -> Vec<Index> {
    let indexes = engine.create_indexes(count).unwrap();
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for index in &indexes {
        txn.put(&index.key("row"), &vec![index.id() as u8; row_bytes])
            .unwrap();
    }
    txn.commit().unwrap();
    engine.flush().unwrap();
    indexes
}

fn published(store: &Arc<dyn ObjectStore>) -> (u64, usize) {
    let (manifest, version) = Manifest::load(store.clone()).unwrap();
    (manifest.next_id(), version.dropped_indexes.len())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!("{what}: {:.2?} (of {times:.2?})", times[times.len() / 2]);
}

/// Until all are in the manifest.
fn drop_each(tables: u32, make_store: impl Fn(&tempfile::TempDir) -> Arc<dyn ObjectStore>) {
    let mut times = Vec::new();
    let mut edits = 0;
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let store = make_store(&dir);
        let engine = Engine::open(options(&dir, &store)).unwrap();
        let indexes = make_indexes(&engine, tables, 20);
        let (before, _) = published(&store);
        let start = Instant::now();
        for index in indexes {
            engine.drop_indexes(&[index]).unwrap();
        }
        while published(&store).1 < tables as usize {
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(start.elapsed());
        edits = published(&store).0 - before;
    }
    report(
        &format!("{tables} tables dropped, {edits} manifest edits"),
        times,
    );
}

/// A flush of one row, with `dropped` indexes on record and about a thousand files.
fn flush_beside(dropped: u32) {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut options = options(&dir, &store);
    options.target_file_size = 64 << 10;
    options.memtable_size = 256 << 20;
    options.total_memtable_size = 512 << 20;
    let engine = Engine::open(options).unwrap();
    let kept = make_indexes(&engine, 2_000, 4_000);
    let indexes = make_indexes(&engine, 10_000, 100);
    let gone = &indexes[..dropped as usize];
    engine.drop_indexes(gone).unwrap();
    while published(&store).1 < gone.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let files = engine.stats().sst_files();
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        txn.put(&kept[0].key("row"), b"x").unwrap();
        txn.commit().unwrap();
        let start = Instant::now();
        engine.flush().unwrap();
        times.push(start.elapsed());
    }
    report(
        &format!("flush of a row beside {dropped} dropped indexes and {files} files"),
        times,
    );
}

/// One in memory whose PUTs take as long as a bucket's.
fn bucket() -> Arc<dyn ObjectStore> {
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let delay = Fault::Delay(Duration::from_millis(20));
    store.add(Rule::always(Operation::PutIfAbsent, delay));
    Arc::new(store)
}

fn main() {
    println!("a bucket whose PUT takes 20 ms:");
    drop_each(500, |_| bucket());
    println!("a folder:");
    drop_each(1_000, |dir| {
        Arc::new(LocalStore::open(dir.path().join("store")).unwrap())
    });
    println!("in memory:");
    drop_each(10_000, |_| Arc::new(MemoryStore::new()));
    flush_beside(0);
    flush_beside(10_000);
}
