//! The engine's handle: open, close, options, maintenance and numbers.
//!
//! `unsafe` is here for the one handle that C++ owns as a raw pointer, between `engine_open` and `engine_close`, and for the function of C++'s that
//! is told of waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use smartengine::Compression;
use smartengine::object_store::{RequestStats, Service, StoreOptions};
use smartengine::{Engine, Error, ErrorKind, Index, Options, Result, WalSync};

use crate::bridge::api::{
    DynamicOptions, EngineOptions, EngineStats, PathStyle, RangeStats, StoreRequests,
};
use crate::guard::{Handle, Held};
use crate::server_version::server_version_refusal;

/// What C++ holds while the engine is open.
pub type EngineHandle = Handle<Opened>;

pub struct Opened {
    pub engine: Arc<Engine>,
}

impl Held for Opened {
    const DROP: &'static str = "ffi.drop_engine";
}

/// The engines that are open; a server has one.
static OPEN: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

fn open_engines() -> MutexGuard<'static, Vec<Weak<Engine>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops all writes, for good: of a panic it is not known what it has left half done.
pub fn poison(why: &str) {
    for engine in open_engines().iter().filter_map(Weak::upgrade) {
        engine.poison(why);
    }
}

/// Opens or creates the store.
pub fn engine_open(options: &EngineOptions) -> Result<*mut EngineHandle> {
    let engine = Arc::new(Engine::open(convert(options)?)?);
    let mut open = open_engines();
    open.retain(|other| other.strong_count() > 0);
    open.push(Arc::downgrade(&engine));
    Ok(Box::into_raw(Handle::new(Opened { engine })))
}

fn convert(given: &EngineOptions) -> Result<Options> {
    let mut options = Options::new(&given.data_dir);
    if !given.wal_dir.is_empty() {
        options.wal_dir = Some(given.wal_dir.clone().into());
    }
    options.accept_lost_log = given.accept_lost_log;
    if given.store_url.starts_with("memory:") {
        return Err(Error::invalid(
            "a store in memory keeps nothing: give smartengine_store_url as s3://bucket/prefix or file:///absolute/path",
        ));
    }
    if !given.store_url.is_empty() {
        options.set_store_url(&given.store_url, &store_options(given))?;
    }
    options.persistent_cache_size = given.persistent_cache_size;
    if !given.persistent_cache_dir.is_empty() {
        options.persistent_cache_dir = Some(given.persistent_cache_dir.clone().into());
    }
    options.writer.clone_from(&given.writer);
    options.block_size = given.block_size as usize;
    options.block_cache_size = given.block_cache_size;
    options.memtable_size = given.memtable_size;
    options.total_memtable_size = given.total_memtable_size.max(given.memtable_size);
    options.total_wal_size = given.total_wal_size;
    options.compaction_threads = given.compaction_threads as usize;
    options.level0_compaction_trigger = given.level0_file_num_compaction_trigger as usize;
    options.rate_limit = given.rate_limiter_bytes_per_sec;
    if !given.compression_per_level.is_empty() {
        options.compression = parse_compression(&given.compression_per_level)?;
    }
    options.max_row_locks = given.max_row_locks;
    options.transaction_memory = given.transaction_memory;
    options.wal_sync = wal_sync(given.flush_log_at_trx_commit);
    options.disable_auto_compactions = given.disable_auto_compactions;
    options.wal_upload_interval = Duration::from_millis(given.wal_upload_interval_ms);
    options.wal_upload_size = given.wal_upload_size;
    options.wal_upload_threads = given.wal_upload_threads as usize;
    options.max_unuploaded_wal = given.max_unuploaded_wal;
    options.store_wait = Duration::from_secs(given.store_wait_timeout);
    options.gc_grace = Duration::from_secs(given.gc_grace_period);
    let (own, newest) = (given.server_version, given.newest_server_version);
    options.user_version_check = Some(Arc::new(move |stored| {
        let stored = u32::try_from(stored).unwrap_or(u32::MAX);
        match server_version_refusal(stored, own, newest) {
            why if why.is_empty() => Ok(()),
            // The engine asks before it writes anything.
            why => Err(Error::invalid(format!("{why} (nothing in it was changed)"))),
        }
    }));
    Ok(options)
}

