//! Opening an engine: what is there becomes what is running.
//!
//! In order: lock the data directory; read the manifest; see that the WAL is this store's; replay it from the version's floor into memtables
//! (a torn tail is cut, anything else wrong refuses the open and changes nothing), where prepared transactions without a decision are found,
//! and commits by files that are not in the version; write a manifest edit with the next epoch, which also gives this writer file ids of its
//! own; finish those commits; take the prepared transactions back; start the threads, one of which looks for objects that neither the version nor a
//! prepare names ([`super::orphans`]). A crash between any two of these steps leaves what the next open does again: the epoch may have risen without a writer, which costs
//! a range of file ids.

pub(crate) mod identity;
mod local_log;
mod log;
pub(crate) mod owners;
mod replay;
mod takeover;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::log::OpenedLog;
use self::replay::Ingest;
use super::background;
use super::core::{Core, Ids, Tunables};
use super::detached::Detached;
use super::drops::Drops;
use super::orphans::OrphanSearch;
use super::persistent_cache::PersistentCache;
use super::range_stats::Hurry;
use super::removal::Removal;
use super::signal::{Failing, Signal};
use super::state::{FileContext, LiveVersion, State};
use super::stats::Stats;
use crate::cache::BlockCache;
use crate::memtable::MemTable;
use crate::object_store::{LocalStore, MeteredStore, ObjectStore, Prefetcher, probe_put_if_absent};
use crate::options::Options;
use crate::output::RateLimiter;
use crate::txn::commit::Pipeline;
use crate::txn::locks::LockManager;
use crate::txn::snapshots::Snapshots;
use crate::txn::spill::SpillSpace;
use crate::{Result, ResultExt};

/// What an open engine is made of.
pub struct Running {
    pub core: Arc<Core>,
    pub threads: Vec<JoinHandle<()>>,
    pub detached: Detached,
    /// Keeps other processes out of the data directory.
    pub lock: Box<dyn std::any::Any + Send + Sync>,
}

/// Opens the store, or creates one.
pub fn open(options: Options) -> Result<Running> {
    options.validate()?;
    let dir = options.data_dir.clone();
    options
        .fs
        .create_dir_all(&dir)
        .context(|| format!("create {}", dir.display()))?;
    let lock = options.fs.lock(&dir.join("LOCK"))?;
    let store: Arc<dyn ObjectStore> = match &options.store {
        Some(store) => store.clone(),
        None => Arc::new(LocalStore::open(dir.join("store"))?),
    };
    let (store, meter) = MeteredStore::wrap(store);
    if options.remote_wal && !options.manual {
        // What keeps two writers apart is the store's word that a key is created once.
        probe_put_if_absent(&store)?;
    }
    let OpenedLog {
        manifest,
        version,
        wal,
        remote,
        replayed,
        number,
    } = log::open(&options, &store)?;
    let (persistent_cache, store) = PersistentCache::before(store, number, &options);
    let kept_files = replayed.kept_files();
    let mut memtables = replayed.memtables;
    let last_id = memtables.len() as u64 + 1;
    let wal_end = wal.end();
    for table in &memtables {
        table.begin_write(wal_end);
        table.finish_write(0, 0);
    }
    let mem = Arc::new(MemTable::new(last_id, wal_end, options.memtable_size));
    memtables.reverse();
    let cache = Arc::new(BlockCache::new(options.block_cache_size));
    let spill = SpillSpace::open(
        options.fs.clone(),
        dir.join("spill"),
        cache.clone(),
        options.transaction_memory,
    )?;
    let (sender, obsolete) = crossbeam_channel::unbounded();
    let files = Arc::new(FileContext {
        store: store.clone(),
        cache: cache.clone(),
        prefetcher: (options.prefetch > 0).then(|| Arc::new(Prefetcher::new(options.prefetch))),
        obsolete: sender,
    });
    let state = State {
        mem,
        immutable: Arc::new(memtables),
        files: LiveVersion::new(version.clone(), None, &files),
    };
    let snapshots = Arc::new(Snapshots::default());
    snapshots.publish(replayed.last_seq);
    let core = Arc::new(Core {
        tunables: Tunables::new(&options),
        store,
        meter,
        clock: options.clock.clone(),
        cache,
        persistent_cache,
        limiter: RateLimiter::new(options.clock.clone(), options.rate_limit),
        wal,
        remote,
        chunks_before_memtable: AtomicU64::new(0),
        manifest: Mutex::new(manifest),
        state: ArcSwap::from_pointee(state),
        state_lock: Mutex::new(()),
        write_lock: Mutex::new(()),
        files,
        pipeline: Pipeline::new(snapshots.clone()),
        snapshots,
        locks: LockManager::new(options.max_row_locks),
        spill: Arc::new(spill),
        counters: Arc::default(),
        undecided: Mutex::default(),
        ids: Ids {
            next_file: AtomicU64::new(version.next_file),
            next_index: AtomicU32::new(version.index_ceiling.max(1)),
            index_ceiling: AtomicU32::new(version.index_ceiling.max(1)),
            next_memtable: AtomicU64::new(last_id + 1),
            next_txn: AtomicU64::new(1),
            next_prepared: AtomicU64::new(replayed.last_prepared + 1),
        },
        signal: Signal::default(),
        stats: Stats::default(),
        closing: AtomicBool::new(false),
        drops: Drops::recovered(&version, last_id),
        compacting: Mutex::default(),
        flushing: Mutex::new(()),
        flush_failing: Failing::default(),
        compaction_failing: Failing::default(),
        manifest_failing: Failing::default(),
        removal: Mutex::new(Removal::new(obsolete)),
        orphans: Mutex::new(None),
        hurry: Hurry::default(),
        options,
    });
    // Before anything is flushed: the log is kept for them.
    let positions = replayed.undecided.iter();
    core.undecided
        .lock()
        .extend(positions.map(|(&id, undecided)| (id, undecided.position)));
    // What the local log alone has goes to the store before anything follows from it.
    core.upload_all()?;
    for Ingest {
        seq,
        files,
        younger,
    } in replayed.ingests
    {
        core.ingest(seq, younger.id(), &files)
            .context(|| format!("finish commit {seq} by files"))?;
        younger.finish_write(0, 0);
    }
    let detached = Detached::recover(&core, replayed.undecided)?;
    let version = core.state.load().files.version.clone();
    *core.orphans.lock() = Some(OrphanSearch::new(
        &version,
        kept_files,
        core.remote.is_some(),
    ));
    let threads = background::start(&core)?;
    Ok(Running {
        core,
        threads,
        detached,
        lock,
    })
}
