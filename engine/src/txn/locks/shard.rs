//! The locks of one shard: those whose keys are kept, and those of which only a fingerprint is.
//!
//! A lock that one transaction holds and nobody waits for is a key and one word. Holders beyond the first, and a queue, are
//! allocated when they are needed, and freed when they are gone.
//!
//! A transaction with very many locks holds the later ones in *bulk*: of each the 64-bit hash of its key alone, in a set of the
//! transaction's own within the shard. Another transaction that asks for a key whose fingerprint is in such a set makes it an explicit lock
//! first. Two keys of equal hashes are one bulk lock; of a thousand million of them that is one pair in forty runs, and then
//! somebody waits for no reason, or the lock on one goes with the other's in a statement that gives back single rows.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::graph::{WaitGraph, Waiter};
use super::{LockMode, key};
use crate::txn::TxnId;
use crate::txn::sync::Mutex;

/// The bit of a fingerprint that tells the mode. Within a shard it is the same in every hash: shards go by it.
const MODE_BIT: u64 = 1 << SHARD_SHIFT;
/// From which bit of a hash its shard is taken.
pub const SHARD_SHIFT: u32 = 24;

/// A transaction and the mode in which it holds a lock, in one word. Transactions are numbered from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holder(u64);

impl Holder {
    const NONE: Self = Self(0);

    fn new(id: TxnId, mode: LockMode) -> Self {
        Self(id << 1 | u64::from(mode == LockMode::Exclusive))
    }

    fn id(self) -> TxnId {
        self.0 >> 1
    }

    fn mode(self) -> LockMode {
        mode_of(self.0 & 1 != 0)
    }
}

fn mode_of(exclusive: bool) -> LockMode {
    if exclusive {
        LockMode::Exclusive
    } else {
        LockMode::Shared
    }
}

/// What a lock needs once others want it as well.
#[derive(Default)]
struct More {
    holders: Vec<Holder>,
    queue: VecDeque<Arc<Waiter>>,
}

/// A lock whose key is kept.
pub struct Lock {
    pub key: Arc<[u8]>,
    first: Holder,
    more: Option<Box<More>>,
}

impl Lock {
    fn new(key: Arc<[u8]>) -> Self {
        Self {
            key,
            first: Holder::NONE,
            more: None,
        }
    }

    fn all(&self) -> impl Iterator<Item = Holder> {
        let more = self.more.iter().flat_map(|more| more.holders.iter());
        (self.first != Holder::NONE)
            .then_some(self.first)
            .into_iter()
            .chain(more.copied())
    }

    /// Who holds it, and how.
    pub fn holders(&self) -> impl Iterator<Item = (TxnId, LockMode)> {
        self.all().map(|holder| (holder.id(), holder.mode()))
    }

    /// Who waits for it, in order.
    pub fn queue(&self) -> impl DoubleEndedIterator<Item = &Arc<Waiter>> {
        self.more.iter().flat_map(|more| more.queue.iter())
    }

    /// How a transaction holds it.
    pub fn held_by(&self, id: TxnId) -> Option<LockMode> {
        self.all()
            .find(|holder| holder.id() == id)
            .map(Holder::mode)
    }

    /// Whether `id` cannot have it in `mode` while the others hold it.
    pub fn conflicts(&self, id: TxnId, mode: LockMode) -> bool {
        self.holders()
            .any(|(holder, held)| holder != id && mode.max(held) == LockMode::Exclusive)
    }

    /// Whether anybody waits.
    pub fn is_awaited(&self) -> bool {
        self.queue().next().is_some()
    }

    /// Whether nobody holds it or waits for it.
    pub fn is_idle(&self) -> bool {
        self.first == Holder::NONE && self.more.is_none()
    }

    /// Makes `id` a holder in `mode`, or in a stronger one that it has; returns whether it was not a holder before.
    pub fn grant(&mut self, id: TxnId, mode: LockMode) -> bool {
        let more = self
            .more
            .iter_mut()
            .flat_map(|more| more.holders.iter_mut());
        for holder in std::iter::once(&mut self.first).chain(more) {
            if *holder != Holder::NONE && holder.id() == id {
                *holder = Holder::new(id, holder.mode().max(mode));
                return false;
            }
        }
        if self.first == Holder::NONE {
            self.first = Holder::new(id, mode);
        } else {
            let more = self.more.get_or_insert_default();
            more.holders.push(Holder::new(id, mode));
        }
        true
    }

