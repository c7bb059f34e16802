//! A handler's reader: the bridge's types are turned into the engine's, and what the reader shows into pointers.

use std::sync::Arc;

use smartengine::{
    Engine, Entry as Shown, Index, LockMode as EngineLock, ReadSpec as EngineSpec,
    Reader as EngineReader, Result, RowWait, SeekTo,
};

use crate::bridge::api::{Bytes, Entry, LockMode, LockWait, ReadSpec, Seek, Status};
use crate::engine::Opened;
use crate::guard::{Handle, Held};
use crate::txn::Txn;

/// What C++ holds for a handler.
pub type ReaderHandle = Handle<Reader>;

pub struct Reader {
    // Dropped before the engine.
    reader: EngineReader,
    _engine: Arc<Engine>,
}

impl Held for Reader {
    const DROP: &'static str = "ffi.drop_reader";
}

fn wait_of(wait: LockWait) -> RowWait {
    match wait {
        LockWait::NoWait => RowWait::NoWait,
        LockWait::SkipLocked => RowWait::SkipLocked,
        LockWait::SemiConsistent => RowWait::SemiConsistent,
        _ => RowWait::Wait,
    }
}

fn spec_of(spec: &ReadSpec) -> EngineSpec {
    EngineSpec {
        lock: match spec.lock {
            LockMode::None => None,
            LockMode::Shared => Some(EngineLock::Shared),
            _ => Some(EngineLock::Exclusive),
        },
        wait: wait_of(spec.wait),
        row_index: (spec.row_index != 0).then(|| Index::from_id(spec.row_index)),
    }
}

fn bytes(slice: &[u8]) -> Bytes {
    Bytes {
        data: slice.as_ptr(),
        size: slice.len(),
    }
}

/// Tells C++ where the entry is that was come to, if there is one.
fn show(shown: Option<Shown<'_>>, entry: &mut Entry) -> Status {
    let Some(shown) = shown else {
        return Status::NOT_FOUND;
    };
    *entry = Entry {
        key: bytes(shown.key),
        value: bytes(shown.value),
        row_key: bytes(shown.row_key),
        row: bytes(shown.row),
        unlocked: shown.unlocked,
        own_row: shown.own_row,
    };
    Status::OK
}

/// A reader that reads nothing yet.
pub fn reader_create(handle: &Opened) -> Box<ReaderHandle> {
    Handle::new(Reader {
        reader: EngineReader::new(),
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
    let shown = reader.reader.get(&mut txn.txn, key, spec_of(spec))?;
    Ok(show(shown, entry))
}

/// Prepares a scan.
pub fn reader_open(
    reader: &mut Reader,
    txn: &mut Txn,
    lower: &[u8],
    upper: &[u8],
    spec: &ReadSpec,
) -> Result<()> {
    let reader = &mut reader.reader;
    reader.open(&mut txn.txn, lower..upper, spec_of(spec))
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
        Seek::AtOrAfter => SeekTo::AtOrAfter(key),
        Seek::Before => SeekTo::Before(key),
        Seek::First => SeekTo::First,
        _ => SeekTo::Last,
    };
    Ok(show(reader.reader.seek(&mut txn.txn, target)?, entry))
}

/// To the next entry; to the first one of a scan that was only opened.
pub fn reader_next(reader: &mut Reader, txn: &mut Txn, entry: &mut Entry) -> Result<Status> {
    Ok(show(reader.reader.next(&mut txn.txn)?, entry))
}

/// To the entry before; to the last one of a scan that was only opened.
pub fn reader_prev(reader: &mut Reader, txn: &mut Txn, entry: &mut Entry) -> Result<Status> {
    Ok(show(reader.reader.prev(&mut txn.txn)?, entry))
}

/// Reads and locks the row of the entry that the scan stands on; `NotFound` where it is gone or to be passed over.
pub fn reader_fetch_row(
    reader: &mut Reader,
    txn: &mut Txn,
    spec: &ReadSpec,
    entry: &mut Entry,
) -> Result<Status> {
    let shown = reader.reader.fetch_row(&mut txn.txn, spec_of(spec))?;
    Ok(show(shown, entry))
}

/// Gives up the lock of the row read last, if that read took it.
pub fn reader_unlock_row(reader: &mut Reader, txn: &mut Txn) {
    reader.reader.unlock_row(&mut txn.txn);
}

/// Changes what a locking scan does about rows that others hold.
pub fn reader_set_wait(reader: &mut Reader, txn: &Txn, wait: LockWait) {
    reader.reader.set_wait(&txn.txn, wait_of(wait));
}

/// Ends a scan and lets go of everything pinned.
pub fn reader_close(reader: &mut Reader) {
    reader.reader.close();
}
