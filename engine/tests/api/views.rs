//! What tells how things stand, while a store that does not answer holds up everything else.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use smartengine::{Engine, Index, Isolation, LockMode, Options, Result};

use crate::small;

/// Where requests wait.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    /// Requests for keys with one of these prefixes wait.
    held: Vec<&'static str>,
    /// Counts up when those that wait are let go.
    released: u64,
    /// What waits now.
    waiting: Vec<String>,
}

impl Gate {
    fn pass(&self, key: &str) {
        let mut state = self.state.lock();
        if !state.held.iter().any(|prefix| key.starts_with(prefix)) {
            return;
        }
        state.waiting.push(key.to_owned());
        self.changed.notify_all();
        let released = state.released;
        while state.released == released {
            self.changed.wait(&mut state);
        }
        state.waiting.retain(|waiting| waiting != key);
    }

    /// Requests that come from now on wait if their keys have one of these prefixes. Those that wait go on waiting.
    fn hold(&self, prefixes: &[&'static str]) {
        self.state.lock().held = prefixes.to_vec();
    }

    fn release(&self) {
        let mut state = self.state.lock();
        state.held.clear();
        state.released += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, prefix: &str) {
        let mut state = self.state.lock();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !state.waiting.iter().any(|key| key.starts_with(prefix)) {
            let late = self.changed.wait_until(&mut state, deadline).timed_out();
            assert!(!late, "nothing waits for {prefix}: {:?}", state.waiting);
        }
    }
}

/// A store that can hang.
struct Hanging {
    inner: MemoryStore,
    gate: Arc<Gate>,
}

struct HangingPart<T: ?Sized> {
    key: String,
    gate: Arc<Gate>,
    inner: T,
}

impl Hanging {
    fn part<T>(&self, key: &str, inner: T) -> HangingPart<T> {
        HangingPart {
            key: key.to_owned(),
            gate: self.gate.clone(),
            inner,
        }
    }
}

impl ObjectWriter for HangingPart<Box<dyn ObjectWriter>> {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.inner.append(data)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.gate.pass(&self.key);
        self.inner.finish()
    }
}

impl ObjectReader for HangingPart<Arc<dyn ObjectReader>> {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.gate.pass(&self.key);
        self.inner.read(range)
    }
}

impl ObjectStore for Hanging {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.gate.pass(key);
        self.inner.put(key, data)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.gate.pass(key);
        self.inner.put_if_absent(key, data)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(key)?;
        Ok(Box::new(self.part(key, inner)))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.gate.pass(key);
        self.inner.get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.gate.pass(key);
        self.inner.get_range(key, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        let inner = self.inner.reader(key)?;
        Ok(Arc::new(self.part(key, inner)))
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.gate.pass(key);
        self.inner.size(key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.gate.pass(prefix);
        self.inner.list(prefix, after, limit)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.gate.pass(key);
        self.inner.delete(key)
    }
}

struct World {
    _dir: tempfile::TempDir,
    gate: Arc<Gate>,
    engine: Engine,
    /// The indexes with rows.
    first: u32,
}

fn key(index: u32, number: u32) -> Vec<u8> {
    [index.to_be_bytes(), number.to_be_bytes()].concat()
}

const COUNTER: &[u8] = b"\0\0\0\0counter";

impl World {
    /// An engine with rows in files that nobody has opened, a transaction that is prepared, and log, files and manifest in the store.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::<Gate>::default();
        let mut options: Options = small(dir.path());
        options.store = Some(Arc::new(Hanging {
            inner: MemoryStore::new(),
            gate: gate.clone(),
        }));
        options.remote_wal = true;
        options.prefetch = 4;
        options.transaction_memory = 64 << 10;
        options.memtable_size = 1 << 20;
        options.total_memtable_size = 4 << 20;
        options.store_wait = Duration::from_secs(600);
        options.compaction_threads = 1;
        let engine = Engine::open(options).unwrap();
        engine.set_auto_compactions(false);
        let first = engine.create_indexes(3).unwrap()[0].id();
        let world = Self {
            _dir: dir,
            gate,
            engine,
            first,
        };
        for round in 0..2 {
            world.write(round, 500);
            world.engine.flush().unwrap();
        }
        let mut txn = world.engine.begin(Isolation::RepeatableRead);
        txn.put(&key(first + 2, 1), b"prepared").unwrap();
        txn.raise_counter(COUNTER, 7).unwrap();
        txn.prepare(b"name", true).unwrap();
        world.engine.detach(txn).unwrap();
        world.engine.flush().unwrap();
        world
    }

