//! What earlier writers left in the store goes in the background: the engine serves before, whatever listings do, and keeps up with what comes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use smartengine::internals::object_store::{
    Fault, FaultStore, MemoryStore, Operation, Rule, Wrapped, Wrapper,
};
use smartengine::object_store::{ObjectMeta, ObjectStore};
use smartengine::{Durability, Engine, ErrorKind, Isolation, Options, Result, View};

use crate::{key, small};

/// A store that is far away, and whose listings of what is old hang while they are held.
struct Far {
    inner: Arc<dyn ObjectStore>,
    held: Mutex<bool>,
    released: Condvar,
    listings: AtomicU64,
    removal_time: Duration,
    removals: AtomicU64,
}

impl Far {
    fn new(inner: Arc<dyn ObjectStore>, removal_time: Duration) -> Arc<Wrapped<Self>> {
        Arc::new(Wrapped(Self {
            inner,
            held: Mutex::new(false),
            released: Condvar::new(),
            listings: AtomicU64::new(0),
            removal_time,
            removals: AtomicU64::new(0),
        }))
    }

    fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.released.notify_all();
    }

    fn removal(&self) {
        self.removals.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.removal_time);
    }
}

impl Wrapper for Far {
    fn inner(&self) -> &dyn ObjectStore {
        &*self.inner
    }
    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        // The log is also listed from where it is needed, which is part of reading it.
        if prefix == "sst/" || (prefix == "wal/" && after.is_empty()) {
            self.listings.fetch_add(1, Ordering::Relaxed);
            let mut held = self.held.lock();
            while *held {
                self.released.wait(&mut held);
            }
        }
        self.inner.list(prefix, after, limit)
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.removal();
        self.inner.delete(key)
    }
    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let batches = keys.chunks(1000).map(|keys| {
            self.removal();
            self.inner.delete_many(keys)
        });
        batches.flatten().collect()
    }
}

fn options(dir: &tempfile::TempDir, store: Arc<dyn ObjectStore>) -> Options {
    let mut options = small(dir.path());
    options.store = Some(store);
    options.remote_wal = true;
    options.gc_grace = Duration::ZERO;
    options
}

fn write(engine: &Engine, rows: Range<u32>) {
    for row in rows {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        txn.set_durability(Durability::Object);
        txn.put(&key(&format!("{row:05}")), &[7; 900]).unwrap();
        txn.commit().unwrap();
    }
}

fn check(engine: &Engine, rows: Range<u32>) {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for row in rows {
        let found = txn.get(&key(&format!("{row:05}")), View::Newest).unwrap();
        assert_eq!(found.as_deref(), Some(&[7; 900][..]), "row {row}");
    }
}

/// Files that an earlier writer never named, and pieces of the log that were flushed long ago.
const ORPHANS: u64 = 3000;
const OLD_CHUNKS: u64 = 60;

fn leave_orphans(store: &dyn ObjectStore) {
    for number in 0..ORPHANS {
        let id = (1_u64 << 40) + 100_000 + number;
        store.put(&format!("sst/{id:020}.sst"), b"left").unwrap();
    }
    for id in 1..=OLD_CHUNKS {
        store.put(&format!("wal/{id:020}"), &[0; 500]).unwrap();
    }
}

fn orphans_left(store: &dyn ObjectStore) -> usize {
    let first = format!("sst/{:020}", (1_u64 << 40) + 99_999);
    let last = format!("sst/{:020}", (1_u64 << 40) + 100_000 + ORPHANS);
    let mut left = 0;
    let mut after = first;
    loop {
        let page = store.list("sst/", &after, 1000).unwrap();
        left += page.iter().filter(|object| object.key < last).count();
        match page.last() {
            Some(object) if page.len() == 1000 => after = object.key.clone(),
            _ => break,
        }
    }
    let old = store.list("wal/", "", 1000).unwrap();
    left + old.iter().filter(|object| object.size == 500).count()
}

fn wait_until_gone(store: &dyn ObjectStore, time: Duration) -> Duration {
    let start = Instant::now();
    while orphans_left(store) > 0 {
        assert!(start.elapsed() < time, "{} are left", orphans_left(store));
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// A store with rows, opened before, and what two crashes left.
fn with_orphans() -> Arc<MemoryStore> {
    let objects = Arc::new(MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir, objects.clone())).unwrap();
    assert_eq!(engine.create_index().unwrap().id(), 1);
    write(&engine, 0..200);
    engine.flush().unwrap();
    engine.close().unwrap();
    leave_orphans(&*objects);
    objects
}

#[test]
fn an_open_does_not_wait_for_listings_that_hang() {
    let objects = with_orphans();
    let far = Far::new(objects.clone(), Duration::ZERO);
    far.hold(true);
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let engine = Engine::open(options(&dir, far.clone())).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    check(&engine, 0..200);
    // What is written, flushed and compacted while nothing was listed yet is not taken for an orphan later.
    write(&engine, 200..600);
    engine.flush().unwrap();
    engine.compact().unwrap();
    assert_eq!(orphans_left(&*objects), (ORPHANS + OLD_CHUNKS) as usize);
    far.hold(false);
    wait_until_gone(&*objects, Duration::from_secs(20));
    // By pages, and of the log no more than is old.
    let listings = far.listings.load(Ordering::Relaxed);
    assert!((5..8).contains(&listings), "{listings} listings");
    write(&engine, 600..700);
    check(&engine, 0..700);
    engine.close().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&elsewhere, objects)).unwrap();
    check(&engine, 0..700);
}

#[test]
fn listings_that_fail_are_tried_again_while_the_engine_serves() {
    let objects = with_orphans();
    let faults = FaultStore::new(objects.clone());
    faults.add(Rule {
        key_contains: "sst/".to_owned(),
        ..Rule::always(Operation::List, Fault::Fail(ErrorKind::Unavailable))
    });
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir, Arc::new(faults.clone()))).unwrap();
    check(&engine, 0..200);
    write(&engine, 200..300);
    assert_eq!(orphans_left(&*objects), (ORPHANS + OLD_CHUNKS) as usize);
    faults.heal();
    wait_until_gone(&*objects, Duration::from_secs(20));
    check(&engine, 0..300);
    engine.close().unwrap();
}

#[test]
fn what_could_not_be_removed_is_tried_again() {
    let objects = with_orphans();
    let faults = FaultStore::new(objects.clone());
    faults.add(Rule {
        times: 10,
        key_contains: "sst/".to_owned(),
        ..Rule::always(Operation::Delete, Fault::Fail(ErrorKind::Unavailable))
    });
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir, Arc::new(faults))).unwrap();
    wait_until_gone(&*objects, Duration::from_secs(20));
    engine.close().unwrap();
}

/// 800 pieces of the log can come a second: as many must go, though a request takes 20 ms.
#[test]
fn garbage_goes_by_few_requests() {
    let objects = with_orphans();
    let far = Far::new(objects.clone(), Duration::from_millis(20));
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let engine = Engine::open(options(&dir, far.clone())).unwrap();
    wait_until_gone(&*objects, Duration::from_secs(120));
    let rate = (ORPHANS + OLD_CHUNKS) as f64 / start.elapsed().as_secs_f64();
    let removals = far.removals.load(Ordering::Relaxed);
    println!("{rate:.0} objects a second, {removals} requests");
    assert!(removals < 100, "{removals} requests");
    assert!(rate > 800.0, "{rate} a second");
    engine.close().unwrap();
}