    /// Makes a holder in exclusive mode one in shared mode.
    pub fn weaken(&mut self, id: TxnId) {
        let more = self
            .more
            .iter_mut()
            .flat_map(|more| more.holders.iter_mut());
        for holder in std::iter::once(&mut self.first).chain(more) {
            if *holder != Holder::NONE && holder.id() == id {
                *holder = Holder::new(id, LockMode::Shared);
            }
        }
    }

    /// Removes a holder; returns whether it was one.
    pub fn remove(&mut self, id: TxnId) -> bool {
        if self.first != Holder::NONE && self.first.id() == id {
            let next = self.more.as_mut().and_then(|more| more.holders.pop());
            self.first = next.unwrap_or(Holder::NONE);
            self.tidy();
            return true;
        }
        let Some(more) = &mut self.more else {
            return false;
        };
        let before = more.holders.len();
        more.holders.retain(|holder| holder.id() != id);
        let removed = more.holders.len() < before;
        self.tidy();
        removed
    }

    /// Puts a request into the queue: before all others, or after them.
    pub fn enqueue(&mut self, waiter: Arc<Waiter>, first: bool) {
        let queue = &mut self.more.get_or_insert_default().queue;
        if first {
            queue.push_front(waiter);
        } else {
            queue.push_back(waiter);
        }
    }

    /// Takes a request out of the queue; returns whether it was there.
    pub fn dequeue(&mut self, waiter: &Arc<Waiter>) -> bool {
        let Some(more) = &mut self.more else {
            return false;
        };
        let before = more.queue.len();
        more.queue.retain(|queued| !Arc::ptr_eq(queued, waiter));
        let found = more.queue.len() < before;
        self.tidy();
        found
    }

    /// Grants what the queue's head allows, in order; returns how many holders that added. Requests that gave up, or were chosen as victims, are skipped.
    pub fn grant_waiting(&mut self, graph: &Mutex<WaitGraph>) -> u64 {
        let mut added = 0;
        loop {
            let Some(first) = self.queue().next().cloned() else {
                break;
            };
            if self.conflicts(first.id, first.mode) {
                break;
            }
            if let Some(more) = &mut self.more {
                more.queue.pop_front();
            }
            if graph.lock().granted(&first) {
                added += u64::from(self.grant(first.id, first.mode));
            }
        }
        self.tidy();
        added
    }

    /// Nobody in the queue waits for `id` any more, which has left without ending.
    pub fn left(&self, id: TxnId, graph: &Mutex<WaitGraph>) {
        if self.is_awaited() {
            let mut graph = graph.lock();
            for waiter in self.queue() {
                graph.waits_no_more_for(waiter.id, id);
            }
        }
    }

    fn tidy(&mut self) {
        if let Some(more) = &self.more
            && more.holders.is_empty()
            && more.queue.is_empty()
        {
            self.more = None;
        }
    }
}

/// The locks that one transaction holds in bulk.
struct Bulk {
    txn: TxnId,
    prints: HashTable<u64>,
    /// Those that became explicit, which the transaction does not know.
    explicit: Vec<Arc<[u8]>>,
}

impl Bulk {
    fn find(&self, hash: u64) -> Option<LockMode> {
        self.prints
            .find(hash & !MODE_BIT, |&print| {
                print & !MODE_BIT == hash & !MODE_BIT
            })
            .map(|print| mode_of(print & MODE_BIT != 0))
    }

    fn insert(&mut self, hash: u64, mode: LockMode) -> bool {
        let plain = hash & !MODE_BIT;
        let exclusive = u64::from(mode == LockMode::Exclusive) << SHARD_SHIFT;
        let entry = self.prints.entry(
            plain,
            |&print| print & !MODE_BIT == plain,
            |&print| print & !MODE_BIT,
        );
        match entry {
            Entry::Occupied(mut held) => {
                *held.get_mut() |= exclusive;
                false
            }
            Entry::Vacant(place) => {
                place.insert(plain | exclusive);
                true
            }
        }
    }

