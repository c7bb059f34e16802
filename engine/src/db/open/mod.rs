//! Opening an engine: what is there becomes what is running.
//!
//! In order: lock the data directory; read the manifest; see that the WAL is this store's; replay it from the version's floor into memtables
//! (a torn tail is cut, anything else wrong refuses the open and changes nothing), where prepared transactions without a decision are found,
//! and commits by files that are not in the version; write a manifest edit with the next epoch, which also gives this writer file ids of its
//! own; finish those commits; take the prepared transactions back; start the threads, one of which looks for objects that neither the version nor a
//! prepare names ([`super::garbage::OrphanSearch`]). A crash between any two of these steps leaves what the next open does again: the epoch may
//! have risen without a writer, which costs a range of file ids.

pub(crate) mod identity;
mod local_log;
mod log;
pub(crate) mod owners;
mod replay;
mod takeover;

use std::sync::Arc;
use std::thread::JoinHandle;

use self::log::OpenedLog;
use self::replay::Ingest;
use super::background;
use super::compactor::Compactor;
use super::core::Core;
use super::detached::Detached;
use super::drop_queue::DropQueue;
use super::flusher::Flusher;
use super::garbage::{OrphanSearch, Remover};
use super::health::Health;
use super::ingest::Ingester;
use super::log::Log;
use super::persistent_cache::PersistentCache;
use super::transactions::Transactions;
use super::tree::Tree;
use super::tree::state::FileContext;
use super::writer::Writer;
use crate::cache::BlockCache;
use crate::memtable::MemTable;
use crate::object_store::{LocalStore, MeteredStore, ObjectStore, Prefetcher, probe_put_if_absent};
use crate::options::Options;
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
    let options = Arc::new(options);
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
        obsolete: sender.clone(),
    });
    let snapshots = Arc::new(Snapshots::default());
    snapshots.publish(replayed.last_seq);
    // Before anything is flushed: the log is kept for them.
    let undecided = replayed.undecided.iter();
    let undecided = undecided.map(|(&id, one)| (id, one.position)).collect();
    let health = Arc::new(Health::new(&options));
    let log = Arc::new(Log::new(health.clone(), wal, remote, &options));
    let tree = Arc::new(Tree::new(
        health.clone(),
        options.clone(),
        files,
        snapshots.clone(),
        manifest,
        memtables,
        mem,
    ));
    let writer = Arc::new(Writer::new(
        health.clone(),
        log.clone(),
        tree.clone(),
        &options,
        undecided,
    ));
    let flusher = Arc::new(Flusher::new(
        health.clone(),
        log.clone(),
        tree.clone(),
        writer.clone(),
        options.manual,
    ));
    let compactor = Arc::new(Compactor::new(
        health.clone(),
        options.clone(),
        tree.clone(),
        snapshots.clone(),
    ));
    let core = Arc::new(Core {
        meter,
        persistent_cache,
        transactions: Transactions::new(
            tree.clone(),
            writer.clone(),
            health.gate().clone(),
            snapshots,
            Arc::new(spill),
            &options,
            replayed.last_prepared,
        ),
        ingester: Ingester::new(
            health.clone(),
            log.clone(),
            tree.clone(),
            writer,
            flusher.clone(),
            compactor.clone(),
        ),
        drops: DropQueue::new(health.clone(), log.clone(), tree.clone()),
        remover: Remover::new(
            health.clone(),
            log.clone(),
            store.clone(),
            cache,
            options.gc_grace,
            obsolete,
        ),
        orphans: OrphanSearch::new(health.clone(), store, sender),
        flusher,
        compactor,
        tree,
        log,
        health,
        options,
    });
    // What the local log alone has goes to the store before anything follows from it.
    core.log.upload_all()?;
    for Ingest {
        seq,
        files,
        younger,
    } in replayed.ingests
    {
        core.ingester
            .ingest(seq, younger.id(), &files)
            .context(|| format!("finish commit {seq} by files"))?;
        younger.finish_write(0, 0);
    }
    let detached = Detached::recover(&core, replayed.undecided)?;
    let version = core.tree.state().files.version.clone();
    core.orphans
        .begin(&version, kept_files, core.log.is_shared());
    let threads = background::start(&core)?;
    Ok(Running {
        core,
        threads,
        detached,
        lock,
    })
}