fn store_options(given: &EngineOptions) -> StoreOptions {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    StoreOptions {
        endpoint: text(&given.store_endpoint),
        region: text(&given.store_region),
        path_style: match given.store_path_style {
            PathStyle::On => Some(true),
            PathStyle::Off => Some(false),
            _ => None,
        },
        ca_file: text(&given.store_ca_file).map(Into::into),
        request_timeout: Duration::from_millis(given.store_request_timeout_ms),
        deadline: Duration::from_millis(given.store_deadline_ms),
        max_connections: given.store_max_connections as usize,
    }
}

fn parse_compression(list: &str) -> Result<Vec<Compression>> {
    list.split(':')
        .map(|name| match name.trim().to_ascii_lowercase().as_str() {
            "none" | "no" => Ok(Compression::None),
            "lz4" => Ok(Compression::Lz4),
            "zstd" => Ok(Compression::Zstd),
            other => Err(Error::invalid(format!(
                "compression \"{other}\" was given; none, lz4 and zstd are allowed, one a level, separated by colons"
            ))),
        })
        .collect()
}

fn wal_sync(flush_log_at_trx_commit: u32) -> WalSync {
    if flush_log_at_trx_commit == 1 {
        WalSync::EachCommit
    } else {
        WalSync::EachSecond
    }
}

/// Stops every thread, keeps everything committed and frees the handle.
///
/// # Safety
/// `engine` comes from [`engine_open`] and is not used any more.
pub unsafe fn engine_close(engine: *mut EngineHandle) -> Result<()> {
    // SAFETY: made by `engine_open`; the caller gives it up.
    let handle = unsafe { Box::from_raw(engine) };
    let engine = Arc::into_inner(handle.take()?.engine).ok_or_else(|| {
        Error::new(
            ErrorKind::Internal,
            "the engine is closed while a transaction is left",
        )
    })?;
    engine.close()
}

/// Changes options that can change while the engine runs.
pub fn engine_set_options(handle: &Opened, options: &DynamicOptions) -> Result<()> {
    let engine = &*handle.engine;
    engine.set_block_cache_size(options.block_cache_size);
    engine.set_memtable_sizes(options.memtable_size, options.total_memtable_size);
    engine.set_level0_compaction_trigger(options.level0_file_num_compaction_trigger as usize);
    engine.set_rate_limit(options.rate_limiter_bytes_per_sec);
    engine.set_wal_sync(wal_sync(options.flush_log_at_trx_commit));
    engine.set_max_row_locks(options.max_row_locks);
    engine.set_transaction_memory(options.transaction_memory);
    engine.set_auto_compactions(!options.disable_auto_compactions);
    engine.pause_background_work(options.pause_background_work);
    engine.set_wal_upload(
        Duration::from_millis(options.wal_upload_interval_ms),
        options.wal_upload_size,
    );
    engine.set_store_limits(
        options.max_unuploaded_wal,
        Duration::from_secs(options.store_wait_timeout),
    );
    Ok(())
}

/// Reserves index ids.
pub fn engine_allocate_indexes(handle: &Opened, count: u32, first: &mut u32) -> Result<()> {
    let indexes = handle.engine.create_indexes(count)?;
    *first = indexes.first().map_or(0, |index| index.id());
    Ok(())
}

fn handles(ids: &[u32]) -> Vec<Index> {
    ids.iter().copied().map(Index::from_id).collect()
}

/// Drops indexes.
pub fn engine_drop_indexes(handle: &Opened, indexes: &[u32]) -> Result<()> {
    handle.engine.drop_indexes(&handles(indexes))
}