    fn remove(&mut self, hash: u64) -> Option<LockMode> {
        let plain = hash & !MODE_BIT;
        let held = self
            .prints
            .find_entry(plain, |&print| print & !MODE_BIT == plain);
        Some(mode_of(held.ok()?.remove().0 & MODE_BIT != 0))
    }
}

/// A shard's locks.
#[derive(Default)]
pub struct Shard {
    locks: HashTable<Lock>,
    bulk: Vec<Bulk>,
    /// How many locks are held; a lock with several holders counts once for each.
    pub held: u64,
}

impl Shard {
    /// The explicit lock on a key.
    pub fn find(&mut self, hash: u64, key: &[u8]) -> Option<&mut Lock> {
        self.locks.find_mut(hash, |lock| *lock.key == *key)
    }

    /// The explicit lock on a key, made if there is none.
    pub fn find_or_add(&mut self, hash: u64, key: &[u8]) -> &mut Lock {
        let entry = self
            .locks
            .entry(hash, |lock| *lock.key == *key, |lock| key::hash(&lock.key));
        entry.or_insert_with(|| Lock::new(key.into())).into_mut()
    }

    /// Removes a lock that is idle.
    pub fn remove_if_idle(&mut self, hash: u64, key: &[u8]) {
        let found = self.locks.find_entry(hash, |lock| *lock.key == *key);
        if let Ok(found) = found
            && found.get().is_idle()
        {
            found.remove();
        }
    }

    /// Whether there is any bulk lock.
    pub fn has_bulk(&self) -> bool {
        !self.bulk.is_empty()
    }

    /// How `txn` holds the key of this hash in bulk.
    pub fn bulk_held(&self, txn: TxnId, hash: u64) -> Option<LockMode> {
        self.bulk.iter().find(|bulk| bulk.txn == txn)?.find(hash)
    }

    /// Whether anybody but `txn` holds the key of this hash in bulk.
    pub fn bulk_held_by_another(&self, txn: TxnId, hash: u64) -> bool {
        let mut others = self.bulk.iter().filter(|bulk| bulk.txn != txn);
        others.any(|bulk| bulk.find(hash).is_some())
    }

    /// Locks the key of this hash in bulk, or makes such a lock stronger.
    pub fn bulk_lock(&mut self, txn: TxnId, hash: u64, mode: LockMode) {
        let place = self.bulk.iter().position(|bulk| bulk.txn == txn);
        let place = place.unwrap_or_else(|| {
            self.bulk.push(Bulk {
                txn,
                prints: HashTable::new(),
                explicit: Vec::new(),
            });
            self.bulk.len() - 1
        });
        if self.bulk[place].insert(hash, mode) {
            self.held += 1;
        }
    }

    /// Gives one bulk lock back; returns whether there was one.
    pub fn bulk_unlock(&mut self, txn: TxnId, hash: u64) -> bool {
        let bulk = self.bulk.iter_mut().find(|bulk| bulk.txn == txn);
        let removed = bulk.is_some_and(|bulk| bulk.remove(hash).is_some());
        self.held -= u64::from(removed);
        removed
    }

    /// Makes every bulk lock of this key's hash an explicit one on the key.
    pub fn make_explicit(&mut self, hash: u64, key: &[u8]) {
        let mut holders = Vec::new();
        for bulk in &mut self.bulk {
            if let Some(mode) = bulk.remove(hash) {
                holders.push((bulk.txn, mode));
            }
        }
        for (txn, mode) in holders {
            let lock = self.find_or_add(hash, key);
            lock.grant(txn, mode);
            let key = lock.key.clone();
            if let Some(bulk) = self.bulk.iter_mut().find(|bulk| bulk.txn == txn) {
                bulk.explicit.push(key);
            }
        }
    }

    /// Gives all bulk locks of `txn` back. Returns the keys of those that are explicit by now.
    pub fn bulk_release(&mut self, txn: TxnId) -> Vec<Arc<[u8]>> {
        let Some(place) = self.bulk.iter().position(|bulk| bulk.txn == txn) else {
            return Vec::new();
        };
        let bulk = self.bulk.swap_remove(place);
        self.held -= bulk.prints.len() as u64;
        bulk.explicit
    }

    /// All explicit locks.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter()
    }

    /// How many locks there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.locks.len()
            + self
                .bulk
                .iter()
                .map(|bulk| bulk.prints.len())
                .sum::<usize>()
    }
}
