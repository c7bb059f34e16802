//! What is locked, by whom, and who waits: for people.

use std::time::SystemTime;

use super::graph::Wanted;
use super::key::is_end;
use super::{LockManager, LockMode};
use crate::txn::sync::atomic::Ordering;
use crate::txn::{Isolation, TxnId};

/// A transaction that has locked or written something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnInfo {
    /// Its number.
    pub id: TxnId,
    /// The name that its user gave it.
    pub label: u64,
    /// When it first locked or wrote.
    pub started: SystemTime,
    /// Its isolation level.
    pub isolation: Isolation,
    /// How many keys it has locked.
    pub locks: u64,
    /// How many writes of it were not undone.
    pub writes: u64,
    /// Bytes of memory that its writes take.
    pub memory: u64,
    /// Since when it waits for a lock, if it does.
    pub waiting_since: Option<SystemTime>,
}

/// What a lock is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A key.
    Row,
    /// The keys from the lock's own up to this one, without it: none may be added. Empty while it is waited for.
    Gap(Vec<u8>),
    /// A key that is to be added where another has locked the gap.
    Insertion,
}

/// A lock that is held or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// By which transaction.
    pub txn: TxnId,
    /// On what.
    pub kind: LockKind,
    /// The key.
    pub key: Vec<u8>,
    /// How.
    pub mode: LockMode,
    /// The transactions that stand in its way; empty for a lock that is held.
    pub blocked_by: Vec<TxnId>,
}

impl LockManager {
    /// The transactions that have locked or written something, by id.
    pub fn transactions(&self) -> Vec<TxnInfo> {
        let all = self.registry.all();
        let graph = self.graph.lock();
        let since = |id| {
            let mut waits = graph.waits();
            waits
                .find(|(waiter, _)| waiter.id == id)
                .map(|(waiter, _)| waiter.since)
        };
        let info = all.iter().map(|txn| TxnInfo {
            id: txn.id,
            label: txn.label,
            started: txn.started,
            isolation: txn.isolation,
            locks: txn.locks.load(Ordering::Relaxed),
            writes: txn.writes.load(Ordering::Relaxed),
            memory: txn.memory.load(Ordering::Relaxed),
            waiting_since: since(txn.id),
        });
        info.collect()
    }

    /// Up to `limit` locks: first those that are waited for, then gaps, then explicit locks on keys. Not a picture of one moment: others go on meanwhile.
    pub fn list(&self, limit: usize) -> Vec<LockInfo> {
        let mut all = self.list_waits();
        all.extend(self.gaps.all().into_iter().map(|gap| LockInfo {
            txn: gap.owner,
            kind: LockKind::Gap(gap.to),
            key: gap.from,
            mode: LockMode::Shared,
            blocked_by: Vec::new(),
        }));
        for shard in &self.shards {
            if all.len() >= limit {
                break;
            }
            let shard = shard.lock();
            for lock in shard.locks().filter(|lock| !is_end(&lock.key)) {
                all.extend(lock.holders().map(|(txn, mode)| LockInfo {
                    txn,
                    kind: LockKind::Row,
                    key: lock.key.to_vec(),
                    mode,
                    blocked_by: Vec::new(),
                }));
            }
        }
        all.truncate(limit);
        all
    }

    fn list_waits(&self) -> Vec<LockInfo> {
        let graph = self.graph.lock();
        let waits = graph.waits().map(|(waiter, blocked_by)| LockInfo {
            txn: waiter.id,
            kind: match waiter.wanted {
                Wanted::Row => LockKind::Row,
                Wanted::Insertion => LockKind::Insertion,
                Wanted::Gap => LockKind::Gap(Vec::new()),
            },
            key: waiter.key.to_vec(),
            mode: waiter.mode,
            blocked_by: blocked_by.to_vec(),
        });
        waits.collect()
    }
}