    fn write(&self, round: u32, rows: u32) {
        let mut txn = self.engine.begin(Isolation::RepeatableRead);
        for number in 0..rows {
            for index in [self.first, self.first + 1] {
                let value = [round.to_be_bytes(), number.to_be_bytes()].concat();
                txn.put(&key(index, number), &value).unwrap();
            }
        }
        txn.commit().unwrap();
    }

    /// A transaction that is committed by files.
    fn write_much(&self) {
        let mut txn = self.engine.begin(Isolation::RepeatableRead);
        for number in 0..3000 {
            txn.put(&key(self.first + 2, 1000 + number), &[7; 100])
                .unwrap();
        }
        txn.commit().unwrap();
    }

    /// Calls every view, each on a thread of its own; the names of those that were not done in time.
    fn stuck_views(&self) -> Vec<&'static str> {
        type View<'a> = Box<dyn Fn() + Send + Sync + 'a>;
        let (engine, first) = (&self.engine, self.first);
        let holder = Mutex::new(engine.begin(Isolation::RepeatableRead));
        holder
            .lock()
            .lock(&key(first, 7), LockMode::Exclusive)
            .unwrap();
        let named = [first, first + 1, first + 2].map(Index::from_id);
        let views: Vec<(&'static str, View<'_>)> = vec![
            ("stats", Box::new(|| assert!(engine.stats().commits > 0))),
            (
                "status",
                Box::new(|| assert!(engine.status().contains("LEVELS"))),
            ),
            (
                "object_store_stats",
                Box::new(|| drop(engine.object_store_stats())),
            ),
            (
                "remote_wal",
                Box::new(|| assert!(engine.remote_wal().is_some())),
            ),
            (
                "transactions",
                Box::new(|| assert!(!engine.transactions().is_empty())),
            ),
            ("locks", Box::new(|| assert!(!engine.locks(100).is_empty()))),
            (
                "prepared",
                Box::new(|| assert_eq!(engine.prepared().len(), 1)),
            ),
            (
                "counter",
                Box::new(|| assert_eq!(engine.counter(COUNTER).unwrap(), 7)),
            ),
            (
                "range_stats",
                Box::new(|| {
                    assert!(
                        engine
                            .range_stats(&key(first, 0)..&key(first + 9, 0))
                            .unwrap()
                            .entries
                            > 0
                    )
                }),
            ),
            // Files reach over the ends of these, and are not open.
            (
                "range_stats of a part",
                Box::new(|| {
                    assert!(
                        engine
                            .range_stats(&key(first, 9)..&key(first + 1, 9))
                            .unwrap()
                            .entries
                            > 0
                    );
                }),
            ),
            (
                "range_stats of another",
                Box::new(|| assert!(engine.range_stats(&key(first, 9)..&key(first, 10)).is_ok())),
            ),
            ("visible", Box::new(|| assert!(engine.visible() > 0))),
            ("check_writes", Box::new(|| engine.check_writes().unwrap())),
            ("log_end", Box::new(|| assert!(engine.log_end() > 0))),
            (
                "wait_uploaded",
                Box::new(|| {
                    engine.want_uploaded(engine.log_end());
                    engine
                        .wait_uploaded(engine.log_end(), Duration::ZERO)
                        .unwrap();
                }),
            ),
            (
                "unnamed_indexes",
                Box::new(|| assert_eq!(engine.unnamed_indexes(&named).unwrap(), [])),
            ),
            (
                "retain_indexes",
                Box::new(|| assert_eq!(engine.retain_indexes(&named).unwrap(), [])),
            ),
            (
                "drop_indexes",
                Box::new(|| engine.drop_indexes(&[]).unwrap()),
            ),
            (
                "settings",
                Box::new(|| {
                    engine.set_block_cache_size(1 << 20);
                    engine.set_memtable_sizes(1 << 20, 4 << 20);
                    engine.set_level0_compaction_trigger(4);
                    engine.set_rate_limit(0);
                    engine.set_wal_sync(engine.wal_sync());
                    engine.set_wal_upload(Duration::from_millis(200), 1 << 20);
                    engine.set_auto_compactions(false);
                }),
            ),
            (
                "snapshot",
                Box::new(|| {
                    let mut txn = engine.begin(Isolation::RepeatableRead);
                    txn.take_snapshot();
                    txn.rollback().unwrap();
                }),
            ),
        ];
        let done = Mutex::new(Vec::new());
        let changed = Condvar::new();
        let mut stuck: Vec<&'static str> = views.iter().map(|(name, _)| *name).collect();
        std::thread::scope(|scope| {
            for (name, view) in &views {
                let (done, changed) = (&done, &changed);
                scope.spawn(move || {
                    view();
                    done.lock().push(*name);
                    changed.notify_all();
                });
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut finished = done.lock();
            while finished.len() < views.len() {
                if changed.wait_until(&mut finished, deadline).timed_out() {
                    break;
                }
            }
            stuck.retain(|name| !finished.contains(name));
            drop(finished);
            if !stuck.is_empty() {
                // Or the threads would never end.
                self.gate.release();
            }
        });
        stuck
    }
}

