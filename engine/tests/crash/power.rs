//! Crashes in the middle of everything: power is lost, or the process dies, while writers, flushes and compactions go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use smartengine::internals::env::Sequence;
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::object_store::{MemoryStore, Wrapped, Wrapper};
use smartengine::object_store::{ObjectStore, ObjectWriter};
use smartengine::{Engine, Result, WalSync};

use crate::history::{Writer, check_no_garbage, create, in_memory, make_and_drop_index};
use crate::with_others;

/// A store that can be held still, so that it and the disk are caught at the same moment.
pub struct Gated {
    inner: MemoryStore,
    gate: Arc<RwLock<()>>,
}

impl Gated {
    pub fn new(inner: MemoryStore) -> Wrapped<Self> {
        let gate = Arc::default();
        Wrapped(Self { inner, gate })
    }

    /// Holds it still while `look` looks at it.
    pub fn catch<T>(&self, look: impl FnOnce(&MemoryStore) -> T) -> T {
        let _still = self.gate.write();
        look(&self.inner)
    }
}

struct GatedWriter {
    inner: Box<dyn ObjectWriter>,
    gate: Arc<RwLock<()>>,
}

impl ObjectWriter for GatedWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.inner.append(data)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let _passing = self.gate.read();
        self.inner.finish()
    }
}

impl Wrapper for Gated {
    fn inner(&self) -> &dyn ObjectStore {
        &self.inner
    }

    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        let _passing = self.gate.read();
        self.inner.put(key, data)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        let _passing = self.gate.read();
        self.inner.put_if_absent(key, data)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(GatedWriter {
            inner: self.inner.writer(key)?,
            gate: self.gate.clone(),
        }))
    }

    fn delete(&self, key: &str) -> Result<()> {
        let _passing = self.gate.read();
        self.inner.delete(key)
    }
}

struct World {
    fs: FaultFs,
    store: Arc<Wrapped<Gated>>,
    sync: WalSync,
}

impl World {
    fn new(sync: WalSync) -> Self {
        Self::of(FaultFs::new(), MemoryStore::new(), sync)
    }

    fn of(fs: FaultFs, inner: MemoryStore, sync: WalSync) -> Self {
        Self {
            fs,
            store: Arc::new(Gated::new(inner)),
            sync,
        }
    }

    fn options(&self) -> smartengine::Options {
        let mut options = in_memory(&self.fs, self.store.clone());
        options.wal_sync = self.sync;
        options
    }

    /// What the next process would find now.
    fn crash(&self, loss: PowerLoss) -> Self {
        self.store
            .catch(|inner| Self::of(self.fs.crash(loss), inner.copy(), self.sync))
    }
}

/// Runs writers and crashes the machine under them again and again; each crash is checked, and the next generation begins from the last one.
fn run(seed: u64, sync: WalSync) {
    const WRITERS: u64 = 3;
    let mut sequence = Sequence::new(seed);
    let mut world = World::new(sync);
    create(world.options()).close().unwrap();
    let writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    for _generation in 0..3 {
        let engine = Engine::open(world.options()).unwrap();
        let stop = AtomicBool::new(false);
        let mut crashes = Vec::new();
        std::thread::scope(|scope| {
            for writer in &writers {
                let (engine, stop) = (&engine, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        writer.write_one(engine).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    make_and_drop_index(&engine).unwrap();
                    engine.flush().unwrap();
                    engine.compact().unwrap();
                }
            });
            for _ in 0..4 {
                let wait = writers[0].expected().start() + 5 + sequence.below(40);
                while *writers[0].expected().start() < wait {
                    std::thread::yield_now();
                }
                let loss = match sequence.below(4) {
                    0 => PowerLoss::All,
                    1 => PowerLoss::ProcessOnly,
                    _ => PowerLoss::Part(sequence.next_u64()),
                };
                let before: Vec<u64> = writers.iter().map(|w| *w.expected().start()).collect();
                let found = world.crash(loss);
                let after: Vec<u64> = writers.iter().map(|w| *w.expected().end()).collect();
                crashes.push((loss, found, before, after));
            }
            stop.store(true, Ordering::Relaxed);
        });
        drop(engine);
        let last = crashes.len() - 1;
        for (place, (loss, found, before, after)) in crashes.into_iter().enumerate() {
            let kept = sync == WalSync::EachCommit || loss == PowerLoss::ProcessOnly;
            let engine = Engine::open(found.options()).unwrap();
            for (writer, (before, after)) in writers.iter().zip(before.into_iter().zip(after)) {
                writer.check(&engine, if kept { before } else { 0 }..=after);
            }
            check_no_garbage(&engine);
            drop(engine);
            if place == last {
                world = found;
            }
        }
    }
}

#[test]
fn power_loss_takes_nothing_that_was_acknowledged() {
    let _guard = with_others();
    for seed in 0..4 {
        run(seed, WalSync::EachCommit);
    }
}

#[test]
fn without_syncs_power_loss_leaves_whole_transactions_in_order() {
    let _guard = with_others();
    for seed in 10..12 {
        run(seed, WalSync::EachSecond);
    }
}
