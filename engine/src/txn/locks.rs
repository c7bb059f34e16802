//! Row locks: shared and exclusive, by key, granted first come first served.
//!
//! A key's lock lives in one of many shards, each a hash map under a mutex. A request that conflicts with a holder, or with a request
//! that waits already, joins the key's queue and sleeps until it is granted, times out, is interrupted, or would close a cycle of waits.
//! Who waits for whom is kept in one graph, touched only by requests that wait; the request that would close a cycle is refused with
//! [`ErrorKind::Deadlock`] at once. A transaction that already holds a shared lock and asks for the exclusive one goes to the head of
//! the queue. Locks are given back all together when the transaction ends, or one by one by [`LockManager::release`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::TxnId;
use crate::env::unique_u128;
use crate::{Error, ErrorKind, Result};

const SHARDS: usize = 64;

/// A timeout beyond this is cut to it, so that a deadline can be computed from any.
const LONGEST_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How a key is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Others may hold it shared as well.
    Shared,
    /// Nobody else holds it.
    Exclusive,
}

/// What to do where a lock is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Wait at most this long; [`ErrorKind::LockTimeout`] then.
    Timeout(Duration),
    /// [`ErrorKind::LockNotAvailable`] at once.
    NoWait,
}

/// Whether a request added to what the transaction held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The transaction did not hold the key.
    New,
    /// It held the key, in this mode or a stronger one, or was given the stronger one now.
    Held,
}

/// Hashes keys by XXH3 with a seed of the process, so that nobody can choose keys that collide.
#[derive(Clone, Copy, Default)]
struct KeyHash;

struct KeyHasher(u64);

