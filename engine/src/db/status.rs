//! The report of SHOW ENGINE … STATUS: what an operator reads first.

use std::fmt::Write as _;
use std::time::Duration;

use super::core::Core;
use crate::cache::disk::DiskCacheStats;
use crate::compaction::targets;
use crate::object_store::Meter;
use crate::remote_wal::RemoteWalStats;

/// Builds the report.
pub fn report(core: &Core) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_report(core, &mut out);
    out
}

fn write_report(core: &Core, out: &mut String) -> std::fmt::Result {
    let stats = core.stats();
    let state = core.tree.state();
    let version = &state.files.version;
    let config = core.compactor.pick_config(false);
    let targets = targets(version, &config);
    writeln!(out, "STORE")?;
    writeln!(out, "epoch {}, writer {}", version.epoch, version.writer)?;
    match core.health.check_writes() {
        Ok(()) => writeln!(out, "taking writes; last commit {}", stats.visible_seq)?,
        Err(error) => writeln!(out, "READ ONLY: {error}")?,
    }
    writeln!(out, "\nLEVELS")?;
    writeln!(
        out,
        "level      files       size MiB     target MiB        entries      deletions"
    )?;
    for (level, (stats, target)) in stats.levels.iter().zip(targets.bytes).enumerate() {
        if stats.files > 0 || target > 0 {
            writeln!(
                out,
                "{level:>5} {:>10} {:>14} {:>14} {:>14} {:>14}",
                stats.files,
                mib(stats.bytes),
                mib(target),
                stats.entries,
                stats.deletions
            )?;
        }
    }
    writeln!(
        out,
        "total {:>10} {:>14}",
        stats.sst_files(),
        mib(stats.sst_bytes())
    )?;
    writeln!(
        out,
        "level 0: {} sorted runs, compacted at {} or at {} MiB",
        stats.level0_runs,
        config.level0_trigger,
        mib(config.level0_size)
    )?;
    writeln!(out, "\nMEMTABLES")?;
    writeln!(
        out,
        "{} MiB in use of {} MiB, {} waiting for flush",
        mib(stats.memtable_bytes),
        mib(core
            .tree
            .tuning
            .total_memtable_size
            .load(std::sync::atomic::Ordering::Relaxed)),
        stats.immutable_memtables
    )?;
    writeln!(out, "\nWAL")?;
    writeln!(
        out,
        "{} MiB live in {} segments, {} records of {} MiB written, {} syncs, {} commit groups",
        mib(stats.wal_bytes_live),
        stats.wal_segments,
        stats.wal_appends,
        mib(stats.wal_bytes_written),
        stats.wal_syncs,
        stats.group_commits
    )?;
    if let Some(remote) = core.log.remote() {
        write_remote(core, &remote.stats(), out)?;
    }
    write_store(&core.meter, out)?;
    writeln!(out, "\nBLOCK CACHE")?;
    let lookups = stats.block_cache_hits + stats.block_cache_misses;
    writeln!(
        out,
        "{} MiB in use of {} MiB, {} lookups, hit rate {:.2} %",
        mib(stats.block_cache_bytes),
        mib(stats.block_cache_capacity),
        lookups,
        100.0 * stats.block_cache_hits as f64 / lookups.max(1) as f64
    )?;
    if let Some(disk) = core.persistent_cache.stats() {
        write_persistent_cache(&disk, out)?;
    }
    writeln!(out, "\nFLUSH AND COMPACTION")?;
    writeln!(
        out,
        "{} flushes of {} MiB; {} compactions, read {} MiB, wrote {} MiB; {} running, {} MiB pending",
        stats.flushes,
        mib(stats.flush_bytes),
        stats.compactions,
        mib(stats.compaction_read_bytes),
        mib(stats.compaction_write_bytes),
        stats.compactions_running,
        mib(stats.compaction_pending_bytes)
    )?;
    if let Err(failure) = core.health.flush.check() {
        writeln!(out, "the last flush failed: {failure}")?;
    }
    if let Err(failure) = core.health.compaction.check() {
        writeln!(out, "the last compaction failed: {failure}")?;
    }
    writeln!(
        out,
        "{} stalls of writers, {:.3} s in all",
        stats.stalls,
        stats.stall_micros as f64 / 1e6
    )?;
    writeln!(out, "\nTRANSACTIONS")?;
    writeln!(
        out,
        "{} running, {} snapshots{}, {} committed, {} rolled back",
        stats.active_transactions,
        stats.snapshots,
        stats.oldest_snapshot.map_or(String::new(), |oldest| {
            format!(
                " (oldest {} commits back)",
                stats.visible_seq.saturating_sub(oldest)
            )
        }),
        stats.commits,
        stats.rollbacks
    )?;
    writeln!(
        out,
        "{} spilled {} MiB in {} runs; {} files of {} MiB ingested",
        stats.spilled_transactions,
        mib(stats.spilled_bytes),
        stats.spilled_runs,
        stats.ingested_files,
        mib(stats.ingested_bytes)
    )?;
    writeln!(
        out,
        "{} row locks held, {} waits, {} timed out, {} deadlocks",
        stats.row_locks, stats.lock_waits, stats.lock_timeouts, stats.deadlocks
    )?;
    let Some((when, deadlock)) = core.transactions.locks.last_deadlock() else {
        return Ok(());
    };
    writeln!(out, "\nLATEST DETECTED DEADLOCK")?;
    let ago = when.elapsed().unwrap_or_default();
    writeln!(out, "{} s ago\n{deadlock}", ago.as_secs())
}

