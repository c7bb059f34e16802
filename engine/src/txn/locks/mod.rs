//! Locks: on rows, shared and exclusive, by key; and on gaps between them. Granted first come first served.
//!
//! A key's lock lives in one of many shards (`shard`), each a hash table under a mutex. A request that conflicts with a holder, or with a
//! request that waits already, joins the key's queue and sleeps until it is granted, times out, is interrupted, or is given up to
//! break a circle of waits. Who waits for whom is kept in one graph (`graph`), touched only by requests that wait; a request that would close
//! a circle has the cheapest member of it fail with [`ErrorKind::Deadlock`] at once, itself or another. A transaction that already
//! holds a shared lock and asks for the exclusive one goes to the head of the queue. Locks are given back all together when the
//! transaction ends, or one by one by [`LockManager::release`].
//!
//! A transaction's first 65,536 locks are explicit: their keys are kept. Of further ones only fingerprints are, 9 to 18 bytes for each.
//!
//! Gaps (`gaps`) are locked by scans at [`crate::Isolation::RepeatableRead`] and above. A request that waits because of a gap waits for its owner's end,
//! or for the end of the transaction that added a key to it: for a lock on a key that stands for that transaction, which it is made to hold when somebody
//! asks.

mod gaps;
mod graph;
mod key;
mod list;
mod range;
mod registry;
mod shard;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use self::gaps::{Gaps, Range};
use self::graph::{Entered, Outcome, WaitGraph, Waiter, Wanted};
use self::registry::{ActiveTxn, Registry};
use self::shard::{SHARD_SHIFT, Shard};
use super::TxnId;
use super::sync::Mutex;
use super::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::txn::Isolation;
use crate::{Error, ErrorKind, Result};

pub use self::list::{LockInfo, LockKind, TxnInfo};

const SHARDS: usize = 64;

/// How many locks of a transaction are explicit.
const EXPLICIT_LOCKS: usize = 65_536;

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
    /// It held the key, in this mode or a stronger one.
    Held,
    /// It held the key shared, and holds it exclusively now.
    Stronger,
}

/// The locks that one transaction holds.
pub struct TxnLocks {
    id: TxnId,
    isolation: Isolation,
    label: u64,
    /// The keys of explicit locks. Some may have been given back.
    keys: Vec<Arc<[u8]>>,
    given_back: usize,
    has_bulk: bool,
    /// The latches under which it has gaps.
    gaps: Vec<usize>,
    /// Where nobody had added anything when it last looked without locking a gap.
    surveyed: Option<Range>,
    count: u64,
    active: Option<Arc<ActiveTxn>>,
}

impl TxnLocks {
    /// None yet.
    pub fn new(id: TxnId, isolation: Isolation) -> Self {
        Self {
            id,
            isolation,
            label: 0,
            keys: Vec::new(),
            given_back: 0,
            has_bulk: false,
            gaps: Vec::new(),
            surveyed: None,
            count: 0,
            active: None,
        }
    }

    /// Makes it the (empty) set of another transaction.
    pub fn renew(&mut self, id: TxnId, isolation: Isolation) {
        debug_assert!(self.count == 0 && self.active.is_none());
        self.id = id;
        self.isolation = isolation;
    }

    /// A new cursor is made: what others have added is looked up again.
    pub fn forget_survey(&mut self) {
        self.surveyed = None;
    }

    /// What listings call the transaction by, from its next lock or write on if it has none.
    pub fn set_label(&mut self, label: u64) {
        self.label = label;
    }

    /// Which transaction it is.
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// The key that was locked last, if it is this one and kept.
    pub fn last(&self, key: &[u8]) -> Option<Arc<[u8]>> {
        self.keys.last().filter(|last| ***last == *key).cloned()
    }

    /// How many keys are locked.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether no key is locked.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether neither a key nor a gap is locked.
    pub fn holds_nothing(&self) -> bool {
        self.count == 0 && self.gaps.is_empty()
    }

    /// What listings and the choice of victims go by.
    pub fn note_writes(&self, writes: usize, bytes: usize) {
        if let Some(active) = &self.active {
            active.writes.store(writes as u64, Ordering::Relaxed);
            active.memory.store(bytes as u64, Ordering::Relaxed);
        }
    }

    fn weight(&self) -> u64 {
        let writes = self.active.as_ref();
        self.count + writes.map_or(0, |active| active.writes.load(Ordering::Relaxed))
    }

