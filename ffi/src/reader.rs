//! A handler's reader: point reads and scans, with the row that an index entry stands for, locked where asked.
//!
//! A locking read acts on the newest committed version. A scan that locks runs over a cursor of the newest commit at its start; once the row
//! of an entry is locked, entry and row are read again if anything was committed meanwhile, and an entry that is no longer there is passed over.
//! From REPEATABLE READ on it locks the gaps it goes over as well ([`crate::scan`]), and a point read that finds nothing keeps its key locked.
//!
//! A semi-consistent scan does not wait for a row that another holds: it shows the row as last committed, not locked. If the row is
//! wanted, the next step reads it again, and waits for the lock.

use std::sync::Arc;

use smartengine::{
    Engine, Error, ErrorKind, Granted, LockMode as EngineLock, LockWait as EngineWait, Result,
    Transaction, Value, View,
};

use crate::bridge::api::{Bytes, Entry, LockMode, LockWait, ReadSpec, Seek, Status};
use crate::engine::Opened;
use crate::guard::{Handle, Held};
use crate::locator::locate_row;
use crate::scan::{Direction, Gaps, Scan, Target};
use crate::txn::Txn;

/// What C++ holds for a handler.
pub type ReaderHandle = Handle<Reader>;

pub struct Reader {
    // All of these are dropped before the engine.
    scan: Option<Scan>,
    value: Option<Value>,
    row: Option<Value>,
    key: Vec<u8>,
    row_key: Vec<u8>,
    spec: ReadSpec,
    /// Whether the last read took a lock that the transaction did not hold, on `row_key`.
    locked: bool,
    /// Whether the last read left the row to the transaction that holds it, so that the next step has to read it again.
    unlocked: bool,
    /// Whether the row read last is one that the transaction wrote or removed, found through an entry of its snapshot.
    own_row: bool,
    _engine: Arc<Engine>,
}

impl Held for Reader {
    const DROP: &'static str = "ffi.drop_reader";
}

const PLAIN: ReadSpec = ReadSpec {
    lock: LockMode::None,
    wait: LockWait::Wait,
    row_index: 0,
};

/// Whether a step of a scan has arrived.
enum Step {
    Arrived,
    PassOver,
}

/// The outcome of a request for a row's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locking {
    /// The row is locked; whether it was not before.
    Locked(bool),
    /// The same, after a wait.
    Waited(bool),
    /// Another holds it, and it is to be passed over.
    PassOver,
    /// Another holds it, and it is to be read as last committed.
    ReadUnlocked,
}

impl Locking {
    /// Of a row that is locked, whether it was not before.
    fn fresh(self) -> Option<bool> {
        match self {
            Self::Locked(fresh) | Self::Waited(fresh) => Some(fresh),
            Self::PassOver | Self::ReadUnlocked => None,
        }
    }
}

fn bytes(slice: &[u8]) -> Bytes {
    Bytes {
        data: slice.as_ptr(),
        size: slice.len(),
    }
}

fn is_locking(spec: &ReadSpec) -> bool {
    spec.lock != LockMode::None
}

fn mode_of(spec: &ReadSpec) -> EngineLock {
    if spec.lock == LockMode::Shared {
        EngineLock::Shared
    } else {
        EngineLock::Exclusive
    }
}