/// Everything in the store.
const ALL: &[&str] = &["manifest/", "sst/", "wal/", "CURRENT"];

#[test]
fn nothing_that_is_looked_at_waits_for_a_commit_by_files_that_hangs() {
    let world = World::new();
    std::thread::scope(|scope| {
        // A compaction that cannot write its output,
        world.gate.hold(&["sst/"]);
        scope.spawn(|| world.engine.compact().unwrap());
        world.gate.wait_for("sst/");
        // a commit whose files are written and cannot come in,
        world.gate.hold(&["manifest/"]);
        scope.spawn(|| world.write_much());
        world.gate.wait_for("manifest/");
        // and whoever wants the manifest after it.
        world.gate.hold(ALL);
        scope.spawn(|| world.engine.create_indexes(1000).unwrap());
        scope.spawn(|| {
            world
                .engine
                .drop_indexes(&[Index::from_id(world.first + 1)])
                .unwrap()
        });
        scope.spawn(|| world.engine.flush().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(world.stuck_views(), [""; 0]);
        world.gate.release();
    });
    let found = world
        .engine
        .range_stats(&key(world.first + 2, 0)..&key(world.first + 3, 0));
    assert!(found.unwrap().entries >= 3000);
}

#[test]
fn nothing_that_is_looked_at_waits_for_a_flush_that_hangs() {
    for part in ["wal/", "sst/", "manifest/"] {
        let world = World::new();
        world.write(2, 10);
        std::thread::scope(|scope| {
            world.gate.hold(match part {
                "wal/" => &["wal/"],
                "sst/" => &["sst/"],
                _ => &["manifest/"],
            });
            scope.spawn(|| world.engine.flush().unwrap());
            world.gate.wait_for(part);
            world.gate.hold(ALL);
            scope.spawn(|| world.engine.compact().unwrap());
            scope.spawn(|| world.write_much());
            scope.spawn(|| world.engine.create_indexes(1000).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(world.stuck_views(), [""; 0], "{part}");
            world.gate.release();
        });
    }
}

#[test]
fn nothing_that_is_looked_at_waits_for_an_edit_that_hangs() {
    let world = World::new();
    std::thread::scope(|scope| {
        world.gate.hold(ALL);
        scope.spawn(|| world.engine.create_indexes(1000).unwrap());
        world.gate.wait_for("manifest/");
        scope.spawn(|| world.engine.compact().unwrap());
        scope.spawn(|| {
            world
                .engine
                .drop_indexes(&[Index::from_id(world.first + 1)])
                .unwrap()
        });
        assert_eq!(world.stuck_views(), [""; 0]);
        world.gate.release();
    });
}
