//! Opening an engine: what is there becomes what is running.
//!
//! In order: lock the data directory; read the manifest; see that the WAL is this store's; replay it from the version's floor into memtables
//! (a torn tail is cut, anything else wrong refuses the open and changes nothing), where prepared transactions without a decision are found,
//! and commits by files that are not in the version; write a manifest edit with the next epoch, which also gives this writer file ids of its
//! own; finish those commits; take the prepared transactions back; start the threads, one of which looks for objects that neither the version nor a
//! prepare names ([`super::orphans`]). A crash between any two of these steps leaves what the next open does again: the epoch may have risen without a writer, which costs
//! a range of file ids.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::core::{Core, Ids, Tunables};
use super::drops::Drops;
use super::identity::MissingLog;
use super::ingest::Files;
use super::orphans::OrphanSearch;
use super::persistent_cache::PersistentCache;
use super::prepared::{Detached, Undecided};
use super::range_stats::Hurry;
use super::removal::Removal;
use super::signal::{Failing, Signal};
use super::state::{FileContext, LiveVersion, State};
use super::stats::Stats;
use super::{Engine, attach, background, identity};
use crate::cache::BlockCache;
use crate::env::failpoint;
use crate::manifest::{
    FileMeta, Manifest, Version, VersionEdit, decode_files, first_file_of_epoch,
};
use crate::memtable::{InsertHint, MemTable};
use crate::object_store::{LocalStore, MeteredStore, ObjectStore, Prefetcher, probe_put_if_absent};
use crate::options::Options;
use crate::output::RateLimiter;
use crate::remote_wal::RemoteWal;
use crate::txn::commit::Pipeline;
use crate::txn::locks::LockManager;
use crate::txn::record::{Entry, decode_ops, decode_payload};
use crate::txn::snapshots::Snapshots;
use crate::txn::spill::SpillSpace;
use crate::types::SeqNo;
use crate::wal::{Wal, WalOptions};
use crate::{Error, Result, ResultExt};

/// The log may take this many segments, of a size between the two.
const SEGMENTS: u64 = 8;
const MIN_SEGMENT: u64 = 64 << 10;
const MAX_SEGMENT: u64 = 64 << 20;

/// How often an attach begins anew because the store is written to under it.
const ATTACH_ATTEMPTS: u32 = 10;

/// What replaying the log gave.
pub(super) struct Replayed {
    /// Oldest first; the last one takes new writes.
    memtables: Vec<Arc<MemTable>>,
    /// Commits up to this one are in files.
    flushed_seq: SeqNo,
    /// Commits by files up to this one are in the version.
    ingested_seq: SeqNo,
    last_seq: SeqNo,
    max_size: u64,
    /// Prepared and, as far as the log was read, not decided.
    undecided: BTreeMap<u64, Undecided>,
    last_prepared: u64,
    /// Committed by files that are not in the version, in order.
    ingests: Vec<Ingest>,
}

/// A commit by files that is to be finished.
struct Ingest {
    seq: SeqNo,
    files: Files,
    /// What is older than this memtable is older than the files. It counts the commit among its writers, so it is not flushed before.
    younger: Arc<MemTable>,
}

impl Replayed {
    fn new(version: &Version, max_size: u64) -> Self {
        Self {
            memtables: Vec::new(),
            flushed_seq: version.last_seq,
            ingested_seq: version.last_ingest_seq,
            last_seq: version.greatest_seq(),
            max_size,
            undecided: BTreeMap::new(),
            last_prepared: 0,
            ingests: Vec::new(),
        }
    }

    /// The memtable for what stands at `position`.
    fn memtable(&mut self, position: u64) -> Arc<MemTable> {
        match self.memtables.last() {
            Some(table) if (table.allocated() as u64) < self.max_size => table.clone(),
            _ => self.next_memtable(position),
        }
    }

    fn next_memtable(&mut self, position: u64) -> Arc<MemTable> {
        let id = self.memtables.len() as u64 + 1;
        let table = Arc::new(MemTable::new(id, position, self.max_size));
        self.memtables.push(table.clone());
        table
    }