/// Locks a key as `spec` says.
fn lock_key(txn: &mut Transaction, spec: &ReadSpec, key: &[u8]) -> Result<Locking> {
    match txn.try_lock(key, mode_of(spec)) {
        Ok(granted) => Ok(Locking::Locked(granted == Granted::New)),
        Err(error) if error.kind() == ErrorKind::LockNotAvailable => match spec.wait {
            LockWait::Wait => {
                let granted = txn.lock(key, mode_of(spec))?;
                Ok(Locking::Waited(granted == Granted::New))
            }
            LockWait::SkipLocked => Ok(Locking::PassOver),
            LockWait::SemiConsistent => Ok(Locking::ReadUnlocked),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Point reads, and reads of a single row, are never semi-consistent.
fn without_semi_consistent(spec: &ReadSpec) -> ReadSpec {
    let mut spec = *spec;
    if spec.wait == LockWait::SemiConsistent {
        spec.wait = LockWait::Wait;
    }
    spec
}

impl Reader {
    fn clear(&mut self) {
        self.value = None;
        self.row = None;
        self.locked = false;
        self.unlocked = false;
        self.own_row = false;
    }

    /// An entry of the snapshot whose row is not there: the transaction itself may have removed it, or else the store is damaged.
    fn without_row(&self, key: &[u8]) -> Result<()> {
        if self.own_row {
            return Ok(());
        }
        Err(missing_row(key))
    }

    /// A point read of `self.key`; whether there is such an entry.
    fn get(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<bool> {
        self.clear();
        if is_locking(spec) {
            return if spec.row_index == 0 {
                self.get_row_locked(txn, spec)
            } else {
                self.get_through_entry_locked(txn, spec)
            };
        }
        let Some(value) = txn.get(&self.key, View::Snapshot)? else {
            return Ok(false);
        };
        if spec.row_index != 0 {
            locate_row(&self.key, &value, spec.row_index, &mut self.row_key)?;
            (self.row, self.own_row) = txn.get_with_origin(&self.row_key, View::Snapshot)?;
            if self.row.is_none() {
                return self.without_row(&self.key).map(|()| false);
            }
        }
        self.value = Some(value);
        Ok(true)
    }

    fn get_row_locked(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<bool> {
        self.row_key.clear();
        self.row_key.extend_from_slice(&self.key);
        let Some(fresh) = lock_key(txn, spec, &self.row_key)?.fresh() else {
            return Ok(false);
        };
        self.value = txn.get(&self.key, View::Newest)?;
        self.locked = fresh && self.value.is_some();
        // The lock of a key that is absent keeps others from adding it.
        if fresh && self.value.is_none() && !txn.isolation().locks_gaps() {
            txn.unlock(&self.row_key);
        }
        Ok(self.value.is_some())
    }

    fn get_through_entry_locked(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<bool> {
        let mut entry_lock = None;
        let found = loop {
            let Some(value) = txn.get(&self.key, View::Newest)? else {
                if entry_lock.is_some() {
                    break false;
                }
                // Somebody may be about to add it.
                let Some(fresh) = lock_key(txn, spec, &self.key)?.fresh() else {
                    return Ok(false);
                };
                entry_lock = Some(fresh);
                continue;
            };
            if self.lock_located(txn, spec, value)? {
                break self.row.is_some();
            }
        };
        if entry_lock == Some(true) && (found || !txn.isolation().locks_gaps()) {
            txn.unlock(&self.key);
        }
        Ok(found)
    }

    /// Locks and reads the row that an entry leads to; false where the entry has changed meanwhile. There is no row where it is to be passed over.
    fn lock_located(
        &mut self,
        txn: &mut Transaction,
        spec: &ReadSpec,
        value: Value,
    ) -> Result<bool> {
        locate_row(&self.key, &value, spec.row_index, &mut self.row_key)?;
        let Some(fresh) = lock_key(txn, spec, &self.row_key)?.fresh() else {
            return Ok(true);
        };
        let now = txn.get(&self.key, View::Newest)?;
        if now.as_deref() != Some(&*value) {
            if fresh {
                txn.unlock(&self.row_key);
            }
            return Ok(false);
        }
        self.locked = fresh;
        self.value = now;
        let row = txn.get(&self.row_key, View::Newest)?;
        self.row = Some(row.ok_or_else(|| missing_row(&self.key))?);
        Ok(true)
    }

    /// From where the scan stands, in `direction`, to the first entry that is to be shown.
    fn settle(&mut self, txn: &mut Transaction, direction: Direction) -> Result<bool> {
        self.clear();
        loop {
            let Some(scan) = &self.scan else {
                return Err(Error::new(ErrorKind::Internal, "a scan was not opened"));
            };
            if !scan.cursor().valid() {
                return Ok(false);
            }
            let spec = self.spec;
            if let Step::Arrived = self.read_entry(txn, &spec)? {
                return Ok(true);
            }
            if let Some(scan) = &mut self.scan {
                scan.step(txn, direction)?;
            }
        }
    }

    /// Reads the row of the entry that the scan stands on, and locks it, as `spec` says.
    fn read_entry(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<Step> {
        self.clear();
        let Some(cursor) = self.scan.as_ref().map(Scan::cursor) else {
            return Ok(Step::PassOver);
        };
        let with_row = spec.row_index != 0;
        if with_row {
            locate_row(
                cursor.key(),
                cursor.value(),
                spec.row_index,
                &mut self.row_key,
            )?;
        }
        if !is_locking(spec) {
            if with_row {
                (self.row, self.own_row) = txn.get_as_of(&self.row_key, cursor)?;
                if self.row.is_none() {
                    return self.without_row(cursor.key()).map(|()| Step::PassOver);
                }
            }
            return Ok(Step::Arrived);
        }
        if !with_row {
            self.row_key.clear();
            self.row_key.extend_from_slice(cursor.key());
        }
        match lock_key(txn, spec, &self.row_key)? {
            Locking::Locked(fresh) => self.locked = fresh,
            Locking::Waited(fresh) => {
                self.locked = fresh;
                self.scan.iter().for_each(Scan::note_wait);
            }
            Locking::ReadUnlocked => self.unlocked = true,
            Locking::PassOver => return Ok(Step::PassOver),
        }
        let changed = !txn.is_newest(cursor);
        if !changed {
            txn.note_seen(cursor.seq());
        }
        if changed {
            self.value = txn.get(cursor.key(), View::Newest)?;
            let Some(value) = &self.value else {
                return Ok(self.pass_over(txn));
            };
            if with_row {
                let before = std::mem::take(&mut self.row_key);
                let located = locate_row(cursor.key(), value, spec.row_index, &mut self.row_key);
                let same = self.row_key == before;
                if located.is_err() || !same {
                    self.row_key = before;
                    located?;
                    return Ok(self.pass_over(txn));
                }
            }
        }
        if with_row {
            self.row = txn.get(&self.row_key, View::Newest)?;
            if self.row.is_none() {
                if !changed && !self.unlocked {
                    return Err(missing_row(cursor.key()));
                }
                return Ok(self.pass_over(txn));
            }
        }
        Ok(Step::Arrived)
    }

    /// An entry that was gone once its row was locked: the lock is given back.
    fn pass_over(&mut self, txn: &mut Transaction) -> Step {
        if self.locked {
            txn.unlock(&self.row_key);
        }
        if let Some(scan) = &mut self.scan {
            scan.entry_is_gone();
        }
        self.clear();
        Step::PassOver
    }

    /// Tells C++ where the entry just read is.
    fn show(&self, entry: &mut Entry, with_row: bool) {
        let cursor = self.scan.as_ref().map(Scan::cursor);
        let cursor = cursor.filter(|cursor| cursor.valid());
        entry.key = bytes(cursor.map_or(&self.key, |cursor| cursor.key()));
        entry.value = match (&self.value, cursor) {
            (Some(value), _) => bytes(value),
            (None, Some(cursor)) => bytes(cursor.value()),
            (None, None) => bytes(&[]),
        };
        entry.row_key = bytes(if with_row { &self.row_key } else { &[] });
        entry.row = bytes(self.row.as_deref().unwrap_or(&[]));
        entry.unlocked = self.unlocked;
        entry.own_row = self.own_row;
    }
}

fn missing_row(key: &[u8]) -> Error {
    Error::corruption(format!("index entry {} has no row", key.escape_ascii()))
}

/// A reader that reads nothing yet.
pub fn reader_create(handle: &Opened) -> Box<ReaderHandle> {
    Handle::new(Reader {
        scan: None,
        value: None,
        row: None,
        key: Vec::new(),
        row_key: Vec::new(),
        spec: PLAIN,
        locked: false,
        unlocked: false,
        own_row: false,
        _engine: handle.engine.clone(),
    })
}

/// A point read by the full key.
pub fn reader_get(
    reader: &mut Reader,
    txn: &mut Txn,
    key: &[u8],
    spec: &ReadSpec,
    entry: &mut Entry,
) -> Result<Status> {
    let txn = &mut txn.txn;
    reader.scan = None;
    reader.key.clear();
    reader.key.extend_from_slice(key);
    let spec = &without_semi_consistent(spec);
    let found = reader.get(txn, spec)?;
    if found {
        reader.show(entry, spec.row_index != 0);
    }
    Ok(Status::found(found))
}

/// Prepares a scan.
pub fn reader_open(
    reader: &mut Reader,
    txn: &mut Txn,
    lower: &[u8],
    upper: &[u8],
    spec: &ReadSpec,
) -> Result<()> {
    let txn = &mut txn.txn;
    reader.clear();
    reader.scan = None;
    reader.spec = *spec;
    let (view, gaps) = if is_locking(spec) {
        (View::Newest, gaps_of(txn, spec))
    } else {
        (View::Snapshot, Gaps::Open)
    };
    reader.scan = Some(Scan::new(txn, lower, upper, view, gaps)?);
    Ok(())
}

fn gaps_of(txn: &Transaction, spec: &ReadSpec) -> Gaps {
    let locks_gaps = txn.isolation().locks_gaps();
    let gaps = if locks_gaps {
        Gaps::Locked
    } else {
        Gaps::Awaited
    };
    match spec.wait {
        LockWait::NoWait => gaps(EngineWait::NoWait),
        LockWait::SkipLocked if locks_gaps => Gaps::LockedPassing,
        // As last committed, what others have added is not there.
        LockWait::SkipLocked | LockWait::SemiConsistent => Gaps::Open,
        _ => gaps(txn.lock_wait()),
    }
}

/// Moves an open scan, and shows the entry it comes to.
fn move_scan(
    reader: &mut Reader,
    txn: &mut Txn,
    entry: &mut Entry,
    place: impl FnOnce(&mut Scan, &mut Transaction) -> Result<Direction>,
) -> Result<Status> {
    let txn = &mut txn.txn;
    let Some(scan) = &mut reader.scan else {
        return Err(Error::new(ErrorKind::Internal, "a scan was not opened"));
    };
    let direction = place(scan, txn)?;
    let found = reader.settle(txn, direction)?;
    if found {
        reader.show(entry, reader.spec.row_index != 0);
    }
    Ok(Status::found(found))
}

/// Places an open scan.
pub fn reader_seek(
    reader: &mut Reader,
    txn: &mut Txn,
    seek: Seek,
    key: &[u8],
    entry: &mut Entry,
) -> Result<Status> {
    let target = match seek {
        Seek::AtOrAfter => Target::AtOrAfter(key),
        Seek::First => Target::First,
        Seek::Before => Target::Before(key),
        _ => Target::Last,
    };
    move_scan(reader, txn, entry, |scan, txn| scan.seek(txn, target))
}

fn step(
    reader: &mut Reader,
    txn: &mut Txn,
    entry: &mut Entry,
    start: Target<'_>,
    direction: Direction,
) -> Result<Status> {
    if reader.unlocked {
        return read_again(reader, txn, entry, direction);
    }
    move_scan(reader, txn, entry, |scan, txn| {
        if !scan.placed() {
            return scan.seek(txn, start);
        }
        scan.step(txn, direction)?;
        Ok(direction)
    })
}

/// Waits for the row that was shown though another holds it; goes on if it is gone.
fn read_again(
    reader: &mut Reader,
    txn: &mut Txn,
    entry: &mut Entry,
    direction: Direction,
) -> Result<Status> {
    let txn = &mut txn.txn;
    let spec = without_semi_consistent(&reader.spec);
    let mut found = matches!(reader.read_entry(txn, &spec)?, Step::Arrived);
    if !found {
        if let Some(scan) = &mut reader.scan {
            scan.step(txn, direction)?;
        }
        found = reader.settle(txn, direction)?;
    }
    if found {
        reader.show(entry, spec.row_index != 0);
    }
    Ok(Status::found(found))
}

/// To the next entry; to the first one of a scan that was only opened.
pub fn reader_next(reader: &mut Reader, txn: &mut Txn, entry: &mut Entry) -> Result<Status> {
    step(reader, txn, entry, Target::First, Direction::Forward)
}

/// To the entry before; to the last one of a scan that was only opened.
pub fn reader_prev(reader: &mut Reader, txn: &mut Txn, entry: &mut Entry) -> Result<Status> {
    step(reader, txn, entry, Target::Last, Direction::Backward)
}

/// Reads and locks the row of the entry that the scan stands on; `NotFound` where it is gone or to be passed over.
pub fn reader_fetch_row(
    reader: &mut Reader,
    txn: &mut Txn,
    spec: &ReadSpec,
    entry: &mut Entry,
) -> Result<Status> {
    let txn = &mut txn.txn;
    let spec = &without_semi_consistent(spec);
    let arrived = matches!(reader.read_entry(txn, spec)?, Step::Arrived);
    if arrived {
        reader.show(entry, spec.row_index != 0);
    }
    Ok(Status::found(arrived))
}

/// Gives up the lock of the row read last, if that read took it.
pub fn reader_unlock_row(reader: &mut Reader, txn: &mut Txn) {
    let txn = &mut txn.txn;
    if reader.locked {
        txn.unlock(&reader.row_key);
        reader.locked = false;
    }
    reader.unlocked = false;
}

/// Changes what a locking scan does about rows that others hold.
pub fn reader_set_wait(reader: &mut Reader, txn: &Txn, wait: LockWait) {
    reader.spec.wait = wait;
    let gaps = gaps_of(&txn.txn, &reader.spec);
    if let Some(scan) = &mut reader.scan
        && is_locking(&reader.spec)
    {
        scan.set_gaps(gaps);
    }
}

/// Ends a scan and lets go of everything pinned.
pub fn reader_close(reader: &mut Reader) {
    (reader.scan, reader.value, reader.row) = (None, None, None);
    reader.unlocked = false;
}