    fn counts(&mut self, locks: u64) {
        self.count = locks;
        if let Some(active) = &self.active {
            active.locks.store(locks, Ordering::Relaxed);
        }
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
    /// Circles of waits that were broken.
    pub deadlocks: u64,
}

/// Told of transactions that are about to wait: the label of one, and of one that it waits for. Called by a thread that holds no lock of the lock manager's.
pub type WaitObserver = Box<dyn Fn(u64, u64) + Send + Sync>;

/// A request for a lock: on a row, or on a key that stands for a transaction's end.
struct Request<'a> {
    key: &'a [u8],
    mode: LockMode,
    wait: LockWait,
    wanted: Wanted,
    /// What is wanted in the end.
    target: &'a [u8],
}

/// All locks of an engine.
pub struct LockManager {
    shards: Box<[Mutex<Shard>]>,
    graph: Mutex<WaitGraph>,
    gaps: Gaps,
    registry: Registry,
    /// How many transactions the graph has marked as interrupted, so that its lock can be skipped while there are none.
    interrupted: AtomicUsize,
    max_per_txn: AtomicU64,
    explicit_per_txn: usize,
    waits: AtomicU64,
    timeouts: AtomicU64,
    deadlocks: AtomicU64,
    observer: OnceLock<WaitObserver>,
}

impl LockManager {
    /// No locks; a transaction may hold up to `max_per_txn`.
    pub fn new(max_per_txn: u64) -> Self {
        Self::with_explicit_locks(max_per_txn, EXPLICIT_LOCKS)
    }

