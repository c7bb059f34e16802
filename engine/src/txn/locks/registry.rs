//! The transactions that have locked or written anything, as other threads may see them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::key::index_of;
use crate::txn::batch::BatchView;
use crate::txn::sync::RwLock;
use crate::txn::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::txn::{Isolation, TxnId};

/// What others may know of a running transaction.
pub struct ActiveTxn {
    pub id: TxnId,
    pub isolation: Isolation,
    pub started: SystemTime,
    /// The name that the engine's user gave it.
    pub label: u64,
    pub locks: AtomicU64,
    pub writes: AtomicU64,
    pub memory: AtomicU64,
    /// Whether anybody waits, or is about to, for it to end.
    pub awaited: AtomicBool,
    /// The indexes that it wrote to: of each a bit, by the id's remainder.
    indexes: AtomicU64,
    batch: OnceLock<Arc<BatchView>>,
}

fn bit_of(key: &[u8]) -> u64 {
    1 << (index_of(key) % u64::BITS)
}

impl ActiveTxn {
    pub fn new(id: TxnId, isolation: Isolation, label: u64) -> Self {
        Self {
            id,
            isolation,
            started: SystemTime::now(),
            label,
            locks: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            indexes: AtomicU64::new(0),
            batch: OnceLock::new(),
        }
    }

    /// It is about to write `key` into its batch.
    pub fn will_write(&self, key: &[u8], share: impl FnOnce() -> Arc<BatchView>) {
        self.batch.get_or_init(share);
        let bit = bit_of(key);
        if self.indexes.load(Ordering::Relaxed) & bit == 0 {
            self.indexes.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether it has written a key of [from, to) that is there.
    fn has_put_in(&self, from: &[u8], to: &[u8]) -> bool {
        self.indexes.load(Ordering::Relaxed) & bit_of(from) != 0
            && self
                .batch
                .get()
                // A batch that cannot be read may have anything.
                .is_some_and(|batch| batch.has_live_put_in(from, to).unwrap_or(true))
    }
}

/// All of them.
#[derive(Default)]
pub struct Registry {
    active: RwLock<HashMap<TxnId, Arc<ActiveTxn>>>,
}

impl Registry {
    pub fn enter(&self, txn: Arc<ActiveTxn>) {
        self.active.write().insert(txn.id, txn);
    }

    pub fn leave(&self, id: TxnId) {
        self.active.write().remove(&id);
    }

    /// A transaction other than `but` that has added a key to [from, to).
    pub fn writer_in(&self, but: TxnId, from: &[u8], to: &[u8]) -> Option<TxnId> {
        let active = self.active.read();
        let mut others = active.values().filter(|txn| txn.id != but);
        others
            .find(|txn| txn.has_put_in(from, to))
            .map(|txn| txn.id)
    }

    /// Calls `hold` while `id` is known to run, which is told that it is awaited; false where it has ended.
    pub fn await_end(&self, id: TxnId, hold: impl FnOnce()) -> bool {
        let active = self.active.read();
        let Some(txn) = active.get(&id) else {
            return false;
        };
        txn.awaited.store(true, Ordering::Relaxed);
        hold();
        true
    }

    /// The labels of those that are still running.
    pub fn labels(&self, ids: &[TxnId]) -> Vec<u64> {
        let active = self.active.read();
        let found = ids.iter().filter_map(|id| active.get(id));
        found.map(|txn| txn.label).collect()
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<ActiveTxn>> {
        let mut all: Vec<_> = self.active.read().values().cloned().collect();
        all.sort_by_key(|txn| txn.id);
        all
    }
}
