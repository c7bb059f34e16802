//! A store says which version of the program it was last used by, and an open may refuse that before it changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Error, ErrorKind, Isolation, Options};

use crate::{key, small};

/// An engine over `store` whose program is of `version` and goes on with what the same and older ones wrote.
fn options(dir: &std::path::Path, store: &Arc<MemoryStore>, version: u64) -> Options {
    let mut options = small(dir);
    options.store = Some(store.clone());
    options.remote_wal = true;
    options.user_version_check = Some(Arc::new(move |stored| match stored > version {
        true => Err(Error::invalid(format!("{stored} wrote it, not {version}"))),
        false => Ok(()),
    }));
    options
}

/// All objects with their bytes.
fn objects(store: &MemoryStore) -> BTreeMap<String, Vec<u8>> {
    let listed = store.list("", "", 10_000).unwrap();
    let read = |key: String| {
        let bytes = store.get(&key).unwrap().to_vec();
        (key, bytes)
    };
    listed.into_iter().map(|object| read(object.key)).collect()
}

#[test]
fn an_older_version_is_refused_and_changes_nothing() {
    let store = Arc::new(MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path(), &store, 8)).unwrap();
    assert_eq!(engine.user_version(), 0);
    engine.raise_user_version(8).unwrap();
    engine.close().unwrap();

    let engine = Engine::open(options(dir.path(), &store, 9)).unwrap();
    assert_eq!(engine.user_version(), 8);
    let edits = || {
        objects(&store)
            .keys()
            .filter(|key| key.starts_with("manifest/"))
            .count()
    };
    let before = edits();
    engine.raise_user_version(9).unwrap();
    // Neither what is known nor what is older is written again.
    engine.raise_user_version(9).unwrap();
    engine.raise_user_version(8).unwrap();
    assert_eq!((engine.user_version(), edits()), (9, before + 1));
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    drop(txn);
    engine.close().unwrap();

    let before = objects(&store);
    let elsewhere = tempfile::tempdir().unwrap();
    for dir in [dir.path(), elsewhere.path()] {
        let error = Engine::open(options(dir, &store, 8)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().ends_with("9 wrote it, not 8"), "{error}");
        assert!(
            objects(&store) == before,
            "the refused open wrote to the store"
        );
    }
    // Who does not ask is not kept out, and neither is the newer one.
    let mut unasked = options(dir.path(), &store, 8);
    unasked.user_version_check = None;
    drop(Engine::open(unasked).unwrap());
    drop(Engine::open(options(dir.path(), &store, 9)).unwrap());
}

/// Every 64th manifest object is a full version: it has the number too.
#[test]
fn it_outlives_the_edit_that_said_it() {
    let store = Arc::new(MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path(), &store, 8)).unwrap();
    engine.raise_user_version(8).unwrap();
    drop(engine);
    for _ in 0..70 {
        drop(Engine::open(options(dir.path(), &store, 8)).unwrap());
    }
    assert!(Engine::open(options(dir.path(), &store, 7)).is_err());
    assert_eq!(
        Engine::open(options(dir.path(), &store, 8))
            .unwrap()
            .user_version(),
        8
    );
}

/// A power loss right after the answer leaves it: it was in the store before.
#[test]
fn it_is_durable_when_it_is_answered() {
    let store = Arc::new(MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path(), &store, 8)).unwrap();
    engine.raise_user_version(8).unwrap();
    // Another machine, while the first still runs.
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(Engine::open(options(elsewhere.path(), &store, 7)).is_err());
    drop(engine);
}