/// Drops every index that is not in `named`.
pub fn engine_retain_indexes(handle: &Opened, named: &[u32], dropped: &mut u32) -> Result<()> {
    *dropped = handle.engine.retain_indexes(&handles(named))?.len() as u32;
    Ok(())
}

/// Counts indexes that are not in `named`.
pub fn engine_unnamed_indexes(handle: &Opened, named: &[u32], found: &mut u32) -> Result<()> {
    *found = handle.engine.unnamed_indexes(&handles(named))?.len() as u32;
    Ok(())
}

/// Estimates a range; nothing where it cannot be read.
pub fn engine_range_stats(handle: &Opened, lower: &[u8], upper: &[u8]) -> Result<RangeStats> {
    let stats = handle.engine.range_stats(lower..upper)?;
    Ok(RangeStats {
        entries: stats.entries,
        bytes: stats.bytes,
    })
}

/// Writes all memtables to the store.
pub fn engine_flush(handle: &Opened) -> Result<()> {
    handle.engine.flush()
}

/// Compacts everything.
pub fn engine_compact(handle: &Opened) -> Result<()> {
    handle.engine.compact()
}

/// Makes every commit and prepare so far durable.
pub fn engine_sync_wal(handle: &Opened, group: bool) -> Result<()> {
    if !group || handle.engine.wal_sync() == WalSync::EachCommit {
        handle.engine.sync_wal()?;
    }
    Ok(())
}

/// Whether commits are synced before they are acknowledged.
pub fn engine_syncs_each_commit(handle: &Opened) -> bool {
    handle.engine.wal_sync() == WalSync::EachCommit
}

/// The newest commit that can be seen.
pub fn engine_visible(handle: &Opened) -> u64 {
    handle.engine.visible()
}

/// Fails if no writes are taken any more.
pub fn engine_check_writes(handle: &Opened) -> Result<()> {
    handle.engine.check_writes()
}

/// Where the log ends.
pub fn engine_log_end(handle: &Opened) -> u64 {
    handle.engine.log_end()
}

/// Has the log sent to the store.
pub fn engine_want_uploaded(handle: &Opened, position: u64) {
    handle.engine.want_uploaded(position);
}

/// Waits for the log to be in the store.
pub fn engine_wait_uploaded(
    handle: &Opened,
    position: u64,
    millis: u64,
    done: &mut bool,
) -> Result<()> {
    let time = Duration::from_millis(millis);
    *done = handle.engine.wait_uploaded(position, time)?;
    Ok(())
}

