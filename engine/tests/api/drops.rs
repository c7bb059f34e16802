//! Many indexes dropped at once.

use std::sync::Arc;

use smartengine::internals::manifest::Manifest;
use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Index, Isolation, Options};

use crate::small;

const INDEXES: u32 = 10_000;

fn options(dir: &tempfile::TempDir, store: &Arc<MemoryStore>) -> Options {
    let mut options = small(dir.path());
    options.store = Some(store.clone());
    options
}

/// Manifest objects written so far.
fn edits(store: &Arc<MemoryStore>) -> u64 {
    let store: Arc<dyn ObjectStore> = store.clone();
    Manifest::load(store).unwrap().0.next_id()
}

/// Indexes with one row each.
fn make_indexes(engine: &Engine) -> Vec<Index> {
    let indexes = engine.create_indexes(INDEXES).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for index in &indexes {
        txn.put(&index.key("row"), &[7; 20]).unwrap();
    }
    txn.commit().unwrap();
    indexes
}

#[test]
fn ten_thousand_tables_are_dropped_with_few_edits() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store)).unwrap();
    let indexes = make_indexes(&engine);
    engine.flush().unwrap();
    engine.set_auto_compactions(false);
    let before = edits(&store);
    // As DROP DATABASE does: a transaction and a drop for each table.
    for index in indexes {
        engine.drop_indexes(&[index]).unwrap();
    }
    assert_eq!(engine.unnamed_indexes(&[]).unwrap(), []);
    assert_eq!(engine.retain_indexes(&[]).unwrap(), []);
    engine.set_auto_compactions(true);
    engine.compact().unwrap();
    let edits = edits(&store) - before;
    assert!(edits <= u64::from(INDEXES / 50), "{edits} edits");
    assert_eq!(engine.stats().sst_files(), 0, "{}", engine.status());
    // With the last memtable that could hold any of them they go from the record as well.
    engine.compact().unwrap();
    drop(engine);
    let engine = Engine::open(options(&dir, &store)).unwrap();
    assert_eq!(engine.retain_indexes(&[]).unwrap(), []);
}

#[test]
fn what_waits_when_the_engine_is_closed_is_dropped() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()));
    let engine = Engine::open(options(&dir, &store)).unwrap();
    for index in make_indexes(&engine) {
        engine.drop_indexes(&[index]).unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(options(&dir, &store)).unwrap();
    assert_eq!(engine.retain_indexes(&[]).unwrap(), []);
    engine.compact().unwrap();
    assert_eq!(engine.stats().sst_files(), 0, "{}", engine.status());
}
