//! The tree: memtables and files at this moment, what readers see of them, and how the manifest's edits change them.
//!
//! Locks, in the order in which they may be taken: `manifest` (one edit at a time), `state_lock` (one change of [`State`] at a time). Readers take
//! neither. `manifest` is held while the store is waited for, for as long as it is away.

mod cursor;
mod dropped;
mod get;
mod indexes;
mod install;
mod pinned;
mod range_stats;
pub mod state;
mod tuning;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

pub use self::cursor::{Cursor, OpenFiles, Source};
use self::dropped::Dropped;
pub use self::pinned::Value;
pub use self::range_stats::RangeStats;
use self::state::{FileContext, LiveVersion, Obsolete, State};
use self::tuning::Tuning;
use super::health::Health;
use crate::Result;
use crate::manifest::Manifest;
use crate::memtable::MemTable;
use crate::options::Options;
use crate::output::RateLimiter;
use crate::txn::snapshots::Snapshots;

/// Ids that are given out and never again.
struct Ids {
    next_file: AtomicU64,
    next_index: AtomicU32,
    /// Index ids below this may be given out without telling the manifest.
    index_ceiling: AtomicU32,
    next_memtable: AtomicU64,
}

/// See the module's description.
pub struct Tree {
    health: Arc<Health>,
    options: Arc<Options>,
    pub tuning: Tuning,
    files: Arc<FileContext>,
    snapshots: Arc<Snapshots>,
    manifest: Mutex<Manifest>,
    state: ArcSwap<State>,
    state_lock: Mutex<()>,
    ids: Ids,
    dropped: Dropped,
    pub limiter: RateLimiter,
    /// Until when estimates do not wait for the store, in milliseconds of the engine's clock.
    hurried_until: AtomicU64,
}

impl Tree {
    /// With what an open has found: the memtables, the newest first, and the version that `manifest` has.
    pub fn new(
        health: Arc<Health>,
        options: Arc<Options>,
        files: Arc<FileContext>,
        snapshots: Arc<Snapshots>,
        manifest: Manifest,
        memtables: Vec<Arc<MemTable>>,
        mem: Arc<MemTable>,
    ) -> Self {
        let version = manifest.current();
        let state = State {
            immutable: Arc::new(memtables),
            files: LiveVersion::new(version.clone(), None, &files),
            mem,
        };
        let ceiling = version.index_ceiling.max(1);
        Self {
            health,
            tuning: Tuning::new(&options),
            files,
            snapshots,
            manifest: Mutex::new(manifest),
            ids: Ids {
                next_file: AtomicU64::new(version.next_file),
                next_index: AtomicU32::new(ceiling),
                index_ceiling: AtomicU32::new(ceiling),
                next_memtable: AtomicU64::new(state.mem.id() + 1),
            },
            dropped: Dropped::recovered(&version, state.mem.id()),
            state: ArcSwap::from_pointee(state),
            state_lock: Mutex::new(()),
            limiter: RateLimiter::new(options.clock.clone(), options.rate_limit),
            hurried_until: AtomicU64::new(0),
            options,
        }
    }

    /// Memtables and files now, for a moment.
    #[inline]
    pub fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// The same, to be kept for longer.
    pub fn kept_state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// What an open file needs.
    pub fn files(&self) -> &Arc<FileContext> {
        &self.files
    }

    /// Publishes a changed state.
    fn change_state(&self, change: impl FnOnce(&State) -> State) {
        let _guard = self.state_lock.lock();
        let now = self.state.load_full();
        self.state.store(Arc::new(change(&now)));
    }

    /// Begins a memtable for what is logged from `position` on; the present one becomes immutable.
    pub fn begin_memtable(&self, position: u64) {
        let id = self.ids.next_memtable.fetch_add(1, Ordering::Relaxed);
        let size = self.tuning.memtable_size.load(Ordering::Relaxed);
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
        self.health.signal.notify();
    }

    /// For an edit: one at a time, and no other while this is held.
    pub fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock()
    }

    /// Looks whether another writer has attached, unless an edit is under way, which learns of it anyway.
    pub fn look_for_successor(&self) -> Result<()> {
        match self.manifest.try_lock() {
            Some(mut manifest) => manifest.look_for_successor(),
            None => Ok(()),
        }
    }

    /// Has something removed when that may be.
    pub fn tell_obsolete(&self, obsolete: Obsolete) {
        // At shutdown nobody listens any more; the next open finds what is left.
        let _ = self.files.obsolete.send(obsolete);
    }
}