static SEED: LazyLock<u64> = LazyLock::new(|| unique_u128() as u64);

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(*SEED)
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, _: usize) {
        // The length of a key is part of its hash already.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The locks that one transaction holds.
pub struct TxnLocks {
    id: TxnId,
    held: HashMap<Arc<[u8]>, LockMode, KeyHash>,
}

impl TxnLocks {
    /// None yet.
    pub fn new(id: TxnId) -> Self {
        Self {
            id,
            held: HashMap::default(),
        }
    }

    /// Makes it the (empty) set of another transaction.
    pub fn renew(&mut self, id: TxnId) {
        debug_assert!(self.held.is_empty());
        self.id = id;
    }

    /// Which transaction it is.
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// How many keys are locked.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no key is locked.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[derive(Default)]
struct Lock {
    holders: Vec<(TxnId, LockMode)>,
    queue: VecDeque<Arc<Waiter>>,
}

impl Lock {
    fn conflicts(&self, id: TxnId, mode: LockMode) -> bool {
        self.holders
            .iter()
            .any(|&(holder, held)| holder != id && (mode.max(held) == LockMode::Exclusive))
    }

    fn grant(&mut self, id: TxnId, mode: LockMode) {
        match self.holders.iter_mut().find(|(holder, _)| *holder == id) {
            Some((_, held)) => *held = (*held).max(mode),
            None => self.holders.push((id, mode)),
        }
    }

    /// Grants what the queue's head allows, in order. A transaction that is granted waits for nobody any more.
    fn grant_waiting(&mut self, graph: &Mutex<WaitGraph>) {
        while let Some(first) = self.queue.front() {
            if self.conflicts(first.id, first.mode) {
                return;
            }
            let Some(first) = self.queue.pop_front() else {
                return;
            };
            self.grant(first.id, first.mode);
            graph.lock().edges.remove(&first.id);
            first.finish(Outcome::Granted);
        }
    }

    /// Nobody in the queue waits for `id` any more, which has left without ending.
    fn left(&self, id: TxnId, graph: &Mutex<WaitGraph>) {
        if self.queue.is_empty() {
            return;
        }
        let mut graph = graph.lock();
        for waiter in &self.queue {
            if let Some((waits_for, _)) = graph.edges.get_mut(&waiter.id) {
                waits_for.retain(|&other| other != id);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waiting,
    Granted,
    Interrupted,
}

struct Waiter {
    id: TxnId,
    mode: LockMode,
    outcome: Mutex<Outcome>,
    changed: Condvar,
}

impl Waiter {
    fn finish(&self, outcome: Outcome) {
        let mut now = self.outcome.lock();
        if *now == Outcome::Waiting {
            *now = outcome;
            self.changed.notify_one();
        }
    }
}

/// Who waits, and for whom.
#[derive(Default)]
struct WaitGraph {
    edges: HashMap<TxnId, (Vec<TxnId>, Arc<Waiter>)>,
    /// Transactions that were interrupted before they began to wait.
    interrupted: HashSet<TxnId>,
}

impl WaitGraph {
    /// Whether any of `targets` waits, directly or not, for `id`.
    fn reaches(&self, targets: &[TxnId], id: TxnId) -> bool {
        let mut seen = HashSet::new();
        let mut stack = targets.to_vec();
        while let Some(at) = stack.pop() {
            if at == id {
                return true;
            }
            if seen.insert(at)
                && let Some((next, _)) = self.edges.get(&at)
            {
                stack.extend(next);
            }
        }
        false
    }
}

/// Counters and gauges of a lock manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockStats {
    /// Locks held now.
    pub held: u64,
    /// Requests that had to wait.
    pub waits: u64,
    /// Requests that waited too long.
    pub timeouts: u64,
    /// Requests refused since they would have closed a cycle.
    pub deadlocks: u64,
}

type Shard = Mutex<HashMap<Arc<[u8]>, Lock, KeyHash>>;

/// All row locks of an engine.
pub struct LockManager {
    shards: Box<[Shard]>,
    graph: Mutex<WaitGraph>,
    /// How many transactions the graph has as interrupted, to pass by its lock while there are none.
    interrupted: AtomicUsize,
    max_per_txn: AtomicU64,
    held: AtomicU64,
    waits: AtomicU64,
    timeouts: AtomicU64,
    deadlocks: AtomicU64,
}

impl LockManager {
    /// No locks; a transaction may hold up to `max_per_txn`.
    pub fn new(max_per_txn: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            graph: Mutex::default(),
            interrupted: AtomicUsize::new(0),
            max_per_txn: AtomicU64::new(max_per_txn),
            held: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            deadlocks: AtomicU64::new(0),
        }
    }

    /// Changes how many locks a transaction may hold.
    pub fn set_max_per_txn(&self, max: u64) {
        self.max_per_txn.store(max, Ordering::Relaxed);
    }

    /// Counters and gauges.
    pub fn stats(&self) -> LockStats {
        LockStats {
            held: self.held.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
        }
    }

    fn shard(&self, key: &[u8]) -> &Shard {
        // The tables of the shards go by the hash's other bits.
        &self.shards[(KeyHash.hash_one(key) >> 24) as usize % SHARDS]
    }

    /// Locks `key`.
    pub fn acquire(
        &self,
        txn: &mut TxnLocks,
        key: &[u8],
        mode: LockMode,
        wait: LockWait,
    ) -> Result<Granted> {
        let already = txn.held.get(key).copied();
        if already.is_some_and(|held| held >= mode) {
            return Ok(Granted::Held);
        }
        let max = self.max_per_txn.load(Ordering::Relaxed);
        if already.is_none() && txn.held.len() as u64 >= max {
            return Err(Error::new(
                ErrorKind::LockLimit,
                format!("a transaction may lock at most {max} rows"),
            ));
        }
        let mut shard = self.shard(key).lock();
        let shared_key: Arc<[u8]> = match shard.get_key_value(key) {
            Some((shared, _)) => shared.clone(),
            None => key.into(),
        };
        let lock = shard.entry(shared_key.clone()).or_default();
        let free = !lock.conflicts(txn.id, mode) && (lock.queue.is_empty() || already.is_some());
        if free {
            lock.grant(txn.id, mode);
            drop(shard);
        } else {
            let LockWait::Timeout(timeout) = wait else {
                return Err(Error::new(
                    ErrorKind::LockNotAvailable,
                    "another transaction holds the row lock and NOWAIT was asked for",
                ));
            };
            let waiter = Arc::new(Waiter {
                id: txn.id,
                mode,
                outcome: Mutex::new(Outcome::Waiting),
                changed: Condvar::new(),
            });
            let mut waits_for: Vec<_> = lock
                .holders
                .iter()
                .map(|&(id, _)| id)
                .filter(|&id| id != txn.id)
                .collect();
            if already.is_some() {
                lock.queue.push_front(waiter.clone());
            } else {
                waits_for.extend(lock.queue.iter().map(|ahead| ahead.id));
                lock.queue.push_back(waiter.clone());
            }
            self.waits.fetch_add(1, Ordering::Relaxed);
            // The graph is locked inside the shard, so that no grant slips between the two.
            let mut graph = self.graph.lock();
            let refusal = if graph.interrupted.remove(&txn.id) {
                self.interrupted.fetch_sub(1, Ordering::Relaxed);
                Some(interrupted())
            } else if graph.reaches(&waits_for, txn.id) {
                self.deadlocks.fetch_add(1, Ordering::Relaxed);
                Some(Error::new(
                    ErrorKind::Deadlock,
                    "waiting for the row lock would close a cycle of waiting transactions",
                ))
            } else {
                graph.edges.insert(txn.id, (waits_for, waiter.clone()));
                None
            };
            drop(graph);
            if let Some(error) = refusal {
                lock.queue.retain(|queued| !Arc::ptr_eq(queued, &waiter));
                return Err(error);
            }
            drop(shard);
            self.wait(&waiter, key, timeout)?;
        }
        if txn.held.insert(shared_key, mode).is_none() {
            self.held.fetch_add(1, Ordering::Relaxed);
            return Ok(Granted::New);
        }
        Ok(Granted::Held)
    }

    fn wait(&self, waiter: &Arc<Waiter>, key: &[u8], timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        let mut outcome = waiter.outcome.lock();
        while *outcome == Outcome::Waiting {
            if waiter
                .changed
                .wait_until(&mut outcome, deadline)
                .timed_out()
            {
                break;
            }
        }
        drop(outcome);
        // A grant may have come at the last moment: whoever is no longer queued holds the lock.
        let mut shard = self.shard(key).lock();
        let Some(lock) = shard.get_mut(key) else {
            return Ok(());
        };
        let Some(place) = lock
            .queue
            .iter()
            .position(|queued| Arc::ptr_eq(queued, waiter))
        else {
            return Ok(());
        };
        lock.queue.remove(place);
        self.graph.lock().edges.remove(&waiter.id);
        // An upgrade that is given up leaves its holder, for whom the others still wait.
        if lock.holders.iter().all(|&(holder, _)| holder != waiter.id) {
            lock.left(waiter.id, &self.graph);
        }
        lock.grant_waiting(&self.graph);
        if lock.holders.is_empty() && lock.queue.is_empty() {
            shard.remove(key);
        }
        let now = *waiter.outcome.lock();
        drop(shard);
        if now == Outcome::Interrupted {
            return Err(interrupted());
        }
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(
            ErrorKind::LockTimeout,
            format!(
                "the row lock was not granted within {} ms",
                timeout.as_millis()
            ),
        ))
    }

    /// Gives one key back.
    pub fn release(&self, txn: &mut TxnLocks, key: &[u8]) {
        if let Some((key, _)) = txn.held.remove_entry(key) {
            self.release_key(txn.id, &key);
        }
    }

    /// Gives everything back.
    pub fn release_all(&self, txn: &mut TxnLocks) {
        const KEEP: usize = 1024;
        let id = txn.id;
        for (key, _) in txn.held.drain() {
            self.release_key(id, &key);
        }
        txn.held.shrink_to(KEEP);
        self.forget_interrupt(id);
    }

    fn release_key(&self, id: TxnId, key: &[u8]) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        let mut shard = self.shard(key).lock();
        if let Some(lock) = shard.get_mut(key) {
            lock.holders.retain(|&(holder, _)| holder != id);
            lock.left(id, &self.graph);
            lock.grant_waiting(&self.graph);
            if lock.holders.is_empty() && lock.queue.is_empty() {
                shard.remove(key);
            }
        }
    }

    /// Makes the wait of transaction `id` fail with [`ErrorKind::Interrupted`]: the present one, or else the next one, which it may be about to
    /// begin, unless [`LockManager::forget_interrupt`] comes before.
    pub fn interrupt(&self, id: TxnId) {
        let mut graph = self.graph.lock();
        if let Some((_, waiter)) = graph.edges.get(&id) {
            waiter.finish(Outcome::Interrupted);
        } else if graph.interrupted.insert(id) {
            self.interrupted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes an interrupt back that found nothing to interrupt.
    pub fn forget_interrupt(&self, id: TxnId) {
        if self.interrupted.load(Ordering::Relaxed) > 0 && self.graph.lock().interrupted.remove(&id)
        {
            self.interrupted.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "the wait for a row lock was interrupted",
    )
}

#[cfg(test)]
mod tests;
