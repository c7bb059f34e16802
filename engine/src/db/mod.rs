//! The engine: everything below it, put together.

mod background;
mod compactor;
mod core;
mod counters;
mod detached;
mod drop_queue;
mod flusher;
mod garbage;
mod health;
mod ingest;
mod locking_read;
mod log;
mod maintenance;
pub(crate) mod open;
mod persistent_cache;
mod stall;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod transaction;
mod transactions;
mod tree;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use detached::PreparedTransaction;
pub use locking_read::{Entry, ReadSpec, Reader, RowLocator, RowWait, SeekTo};
pub use stats::{EngineStats, LevelStats};
pub use transaction::{DEFAULT_LOCK_WAIT, Isolation, Transaction, View, Write};
pub use tree::{Cursor, RangeStats, Value};

use self::core::Core;
use self::detached::Detached;
use crate::object_store::RequestStats;
use crate::options::{MIN_TRANSACTION_MEMORY, Options, WalSync};
use crate::remote_wal::{RemoteWal, RemoteWalStats};
use crate::txn::TxnId;
use crate::txn::locks::{LockInfo, TxnInfo, WaitObserver};
use crate::types::{Index, IndexId, KeyBounds};
use crate::{Result, ResultExt};

fn ids(indexes: &[Index]) -> Vec<IndexId> {
    indexes.iter().map(|index| index.id()).collect()
}

fn handles(ids: Vec<IndexId>) -> Vec<Index> {
    ids.into_iter().map(Index::from_id).collect()
}

/// A transactional key-value store.
///
/// Keys are bytes, in indexes: each [`Index`] is an ordered map of its own, comes from [`Engine::create_index`], and is dropped as a whole in constant
/// time. A transaction may write to any number of them. All methods may be called from any thread.
///
/// ```
/// # fn main() -> smartengine::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use smartengine::{Engine, Isolation, Options, View};
/// let engine = Engine::open(Options::new(dir.path()))?;
/// let fruit = engine.create_index()?;
///
/// let mut txn = engine.begin(Isolation::RepeatableRead);
/// txn.insert(&fruit.key("pear"), b"green")?;
/// txn.insert(&fruit.key("apple"), b"red")?;
/// txn.commit()?;
///
/// let mut txn = engine.begin(Isolation::RepeatableRead);
/// let mut cursor = txn.cursor(&fruit.all(), View::Snapshot)?;
/// cursor.seek_to_last()?;
/// assert_eq!((cursor.rest(), cursor.value()), (&b"pear"[..], &b"green"[..]));
/// cursor.prev()?;
/// assert_eq!(cursor.key(), fruit.key("apple"));
/// # drop((cursor, txn));
/// engine.close()
/// # }
/// ```
pub struct Engine {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    detached: Mutex<Detached>,
    _lock: Box<dyn std::any::Any + Send + Sync>,
}

impl Engine {
    /// Opens the store that `options` name, or creates one.
    ///
    /// Fails with [`crate::ErrorKind::Invalid`] for options out of range and for a store that could not keep two writers apart,
    /// [`crate::ErrorKind::Corruption`] where stored bytes are not what was written, [`crate::ErrorKind::Unavailable`] where the directory or the store
    /// cannot be used, for instance as another process uses it. The message begins with the store's place.
    pub fn open(options: Options) -> Result<Self> {
        let place = options.place();
        let running = open::open(options).context(|| place)?;
        Ok(Self {
            core: running.core,
            threads: Mutex::new(running.threads),
            detached: Mutex::new(running.detached),
            _lock: running.lock,
        })
    }

    /// Begins a transaction.
    pub fn begin(&self, isolation: Isolation) -> Transaction {
        Transaction::new(self.core.clone(), isolation)
    }

    /// A new index, whose id was never used before. It needs no more than that: an index that nothing is written to takes no space.
    pub fn create_index(&self) -> Result<Index> {
        self.allocate(1).map(Index::from_id)
    }

    /// `count` new indexes with consecutive ids.
    pub fn create_indexes(&self, count: u32) -> Result<Vec<Index>> {
        let first = self.allocate(count)?;
        Ok((first..first + count).map(Index::from_id).collect())
    }

    fn allocate(&self, count: u32) -> Result<IndexId> {
        let patience = self.core.log.store_wait();
        self.core.tree.allocate_indexes(count, patience)
    }

    /// Drops all keys of these indexes, for good. Running readers may still see them. Nothing may be written to them any more.
    ///
    /// It is done soon after this returns, for all that were dropped meanwhile at once, and never more durably than what was committed before. A crash
    /// may leave indexes that [`Engine::retain_indexes`] finds.
    pub fn drop_indexes(&self, indexes: &[Index]) -> Result<()> {
        self.core.drops.add(&ids(indexes))
    }

    /// Drops every index that holds data and is not in `named` (nor [`Index::DICTIONARY`]); returns which.
    pub fn retain_indexes(&self, named: &[Index]) -> Result<Vec<Index>> {
        self.core.drops.retain(&ids(named)).map(handles)
    }

