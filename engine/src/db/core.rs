//! What the engine's threads share.
//!
//! Locks, in the order in which they may be taken: `write_lock` (one group at a time), `manifest` (one edit at a time),
//! `state_lock` (one change of [`State`] at a time). Readers take none of them.
//!
//! `manifest`, `flushing`, `removal` and `orphans` are held while the store is waited for, for as long as it is away; so may be `write_lock`, for the local
//! disk. Whatever reports the engine's state ([`Core::stats`], the report, the listings) takes none of these, only locks that are held for moments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::counters::Counters;
use super::drops::Drops;
use super::orphans::OrphanSearch;
use super::persistent_cache::PersistentCache;
use super::range_stats::Hurry;
use super::removal::Removal;
use super::signal::{Failing, Signal};
use super::state::{FileContext, LiveVersion, Obsolete, State};
use super::stats::Stats;
use super::upload::RETRY;
use crate::cache::BlockCache;
use crate::env::Clock;
use crate::manifest::{Manifest, Version, VersionEdit};
use crate::memtable::MemTable;
use crate::object_store::{Meter, ObjectStore};
use crate::options::{Options, WalSync};
use crate::output::{OutputHost, RateLimiter};
use crate::remote_wal::RemoteWal;
use crate::txn::commit::Pipeline;
use crate::txn::locks::LockManager;
use crate::txn::snapshots::Snapshots;
use crate::txn::spill::SpillSpace;
use crate::wal::Wal;
use crate::{Error, ErrorKind, Result};

/// Options that may change while the engine runs.
pub struct Tunables {
    pub memtable_size: AtomicU64,
    pub total_memtable_size: AtomicU64,
    pub level0_compaction_trigger: AtomicU64,
    pub sync_each_commit: AtomicBool,
    pub disable_auto_compactions: AtomicBool,
    pub pause_background_work: AtomicBool,
    pub max_unuploaded_wal: AtomicU64,
    pub store_wait_millis: AtomicU64,
}

impl Tunables {
    pub fn new(options: &Options) -> Self {
        Self {
            memtable_size: AtomicU64::new(options.memtable_size),
            total_memtable_size: AtomicU64::new(options.total_memtable_size),
            level0_compaction_trigger: AtomicU64::new(options.level0_compaction_trigger as u64),
            sync_each_commit: AtomicBool::new(options.wal_sync == WalSync::EachCommit),
            disable_auto_compactions: AtomicBool::new(options.disable_auto_compactions),
            pause_background_work: AtomicBool::new(false),
            max_unuploaded_wal: AtomicU64::new(options.max_unuploaded_wal),
            store_wait_millis: AtomicU64::new(options.store_wait.as_millis() as u64),
        }
    }
}

/// Ids that are given out and never again.
pub struct Ids {
    pub next_file: AtomicU64,
    pub next_index: AtomicU32,
    /// Index ids below this may be given out without telling the manifest.
    pub index_ceiling: AtomicU32,
    pub next_memtable: AtomicU64,
    pub next_txn: AtomicU64,
    pub next_prepared: AtomicU64,
}

/// The shared parts.
pub struct Core {
    pub options: Options,
    pub tunables: Tunables,
    pub store: Arc<dyn ObjectStore>,
    /// What the requests to the store came to.
    pub meter: Arc<Meter>,
    pub clock: Arc<dyn Clock>,
    pub cache: Arc<BlockCache>,
    pub persistent_cache: PersistentCache,
    pub limiter: RateLimiter,
    pub wal: Wal,
    /// The log in the store, where it is kept there.
    pub remote: Option<RemoteWal>,
    /// [`RemoteWal::cut_chunks`] when the present memtable began.
    pub chunks_before_memtable: AtomicU64,
    pub manifest: Mutex<Manifest>,
    pub state: ArcSwap<State>,
    pub state_lock: Mutex<()>,
    pub write_lock: Mutex<()>,
    pub files: Arc<FileContext>,
    pub pipeline: Pipeline<Self>,
    pub snapshots: Arc<Snapshots>,
    pub locks: LockManager,
    pub spill: Arc<SpillSpace>,
    pub counters: Arc<Counters>,
    /// Prepared transactions that are not decided, by id, with the log position of their prepare. Changed under `write_lock`.
    pub undecided: Mutex<BTreeMap<u64, u64>>,
    pub ids: Ids,
    pub signal: Signal,
    pub stats: Stats,
    pub closing: AtomicBool,
    pub drops: Drops,
    pub compacting: Mutex<super::background::Compacting>,
    pub flushing: Mutex<()>,
    pub flush_failing: Failing,
    pub compaction_failing: Failing,
    pub manifest_failing: Failing,
    pub removal: Mutex<Removal>,
    /// What is still to be looked for after the open.
    pub orphans: Mutex<Option<OrphanSearch>>,
    pub hurry: Hurry,
}

