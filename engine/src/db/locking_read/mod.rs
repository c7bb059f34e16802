//! Point reads and scans, with the row that a secondary entry stands for, locked where asked.
//!
//! A locking read acts on the newest committed version. A scan that locks runs over a cursor of the newest commit at its start; once the row
//! of an entry is locked, entry and row are read again if anything was committed meanwhile, and an entry that is no longer there is passed over
//! (`row`). From REPEATABLE READ on it locks the gaps that it goes over as well (`scan`), and a point read that finds nothing keeps its key locked
//! (`point`).
//!
//! A semi-consistent scan does not wait for a row that another transaction holds: it shows the row as last committed, not locked. If the row is
//! wanted, the next step reads it again, and waits for the lock.
//!
//! Nothing here outlives a crash: locks and cursors are in memory alone.

mod locator;
mod point;
mod row;
mod row_lock;
mod scan;
mod spec;

use super::transaction::{Transaction, View};
use super::tree::Value;
use crate::txn::TxnId;
use crate::txn::locks::LockWait;
use crate::types::KeyBounds;
use crate::{Error, ErrorKind, Result};

pub use self::locator::RowLocator;
use self::row::Step;
use self::scan::{Direction, Gaps, Scan};
pub use self::spec::{Entry, ReadSpec, RowWait, SeekTo};

/// Reads entries of an index one at a time, by key or in order, each with the row that it stands for, and locks those rows where asked.
///
/// A plain read (no [`ReadSpec::lock`]) sees the transaction's snapshot. One that locks acts on the newest commit, as the lock keeps it from
/// changing: what it shows is locked and is what is committed, or own. From [`Isolation::RepeatableRead`] on nobody adds an entry to what a locking
/// scan has gone over, nor the key that a locking point read did not find, until the transaction ends.
///
/// An entry stands for a row where [`ReadSpec::row_index`] says so, and its value then begins with a [`RowLocator`]. The lock is one on the row's key:
/// all indexes of a table share it.
///
/// A reader may be used for many reads, one after the other, and keeps its buffers: a row costs no allocation. What it shows stays where it is, and is
/// good until its next call. It serves one transaction at a time, the one that it is given with each call; a scan goes on with the one that it was opened
/// with. After an error a scan has to be placed anew. A reader is dropped before the engine.
///
/// [`Isolation::RepeatableRead`]: crate::Isolation::RepeatableRead
///
/// ```
/// # fn main() -> smartengine::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use smartengine::{
///     Engine, Isolation, LockMode, Options, ReadSpec, Reader, RowLocator, RowWait, SeekTo,
/// };
/// let engine = Engine::open(Options::new(dir.path()))?;
/// let animals = engine.create_index()?;
/// let by_legs = engine.create_index()?;
///
/// let mut txn = engine.begin(Isolation::RepeatableRead);
/// for (name, legs) in [("ant", 6), ("cat", 4), ("hen", 2)] {
///     txn.insert(&animals.key(name), &[legs])?;
///     // Entry: index, legs, name. The row's key follows on five bytes.
///     let mut value = Vec::new();
///     RowLocator::InKey(5).append_to(&mut value)?;
///     txn.put(&by_legs.key([&[legs], name.as_bytes()].concat()), &value)?;
/// }
/// txn.commit()?;
///
/// // Another transaction holds the cat.
/// let mut other = engine.begin(Isolation::RepeatableRead);
/// other.lock(&animals.key("cat"), LockMode::Exclusive)?;
///
/// let mut txn = engine.begin(Isolation::RepeatableRead);
/// let mut reader = Reader::new();
/// let spec = ReadSpec {
///     lock: Some(LockMode::Exclusive),
///     wait: RowWait::SkipLocked,
///     row_index: Some(animals),
/// };
/// reader.open(&mut txn, &by_legs.range([3]..[9]), spec)?;
/// let entry = reader.seek(&mut txn, SeekTo::First)?.unwrap();
/// assert_eq!((entry.row_key, entry.row), (&*animals.key("ant"), &[6][..]));
/// assert!(reader.next(&mut txn)?.is_none());
/// # drop((reader, txn, other));
/// # engine.close()
/// # }
/// ```
#[derive(Default)]
pub struct Reader {
    scan: Option<Scan>,
    value: Option<Value>,
    row: Option<Value>,
    key: Vec<u8>,
    row_key: Vec<u8>,
    spec: ReadSpec,
    /// The transaction for which the last read took a lock, on `row_key`, that it did not hold.
    locked: Option<TxnId>,
    /// Whether the last read left the row to the transaction that holds it, so that the next step has to read it again.
    unlocked: bool,
    /// Whether the row read last is one that the transaction wrote or removed, found through an entry of its snapshot.
    own_row: bool,
}