fn write_remote(core: &Core, stats: &RemoteWalStats, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nLOG IN THE STORE")?;
    let waiting = core.log.end().saturating_sub(stats.uploaded);
    writeln!(
        out,
        "{} chunks of {} MiB sent, {} on their way; {waiting} bytes of log are not there yet",
        stats.chunks,
        mib(stats.bytes),
        stats.in_flight
    )?;
    if let Some((since, why)) = &stats.failing {
        let time = core.health.clock.now().saturating_sub(*since);
        writeln!(out, "failing since {time:.1?}, trying again: {why}")?;
    }
    if let Some(why) = &stats.ended {
        writeln!(out, "ended: {why}")?;
    }
    if let Err(failure) = core.health.manifest.check() {
        writeln!(
            out,
            "the manifest cannot be written, trying again: {failure}"
        )?;
    }
    Ok(())
}

fn write_persistent_cache(disk: &DiskCacheStats, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nPERSISTENT CACHE")?;
    if let Some(cause) = &disk.off {
        writeln!(out, "OFF until the next start: {cause}")?;
    }
    let reads = disk.hits + disk.misses;
    writeln!(
        out,
        "{} MiB in {} pieces of {} MiB allowed, {} reads of pieces, hit rate {:.2} %",
        mib(disk.bytes),
        disk.pieces,
        mib(disk.capacity),
        reads,
        100.0 * disk.hits as f64 / reads.max(1) as f64
    )?;
    writeln!(
        out,
        "{} MiB read from it, {} MiB fetched from the store, {} MiB written to it; {} pieces evicted, {} damaged and fetched again",
        mib(disk.hit_bytes),
        mib(disk.fetched_bytes),
        mib(disk.written_bytes),
        disk.evictions,
        disk.damaged
    )
}

/// What the requests to the store came to, those kinds of which there were any.
fn write_store(meter: &Meter, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nOBJECT STORE")?;
    writeln!(
        out,
        "request              number   errors  retries     sent MiB received MiB   mean ms    p50 ms    p99 ms    max ms"
    )?;
    let used = meter.stats().into_iter().filter(|kind| kind.requests > 0);
    for stats in used {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(
            out,
            "{:<18} {:>8} {:>8} {:>8} {:>12} {:>12} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            stats.kind.name(),
            stats.requests,
            stats.errors,
            stats.retries,
            mib(stats.bytes_sent),
            mib(stats.bytes_received),
            millis(stats.latency_sum) / stats.requests as f64,
            millis(stats.latency_p50),
            millis(stats.latency_p99),
            millis(stats.latency_max),
        )?;
    }
    Ok(())
}

/// Mebibytes with one decimal.
fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
