//! A transaction: its snapshot, its locks, its own writes.

mod by_files;
mod prepare;
mod stage;
mod writes;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use self::stage::{Prepared, Stage};
pub use self::writes::Write;
use crate::db::core::Core;
use crate::db::counters::Raise;
use crate::db::tree::Cursor;
use crate::db::tree::Value;
use crate::db::writer::{Action, Request};
use crate::options::Durability;
pub use crate::txn::Isolation;
use crate::txn::TxnId;
use crate::txn::batch::{Batch, OwnWrite};
use crate::txn::locks::{Granted, LockMode, LockWait, TxnLocks};
use crate::txn::record::OpWriter;
use crate::txn::snapshots::SnapshotGuard;
use crate::types::{KeyBounds, OWN_WRITE_SEQ, SeqNo, ValueKind};
use crate::{Error, Result, ResultExt};

/// What a read looks at, own writes always included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The transaction's snapshot.
    Snapshot,
    /// The newest commit. For rows that the transaction has locked.
    Newest,
}

/// A transaction, used by one thread at a time.
///
/// Dropping one that was not committed rolls it back, unless it is prepared: that one is found again by the next open.
///
/// ```
/// # fn main() -> smartengine::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use smartengine::{Engine, Isolation, LockMode, Options, View};
/// let engine = Engine::open(Options::new(dir.path()))?;
/// let alice = engine.create_index()?.key("alice");
/// let mut transfer = engine.begin(Isolation::RepeatableRead);
/// transfer.lock(&alice, LockMode::Exclusive)?;
/// assert!(transfer.get(&alice, View::Newest)?.is_none());
/// transfer.put(&alice, b"100")?;
/// transfer.commit()?;
///
/// let mut reader = engine.begin(Isolation::RepeatableRead);
/// assert_eq!(&*reader.get(&alice, View::Snapshot)?.unwrap(), b"100");
/// # drop((transfer, reader));
/// # engine.close()
/// # }
/// ```
pub struct Transaction {
    pub(super) core: Arc<Core>,
    isolation: Isolation,
    pub(super) locks: TxnLocks,
    lock_wait: Duration,
    pub(super) snapshot: Option<Arc<SnapshotGuard>>,
    pub(super) batch: Batch,
    pub(super) raises: Vec<Raise>,
    pub(super) ops: OpWriter,
    pub(super) stage: Stage,
    saw_newer: bool,
    durability: Durability,
    /// The end of the last record that it logged, or 0.
    pub(super) log_end: u64,
    /// The keys that were locked in order to be written, each with its place among the writes. Once the write is undone the lock protects
    /// nothing.
    taken: Vec<(usize, Arc<[u8]>)>,
}

/// The default of [`Transaction::set_lock_wait_timeout`].
pub const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(50);

impl Transaction {
    pub(super) fn new(core: Arc<Core>, isolation: Isolation) -> Self {
        let id = core.transactions.begin();
        Self {
            isolation,
            locks: TxnLocks::new(id, isolation),
            lock_wait: DEFAULT_LOCK_WAIT,
            snapshot: None,
            batch: Batch::new(core.transactions.spill.clone()),
            core,
            raises: Vec::new(),
            ops: OpWriter::default(),
            stage: Stage::Active,
            saw_newer: false,
            durability: Durability::default(),
            log_end: 0,
            taken: Vec::new(),
        }
    }

    /// Names it among the engine's transactions.
    pub fn id(&self) -> TxnId {
        self.locks.id()
    }

    /// Its isolation level.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Where its commit has to be before it is acknowledged; [`Durability::Local`] unless this says otherwise. Stays for the transactions after
    /// [`Transaction::restart`].
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// How long its lock requests wait.
    pub fn set_lock_wait_timeout(&mut self, timeout: Duration) {
        self.lock_wait = timeout;
    }

    /// Begins a statement: below [`Isolation::RepeatableRead`] the next read sees what is committed then. An interrupt that came before is forgotten.
    pub fn start_statement(&mut self) {
        self.core
            .transactions
            .locks
            .forget_interrupt(self.locks.id());
        self.locks.forget_survey();
        if self.isolation < Isolation::RepeatableRead {
            self.snapshot = None;
        }
    }