    /// The indexes that hold keys, were not dropped, and are not in `named` (nor [`Index::DICTIONARY`]).
    pub fn unnamed_indexes(&self, named: &[Index]) -> Result<Vec<Index>> {
        self.core.drops.unnamed(&ids(named)).map(handles)
    }

    /// The value of a counter: the greatest that [`Transaction::raise_counter`] gave it, 0 if none did.
    pub fn counter(&self, key: &[u8]) -> Result<u64> {
        self.core.transactions.counter(key)
    }

    /// The highest version that was ever given to [`Engine::raise_user_version`], by this writer or one before it; 0 if none was.
    pub fn user_version(&self) -> u64 {
        self.core.tree.state().files.version.user_version
    }

    /// Has the store say, durably, that the program which uses the engine is of this version or a later one. Later opens are asked about it
    /// ([`Options::user_version_check`]) before they change anything.
    ///
    /// A program calls this before it writes what an older version of itself could not read; it costs a request to the store if the version is new to it,
    /// else nothing.
    pub fn raise_user_version(&self, version: u64) -> Result<()> {
        let patience = self.core.log.store_wait();
        self.core.tree.raise_user_version(version, patience)
    }

    /// Estimates how much a range of keys holds, from the files' indexes and the memtables. It may have to read those from a store that is away; then
    /// it waits a second at most, and guesses.
    pub fn range_stats<'k>(&self, keys: impl Into<KeyBounds<'k>>) -> Result<RangeStats> {
        let KeyBounds { lower, upper } = keys.into();
        self.core.tree.range_stats(lower, upper)
    }

    /// Writes everything in memory to files and waits for it.
    pub fn flush(&self) -> Result<()> {
        self.core.flusher.flush()
    }

    /// Flushes, compacts everything to the bottom level, and waits for it.
    pub fn compact(&self) -> Result<()> {
        self.core.compact()
    }

    /// The prepared transactions that no [`Transaction`] stands for: those that [`Engine::detach`] was given, and after an open those that a
    /// crash or a close left without a decision.
    pub fn prepared(&self) -> Vec<PreparedTransaction> {
        self.detached.lock().list()
    }

    /// The greatest key of an index that was written by a transaction which [`Engine::open`] found prepared, whether it is decided by now or not: for callers
    /// that number their keys, and must not give out a number again that such a transaction has used.
    pub fn recovered_last_key(&self, index: Index) -> Option<Vec<u8>> {
        let detached = self.detached.lock();
        detached.recovered_last_key(index.id()).map(<[u8]>::to_vec)
    }

    /// Keeps a prepared transaction, with its locks, for [`Engine::take_prepared`].
    /// Fails with [`crate::ErrorKind::Invalid`] if it is not prepared or its name is taken.
    pub fn detach(&self, transaction: Transaction) -> Result<()> {
        // One that is not prepared is rolled back here, which may write to the log: not while others wait to see the list.
        transaction.prepared()?;
        self.detached.lock().add(transaction)
    }

    /// The prepared transaction of this name, to be committed or rolled back; `None` if there is none, or another holds it.
    pub fn take_prepared(&self, name: &[u8]) -> Option<Transaction> {
        self.detached.lock().take(name)
    }

    /// Makes every commit and every prepare so far durable.
    pub fn sync_wal(&self) -> Result<()> {
        self.core.log.sync(self.core.log.end())
    }

    /// Whether the log up to `position` ([`Transaction::log_end`]) is in the store; waits for it up to `time`. At once true where the log
    /// is not kept there. [`crate::ErrorKind::Fenced`] if another writer took over, so that it never will be.
    pub fn wait_uploaded(&self, position: u64, time: Duration) -> Result<bool> {
        self.core.log.wait_uploaded(position, time)
    }

    /// Has the log sent to the store up to `position` without delay, for somebody who will wait for it.
    pub fn want_uploaded(&self, position: u64) {
        self.core.log.want_uploaded(position);
    }

    /// The sequence number of the newest commit that a snapshot taken now would see.
    pub fn visible(&self) -> u64 {
        self.core.transactions.snapshots.visible()
    }

    /// An error that says why, if no writes are taken any more.
    pub fn check_writes(&self) -> Result<()> {
        self.core.health.check_writes()
    }

    /// The position after the last record of the log.
    pub fn log_end(&self) -> u64 {
        self.core.log.end()
    }

    /// What the requests to the store came to since the engine was opened, by kind.
    pub fn object_store_stats(&self) -> Vec<RequestStats> {
        self.core.meter.stats()
    }

    /// How the log in the store stands; `None` where it is not kept there.
    pub fn remote_wal(&self) -> Option<RemoteWalStats> {
        self.core.log.remote().map(RemoteWal::stats)
    }

    /// Changes when the log is sent to the store.
    pub fn set_wal_upload(&self, interval: Duration, size: u64) {
        if let Some(remote) = self.core.log.remote() {
            remote.set_tuning(interval, size.max(4 << 10));
        }
    }

    /// Changes how many bytes of log may wait for the store before writers wait too, and for how long they do before they fail.
    pub fn set_store_limits(&self, max_unuploaded_wal: u64, store_wait: Duration) {
        let bytes = max_unuploaded_wal.max(64 << 10);
        self.core.log.set_limits(bytes, store_wait);
    }

    /// In an engine without threads ([`Options::manual`]): does what they would do now, each kind of work once. Whether there was any.
    #[doc(hidden)]
    pub fn work(&self) -> Result<bool> {
        self.core.work()
    }

    /// The transactions that have locked or written something, by id.
    pub fn transactions(&self) -> Vec<TxnInfo> {
        self.core.transactions.locks.transactions()
    }

    /// Up to `limit` locks: first those that are waited for, then gaps, then locks on keys. Of transactions with very many locks only the first are
    /// listed.
    pub fn locks(&self, limit: usize) -> Vec<LockInfo> {
        self.core.transactions.locks.list(limit)
    }

    /// Has `observer` told when a transaction is about to wait for another one's lock: the labels of both. The first observer stays.
    pub fn observe_waits(&self, observer: WaitObserver) {
        self.core.transactions.locks.observe_waits(observer);
    }

    /// Makes a transaction that waits for a lock, or that is about to, fail with [`crate::ErrorKind::Interrupted`].
    pub fn interrupt(&self, txn: TxnId) {
        self.core.transactions.locks.interrupt(txn);
    }

    /// Stops taking writes, for good: commits from now on fail with [`crate::ErrorKind::ReadOnly`], naming `why`.
    pub fn poison(&self, why: &str) {
        self.core.health.gate().close(why);
    }

    /// Counters and gauges.
    pub fn stats(&self) -> EngineStats {
        self.core.stats()
    }

    /// A report for a person.
    pub fn status(&self) -> String {
        status::report(&self.core)
    }

    /// Changes the size of the cache of blocks, in bytes.
    pub fn set_block_cache_size(&self, bytes: u64) {
        self.core.tree.files().cache.set_capacity(bytes);
    }

    /// Changes when a memtable is full, and how many bytes all may take.
    pub fn set_memtable_sizes(&self, one: u64, total: u64) {
        self.core.tree.tuning.set_memtable_sizes(one, total);
        self.core.health.signal.notify();
    }

    /// Changes at how many sorted runs level 0 is compacted.
    pub fn set_level0_compaction_trigger(&self, runs: usize) {
        self.core.tree.tuning.set_level0_compaction_trigger(runs);
        self.core.health.signal.notify();
    }

    /// Changes how many bytes a second flush and compaction write; 0 for no limit.
    pub fn set_rate_limit(&self, bytes_per_second: u64) {
        self.core.tree.limiter.set_rate(bytes_per_second);
    }

    /// Changes when commits reach the disk.
    pub fn set_wal_sync(&self, sync: WalSync) {
        self.core.transactions.set_wal_sync(sync);
    }

    /// When commits reach the disk.
    pub fn wal_sync(&self) -> WalSync {
        if self.core.transactions.syncs_each_commit() {
            WalSync::EachCommit
        } else {
            WalSync::EachSecond
        }
    }

    /// Changes how many rows a transaction may lock.
    pub fn set_max_row_locks(&self, locks: u64) {
        self.core.transactions.locks.set_max_per_txn(locks);
    }

    /// Changes how many bytes a transaction's writes may take in memory before they go to local files.
    pub fn set_transaction_memory(&self, bytes: u64) {
        let bytes = bytes.max(MIN_TRANSACTION_MEMORY);
        self.core.transactions.spill.set_memory(bytes);
    }

    /// Switches compaction off, so that it runs only when asked for, or on again.
    pub fn set_auto_compactions(&self, on: bool) {
        self.core.tree.tuning.set_auto_compactions(on);
        self.core.health.signal.notify();
    }

    /// Holds flush and compaction, or lets them go on. Writers wait once the memtables are full.
    pub fn pause_background_work(&self, pause: bool) {
        self.core.tree.tuning.pause(pause);
        self.core.health.signal.notify();
    }

    /// Flushes what is in memory, stops every thread and closes the store. Transactions that are left can no longer write. They, cursors and values read
    /// keep the directory locked until they are dropped: it cannot be opened again before.
    ///
    /// Without it, dropping an engine stops it as a crash would: everything committed is found again by the next open, from the WAL.
    pub fn close(self) -> Result<()> {
        self.pause_background_work(false);
        if self.core.health.check_writes().is_err() {
            // It says why already; there is nothing to flush that may be flushed.
            self.stop();
            return Ok(());
        }
        let flushed = self
            .core
            .flusher
            .flush_or_failing()
            .and_then(|()| self.core.log.uploaded_or_failing(self.core.log.end()))
            .and_then(|()| self.core.drops.publish().map(drop));
        self.stop();
        // Nothing is appended any more.
        self.core.log.close().and(flushed)
    }

    fn stop(&self) {
        self.core.close_for_writes();
        for thread in self.threads.lock().drain(..) {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
