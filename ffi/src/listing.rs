//! Transactions, locks and requests to the store, as the server's tables show them.

use std::time::{SystemTime, UNIX_EPOCH};

use smartengine::{Isolation as EngineIsolation, LockKind as Kind, LockMode as EngineLock};

use crate::bridge::api::{Isolation, LockKind, LockMode, LockRow, ObjectStoreRow, TransactionRow};
use crate::engine::{Opened, micros, store_requests};

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The transactions that have locked or written something.
pub fn engine_transactions(handle: &Opened) -> Vec<TransactionRow> {
    let all = handle.engine.transactions().into_iter();
    let rows = all.map(|txn| TransactionRow {
        id: txn.id,
        label: txn.label,
        started: seconds(txn.started),
        isolation: match txn.isolation {
            EngineIsolation::ReadUncommitted => Isolation::ReadUncommitted,
            EngineIsolation::ReadCommitted => Isolation::ReadCommitted,
            EngineIsolation::RepeatableRead => Isolation::RepeatableRead,
            EngineIsolation::Serializable => Isolation::Serializable,
        },
        locks: txn.locks,
        writes: txn.writes,
        memory: txn.memory,
        waiting_since: txn.waiting_since.map_or(0, seconds),
    });
    rows.collect()
}

/// Up to `limit` locks.
pub fn engine_locks(handle: &Opened, limit: u64) -> Vec<LockRow> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let all = handle.engine.locks(limit).into_iter();
    let rows = all.map(|lock| {
        let (kind, end) = match lock.kind {
            Kind::Row => (LockKind::Row, Vec::new()),
            Kind::Gap(end) => (LockKind::Gap, end),
            Kind::Insertion => (LockKind::Insertion, Vec::new()),
        };
        LockRow {
            txn: lock.txn,
            kind,
            mode: match lock.mode {
                EngineLock::Shared => LockMode::Shared,
                EngineLock::Exclusive => LockMode::Exclusive,
            },
            key: lock.key,
            end,
            blocked_by: lock.blocked_by,
        }
    });
    rows.collect()
}

/// Requests to the store by kind.
pub fn engine_object_store(handle: &Opened) -> Vec<ObjectStoreRow> {
    let all = handle.engine.object_store_stats();
    let rows = all.iter().map(|stats| ObjectStoreRow {
        kind: stats.kind.name().to_ascii_uppercase(),
        all: store_requests(stats),
        longest: micros(stats.latency_max),
        p50: micros(stats.latency_p50),
        p99: micros(stats.latency_p99),
    });
    rows.collect()
}
