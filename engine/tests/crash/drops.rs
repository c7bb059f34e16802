//! An index that is dropped, and the commit that decided it, when the power goes: both are kept or neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::failpoint::{Action, arm};
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::manifest::Manifest;
use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Index, Isolation, View, WalSync};

use crate::alone;
use crate::history::{ROWS, create, in_memory, in_store};

const KEYS: u32 = 100;

fn row(index: Index, number: u32) -> Vec<u8> {
    index.key(number.to_be_bytes())
}

/// The row that stands for the index in its owner's dictionary.
fn name(index: Index) -> Vec<u8> {
    row(Index::from_id(ROWS), index.id())
}

fn is_dropped(store: &Arc<MemoryStore>, index: Index) -> bool {
    let store: Arc<dyn ObjectStore> = store.clone();
    let (_, version) = Manifest::load(store).unwrap();
    version.dropped_indexes.contains_key(&index.id())
}

/// Drops an index after a commit that nobody synced, loses the power, and looks at what is left.
fn drop_and_lose_power(point: Option<&'static str>, loss: PowerLoss, sync: WalSync, remote: bool) {
    let options = match remote {
        true => in_store,
        false => in_memory,
    };
    let with = |fs: &FaultFs, store: &Arc<MemoryStore>| {
        let mut options = options(fs, store.clone());
        options.wal_sync = sync;
        options
    };
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = create(with(&fs, &store));
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..KEYS {
        txn.put(&row(index, number), &[7; 20]).unwrap();
    }
    txn.put(&name(index), b"its definition").unwrap();
    txn.commit().unwrap();
    engine.sync_wal().unwrap();
    let armed = point.map(|point| arm(point, Action::Error, 1));
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.delete(&name(index)).unwrap();
    txn.commit().unwrap();
    engine.drop_indexes(&[index]).unwrap();
    let published = matches!(point, None | Some("drop.installed"));
    let start = Instant::now();
    while published && !is_dropped(&store, index) {
        assert!(start.elapsed() < Duration::from_secs(20), "never published");
        std::thread::yield_now();
    }
    // The disk first: what it loses must not be built upon in what the store has a moment later.
    let fs = fs.crash(loss);
    let store = Arc::new(store.copy());
    drop((txn, engine, armed));
    let dropped = is_dropped(&store, index);
    assert!(dropped || !published);
    let engine = Engine::open(with(&fs, &store)).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let named = txn.get(&name(index), View::Snapshot).unwrap().is_some();
    let what = format!("{point:?}, {loss:?}, {sync:?}, log in the store: {remote}");
    assert!(!(named && dropped), "{what}: the commit is lost alone");
    if named {
        for number in 0..KEYS {
            let found = txn.get(&row(index, number), View::Snapshot).unwrap();
            assert!(found.is_some(), "{what}: row {number}");
        }
    } else if !dropped {
        assert_eq!(
            engine.retain_indexes(&[Index::from_id(ROWS)]).unwrap(),
            [index],
            "{what}"
        );
    }
    drop(txn);
    engine.compact().unwrap();
}

#[test]
fn a_drop_is_never_more_durable_than_the_commit_that_decided_it() {
    let _guard = alone();
    let points = ["drop.before_sync", "drop.before_install", "drop.installed"];
    for point in points.into_iter().map(Some).chain([None]) {
        for loss in [PowerLoss::All, PowerLoss::ProcessOnly, PowerLoss::Part(5)] {
            for sync in [WalSync::EachSecond, WalSync::EachCommit] {
                for remote in [false, true] {
                    drop_and_lose_power(point, loss, sync, remote);
                }
            }
        }
    }
}