/// Counters and gauges.
pub fn engine_stats(handle: &Opened) -> EngineStats {
    let stats = handle.engine.stats();
    let remote = handle.engine.remote_wal();
    let waiting = remote.as_ref().map_or(0, |remote| {
        handle.engine.log_end().saturating_sub(remote.uploaded)
    });
    let remote = remote.unwrap_or_default();
    let requests = handle.engine.object_store_stats();
    let of = |service| {
        let of_it = |one: &&RequestStats| one.kind.service() == service;
        requests
            .iter()
            .filter(of_it)
            .map(store_requests)
            .fold(StoreRequests::default(), |a, b| StoreRequests {
                requests: a.requests + b.requests,
                errors: a.errors + b.errors,
                retries: a.retries + b.retries,
                bytes_sent: a.bytes_sent + b.bytes_sent,
                bytes_received: a.bytes_received + b.bytes_received,
                micros: a.micros + b.micros,
            })
    };
    EngineStats {
        memtable_bytes: stats.memtable_bytes,
        immutable_memtables: stats.immutable_memtables,
        block_cache_bytes: stats.block_cache_bytes,
        block_cache_hits: stats.block_cache_hits,
        block_cache_misses: stats.block_cache_misses,
        filter_hits: stats.filter_hits,
        filter_misses: stats.filter_misses,
        persistent_cache_bytes: stats.persistent_cache_bytes,
        persistent_cache_hits: stats.persistent_cache_hits,
        persistent_cache_misses: stats.persistent_cache_misses,
        persistent_cache_hit_bytes: stats.persistent_cache_hit_bytes,
        persistent_cache_fetched_bytes: stats.persistent_cache_fetched_bytes,
        persistent_cache_written_bytes: stats.persistent_cache_written_bytes,
        persistent_cache_evictions: stats.persistent_cache_evictions,
        persistent_cache_damaged: stats.persistent_cache_damaged,
        wal_bytes_written: stats.wal_bytes_written,
        wal_appends: stats.wal_appends,
        wal_syncs: stats.wal_syncs,
        wal_group_commits: stats.group_commits,
        commits: stats.commits,
        rollbacks: stats.rollbacks,
        flushes: stats.flushes,
        flush_bytes: stats.flush_bytes,
        compactions: stats.compactions,
        compaction_read_bytes: stats.compaction_read_bytes,
        compaction_write_bytes: stats.compaction_write_bytes,
        stall_micros: stats.stall_micros,
        stalls: stats.stalls,
        sst_files: stats.sst_files(),
        sst_bytes: stats.sst_bytes(),
        row_locks: stats.row_locks,
        lock_waits: stats.lock_waits,
        lock_timeouts: stats.lock_timeouts,
        deadlocks: stats.deadlocks,
        active_transactions: stats.active_transactions,
        snapshots: stats.snapshots,
        spilled_transactions: stats.spilled_transactions,
        spilled_bytes: stats.spilled_bytes,
        ingested_files: stats.ingested_files,
        ingested_bytes: stats.ingested_bytes,
        wal_chunks_uploaded: remote.chunks,
        wal_bytes_uploaded: remote.bytes,
        wal_bytes_waiting: waiting,
        wal_upload_failing: u64::from(remote.failing.is_some()),
        object_store_put: of(Service::Put),
        object_store_get: of(Service::Get),
        object_store_list: of(Service::List),
        object_store_delete: of(Service::Delete),
    }
}

/// The sums of one kind of requests.
pub fn store_requests(stats: &RequestStats) -> StoreRequests {
    StoreRequests {
        requests: stats.requests,
        errors: stats.errors,
        retries: stats.retries,
        bytes_sent: stats.bytes_sent,
        bytes_received: stats.bytes_received,
        micros: micros(stats.latency_sum),
    }
}

/// A time in microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The report for SHOW ENGINE … STATUS.
pub fn engine_status_text(handle: &Opened) -> String {
    handle.engine.status()
}

/// The highest version of a server that has written to the store.
pub fn engine_server_version(handle: &Opened) -> u32 {
    u32::try_from(handle.engine.user_version()).unwrap_or(u32::MAX)
}

/// Has the store say that a server of this version writes to it.
pub fn engine_raise_server_version(handle: &Opened, version: u32) -> Result<()> {
    handle.engine.raise_user_version(u64::from(version))
}

/// A counter's value.
pub fn engine_counter(handle: &Opened, key: &[u8], value: &mut u64) -> Result<()> {
    *value = handle.engine.counter(key)?;
    Ok(())
}

/// Wakes a transaction that waits for a lock.
pub fn engine_interrupt(handle: &Opened, txn_id: u64) {
    handle.engine.interrupt(txn_id);
}

type WaitObserver = unsafe extern "C" fn(waiting: u64, awaited: u64);

/// Has a function of C++'s called at each wait for a lock.
///
/// # Safety
/// `observer` is the address of a [`WaitObserver`] that stays good while the engine is open.
pub unsafe fn engine_observe_waits(handle: &Opened, observer: usize) {
    // SAFETY: the caller says so.
    let observer = unsafe { std::mem::transmute::<usize, WaitObserver>(observer) };
    handle
        .engine
        .observe_waits(Box::new(move |waiting, awaited| {
            // SAFETY: the same.
            unsafe { observer(waiting, awaited) }
        }));
}

#[cfg(test)]
mod tests;