impl Reader {
    /// A reader that reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A point read of the entry with this key, or nothing. With [`ReadSpec::row_index`] it is one of a unique secondary index. Ends a scan.
    ///
    /// Of a locking read that finds nothing, the key stays locked from [`Isolation::RepeatableRead`](crate::Isolation::RepeatableRead) on: nobody else
    /// adds it. With [`RowWait::SkipLocked`] a row that another transaction holds is not found.
    pub fn get<'a>(
        &'a mut self,
        txn: &mut Transaction,
        key: &[u8],
        spec: ReadSpec,
    ) -> Result<Option<Entry<'a>>> {
        self.scan = None;
        self.key.clear();
        self.key.extend_from_slice(key);
        let spec = without_semi_consistent(spec);
        let found = self.read_point(txn, spec)?;
        Ok(self.show(found, spec))
    }

    /// Prepares a scan of a range of keys, all of one index. It stands nowhere and has read nothing yet.
    pub fn open<'k>(
        &mut self,
        txn: &mut Transaction,
        keys: impl Into<KeyBounds<'k>>,
        spec: ReadSpec,
    ) -> Result<()> {
        self.open_between(txn, keys.into(), spec)
    }

    fn open_between(
        &mut self,
        txn: &mut Transaction,
        keys: KeyBounds<'_>,
        mut spec: ReadSpec,
    ) -> Result<()> {
        spec.wait = wait_of_scan(txn, spec.wait);
        self.clear();
        self.scan = None;
        self.spec = spec;
        let (view, gaps) = if spec.lock.is_some() {
            (View::Newest, gaps_of(txn, spec.wait))
        } else {
            (View::Snapshot, Gaps::Open)
        };
        self.scan = Some(Scan::new(txn, keys, view, gaps)?);
        Ok(())
    }

    /// Places the open scan; what it comes to, if anything.
    pub fn seek<'a>(
        &'a mut self,
        txn: &mut Transaction,
        target: SeekTo<'_>,
    ) -> Result<Option<Entry<'a>>> {
        self.clear();
        let direction = self.opened()?.seek(txn, target)?;
        let found = self.settle(txn, direction)?;
        Ok(self.show(found, self.spec))
    }

    /// To the next entry; to the first one of a scan that was only opened.
    #[allow(clippy::should_implement_trait)]
    pub fn next<'a>(&'a mut self, txn: &mut Transaction) -> Result<Option<Entry<'a>>> {
        self.step(txn, SeekTo::First, Direction::Forward)
    }

    /// To the entry before; to the last one of a scan that was only opened.
    pub fn prev<'a>(&'a mut self, txn: &mut Transaction) -> Result<Option<Entry<'a>>> {
        self.step(txn, SeekTo::Last, Direction::Backward)
    }

    fn step<'a>(
        &'a mut self,
        txn: &mut Transaction,
        start: SeekTo<'_>,
        direction: Direction,
    ) -> Result<Option<Entry<'a>>> {
        let found = if self.unlocked {
            // Shown though another holds it, and wanted.
            let spec = without_semi_consistent(self.spec);
            matches!(self.read_entry(txn, spec)?, Step::Arrived) || {
                self.opened()?.step(txn, direction)?;
                self.settle(txn, direction)?
            }
        } else {
            self.clear();
            let scan = self.opened()?;
            if scan.placed() {
                scan.step(txn, direction)?;
            } else {
                scan.seek(txn, start)?;
            }
            self.settle(txn, direction)?
        };
        Ok(self.show(found, self.spec))
    }

    /// Reads the row of the entry that the scan stands on, and locks it, as `spec` says: for a scan that was opened without
    /// [`ReadSpec::row_index`]. Nothing where the row is gone, or is to be passed over.
    pub fn fetch_row<'a>(
        &'a mut self,
        txn: &mut Transaction,
        spec: ReadSpec,
    ) -> Result<Option<Entry<'a>>> {
        let spec = without_semi_consistent(spec);
        let arrived = matches!(self.read_entry(txn, spec)?, Step::Arrived);
        Ok(self.show(arrived, spec))
    }

    /// Gives up the lock of the row read last, if that read took it: for a row that the caller has no use for and has not written.
    pub fn unlock_row(&mut self, txn: &mut Transaction) {
        if self.locked.take() == Some(txn.id()) {
            txn.unlock(&self.row_key);
        }
        self.unlocked = false;
    }

    /// Changes what the open scan does about rows that others hold.
    pub fn set_wait(&mut self, txn: &Transaction, wait: RowWait) {
        self.spec.wait = wait_of_scan(txn, wait);
        let gaps = gaps_of(txn, self.spec.wait);
        if let Some(scan) = &mut self.scan
            && self.spec.lock.is_some()
        {
            scan.set_gaps(gaps);
        }
    }

    /// Ends the scan and lets go of everything that it holds in memory. Locks stay.
    pub fn close(&mut self) {
        (self.scan, self.value, self.row) = (None, None, None);
        self.unlocked = false;
    }

    fn opened(&mut self) -> Result<&mut Scan> {
        let scan = self.scan.as_mut();
        scan.ok_or_else(|| Error::new(ErrorKind::Internal, "a scan was not opened"))
    }

    fn clear(&mut self) {
        self.value = None;
        self.row = None;
        self.locked = None;
        self.unlocked = false;
        self.own_row = false;
    }

    /// What was just read, if it was `found`.
    fn show(&self, found: bool, spec: ReadSpec) -> Option<Entry<'_>> {
        if !found {
            return None;
        }
        let cursor = self.scan.as_ref().map(Scan::cursor);
        let cursor = cursor.filter(|cursor| cursor.valid());
        Some(Entry {
            key: cursor.map_or(&self.key, |cursor| cursor.key()),
            value: match (&self.value, cursor) {
                (Some(value), _) => value,
                (None, Some(cursor)) => cursor.value(),
                (None, None) => &[],
            },
            row_key: if spec.row_index.is_some() {
                &self.row_key
            } else {
                &[]
            },
            row: self.row.as_deref().unwrap_or(&[]),
            unlocked: self.unlocked,
            own_row: self.own_row,
        })
    }
}

