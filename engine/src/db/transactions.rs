//! What transactions share: the order of their commits, their locks, snapshots and counters, and room for what they spill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::counters::{Raise, decode_value};
use super::tree::Tree;
use super::writer::Writer;
use crate::Result;
use crate::options::{Options, WalSync};
use crate::txn::TxnId;
use crate::txn::commit::Pipeline;
use crate::txn::gate::Gate;
use crate::txn::locks::LockManager;
use crate::txn::snapshots::Snapshots;
use crate::txn::spill::SpillSpace;

/// See the module's description.
pub struct Transactions {
    tree: Arc<Tree>,
    pub writer: Arc<Writer>,
    pub pipeline: Pipeline<Writer>,
    pub snapshots: Arc<Snapshots>,
    pub locks: LockManager,
    pub spill: Arc<SpillSpace>,
    sync_each_commit: AtomicBool,
    next_id: AtomicU64,
    next_prepared: AtomicU64,
    active: AtomicU64,
    pub commits: AtomicU64,
    pub rollbacks: AtomicU64,
}

impl Transactions {
    /// `last_prepared` is the greatest id that a prepare in the log has.
    pub fn new(
        tree: Arc<Tree>,
        writer: Arc<Writer>,
        gate: Arc<Gate>,
        snapshots: Arc<Snapshots>,
        spill: Arc<SpillSpace>,
        options: &Options,
        last_prepared: u64,
    ) -> Self {
        Self {
            tree,
            writer,
            pipeline: Pipeline::new(snapshots.clone(), gate),
            snapshots,
            locks: LockManager::new(options.max_row_locks),
            spill,
            sync_each_commit: AtomicBool::new(options.wal_sync == WalSync::EachCommit),
            next_id: AtomicU64::new(1),
            next_prepared: AtomicU64::new(last_prepared + 1),
            active: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            rollbacks: AtomicU64::new(0),
        }
    }

    /// One more is running; its id.
    pub fn begin(&self) -> TxnId {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// One of them has ended.
    pub fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many are running.
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// An id for a prepare in the log.
    pub fn next_prepared(&self) -> u64 {
        self.next_prepared.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a commit is synced before it is acknowledged.
    pub fn syncs_each_commit(&self) -> bool {
        self.sync_each_commit.load(Ordering::Relaxed)
    }

    pub fn set_wal_sync(&self, sync: WalSync) {
        let each = sync == WalSync::EachCommit;
        self.sync_each_commit.store(each, Ordering::Relaxed);
    }

    /// The committed value of a counter.
    pub fn counter(&self, key: &[u8]) -> Result<u64> {
        let counters = &self.writer.counters;
        loop {
            let gone = match counters.get(key) {
                Ok(value) => return Ok(value),
                Err(gone) => gone,
            };
            let read = self.read_counter(key)?;
            let visible = self.snapshots.visible();
            if let Some(value) = counters.learn(key, read, gone, visible) {
                return Ok(value);
            }
        }
    }

    fn read_counter(&self, key: &[u8]) -> Result<u64> {
        match self.tree.get_newest(key)?.1 {
            None => Ok(0),
            Some(row) => decode_value(&row),
        }
    }

    /// The intent to raise a counter to `value`, if it is less.
    pub fn raise(&self, key: &[u8], value: u64) -> Result<Option<Raise>> {
        loop {
            self.counter(key)?;
            // Or it went since.
            if let Some(raise) = self.writer.counters.raise(key, value) {
                return Ok(raise);
            }
        }
    }
}