    /// As [`LockManager::new`]; of each transaction the first `explicit` locks are explicit.
    pub fn with_explicit_locks(max_per_txn: u64, explicit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            graph: Mutex::default(),
            gaps: Gaps::default(),
            registry: Registry::default(),
            interrupted: AtomicUsize::new(0),
            max_per_txn: AtomicU64::new(max_per_txn),
            explicit_per_txn: explicit,
            waits: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            deadlocks: AtomicU64::new(0),
            observer: OnceLock::new(),
        }
    }

    /// From now on reports each wait to an observer. The first observer stays.
    pub fn observe_waits(&self, observer: WaitObserver) {
        let _ = self.observer.set(observer);
    }

    /// Tells the observer that `waiting` wait for `awaited`.
    fn tell_of_wait(&self, waiting: &[TxnId], awaited: &[TxnId]) {
        let Some(observer) = self.observer.get() else {
            return;
        };
        let awaited = self.registry.labels(awaited);
        for waiting in self.registry.labels(waiting) {
            awaited
                .iter()
                .for_each(|&awaited| observer(waiting, awaited));
        }
    }

    /// Changes how many locks a transaction may hold.
    pub fn set_max_per_txn(&self, max: u64) {
        self.max_per_txn.store(max, Ordering::Relaxed);
    }

    /// Counters and gauges.
    pub fn stats(&self) -> LockStats {
        LockStats {
            held: self.shards.iter().map(|shard| shard.lock().held).sum(),
            waits: self.waits.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
        }
    }

    /// When the last deadlock was, and its description: who waited for what, and who gave way.
    pub fn last_deadlock(&self) -> Option<(SystemTime, String)> {
        self.graph.lock().last_deadlock().cloned()
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // The tables of the shards go by the hash's other bits.
        &self.shards[(hash >> SHARD_SHIFT) as usize % SHARDS]
    }

    /// Makes a transaction known to others, if it is not.
    fn enter<'a>(&self, txn: &'a mut TxnLocks) -> &'a Arc<ActiveTxn> {
        txn.active.get_or_insert_with(|| {
            let active = Arc::new(ActiveTxn::new(txn.id, txn.isolation, txn.label));
            self.registry.enter(active.clone());
            active
        })
    }

    /// Locks `key`.
    pub fn acquire(
        &self,
        txn: &mut TxnLocks,
        key: &[u8],
        mode: LockMode,
        wait: LockWait,
    ) -> Result<Granted> {
        self.enter(txn);
        let request = Request {
            key,
            mode,
            wait,
            wanted: Wanted::Row,
            target: key,
        };
        self.request(txn, &request)
    }

    fn request(&self, txn: &mut TxnLocks, request: &Request<'_>) -> Result<Granted> {
        let &Request { key, mode, .. } = request;
        let hash = key::hash(key);
        let mut guard = self.shard(hash).lock();
        let shard = &mut *guard;
        if shard.has_bulk() {
            let own = shard.bulk_held(txn.id, hash);
            if own.is_some_and(|held| held >= mode) {
                return Ok(Granted::Held);
            }
            if shard.bulk_held_by_another(txn.id, hash)
                || (own.is_some() && shard.find(hash, key).is_some())
            {
                shard.make_explicit(hash, key);
            } else if own.is_some() {
                shard.bulk_lock(txn.id, hash, mode);
                return Ok(Granted::Stronger);
            }
        }
        let found = shard.find(hash, key);
        let already = found.as_ref().and_then(|lock| lock.held_by(txn.id));
        if already.is_some_and(|held| held >= mode) {
            return Ok(Granted::Held);
        }
        let max = self.max_per_txn.load(Ordering::Relaxed);
        if already.is_none() && txn.count >= max && request.wanted == Wanted::Row {
            return Err(Error::new(
                ErrorKind::LockLimit,
                format!("a transaction may lock at most {max} rows"),
            ));
        }
        let Some(lock) = found else {
            if txn.keys.len() < self.explicit_per_txn {
                let lock = shard.find_or_add(hash, key);
                lock.grant(txn.id, mode);
                txn.keys.push(lock.key.clone());
                shard.held += 1;
            } else {
                shard.bulk_lock(txn.id, hash, mode);
                txn.has_bulk = true;
            }
            drop(guard);
            txn.counts(txn.count + 1);
            return Ok(Granted::New);
        };
        let free = !lock.conflicts(txn.id, mode) && (already.is_some() || !lock.is_awaited());
        let mut overtaken = Vec::new();
        if already.is_some() && lock.is_awaited() {
            // It goes before all that wait, also those that its shared lock did not stand in the way of.
            overtaken.extend(lock.queue().map(|waiter| waiter.id));
            let mut graph = self.graph.lock();
            overtaken
                .iter()
                .for_each(|&waiter| graph.waits_also_for(waiter, txn.id));
        }
        let shared_key = lock.key.clone();
        if free {
            shard.held += u64::from(lock.grant(txn.id, mode));
            drop(guard);
            self.tell_of_wait(&overtaken, &[txn.id]);
        } else {
            let LockWait::Timeout(timeout) = request.wait else {
                return Err(Error::new(
                    ErrorKind::LockNotAvailable,
                    "another transaction holds the row lock and NOWAIT was asked for",
                ));
            };
            let waiter = Waiter::new(txn.id, mode, txn.weight(), request.wanted, request.target);
            let conflicts = |other: LockMode| mode.max(other) == LockMode::Exclusive;
            let mut waits_for: Vec<_> = lock
                .holders()
                .filter(|&(id, held)| id != txn.id && conflicts(held))
                .map(|(id, _)| id)
                .collect();
            if already.is_none() {
                let ahead = lock.queue().filter(|ahead| conflicts(ahead.mode));
                waits_for.extend(ahead.map(|ahead| ahead.id));
            }
            self.waits.fetch_add(1, Ordering::Relaxed);
            // The graph is locked inside the shard, so that no grant slips between the two.
            let (entered, victims) = self.graph.lock().enter(&waiter, waits_for.clone());
            self.deadlocks.fetch_add(victims, Ordering::Relaxed);
            match entered {
                Entered::Waits => lock.enqueue(waiter.clone(), already.is_some()),
                Entered::Interrupted => {
                    self.interrupted.fetch_sub(1, Ordering::Relaxed);
                    return Err(interrupted());
                }
                Entered::Victim => return Err(deadlock()),
            }
            drop(guard);
            self.tell_of_wait(&overtaken, &[txn.id]);
            self.tell_of_wait(&[txn.id], &waits_for);
            self.wait(&waiter, hash, key, timeout)?;
        }
        if already.is_some() {
            return Ok(Granted::Stronger);
        }
        txn.keys.push(shared_key);
        txn.counts(txn.count + 1);
        Ok(Granted::New)
    }

    fn wait(&self, waiter: &Arc<Waiter>, hash: u64, key: &[u8], timeout: Duration) -> Result<()> {
        waiter.sleep(Instant::now() + timeout.min(LONGEST_WAIT));
        if waiter.outcome() == Outcome::Granted {
            return Ok(());
        }
        let mut guard = self.shard(hash).lock();
        // A grant may have come at the last moment: it is made under the shard's lock.
        let outcome = self.graph.lock().leave(waiter);
        if outcome == Outcome::Granted {
            return Ok(());
        }
        if let Some(lock) = guard.find(hash, key) {
            lock.dequeue(waiter);
            // An upgrade that is given up leaves its holder, for whom the others still wait.
            if lock.held_by(waiter.id).is_none() {
                lock.left(waiter.id, &self.graph);
            }
            guard.held += lock.grant_waiting(&self.graph);
            guard.remove_if_idle(hash, key);
        }
        drop(guard);
        match outcome {
            Outcome::Victim => Err(deadlock()),
            Outcome::Interrupted => Err(interrupted()),
            Outcome::Waiting | Outcome::Granted => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                let millis = timeout.as_millis();
                Err(Error::new(
                    ErrorKind::LockTimeout,
                    format!("the row lock was not granted within {millis} ms"),
                ))
            }
        }
    }

    /// Makes an exclusive lock a shared one. A lock of which only the fingerprint is kept stays as it is.
    pub fn downgrade(&self, txn: &TxnLocks, key: &[u8]) {
        let hash = key::hash(key);
        let mut shard = self.shard(hash).lock();
        let mut added = 0;
        if let Some(lock) = shard.find(hash, key) {
            lock.weaken(txn.id);
            added = lock.grant_waiting(&self.graph);
        }
        shard.held += added;
    }

    /// Gives one key back.
    pub fn release(&self, txn: &mut TxnLocks, key: &[u8]) {
        /// How many locks back a key is looked for among those that the transaction knows.
        const NEAR: usize = 16;
        let hash = key::hash(key);
        if !self.release_key(txn.id, hash, key) {
            return;
        }
        txn.counts(txn.count - 1);
        let near = txn.keys.len().saturating_sub(NEAR);
        match txn.keys[near..].iter().rposition(|held| **held == *key) {
            Some(place) => {
                txn.keys.swap_remove(near + place);
            }
            None => txn.given_back += 1,
        }
        if txn.given_back > txn.keys.len() / 2 && txn.given_back > 4 * NEAR {
            self.forget_given_back(txn);
        }
    }

    /// Forgets the keys that were given back. (Those that were taken again since are known twice.)
    fn forget_given_back(&self, txn: &mut TxnLocks) {
        let id = txn.id;
        txn.keys.retain(|key| {
            let hash = key::hash(key);
            let mut shard = self.shard(hash).lock();
            shard
                .find(hash, key)
                .is_some_and(|lock| lock.held_by(id).is_some())
        });
        txn.given_back = 0;
    }

    /// Gives everything back, and is no more among the running transactions.
    pub fn release_all(&self, txn: &mut TxnLocks) {
        const KEEP: usize = 1024;
        let id = txn.id;
        for key in txn.keys.drain(..) {
            self.release_key(id, key::hash(&key), &key);
        }
        txn.keys.shrink_to(KEEP);
        txn.given_back = 0;
        if std::mem::take(&mut txn.has_bulk) {
            for shard in &self.shards {
                let explicit = shard.lock().bulk_release(id);
                for key in explicit {
                    self.release_key(id, key::hash(&key), &key);
                }
            }
        }
        for latch in txn.gaps.drain(..) {
            self.gaps.release(id, latch);
        }
        txn.surveyed = None;
        txn.count = 0;
        if let Some(active) = txn.active.take() {
            self.registry.leave(&active);
            if active.awaited.load(Ordering::Relaxed) {
                let end = key::end_of(id);
                self.release_key(id, key::hash(&end), &end);
            }
        }
        self.forget_interrupt(id);
    }

    /// Gives a lock back; returns whether there was one.
    fn release_key(&self, id: TxnId, hash: u64, key: &[u8]) -> bool {
        let mut shard = self.shard(hash).lock();
        if let Some(lock) = shard.find(hash, key)
            && lock.remove(id)
        {
            let mut added = 0;
            if lock.is_awaited() {
                lock.left(id, &self.graph);
                added = lock.grant_waiting(&self.graph);
            }
            let idle = lock.is_idle();
            shard.held = shard.held + added - 1;
            if idle {
                shard.remove_if_idle(hash, key);
            }
            return true;
        }
        shard.has_bulk() && shard.bulk_unlock(id, hash)
    }

    /// Makes the wait of transaction `id` fail with [`ErrorKind::Interrupted`]: the present one, or else the next one, which it may be about to
    /// begin, unless [`LockManager::forget_interrupt`] comes before.
    pub fn interrupt(&self, id: TxnId) {
        if self.graph.lock().interrupt(id) {
            self.interrupted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes an interrupt back that found nothing to interrupt.
    pub fn forget_interrupt(&self, id: TxnId) {
        if self.interrupted.load(Ordering::Relaxed) > 0 && self.graph.lock().forget_interrupt(id) {
            self.interrupted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until `other` has ended.
    fn await_end(
        &self,
        txn: &mut TxnLocks,
        other: TxnId,
        wanted: Wanted,
        target: &[u8],
        wait: LockWait,
    ) -> Result<()> {
        let end = key::end_of(other);
        let hash = key::hash(&end);
        let running = self.registry.await_end(other, || {
            let mut shard = self.shard(hash).lock();
            let added = shard
                .find_or_add(hash, &end)
                .grant(other, LockMode::Exclusive);
            shard.held += u64::from(added);
        });
        if running {
            let request = Request {
                key: &end,
                mode: LockMode::Shared,
                wait,
                wanted,
                target,
            };
            self.request(txn, &request)?;
            self.release(txn, &end);
        }
        Ok(())
    }
}

fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "the wait for a row lock was interrupted",
    )
}

fn deadlock() -> Error {
    Error::new(
        ErrorKind::Deadlock,
        "transactions waited for each other's locks in a circle, and this one had the least to lose",
    )
}

#[cfg(test)]
mod tests;