/// Reads of a single row are never semi-consistent.
fn without_semi_consistent(mut spec: ReadSpec) -> ReadSpec {
    if spec.wait == RowWait::SemiConsistent {
        spec.wait = RowWait::Wait;
    }
    spec
}

/// What others do between two reads of a row must not show where a range stays as it was read.
fn wait_of_scan(txn: &Transaction, wait: RowWait) -> RowWait {
    if wait == RowWait::SemiConsistent && txn.isolation().locks_gaps() {
        return RowWait::Wait;
    }
    wait
}

fn gaps_of(txn: &Transaction, wait: RowWait) -> Gaps {
    let locks_gaps = txn.isolation().locks_gaps();
    let gaps = if locks_gaps {
        Gaps::Locked
    } else {
        Gaps::Awaited
    };
    match wait {
        RowWait::Wait => gaps(txn.lock_wait()),
        RowWait::NoWait => gaps(LockWait::NoWait),
        RowWait::SkipLocked if locks_gaps => Gaps::LockedPassing,
        // As last committed, what others have added is not there.
        RowWait::SkipLocked | RowWait::SemiConsistent => Gaps::Open,
    }
}

fn missing_row(key: &[u8]) -> Error {
    Error::corruption(format!("index entry {} has no row", key.escape_ascii()))
}