impl Core {
    /// Fails once the engine is closing.
    pub fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Interrupted, "the engine is closing"));
        }
        Ok(())
    }

    /// Lets no further commit begin and tells the threads to end.
    pub fn close_for_writes(&self) {
        let guard = self.write_lock.lock();
        self.closing.store(true, Ordering::Release);
        drop(guard);
        // Only a thread that has ended no longer listens.
        let _ = self.files.obsolete.send(Obsolete::Stop);
        if let Some(remote) = &self.remote {
            remote.stop();
        }
    }

    /// Publishes a changed state.
    pub fn change_state(&self, change: impl FnOnce(&State) -> State) {
        let _guard = self.state_lock.lock();
        let now = self.state.load_full();
        self.state.store(Arc::new(change(&now)));
    }

    /// Commits an edit and shows readers the version it makes; `flushed` are the memtables whose contents the edit adds.
    ///
    /// A store that is away is tried again until it is back, where it is not a local one.
    pub fn install(
        &self,
        manifest: &mut Manifest,
        edit: VersionEdit,
        flushed: &[Arc<MemTable>],
    ) -> Result<()> {
        self.install_within(manifest, edit, flushed, None)
    }

    /// The same, for an edit that may take effect though this fails with [`ErrorKind::Unavailable`], which it does after `patience`.
    pub fn install_within(
        &self,
        manifest: &mut Manifest,
        mut edit: VersionEdit,
        flushed: &[Arc<MemTable>],
        patience: Option<Duration>,
    ) -> Result<()> {
        self.pipeline.check()?;
        edit.next_file = Some(self.ids.next_file.load(Ordering::Acquire));
        let version = self.publish(manifest, &edit, patience)?;
        self.change_state(|now| State {
            mem: now.mem.clone(),
            immutable: Arc::new(
                now.immutable
                    .iter()
                    .filter(|table| !flushed.iter().any(|done| Arc::ptr_eq(done, table)))
                    .cloned()
                    .collect(),
            ),
            files: LiveVersion::new(version, Some(&now.files), &self.files),
        });
        if manifest.trim_is_due() {
            // As for files: at shutdown nobody listens, and the next open's edits trim again.
            let _ = self
                .files
                .obsolete
                .send(Obsolete::Manifest(manifest.next_id()));
        }
        self.signal.notify();
        Ok(())
    }

    fn publish(
        &self,
        manifest: &mut Manifest,
        edit: &VersionEdit,
        patience: Option<Duration>,
    ) -> Result<Arc<Version>> {
        let start = self.clock.now();
        loop {
            let seen = self.signal.now();
            let error = match manifest.commit(edit) {
                Ok(version) => {
                    self.manifest_failing.clear();
                    return Ok(version);
                }
                Err(error) => error.context("write manifest"),
            };
            let now = self.clock.now();
            let away = error.kind() == ErrorKind::Unavailable && self.remote.is_some();
            if away && patience.is_some_and(|patience| now.saturating_sub(start) >= patience) {
                return Err(error);
            }
            if !away || self.check_open().is_err() {
                // Whether the edit took effect is not known: what follows must not build on either.
                self.end_writes(&error);
                return Err(error);
            }
            self.manifest_failing.note("write manifest", &error, now);
            self.pause(seen, RETRY);
            // Whether it took effect is found out by the next attempt; but not if another writer was found meanwhile.
            self.pipeline.check()?;
        }
    }

    /// Makes the memtable immutable if the log holds anything that is newer than what is in files, and starts a new one. The caller holds
    /// `write_lock`.
    ///
    /// An empty memtable counts too: where nothing but prepares and rollbacks is logged, only the flush of one moves the log's floor.
    pub fn rotate_locked(&self) {
        let (mem, end) = (self.state.load().mem.clone(), self.wal.end());
        if !mem.is_unused() || mem.wal_start() < end {
            self.begin_memtable(end);
        }
    }

    /// Has what is logged from `position` on go to a memtable that holds nothing older. The caller holds `write_lock`.
    pub fn rotate_at(&self, position: u64) {
        if !self.state.load().mem.is_unused() {
            self.begin_memtable(position);
        }
    }

    fn begin_memtable(&self, position: u64) {
        let id = self.ids.next_memtable.fetch_add(1, Ordering::Relaxed);
        let size = self.tunables.memtable_size.load(Ordering::Relaxed);
        if let Some(remote) = &self.remote {
            let chunks = remote.cut_chunks();
            self.chunks_before_memtable.store(chunks, Ordering::Relaxed);
        }
        let fresh = Arc::new(MemTable::new(id, position, size));
        self.change_state(|now| {
            let mut immutable = Vec::with_capacity(now.immutable.len() + 1);
            immutable.push(now.mem.clone());
            immutable.extend(now.immutable.iter().cloned());
            State {
                mem: fresh,
                immutable: Arc::new(immutable),
                files: now.files.clone(),
            }
        });
        self.signal.notify();
    }
}

impl OutputHost for Core {
    fn next_file_id(&self) -> u64 {
        self.ids.next_file.fetch_add(1, Ordering::AcqRel)
    }

    fn check_stop(&self) -> Result<()> {
        self.check_open()?;
        self.pipeline.check()
    }
}