    pub(super) fn record(&mut self, position: u64, payload: &[u8]) -> Result<()> {
        // Also where nothing is written: the log is kept for it.
        self.memtable(position).keep_log_from(position);
        decode_payload(payload, &mut |entry| self.entry(position, entry))
            .context(|| format!("replay the log at {position}"))
    }

    fn entry(&mut self, position: u64, entry: Entry<'_>) -> Result<()> {
        match entry {
            Entry::Commit { seq, ops } => self.commit(position, seq, ops),
            Entry::CommitFiles { seq, files, ops } => {
                self.ingest(position, seq, decode_files(files)?)?;
                self.commit(position, seq, ops)
            }
            Entry::CommitPrepared { seq, id } => {
                let Some(undecided) = self.committed(seq, id)? else {
                    return Ok(());
                };
                if let Some(files) = undecided.files {
                    self.ingest(position, seq, files)?;
                } else {
                    self.commit(position, seq, &undecided.ops)?;
                }
                self.memtable(position).keep_log_from(undecided.position);
                Ok(())
            }
            Entry::Prepare { id, name, ops } => {
                self.prepared(position, id, name, ops, None);
                Ok(())
            }
            Entry::PrepareFiles { id, name, files } => {
                self.prepared(position, id, name, &[], Some(decode_files(files)?));
                Ok(())
            }
            Entry::RollbackPrepared { id } => {
                self.last_prepared = self.last_prepared.max(id);
                // The log may begin after the prepare, which nothing needed any more.
                self.undecided.remove(&id);
                Ok(())
            }
            Entry::InCoordinator { id } => {
                self.last_prepared = self.last_prepared.max(id);
                if let Some(undecided) = self.undecided.get_mut(&id) {
                    undecided.in_coordinator = true;
                }
                Ok(())
            }
        }
    }

    /// Writes a commit to a memtable, unless it is in files: it would hide what is newer there.
    fn commit(&mut self, position: u64, seq: SeqNo, ops: &[u8]) -> Result<()> {
        self.last_seq = self.last_seq.max(seq);
        if seq <= self.flushed_seq {
            return Ok(());
        }
        let table = self.memtable(position);
        let mut hint = InsertHint::default();
        let (mut entries, mut bytes) = (0, 0);
        table.begin_write(position);
        let decoded = decode_ops(ops, &mut |kind, key, value| {
            table.insert(key, seq, kind, value, &mut hint);
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            Ok(())
        });
        table.finish_write(entries, bytes);
        decoded
    }

    /// Takes note of a commit by files, and begins a memtable for what is newer.
    fn ingest(&mut self, position: u64, seq: SeqNo, files: Vec<FileMeta>) -> Result<()> {
        self.last_seq = self.last_seq.max(seq);
        if seq <= self.ingested_seq {
            return Ok(());
        }
        let younger = self.next_memtable(position);
        younger.begin_write(position);
        self.ingests.push(Ingest {
            seq,
            files: Files {
                files,
                dropped: BTreeMap::new(),
            },
            younger,
        });
        Ok(())
    }

    fn prepared(
        &mut self,
        position: u64,
        id: u64,
        name: &[u8],
        ops: &[u8],
        files: Option<Vec<FileMeta>>,
    ) {
        self.last_prepared = self.last_prepared.max(id);
        let undecided = Undecided {
            name: name.into(),
            position,
            ops: ops.to_vec(),
            files,
            in_coordinator: false,
        };
        self.undecided.insert(id, undecided);
    }

    /// The files that undecided prepares name.
    fn kept_files(&self) -> HashSet<u64> {
        let files = self.undecided.values().filter_map(|one| one.files.as_ref());
        files.flatten().map(|file| file.id).collect()
    }

    /// The writes of a prepared transaction that commits; `None` if they are in files, and the log begins after the prepare.
    fn committed(&mut self, seq: SeqNo, id: u64) -> Result<Option<Undecided>> {
        self.last_prepared = self.last_prepared.max(id);
        let undecided = self.undecided.remove(&id);
        if undecided.is_none() && seq > self.flushed_seq.max(self.ingested_seq) {
            return Err(Error::corruption(format!(
                "transaction {id} is committed, but the log does not have it prepared"
            )));
        }
        Ok(undecided)
    }
}

