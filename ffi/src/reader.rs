//! A handler's reader: point reads and scans, with the row that an index entry stands for, locked where asked.
//!
//! A locking read acts on the newest committed version. A scan that locks runs over a cursor of the newest commit at its start; once the row
//! of an entry is locked, entry and row are read again if anything was committed meanwhile, and an entry that is no longer there is passed over.

use std::sync::Arc;

use smartengine::{
    Cursor, Engine, Error, ErrorKind, Granted, LockMode as EngineLock, Result, Transaction, Value,
    View,
};

use crate::bridge::api::{Bytes, Entry, LockMode, LockWait, ReadSpec, Seek, Status};
use crate::engine::EngineHandle;
use crate::guard::guard;
use crate::locator::locate_row;
use crate::txn::TxnHandle;

/// What C++ holds for a handler.
pub struct ReaderHandle {
    // All of these are dropped before the engine.
    cursor: Option<Cursor>,
    value: Option<Value>,
    row: Option<Value>,
    key: Vec<u8>,
    row_key: Vec<u8>,
    spec: ReadSpec,
    /// Whether an open scan was placed anywhere yet.
    placed: bool,
    /// Whether the last read took a lock that the transaction did not hold, on `row_key`.
    locked: bool,
    engine: Arc<Engine>,
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

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
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

/// Locks `row_key`; false where another holds it and it is to be passed over.
fn lock_row(
    txn: &mut Transaction,
    spec: &ReadSpec,
    row_key: &[u8],
    fresh: &mut bool,
) -> Result<bool> {
    let mode = if spec.lock == LockMode::Shared {
        EngineLock::Shared
    } else {
        EngineLock::Exclusive
    };
    let granted = if spec.wait == LockWait::Wait {
        txn.lock(row_key, mode)
    } else {
        txn.try_lock(row_key, mode)
    };
    match granted {
        Ok(granted) => {
            *fresh = granted == Granted::New;
            Ok(true)
        }
        Err(error)
            if error.kind() == ErrorKind::LockNotAvailable && spec.wait == LockWait::SkipLocked =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl ReaderHandle {
    fn clear(&mut self) {
        self.value = None;
        self.row = None;
        self.locked = false;
    }

    /// A point read of `self.key`; whether there is such an entry.
    fn get(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<bool> {
        self.clear();
        if spec.row_index == 0 {
            let view = if is_locking(spec) {
                View::Newest
            } else {
                View::Snapshot
            };
            if is_locking(spec) {
                self.row_key.clear();
                self.row_key.extend_from_slice(&self.key);
                if !lock_row(txn, spec, &self.row_key, &mut self.locked)? {
                    return Ok(false);
                }
            }
            self.value = txn.get(&self.key, view)?;
            return Ok(self.value.is_some());
        }
        if !is_locking(spec) {
            let Some(value) = txn.get(&self.key, View::Snapshot)? else {
                return Ok(false);
            };
            locate_row(&self.key, &value, spec.row_index, &mut self.row_key)?;
            let row = txn.get(&self.row_key, View::Snapshot)?;
            self.row = Some(row.ok_or_else(|| missing_row(&self.key))?);
            self.value = Some(value);
            return Ok(true);
        }
        // Until the entry read after locking the row is the one that led there.
        let mut before = Vec::new();
        loop {
            let Some(value) = txn.get(&self.key, View::Newest)? else {
                return Ok(false);
            };
            locate_row(&self.key, &value, spec.row_index, &mut self.row_key)?;
            if before == self.row_key {
                self.row = txn.get(&self.row_key, View::Newest)?;
                self.value = Some(value);
                return if self.row.is_some() {
                    Ok(true)
                } else {
                    Err(missing_row(&self.key))
                };
            }
            if !lock_row(txn, spec, &self.row_key, &mut self.locked)? {
                return Ok(false);
            }
            before.clone_from(&self.row_key);
        }
    }

    /// From where the cursor stands, in `direction`, to the first entry that the scan shows.
    fn settle(&mut self, txn: &mut Transaction, direction: Direction) -> Result<bool> {
        self.clear();
        loop {
            let Some(cursor) = &self.cursor else {
                return Err(Error::new(ErrorKind::Internal, "a scan was not opened"));
            };
            if !cursor.valid() {
                return Ok(false);
            }
            let spec = self.spec;
            if let Step::Arrived = self.read_entry(txn, &spec)? {
                return Ok(true);
            }
            if let Some(cursor) = &mut self.cursor {
                match direction {
                    Direction::Forward => cursor.next()?,
                    Direction::Backward => cursor.prev()?,
                }
            }
        }
    }

    /// Reads the row of the entry that the cursor stands on, and locks it, as `spec` says.
    fn read_entry(&mut self, txn: &mut Transaction, spec: &ReadSpec) -> Result<Step> {
        self.clear();
        let Some(cursor) = &self.cursor else {
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
                let row = txn.get_as_of(&self.row_key, cursor)?;
                self.row = Some(row.ok_or_else(|| missing_row(cursor.key()))?);
            }
            return Ok(Step::Arrived);
        }
        if !with_row {
            self.row_key.clear();
            self.row_key.extend_from_slice(cursor.key());
        }
        if !lock_row(txn, spec, &self.row_key, &mut self.locked)? {
            return Ok(Step::PassOver);
        }
        let changed = !txn.is_newest(cursor);
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
                if !changed {
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
        self.clear();
        Step::PassOver
    }

    /// Tells C++ where the entry just read is.
    fn show(&self, entry: &mut Entry, with_row: bool) {
        let cursor = self.cursor.as_ref().filter(|cursor| cursor.valid());
        entry.key = bytes(cursor.map_or(&self.key, |cursor| cursor.key()));
        entry.value = match (&self.value, cursor) {
            (Some(value), _) => bytes(value),
            (None, Some(cursor)) => bytes(cursor.value()),
            (None, None) => bytes(&[]),
        };
        entry.row_key = bytes(if with_row { &self.row_key } else { &[] });
        entry.row = bytes(self.row.as_deref().unwrap_or(&[]));
    }
}

fn missing_row(key: &[u8]) -> Error {
    Error::corruption(format!("index entry {} has no row", key.escape_ascii()))
}

/// A reader that reads nothing yet.
pub fn reader_create(handle: &EngineHandle) -> Box<ReaderHandle> {
    Box::new(ReaderHandle {
        cursor: None,
        value: None,
        row: None,
        key: Vec::new(),
        row_key: Vec::new(),
        spec: PLAIN,
        placed: false,
        locked: false,
        engine: handle.engine.clone(),
    })
}

/// A point read by the full key.
pub fn reader_get(
    reader: &mut ReaderHandle,
    txn: &mut TxnHandle,
    key: &[u8],
    spec: &ReadSpec,
    entry: &mut Entry,
) -> Status {
    let TxnHandle { txn, engine } = txn;
    guard(Some(engine), || {
        reader.cursor = None;
        reader.key.clear();
        reader.key.extend_from_slice(key);
        let found = reader.get(txn, spec)?;
        if found {
            reader.show(entry, spec.row_index != 0);
        }
        Ok(Status::found(found))
    })
}

/// Prepares a scan.
pub fn reader_open(
    reader: &mut ReaderHandle,
    txn: &mut TxnHandle,
    lower: &[u8],
    upper: &[u8],
    spec: &ReadSpec,
) -> Status {
    let TxnHandle { txn, engine } = txn;
    guard(Some(engine), || {
        reader.clear();
        reader.cursor = None;
        reader.spec = *spec;
        reader.placed = false;
        let view = if is_locking(spec) {
            View::Newest
        } else {
            View::Snapshot
        };
        reader.cursor = Some(txn.cursor(lower, upper, view)?);
        Ok(Status::OK)
    })
}

/// Moves the cursor of an open scan, and shows the entry it comes to.
fn step(
    reader: &mut ReaderHandle,
    txn: &mut TxnHandle,
    direction: Direction,
    entry: &mut Entry,
    place: impl FnOnce(&mut Cursor, bool) -> Result<()>,
) -> Status {
    let TxnHandle { txn, engine } = txn;
    guard(Some(engine), || {
        if let Some(cursor) = &mut reader.cursor {
            place(cursor, reader.placed)?;
            reader.placed = true;
        }
        let found = reader.settle(txn, direction)?;
        if found {
            reader.show(entry, reader.spec.row_index != 0);
        }
        Ok(Status::found(found))
    })
}

/// Places an open scan.
pub fn reader_seek(
    reader: &mut ReaderHandle,
    txn: &mut TxnHandle,
    seek: Seek,
    key: &[u8],
    entry: &mut Entry,
) -> Status {
    let direction = match seek {
        Seek::AtOrAfter | Seek::First => Direction::Forward,
        _ => Direction::Backward,
    };
    step(reader, txn, direction, entry, |cursor, _| match seek {
        Seek::AtOrAfter => cursor.seek(key),
        Seek::First => cursor.seek_to_first(),
        Seek::Before => cursor.seek_before(key),
        _ => cursor.seek_to_last(),
    })
}

/// To the next entry; to the first one of a scan that was only opened.
pub fn reader_next(reader: &mut ReaderHandle, txn: &mut TxnHandle, entry: &mut Entry) -> Status {
    step(reader, txn, Direction::Forward, entry, |cursor, placed| {
        if placed {
            cursor.next()
        } else {
            cursor.seek_to_first()
        }
    })
}

/// To the entry before; to the last one of a scan that was only opened.
pub fn reader_prev(reader: &mut ReaderHandle, txn: &mut TxnHandle, entry: &mut Entry) -> Status {
    step(reader, txn, Direction::Backward, entry, |cursor, placed| {
        if placed {
            cursor.prev()
        } else {
            cursor.seek_to_last()
        }
    })
}

/// Reads and locks the row of the entry that the scan stands on; `NotFound` where it is gone or to be passed over.
pub fn reader_fetch_row(
    reader: &mut ReaderHandle,
    txn: &mut TxnHandle,
    spec: &ReadSpec,
    entry: &mut Entry,
) -> Status {
    let TxnHandle { txn, engine } = txn;
    guard(Some(engine), || {
        let arrived = matches!(reader.read_entry(txn, spec)?, Step::Arrived);
        if arrived {
            reader.show(entry, spec.row_index != 0);
        }
        Ok(Status::found(arrived))
    })
}

/// Gives up the lock of the row read last, if that read took it.
pub fn reader_unlock_row(reader: &mut ReaderHandle, txn: &mut TxnHandle) {
    let TxnHandle { txn, engine } = txn;
    guard(Some(engine), || {
        if reader.locked {
            txn.unlock(&reader.row_key);
            reader.locked = false;
        }
        Ok(Status::OK)
    });
}

/// Ends a scan and lets go of everything pinned.
pub fn reader_close(reader: &mut ReaderHandle) {
    let ReaderHandle {
        cursor,
        value,
        row,
        engine,
        ..
    } = reader;
    guard(Some(engine), || {
        (*cursor, *value, *row) = (None, None, None);
        Ok(Status::OK)
    });
}
