//! The transactions that have locked or written anything, as other threads may see them.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::gaps::{LATCHES, latch_of};
use crate::txn::batch::{BatchView, Nearby};
use crate::txn::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::txn::sync::{Mutex, RwLock};
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
    /// The latches of the indexes that it wrote to, a bit each.
    wrote_under: AtomicU64,
    batch: OnceLock<Arc<BatchView>>,
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
            wrote_under: AtomicU64::new(0),
            batch: OnceLock::new(),
        }
    }

    /// What it has written in and around [from, to). Reads from disk where it was spilled.
    pub fn nearby(&self, from: &[u8], to: &[u8]) -> Nearby {
        match self.batch.get() {
            // One that cannot be read may have anything.
            Some(batch) => batch.nearby(from, to).unwrap_or(Nearby::Within),
            None => Nearby::default(),
        }
    }
}

/// Transactions by id. Who comes later is at the end, as a rule.
#[derive(Default)]
struct Txns(Vec<(TxnId, Arc<ActiveTxn>)>);

impl Txns {
    fn place(&self, id: TxnId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |&(id, _)| id)
    }

    fn get(&self, id: TxnId) -> Option<&Arc<ActiveTxn>> {
        let place = self.place(id).ok()?;
        self.0.get(place).map(|(_, txn)| txn)
    }

    fn insert(&mut self, txn: Arc<ActiveTxn>) {
        match self.place(txn.id) {
            Ok(place) => self.0[place].1 = txn,
            Err(place) => self.0.insert(place, (txn.id, txn)),
        }
    }

    fn remove(&mut self, id: TxnId) {
        if let Ok(place) = self.place(id) {
            self.0.remove(place);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<ActiveTxn>> {
        self.0.iter().map(|(_, txn)| txn)
    }
}

/// All of them.
pub struct Registry {
    active: RwLock<Txns>,
    /// Those that have written, by the latches of the indexes.
    writers: Box<[Mutex<Txns>]>,
}

const _: () = assert!(LATCHES == u64::BITS as usize, "a bit for each latch");

impl Default for Registry {
    fn default() -> Self {
        Self {
            active: RwLock::default(),
            writers: (0..LATCHES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Registry {
    pub fn enter(&self, txn: Arc<ActiveTxn>) {
        self.active.write().insert(txn);
    }

    pub fn leave(&self, txn: &ActiveTxn) {
        let mut wrote_under = txn.wrote_under.load(Ordering::Relaxed);
        while wrote_under != 0 {
            let latch = wrote_under.trailing_zeros() as usize;
            self.writers[latch].lock().remove(txn.id);
            wrote_under &= wrote_under - 1;
        }
        self.active.write().remove(txn.id);
    }

    /// A transaction, whose batch `share` gives to others to look at, is about to write `key` into it.
    pub fn will_write(
        &self,
        txn: &Arc<ActiveTxn>,
        key: &[u8],
        share: impl FnOnce() -> Arc<BatchView>,
    ) {
        let latch = latch_of(key);
        // Nobody else sets bits.
        let wrote_under = txn.wrote_under.load(Ordering::Relaxed);
        if wrote_under & (1 << latch) == 0 {
            txn.batch.get_or_init(share);
            self.writers[latch].lock().insert(txn.clone());
            txn.wrote_under
                .store(wrote_under | (1 << latch), Ordering::Relaxed);
        }
    }

    /// The transactions other than `but` that have written under a latch.
    pub fn writers(&self, latch: usize, but: TxnId) -> Vec<Arc<ActiveTxn>> {
        let writers = self.writers[latch].lock();
        let others = writers.iter().filter(|txn| txn.id != but);
        others.cloned().collect()
    }

    /// Calls `hold` while `id` is known to run, which is told that it is awaited; false where it has ended.
    pub fn await_end(&self, id: TxnId, hold: impl FnOnce()) -> bool {
        let active = self.active.read();
        let Some(txn) = active.get(id) else {
            return false;
        };
        txn.awaited.store(true, Ordering::Relaxed);
        hold();
        true
    }

    /// The labels of those that are still running.
    pub fn labels(&self, ids: &[TxnId]) -> Vec<u64> {
        let active = self.active.read();
        let found = ids.iter().filter_map(|&id| active.get(id));
        found.map(|txn| txn.label).collect()
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<ActiveTxn>> {
        self.active.read().iter().cloned().collect()
    }
}