    /// The sequence number of its snapshot, 0 if it has taken none.
    pub fn snapshot_seq(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq())
    }

    /// Takes the snapshot now, if there is none.
    pub fn take_snapshot(&mut self) {
        self.snapshot();
    }

    fn snapshot(&mut self) -> &Arc<SnapshotGuard> {
        self.snapshot
            .get_or_insert_with(|| Arc::new(self.core.transactions.snapshots.take()))
    }

    pub(super) fn check_running(&self) -> Result<()> {
        match self.stage {
            Stage::Active => Ok(()),
            Stage::Prepared(_) => Err(Error::invalid(
                "the transaction is prepared: it can only be committed or rolled back",
            )),
            Stage::Ended => Err(Error::invalid("the transaction has ended")),
        }
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8], view: View) -> Result<Option<Value>> {
        Ok(self.get_with_origin(key, view)?.0)
    }

    /// The value of a key, and whether the transaction itself wrote it, or removed it.
    #[doc(hidden)]
    pub fn get_with_origin(&mut self, key: &[u8], view: View) -> Result<(Option<Value>, bool)> {
        if view == View::Snapshot {
            // Also where an own write is found: this was the first read.
            self.snapshot();
        }
        if let Some(own) = self.own(key)? {
            return Ok((own, true));
        }
        let value = match view {
            View::Snapshot => {
                let seq = self.snapshot().seq();
                self.core.tree.get(key, seq)?
            }
            View::Newest => {
                let (seq, value) = self.core.tree.get_newest(key)?;
                self.note_seen(seq);
                value
            }
        };
        Ok((value, false))
    }

    /// The newest value of a key, with the number of the commit that wrote it or removed it; [`OWN_WRITE_SEQ`] where the transaction itself did.
    pub(super) fn get_newest(&mut self, key: &[u8]) -> Result<(SeqNo, Option<Value>)> {
        if let Some(own) = self.own(key)? {
            return Ok((OWN_WRITE_SEQ, own));
        }
        let found = self.core.tree.get_newest(key)?;
        self.note_seen(found.0);
        Ok(found)
    }

    /// The value of a key as `cursor` sees it, and whether the transaction itself wrote it, or removed it.
    pub(crate) fn get_as_of(&self, key: &[u8], cursor: &Cursor) -> Result<(Option<Value>, bool)> {
        match self.own(key)? {
            Some(own) => Ok((own, true)),
            None => Ok((self.core.tree.get(key, cursor.snapshot())?, false)),
        }
    }

    /// To be told of the newest versions that were read by a cursor of [`View::Newest`]; see [`Transaction::saw_newer`].
    pub(crate) fn note_seen(&mut self, seq: SeqNo) {
        if let Some(snapshot) = &self.snapshot
            && seq > snapshot.seq()
            && seq < OWN_WRITE_SEQ
        {
            self.saw_newer = true;
        }
    }

    /// Whether it has read, as the newest version of a key, one that its snapshot does not see. Should it write to such a key, then what
    /// it sees of that key in its snapshot and what it has written itself have a commit of another's between them that it does not see: what others
    /// derived from the key there, such as entries of an index, is not to be relied on in this transaction's snapshot.
    pub fn saw_newer(&self) -> bool {
        self.saw_newer
    }

    /// Whether nothing was committed since `cursor` was made: what it shows is the newest there is.
    #[doc(hidden)]
    pub fn is_newest(&self, cursor: &Cursor) -> bool {
        self.core.transactions.snapshots.visible() == cursor.snapshot()
    }

    /// What the transaction itself wrote to a key: a value, or that it is gone.
    fn own(&self, key: &[u8]) -> Result<Option<Option<Value>>> {
        let Some(own) = self.batch.find(key)? else {
            return Ok(None);
        };
        let put = own.kind()? == ValueKind::Put;
        Ok(Some(put.then(|| match own {
            OwnWrite::Memory(position) => Value::at(position),
            OwnWrite::Spilled(found) => Value::in_block(found.value),
        })))
    }

    /// A cursor over a range of keys: of an index, as [`Index::range`](crate::Index::range) and its like make it, or `lower..upper` of whole keys.
    pub fn cursor<'k>(&mut self, keys: impl Into<KeyBounds<'k>>, view: View) -> Result<Cursor> {
        self.cursor_between(keys.into(), view)
    }

    fn cursor_between(&mut self, keys: KeyBounds<'_>, view: View) -> Result<Cursor> {
        let KeyBounds { lower, upper } = keys;
        self.locks.forget_survey();
        let guard = match view {
            View::Snapshot => self.snapshot().clone(),
            View::Newest => Arc::new(self.core.transactions.snapshots.take()),
        };
        Cursor::new(&self.core.tree, guard, Some(&self.batch), lower, upper)
    }

    /// Locks a key until the transaction ends.
    pub fn lock(&mut self, key: &[u8], mode: LockMode) -> Result<Granted> {
        self.check_running()?;
        let wait = LockWait::Timeout(self.lock_wait);
        self.core
            .transactions
            .locks
            .acquire(&mut self.locks, key, mode, wait)
    }

    /// Locks a key if that needs no waiting; [`crate::ErrorKind::LockNotAvailable`] otherwise.
    pub fn try_lock(&mut self, key: &[u8], mode: LockMode) -> Result<Granted> {
        self.check_running()?;
        self.core
            .transactions
            .locks
            .acquire(&mut self.locks, key, mode, LockWait::NoWait)
    }

    /// Locks the gap [from, to), both of one index, where the transaction's isolation keeps others from adding to what it reads: nobody
    /// else adds a key to it until this transaction ends. Waits for those who have added one and not committed it; without `wait`, what they have
    /// added is passed over. A cursor that was made before does not see what was committed meanwhile.
    pub fn lock_gap(&mut self, from: &[u8], to: &[u8], wait: Option<LockWait>) -> Result<()> {
        self.check_running()?;
        if !self.isolation.locks_gaps() {
            return Ok(());
        }
        self.core
            .transactions
            .locks
            .lock_gap(&mut self.locks, from, to, wait)
    }

    /// Waits for those who have added a key to [from, to), both of one index, and not committed it, without keeping others from adding
    /// further ones; whether there were any. A cursor that was made before does not see what became of them.
    #[doc(hidden)]
    pub fn await_additions(&mut self, from: &[u8], to: &[u8], wait: LockWait) -> Result<bool> {
        self.check_running()?;
        self.core
            .transactions
            .locks
            .await_additions(&mut self.locks, from, to, wait)
    }

    /// How long its lock requests wait, as [`Transaction::lock_gap`] takes it.
    #[doc(hidden)]
    pub fn lock_wait(&self) -> LockWait {
        LockWait::Timeout(self.lock_wait)
    }

    /// What listings call the transaction.
    pub fn set_label(&mut self, label: u64) {
        self.locks.set_label(label);
    }

    fn note_writes(&self) {
        self.locks
            .note_writes(self.batch.len(), self.batch.allocated());
    }

    /// Gives a lock back before the end. Only for a key that this transaction has not written.
    pub fn unlock(&mut self, key: &[u8]) {
        self.core.transactions.locks.release(&mut self.locks, key);
    }

    /// How many keys it holds locked.
    pub fn locked_keys(&self) -> usize {
        self.locks.len()
    }

    /// Whether it has written anything that was not undone.
    pub fn has_writes(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether it has no writes and no locks, on keys or gaps.
    pub fn holds_nothing(&self) -> bool {
        self.batch.is_empty() && self.locks.holds_nothing()
    }

    /// Makes the counter `key` at least `value` once the transaction ends, by commit or by rollback. That of a prepared transaction goes into
    /// the log with the decision, so that either both are there or neither.
    pub fn raise_counter(&mut self, key: &[u8], value: u64) -> Result<()> {
        if !self.is_prepared() {
            self.check_running()?;
        }
        if let Some(raise) = self.raises.iter_mut().find(|raise| *raise.key == *key) {
            raise.value = raise.value.max(value);
            return Ok(());
        }
        self.raises
            .extend(self.core.transactions.raise(key, value)?);
        Ok(())
    }

    /// A place for [`Transaction::rollback_to`]; places nest.
    pub fn savepoint(&self) -> usize {
        self.batch.savepoint()
    }

    /// Undoes every write since `savepoint`. Locks stay, except those that were taken for the sake of these writes alone.
    pub fn rollback_to(&mut self, savepoint: usize) {
        self.undo_to(savepoint);
        self.note_writes();
    }

    /// Commits; returns once the commit is durable, as the options and [`Transaction::set_durability`] say, and visible.
    ///
    /// One that has to be in the store is visible to others before this returns: they see what is in the local log. If waiting for the store fails
    /// ([`crate::ErrorKind::Fenced`], [`crate::ErrorKind::Interrupted`]), it is not known whether the commit is kept.
    pub fn commit(&mut self) -> Result<()> {
        if self.waits_for_store() {
            self.commit_with(false)?;
            return self.core.log.uploaded(self.log_end);
        }
        let sync = self.core.transactions.syncs_each_commit();
        self.commit_with(sync)
    }

    /// Whether what it logs has to be in the store before it is acknowledged.
    pub(crate) fn waits_for_store(&self) -> bool {
        self.durability == Durability::Object && self.core.log.is_shared()
    }

    /// The position in the log after what it logged last, for [`crate::Engine::wait_uploaded`]; 0 if it logged nothing.
    pub fn log_end(&self) -> u64 {
        self.log_end
    }

    /// Commits. Without `sync` it may return before the commit is durable; with it, it is so locally.
    pub fn commit_with(&mut self, sync: bool) -> Result<()> {
        let result = match &self.stage {
            Stage::Active => self.write_out(sync),
            Stage::Prepared(_) => self.commit_prepared(sync),
            Stage::Ended => return self.check_running(),
        };
        let outcome = match &result {
            Ok(()) => &self.core.transactions.commits,
            Err(_) => &self.core.transactions.rollbacks,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        self.end();
        result
    }

    pub(super) fn encode(&mut self) -> OpWriter {
        let mut ops = std::mem::take(&mut self.ops);
        ops.clear();
        self.batch.encode(&mut ops);
        ops
    }

    /// One commit holds one version of a key.
    pub(super) fn check_counters(&self) -> Result<()> {
        for Raise { key, .. } in &self.raises {
            if self.batch.find(key)?.is_some() {
                return Err(Error::invalid(format!(
                    "key {} was written as a row and raised as a counter in one transaction",
                    key.escape_ascii()
                )));
            }
        }
        Ok(())
    }

    fn write_out(&mut self, sync: bool) -> Result<()> {
        if self.batch.is_empty() && self.raises.is_empty() {
            return Ok(());
        }
        self.core.health.check_open()?;
        self.check_counters()?;
        self.core.throttle()?;
        if self.batch.is_spilled() {
            return self.commit_by_files();
        }
        let request = Request {
            action: Action::Commit(self.encode()),
            raises: std::mem::take(&mut self.raises),
        };
        let (core, batch, buffer) = (&self.core, &self.batch, &mut self.ops);
        let log_end = &mut self.log_end;
        core.transactions.pipeline.commit(
            &core.transactions.writer,
            request,
            |seq, slot| {
                *log_end = slot.wal_end;
                *buffer = std::mem::take(&mut slot.ops);
                // They are in the log: not a third time in memory while they go to the memtable.
                buffer.clear();
                core.transactions.writer.apply(seq, slot, Some(batch));
                Ok(())
            },
            |slot| core.log.sync_if(sync, slot.wal_end),
        )?;
        Ok(())
    }

    /// Undoes everything and gives all locks back. Of a prepared transaction the decision is durable when this returns.
    pub fn rollback(&mut self) -> Result<()> {
        let result = match &self.stage {
            Stage::Ended => return Ok(()),
            Stage::Active => {
                self.batch.clear();
                self.write_out(false)
                    .context(|| "keep counters of a rolled back transaction")
            }
            Stage::Prepared(_) => {
                let sync = self.core.transactions.syncs_each_commit();
                self.rollback_prepared(sync)
            }
        };
        self.core
            .transactions
            .rollbacks
            .fetch_add(1, Ordering::Relaxed);
        self.end();
        result
    }

    pub(super) fn end(&mut self) {
        self.core.transactions.locks.release_all(&mut self.locks);
        self.snapshot = None;
        self.batch.clear();
        self.raises.clear();
        self.taken.clear();
        self.taken.shrink_to(1024);
        self.stage = Stage::Ended;
        self.saw_newer = false;
        self.core.transactions.end();
    }

    /// Makes an ended transaction a new one, keeping its memory; one that has not ended is rolled back first.
    pub fn restart(&mut self, isolation: Isolation) -> Result<()> {
        self.rollback()?;
        let id = self.core.transactions.begin();
        self.locks.renew(id, isolation);
        self.isolation = isolation;
        self.log_end = 0;
        self.stage = Stage::Active;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Nobody has decided about a prepared transaction: the log keeps it for the next open.
        if self.is_prepared() {
            self.end();
        }
        // A counter that cannot be kept now is the only thing that can fail; the engine has reported why.
        let _ = self.rollback();
    }
}
