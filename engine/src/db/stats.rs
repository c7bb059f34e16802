//! What the engine has done and what it holds, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Core;
use crate::manifest::LEVELS;

/// One level at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Number of files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// Those of the entries that are deletions.
    pub deletions: u64,
}

/// Counters since the engine was opened, and gauges; bytes unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EngineStats {
    pub levels: [LevelStats; LEVELS],
    pub level0_runs: u64,
    pub memtable_bytes: u64,
    pub immutable_memtables: u64,
    pub block_cache_capacity: u64,
    pub block_cache_bytes: u64,
    pub block_cache_hits: u64,
    pub block_cache_misses: u64,
    pub filter_hits: u64,
    pub filter_misses: u64,
    pub persistent_cache_capacity: u64,
    pub persistent_cache_bytes: u64,
    pub persistent_cache_hits: u64,
    pub persistent_cache_misses: u64,
    pub persistent_cache_hit_bytes: u64,
    pub persistent_cache_fetched_bytes: u64,
    pub persistent_cache_written_bytes: u64,
    pub persistent_cache_evictions: u64,
    pub persistent_cache_damaged: u64,
    pub wal_bytes_written: u64,
    pub wal_appends: u64,
    pub wal_syncs: u64,
    pub wal_segments: u64,
    pub wal_bytes_live: u64,
    pub group_commits: u64,
    pub commits: u64,
    pub rollbacks: u64,
    pub flushes: u64,
    pub flush_bytes: u64,
    pub compactions: u64,
    pub compaction_read_bytes: u64,
    pub compaction_write_bytes: u64,
    pub compaction_pending_bytes: u64,
    pub compactions_running: u64,
    pub stalls: u64,
    pub stall_micros: u64,
    pub row_locks: u64,
    pub lock_waits: u64,
    pub lock_timeouts: u64,
    pub deadlocks: u64,
    pub active_transactions: u64,
    pub snapshots: u64,
    pub visible_seq: u64,
    pub oldest_snapshot: Option<u64>,
    pub epoch: u64,
    pub deleted_files: u64,
    pub spilled_transactions: u64,
    pub spilled_runs: u64,
    pub spilled_bytes: u64,
    pub ingested_files: u64,
    pub ingested_bytes: u64,
}

impl EngineStats {
    /// Files of all levels.
    pub fn sst_files(&self) -> u64 {
        self.levels.iter().map(|level| level.files).sum()
    }

    /// Bytes of all levels.
    pub fn sst_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum()
    }
}

impl Core {
    /// The numbers now.
    pub fn stats(&self) -> EngineStats {
        let state = self.tree.state();
        let cache = self.tree.files().cache.stats();
        let disk = self.persistent_cache.stats().unwrap_or_default();
        let wal = self.log.stats();
        let locks = self.transactions.locks.stats();
        let spill = self.transactions.spill.stats();
        let version = &state.files.version;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let levels = std::array::from_fn(|level| {
            let files = version.level(level);
            LevelStats {
                files: files.len() as u64,
                bytes: files.iter().map(|file| file.size).sum(),
                entries: files.iter().map(|file| file.entries).sum(),
                deletions: files.iter().map(|file| file.deletions).sum(),
            }
        });
        let oldest_wal = state.immutable.last().unwrap_or(&state.mem).wal_start();
        EngineStats {
            levels,
            level0_runs: state.files.level0_runs.len() as u64,
            memtable_bytes: state.memtable_bytes(),
            immutable_memtables: state.immutable.len() as u64,
            block_cache_capacity: cache.capacity,
            block_cache_bytes: cache.usage,
            block_cache_hits: cache.data.hits + cache.index.hits,
            block_cache_misses: cache.data.misses + cache.index.misses,
            filter_hits: cache.filter.hits,
            filter_misses: cache.filter.misses,
            persistent_cache_capacity: disk.capacity,
            persistent_cache_bytes: disk.bytes,
            persistent_cache_hits: disk.hits,
            persistent_cache_misses: disk.misses,
            persistent_cache_hit_bytes: disk.hit_bytes,
            persistent_cache_fetched_bytes: disk.fetched_bytes,
            persistent_cache_written_bytes: disk.written_bytes,
            persistent_cache_evictions: disk.evictions,
            persistent_cache_damaged: disk.damaged,
            wal_bytes_written: wal.bytes,
            wal_appends: wal.appends,
            wal_syncs: wal.syncs,
            wal_segments: wal.segments,
            wal_bytes_live: self.log.end().saturating_sub(oldest_wal),
            group_commits: self.transactions.pipeline.groups(),
            commits: get(&self.transactions.commits),
            rollbacks: get(&self.transactions.rollbacks),
            flushes: get(&self.flusher.flushes),
            flush_bytes: get(&self.flusher.flush_bytes),
            compactions: get(&self.compactor.compactions),
            compaction_read_bytes: get(&self.compactor.read_bytes),
            compaction_write_bytes: get(&self.compactor.written_bytes),
            compaction_pending_bytes: crate::compaction::pending_bytes(
                version,
                &self.compactor.pick_config(false),
            ),
            compactions_running: self.compactor.running() as u64,
            stalls: get(&self.health.stalls),
            stall_micros: get(&self.health.stall_micros),
            row_locks: locks.held,
            lock_waits: locks.waits,
            lock_timeouts: locks.timeouts,
            deadlocks: locks.deadlocks,
            active_transactions: self.transactions.active(),
            snapshots: self.transactions.snapshots.count(),
            visible_seq: self.transactions.snapshots.visible(),
            oldest_snapshot: self.transactions.snapshots.oldest(),
            epoch: version.epoch,
            deleted_files: get(&self.remover.deleted_files),
            spilled_transactions: get(&spill.transactions),
            spilled_runs: get(&spill.runs),
            spilled_bytes: get(&spill.bytes),
            ingested_files: get(&self.ingester.ingested_files),
            ingested_bytes: get(&self.ingester.ingested_bytes),
        }
    }
}