/// The layout of the local log.
pub(super) fn wal_options(options: &Options) -> WalOptions {
    WalOptions {
        segment_size: (options.total_wal_size / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT),
        // Spares come with a thread.
        recycle: match options.manual {
            true => 0,
            false => WalOptions::default().recycle,
        },
    }
}

/// The manifest and the log, read and this writer's.
struct Opened {
    manifest: Manifest,
    version: Arc<Version>,
    wal: Wal,
    remote: Option<RemoteWal>,
    replayed: Replayed,
    /// The store's number.
    number: u128,
}

/// Attaches to the manifest and reads the log. A writer that still lives may write to the manifest meanwhile: then it begins anew.
fn open_log(options: &Options, store: &Arc<dyn ObjectStore>) -> Result<Opened> {
    let mut attempt = 1;
    let load = || match options.manual {
        true => Manifest::load(store.clone()),
        false => Manifest::load_at_once(store.clone()),
    };
    loop {
        let (mut manifest, version) = load().context(|| "read manifest")?;
        let next_id = manifest.next_id();
        let error = match open_log_of(options, store, &mut manifest, &version) {
            Ok((wal, version, remote, replayed, number)) => {
                return Ok(Opened {
                    manifest,
                    version,
                    wal,
                    remote,
                    replayed,
                    number,
                });
            }
            Err(error) => error,
        };
        let attached = manifest.current().epoch > version.epoch;
        if !options.remote_wal || attached || attempt == ATTACH_ATTEMPTS {
            return Err(error);
        }
        let (now, _) = load().context(|| "read manifest")?;
        if now.next_id() == next_id {
            return Err(error);
        }
        tracing::info!("the store was written to during the attach, which begins anew: {error}");
        attempt += 1;
    }
}

fn open_log_of(
    options: &Options,
    store: &Arc<dyn ObjectStore>,
    manifest: &mut Manifest,
    version: &Version,
) -> Result<(Wal, Arc<Version>, Option<RemoteWal>, Replayed, u128)> {
    let missing = match (options.remote_wal, options.accept_lost_log) {
        (true, _) if attach::has_log(version) => MissingLog::InStore,
        (_, true) => MissingLog::Accept,
        (_, false) => MissingLog::Refuse,
    };
    let wal_dir = options.wal_dir();
    let number = identity::bind(&**store, version, &*options.fs, &wal_dir, missing)?;
    let mut replayed = Replayed::new(version, options.memtable_size);
    let epoch = version.epoch + 1;
    if options.remote_wal {
        attach::resume(options, manifest, epoch)?;
    }
    let edit = VersionEdit {
        epoch: Some((epoch, options.writer.clone())),
        next_file: Some(first_file_of_epoch(epoch).max(version.next_file)),
        writer_id: options.remote_wal.then(|| manifest.nonce()),
        ..VersionEdit::default()
    };
    if options.remote_wal {
        let attached = attach::attach(options, store, manifest, &edit, &mut replayed)?;
        return Ok((
            attached.wal,
            attached.version,
            Some(attached.remote),
            replayed,
            number,
        ));
    }
    attach::refuse_remote_log(version)?;
    let floor = version.wal_floor;
    let wal = Wal::open(
        options.fs.clone(),
        &wal_dir,
        wal_options(options),
        floor,
        &mut |position, payload| replayed.record(position, payload),
    )
    .context(|| format!("open the log in {}", wal_dir.display()))?;
    failpoint::hit("open.replayed")?;
    let version = manifest.commit(&edit).context(|| "write manifest")?;
    failpoint::hit("open.attached")?;
    Ok((wal, version, None, replayed, number))
}

pub(super) fn open(options: Options) -> Result<Engine> {
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
    let Opened {
        manifest,
        version,
        wal,
        remote,
        replayed,
        number,
    } = open_log(&options, &store)?;
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
    Ok(Engine {
        core,
        threads: Mutex::new(threads),
        detached: Mutex::new(detached),
        _lock: lock,
    })
}
